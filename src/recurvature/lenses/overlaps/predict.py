r"""The learning curve of your network, before training it: from its overlaps, the task and the optimiser's settings."""

from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from recurvature._errors import InputError, check_count, check_positive, unknown
from recurvature._keys import PRNGKey, at_step, stream
from recurvature._precision import cast, require_float64
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.overlaps.coordinates import OVERLAPS
from recurvature.lenses.overlaps.descent import Rule
from recurvature.lenses.overlaps.diagnostics import Leg, judge, leg_of, marked
from recurvature.lenses.overlaps.extract import Stack, block_rates, stacked
from recurvature.lenses.overlaps.layout import BIAS, START, AbstractCourse
from recurvature.lenses.overlaps.learning import descend
from recurvature.lenses.overlaps.losses import Batch, BatchLoss, DataLoss, TaskLoss
from recurvature.lenses.overlaps.record import Learning
from recurvature.lenses.overlaps.status import NON_FINITE
from recurvature.lenses.overlaps.traces import balanced
from recurvature.systems.base import Euler, Network
from recurvature.systems.gaussian import mean_slope
from recurvature.systems.linear import LinearMap
from recurvature.systems.readout import LinearReadout
from recurvature.tasks.base import AbstractTask, Trials


class Forecast(AbstractCourse, AbstractResult):
    r"""Loss and overlaps along a training that has not taken place, and how far to believe them (docs eq. O.46).

    Linear units: exact, to the rounding of the training. Nonlinear units: learning of the effective network, with the
    closure's own tests at the forecast weights, at some of the records (NaN at others): `energy_ratio`,
    `closure_defect`, `gain_defect` and `kurtosis` as in `Closure` (the largest of all there are), and `error`, the size
    that the largest error of an overlap is expected to have, $\max|D^\top D|/N$, with $D$ the part of the weights' way
    that the overlaps cannot know. `unit_loss` is the loss of all units at the forecast weights. `status` is
    `not_gaussian` from where a test fails or `error` exceeds a tenth of the largest change of an overlap. A forecast
    that is trusted at few units is still off by what a sample of N leaves, $O(N^{-1/2})$, and more units do not make a
    distrusted one true.

    `balanced_loss` is the forecast for the network with the same function and nothing conserved (linear units, nothing
    frozen; else NaN): the difference from `loss` is what the network's history does to its future.
    """

    citations: ClassVar[tuple[Citation, ...]] = (OVERLAPS,)

    count: Int[Values, " step"] = eqx.field(metadata={"long_name": "steps of training"})
    loss: Float[Values, " step"]
    balanced_loss: Float[Values, " step"]
    unit_loss: Float[Values, " step"]
    matrix: Float[Values, "step a b"]
    propagator: Float[Values, "step a b"]
    gradient_norm: Float[Values, " step"] = eqx.field(
        metadata={"long_name": "norm of the gradient in the network's own arrays that learn"}
    )
    margin: Float[Values, " step"]
    energy_ratio: Float[Values, " step"]
    closure_defect: Float[Values, " step"]
    gain_defect: Float[Values, " step"]
    kurtosis: Float[Values, " step"]
    error: Float[Values, " step"] = eqx.field(metadata={"long_name": "estimated error of the overlaps"})
    status: Int[Values, " step"]
    columns: tuple[str, ...]
    outputs: int
    rank: int
    inputs: int
    units: int
    phi: str
    dt: float
    optimiser: dict[str, Any]

    @property
    def exact(self) -> bool:
        """Whether nothing but rounding separates the forecast from the training: linear units."""
        return self.phi == "identity"

    @property
    def trusted_until(self) -> int:
        """The last recorded step up to which the forecast may be trusted; -1 if not even the start may."""
        bad = np.flatnonzero(np.asarray(self.status) >= NON_FINITE)
        last = len(self.count) if len(bad) == 0 else int(bad[0])
        return int(np.asarray(self.count)[last - 1]) if last else -1


