"""What a recording is: bins of activity one after the other, the trials they belong to, and coordinates of each."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int

from recurvature._errors import InputError, check_positive, unknown


@dataclasses.dataclass(frozen=True)
class RecordedCoordinate:
    """One number beside every bin: where the hand was, which angle was shown."""

    name: str
    values: Float[np.ndarray, " bin"]
    units: str = ""
    period: float | None = None
    """After which it comes round again: 2π of a direction in rad."""
    per_trial: bool = False
    """Whether it is one number for each trial, the same in all its bins."""


@dataclasses.dataclass(frozen=True)
class Recording:
    """A recorded population: bins of all trials one after the other, in the order of the file.

    `starts` are the bins at which trials begin, 0 the first of them; trials may differ in length. `labels` are
    conditions, whole numbers, one for each trial. `activity` is in spikes a bin where the file has whole multiples of
    one smallest number, which is then `spike`; `spike` is None where activity is no count. `bin_width` is in seconds
    where it is known. `notes` say what of a file was left out and why. Raises `InputError` where arrays do not fit one
    another.
    """

    activity: Float[np.ndarray, "bin unit"]
    starts: Int[np.ndarray, " trial"]
    coordinates: tuple[RecordedCoordinate, ...] = ()
    labels: Int[np.ndarray, " trial"] | None = None
    spike: float | None = None
    bin_width: float | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        bins, starts = len(self.activity), np.asarray(self.starts)
        if not bins or not len(starts) or starts[0] != 0 or (np.diff([*starts, bins]) < 1).any():
            raise InputError(
                f"`starts` must increase from 0 and end before the last of {bins} bins; got {starts.tolist()[:9]}."
            )
        for c in self.coordinates:
            if c.values.shape != (bins,) or not np.isfinite(c.values).all():
                raise InputError(f"coordinate {c.name!r} must have a finite number for each of {bins} bins.")
        names = [c.name for c in self.coordinates]
        if len(set(names)) < len(names):
            raise InputError(f"coordinates must differ in name; got {', '.join(names)}.")
        if self.labels is not None and len(self.labels) != len(starts):
            raise InputError(f"`labels` must hold one for each of {len(starts)} trials; got {len(self.labels)}.")
        if self.bin_width is not None:
            check_positive(bin_width=self.bin_width)

    @property
    def segments(self) -> tuple[slice, ...]:
        """The bins of each trial."""
        stops = [*self.starts[1:], len(self.activity)]
        return tuple(slice(int(a), int(b)) for a, b in zip(self.starts, stops, strict=True))

    @property
    def lengths(self) -> Int[np.ndarray, " trial"]:
        """Bins of each trial."""
        return np.diff([*self.starts, len(self.activity)])

    @property
    def velocity(self) -> Float[np.ndarray, "bin 2"]:
        """Velocity from the coordinates `direction` (rad) and `speed`."""
        direction, speed = self.coordinate("direction").values, self.coordinate("speed").values
        return speed[:, None] * np.stack([np.cos(direction), np.sin(direction)], -1)

    def coordinate(self, name: str) -> RecordedCoordinate:
        """The coordinate called `name`."""
        for c in self.coordinates:
            if c.name == name:
                return c
        raise unknown("coordinate", name, [c.name for c in self.coordinates])

    def padded(self, values: Float[np.ndarray, "bin k"] | None = None) -> Float[np.ndarray, "trial time k"]:
        """Activity (or other values of bins) trial by trial; NaN after the end of those that are shorter."""
        rows = self.activity if values is None else values
        there = self._there()
        out = np.full((*there.shape, rows.shape[1]), np.nan)
        out[there] = rows
        return out

    def theta(self, names: tuple[str, ...]) -> Float[np.ndarray, "trial *time m"]:
        """The coordinates called `names`: (trial, m) if all are of trials, else (trial, time, m), NaN at the end."""
        chosen = [self.coordinate(name) for name in names]
        values = np.stack([c.values for c in chosen], -1)
        return values[self.starts] if all(c.per_trial for c in chosen) else self.padded(values)

    def where(self, kept: Bool[np.ndarray, " trial"]) -> "Recording":
        """The trials that `kept` says. Raises `InputError` where there are none."""
        if kept.shape != self.starts.shape or not kept.any():
            raise InputError(f"`kept` must keep one of {len(self.starts)} trials at least, True or False for each.")
        bins = np.repeat(kept, self.lengths)
        return dataclasses.replace(
            self,
            activity=self.activity[bins],
            starts=np.concatenate([[0], np.cumsum(self.lengths[kept])[:-1]]),
            coordinates=tuple(dataclasses.replace(c, values=c.values[bins]) for c in self.coordinates),
            labels=None if self.labels is None else self.labels[kept],
        )

    def split(self, share: float) -> tuple["Recording", "Recording"]:
        """The first trials, about `share` of all bins, and the others: earlier and later in time, none cut in two."""
        if not 0 < share < 1 or len(self.starts) < 2:
            raise InputError(
                f"`share` must lie between 0 and 1 and the recording have two trials or more; got {share!r} and "
                f"{len(self.starts)}."
            )
        cut = 1 + int(np.abs(self.starts[1:] - share * len(self.activity)).argmin())
        first = np.arange(len(self.starts)) < cut
        return self.where(first), self.where(~first)

    def _there(self) -> Bool[np.ndarray, "trial time"]:
        return np.arange(self.lengths.max())[None, :] < self.lengths[:, None]


def polar(velocity: Float[np.ndarray, "bin 2"]) -> tuple[RecordedCoordinate, RecordedCoordinate]:
    """The coordinates `direction` (rad, in [0, 2π)) and `speed` of a vector in every bin."""
    direction = np.mod(np.arctan2(velocity[:, 1], velocity[:, 0]), 2 * np.pi)
    # the remainder of a tiny negative angle rounds to 2π itself
    direction = np.where(direction < 2 * np.pi, direction, 0.0)
    return (
        RecordedCoordinate("direction", direction, "rad", 2 * np.pi),
        RecordedCoordinate("speed", np.hypot(*velocity.T)),
    )
