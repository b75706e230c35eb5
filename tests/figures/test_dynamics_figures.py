"""Figures of flows, branches and spectra: readable, and what is drawn is what the result holds."""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
import pytest
from tests.figures.drawing import figure_of, readable

import recurvature as rc
from recurvature._errors import InputError
from recurvature.dynamics import LyapunovSpectrum
from recurvature.figures.dynamics.branches import _stretches, across
from recurvature.figures.dynamics.marks import POINTS, SPECIALS
from recurvature.systems import FunctionFlow, LeakyCurrent, LowRank

figures, dynamics = rc.figures, rc.dynamics


@functools.cache
def network() -> LeakyCurrent:
    """Rank 2, with stable points, saddles and a repeller."""
    left = np.random.default_rng(0).standard_normal((40, 2))
    return LeakyCurrent(LowRank(jnp.asarray(left), jnp.asarray(2.0 * left)), jnp.asarray(left[:, :1]), jnp.zeros(40))


@functools.cache
def found(level: float) -> tuple:
    points = dynamics.fixed_points(network(), [level], key=rc.key(0), count=64)
    field = dynamics.flow_field(network(), [level], extent=((-2.0, 2.0), (-2.0, 2.0)), points=15)
    return field, points, dynamics.plane_coordinates(network(), field, points.states)


@functools.cache
def branches() -> dynamics.Continuation:
    return dynamics.continuation(network(), found(0.0)[1].states, (-1.0, 1.0), channel=0)


LINE = dynamics.FlowLine(np.linspace(-1, 1, 5), np.array([0.6, -0.2, 0.0, 0.2, -0.6]), np.zeros(1))
SPECTRUM = LyapunovSpectrum(
    exponents=np.array([0.1, 0.0, -0.4]),
    standard_error=np.array([0.01, 0.001, np.nan]),
    final_state=np.zeros(3),
    steps=100,
    step=1.0,
    status="ok",
)


def pair() -> list:
    fields, points, at = zip(found(0.0), found(0.5), strict=True)
    return figures.flows(fields, points=points, at=at, titles=["no input", "input 0.5"])


DRAWN = {
    "flow": (lambda: figures.flow(found(0.0)[0], points=found(0.0)[1], at=found(0.0)[2]), "$\\kappa_1$"),
    "flows": (pair, "input 0.5"),
    "line": (lambda: figures.flow_line(LINE), "rate of $\\kappa$ (1/τ)"),
    "bifurcations": (lambda: figures.bifurcations(branches()), "input 1"),
    "one unit": (lambda: figures.bifurcations(branches(), along=3), "state of unit 3"),
    "spectrum": (lambda: figures.eigenvalues(found(0.0)[1]), "real part (1/τ)"),
    "spectra": (lambda: figures.eigenvalues(branches()), "imaginary part (1/τ)"),
    "exponents": (lambda: figures.lyapunov(SPECTRUM), "1/τ, or 1/step"),
}
test_figures_are_readable_and_have_units = readable(DRAWN)


def marked(ax, style) -> np.ndarray:
    """Where marks of one style stand."""
    wanted = (style["marker"], style["markerfacecolor"])
    lines = [line for line in ax.lines if (line.get_marker(), line.get_markerfacecolor()) == wanted]
    return np.array([np.ravel(line.get_data()) for line in lines]).reshape(-1, 2)


def test_every_point_stands_where_its_latent_variables_are() -> None:
    field, points, at = found(0.0)
    ax = figures.flow(field, points=points, at=at)
    for kind in ("stable", "saddle", "repeller"):
        wanted = at[[name == kind for name in points.types]]
        assert len(wanted)
        np.testing.assert_array_equal(marked(ax, POINTS[kind]), wanted)
    # x = left kappa without an input, so that kappa is a least-squares solution
    low = network().connectivity
    assert isinstance(low, LowRank)
    np.testing.assert_allclose(np.linalg.pinv(np.asarray(low.left)) @ np.asarray(points.states).T, at.T, atol=1e-9)


