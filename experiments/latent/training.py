"""Networks that learn: full rank first, low rank from their activity; and what of it their weights show."""

import itertools
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

import recurvature as rc
from recurvature import latent
from recurvature.app.claims import Measured
from recurvature.systems import Euler, LatentFlow, LeakyRate, LowRank, Network, leaky_rate, simulate
from recurvature.tasks import FlipFlop
from recurvature.tasks.base import AbstractTask
from recurvature.training import TwoStepFit, cornn, sample_activity, two_step

from .settings import Lab
from .theorems import STEP, generator

STARTS = 768
"""Where searches for fixed points start, in the latent plane and the latent space."""


def _memories(lab: Lab, bits: int) -> list[TwoStepFit]:
    """Flip-flops, each trained at full rank and then, from its activity, at a rank of one for each bit."""
    how, task = lab.settings.fitting, FlipFlop(bits=bits)

    def one(seed: int) -> TwoStepFit:
        key = rc.stream(lab.key, f"{bits} bits {seed}")
        network = leaky_rate(how.units, inputs=bits, outputs=bits, key=rc.stream(key, "weights"), dt=STEP, gain=1.0)
        return two_step(
            network,
            task,
            key=key,
            rank=bits,
            steps=how.steps,
            tune_steps=how.tune_steps,
            batch=how.batch,
            learning_rate=3e-3,
            report=lab.named(f"{bits} bits, network {seed}"),
        )

    return lab.once(f"{bits} bits", lambda: [one(seed) for seed in range(how.seeds)])


def _points(lab: Lab, network: Network, inputs: Any) -> rc.dynamics.FixedPoints:
    return rc.dynamics.fixed_points(
        rc.cast(network, float), jnp.asarray(inputs, float), count=STARTS, key=rc.stream(lab.key, "starts")
    )


def _inventory(points: rc.dynamics.FixedPoints, directions: int) -> list[int]:
    """How many points have 0, 1, … unstable directions."""
    return np.bincount(np.asarray(points.unstable), minlength=directions + 1).tolist()


def _memory_points(lab: Lab, bits: int) -> Measured:
    """The inventories of all networks, and of each kind the count that is furthest from that of independent bits."""
    fits = _memories(lab, bits)
    found = [_points(lab, fit.network, np.zeros(bits)) for fit in fits]
    counts = np.asarray([_inventory(points, bits) for points in found])
    values = furthest(counts)
    reports = [fit.report for fit in fits]
    values["least_accuracy"] = float(min(r.accuracy[-1] for r in reports))
    seen = {"inventories": counts.tolist(), "index_sums": [int(np.asarray(p.index).sum()) for p in found]}
    return Measured(values, seen, {"stages": reports[0], "points": found[0]})


def furthest(counts: np.ndarray) -> dict[str, float]:
    """Of the networks in rows, for 0, 1, … unstable directions, the count furthest from the one of independent bits."""
    bits = counts.shape[1] - 1
    # the middle of a face of dimension k of the cube has k unstable directions
    cube = [math.comb(bits, k) * 2 ** (bits - k) for k in range(bits + 1)]
    names = ("stable", "one_unstable", "two_unstable", "three_unstable")
    return {
        name: float(column[np.abs(column - wanted).argmax()])
        for name, column, wanted in zip(names[: bits + 1], counts.T, cube, strict=True)
    }


def two_bits_have_nine_points(lab: Lab) -> Measured:
    """Fixed points of two-bit memories without input."""
    return _memory_points(lab, 2)


def three_bits_have_twenty_seven_points(lab: Lab) -> Measured:
    """Fixed points of three-bit memories without input."""
    return _memory_points(lab, 3)


def inputs_decide_between_states(lab: Lab) -> Measured:
    """Fixed points of two-bit memories while one channel is held weakly on, at several strengths."""
    held = (0.01, 0.02, 0.05, 0.1)
    found = [[_points(lab, fit.network, [u, 0.0]) for u in held] for fit in _memories(lab, 2)]
    counts = np.asarray([[_inventory(points, 2) for points in row] for row in found])
    decided = (counts == [2, 1, 0]).all(-1)
    strengths = [held[int(row.argmax())] if row.any() else float("nan") for row in decided]
    first = [
        (fit.network, row[int(some.argmax())])
        for fit, row, some in zip(_memories(lab, 2), found, decided, strict=True)
        if some.any()
    ]
    return Measured(
        {
            "share_decided": float(decided.any(1).mean()),
            "share_that_says_what_is_held": float(np.mean([_says_what_is_held(*each) for each in first] or [False])),
            "most_stable": float(counts[..., 0].max()),
        },
        {"held": list(held), "inventories": counts.tolist(), "first_decided_at": strengths},
        {"points": found[0][2]},
    )


