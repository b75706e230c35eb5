r"""Gradient descent on the weights, followed exactly in the overlaps: one step is a product with a P × P matrix."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from recurvature._errors import InputError, check_choice, check_positive
from recurvature.lenses.overlaps.layout import Layout, Regime

Loss = Callable[..., Float[Array, ""]]
"""A function of the overlaps (P, P), and of one step's data where there are any."""

NAMES = ("gradient", "tensor-adam", "polar")
ELEMENTWISE = ("adam", "adamw", "rmsprop", "adagrad", "nadam", "adamax", "amsgrad", "sign")


class Rule(eqx.Module):
    r"""How weights descend: $d = 2\Theta\Gamma + w\Theta$, $v' = \beta v + d$, $\Theta' = \Theta - \eta\,v'\Lambda$.

    All of it multiplies $\Theta$ from the right, which is why overlaps close (docs eq. O.20). $2\Theta\Gamma$ is
    $N\nabla_\Theta L$: the learning rate of the weights is $N\eta$.

    - `rate`: $\eta$.
    - `blocks`: $\Lambda$, factors of the rate for Z, V, M, U, or one for each vector; 0 freezes. `block_rates` gives
      those of a network's own arrays.
    - `momentum`: $\beta$; `nesterov` steps by $d + \beta v'$.
    - `weight_decay`: $w$, added to the gradient after clipping.
    - `clip`: the largest norm of $\sqrt N\nabla_\Theta L$ over what learns, $2\sqrt{\mathrm{tr}\,\Gamma S\Gamma}$;
      with `clip_own` of the gradient in a network's own arrays, $2\sqrt{\mathrm{tr}\,\Gamma S\Gamma\Lambda}$ where
      $\Lambda$ is `block_rates(network, 1.0)` (docs eq. O.35).
    - `slower_below`: once the loss of a step is below it, the rate is `slower` times $\eta$, in that step and for good.
    - `name`: `gradient`; `tensor-adam` divides the momentum of each tensor by one number, its running root mean square
      (`momentum` is then Adam's $\beta_1$, `second` its $\beta_2$, `epsilon` added to the root; docs eq. O.36);
      `polar` replaces the momentum of each tensor by its polar factor, orthonormal columns of entries of order one, as
      Muon does (docs eq. O.37). Element-wise rules (Adam and its kin) are refused: they scale each weight by a history
      of its own, so that weights leave the span of the first ones and no function of the overlaps says where they go;
      `descend_units` trains the network itself.
    - `noise`: variance of independent noise added to every weight that learns at every step. What is followed is then
      the mean of the overlaps as N grows, $S' = (\cdot)S(\cdot)+\epsilon$ (docs eq. O.38). None: no noise.
    """

    rate: float
    blocks: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    momentum: float = 0.0
    weight_decay: float = 0.0
    clip: float | None = None
    nesterov: bool = eqx.field(static=True, default=False)
    name: str = eqx.field(static=True, default="gradient")
    second: float = 0.999
    epsilon: float = 1e-8
    noise: float | None = None
    clip_own: bool = eqx.field(static=True, default=False)
    slower_below: float | None = None
    slower: float = 0.2

    def __check_init__(self) -> None:
        if self.name.lower() in ELEMENTWISE:
            raise InputError(
                f"{self.name!r} scales every weight by a history of its own, so the weights leave the span of the "
                "initial vectors and the overlaps do not close. Train the full network (`overlaps.descend_units`, or "
                "`training.fit` and extract its overlaps), or use the rule 'gradient', 'tensor-adam' or 'polar'."
            )
        check_choice("name", self.name, NAMES)
        if isinstance(self.rate, int | float):
            check_positive(rate=self.rate)
        if len(self.blocks) < 4 or any(isinstance(b, int | float) and not 0 <= b < np.inf for b in self.blocks):
            raise InputError(
                f"`blocks` must be four factors of at least 0, for Z, V, M, U, or one for each vector; "
                f"got {self.blocks!r}."
            )
        for name, top in (("momentum", 1.0), ("second", 1.0), ("weight_decay", np.inf), ("epsilon", np.inf)):
            value = getattr(self, name)
            if isinstance(value, int | float) and not 0 <= value < top:
                raise InputError(f"`{name}` must lie in [0, {top:g}); got {value!r}.")
        for name in ("clip", "slower_below", "slower"):
            if isinstance(getattr(self, name), int | float):
                check_positive(**{name: getattr(self, name)})
        if self.nesterov and self.name == "tensor-adam":
            raise InputError("`nesterov` goes with 'gradient' and 'polar'; leave it out for 'tensor-adam'.")
        if self.noise is not None:
            self._check_noise()

    def _check_noise(self) -> None:
        if isinstance(self.noise, int | float):
            check_positive(noise=self.noise)
        if self.name != "gradient" or (isinstance(self.momentum, int | float) and self.momentum):
            raise InputError("`noise` on the weights is followed under plain descent: name 'gradient', no momentum.")

    def factors(self, layout: Layout, dtype: Any) -> Float[Array, " a"]:
        r"""The diagonal of $\Lambda$."""
        if len(self.blocks) not in (4, layout.size):
            raise InputError(f"`blocks` must be four factors, or {layout.size}; got {len(self.blocks)}.")
        each = len(self.blocks) == layout.size
        chosen = [column if each else layout.block_of(column) for column in range(layout.size)]
        return jnp.stack([jnp.asarray(self.blocks[b], dtype) for b in chosen])


