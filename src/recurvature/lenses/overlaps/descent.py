r"""Gradient descent on the weights, followed exactly in the overlaps: one step is a product with a P × P matrix."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from recurvature._errors import InputError, check_positive
from recurvature.lenses.overlaps.layout import Layout

Loss = Callable[..., Float[Array, ""]]
"""A function of the overlaps (P, P), and of one step's data where there are any."""

ELEMENTWISE = ("adam", "adamw", "rmsprop", "adagrad", "nadam", "adamax", "amsgrad", "sign")


class Rule(eqx.Module):
    r"""How weights descend: $d = 2\Theta\Gamma + w\Theta$, $v' = \beta v + d$, $\Theta' = \Theta - \eta\,v'\Lambda$.

    All of it multiplies $\Theta$ from the right, which is why overlaps close (docs eq. O.20). $2\Theta\Gamma$ is
    $N\nabla_\Theta L$: the learning rate of the weights is $N\eta$.

    - `rate`: $\eta$.
    - `blocks`: $\Lambda$, factors of the rate for Z, V, M, U; 0 freezes a block. `extract.block_rates` gives those of
      a network's own arrays.
    - `momentum`: $\beta$; `nesterov` steps by $d + \beta v'$.
    - `weight_decay`: $w$, added to the gradient after clipping.
    - `clip`: the largest norm of $\sqrt N\nabla_\Theta L$ over the blocks that learn, $2\sqrt{\mathrm{tr}\,\Gamma
      S\Gamma}$.
    - `name`: `gradient`. Element-wise rules (Adam and its kin) are refused: they scale each weight by a history of its
      own, so that weights leave the span of the first ones and no function of the overlaps says where they go.
    """

    rate: float
    blocks: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    momentum: float = 0.0
    weight_decay: float = 0.0
    clip: float | None = None
    nesterov: bool = eqx.field(static=True, default=False)
    name: str = eqx.field(static=True, default="gradient")

    def __check_init__(self) -> None:
        if self.name.lower() in ELEMENTWISE:
            raise InputError(
                f"{self.name!r} scales every weight by a history of its own, so the weights leave the span of the "
                "initial vectors and the overlaps do not close. Train the full network with `training.fit` and extract "
                "its overlaps, or use the rule 'gradient' with momentum."
            )
        if self.name != "gradient":
            raise InputError(f"`name` must be 'gradient'; got {self.name!r}.")
        if isinstance(self.rate, int | float):
            check_positive(rate=self.rate)
        if len(self.blocks) != 4 or any(isinstance(b, int | float) and not 0 <= b < np.inf for b in self.blocks):
            raise InputError(f"`blocks` must be four factors of at least 0, for Z, V, M, U; got {self.blocks!r}.")
        for name, value, top in (("momentum", self.momentum, 1.0), ("weight_decay", self.weight_decay, np.inf)):
            if isinstance(value, int | float) and not 0 <= value < top:
                raise InputError(f"`{name}` must lie in [0, {top:g}); got {value!r}.")
        if isinstance(self.clip, int | float):
            check_positive(clip=self.clip)

    def factors(self, layout: Layout, dtype: Any) -> Float[Array, " a"]:
        r"""The diagonal of $\Lambda$."""
        blocks = [layout.block_of(column) for column in range(layout.size)]
        return jnp.stack([jnp.asarray(self.blocks[b], dtype) for b in blocks])


class Propagator(NamedTuple):
    r"""Where learning stands: $\Theta_k = \Theta_0\mathcal K_k$ and the momentum $v_k = \Theta_0\mathcal J_k$."""

    weights: Float[Array, "a a"]
    momentum: Float[Array, "a a"]


def symmetric_gradient(loss: Loss, overlaps: Float[Array, "a a"], *data: Any) -> Float[Array, "a a"]:
    r"""$\Gamma$ with $d\ell = \mathrm{tr}(\Gamma\,dS)$, so that $N\nabla_\Theta L = 2\Theta\Gamma$ (docs eq. O.18)."""
    return loss_and_gradient(loss, overlaps, *data)[1]