def _says_what_is_held(network: Network, points: rc.dynamics.FixedPoints) -> bool:
    """Whether all stable states have the bit of the first channel set, and both values of the other one."""
    stable = jnp.asarray(np.asarray(points.states)[np.asarray(points.unstable) == 0])
    bits = np.sign([np.asarray(rc.cast(network, float).outputs(state)) for state in stable])
    return bool((bits[:, 0] > 0).all()) and set(bits[:, 1].tolist()) == {-1.0, 1.0}


def one_step_fits_lose_states(lab: Lab) -> Measured:
    """Of three-bit networks fitted to activity one step ahead, and of those trained on through time, the complete."""
    fits = _memories(lab, 3)
    counts = {
        name: np.asarray([_inventory(_points(lab, getattr(fit, name), np.zeros(3)), 3) for fit in fits])
        for name in ("one_step", "network")
    }
    complete = {name: float((table[:, 0] == 8).mean()) for name, table in counts.items()}
    reports = [fit.report for fit in fits]
    return Measured(
        {
            "share_complete": complete["one_step"],
            "share_complete_after_training_through_time": complete["network"],
            "least_accuracy": float(min(r.accuracy[2] for r in reports)),
        },
        {
            "inventories": counts["one_step"].tolist(),
            "one_step_r2": [r.one_step_r2 for r in reports],
            "accuracy": [np.asarray(r.accuracy).tolist() for r in reports],
        },
        {"stages": reports[0]},
    )


def activity_shows_where_to_cut(lab: Lab) -> Measured:
    """Accuracy of trained full-rank weights cut to rank 2: to their singular vectors, and to where activity drives."""
    task = FlipFlop(bits=2)
    trials = task.trials(rc.stream(lab.key, "cuts"), 200)
    found = {
        method: [
            latent.extract(rc.cast(fit.full, float), trials, task=task, method=method, ranks=[2])
            for fit in _memories(lab, 2)
        ]
        for method in ("plain", "weighted")
    }
    accuracy = {method: [float(each.accuracy[0]) for each in cuts] for method, cuts in found.items()}
    return Measured(
        {"best_plain": max(accuracy["plain"]), "worst_weighted": min(accuracy["weighted"])},
        {**accuracy, "state_r2": {method: [float(e.state_r2[0]) for e in cuts] for method, cuts in found.items()}},
        {"weighted": found["weighted"][0]},
    )


def _aligned(fit: TwoStepFit, task: AbstractTask, key: Any) -> latent.LatentUnit:
    """The latent unit of a memory in coordinates that are its outputs."""
    network, trials = rc.cast(fit.network, float), task.trials(key, 100)
    unit = latent.LatentUnit(network.system.flow, STEP)  # type: ignore[attr-defined]
    states = np.asarray(simulate(network, trials.inputs).states)
    kappa = states @ np.asarray(unit.encoding).T
    return latent.aligned_unit(unit, latent.align(kappa, np.asarray(trials.targets), mask=np.asarray(trials.mask)))


def weights_of_a_bit_are_correlated(lab: Lab) -> Measured:
    """Correlations over units of what reads a bit, what it drives, and its input; mean over bits and networks."""
    pairs: dict[str, list[float]] = {"encoding_embedding": [], "encoding_input": [], "embedding_input": []}
    for bits in (2, 3):
        for fit in _memories(lab, bits):
            unit = _aligned(fit, FlipFlop(bits=bits), rc.stream(lab.key, "alignment"))
            n, m, w = np.asarray(unit.encoding).T, np.asarray(unit.embedding), np.asarray(unit.flow.input_weights)
            for name, (a, b) in zip(pairs, ((n, m), (n, w), (m, w)), strict=True):
                pairs[name] += [float(np.corrcoef(a[:, k], b[:, k])[0, 1]) for k in range(bits)]
    return Measured({name: float(np.mean(values)) for name, values in pairs.items()}, pairs)


