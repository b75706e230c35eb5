"""Figures of the latent unit: they show what the results hold, within the page, and say what is what."""

import functools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.axes import Axes
from tests.figures.drawing import readable

from recurvature import figures, latent, measures
from recurvature._errors import InputError
from recurvature.systems import Dense, Euler, LeakyCurrent, LinearReadout, Network


@functools.cache
def network() -> Network:
    rng = np.random.default_rng(0)
    left = rng.normal(size=(20, 2))
    weight = left @ (2 * left + 0.3 * rng.normal(size=(20, 2))).T / 20 + 0.3 * rng.normal(size=(20, 20)) / 20**0.5
    flow = LeakyCurrent(Dense(jnp.asarray(weight)), jnp.asarray(rng.normal(size=(20, 1))), jnp.zeros(20))
    return Network(Euler(flow, 0.3), LinearReadout(jnp.asarray(rng.normal(size=(1, 20)) / 20)), jnp.zeros(20))


@functools.cache
def extraction() -> latent.Extraction:
    return latent.extract(network(), np.random.default_rng(1).normal(size=(2, 20, 1)), ranks=(2, 3))


@functools.cache
def unit() -> latent.LatentUnit:
    found = latent.extracted_unit(network(), extraction(), 2)
    assert isinstance(found, latent.LatentUnit)
    return found


def spectra() -> dict[str, measures.SphereSpectrum]:
    make = lambda phi, degrees: measures.sphere_spectrum(phi, coordinates=3, degrees=degrees)  # noqa: E731
    return {"tanh": make(np.tanh, 30), "sign": make(np.sign, 9)}


def drifted() -> Axes:
    after = latent.tuning_curves(latent.regauge(unit(), 2 * np.eye(2)))
    return figures.tuning(latent.tuning_curves(unit()), after=after)


FIGURES: dict[str, tuple[Callable[[], Axes | list[Axes]], str]] = {
    "vectors": (
        lambda: figures.unit_vectors(latent.unit_vectors(latent.reduced(network(), extraction(), 2))),
        "embedding $m_{1}$",
    ),
    "tuning": (lambda: figures.tuning(latent.tuning_curves(unit())), r"latent variable $\kappa_{1}$"),
    "drifted tuning": (drifted, r"latent variable $\kappa_{1}$"),
    "spectrum": (
        lambda: figures.latent_spectrum(latent.spectrum(unit(), np.zeros(2), full=True)),
        "growth rate (1/τ)",
    ),
    "own spectrum": (lambda: figures.latent_spectrum(latent.spectrum(unit(), np.zeros(2))), "growth rate (1/τ)"),
    "extraction": (lambda: figures.extraction(extraction()), "rank of the unit"),
    "sphere": (lambda: figures.sphere_dimension(spectra()), "variance left out"),
}
test_every_figure_is_readable = readable(FIGURES)


def test_marks_are_where_the_numbers_are() -> None:
    found = extraction()
    bottom = FIGURES["extraction"][0]()[1]  # type: ignore[index]
    drawn = {line.get_label(): line.get_xydata() for line in bottom.get_lines()}
    np.testing.assert_array_equal(drawn["$R^2$ of states"], np.stack([found.candidate, found.state_r2], 1))
    assert "accuracy" not in drawn
    sphere = FIGURES["sphere"][0]()
    assert isinstance(sphere, Axes)
    legend = sphere.get_legend()
    assert legend is not None
    # a sphere of three coordinates under tanh: docs eq. L.32; nine degrees of sign units do not hold 99 %
    assert [text.get_text() for text in legend.get_texts()] == ["tanh: 9", "sign: more"]


def test_mistakes_are_named() -> None:
    with pytest.raises(InputError, match="`pairs` must name vectors among m 1, m 2"):
        figures.unit_vectors(latent.unit_vectors(unit()), pairs=(("m 1", "x 1"),))
    with pytest.raises(InputError, match="`units` must lie in 0…19"):
        figures.tuning(latent.tuning_curves(unit()), units=(20,))
    with pytest.raises(InputError, match="`spectra` must hold"):
        figures.sphere_dimension({})
