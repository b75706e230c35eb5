"""The convex one-step fit against Adam on the same objective, both until 1 % of what zero weights leave is left.

Equal weights and all targets kept: one convex function, whose optimum is found beforehand by many iterations of the
fit. The peer is full-batch Adam in one compiled scan, at the better of two learning rates, for as many passes as it
needs, or at most `MOST`. The fit is timed whole: targets, factorisation, iterations, report.
"""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from benchmarks.harness import Arm, Built, Case, Goal, Work

import recurvature as rc
from recurvature.training import Activity, cornn, sample_activity

SIZES = {"ci": [(50, 50)], "std": [(100, 100)], "full": [(100, 100), (500, 250)]}
"""Units, and trials of 40 steps."""
STEPS, RIDGE, LEFT, MOST, ROUNDS = 40, 1e-4, 0.01, 2000, 5


def cases(size: str) -> Iterable[Case]:
    """One case for each (units, trials)."""
    rc.enable_float64()
    for units, trials in SIZES[size]:
        yield against_adam(units, trials)


def against_adam(units: int, trials: int) -> Case:
    """Both from the same activity. Facts: what either leaves of the objective of zero weights."""
    activity = noisy_activity(units, trials)
    options: dict[str, Any] = {"ridge": RIDGE, "weighting": "equal", "outlier": None}
    best = float(cornn(activity, iterations=200, **options).report.objective[-1])
    problem = _problem(activity)
    start = float(_objective(jnp.zeros((problem[0].shape[1], units)), *problem))
    goal = best + LEFT * (start - best)
    courses = {rate: np.asarray(_descend(problem, rate, MOST)) for rate in (1e-3, 1e-2)}
    needs = {
        rate: int((course <= goal).argmax()) + 1 if (course <= goal).any() else MOST for rate, course in courses.items()
    }
    rate = min(needs, key=lambda r: (needs[r], courses[r][-1]))
    ours = np.asarray(cornn(activity, iterations=30, **options).report.objective)
    enough = max(1, int((ours <= goal).argmax()))
    left = lambda objective: (float(objective) - best) / (start - best)  # noqa: E731
    samples = problem[0].shape[0]
    return Case(
        "cornn",
        {"N": units, "steps": samples, "iterations": enough, "passes_of_adam": needs[rate]},
        [
            Arm("ours", lambda: Built(lambda: cornn(activity, iterations=enough, **options).network), group=None),
            Arm("adam", lambda: Built(lambda: _descend(problem, rate, needs[rate])), group=None),
        ],
        [Goal("adam", "ours", at_least=10)],
        Work(flop=4 * samples * units**2),
        dtype="float64",
        rounds=ROUNDS,
        limits={"left_by_ours": (left(ours[enough]), LEFT)},
    )


def noisy_activity(units: int, trials: int) -> Activity:
    """A driven random network, with a little noise on every sample."""
    network = rc.systems.leaky_rate(units, inputs=2, outputs=1, key=rc.key(0), dt=0.5, gain=1.2)
    rng = np.random.default_rng(0)
    activity = sample_activity(rc.cast(network, float), 0.5 * rng.normal(size=(trials, STEPS, 2)))
    rates = np.clip(np.asarray(activity.rates) + 0.02 * rng.normal(size=np.shape(activity.rates)), -1, 1)
    return Activity(rates, activity.inputs, activity.alpha, activity.start)


def _problem(activity: Activity) -> tuple[jax.Array, jax.Array]:
    start = jnp.broadcast_to(jnp.asarray(activity.start), (len(activity.rates), 1, activity.units))
    rates = jnp.concatenate([start, jnp.asarray(activity.rates)], axis=1)
    before, after = rates[:, :-1].reshape(-1, activity.units), rates[:, 1:].reshape(-1, activity.units)
    features = jnp.concatenate([before, jnp.asarray(activity.inputs).reshape(len(before), -1)], axis=1)
    return features, jnp.clip((after - 0.5 * before) / 0.5, -1 + 1e-6, 1 - 1e-6)


def _objective(theta: jax.Array, features: jax.Array, d: jax.Array) -> jax.Array:
    """Excess cross-entropy and penalty, mean over units: a formula of its own, by `logaddexp`."""
    z, own = features @ theta, jnp.arctanh(d)
    excess = jnp.logaddexp(z, -z) - d * z - jnp.logaddexp(own, -own) + d * own
    return excess.mean() + 0.5 * RIDGE * (theta**2).sum() / theta.shape[1]


@jax.jit(static_argnames=("rate", "passes"))
def _descend(problem: tuple[jax.Array, jax.Array], rate: float, passes: int) -> jax.Array:
    """The objective before each pass."""
    optimiser = optax.adam(rate)

    def body(carry: Any, _: None) -> Any:
        theta, state = carry
        value, slope = jax.value_and_grad(_objective)(theta, *problem)
        updates, state = optimiser.update(slope, state)
        return (optax.apply_updates(theta, updates), state), value

    start = jnp.zeros((problem[0].shape[1], problem[1].shape[1]))
    return jax.lax.scan(body, (start, optimiser.init(start)), None, length=passes)[1]
