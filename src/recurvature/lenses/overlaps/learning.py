r"""Learning curves from overlaps: exact gradient descent of any step size, its flow limit, and a labelled control."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from recurvature._errors import InputError, check_count, check_positive, check_shape
from recurvature.lenses.overlaps.construct import assemble
from recurvature.lenses.overlaps.coordinates import Overlaps, check_overlaps, stability_margin
from recurvature.lenses.overlaps.descent import (
    Loss,
    Rule,
    closure_of,
    follow,
    loss_and_gradient,
    phi_of,
    symmetric_gradient,
)
from recurvature.lenses.overlaps.diagnostics import LOOKS, check_looks, judge, judged, leg_of, vectors_of
from recurvature.lenses.overlaps.extract import stacked
from recurvature.lenses.overlaps.invariants import kept_by, largest_change
from recurvature.lenses.overlaps.layout import Layout
from recurvature.lenses.overlaps.record import Learning, recover
from recurvature.lenses.overlaps.status import classify_steps
from recurvature.systems.base import Network


def descend(
    loss: Loss,
    overlaps: Overlaps | Float[Any, "a a"],
    rule: Rule | float,
    *,
    steps: int,
    layout: Layout | None = None,
    data: Any = None,
    every: int = 1,
    looks: int = LOOKS,
    dt: float | None = None,
) -> Learning:
    r"""Full-batch or stochastic gradient descent on all weights, from the overlaps alone (docs eq. O.20).

    It is the network's own descent to rounding, for every step size, at a cost that does not know the number of units.
    A number for `rule` is the rate $\eta$; the weights' learning rate is $N\eta$.

    **Arguments**

    - `loss`: a function of the overlaps (P, P), and of a step's data if there are any: `FilterLoss`, `DataLoss`, or
      your own.
    - `overlaps`: of a network (`extract`), or a matrix together with its `layout`.
    - `data`: arrays with a leading axis of `steps`: what each step sees (batches, noisy targets, a changing task).
    - `every`: record every so many steps; `steps` is a multiple of it.
    - `looks`: at how many of the records nonlinear units are run, to test the closure (`overlaps.Diagnostics`): those
      of the network where `overlaps` come from `extract`, else drawn ones. 0 leaves it untested.
    - `dt`: the network's step, for the stability margin; that of `overlaps` where they are a network's.

    Divergence is reported in `status`, not raised.
    """
    start, which, dt = _start(overlaps, layout, dt)
    rule = rule if isinstance(rule, Rule) else Rule(rule)
    check_count(steps=steps, every=every)
    check_looks(looks)
    if steps % every:
        raise InputError(f"`steps` must be a multiple of `every`; got {steps} and {every}.")
    for leaf in jax.tree.leaves(data):
        check_shape("data", leaf, (steps, *(None,) * (np.ndim(leaf) - 1)))
    traced = jax.tree.map(lambda value: jnp.asarray(value, start.dtype), rule)
    course = _follow(loss, start, traced, which, steps // every, jnp.asarray(every), data)
    count = np.arange(0, steps + 1, every)
    matrices = _carried(np.asarray(start), np.asarray(course.weights))
    matrices = matrices if course.spread is None else matrices + np.asarray(course.spread)
    learning = _record(
        matrices,
        np.asarray(course.weights),
        np.asarray(course.loss),
        np.asarray(course.norm),
        layout=which,
        dt=dt,
        linear=closure_of(loss) == "exact",
        count=count,
        time=course.time(float(rule.rate), count).astype(matrices.dtype),
        method=_METHODS[rule.name] + ("" if phi_of(loss) == "identity" else " of the effective network"),
        rule=dataclasses.asdict(rule) | {"blocks": list(rule.blocks)},
    )
    legs = [leg_of(learning, loss, data, rule)]
    return judged(_of(overlaps, learning), judge(legs, looks=looks, vectors=vectors_of(overlaps)))


def _of(source: Any, learning: Learning) -> Learning:
    """`learning` with what is known of the network that learns."""
    if not isinstance(source, Overlaps):
        return learning
    return dataclasses.replace(learning, units=source.units, gauge=source.gauge)


_follow = eqx.filter_jit(follow)
_METHODS = {
    "gradient": "gradient descent",
    "tensor-adam": "Adam with one second moment per tensor",
    "polar": "descent along polar factors",
}


def _carried(start: Float[np.ndarray, "a a"], weights: Float[np.ndarray, "step a a"]) -> Float[np.ndarray, "step a a"]:
    r"""$\mathcal K^\top S_0\mathcal K$ for every propagator."""
    # weights that diverged overflow here: their status says so
    with np.errstate(over="ignore", invalid="ignore"):
        return np.swapaxes(weights, -1, -2) @ start @ weights


def _start(
    overlaps: Overlaps | Float[Any, "a a"], layout: Layout | None, dt: float | None
) -> tuple[Array, Layout, float | None]:
    """The initial matrix, its layout and the network's step."""
    if isinstance(overlaps, Overlaps):
        return jnp.asarray(overlaps.matrix), overlaps.layout, overlaps.dt if dt is None else dt
    if layout is None:
        raise InputError("a bare matrix of overlaps needs its `layout`.")
    check_overlaps(overlaps, layout)
    return jnp.asarray(overlaps), layout, dt


