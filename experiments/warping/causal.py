r"""Does warping cause the computation? Training with the metric held, and training for the metric alone.

The experiments of arXiv 2512.04310 with their form spelt out: what is averaged (pointwise ratio, or ratio of means over
points), in which space (state, rates), on which points (with the lines of zero evidence, or without), how strongly, for
how long. Context-dependent decision, 64 units, steps of 0.2 to T = 10, no noise, all 242 conditions in every batch; a
penalty looks at T in both contexts. In use:

    sizes = Sizes(steps=300, seeds=(0, 1))
    rows = table(sizes, ["untrained", "baseline", "c=1 pointwise rates x10 lines", "warp only: field lines"])
    rows[0].refit_held_out

- `Sizes(hidden, steps, seeds, …)`: how large. `PLANS[name]`: what each run is; `Plan.length` multiplies `steps`.
- `table(sizes, names, report=) -> list[Outcome]`: every plan for every seed; the baselines are trained once.
- `baseline(seed, sizes) -> Network`, `untrained(seed, sizes) -> Network`, `train(plan, seed, sizes, target) -> Fit`.
- `outcome(name, seed, sizes, baselines) -> Outcome`: one row of the table, with `baselines[seed]` trained before.
- `look(name, seed, network, sizes, …) -> Outcome`: the numbers of one network. `agreement(a, b)`: of two codes.

Plans whose `source` is "other" take the metric of the baseline of the *next* seed of `sizes.seeds`: another initial
network, so that only the metric can carry over what was learned.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import recurvature as rc
from recurvature import training, warping
from recurvature.systems import Network, simulate
from recurvature.training import Fit, Penalty

GRID = {"lines": 7, "no lines": 6}
"""Points along either evidence: an odd number holds the lines of zero evidence, where decisions change."""


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How large the experiment is; the defaults are those of the quick table."""

    hidden: int = 64
    steps: int = 300
    seeds: tuple[int, ...] = (0,)
    learning_rate: float = 3e-3
    ridge: float = 1.0
    epsilon: float = 1e-3
    """Added to the diagonal of metrics in penalties (trained ones have entries of 10 to 10⁴)."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What one run is asked to do."""

    constraint: Literal["none", "ratio", "field"] = "none"
    learns: bool = True
    """Whether the task is trained; else only the constraint is."""
    average: Literal["pointwise", "means"] = "pointwise"
    space: Literal["state", "rates"] = "rates"
    points: Literal["lines", "no lines"] = "lines"
    weight: float = 1.0
    length: int = 1
    """Steps, as a multiple of those of the baseline; 0 is no training."""
    c: float | None = 1.0
    """The ratio asked for; None takes that of the source."""
    source: Literal["own", "other"] = "own"
    """Whose metric is asked for: that of the baseline of the same seed, or of the next."""


def _plans() -> dict[str, Plan]:
    plans = {"untrained": Plan(length=0), "baseline": Plan()}
    lines: tuple[Literal["no lines", "lines"], ...] = ("no lines", "lines")
    averages: tuple[Literal["pointwise", "means"], ...] = ("pointwise", "means")
    spaces: tuple[Literal["state", "rates"], ...] = ("state", "rates")
    for points in lines:
        for average, space in itertools.product(averages, spaces):
            held = Plan("ratio", average=average, space=space, points=points)
            plans[f"c=1 {average} {space} x1 {points}"] = held
            plans[f"c=1 {average} {space} x10 {points}"] = dataclasses.replace(held, weight=10.0, length=2)
        for average in averages:
            asked = Plan("ratio", learns=False, average=average, points=points, c=None)
            plans[f"warp only: c* {average} {points}"] = asked
        field = Plan("field", learns=False, points=points, length=3)
        plans[f"warp only: field {points}"] = field
        plans[f"warp only: other's field {points}"] = dataclasses.replace(field, source="other")
    return plans


PLANS: dict[str, Plan] = _plans()
"""Every run by name."""


