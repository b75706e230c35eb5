"""Where the past lies: feature directions by age, beside the half-space that a rectified readout does not see."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from recurvature._errors import InputError, check_choice
from recurvature.figures.style import (
    GREY,
    INK,
    PALE,
    SMALL,
    VERMILLION,
    coordinate_colour,
    legend_below,
    look,
    new_axes,
    time_colours,
    words,
)
from recurvature.lenses.superposition import Geometry


@look
def feature_plane(result: Geometry, ax: Axes | None = None, *, feature: int = 0, power: float = 0.5) -> Axes:
    r"""Directions of one feature from age 0 on, in the plane of its readout and of what they do beside it.

    To the right is the readout: what points to the left of the middle projects onto nothing or less, and a rectified
    readout does not see it. Upward is the first principal direction of the rest; with two units nothing is left out.
    The age that is due is red, those after it are dashed, numbers are ages, and other features are pale. Lengths are
    raised to `power`, as directions of neighbouring ages may differ tenfold; angles are kept.

    Raises `InputError` on a feature that is not there.
    """
    outputs = np.asarray(result.projection).shape[1]
    check_choice("feature", feature, range(outputs))
    ax = new_axes(ax, height=3.0)
    plane = _plane(result, feature, power)
    reach = 1.2 * float(np.abs(plane).max(initial=1e-12))
    ax.axvspan(-reach, 0, color=PALE, linewidth=0, zorder=0)
    for other in range(plane.shape[2]):
        if other != feature:
            ax.plot(*_spokes(plane[:, :, other]), color=GREY, linewidth=0.6, alpha=0.35, zorder=1)
    last = min(len(plane), 2 * result.delay + 2)
    colours = time_colours(result.delay + 1)
    for age in range(last):
        tip = plane[age, :, feature]
        due, later = age == result.delay, age > result.delay
        colour = VERMILLION if due else GREY if later else colours[age]
        style: Any = {"linewidth": 2.2 if due else 1.2, "linestyle": "--" if later else "-"}
        ax.plot([0, tip[0]], [0, tip[1]], color=colour, zorder=3 if due else 2, solid_capstyle="butt", **style)
        ax.plot(*tip, "o", color=colour, markersize=4 if due else 3, zorder=3)
        # beyond the tip, and not for specks in the middle
        if np.hypot(*tip) > 0.12 * reach:
            on_arrow = tip[0] > 0 and abs(tip[1]) < 0.05 * reach
            place = tip + np.array([0, 0.09 * reach]) if on_arrow else tip * (1 + 0.09 * reach / np.hypot(*tip))
            ax.annotate(str(age), place, ha="center", va="center", fontsize=SMALL, color=colour, annotation_clip=False)
    ax.annotate("", (reach, 0), (0, 0), arrowprops={"arrowstyle": "->", "color": INK, "lw": 0.8}, zorder=1)
    _dress_plane(ax, reach, power)
    return ax


def _dress_plane(ax: Axes, reach: float, power: float) -> None:
    ax.set_xlim(-reach, reach)
    ax.set_ylim(-reach, reach)
    ax.set_box_aspect(1)
    ax.set_xticks([0])
    ax.set_yticks([0])
    ax.set_xlabel("along the readout →" + ("" if power == 1 else f"\n(lengths to the power {power:g})"))
    ax.set_ylabel("beside it")
    ax.set_title("not read out", loc="left", fontsize=SMALL, color=GREY)
    ax.set_title("read out", loc="right", fontsize=SMALL, color=GREY)


def _plane(result: Geometry, feature: int, power: float) -> Float[np.ndarray, "age two d"]:
    """Directions in the plane, of lengths to a power."""
    w, a = np.asarray(result.direction, float), np.asarray(result.projection, float)[:, feature]
    flat = np.moveaxis(w, 1, 0).reshape(w.shape[1], -1)
    # the readout that gives these projections; of what no direction reaches it has nothing
    readout = np.linalg.lstsq(flat.T, a.ravel(), rcond=None)[0]
    along = readout / max(np.linalg.norm(readout), 1e-300)
    rest = w - along[None, :, None] * np.einsum("n,snd->sd", along, w)[:, None]
    left = np.linalg.svd(rest[:, :, feature].T)[0][:, 0]
    # the sign of a principal direction is free: the youngest that lies beside the readout points up
    beside = np.einsum("n,snd->sd", left, rest)
    first = beside[np.abs(beside[:, feature]).argmax(), feature]
    plane = np.stack([np.einsum("n,snd->sd", along, w), np.where(first < 0, -1, 1) * beside], axis=1)
    length = np.linalg.norm(plane, axis=1, keepdims=True)
    return plane * np.where(length > 0, np.maximum(length, 1e-300) ** (power - 1), 0.0)


def _spokes(tips: Float[np.ndarray, "age two"]) -> Float[np.ndarray, "two point"]:
    """Lines from the middle to every tip, with gaps between."""
    points = np.full((2, 3 * len(tips)), np.nan)
    points[:, 0::3] = 0
    points[:, 1::3] = tips.T
    return points


QUANTITIES = {
    "k_theta": "turn of the eigenvalues over the delay (°)",
    "cumulative_angle": "turn of the directions over the delay (°)",
    "readout": "angle of younger features to the readout (°)",
}
MARKS = {"k_theta": (90, 270), "cumulative_angle": (90, 270), "readout": (90,)}


@look
def angle_distribution(
    groups: Mapping[str, Sequence[Geometry]],
    ax: Axes | None = None,
    *,
    quantity: str = "cumulative_angle",
    width: float = 10.0,
) -> Axes:
    r"""How angles are distributed over networks, a histogram to each group, in bins of `width` degrees.

    `quantity` is `k_theta`, the turn of the eigenvalues over the delay, which no choice of coordinates changes;
    `cumulative_angle`, that of the directions; or `readout`, the angles between the directions of younger ages and the
    readout: beyond 90° they are not read out. Features that are not stored are left out.

    Raises `InputError` on an unknown quantity, and where no angle is known.
    """
    check_choice("quantity", quantity, QUANTITIES)
    none = [np.empty(0)]
    values = {name: np.concatenate(none + [_angles(g, quantity) for g in group]) for name, group in groups.items()}
    known = np.concatenate(none + list(values.values()))
    if not len(known):
        raise InputError("`groups` hold no feature that is stored with a known angle.")
    ax = new_axes(ax)
    top = 180.0 if quantity == "readout" else max(360.0, float(np.ceil(known.max() / 90) * 90))
    edges = np.arange(0, top + width, width)
    for i, angles in enumerate(values.values()):
        share = np.histogram(angles, edges)[0] / max(len(angles), 1)
        ax.stairs(share, edges, color=coordinate_colour(i), linewidth=1.2)
        ax.stairs(share, edges, color=coordinate_colour(i), alpha=0.25, fill=True)
    for mark in MARKS[quantity]:
        ax.axvline(mark, color=INK, linewidth=0.7, linestyle=":")
    ax.set_xlim(0, top)
    ax.set_ylim(0, None)
    ax.set_xticks(np.arange(0, top + 1, 90 if top > 180 else 45))
    ax.set_xlabel(QUANTITIES[quantity])
    ax.set_ylabel("share of features")
    handles: list[Any] = [
        Patch(facecolor=coordinate_colour(i), alpha=0.5, label=f"{words(name)} ({len(angles)})")
        for i, (name, angles) in enumerate(values.items())
    ]
    handles.append(Line2D([], [], color=INK, linewidth=0.7, linestyle=":", label="quarter turns"))
    legend_below(ax, handles, min(3, len(handles)))
    return ax


def _angles(geometry: Geometry, quantity: str) -> Float[np.ndarray, " angle"]:
    kept = np.asarray(geometry.stored) > 0.5
    if quantity != "readout":
        angles = np.asarray(getattr(geometry, quantity), float)[: len(kept)][kept]
        return angles[np.isfinite(angles)]
    w, a = np.asarray(geometry.direction, float), np.asarray(geometry.projection, float)
    flat = np.moveaxis(w, 1, 0).reshape(w.shape[1], -1)
    found = []
    for i in np.flatnonzero(kept):
        readout = np.linalg.lstsq(flat.T, a[:, i].ravel(), rcond=None)[0]
        younger = w[: geometry.delay, :, i]
        length = np.linalg.norm(younger, axis=1) * np.linalg.norm(readout)
        cosine = np.divide(younger @ readout, length, out=np.full(len(younger), np.nan), where=length > 0)
        found.append(np.rad2deg(np.arccos(np.clip(cosine, -1, 1))))
    angles = np.concatenate(found or [np.empty(0)])
    return angles[np.isfinite(angles)]