def _record(
    matrices: Float[np.ndarray, "step a a"],
    propagators: Float[np.ndarray, "step a a"],
    loss: Float[np.ndarray, " step"],
    norm: Float[np.ndarray, " step"],
    *,
    layout: Layout,
    dt: float | None,
    linear: bool,
    **options: Any,
) -> Learning:
    """A course that nobody has looked at."""
    margin = stability_margin(matrices, layout, dt)
    finite = np.isfinite(matrices).all((-1, -2))
    smallest = np.linalg.eigvalsh(np.where(finite[:, None, None], matrices, 0))[:, 0]
    spectrum, charge = kept_by(matrices, layout, options["rule"].get("blocks"))
    return Learning(
        matrix=matrices,
        propagator=propagators,
        loss=loss,
        gradient_norm=norm,
        margin=margin.astype(matrices.dtype),
        smallest_eigenvalue=np.where(finite, smallest, np.nan).astype(matrices.dtype),
        # nonlinear units keep the charge alone
        drift=largest_change(spectrum, charge) if linear else largest_change(charge),
        status=classify_steps(matrices, loss, margin, linear=linear),
        closure="unchecked",
        diagnostics={},
        columns=layout.columns,
        outputs=layout.outputs,
        rank=layout.rank,
        inputs=layout.inputs,
        dt=dt,
        dtype=str(matrices.dtype),
        **options,
    )


def flow(
    loss: Loss,
    overlaps: Overlaps | Float[Any, "a a"],
    *,
    duration: float,
    layout: Layout | None = None,
    blocks: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0),
    samples: int = 50,
    looks: int = LOOKS,
    rtol: float = 1e-10,
    dt: float | None = None,
) -> Learning:
    r"""Gradient flow $\dot S = -2(\Gamma S + S\Gamma)$, the limit of small steps (docs eq. O.21).

    Solved in the propagator, $\dot{\mathcal K} = -2\mathcal K\Gamma\Lambda$, by an adaptive method of order 8.
    `duration` is rate times steps. Gradient descent of rate $\eta$ differs from it by $O(\eta)$: compare a network
    trained in steps with `descend`, where `looks` is explained.
    """
    check_positive(duration=duration, rtol=rtol)
    check_count(samples=samples)
    check_looks(looks)
    start, which, dt = _start(overlaps, layout, dt)
    times, weights, solved = _solved(loss, start, which, Rule(1.0, blocks), duration, samples, rtol, control=False)
    learning = _flowed(
        loss,
        jnp.asarray(_carried(np.asarray(start), np.asarray(weights))),
        weights,
        times,
        solved,
        which,
        dt,
        "gradient flow" + ("" if phi_of(loss) == "identity" else " of the effective network"),
        {"blocks": list(blocks)},
    )
    legs = [leg_of(learning, loss, None, Rule(1.0, blocks))]
    return judged(_of(overlaps, learning), judge(legs, looks=looks, vectors=vectors_of(overlaps)))


