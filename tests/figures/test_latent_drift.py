"""Figures of design, drift, perturbations and decoders: results made up, so that what is drawn is known."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from tests.figures.drawing import readable

import recurvature as rc
from recurvature import figures, latent, measures
from recurvature._errors import InputError
from recurvature.figures.latent.drift import KIND_COLOURS

KINDS = ("random", "orthogonal", "tangential")
STRENGTH = np.concatenate([[0.0], np.geomspace(0.01, 10, 9)])


@functools.cache
def sweep(neurons: int = 1000) -> latent.DriftSweep:
    places = np.array([0.01 * np.sqrt(neurons), 0.05 * np.sqrt(neurons), 0.03])
    curves = [latent.drift_curve(np.maximum(STRENGTH, 1e-9), place, 1.5, 1.0, 0.125) for place in places]
    table = np.stack(curves)[..., None] + np.array([-0.01, 0.01])
    return latent.DriftSweep(STRENGTH, table, table - 0.05, None, KINDS, neurons, 3, 50, 0.1)


def deviation() -> latent.DriftDeviation:
    time = np.arange(1, 30) * 0.5
    path = np.stack([1 - np.exp(-time / 3), np.exp(-time / 5) - 1], -1)
    return latent.DriftDeviation(time, path, 0.1 * path, 0.09 * path, path)


def response() -> latent.PerturbationResponse:
    time = np.arange(12) * 0.5
    names = ("encoding 1", "embedding 1", "tuning 1", "readout 1", "random", "orthogonal")
    shift = np.array([1.0, 0.3, 0.2, 0.1, 0.05, 0.0])[:, None, None] * np.exp(-time)[None, :, None] * np.ones(2)
    return latent.PerturbationResponse(time, shift[:, 0], shift, shift[..., 0], shift[..., :1], names, 0.5)


def background() -> latent.BackgroundSweep:
    ratio = np.array([0.0, 0.5, 1.0, 2.0])
    kept = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]], bool)
    wide = np.ones((4, 4)) * ratio[:, None]
    return latent.BackgroundSweep(ratio, kept, kept[:, ::-1], wide, wide, 1.5 * wide, 200, 20, 320)


def decoded() -> measures.Decoding:
    accuracy = 0.7 + 0.1 * np.random.default_rng(0).random((5, 4, 4))
    return measures.Decoding(
        accuracy, np.ones((5, 4)), np.array([1, 2, 3, 10]), np.zeros(4, np.int8), 0.5, measures.DECODERS, 300
    )


def rate() -> latent.GrowthRate:
    rng = np.random.default_rng(1)
    m = rng.normal(size=10_000)
    return latent.growth_rate(m, 1.1 * m, observed=(100, 1000, 10_000), size=10_000)


def errors(slowness: float) -> latent.SampledErrors:
    return latent.sample_growth_rates((100, 1000), slowness=slowness, draws=20, key=rc.key(0))


def tolerances() -> Axes:
    return figures.drift_tolerances([latent.drift_tolerance(sweep(n)) for n in (100, 1000, 10**5)])


FIGURES: dict[str, tuple[Callable[[], Axes], str]] = {
    "curves": (lambda: figures.drift_curves(sweep()), "strength of drift δ (r.m.s.)"),
    "fitted curves": (
        lambda: figures.drift_curves(sweep(), tolerance=latent.drift_tolerance(sweep())),
        "share of steps, all bits right",
    ),
    "observed curves": (lambda: figures.drift_curves(sweep(), readout="observed"), "share of steps"),
    "tolerances": (tolerances, r"tolerated drift $\delta_\mathrm{tol}$ (r.m.s.)"),
    "deviation": (lambda: figures.drift_deviation(deviation()), r"deviation $\tilde\kappa-\kappa$"),
    "perturbation": (lambda: figures.perturbation(response()), "latent shift / kick"),
    "output perturbation": (lambda: figures.perturbation(response(), latents=False), "output shift / kick"),
    "background": (lambda: figures.background(background()), "random over structured weights (s.d.)"),
    "decoding": (lambda: figures.decoding(decoded(), ideal=0.788), "accuracy on unseen trials"),
    "growth rate": (lambda: figures.growth_rate(rate()), "growth rate at zero (1/τ)"),
    "error law": (
        lambda: figures.error_law([errors(s) for s in (1.0, 10.0, 1000.0)]),
        "relative error of growth rate",
    ),
}
test_every_figure_is_readable = readable(FIGURES)


def drawn(ax: Axes, colour: str, marker: str) -> np.ndarray:
    """The points of the one line of a colour and a marker."""
    (line,) = [line for line in ax.get_lines() if line.get_color() == colour and line.get_marker() == marker]
    return np.asarray(line.get_xydata(), float)


def test_points_are_the_means_of_the_restarts() -> None:
    points = drawn(FIGURES["curves"][0](), KIND_COLOURS["tangential"], "o")
    np.testing.assert_allclose(points[:, 0], STRENGTH[1:])
    np.testing.assert_allclose(points[:, 1], np.asarray(sweep().accuracy)[2, 1:].mean(-1))


def test_bounds_are_open_symbols() -> None:
    strengths = np.array([0.0, 0.1, 0.2, 0.4, 0.8])
    curve = latent.drift_curve(np.maximum(strengths, 1e-9), 0.005, 1.5, 1.0, 0.125)
    below = latent.DriftSweep(strengths, curve[None, :, None], None, None, ("random",), 100, 3, None, 0.1)
    fit = latent.drift_tolerance(below)
    assert fit.status[0] == 1
    drawn_lines = [line for line in figures.drift_tolerances([fit, fit]).get_lines() if line.get_marker() == "o"]
    faces = [line.get_markerfacecolor() for line in drawn_lines if np.size(line.get_xdata())]
    assert faces == ["white"]


def test_undecided_signs_are_hollow() -> None:
    found = rate()
    labels = {line.get_label(): np.size(line.get_xdata()) for line in figures.growth_rate(found).get_lines()}
    assert labels["undecided"] == int((np.asarray(found.status) == 1).sum())
    assert labels["sign decided"] == int((np.asarray(found.status) == 0).sum())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: figures.drift_curves(sweep(), readout="regressed"), "`readout` must be one"),
        (lambda: figures.drift_tolerances([]), "`fits` must hold"),
        (lambda: figures.error_law([]), "`found` must hold"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()