class Outcome(NamedTuple):
    """The numbers of one network; NaN where a number has no meaning."""

    plan: str
    seed: int
    task_mse: float
    """Mean squared error at T over all 242 conditions, with the readout as trained; NaN where the task was not."""
    rms_log_ratio: float
    r"""$\sqrt{\langle\log^2(G_{rel}/G_{irr})\rangle}$ in rates at T, over 11 × 11 points and both contexts."""
    rms_log_ratio_state: float
    ratio_of_means: float
    r"""Geometric mean over contexts of $\langle G_{rel}\rangle/\langle G_{irr}\rangle$ in rates, 11 × 11 points."""
    refit_train: float
    """Mean squared error of a ridge readout of the rates at T, on the conditions on which it was fitted."""
    refit_held_out: float
    """The same on a 10 × 10 lattice that shares only its corners with them."""
    constraint: float
    """Last value of the constraint, unweighted: a mean squared logarithm."""
    c: float
    """The ratio asked for."""
    agreement: float
    """Of the code with that of the network whose metric was asked for, up to rotation and scale: 1 where equal.

    Of a baseline, with that of the next seed: what two networks agree on that share the task alone.
    """
    status: str
    form: dict[str, Any] | None
    """What the constraint was, whole."""


def task_of(levels: int = 11) -> Any:
    """The noise-free task; 11 levels to train on, 10 to test on."""
    return rc.tasks.ContextDecision(levels=levels, input_noise=0.0)


def untrained(seed: int, sizes: Sizes) -> Network:
    """The network of a seed before training: weights of evidence and context drawn for each of the three inputs apart.

    The paper's public code has one input matrix of variance 1/p for each input of p channels (two of one, one of two).
    """
    weights, _ = training.seed_keys(rc.key(0), seed)
    network = rc.systems.leaky_current(sizes.hidden, inputs=4, outputs=1, key=weights)
    scale = jnp.sqrt(4 / jnp.asarray([1.0, 1.0, 2.0, 2.0]))
    network = eqx.tree_at(lambda net: net.system.flow.input_weights, network, replace_fn=lambda w: w * scale)
    return rc.cast(network, jnp.float32)


def baseline(seed: int, sizes: Sizes) -> Network:
    """The network of a seed trained on the task alone."""
    return train(PLANS["baseline"], seed, sizes).network


@functools.cache
def _schedule(rate: float, steps: int) -> Callable[[Any], Any]:
    """One function for equal schedules, so that equal programs are compiled once."""
    return optax.cosine_decay_schedule(rate, steps)


def train(
    plan: Plan, seed: int, sizes: Sizes, target: Network | None = None, fit: Callable[..., Fit] = training.fit
) -> Fit:
    """Train the network of a seed as planned; `target` is whose metric is asked for, if the plan asks for one.

    `fit` does the training: `training.fit`, or a function that keeps what it has trained.
    """
    task, steps = task_of(), plan.length * sizes.steps
    constraint = constraint_of(plan, sizes, target)
    return fit(
        untrained(seed, sizes),
        task,
        steps=steps,
        key=training.seed_keys(rc.key(0), seed)[1],
        batch=2 * task.levels**2 if plan.learns else 1,
        learning_rate=_schedule(sizes.learning_rate, steps),
        loss=training.mean_squared_error if plan.learns else training.no_task,
        penalties=() if constraint is None else (Penalty("warping", constraint, plan.weight),),
        throw=False,
    )


def constraint_of(plan: Plan, sizes: Sizes, target: Network | None) -> Any:
    """What a plan asks of the metric at T; None where it asks nothing."""
    if plan.constraint == "none":
        return None
    task = task_of()
    first, second = (task.manifold(context=context) for context in (0, 1))
    sites: dict[str, Any] = {"times": (task.duration,), "points": GRID[plan.points]}
    sites |= {"space": plan.space, "epsilon": sizes.epsilon}
    if plan.constraint == "field":
        return warping.field_constraint((first, second), _given(target), entries="diagonal", **sites)
    conditions = ((first, "evidence_1", "evidence_2"), (second, "evidence_2", "evidence_1"))
    ratio = functools.partial(warping.ratio_constraint, conditions, average=plan.average, **sites)
    if plan.c is not None:
        return ratio(c=plan.c)
    return ratio(c=float(np.exp(np.mean(ratio().log_ratios(_given(target))))))


def _given(target: Network | None) -> Network:
    if target is None:
        raise ValueError("this plan asks for the metric of another network: pass it as `target`.")
    return target


