"""A readout refitted is a ridge regression on the rates; what it can read is known in closed form."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from jaxtyping import Array

import recurvature as rc
from recurvature._errors import InputError, NumericalError
from recurvature.systems import FunctionMap, LinearReadout, Network, simulate
from recurvature.tasks.base import Trials
from recurvature.training import mean_squared_error, refit_readout


def rates_and_targets(network: Network, trials: Trials) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rates = np.tanh(np.asarray(simulate(network, trials.inputs).states)).reshape(-1, 6)
    return rates, np.asarray(trials.targets, float).reshape(-1, 1), np.asarray(trials.mask, float).reshape(-1, 1)


def test_weights_solve_the_normal_equations(network: Network, trials: Trials) -> None:
    weights = jr.uniform(jr.key(0), trials.mask.shape)
    trials = eqx.tree_at(lambda t: t.mask, trials, jnp.where(weights < 0.3, 0.0, weights).astype(jnp.float32))
    rates, targets, mask = rates_and_targets(network, trials)
    refitted = refit_readout(network, trials, ridge=0.5)
    expected = np.linalg.solve(rates.T @ (mask * rates) + 0.5 * np.eye(6), rates.T @ (mask * targets)).T
    # a system of condition 1e2 solved by another factorisation
    np.testing.assert_allclose(refitted.readout.weight, expected, rtol=1e-11)  # type: ignore[attr-defined]
    assert refitted.readout.bias is None  # type: ignore[attr-defined]
    assert eqx.tree_equal(refitted.system, network.system)


def test_a_bias_is_fitted_and_never_shrunk(network: Network, trials: Trials) -> None:
    biased = eqx.tree_at(lambda n: n.readout, network, LinearReadout(jnp.ones((1, 6)), jnp.zeros(1)))
    rates, targets, mask = rates_and_targets(network, trials)
    joined = np.concatenate([rates, np.ones((len(rates), 1))], 1)
    shrunk = np.diag([0.5] * 6 + [0.0])
    expected = np.linalg.solve(joined.T @ (mask * joined) + shrunk, joined.T @ (mask * targets))[:, 0]
    got: Any = refit_readout(biased, trials, ridge=0.5).readout
    # as above
    np.testing.assert_allclose(np.append(got.weight, got.bias), expected, rtol=1e-11)


def test_without_ridge_undetermined_weights_are_the_smallest(network: Network, trials: Trials) -> None:
    short = eqx.tree_at(lambda t: t.mask, trials, trials.mask.at[1:].set(0).at[0, :-2].set(0))
    rates, targets, _ = rates_and_targets(network, short)
    counted = np.asarray(short.mask).ravel() > 0
    assert 0 < counted.sum() < 6
    got: Any = refit_readout(network, short, ridge=0.0).readout
    # two rows of condition 1e3 at most
    np.testing.assert_allclose(got.weight, (np.linalg.pinv(rates[counted]) @ targets[counted]).T, rtol=1e-8)


def test_number_type_stays(small: Network, trials: Trials) -> None:
    readout: Any = refit_readout(small, trials, ridge=1.0).readout
    assert readout.weight.dtype == jnp.float32


def decisions() -> Trials:
    """One step, 11 × 11 evidences in units of their spacing; the answer is the sign of the first."""
    theta = np.stack(np.meshgrid(np.arange(-5.0, 6.0), np.arange(-5.0, 6.0), indexing="ij"), -1).reshape(-1, 2)
    inputs, targets = jnp.asarray(theta)[:, None], jnp.sign(jnp.asarray(theta))[:, None, :1]
    return Trials(inputs, targets, jnp.ones((121, 1)))


def read(code: Callable[[Array], Array], size: int) -> float:
    """The error of the best linear readout of a code without memory."""
    system = FunctionMap(lambda x, u: code(u), state_size=size, input_size=2, dt=1.0)
    network = Network(system, LinearReadout(jnp.ones((1, size))), jnp.zeros(size))
    trials = decisions()
    refitted = refit_readout(network, trials, ridge=0.0)
    return float(mean_squared_error(jnp.asarray(simulate(refitted, trials.inputs).outputs), trials))


PLATEAU = 10 / 11 - (30 / 11) ** 2 / 10
r"""$\langle\mathrm{sign}^2\rangle - \langle|k|\rangle^2/\langle k^2\rangle$ for k = -5…5: 0.165."""


def test_a_straight_code_reads_out_no_better_than_the_closed_form() -> None:
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 2)))[0]
    straight = lambda u: jnp.asarray(basis) @ u  # noqa: E731
    # sums over 121 points
    np.testing.assert_allclose(read(straight, 4), PLATEAU, rtol=1e-12)
    np.testing.assert_allclose(PLATEAU, 0.1653, atol=5e-5)


def test_constant_stretch_alone_does_not_hold_a_code_to_the_plateau() -> None:
    """Separable, every stretch 1, the ratio 1 at every point: but the curves are bent, and arcs read better."""
    bend = 10 / np.pi
    curve = lambda a: bend * jnp.stack([jnp.sin(a / bend), jnp.cos(a / bend)])  # noqa: E731
    found = read(lambda u: jnp.concatenate([curve(u[0]), curve(u[1])]), 4)
    steps = np.abs(np.sin(np.arange(-5, 6) * np.pi / 10))
    # the cosine is even and the sign is odd, so that only the sine is read; sums over 121 points
    np.testing.assert_allclose(found, 10 / 11 - np.mean(steps) ** 2 / np.mean(steps**2), rtol=1e-10)
    assert found < 0.6 * PLATEAU


def test_misuse_and_explosions_are_told(network: Network, trials: Trials) -> None:
    with pytest.raises(InputError, match="`ridge` must be finite and at least 0"):
        refit_readout(network, trials, ridge=-1.0)
    other = rc.systems.leaky_current(6, inputs=1, outputs=2, key=rc.key(0))
    with pytest.raises(InputError, match=r"`trials.targets` must have shape \(any, any, 2\)"):
        refit_readout(other, trials, ridge=1.0)
    wild = eqx.tree_at(lambda n: n.x0, network, jnp.full(6, jnp.nan))
    with pytest.raises(NumericalError, match="explodes on `trials`"):
        refit_readout(wild, trials, ridge=1.0)
