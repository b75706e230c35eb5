"""Populations: one is the Gaussian closure, linear units do not tell them apart, two see what one misses."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from tests.lenses.overlaps.prescribed import DT, RANK1, some_overlaps

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses import overlaps as ov

FRACTIONS = np.array([0.75, 0.25])
UNITS = 64_000


@functools.cache
def data(phi: str) -> ov.DataLoss:
    x = 2 * np.random.default_rng(0).normal(size=(2, 12, 1))
    return ov.DataLoss(jnp.asarray(x), jnp.asarray(0.5 * np.sign(np.cumsum(x, axis=1))), RANK1, DT, phi=phi)


def apart() -> np.ndarray:
    """A quiet and a loud population."""
    return np.stack([0.1 * some_overlaps(RANK1, 1), 6.0 * some_overlaps(RANK1, 2)])


def descended(phi: str, overlaps: np.ndarray) -> ov.MixtureLearning:
    return ov.descend_mixture(data(phi), overlaps, FRACTIONS, 0.2, steps=12, every=4)


def test_equal_populations_are_one() -> None:
    equal, options = np.stack([some_overlaps(RANK1)] * 2), {"steps": 12, "every": 4, "looks": 0}
    both = ov.descend_mixture(data("erf"), equal, FRACTIONS, 0.2, **options)
    one = ov.descend(data("erf"), some_overlaps(RANK1), 0.2, layout=RANK1, **options)
    assert both.closure == "unchecked"
    # the same sums in another order
    np.testing.assert_allclose(both.matrix[:, 0], one.matrix, rtol=0, atol=1e-13)
    np.testing.assert_allclose(both.loss, one.loss, rtol=1e-12)


def test_populations_are_tested_each_by_itself() -> None:
    both = descended("erf", apart())
    assert both.closure == "drawn"
    said = both.diagnostics
    assert said["units"] == 2000
    # exact at the start but for sampling: a thousand units each
    for name in ("closure", "gain"):
        assert said[f"{name}_defect"][0] < 3 / np.sqrt(1000)
    assert said["energy_ratio"][0] > 1.001
    np.testing.assert_allclose(said["predicted_loss"], both.loss, rtol=1e-12)
    # one Gaussian of all units is what the tests find fault with, the two that they are not
    parts = [ov.vectors(s, RANK1, 2000, key=rc.key(k)) for k, s in enumerate(apart())]
    theta, group = np.concatenate([np.asarray(part) for part in parts]), np.repeat([0, 1], 2000)
    one, two = (ov.closure(theta, data("erf"), key=rc.key(0), populations=g) for g in (None, group))
    assert ov.STATUS[one.status[0]] == "not_gaussian"
    assert two.trusted
    # what the one misses is no sampling
    assert two.closure_defect[0] < 0.5 * one.closure_defect[0]
    assert two.velocity_defect[0] < 0.5 * one.velocity_defect[0]
    again = ov.MixtureLearning.from_xarray(both.to_xarray())
    assert again.diagnostics == said


def test_long_learning_of_populations_is_said_to_fail() -> None:
    found = ov.descend_mixture(data("erf"), apart(), FRACTIONS, 2.0, steps=60, every=20)
    assert not found.diagnostics["trusted"][-1]
    assert ov.STATUS[found.status[-1]] == "not_gaussian"
    assert found.diagnostics["trusted"][0]


@pytest.mark.slow
def test_linear_units_know_the_mean_alone() -> None:
    both = descended("identity", apart())
    mean = np.einsum("p,pij->ij", FRACTIONS, apart())
    one = ov.descend(data("identity"), mean, 0.2, steps=12, every=4, layout=RANK1)
    np.testing.assert_allclose(both.mean, one.matrix, rtol=0, atol=1e-13)
    assert np.abs(both.matrix[:, 0] - both.matrix[:, 1]).min() > 1e-3


@pytest.mark.slow
def test_two_populations_say_what_one_gaussian_gets_wrong() -> None:
    sizes = (FRACTIONS * UNITS).astype(int)
    parts = [ov.vectors(s, RANK1, int(n), key=rc.key(k)) for k, (s, n) in enumerate(zip(apart(), sizes, strict=True))]
    theta = np.concatenate([np.asarray(part) for part in parts])
    full = ov.descend_units(data("erf"), theta, 0.2, steps=12, every=4, layout=RANK1)
    both = descended("erf", apart())
    one = ov.descend(data("erf"), theta.T @ theta / UNITS, 0.2, steps=12, every=4, layout=RANK1)
    # at the start the mixture is right up to sampling: five standard errors
    assert abs(both.loss[0] / full.loss[0] - 1) < 5 / np.sqrt(UNITS)
    # one Gaussian is not, then and later
    assert abs(one.loss[0] - full.loss[0]) > 5 * abs(both.loss[0] - full.loss[0])
    assert np.abs(one.matrix[1] - full.matrix[1]).max() > 3 * np.abs(both.mean[1] - full.matrix[1]).max()


def test_arguments_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="add up to 1"):
        ov.descend_mixture(data("erf"), apart(), np.array([0.5, 0.6]), 0.1, steps=4)
    with pytest.raises(InputError, match="multiple of `every`"):
        ov.descend_mixture(data("erf"), apart(), FRACTIONS, 0.1, steps=4, every=3)
    with pytest.raises(InputError, match="positive semi-definite"):
        ov.descend_mixture(data("erf"), apart() - np.eye(4), FRACTIONS, 0.1, steps=4)