def control(
    loss: Loss,
    overlaps: Overlaps | Float[Any, "a a"],
    *,
    duration: float,
    layout: Layout | None = None,
    samples: int = 50,
    rtol: float = 1e-10,
    dt: float | None = None,
) -> Learning:
    r"""Descent directly in the overlaps, $\dot\sigma = -\partial\ell/\partial\sigma$: a control, no network's path.

    It is what learning would be if the Gram matrix of docs eq. O.22 were the identity. The loss falls along it too,
    but invisible overlaps stand still and the matrix may cease to be one of scalar products.
    """
    check_positive(duration=duration, rtol=rtol)
    check_count(samples=samples)
    start, which, dt = _start(overlaps, layout, dt)
    times, matrices, solved = _solved(loss, start, which, Rule(1.0), duration, samples, rtol, control=True)
    nowhere = jnp.full_like(matrices, jnp.nan)
    learning = _flowed(loss, matrices, nowhere, times, solved, which, dt, "control: descent in the overlaps", {})
    return judged(_of(overlaps, learning), judge([leg_of(learning, loss, None, Rule(1.0))], looks=LOOKS))


def _solved(
    loss: Loss,
    start: Float[Array, "a a"],
    layout: Layout,
    rule: Rule,
    duration: float,
    samples: int,
    rtol: float,
    *,
    control: bool,
) -> tuple[Array, Array, Array]:
    """`_solve` with every number an array: another rate, duration or tolerance is no other program."""
    traced, *numbers = jax.tree.map(lambda value: jnp.asarray(value, start.dtype), (rule, duration, rtol))
    return _solve(loss, start, layout, traced, samples, *numbers, control=jnp.array(control))


@eqx.filter_jit
def _solve(
    loss: Loss,
    start: Float[Array, "a a"],
    layout: Layout,
    rule: Rule,
    samples: int,
    duration: Float[Array, ""],
    rtol: Float[Array, ""],
    *,
    control: Bool[Array, ""],
) -> tuple[Array, Array, Array]:
    """Times, propagators (for the control: overlaps) there, and whether the solver arrived."""
    import diffrax

    factors = rule.factors(layout, start.dtype)

    def velocity(t: Any, at: Array, _: None) -> Array:
        gamma = symmetric_gradient(loss, jnp.where(control, at, at.T @ start @ at))
        by_weights = -2 * at @ gamma * factors[None, :]
        return jnp.where(control, jnp.diag(jnp.diag(gamma)) - 2 * gamma, by_weights)

    times = jnp.linspace(0, duration, samples + 1, dtype=start.dtype)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(velocity),
        diffrax.Dopri8(),
        times[0],
        times[-1],
        None,
        jnp.where(control, start, jnp.eye(layout.size, dtype=start.dtype)),
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=rtol * 1e-2),
        max_steps=100_000,
        throw=False,
    )
    return times, solution.ys, solution.result == diffrax.RESULTS.successful


def _flowed(
    loss: Loss,
    matrices: Float[Array, "step a a"],
    weights: Float[Array, "step a a"],
    times: Float[Array, " step"],
    solved: Array,
    layout: Layout,
    dt: float | None,
    method: str,
    rule: dict[str, Any],
) -> Learning:
    s = np.asarray(matrices)
    along = [loss_and_gradient(loss, matrix) for matrix in matrices]
    gamma = np.stack([g for _, g in along])
    free = np.asarray(Rule(1.0, tuple(rule.get("blocks", (1.0,) * 4))).factors(layout, float)) > 0
    squares = np.diagonal(gamma @ s @ gamma, axis1=-1, axis2=-2)[:, free].sum(-1)
    # what the solver did not reach is not a number
    values = np.where(bool(solved), np.stack([value for value, _ in along]), np.nan)
    return _record(
        s,
        np.asarray(weights),
        values.astype(s.dtype),
        2 * np.sqrt(np.maximum(squares, 0)),
        layout=layout,
        dt=dt,
        linear=closure_of(loss) == "exact",
        count=np.zeros(len(times), int),
        time=np.asarray(times),
        method=method,
        rule=rule,
    )


def learned(network: Network, learning: Learning, at: int = -1) -> Network:
    """The network after `learning`, without having trained it. For low-rank networks without a bias, from zero."""
    stack = stacked(network)
    if stack.layout.columns != learning.columns or stack.layout.input_names:
        raise InputError(f"`learning` is of the vectors {learning.columns}, the network has {stack.layout.columns}.")
    return assemble(recover(stack.theta, learning, at), learning.layout, dt=stack.dt, phi=stack.phi)
