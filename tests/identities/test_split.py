from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses import latent

FORMS = {"rate": rc.systems.leaky_rate, "current": rc.systems.leaky_current}
MANIFOLD = rc.systems.ConstantInputs(rc.systems.box(a=(-1.0, 1.0), b=(-1.0, 1.0)))
UNITS, STEPS, DT = 9, 6, 0.2


def random_network(form: str, seed: int) -> Any:
    key = rc.stream(rc.key(seed), form)
    return rc.cast(FORMS[form](UNITS, inputs=2, outputs=1, key=key, rank=2, dt=DT, gain=3.0), float)


class Start(eqx.Module):
    """A state at time 0 that both coordinates move."""

    frame: jax.Array

    def __call__(self, theta):
        return self.frame @ jnp.sin(theta)


def split(form: str, seed: int, *, start: bool = False, **options):
    frame = jnp.asarray(np.random.default_rng(seed).normal(size=(UNITS, 2)))
    return rc.identities.metric_split(
        random_network(form, seed),
        MANIFOLD,
        points=np.array([[0.3, -0.7]]),
        duration=STEPS * DT,
        initial=Start(frame) if start else None,
        **options,
    )


@pytest.mark.property
@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=4)
@given(seed=st.integers(0, 2**31))
def test_the_metric_is_what_the_unit_carries_and_what_lies_beside_it(form, seed):
    found = split(form, seed)
    assert found.status == 0
    assert found.closed
    # sums of some dozen products over 6 steps, each rounded to 2e-16
    assert max(found.sum_error, found.lifted_error) <= 1e-12
    assert np.abs(found.parallel).max() > 1e-3


@pytest.mark.parametrize("form", ["current", pytest.param("rate", marks=pytest.mark.slow)])
def test_what_the_start_brings_beside_the_unit_fades_with_the_leak(form):
    found = split(form, 4, start=True)
    assert found.status == 0
    assert found.closed == (form == "rate")
    falls = np.trace(found.fading[1:, 0], axis1=1, axis2=2) / np.trace(found.fading[:-1, 0], axis1=1, axis2=2)
    # one rounding a step
    np.testing.assert_allclose(falls, (1 - DT) ** 2, rtol=1e-13)
    # sums of some dozen products
    assert found.error <= 1e-12
    if form == "current":
        np.testing.assert_allclose(found.orthogonal, found.fading, rtol=0, atol=1e-12)
    else:
        # the unit feeds what lies outside of the encoding
        assert np.abs(found.orthogonal - found.fading).max() > 0.1


@pytest.mark.slow
def test_a_start_outside_of_the_encoding_moves_no_latent_variable():
    network = random_network("rate", 5)
    still = rc.systems.ConstantInputs(rc.systems.interval("a"), lambda theta: jnp.zeros(2))
    across = latent.split(network, np.random.default_rng(5).normal(size=UNITS))[1]
    found = rc.identities.metric_split(
        network, still, points=1, duration=STEPS * DT, initial=lambda theta: jnp.asarray(across) * theta[0]
    )
    # rounding of a projection
    assert np.abs(found.latent).max() < 1e-28
    # all there is fades: nothing is fed
    np.testing.assert_allclose(found.orthogonal, found.fading, rtol=1e-12)


def test_outside_of_the_encoding_tangents_obey_a_leak_fed_by_the_unit():
    network, found = random_network("rate", 6), split("rate", 6, start=True)
    flow, u = network.system.flow, np.array([0.3, -0.7])
    low, drive = flow.connectivity, np.asarray(flow.input_weights)
    left, encoding = np.asarray(low.left), np.asarray(low.right).T / UNITS
    frame = np.random.default_rng(6).normal(size=(UNITS, 2))
    state, tangents = frame @ np.sin(u), frame * np.cos(u)
    outside = np.eye(UNITS) - np.linalg.pinv(encoding) @ encoding
    kappa, moved, beside = encoding @ state, encoding @ tangents, outside @ tangents
    for k in range(STEPS):
        currents = left @ kappa + drive @ u
        gain = 1 - np.tanh(currents)[:, None] ** 2
        fed = gain * (left @ moved + drive)
        kappa = (1 - DT) * kappa + DT * encoding @ np.tanh(currents)
        moved = (1 - DT) * moved + DT * encoding @ fed
        beside = (1 - DT) * beside + DT * outside @ fed
        # products of small matrices, in another order
        np.testing.assert_allclose(found.latent[k, 0], moved.T @ moved, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(found.orthogonal[k, 0], beside.T @ beside, rtol=1e-12, atol=1e-14)


@pytest.mark.slow
def test_in_continuous_time_both_parts_follow_the_solver():
    network = rc.systems.leaky_current(6, inputs=2, outputs=1, key=rc.key(7), rank=2, dt=None, gain=3.0)
    frame = jnp.asarray(np.random.default_rng(7).normal(size=(6, 2)))
    found = rc.identities.metric_split(
        rc.cast(network, float), MANIFOLD, points=1, duration=1.0, samples=2, initial=Start(frame)
    )
    assert found.status == 0
    # a hundred times the solver's relative tolerance of a step
    np.testing.assert_allclose(found.orthogonal, found.fading, rtol=1e-6)
    np.testing.assert_allclose(found.fading[1] / found.fading[0], np.exp(-1.0), rtol=1e-12)


def test_networks_without_a_latent_unit_are_refused():
    dense = rc.cast(rc.systems.leaky_rate(5, inputs=2, outputs=1, key=rc.key(0)), float)
    with pytest.raises(InputError, match="has no latent unit of its own"):
        rc.identities.metric_split(dense, MANIFOLD, duration=1.0)