def phi_of(loss: Loss) -> str:
    """The nonlinearity for which a loss stands, where it says so: other than `identity` the Gaussian closure."""
    return getattr(loss, "phi", "identity")


def closure_of(*losses: Loss, regime: Regime = "linear") -> str:
    """Of `status.CLOSURE` what a course of overlaps alone can say: `exact`, or `unchecked` for nonlinear units."""
    linear = regime == "linear" and all(phi_of(loss) == "identity" for loss in losses)
    return "exact" if linear else "unchecked"


class Propagator(NamedTuple):
    r"""Where learning stands: $\Theta_k = \Theta_0\mathcal K_k$ and the momentum $v_k = \Theta_0\mathcal J_k$."""

    weights: Float[Array, "a a"]
    momentum: Float[Array, "a a"]
    squares: Float[Array, " block"] | None = None
    """Running mean squares of the four tensors' gradients, for `tensor-adam`."""
    taken: Float[Array, ""] | None = None
    """Steps taken, for its bias correction."""
    spread: Float[Array, "a a"] | None = None
    """What noise on the weights has added to the overlaps."""
    pace: Float[Array, ""] | None = None
    """What the rate is multiplied by, where it changes."""
    gone: Float[Array, ""] | None = None
    """The sum of it over all steps."""


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


def begin(layout: Layout, dtype: Any, rule: Rule | None = None) -> Propagator:
    """The propagator before the first step: weights where they are, no momentum."""
    identity = jnp.eye(layout.size, dtype=dtype)
    zero = jnp.zeros_like(identity)
    adam = rule is not None and rule.name == "tensor-adam"
    squares, count = (jnp.zeros(4, dtype), jnp.zeros((), dtype)) if adam else (None, None)
    spread = None if rule is None or rule.noise is None else zero
    slows = rule is not None and rule.slower_below is not None
    pace, gone = (jnp.ones((), dtype), jnp.zeros((), dtype)) if slows else (None, None)
    return Propagator(identity, zero, squares, count, spread, pace, gone)


def current(overlaps: Float[Array, "a a"], at: Propagator) -> Float[Array, "a a"]:
    r"""$S_k = \mathcal K_k^\top S_0\mathcal K_k$: positive semi-definite whatever the rounding."""
    carried = at.weights.T @ overlaps @ at.weights
    return carried if at.spread is None else carried + at.spread


def descend_once(
    loss: Loss, overlaps: Float[Array, "a a"], at: Propagator, rule: Rule, layout: Layout, *data: Any
) -> tuple[Propagator, Float[Array, ""], Float[Array, ""]]:
    r"""One step of descent for the initial `overlaps` $S_0$: the next propagator, the loss and gradient norm before it.

    Exact for any step size, any data of that step, any nonlinearity of the loss in the overlaps (docs eq. O.20). The
    norm is the one that `clip` is compared with. May be jitted and vmapped.
    """
    s = current(overlaps, at)
    value, gamma = loss_and_gradient(loss, s, *data)
    factors = rule.factors(layout, s.dtype)
    energies = jnp.diag(gamma @ s @ gamma)
    counted = factors * energies if rule.clip_own else jnp.where(factors > 0, energies, 0)
    norm = 2 * jnp.sqrt(jnp.maximum(jnp.sum(counted), 0))
    scale = jnp.ones_like(norm)
    if rule.clip is not None:
        scale = jnp.where(norm > rule.clip, rule.clip / jnp.where(norm > 0, norm, 1), 1).astype(s.dtype)
    change = 2 * scale * gamma + rule.weight_decay * jnp.eye(layout.size, dtype=s.dtype)
    direction = at.weights @ change
    rate, at = _paced(at, rule, value)
    if rule.name == "tensor-adam":
        return _adam(overlaps, at, rule, rate, layout, direction), value, norm
    momentum = rule.momentum * at.momentum + direction
    taken = direction + rule.momentum * momentum if rule.nesterov else momentum
    if rule.name == "polar":
        taken = _polar(overlaps, layout, taken)
    spread = at.spread
    if spread is not None:
        turn = jnp.eye(layout.size, dtype=s.dtype) - rate * change * factors[None, :]
        added = jnp.asarray(rule.noise, s.dtype) * jnp.diag((factors > 0).astype(s.dtype))
        spread = turn.T @ spread @ turn + added
    weights = at.weights - rate * taken * factors[None, :]
    return at._replace(weights=weights, momentum=momentum, spread=spread), value, norm


