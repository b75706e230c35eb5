"""Beyond the paper: inputs that last, diagonal state-space models, and targets made of several ages."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from recurvature import superposition
from recurvature.app.claims import Measured
from recurvature.systems import DiagonalMap, LinearReadout, Network

from .networks import Lab


def lasting_inputs_stay_exact(lab: Lab) -> Measured:
    """The stationary loss of bursts and autoregressions beside long trials, and what lasting inputs gain."""
    rng, gaps = np.random.default_rng(lab.settings.seed), []
    recurrent = rng.normal(size=(4, 4))
    recurrent *= 0.6 / np.abs(np.linalg.eigvals(recurrent)).max()
    weights = superposition.Weights(
        *(jnp.asarray(w) for w in (recurrent, rng.normal(size=(4, 2)), rng.normal(size=(2, 4))))
    )
    for inputs in (superposition.persistent_gates(0.2, 0.7, 2), superposition.autoregressive(0.8, 2)):
        a = superposition.projections(weights, 120)
        longer, shorter = (
            float(superposition.correlated_loss(a[:steps], inputs.correlation(steps), 2)) for steps in (120, 119)
        )
        gaps.append(abs(float(superposition.persistent_loss(weights, inputs, 2)) - longer + shorter))
    best = [_best_autoregressive(memory) for memory in (0.0, 0.4, 0.8)]
    return Measured(
        {
            "largest_gap_to_long_trials": max(gaps),
            "gap_to_white_optimum": abs(best[0] - superposition.optimal_linear(3, 2, starts=4).loss),
            "largest_change_with_memory": float(np.diff(best).max()),
        },
        {"loss by memory": best},
    )


def _best_autoregressive(memory: float) -> float:
    """The least loss of two units for delay 3, over recurrences, each with its best readout."""
    inputs = superposition.autoregressive(memory)

    def lost(x: np.ndarray) -> float:
        radius, angle = 1 / (1 + np.exp(-x[0])), x[1]
        c, s = radius * np.cos(angle), radius * np.sin(angle)
        # the readout is free, so that of the recurrence only the eigenvalues count
        recurrent, drive = jnp.asarray([[c, -s], [s, c]]), jnp.asarray([[1.0], [0.0]])
        weights = superposition.persistent_readout(recurrent, drive, inputs, 3)
        return float(superposition.persistent_loss(weights, inputs, 3))

    found = scipy.optimize.minimize(lost, (1.3, 0.55), method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-10})
    return float(found.fun)


def bursts_move_the_transition(lab: Lab) -> Measured:
    """Where dense and sparse packing of delay 3 cost the same, for gates that last longer and longer."""
    options: dict[str, Any] = {"between": (0.2, 0.6), "scan": 4, "points": 1024, "tolerance": 4e-3}
    found = {memory: superposition.crossing(3, memory=memory, **options) for memory in (0.2, 0.4)}
    # without memory: `transition`
    density = [superposition.TRANSITION[3], *(one.density for one in found.values())]
    return Measured(
        {
            "largest_change_with_memory": float(np.diff(density).max()),
            "smallest_jump_of_turn": float(min(np.diff(np.asarray(one.k_theta))[0] for one in found.values())),
        },
        {"density by memory": density},
        {f"memory-{memory}": one for memory, one in found.items()},
    )


def diagonal_models_are_spirals(lab: Lab) -> Measured:
    """The best diagonal networks of one and two complex modes, found in their own parameters."""
    one, two = _best_diagonal(3, 1), _best_diagonal(6, 2)
    spiral, four = superposition.optimal_linear(3, 2, starts=6), superposition.optimal_linear(6, 4, starts=8)
    modes = superposition.modes(superposition.weights_of(one[1]), 3)
    return Measured(
        {
            "gap_to_two_units": abs(one[0] - spiral.loss),
            "gap_of_moduli": abs(float(np.asarray(modes.modulus)[0] - np.asarray(spiral.modulus)[0])),
            "gap_of_turns": abs(
                3 * float(np.asarray(modes.angle)[0]) - 3 * float(np.rad2deg(np.asarray(spiral.angle)[0]))
            ),
            "gap_of_recalled_part": abs(
                float(np.asarray(modes.recalled).sum()) - float(np.asarray(spiral.response)[3])
            ),
            "two_modes_minus_four_units": two[0] - four.loss,
        },
        {"losses": [one[0], two[0], four.loss]},
        {"modes": modes},
    )


def _best_diagonal(delay: int, count: int) -> tuple[float, Network]:
    """The least stationary loss for white input over decays, phases and both sides of the readout."""

    def network(x: Any) -> Network:
        decay, phase, real, imag = x.reshape(4, count)
        system = DiagonalMap(
            log_decay=decay,
            log_phase=phase,
            log_scale=jnp.zeros(count),
            input_real=jnp.ones((count, 1)),
            input_imag=jnp.zeros((count, 1)),
            dt=1.0,
        )
        return Network(system, LinearReadout(jnp.concatenate([real, imag])[None]), jnp.zeros(2 * count))

    white = superposition.white()

    def lost(x: Any) -> Any:
        net = network(x)
        step = net.system.step  # type: ignore[attr-defined]
        h, u = net.x0, jnp.zeros(1)
        recurrent, inputs = jax.jacfwd(lambda h: step(h, u))(h), jax.jacfwd(lambda v: step(h, v))(u)
        weights = superposition.Weights(recurrent, inputs, net.readout.weight)  # type: ignore[attr-defined]
        return superposition.stationary_loss(weights, white, delay)

    slope = jax.jit(jax.value_and_grad(lost))
    ask = lambda x: tuple(np.asarray(part, float) for part in slope(jnp.asarray(x)))  # noqa: E731
    rng, ends = np.random.default_rng(0), []
    for _ in range(4 * count):
        start = np.concatenate(
            [rng.normal(-1.5, 0.3, count), rng.normal(-0.6, 0.5, count), rng.normal(0, 0.3, 2 * count)]
        )
        ends.append(scipy.optimize.minimize(ask, start, jac=True, method="BFGS", options={"gtol": 1e-9}))
    best = min(ends, key=lambda end: float(end.fun) if np.isfinite(end.fun) else np.inf)
    return float(best.fun), network(jnp.asarray(best.x))


def targets_may_combine_ages(lab: Lab) -> Measured:
    """The difference of two past inputs as a target: by enumeration, and as the difference of two readouts."""
    rng = np.random.default_rng(lab.settings.seed)
    recurrent = rng.normal(size=(4, 4))
    recurrent *= 0.8 / np.abs(np.linalg.eigvals(recurrent)).max()
    parts = (jnp.asarray(recurrent), jnp.asarray(rng.normal(size=(4, 1))))
    statistics = superposition.sparse(0.3)
    target = jnp.zeros((4, 1, 1)).at[1].set(1.0).at[3].set(-1.0)
    both = superposition.optimal_readout(*parts, statistics, target)
    alone = [superposition.optimal_readout(*parts, statistics, delay).readout for delay in (1, 3)]
    loss = float(superposition.stationary_loss(both, statistics, target))
    slope = jax.grad(lambda w: superposition.stationary_loss(w, statistics, target))(both).readout
    return Measured(
        {
            "gap_to_all_sequences": _gap_to_enumeration(both),
            "gap_of_readouts": float(jnp.abs(both.readout - alone[0] + alone[1]).max()),
            "largest_slope_at_best_readout": float(jnp.abs(slope).max()),
            "loss_over_silence": loss / float(superposition.stationary_loss(_silent(both), statistics, target)),
        }
    )


def _silent(weights: superposition.Weights) -> superposition.Weights:
    return superposition.Weights(weights.recurrent, weights.inputs, 0 * weights.readout)


def _gap_to_enumeration(weights: superposition.Weights, steps: int = 8) -> float:
    """The exact loss of the difference of ages 1 and 3 over a trial, beside the mean over all sequences of gates."""
    target = jnp.zeros((steps, 1, 1)).at[1].set(1.0).at[3].set(-1.0)
    a = superposition.projections(weights, steps)
    statistics = superposition.sparse(0.3, amplitude=superposition.Levels())
    exact = float(superposition.expected_loss(a, statistics, target))
    x = np.array([[(i >> t) & 1 for t in range(steps)] for i in range(2**steps)], float)
    chance = np.prod(np.where(x == 1, 0.3, 0.7), axis=1)
    answer, wanted = np.asarray(a)[:, 0, 0], np.asarray(target)[:, 0, 0]
    error = [[sum((wanted[s] - answer[s]) * row[t - s] for s in range(t + 1)) ** 2 for t in range(steps)] for row in x]
    return abs(float(chance @ np.sum(error, axis=1)) / exact - 1)