def predict(
    network: Network,
    task: AbstractTask | Trials | Batch,
    *,
    steps: int,
    learning_rate: float,
    key: PRNGKey,
    batch: int = 64,
    momentum: float = 0.0,
    nesterov: bool = False,
    clip_norm: float | None = 1.0,
    frozen: Sequence[str] = (),
    every: int = 1,
    looks: int = 11,
) -> Forecast:
    r"""Forecast how a low-rank network will learn a task by gradient descent on its own arrays.

    The arrays descend as they would in `training.fit(network, task, optimiser=optax.sgd, …)` with the same `steps`,
    `learning_rate`, `batch`, `clip_norm`, `frozen` and `key`: the trials of every step are the very same ones. The
    network's own gauge and normalisation are kept (docs eq. O.19 and O.35).

    **Arguments**

    - `network`: leaky-current units (identity, erf or tanh) with low-rank recurrence, in Euler steps, or a linear map;
      a linear readout.
    - `task`: or fixed trials, which every step then sees whole (`key` is for projections alone).
    - `frozen`: names of arrays that do not learn, such as `("x0", "system.flow.bias")`. A bias and a start that are
      not frozen learn, from zero too. A bias of the readout must be frozen: it is no overlap.
    - `every`: record every so many steps.
    - `looks`: at how many of the records all units are run, to judge a forecast of nonlinear ones. It is the only part
      that takes the longer the more units there are.

    Raises `InputError` for networks and tasks that the theory does not cover. Divergence is reported in `status`.
    """
    check_count(steps=steps, every=every, batch=batch, looks=looks)
    check_positive(learning_rate=learning_rate)
    network = cast(network, jnp.float64)
    learns = _learning(network, task, tuple(frozen))
    stack = stacked(network, keep=tuple(n for n, w in ((BIAS, "bias"), (START, "x0")) if w in learns))
    require_float64(network=stack.theta)
    assert stack.dt is not None
    assert isinstance(network.readout, LinearReadout)
    mean_slope(stack.phi)
    rule = BatchLoss(stack.layout, stack.dt, stack.phi, network.readout.bias)
    loss, data, sample = _losses(task, rule, steps, batch, key)
    descent = Rule(
        learning_rate,
        _rates(network, stack, learns),
        momentum=momentum,
        nesterov=nesterov,
        clip=clip_norm,
        clip_own=True,
    )
    theta = np.asarray(stack.theta)
    start = theta.T @ theta / len(theta)
    options: dict[str, Any] = {"steps": steps, "every": every, "layout": stack.layout, "data": data, "dt": stack.dt}
    options["looks"] = 0
    learning = descend(loss, start, descent, **options)
    twin = _twin(loss, start, descent, stack, options)
    targets = sample.targets if rule.output_bias is None else sample.targets - rule.output_bias[None, None]
    tested = DataLoss(sample.inputs, targets, stack.layout, stack.dt, sample.mask, stack.phi)
    about = {"learning_rate": learning_rate, "momentum": momentum, "nesterov": nesterov, "clip_norm": clip_norm}
    return Forecast(
        count=learning.count,
        loss=learning.loss,
        balanced_loss=twin,
        matrix=learning.matrix,
        propagator=learning.propagator,
        gradient_norm=learning.gradient_norm,
        margin=learning.margin,
        columns=learning.columns,
        outputs=learning.outputs,
        rank=learning.rank,
        inputs=learning.inputs,
        units=len(theta),
        phi=stack.phi,
        dt=stack.dt,
        optimiser=about | {"batch": batch},
        **_judged(learning, leg_of(learning, tested, None, descent), stack, looks),
    )


def _losses(task: AbstractTask | Trials | Batch, rule: BatchLoss, steps: int, batch: int, key: PRNGKey) -> Any:
    """The loss of a step, what every step sees, and trials to look at all units with."""
    if isinstance(task, AbstractTask):
        # the keys of `training.fit`
        keys = jax.vmap(lambda k: at_step(stream(key, "trials"), k))(jnp.arange(steps, dtype=jnp.int32))
        return TaskLoss(task, rule, batch), keys, cast(task.trials(stream(key, "looks"), batch), jnp.float64)
    sample = cast(Batch(task.inputs, task.targets, task.mask), jnp.float64)
    return _Fixed(rule, sample), None, sample


class _Fixed(eqx.Module):
    """A batch loss of the same trials at every step."""

    rule: BatchLoss
    batch: Any

    @property
    def phi(self) -> str:
        """The nonlinearity of the units."""
        return self.rule.phi

    def __call__(self, overlaps: Float[Array, "a a"]) -> Float[Array, ""]:
        return self.rule(overlaps, self.batch)