def _paced(at: Propagator, rule: Rule, value: Float[Array, ""]) -> tuple[Any, Propagator]:
    """The rate of a step whose loss is `value`, and how far the steps have gone with it."""
    if rule.slower_below is None or at.pace is None or at.gone is None:
        return rule.rate, at
    pace = jnp.where(value < rule.slower_below, jnp.asarray(rule.slower, at.pace.dtype), at.pace)
    return rule.rate * pace, at._replace(pace=pace, gone=at.gone + pace)


def _adam(
    overlaps: Float[Array, "a a"], at: Propagator, rule: Rule, rate: Any, layout: Layout, direction: Float[Array, "a a"]
) -> Propagator:
    """A step of Adam whose second moment is one number for each tensor (docs eq. O.36)."""
    assert at.squares is not None
    assert at.taken is not None
    dtype = overlaps.dtype
    member = jnp.asarray([[layout.block_of(c) == b for c in range(layout.size)] for b in range(4)], dtype)
    each = jnp.diag(direction.T @ overlaps @ direction)
    mean = member @ each / jnp.sum(member, axis=1)
    momentum = rule.momentum * at.momentum + (1 - rule.momentum) * direction
    squares = rule.second * at.squares + (1 - rule.second) * mean
    count = at.taken + 1
    root = jnp.sqrt(squares / (1 - rule.second**count)) + rule.epsilon
    taken = momentum / (1 - rule.momentum**count) / (root @ member)[None, :]
    weights = at.weights - rate * taken * rule.factors(layout, dtype)[None, :]
    return at._replace(weights=weights, momentum=momentum, squares=squares, taken=count)


def _polar(overlaps: Float[Array, "a a"], layout: Layout, taken: Float[Array, "a a"]) -> Float[Array, "a a"]:
    r"""$D_b(D_b^\top S_0D_b)^{-1/2}$ for the columns $D_b$ of every tensor: $\Theta_0$ times it is the polar factor.

    Directions in which a tensor has no gradient stay without one (docs eq. O.37).
    """
    turned = []
    for block in (layout.z, layout.v, layout.m, layout.u):
        columns = taken[:, block]
        values, axes = jnp.linalg.eigh(columns.T @ overlaps @ columns)
        # what rounding leaves of a zero eigenvalue
        kept = values > 1e2 * jnp.finfo(values.dtype).eps * jnp.maximum(values[-1], 0)
        inverse = jnp.where(kept, jax.lax.rsqrt(jnp.where(kept, values, 1)), 0)
        turned.append(columns @ (axes * inverse[None, :]) @ axes.T)
    return jnp.concatenate(turned, axis=1)


class Course(NamedTuple):
    """What is recorded along a descent, before the first step and after every `every` steps."""

    weights: Float[Array, "step a a"]
    loss: Float[Array, " step"]
    norm: Float[Array, " step"]
    spread: Float[Array, "step a a"] | None
    gone: Float[Array, " step"] | None
    """Rates of all steps before, over the rule's, where they are not equal."""

    def time(self, rate: float, count: Int[np.ndarray, " step"]) -> Float[np.ndarray, "..."]:
        """Rate times steps at every record."""
        return rate * (count if self.gone is None else np.asarray(self.gone))


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
        seen = Course(at.weights, value, norm, at.spread, at.gone)
        return after, jax.tree.map(lambda rows, row: rows.at[place].set(row), course, seen)

    start = begin(layout, overlaps.dtype, rule)
    number = jnp.zeros((), overlaps.dtype)
    first = Course(start.weights, number, number, start.spread, start.gone)
    empty = jax.tree.map(lambda x: jnp.zeros((records + 2, *x.shape), x.dtype), first)
    _, course = jax.lax.fori_loop(0, last + 1, step, (start, empty))
    return jax.tree.map(lambda rows: rows[: records + 1], course)