@eqx.filter_jit
def loss_and_gradient(
    loss: Loss, overlaps: Float[Array, "a a"], *data: Any
) -> tuple[Float[Array, ""], Float[Array, "a a"]]:
    r"""The loss and its symmetric gradient $\Gamma$."""
    value, gradient = jax.value_and_grad(loss)(overlaps, *data)
    return value, (gradient + gradient.T) / 2


def begin(layout: Layout, dtype: Any) -> Propagator:
    """The propagator before the first step: weights where they are, no momentum."""
    identity = jnp.eye(layout.size, dtype=dtype)
    return Propagator(identity, jnp.zeros_like(identity))


def current(overlaps: Float[Array, "a a"], at: Propagator) -> Float[Array, "a a"]:
    r"""$S_k = \mathcal K_k^\top S_0\mathcal K_k$: positive semi-definite whatever the rounding."""
    return at.weights.T @ overlaps @ at.weights


def descend_once(
    loss: Loss, overlaps: Float[Array, "a a"], at: Propagator, rule: Rule, layout: Layout, *data: Any
) -> tuple[Propagator, Float[Array, ""], Float[Array, ""]]:
    r"""One step of descent for the initial `overlaps` $S_0$: the next propagator, the loss and gradient norm before it.

    Exact for any step size, any data of that step, any nonlinearity of the loss in the overlaps (docs eq. O.20). The
    norm is that of $\sqrt N\nabla_\Theta L$ over the blocks that learn. May be jitted and vmapped.
    """
    s = current(overlaps, at)
    value, gamma = loss_and_gradient(loss, s, *data)
    factors = rule.factors(layout, s.dtype)
    norm = 2 * jnp.sqrt(jnp.maximum(jnp.sum(jnp.where(factors > 0, jnp.diag(gamma @ s @ gamma), 0)), 0))
    scale = jnp.ones_like(norm)
    if rule.clip is not None:
        scale = jnp.where(norm > rule.clip, rule.clip / jnp.where(norm > 0, norm, 1), 1).astype(s.dtype)
    direction = 2 * scale * at.weights @ gamma + rule.weight_decay * at.weights
    momentum = rule.momentum * at.momentum + direction
    taken = direction + rule.momentum * momentum if rule.nesterov else momentum
    return Propagator(at.weights - rule.rate * taken * factors[None, :], momentum), value, norm


class Course(NamedTuple):
    """What is recorded along a descent, before the first step and after every `every` steps."""

    weights: Float[Array, "step a a"]
    loss: Float[Array, " step"]
    norm: Float[Array, " step"]


def follow(
    loss: Loss,
    overlaps: Float[Array, "a a"],
    rule: Rule,
    layout: Layout,
    records: int,
    every: int | Int[Array, ""],
    data: Any = None,
) -> Course:
    """Descent of `records` · `every` steps as one program, which may be jitted and vmapped over overlaps and rules.

    `data` has a leading axis of steps: each step sees its own. The last record's loss is measured with the last data.
    """
    last = records * every
    per_step = () if data is None else (data,)

    def step(k: Array, carry: tuple[Propagator, Course]) -> tuple[Propagator, Course]:
        at, course = carry
        datum = jax.tree.map(lambda x: x[jnp.minimum(k, last - 1)], per_step)
        after, value, norm = descend_once(loss, overlaps, at, rule, layout, *datum)
        # one place more than there are records takes what is not kept
        place = jnp.where(k % every == 0, k // every, records + 1)
        seen = Course(at.weights, value, norm)
        return after, jax.tree.map(lambda rows, row: rows.at[place].set(row), course, seen)

    start = begin(layout, overlaps.dtype)
    number = jnp.zeros((), overlaps.dtype)
    empty = jax.tree.map(lambda x: jnp.zeros((records + 2, *x.shape), x.dtype), Course(start.weights, number, number))
    _, course = jax.lax.fori_loop(0, last + 1, step, (start, empty))
    return jax.tree.map(lambda rows: rows[: records + 1], course)
