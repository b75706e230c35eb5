"""The section on curvature: a map where there is a surface to look at, and otherwise the reason why there is none."""

import math

import numpy as np
from jaxtyping import Float

from recurvature import figures
from recurvature.app import pictures
from recurvature.app.lenses.geometry import Geometry
from recurvature.app.page import Block, Heading, Notice, Points, Section, Text, number, percent
from recurvature.app.report import picture
from recurvature.lenses import warping
from recurvature.lenses.warping.status import OK

ROUNDING = 10
"""Curvatures below so many times their rounding error are not told from zero."""


def curvature_section(looks: list[Geometry]) -> Section:
    """How far each image of the inputs is from a flat sheet that was only stretched."""
    blocks: list[Block] = []
    introduction = Text(
        "A sheet of rubber can be stretched unevenly and stay flat. Gaussian curvature K says where the image of "
        "the inputs is not flat: positive as on a sphere, negative as on a saddle. It does not depend on how "
        "inputs are measured, and a sheet that is only rolled up has none."
    )
    for look in looks:
        blocks.append(Heading(look.view.title[:1].upper() + look.view.title[1:]))
        if look.curvature is None:
            blocks.append(Notice("Left out:", look.uncurved))
            continue
        blocks.append(_map(look, look.curvature))
        if introduction not in blocks:
            blocks.append(introduction)
        blocks.append(Points(tuple(reading(look.curvature))))
    said = "; ".join(f"“{each.view.title}”: {in_short(each.curvature)}" for each in looks if each.curvature)
    return Section("curvature", "Is it curved", tuple(blocks), f"{said}." if said else "It is left out here.")


def in_short(result: warping.Curvature) -> str:
    """How curved the image is as a whole, or where it is most."""
    said, total = dict(reading(result)), integral(result)
    if "In all" in said and total is not None:
        return f"|K| adds up to {number(total, 2)}, where a flat sheet has 0 and a sphere {number(4 * math.pi)}"
    return said["How much"].removesuffix(".")


def integral(result: warping.Curvature) -> float | None:
    """The integral of |K| over the image at the last regular time; None where not all of it is regular."""
    regular = np.asarray(result.status) == OK
    last = int(np.flatnonzero(regular.any(1))[-1])
    area = cells(result)[last]
    if not regular[last].all() or not np.isfinite(area).all():
        return None
    return float(np.sum(np.abs(np.asarray(result.gaussian, np.float64)[last]) * area))


def _map(look: Geometry, result: warping.Curvature) -> Block:
    shown = tuple(np.asarray(result.time)[-pictures.MOST_PANELS :].tolist())
    return picture(
        pictures.root(figures.curvature_maps(result, times=shown)),
        "Gaussian curvature of the image of the inputs at several times, on one scale around 0; hatched where the "
        "metric is singular.",
        f"Gaussian curvature over the input manifold, {look.view.title}",
    )


def reading(result: warping.Curvature) -> list[tuple[str, str]]:
    """What the curvature at the last regular time comes to."""
    regular = np.asarray(result.status) == OK
    last = int(np.flatnonzero(regular.any(1))[-1])
    when, here = f"t = {number(float(result.time[last]))} τ", regular[last]
    gaussian = np.asarray(result.gaussian, np.float64)[last]
    error = float(np.asarray(result.scalar_error, np.float64)[last, here].max()) / 2
    low, high = float(gaussian[here].min()), float(gaussian[here].max())
    if max(-low, high) <= ROUNDING * error:
        return [("How much", f"At {when}, K is zero to rounding ({number(error)}).")]
    said = [("How much", f"At {when}, K runs from {_signed(low)} to {_signed(high)}, per squared unit of the state.")]
    total = integral(result)
    if total is not None:
        sphere = number(4 * math.pi)
        text = f"The integral of |K| over the image is about {number(total, 2)}"
        said.append(("In all", f"{text}: 0 would be a flat sheet, {sphere} a sphere."))
    else:
        said.append(("In all", f"Only {percent(float(here.mean()))} of points are regular: no sum over the image."))
    return said


def _signed(value: float) -> str:
    return ("\N{MINUS SIGN}" if value < 0 else "") + number(abs(value))


def cells(result: warping.Curvature) -> Float[np.ndarray, "time point"]:
    """The area of the image that each point of the grid stands for, by the trapezoid rule."""
    weights = np.ones(())
    theta = np.asarray(result.theta, np.float64).reshape(*result.grid, -1)
    for axis, (count, around) in enumerate(zip(result.grid, result.periodic, strict=True)):
        values = np.moveaxis(theta[..., axis], axis, 0).reshape(count, -1)[:, 0]
        weight = np.full(count, np.ptp(values) / max(count - 1, 1) or np.nan)
        if not around:
            weight[[0, -1]] /= 2
        weights = weights[..., None] * weight
    factor = np.asarray(result.factor, np.float64)
    return np.abs(np.prod(np.diagonal(factor, axis1=-2, axis2=-1), -1)) * weights.ravel()
