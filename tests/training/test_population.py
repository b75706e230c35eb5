"""Populations: Adam against one written out, portions, gradients that are not finite, branches."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from jaxtyping import Array

import recurvature as rc
from recurvature._errors import InputError
from recurvature.training import fit_along, fit_population


class Bowls(eqx.Module):
    """A point of each network in a bowl of its own, under noise that all share."""

    point: Array
    scale: Array
    name: str = eqx.field(static=True, default="bowls")


class Distance(eqx.Module):
    """The mean square distance from a target, with a shake that depends on the key."""

    target: Array

    def __call__(self, population: Bowls, key: Any) -> Array:
        shake = 0.1 * jr.normal(key, (2, 1))
        return population.scale * ((population.point - self.target[:, None] - shake) ** 2).sum(0)


def bowls(count: int, dtype: Any = float) -> Bowls:
    points = np.random.default_rng(0).normal(size=(2, count))
    return Bowls(jnp.asarray(points, dtype), jnp.asarray([0.1, 1.0, 5.0, 20.0, 2.0][:count], dtype))


TARGET = np.array([0.3, -0.2])
LOSS = Distance(jnp.asarray(TARGET))


def adam(start: np.ndarray, shakes: np.ndarray, rate: float, clip: float) -> tuple[np.ndarray, list[float]]:
    """One network by Adam, with the step falling to a hundredth along a cosine: Kingma and Ba, algorithm 1."""
    # the scale is trained as well: all real arrays are
    theta, m, v, losses = start.copy(), np.zeros(3), np.zeros(3), []
    for t, shake in enumerate(shakes):
        off = theta[:2] - TARGET - shake
        losses.append(theta[2] * (off**2).sum())
        gradient = np.array([*(2 * theta[2] * off), (off**2).sum()])
        gradient *= min(1.0, clip / np.linalg.norm(gradient))
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        step = m / (1 - 0.9 ** (t + 1)) / (np.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8)
        theta = theta - rate * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * t / len(shakes)))) * step
    return theta, losses


@pytest.mark.oracle
def test_every_network_is_trained_by_an_adam_of_its_own():
    key, population = rc.key(0), bowls(4)
    fitted = fit_population(population, LOSS, steps=25, key=key, learning_rate=0.05, clip_norm=0.5, block=10)
    keys = [jr.fold_in(rc.stream(key, "steps"), step) for step in range(25)]
    shakes = np.stack([0.1 * np.asarray(jr.normal(k, (2, 1)))[:, 0] for k in keys])
    for i in range(4):
        start = np.array([*np.asarray(population.point)[:, i], float(population.scale[i])])
        theta, losses = adam(start, shakes, 0.05, 0.5)
        got = np.array([*np.asarray(fitted.population.point)[:, i], float(fitted.population.scale[i])])
        # the rate is a number of 32 bits
        np.testing.assert_allclose(got, theta, rtol=1e-5, atol=1e-6)
        rows = [np.mean(losses[a:b]) for a, b in ((0, 10), (10, 20), (20, 25))]
        np.testing.assert_allclose(np.asarray(fitted.history.loss)[:, i], rows, rtol=1e-5)
    assert fitted.history.step.tolist() == [10, 20, 25]
    assert fitted.history.status.tolist() == [0] * 4
    assert not fitted.failed.any()


def test_portions_change_nothing():
    whole, parts = (fit_population(bowls(4), LOSS, steps=20, key=rc.key(0), chunk=c) for c in (None, 3))
    # the same operations on arrays of other lengths
    np.testing.assert_allclose(parts.population.point, whole.population.point, rtol=1e-12)
    np.testing.assert_allclose(parts.history.loss, whole.history.loss, rtol=1e-6)
    assert parts.history.zeroed.shape == (4,)


def test_gradients_that_are_not_finite_are_left_out_counted_and_harm_no_other():
    good = bowls(4)
    broken = eqx.tree_at(lambda p: p.point, good, good.point.at[0, 1].set(jnp.nan))
    calm, fitted = (fit_population(p, LOSS, steps=20, key=rc.key(0)) for p in (good, broken))
    assert fitted.history.zeroed.tolist() == [0, 20, 0, 0]
    assert [fitted.history.statuses[s] for s in fitted.history.status] == [
        "trained",
        "non-finite",
        "trained",
        "trained",
    ]
    assert fitted.failed.tolist() == [False, True, False, False]
    np.testing.assert_array_equal(
        np.asarray(fitted.population.point)[:, [0, 2, 3]], np.asarray(calm.population.point)[:, [0, 2, 3]]
    )


class Blinking(eqx.Module):
    """Infinite at some keys, so that some gradients are not finite."""

    def __call__(self, population: Bowls, key: Any) -> Array:
        lost = jr.uniform(key, ()) < 0.3
        return jnp.where(lost, jnp.inf, 1.0) * (population.point**2).sum(0)


def test_a_network_outlives_single_gradients_that_are_not_finite():
    fitted = fit_population(bowls(4), Blinking(), steps=40, key=rc.key(0), learning_rate=0.1)
    assert (np.asarray(fitted.history.zeroed) > 0).all()
    assert np.isfinite(fitted.population.point).all()
    assert (np.asarray(fitted.population.point) ** 2).sum() < (np.asarray(bowls(4).point) ** 2).sum()


def test_a_branch_is_followed_from_loss_to_loss():
    losses = [Distance(jnp.asarray([x, 0.0])) for x in (0.0, 1.0)]
    first, second = fit_along(bowls(4), losses, steps=30, key=rc.key(0), learning_rate=0.05)
    again = fit_population(first.population, losses[1], steps=30, key=rc.key(0), learning_rate=0.05)
    np.testing.assert_array_equal(second.population.point, again.population.point)


@pytest.mark.parametrize(
    ("population", "options", "message"),
    [
        (Bowls(jnp.ones((2, 3)), jnp.ones(2)), {}, r"last axis runs over the networks; got lengths \[2, 3\]"),
        (Bowls(jnp.ones((2, 3), int), jnp.ones(3, int)), {}, "no array of real numbers"),
        (bowls(2), {"steps": 0}, "`steps` must be a whole number"),
        (bowls(2), {"learning_rate": -1.0}, "`learning_rate` must be a finite number greater than 0"),
        (bowls(2), {"last_rate": -1.0}, "`last_rate` is a share of the rate, from 0 to 1; got -1.0"),
        (bowls(2), {"last_rate": float("nan")}, "`last_rate` is a share"),
        (bowls(2), {"chunk": 0}, "`chunk` must be a whole number"),
    ],
)
def test_what_cannot_be_trained_is_refused(population, options, message):
    with pytest.raises(InputError, match=message):
        fit_population(population, LOSS, key=rc.key(0), **{"steps": 1, **options})