def _learning(network: Network, task: Any, frozen: tuple[str, ...]) -> frozenset[str]:
    """The arrays that learn, by short names. Raises unless the theory covers the network, the task and the rest."""
    if not isinstance(network.system, Euler | LinearMap):
        raise InputError("`network` has a flow, which trials in steps cannot train. Wrap it as Euler(flow, dt).")
    linear, dt = isinstance(network.system, LinearMap), network.system.dt
    if isinstance(task, AbstractTask) and abs(dt / task.dt - 1) > 1e-6:
        raise InputError(f"`network` has steps of dt={dt:g}, the task of dt={task.dt:g}: make either with the other's.")
    block_rates(network, 1.0)
    prefix = "system." if linear else "system.flow."
    names = {
        "weight": "readout.weight",
        "right": f"{prefix}connectivity.right",
        "m": f"{prefix}input_weights",
        "left": f"{prefix}connectivity.left",
        "x0": "x0",
        "output": "readout.bias",
        "bias": f"{prefix}bias",
    }
    if getattr(network.readout, "bias", None) is None:
        del names["output"]
    if linear:
        del names["bias"]
    for word in frozen:
        if not any(_under(name, word) for name in names.values()):
            raise unknown("parameter in `frozen`", word, names.values())
    learns = frozenset(short for short, name in names.items() if not any(_under(name, word) for word in frozen))
    if "output" in learns:
        raise InputError("the readout has a bias, which is no overlap: freeze it with frozen=('readout.bias',).")
    if not learns:
        raise InputError("`frozen` leaves nothing to train: name fewer parameters.")
    return learns


def _under(name: str, word: str) -> bool:
    return name == word or name.startswith(word + ".")


def _rates(network: Network, stack: Stack, learns: frozenset[str]) -> tuple[float, ...]:
    """The factor of every vector's rate: that of its array, or 0 where it is frozen."""
    z, v, m, u = block_rates(network, 1.0)
    layout = stack.layout
    own = {BIAS: "bias", START: "x0"}
    columns = [own.get(name, "m") for name in layout.columns[layout.m]]
    shorts = ["weight"] * layout.outputs + ["right"] * layout.rank + columns + ["left"] * layout.rank
    rates = {"weight": z, "right": v, "left": u}
    return tuple(rates.get(short, m) if short in learns else 0.0 for short in shorts)


def _twin(
    loss: Any, start: np.ndarray, rule: Rule, stack: Stack, options: dict[str, Any]
) -> Float[np.ndarray, " step"]:
    """The learning curve of the balanced network with the same function."""
    records = options["steps"] // options["every"] + 1
    if stack.phi != "identity" or 0.0 in rule.blocks:
        return np.full(records, np.nan)
    return np.asarray(descend(loss, balanced(start, stack.layout, blocks=rule.blocks), rule, **options).loss)


def _judged(learning: Learning, leg: Leg, stack: Stack, looks: int) -> dict[str, np.ndarray]:
    """The forecast's own judgement: at the weights that it leads to, how well do overlaps stand for units?

    Status at every record; the rest at the records that are looked at, NaN at others. Linear units are looked at once.
    """
    records = len(learning.count)
    seen = {name: np.full(records, np.nan) for name in LOOKS}
    judgement = judge([leg], looks=looks, vectors=np.asarray(stack.theta), trials=None)
    if stack.phi == "identity":
        finite = np.isfinite(learning.propagator).all((1, 2))
        seen["unit_loss"][0] = leg.loss.of_units(stack.theta)  # type: ignore[attr-defined]
        seen["energy_ratio"][finite] = 1.0
        seen["error"][finite] = 0.0
        return seen | {"status": np.asarray(learning.status)}
    found = judgement.diagnostics
    for name in LOOKS:
        seen[name][found["record"]] = found[LOOKS[name]]
    return seen | {"status": marked(learning.status, judgement.lost)}


LOOKS = {name: name for name in ("energy_ratio", "closure_defect", "gain_defect", "kurtosis", "error")}
LOOKS |= {"unit_loss": "loss"}
"""What a forecast calls the numbers of `status.Diagnostics`."""
