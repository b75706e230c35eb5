"""Rectified readouts: polynomials against enumeration, closed forms against quadrature, samples against both."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from tests.lenses.superposition.conftest import every_sequence, random_weights, run, square_errors

from recurvature._errors import InputError
from recurvature.lenses.superposition import (
    AbstractAmplitude,
    Levels,
    Uniform,
    normal_loss,
    order_one,
    order_two,
    projections,
    recall_loss,
    recall_network,
    sampled_loss,
    sparse,
    sparse_polynomial,
)
from recurvature.lenses.superposition.rectified import _cross, _square

relu = lambda z: np.maximum(z, 0)  # noqa: E731


@pytest.mark.parametrize(("kind", "hidden"), [("ssm", lambda h: h), ("nonlinear", relu)])
def test_the_polynomial_is_the_mean_over_all_sequences_at_any_density(kind, hidden):
    weights, values = random_weights(3, 3, 2), (1.0, -0.5)
    found = sparse_polynomial(
        recall_network(weights, kind=kind), steps=4, delay=1, amplitude=Levels(values), block=3281
    )
    for density in (0.05, 0.7):
        x, chance = every_sequence(4, 2, density, values)
        errors = square_errors(x, run(weights, x, hidden, relu), 1)
        # sums of 6561 terms
        np.testing.assert_allclose(found(density), chance @ errors, rtol=1e-12)
        silent = chance @ square_errors(x, 0 * x, 1)
        # the same
        np.testing.assert_allclose(found.normalised(density), chance @ errors / silent, rtol=1e-12)
        # in powers of the density, which cancel
        np.testing.assert_allclose(np.polyval(np.asarray(found.coefficient)[::-1], density), found(density), rtol=1e-9)
    assert found.coefficient[0] == 0


def test_coefficients_are_sums_over_subsets(planar):
    a, steps, delay = np.asarray(projections(planar, 6))[:, 0, 0], 6, 2

    def loss(ages):
        return (1 if delay in ages else 0) - relu(sum(a[s] for s in ages))

    expected = np.zeros(steps + 1)
    for size in range(1, steps + 1):
        for chosen in itertools.combinations(range(steps), size):
            subsets = itertools.chain.from_iterable(itertools.combinations(chosen, r) for r in range(size + 1))
            difference = sum((-1) ** (size - len(r)) * loss(r) ** 2 for r in subsets)
            expected[size] += (steps - max(chosen)) * difference
    found = sparse_polynomial(recall_network(planar, kind="ssm"), steps=steps, delay=delay)
    # alternating sums of at most 64 terms of order 1
    np.testing.assert_allclose(found.coefficient, expected, atol=1e-12)


def test_first_orders_are_the_first_coefficients():
    for levels in (Levels(), Levels((0.3, 1.0)), Levels((1.0, -0.6))):
        weights = random_weights(11, 2, 1)
        a = projections(weights, 6)
        network = recall_network(weights, kind="ssm")
        found = sparse_polynomial(network, steps=6, delay=1, amplitude=levels)
        # alternating sums of the losses of 6 and of 15 sets
        np.testing.assert_allclose(order_one(a, 1, amplitude=levels), found.coefficient[1], rtol=1e-11)
        np.testing.assert_allclose(order_two(a[:, 0, 0], 1, amplitude=levels), found.coefficient[2], rtol=1e-10)


def test_the_second_order_of_several_features_is_the_second_coefficient():
    weights = random_weights(11, 3, 2)
    importance, levels = jnp.array([1.0, 0.4]), Levels((0.3, 1.0))
    found = sparse_polynomial(
        recall_network(weights, kind="ssm"), steps=4, delay=1, amplitude=levels, importance=importance
    )
    second = order_two(np.asarray(projections(weights, 4)), 1, amplitude=levels, importance=importance)
    # alternating sums of the losses of 28 pairs of features
    np.testing.assert_allclose(second, found.coefficient[2], rtol=1e-10)


def test_what_two_orders_leave_out_is_of_third_order(planar):
    found = sparse_polynomial(recall_network(planar, kind="ssm"), steps=6, delay=2)
    a = projections(planar, 6)
    first, second = float(order_one(a, 2, amplitude=Levels())), order_two(a[:, 0, 0], 2, amplitude=Levels())
    left = [(found(p) - first * p - second * p**2) / p**3 for p in (0.02, 0.01, 0.005)]
    # the quotient settles on the third coefficient, and what is left of it halves with the density
    np.testing.assert_allclose(left[-1], found.coefficient[3], rtol=0.05)
    np.testing.assert_allclose(np.diff(left)[0] / np.diff(left)[1], 2, rtol=0.1)


@pytest.mark.parametrize(
    "pair", [(0.7, 0.4), (0.7, -0.4), (0.4, -0.7), (-0.7, 0.4), (-0.4, 0.7), (-1.0, -1.0), (0.5, 0.0)]
)
def test_moments_of_uniform_pairs(pair):
    a, b = pair
    grid, weights = np.polynomial.legendre.leggauss(40)
    u, half = (grid + 1) / 2, weights / 2

    def inner(power, u):
        """Over V, cut where the sum changes sign, so that the quadrature is exact."""
        edge = np.clip(-a * u / b, 0, 1) if b else 0.5
        pieces = [(0, edge), (edge, 1)]
        return sum(
            (high - low) * half @ relu(a * u + b * (low + (high - low) * (grid + 1) / 2)) ** power
            for low, high in pieces
        )

    cut = min(1.0, -b / a) if a * b < 0 else 1.0
    for power, got, factor in ((2, _square(a, b), 0), (1, _cross(a, b), 1)):
        parts = [
            (high - low)
            * sum(w * v**factor * inner(power, v) for w, v in zip(half, low + (high - low) * u, strict=True))
            for low, high in ((0, cut), (cut, 1))
        ]
        # Gauss quadrature of pieces that are polynomials
        np.testing.assert_allclose(got, sum(parts), rtol=1e-12, atol=1e-15)


def test_conditioned_samples_agree_with_enumeration(planar, getkey):
    # a bias gives outputs without any input: trials without a feature cost something
    network = recall_network(planar, kind="ssm", bias=jnp.array([0.05]))
    exact = sparse_polynomial(network, steps=6, delay=2, amplitude=Levels((0.5, 1.0)))
    for density in (0.01, 0.4, 1.0):
        found = sampled_loss(
            network, steps=6, delay=2, density=density, amplitude=Levels((0.5, 1.0)), trials=2000, key=getkey()
        )
        # 6 steps of a bias of 0.05
        assert found.unasked == pytest.approx(6 * 0.05**2, rel=1e-12)
        # 4 standard errors
        assert abs(found.loss - exact(density)) < 4 * found.standard_error
        # even where 94 of 100 trials are empty, the error is a few percent
        assert found.standard_error < 0.1 * found.loss
        np.testing.assert_allclose(
            found.loss / found.normalised, exact(density) / exact.normalised(density), rtol=1e-12
        )


def test_what_cannot_be_enumerated_is_refused():
    network = recall_network(random_weights(0, 2, 1))
    with pytest.raises(InputError, match="2\\^30 sequences are too many"):
        sparse_polynomial(network, steps=30, delay=1)
    with pytest.raises(InputError, match="`amplitude` must be `Levels`"):
        sparse_polynomial(network, steps=3, delay=1, amplitude=Uniform())


class Cauchy(AbstractAmplitude):
    """What has draws and no moments."""

    mean = float("nan")
    squares = (float("inf"), float("inf"))

    def quantile(self, chance):
        return jnp.tan(jnp.pi * (chance - 0.5))


def test_amplitudes_without_moments_have_no_loss(getkey):
    network, a = recall_network(random_weights(0, 2, 1)), jnp.ones((3, 1, 1))
    for ask in (
        lambda u: sparse(0.1, amplitude=u),
        lambda u: recall_loss(0.1, amplitude=u),
        lambda u: sampled_loss(network, steps=4, delay=1, density=0.1, amplitude=u, key=getkey()),
        lambda u: order_one(a, 1, amplitude=u),
        lambda u: normal_loss(a, 1, 0.1, amplitude=u),
    ):
        with pytest.raises(InputError, match="`amplitude` needs a finite mean and a finite square above 0; Cauchy has"):
            ask(Cauchy())
