"""The line or plane of one or two latent variables while an input is held, for every coordinate of every view."""

from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

import recurvature as rc
from recurvature import dynamics
from recurvature.app.live import Slide, flow
from recurvature.app.page import Live, Picture
from recurvature.app.subject import Subject, View
from recurvature.lenses import latent
from recurvature.lenses.latent.unit import AbstractUnit, at_rest
from recurvature.systems.base import Network

VALUES = 9
"""Values of an input that are tabulated."""
MOST_SLIDES = 4
"""Coordinates, over all views, of which the flow is tabulated."""


def slides(subject: Subject, reduced: Network, axes: Sequence[Float[np.ndarray, " place"]]) -> Iterator[Slide]:
    """For each coordinate of each view, the others in their middle: the flow on the grid of `axes`, and what rests."""
    given = [(view, i) for view in subject.views for i in range(view.manifold.dimension)]
    several, unit = len(subject.views) > 1, latent.unit(reduced)
    grid = jnp.asarray(np.stack(np.meshgrid(*axes, indexing="ij"), -1))
    for view, i in given[:MOST_SLIDES]:
        chart = view.manifold.coordinates[i]
        name = chart.name.replace("_", " ")
        # both ends, also of a circle: a slider cannot pass from one to the other
        values = np.linspace(chart.low, chart.high, VALUES)
        tables = [_at(subject, reduced, unit, grid, _inputs(view, i, float(value))) for value in values]
        fields, outputs, points = zip(*tables, strict=True)
        title = f"{view.title}: {name}" if several else name
        yield Slide(title, name, values, np.stack(fields), np.stack(outputs), points)


def axes_of(field: dynamics.FlowField | dynamics.FlowLine) -> tuple[Float[np.ndarray, " place"], ...]:
    """The grid of a flow, axis by axis."""
    if isinstance(field, dynamics.FlowLine):
        return (np.asarray(field.value),)
    return np.asarray(field.horizontal), np.asarray(field.vertical)


def _inputs(view: View, which: int, value: float) -> Float[np.ndarray, " d"]:
    """The input halfway through a view at one value of one coordinate, the others in their middle."""
    theta = np.array([(c.low + c.high) / 2 for c in view.manifold.coordinates])
    theta[which] = value
    return np.asarray(view.manifold.inputs(jnp.asarray(view.duration / 2), jnp.asarray(theta)), np.float64)


def _at(
    subject: Subject,
    reduced: Network,
    unit: AbstractUnit,
    grid: Float[jax.Array, "*grid i"],
    inputs: Float[np.ndarray, " d"],
) -> tuple[Float[np.ndarray, "*grid i"], Float[np.ndarray, "*grid"], list[tuple[tuple[float, ...], str]]]:
    """The rate per tau, the first output after the input has long been held, and the fixed points, under one input."""
    rates = unit.rates(grid, jnp.asarray(inputs))
    field = unit.encode(rates) - grid
    key = rc.stream(rc.key(subject.options.seed), "latent plane")
    found = dynamics.fixed_points(reduced, inputs, count=64, key=key)
    places = np.asarray(at_rest(unit, found.states), float)
    points = [(tuple(place), kind) for place, kind in zip(places.tolist(), found.types, strict=True)]
    return np.asarray(field), np.asarray(reduced.readout(rates))[..., 0], points


def live_flow(
    found: Sequence[Slide], axes: Sequence[Float[np.ndarray, " place"]], still: Picture, output: str
) -> Live | None:
    """The flow as a figure to play with; None where nothing was tabulated."""
    if not found:
        return None
    extent = [(float(axis[0]), float(axis[-1])) for axis in axes]
    title = f"The {'line' if len(axes) == 1 else 'plane'} of the latent variable{'s' if len(axes) > 1 else ''}"
    return flow(found, extent, still, title=title, output=output)
