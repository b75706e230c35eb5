"""The plane of two latent variables while an input is held, for every value of every coordinate of every view."""

from collections.abc import Iterator, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

import recurvature as rc
from recurvature import dynamics
from recurvature.app.live import Slide, plane
from recurvature.app.page import Live, Picture
from recurvature.app.subject import Subject, View
from recurvature.lenses import latent
from recurvature.systems.base import Network

VALUES = 9
"""Values of an input among which a reader chooses."""
MOST_SLIDES = 4
"""Coordinates, over all views, of which the flow is tabulated."""


def slides(subject: Subject, reduced: Network, flow: dynamics.FlowField) -> Iterator[Slide]:
    """For each coordinate of each view, the others in their middle: the flow in the plane of `flow`, and what rests."""
    given = [(view, i) for view in subject.views for i in range(view.manifold.dimension)]
    several = len(subject.views) > 1
    for view, i in given[:MOST_SLIDES]:
        chart = view.manifold.coordinates[i]
        name = chart.name.replace("_", " ")
        values = chart.grid(VALUES)
        fields, outputs, points = [], [], []
        for value in values:
            inputs = _inputs(view, i, float(value))
            field, seen, found = _at(subject, reduced, flow, inputs)
            fields.append(field)
            outputs.append(seen)
            points.append(found)
        title = f"{view.title}: {name}" if several else name
        yield Slide(title, name, values, np.stack(fields), np.stack(outputs), points)


def _inputs(view: View, which: int, value: float) -> Float[np.ndarray, " d"]:
    """The input halfway through a view at one value of one coordinate, the others in their middle."""
    theta = np.array([(c.low + c.high) / 2 for c in view.manifold.coordinates])
    theta[which] = value
    return np.asarray(view.manifold.inputs(jnp.asarray(view.duration / 2), jnp.asarray(theta)), np.float64)


def _at(
    subject: Subject, reduced: Network, flow: dynamics.FlowField, inputs: Float[np.ndarray, " d"]
) -> tuple[Float[np.ndarray, "a b i"], Float[np.ndarray, "a b"], list[tuple[float, float, str]]]:
    """The velocity, the first output, and the fixed points in the plane, under one input."""
    extent = [(float(v[0]), float(v[-1])) for v in (np.asarray(flow.horizontal), np.asarray(flow.vertical))]
    field = dynamics.flow_field(reduced, inputs, extent=(extent[0], extent[1]), points=len(np.asarray(flow.horizontal)))
    key = rc.stream(rc.key(subject.options.seed), "latent plane")
    found = dynamics.fixed_points(reduced, inputs, count=64, key=key)
    at = dynamics.plane_coordinates(reduced, field, found.states)
    grid = np.stack(np.meshgrid(field.horizontal, field.vertical, indexing="ij"), -1)
    outputs = _outputs(reduced, grid.reshape(-1, 2), inputs).reshape(grid.shape[:2])
    marks = [(float(x), float(y), kind) for (x, y), kind in zip(at, found.types, strict=True)]
    return np.asarray(field.velocity), outputs, marks


def _outputs(
    reduced: Network, kappa: Float[np.ndarray, "point i"], inputs: Float[np.ndarray, " d"]
) -> Float[np.ndarray, " point"]:
    """The first output at values of the latent variables, while an input has long been held."""
    rates = latent.unit(reduced).rates(jnp.asarray(kappa), jnp.asarray(inputs))
    return np.asarray(reduced.readout(rates))[:, 0]


def live_plane(found: Sequence[Slide], flow: dynamics.FlowField, still: Picture, output: str) -> Live | None:
    """The plane as a figure to play with; None where nothing was tabulated."""
    if not found:
        return None
    low, high = ((float(v[0]), float(v[-1])) for v in (np.asarray(flow.horizontal), np.asarray(flow.vertical)))
    return plane(found, (low, high), still, title="The plane of the latent variables", output=output)
