import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from recurvature._errors import InputError
from recurvature.systems import ACTIVATIONS, activation

POINTS = jnp.asarray([*np.linspace(-30, 30, 61), -1e-6, -1e-9, 0.0, 1e-9, 1e-6])


@functools.cache
def values(name: str) -> np.ndarray:
    return np.asarray(jax.jit(ACTIVATIONS[name])(POINTS))


@functools.cache
def slopes(name: str) -> np.ndarray:
    return np.asarray(jax.jit(jax.vmap(jax.grad(ACTIVATIONS[name])))(POINTS))


@pytest.mark.oracle
@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"erf", "identity"}))
def test_equals_torch(torch, name):
    expected = getattr(torch.nn.functional, name)(torch.tensor(np.asarray(POINTS)))
    # torch returns x itself from softplus above 20, where log(1 + e^-x) is 2e-9
    tolerance = 1e-8 if name == "softplus" else 1e-14
    np.testing.assert_allclose(values(name), expected, rtol=tolerance, atol=1e-16)


@pytest.mark.oracle
def test_softplus_and_erf_equal_their_formulas():
    # one evaluation each in float64
    np.testing.assert_allclose(values("softplus"), np.logaddexp(0, POINTS), rtol=1e-14)
    expected = scipy.special.erf(np.sqrt(np.pi) / 2 * np.asarray(POINTS))
    np.testing.assert_allclose(values("erf"), expected, rtol=1e-14)


@pytest.mark.parametrize(("name", "slope"), [("erf", 1.0), ("tanh", 1.0), ("identity", 1.0), ("sigmoid", 0.25)])
def test_slope_at_zero(name, slope):
    # one product of two rounded constants
    np.testing.assert_allclose(slopes(name)[-3], slope, rtol=1e-15)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_keeps_the_number_type_and_has_finite_slopes(name):
    for dtype in (jnp.float32, jnp.float64):
        assert jax.eval_shape(ACTIVATIONS[name], jax.ShapeDtypeStruct((3,), dtype)).dtype == dtype
    assert np.isfinite(slopes(name)).all()


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_only_relu_has_a_kink(name):
    # slopes of all smooth ones change by at most 2e-6 between -1e-6 and 1e-6
    assert (abs(slopes(name)[-1] - slopes(name)[-5]) > 1e-5) == (name == "relu")


def test_takes_a_name_or_a_function():
    assert activation("tanh") is ACTIVATIONS["tanh"]
    assert activation(jnp.sin) is jnp.sin
    with pytest.raises(InputError, match=r"unknown activation 'rellu'. Did you mean 'relu'\?"):
        activation("rellu")
