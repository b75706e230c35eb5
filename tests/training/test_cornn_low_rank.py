"""The one-step fit of low rank: exact where the activity is, stationary where it ends, no worse than descent."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature.systems import LowRank, Network, leaky_rate, simulate
from recurvature.training import Activity, cornn_low_rank, sample_activity

UNITS, RANK, RIDGE = 20, 2, 1e-4


@pytest.fixture(scope="module")
def truth() -> Network:
    """A network of rank 2 whose latent variables are strongly driven."""
    return leaky_rate(UNITS, inputs=2, outputs=1, key=rc.key(1), dt=0.5, gain=2.0, rank=RANK)


@pytest.fixture(scope="module")
def exact(truth: Network) -> Activity:
    """Its activity under random inputs."""
    return sample_activity(truth, 0.5 * np.random.default_rng(0).normal(size=(20, 41, 2)))


@pytest.fixture(scope="module")
def spoilt(exact: Activity) -> Activity:
    """The same with noise, in single precision or not as the caller likes."""
    noise = 0.05 * np.random.default_rng(1).normal(size=np.shape(exact.rates))
    return Activity(np.asarray(exact.rates) + noise, exact.inputs, 0.5, exact.start)


def test_the_weights_that_activity_shows_come_back(truth, exact):
    fit = cornn_low_rank(exact, rank=RANK, ridge=1e-12, iterations=40)
    found = fit.network.system.flow  # type: ignore[attr-defined]
    true = truth.system.flow
    assert isinstance(found.connectivity, LowRank)
    assert found.connectivity.normalisation == "1"
    # a ridge of 1e-12 over the least variance of activity that drives the units
    np.testing.assert_allclose(found.input_weights, true.input_weights, atol=1e-4)
    rates = np.asarray(exact.rates).reshape(-1, UNITS)
    got, given = (np.asarray(flow.connectivity(jnp.asarray(rates))) for flow in (found, true))
    # the same, on currents of order 1; weights along activity that never was are not known
    np.testing.assert_allclose(got, given, atol=1e-4)
    assert fit.report.rank == RANK
    assert (fit.report.r2 > 1 - 1e-6).all()
    run = simulate(fit.network, jnp.asarray(exact.inputs))
    # the network contracts errors of the weights
    np.testing.assert_allclose(run.states, exact.rates, atol=1e-3)
    latent = np.asarray(run.states) @ np.asarray(found.connectivity.right)
    # the same product
    np.testing.assert_allclose(run.outputs, latent, atol=1e-12)


def objective(parameters, before, inputs, d):
    left, right, rest = parameters
    z = before @ right @ left.T + inputs @ rest
    loss = (jnp.logaddexp(0.0, 2 * z) - (1 + d) * z).mean(0).sum()
    return loss + RIDGE / 2 * sum((p**2).sum() for p in parameters)


def rows(activity: Activity) -> tuple[jax.Array, jax.Array, jax.Array]:
    start = np.broadcast_to(np.asarray(activity.start), (20, 1, UNITS))
    rates = np.concatenate([start, np.asarray(activity.rates)], axis=1)
    before, after = rates[:, :-1].reshape(-1, UNITS), rates[:, 1:].reshape(-1, UNITS)
    d = np.clip(2 * after - before, -1 + 1e-6, 1 - 1e-6)
    return jnp.asarray(before), jnp.asarray(activity.inputs).reshape(-1, 2), jnp.asarray(d)


@pytest.fixture(scope="module")
def stationary(spoilt: Activity) -> tuple[jax.Array, ...]:
    """Where the fit ends, with every target kept."""
    fit = cornn_low_rank(spoilt, rank=RANK, ridge=RIDGE, outlier=None, iterations=400)
    flow = fit.network.system.flow  # type: ignore[attr-defined]
    # as far as the slack of its line searches
    assert (np.diff(fit.report.objective) <= 1e-8 * fit.report.objective[:-1]).all()
    return flow.connectivity.left, flow.connectivity.right, flow.input_weights.T


@pytest.mark.slow  # weights that come back are tested by default
def test_it_ends_where_the_gradient_of_the_written_out_objective_vanishes(stationary, spoilt):
    data = rows(spoilt)
    slopes = jax.grad(objective)(stationary, *data)
    at_rest = (jnp.zeros((UNITS, RANK)), stationary[1], jnp.zeros((2, UNITS)))
    scale = max(float(jnp.abs(s).max()) for s in jax.grad(objective)(at_rest, *data))
    # descent in turns converges linearly; a thousandth of a slope that is not zero
    for slope in slopes:
        assert float(jnp.abs(slope).max()) < 1e-3 * scale


@pytest.mark.slow
def test_descent_from_other_starts_does_not_get_lower(stationary, spoilt):
    data = rows(spoilt)
    optimiser = optax.adam(optax.cosine_decay_schedule(0.05, 600))

    @jax.jit
    def descend(key):
        keys = jax.random.split(key, 3)
        start = tuple(0.3 * jax.random.normal(k, p.shape) for k, p in zip(keys, stationary, strict=True))

        def body(carry, _):
            parameters, state = carry
            grads = jax.grad(objective)(parameters, *data)
            with jax.numpy_dtype_promotion("standard"):
                updates, state = optimiser.update(grads, state)
            return (optax.apply_updates(parameters, updates), state), None

        (found, _), _ = jax.lax.scan(body, (start, optimiser.init(start)), None, length=600)
        return objective(found, *data)

    ours = float(objective(stationary, *data))
    others = [float(descend(rc.key(seed))) for seed in range(3)]
    # the objective is about 10 nats: what is left of either's convergence
    assert ours <= min(others) + 1e-3


def test_a_rank_beyond_the_units_is_refused(exact):
    with pytest.raises(InputError, match="`rank` must be at most the number of units, 20; got 21"):
        cornn_low_rank(exact, rank=21)


@pytest.mark.slow
def test_a_bias_comes_back_too(truth, exact):
    shift = jnp.linspace(-0.3, 0.3, UNITS)
    shifted = eqx.tree_at(lambda network: network.system.flow.bias, truth, shift)
    activity = sample_activity(shifted, np.asarray(exact.inputs))
    fit = cornn_low_rank(activity, rank=RANK, ridge=1e-12, iterations=40, bias=True)
    found = fit.network.system.flow  # type: ignore[attr-defined]
    # as for the weights without one
    np.testing.assert_allclose(found.bias, shift, atol=1e-3)
    assert cornn_low_rank(activity, rank=RANK, iterations=40).report.r2.min() < 0.99
