"""The first step of Adam, element by element, of many units at random."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tests.lenses.overlaps.prescribed import FILTER, RANK1, some_overlaps

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses import overlaps as ov

UNITS, RATE = 100_000, 0.4


def test_the_first_step_of_adam_is_known_for_gaussian_weights() -> None:
    s = some_overlaps(RANK1)
    theta = ov.vectors(s, RANK1, UNITS, key=rc.key(4))
    gradient = UNITS * jax.grad(lambda x: FILTER(x.T @ x / UNITS))(theta)
    optimiser = optax.adam(RATE)
    # optax counts its steps in whole numbers
    with jax.numpy_dtype_promotion("standard"):
        step = np.asarray(optimiser.update(gradient, optimiser.init(theta))[0])
    after = np.asarray(theta) + step
    found = ov.first_adam_step(s, ov.symmetric_gradient(FILTER, jnp.asarray(s)), RATE)
    # means of products of a sample: five standard errors, as the rows themselves have them
    moved = np.einsum("na,nb->nab", after, after) - np.einsum("na,nb->nab", theta, theta)
    error = moved.std(axis=0) / np.sqrt(UNITS)
    assert (np.abs(moved.mean(axis=0) - (found - s)) < 5 * error).all()
    # a hundred times less than what the step does
    assert error.max() < 0.01 * np.abs(found - s).max()
    # and no step of rate times the gradient, however long, has its direction
    plain = ov.symmetric_gradient(FILTER, jnp.asarray(s))
    velocity = np.asarray(plain @ s + s @ plain)
    change = (found - s).ravel()
    aligned = abs(velocity.ravel() @ change) / np.linalg.norm(velocity) / np.linalg.norm(change)
    assert aligned < 0.95


def test_weights_without_a_gradient_stay() -> None:
    s = some_overlaps(RANK1)
    gamma = np.array(ov.symmetric_gradient(FILTER, jnp.asarray(s)))
    gamma[:, 0] = gamma[0, :] = 0.0
    gamma[2, :] = gamma[:, 2] = 0.0
    after = ov.first_adam_step(s, gamma, RATE)
    # neither z nor m moves: the overlaps of the two are what they were
    np.testing.assert_array_equal(after[np.ix_([0, 2], [0, 2])], s[np.ix_([0, 2], [0, 2])])
    # v moves by signs of u, which is Gaussian: a step of unit length
    assert after[1, 1] != s[1, 1]


def test_numbers_that_make_no_step_are_refused() -> None:
    s = some_overlaps(RANK1)
    with pytest.raises(InputError, match="`rate` must be"):
        ov.first_adam_step(s, s, 0.0)
    with pytest.raises(InputError, match="must be finite"):
        ov.first_adam_step(s, np.nan * s, 0.1)