def table(
    sizes: Sizes, names: Sequence[str] = tuple(PLANS), *, report: Callable[[str], None] = lambda line: None
) -> list[Outcome]:
    """Every named plan for every seed, in that order; `report` hears of each run before it starts."""
    report(f"baselines of seeds {sizes.seeds}")
    baselines = {seed: baseline(seed, sizes) for seed in sizes.seeds}
    rows = []
    for name, seed in itertools.product(names, sizes.seeds):
        report(f"{name}, seed {seed}")
        rows.append(outcome(name, seed, sizes, baselines))
    return rows


def outcome(name: str, seed: int, sizes: Sizes, baselines: Mapping[int, Network]) -> Outcome:
    """One plan for one seed, given the baselines of `sizes.seeds` (of this seed, and of the next)."""
    plan = PLANS[name]
    following = sizes.seeds[(sizes.seeds.index(seed) + 1) % len(sizes.seeds)]
    if plan.source == "other" and following == seed:
        raise ValueError(f"`sizes.seeds` must hold two seeds or more for {name!r}.")
    if name == "untrained":
        return look(name, seed, untrained(seed, sizes), sizes)
    if name == "baseline":
        return look(name, seed, baselines[seed], sizes, target=None if following == seed else baselines[following])
    target = baselines[seed if plan.source == "own" else following]
    return look(name, seed, None, sizes, fit=train(plan, seed, sizes, target), target=target)


def look(
    name: str,
    seed: int,
    network: Network | None,
    sizes: Sizes,
    *,
    fit: Fit | None = None,
    target: Network | None = None,
) -> Outcome:
    """The numbers of one network, or of the one in `fit`."""
    plan, task = PLANS[name], task_of()
    network = fit.network if network is None and fit is not None else network
    assert network is not None
    trials, others = (task_of(levels).trials(rc.key(0), 2 * levels**2) for levels in (11, 10))
    refitted = training.refit_readout(network, trials, ridge=sizes.ridge)
    rates, states = (_log_ratios(network, task, space) for space in ("rates", "state"))
    constraint = constraint_of(plan, sizes, target)
    asked = plan.constraint != "none"
    compared = not plan.learns or not asked
    return Outcome(
        plan=name,
        seed=seed,
        task_mse=_error(network, trials) if plan.learns else np.nan,
        rms_log_ratio=_rms(rates[0]),
        rms_log_ratio_state=_rms(states[0]),
        ratio_of_means=float(np.exp(np.mean(rates[1]))),
        refit_train=_error(refitted, trials),
        refit_held_out=_error(refitted, others),
        constraint=float(constraint(network)) if asked else np.nan,
        c=float(constraint.c) if plan.constraint == "ratio" else np.nan,
        agreement=agreement(network, target) if target is not None and compared else np.nan,
        status="as made" if fit is None else fit.status,
        form=fit.history.penalty_forms[0] if fit is not None and asked else None,
    )


def agreement(network: Network, other: Network) -> float:
    r"""$\lVert A^\top B\rVert_*/(\lVert A\rVert\lVert B\rVert)$ of the centred rates at T over the 242 conditions."""
    codes = []
    for each in (network, other):
        rates = _final_rates(each)
        codes.append(rates - rates.mean(0))
    a, b = codes
    return float(np.linalg.norm(a.T @ b, "nuc") / (np.linalg.norm(a) * np.linalg.norm(b)))


def _final_rates(network: Network) -> np.ndarray:
    task = task_of()
    states = simulate(network, task.trials(rc.key(0), 2 * task.levels**2).inputs).states
    return np.asarray(jax.vmap(network.system.rates)(jnp.asarray(states)[:, -1]), np.float64)


def _error(network: Network, trials: Any) -> float:
    return float(training.mean_squared_error(jnp.asarray(simulate(network, trials.inputs).outputs), trials))


def _log_ratios(network: Network, task: Any, space: Any) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms at T: of the ratio at every point of both contexts, and of the ratio of means of either."""
    pointwise, means = [], []
    for context, names in enumerate((("evidence_1", "evidence_2"), ("evidence_2", "evidence_1"))):
        field = warping.metric(network, task.manifold(context=context), duration=task.duration, points=11, space=space)
        ratio = warping.ratio(field, *names)
        pointwise.append(np.log(np.asarray(ratio.pointwise)[-1]))
        means.append(np.log(np.asarray(ratio.ratio_of_means)[-1]))
    return np.stack(pointwise), np.stack(means)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))
