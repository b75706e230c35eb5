"""Figures that a reader turns and plays with: results as whole numbers of a common size, as fine as a screen shows."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from recurvature._errors import InputError
from recurvature.app.page import Live, Picture, percent
from recurvature.lenses import warping
from recurvature.systems.inputs import AbstractInputManifold

STEPS = 2000
"""Steps into which the largest value of a table is divided: more than a figure on a screen has pixels."""
MOST_NUMBERS = 500_000
"""Numbers of a sheet up to which it is sent along, some 3 MB of text; a larger one stays a picture."""
MOST_COORDINATES = 2
"""Curves and surfaces can be turned; of more coordinates there is no picture."""


def whole(values: Float[Any, "..."]) -> tuple[list[int | None], float]:
    """Values, rounded, as multiples of one number, row by row, and that number; None where not finite."""
    flat = np.asarray(values, np.float64).ravel()
    finite = np.isfinite(flat)
    scale = float(np.abs(flat[finite]).max(initial=0.0)) / STEPS or 1.0
    rounded = np.rint(np.where(finite, flat, 0) / scale).astype(int).tolist()
    return [value if known else None for value, known in zip(rounded, finite.tolist(), strict=True)], scale


def few(values: Float[Any, "..."]) -> list[float | None]:
    """Values with four significant digits; None where not finite."""
    flat = np.asarray(values, np.float64).ravel()
    return [float(f"{value:.4g}") if np.isfinite(value) else None for value in flat]


def kind_of_scale(low: float, high: float, periodic: bool = False) -> str:
    """Which colours suit values from `low` to `high`."""
    if periodic:
        return "periodic"
    return "signed" if low < 0 < high else "sequential"


def turns(result: warping.Sheet) -> bool:
    """Whether a sheet is a curve or a surface, and small enough for a page."""
    return bool(result.grid) and len(result.coordinates) <= MOST_COORDINATES and result.position.size <= MOST_NUMBERS


def sheet(result: warping.Sheet, manifold: AbstractInputManifold, still: Picture, title: str) -> Live:
    """The image of one or two coordinates through time, to be turned. Raises `InputError` on any other number."""
    count = len(result.coordinates)
    if not 0 < count <= MOST_COORDINATES or not result.grid:
        raise InputError(f"`result` must be a sheet over a grid of 1 or 2 coordinates; got {count}.")
    padded = np.zeros((*result.position.shape[:2], 3))
    padded[..., : result.position.shape[-1]] = np.asarray(result.position, np.float64)
    position, scale = whole(padded)
    theta = np.asarray(result.theta, np.float64)
    coordinates = []
    for chart in manifold.coordinates:
        low, high = float(chart.low), float(chart.high)
        units = f" {chart.units}" if chart.units else ""
        coordinates.append(
            {"name": chart.name.replace("_", " "), "units": units, "low": low, "high": high}
            | {"periodic": bool(chart.periodic), "kind": kind_of_scale(low, high, chart.periodic)}
        )
    data = {
        "title": title,
        "coordinates": coordinates,
        "grid": list(result.grid),
        "theta": [few(row) for row in theta],
        "time": few(result.time),
        "position": position,
        "scale": scale,
        "variance": few(result.variance),
        "output": _output(np.asarray(result.outputs, np.float64)[..., 0], result.outputs.shape[-1]),
    }
    caption = (
        "The grid of inputs as the network sees it, moment by moment, in three principal components shared by all of "
        "them; their shares of the variance are given below. A line follows the point under the pointer back in time."
    )
    return Live("sheet", data, still, caption)


def _output(values: Float[np.ndarray, "..."], outputs: int) -> dict[str, Any]:
    """The first output as one more thing to colour by."""
    rounded, scale = whole(values)
    low, high = (float(f(values[np.isfinite(values)], initial=0.0)) for f in (np.min, np.max))
    name = "output" if outputs == 1 else "output 1"
    scaled = {"name": name, "units": "", "low": low, "high": high, "kind": kind_of_scale(low, high)}
    return scaled | {"values": rounded, "scale": scale}


class Slide(NamedTuple):
    """The flow of one or two variables at several values of one input, on one grid."""

    title: str
    name: str
    values: Float[np.ndarray, " value"]
    velocity: Float[np.ndarray, "value *grid i"]
    outputs: Float[np.ndarray, "value *grid"] | None
    points: Sequence[Sequence[tuple[tuple[float, ...], str]]]
    """Fixed points at every value: coordinates and a type."""


def flow(
    slides: Sequence[Slide],
    extent: Sequence[tuple[float, float]],
    still: Picture,
    *,
    title: str,
    output: str = "output",
) -> Live:
    """The flow of one or two latent variables, at inputs that a slider sets; every slide on the same even grid."""
    count = {slide.velocity.shape[1:-1] for slide in slides}
    if len(count) != 1 or len(set(*count)) != 1 or len(*count) != len(extent):
        raise InputError(f"`slides` must share one square grid; got {sorted(count)}.")
    fields, scale = _tables([slide.velocity for slide in slides])
    known = all(slide.outputs is not None for slide in slides)
    outputs, unit = _tables([slide.outputs for slide in slides if slide.outputs is not None]) if known else ([], 1.0)
    rows = []
    for k, slide in enumerate(slides):
        row: dict[str, Any] = {
            "title": slide.title,
            "name": slide.name,
            "values": few(slide.values),
            "fields": fields[k],
        }
        row["points"] = [[[*few(np.array(place)), kind] for place, kind in points] for points in slide.points]
        rows.append(row | ({"outputs": outputs[k]} if known else {}))
    names = ("κ",) if len(extent) == 1 else ("κ₁", "κ₂")
    axes = [
        {"name": name, "low": float(low), "high": float(high)} for name, (low, high) in zip(names, extent, strict=True)
    ]
    reach = unit * STEPS
    data = {
        "title": title,
        "axes": axes,
        "count": slides[0].velocity.shape[1],
        "unit": "τ",
        "slides": rows,
        "scale": scale,
        "output": {"name": output, "scale": unit, "low": -reach, "high": reach} if known else None,
    }
    return Live(VIEWS[len(extent)], data, still, f"{CAPTIONS[len(extent)]} {_said_between(slides)}")


VIEWS: dict[int, Literal["line", "plane"]] = {1: "line", 2: "plane"}
CAPTIONS = {
    1: "How fast the latent variable changes at every value while an input is held, and its fixed points; below, how a "
    "start goes on. Behind the curve, in orange for negative and blue for positive, what is put out there.",
    2: "The flow of the two latent variables while an input is held, with the curves on which one of them rests, and "
    "their fixed points. Behind it, in orange for negative and blue for positive, what is put out there.",
}
"""By the number of variables."""


SMALL = 1e-4
"""Shares below which there is nothing to be seen."""


def _said_between(slides: Sequence[Slide]) -> str:
    """How inputs between those of the tables are come by, and how far that is off.

    The mean of two neighbours misses a smooth function by a quarter of what the mean of those two apart misses.
    """
    fields = [slide.velocity for slide in slides if len(slide.values) > 2]
    text = (
        "Ticks of the slider mark tabulated inputs; between them the flow is interpolated and fixed points read off it"
    )
    if not fields:
        return f"{text}."
    miss = max(float(np.nanmax(np.abs(f[1:-1] - (f[:-2] + f[2:]) / 2))) for f in fields) / 4
    most = max(float(np.nanmax(np.linalg.norm(f, axis=-1))) for f in fields)
    share = miss / most if most else 0.0
    return (
        f"{text}, off by {'less than' if share < SMALL else 'about'} {percent(max(share, SMALL))} of the largest rate."
    )


def _tables(arrays: Sequence[Float[np.ndarray, "value ..."]]) -> tuple[list[list[list[int | None]]], float]:
    """Every array as whole numbers of one size, value by value."""
    _, scale = whole(np.concatenate([array.ravel() for array in arrays]))
    tables = []
    for array in arrays:
        tables.append(
            [np.rint(np.where(np.isfinite(row), row, 0).ravel() / scale).astype(int).tolist() for row in array]
        )
    return tables, scale
