"""A recording as a plain HDF5 file that `read_recording` reads again, and everybody else as well."""

import io
from pathlib import Path

from recurvature._errors import InputError
from recurvature.io.atomic import write_bytes
from recurvature.io.recordings.recording import Recording


def save_recording(recording: Recording, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a recording to an `.h5` file, compressed; units and periods of coordinates are attributes there.

    Raises `InputError` on another ending, and where the file exists unless `overwrite`.
    """
    import h5py

    path = Path(path)
    if path.suffix != ".h5":
        raise InputError(f"a recording is saved as .h5; got {path.name!r}.")
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        scale = 1.0 if recording.spike is None else recording.spike
        file.create_dataset("activity", data=recording.activity * scale, compression="gzip", shuffle=True)
        file["starts"] = recording.starts
        if recording.labels is not None:
            file["labels"] = recording.labels
        if recording.bin_width is not None:
            file["bin_width"] = recording.bin_width
        for c in recording.coordinates:
            values = c.values[recording.starts] if c.per_trial else c.values
            place = file.create_dataset(f"coordinates/{c.name}", data=values)
            place.attrs["units"] = c.units
            if c.period is not None:
                place.attrs["period"] = c.period
    write_bytes(path, stream.getvalue(), overwrite=overwrite)