def test_a_plane_of_states_needs_no_coordinates() -> None:
    system = FunctionFlow(lambda x, u: x - x**3, 2, 1)
    points = dynamics.fixed_points(system, [0.0], starts=np.array([[0.9, 0.8], [0.1, 0.0], [5.0, 5.0]]))
    plane = (np.zeros(2), np.array([[0.0, 1.0], [2.0, 0.0]]))
    field = dynamics.flow_field(system, [0.0], plane=plane, extent=((-0.5, 1.5), (-0.4, 0.6)), points=5)
    ax = figures.flow(field, points=points)
    # the state (1, 1) is the second axis halved and the first
    np.testing.assert_allclose(marked(ax, POINTS["stable"]), [[1.0, 0.5]], atol=1e-12)
    np.testing.assert_allclose(dynamics.plane_coordinates(system, field, points.states)[0], [1.0, 0.5], atol=1e-12)


def test_special_points_are_marked_where_they_are() -> None:
    result = branches()
    ax = figures.bifurcations(result, along=3)
    folds = result.special_points
    assert set(result.special_kinds) == {"fold"}
    wanted = np.stack([result.value[folds], result.states[folds, 3]], 1)
    np.testing.assert_array_equal(marked(ax, SPECIALS["fold"]), wanted)
    size = lambda line: np.size(line.get_xdata())  # noqa: E731
    solid = sum(size(line) for line in ax.lines if size(line) > 1 and line.get_linestyle() == "-")
    stable = np.asarray(result.stability) == dynamics.TYPES.index("stable")
    # each stretch of stable points is drawn once, with the special points at its ends
    assert stable.sum() < solid <= stable.sum() + 2 * len(folds)


def test_a_legend_says_which_oscillation_is_born() -> None:
    result = branches()
    first, *rest = result.special_points
    kinds = np.asarray(result.special).copy()
    kinds[[first, *rest]] = dynamics.SPECIAL.index("hopf")
    for sign, name in ((-1.0, "supercritical"), (1.0, "subcritical")):
        born = np.full(len(kinds), np.nan)
        born[first] = sign
        changed = dataclasses.replace(result, special=kinds, first_lyapunov=born)
        legend = figure_of(figures.bifurcations(changed, along=3)).legends[0]
        said = {text.get_text() for text in legend.get_texts()}
        assert {f"Hopf, {name}", "Hopf"} <= said
        axes = figures.bifurcations(changed, along=3)
        wanted = [[result.value[first], result.states[first, 3]]]
        np.testing.assert_array_equal(marked(axes, SPECIALS[f"hopf, {name}"]), wanted)


def test_stretches_share_their_special_points() -> None:
    #          |  stable  fold  unstable | another branch
    branch = np.array([0, 0, 0, 0, 0, 1, 1])
    style = np.array([0, 0, -1, 1, 1, 0, 0])
    assert _stretches(branch, style) == [(0, 2), (2, 4), (5, 6)]
    # without a special point between them, stretches of different styles still touch
    assert _stretches(np.zeros(4, int), np.array([0, 0, 1, 1])) == [(0, 2), (2, 3)]


def test_what_does_not_fit_is_refused() -> None:
    field, points, _ = found(0.0)
    with pytest.raises(InputError, match="plane_coordinates"):
        figures.flow(field, points=points)
    with pytest.raises(InputError, match="`titles` must have one entry"):
        figures.flows([field], titles=["a", "b"])
    with pytest.raises(InputError, match="from 0 to 39"):
        figures.bifurcations(branches(), along=40)
    with pytest.raises(InputError, match="must not be zero"):
        figures.bifurcations(branches(), along=np.zeros(40))


def test_branches_are_looked_at_from_one_rest_to_another():
    points = found(0.0)[1]
    rests = np.asarray(points.states)[[name == "stable" for name in points.types]]
    along = across(points)
    assert along is not None
    # no two are farther apart; a norm of 40 numbers rounds at 1e-15
    assert np.linalg.norm(along) == pytest.approx(max(np.linalg.norm(a - b) for a in rests for b in rests), rel=1e-12)
    silent = dataclasses.replace(points, stability=np.full(len(points.states), dynamics.TYPES.index("saddle")))
    assert across(silent) is None