def one_factor_serves_all_units(lab: Lab) -> Measured:
    """The excess cross-entropy of a convex fit, and of Adam after many more passes over the same steps."""
    how = lab.settings.fitting
    network = leaky_rate(how.units, inputs=2, outputs=1, key=rc.stream(lab.key, "driven"), dt=STEP, gain=1.2)
    inputs = 0.5 * generator(lab, "drive").normal(size=(how.trials, 40, 2))
    activity = sample_activity(rc.cast(network, float), inputs)
    fit = cornn(activity, ridge=1e-8, weighting="equal", iterations=30)
    weights = np.asarray(network.system.flow.connectivity.dense())  # type: ignore[attr-defined]
    found = np.asarray(fit.network.system.flow.connectivity.dense())  # type: ignore[attr-defined]
    adam = adam_excess(activity, how.passes)
    excess = np.asarray(fit.report.excess)
    return Measured(
        {
            "excess_of_least_squares": float(excess[0]),
            "adam_over_convex": float(adam[-1] / max(excess[-1], np.finfo(float).eps)),
            "correlation_with_the_weights": float(np.corrcoef(weights.ravel(), found.ravel())[0, 1]),
        },
        {"adam": adam[:: max(1, how.passes // 50)].tolist(), "convex": excess.tolist()},
        {"convex": fit.report},
    )


def adam_excess(activity: rc.training.Activity, passes: int) -> np.ndarray:
    """Excess cross-entropy of a step, mean over units, while Adam descends from zero weights; the best of two rates."""
    import jax

    rates = jnp.concatenate(
        [jnp.broadcast_to(jnp.asarray(activity.start), (len(activity.rates), 1, activity.units)), activity.rates], 1
    )
    before, after = rates[:, :-1].reshape(-1, activity.units), rates[:, 1:].reshape(-1, activity.units)
    features = jnp.concatenate([before, jnp.asarray(activity.inputs).reshape(len(before), -1)], axis=1)
    d = jnp.clip((after - (1 - activity.alpha) * before) / activity.alpha, -1 + 1e-6, 1 - 1e-6)
    own = jnp.arctanh(d)

    def loss(theta: Any) -> Any:
        z = features @ theta
        return (jnp.logaddexp(z, -z) - d * z - jnp.logaddexp(own, -own) + d * own).mean()

    def descend(rate: float) -> np.ndarray:
        optimiser = optax.adam(rate)

        def body(carry: Any, _: None) -> Any:
            theta, state = carry
            value, slope = jax.value_and_grad(loss)(theta)
            updates, state = optimiser.update(slope, state)
            return (optax.apply_updates(theta, updates), state), value

        start = jnp.zeros((features.shape[1], activity.units))
        return np.asarray(jax.jit(lambda s: jax.lax.scan(body, (s, optimiser.init(s)), None, length=passes)[1])(start))

    return min((descend(rate) for rate in (1e-3, 1e-2)), key=lambda values: values[-1])


def _random_unit(lab: Lab, rank: int, gain: float, draw: int) -> LatentFlow:
    r"""$W = gU_KV_K^\top\sqrt{N/K}$ with the singular vectors of a random matrix: two independent random frames."""
    n, rng = lab.settings.fitting.random_units, generator(lab, f"random {rank} {draw}")
    left, right = (np.linalg.qr(rng.normal(size=(n, rank)))[0] for _ in range(2))
    weights = LowRank(jnp.asarray(gain * np.sqrt(n / rank) * left), jnp.asarray(right), "1")
    return LatentFlow(LeakyRate(weights, jnp.zeros((n, 1)), jnp.zeros(n)))


def random_units_are_active_before_they_are_chaotic(lab: Lab) -> Measured:
    """Activity and the largest Lyapunov exponent of random units of two ranks, below and above the gain of 1."""
    how = lab.settings.fitting
    cases = ((50, 0.8), (50, 1.5), (50, 3.0), (10, 3.0))
    rates: dict[tuple[int, float], list[float]] = {case: [] for case in cases}
    exponents: dict[tuple[int, float], list[float]] = {case: [] for case in cases}
    for (rank, gain), draw in itertools.product(cases, range(how.seeds)):
        flow = _random_unit(lab, rank, gain, draw)
        start = generator(lab, f"start {rank} {draw}").normal(size=rank)
        spectrum = rc.dynamics.lyapunov_spectrum(
            Euler(flow, STEP), state=start, steps=how.random_steps, transient=how.random_steps // 4, count=1
        )
        final = np.tanh(np.asarray(flow.network.connectivity.left) @ np.asarray(spectrum.final_state))  # type: ignore[attr-defined]
        rates[rank, gain].append(float(np.sqrt((final**2).mean())))
        exponents[rank, gain].append(float(spectrum.exponents[0]))
    table = {
        f"rank {rank}, gain {gain}": {"rates": rates[rank, gain], "exponents": exponents[rank, gain]}
        for rank, gain in cases
    }
    return Measured(
        {
            "largest_rate_below": max(rates[50, 0.8]),
            "median_rate_above": float(np.median(rates[50, 1.5])),
            "largest_exponent_of_active": max(exponents[50, 1.5]),
            "least_exponent_of_many": min(exponents[50, 3.0]),
            "largest_exponent_of_few": max(exponents[10, 3.0]),
        },
        table,
    )
