r"""Units for any flow that one wants: random tuning, and an encoding that is fitted to it (Theorem 1)."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_count, check_positive, check_shape
from recurvature._keys import PRNGKey, stream
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.latent.regression import ridge_rows
from recurvature.lenses.latent.source import DINC
from recurvature.lenses.latent.unit import LatentUnit, from_encoding
from recurvature.systems.activations import activation

Field = Callable[[Float[Array, " k"], Float[Array, " d"]], Float[Array, " k"]]


class Approximation(AbstractResult):
    r"""A rate unit whose variables follow $\tau_\mathrm{lat}\dot\kappa = H(\kappa, u)$ (docs eq. L.22, L.23)."""

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    embedding: Float[Values, "n k"]
    encoding: Float[Values, "k n"]
    input_weights: Float[Values, "n d"]
    bias: Float[Values, " n"]
    field_error: float
    r"""$\lVert\hat H - H\rVert/\lVert H\rVert$, root mean squares over samples that the fit did not see."""
    fitted_error: float
    """The same over those that it saw."""
    slowness: float
    r"""$\beta = \tau_\mathrm{lat}/\tau$."""
    ridge: float
    phi: str

    def unit(self, dt: float | None = None) -> LatentUnit:
        """The unit, in continuous time or stepped by `dt`."""
        weights: dict[str, Any] = {"input_weights": self.input_weights, "bias": self.bias}
        return from_encoding(self.embedding, self.encoding, phi=self.phi, dt=dt, **weights)


def approximate(
    field: Field,
    samples: Float[Any, "sample k"],
    *,
    units: int,
    key: PRNGKey,
    inputs: Float[Any, "sample d"] | None = None,
    slowness: float = 1.0,
    gain: float = 1.0,
    phi: str = "tanh",
    ridge: float = 1e-12,
    held_out: float = 0.25,
) -> Approximation:
    r"""Random tuning, and an encoding with $\mathbf N\phi(M\kappa + W_\mathrm{in}u + b)\approx\kappa + H/\beta$.

    Then $\tau_\mathrm{lat}\dot\kappa\approx H$ with $\tau_\mathrm{lat} = \beta\tau$ (Theorem 1 and Proposition 1 of
    arXiv 2502.14337): slow variables need an error of $H/\beta$, not of $\kappa$, to be small.

    **Arguments**

    - `field`: $H(\kappa, u)$, written for one $\kappa$.
    - `samples`: where it should hold, with `inputs` at each (None: no inputs). The last `held_out` share of a random
      order is not fitted, and measures `field_error`.
    - `units`: N. `slowness`: $\beta$.
    - `gain`: standard deviation of $M$ and $W_\mathrm{in}$ times the spread of each variable; biases are uniform over
      the range of currents that this makes.
    """
    check_count(units=units)
    check_positive(slowness=slowness, gain=gain, held_out=held_out)
    kappa = np.asarray(samples, float)
    check_shape("samples", kappa, (None, None))
    u = np.zeros((len(kappa), 0)) if inputs is None else np.asarray(inputs, float)
    check_shape("inputs", u, (len(kappa), None))
    seen = np.asarray(jr.permutation(stream(key, "held out"), len(kappa))) >= held_out * len(kappa)
    if not 0 < seen.sum() < len(kappa):
        raise InputError(f"`held_out` must leave samples on both sides; got {held_out!r} of {len(kappa)}.")
    m, w, b = _tuning(kappa, u, units, gain, key)
    target = np.asarray(jax.vmap(field)(jnp.asarray(kappa), jnp.asarray(u)), float)
    check_shape("field(samples)", target, kappa.shape)
    rates = np.asarray(activation(phi)(jnp.asarray(kappa @ m.T + u @ w.T + b)), float)
    encoding = ridge_rows(rates[seen], kappa[seen] + target[seen] / slowness, ridge)
    found = slowness * (rates @ encoding.T - kappa)
    share = lambda part: float(np.linalg.norm(found[part] - target[part]) / np.linalg.norm(target[part]))  # noqa: E731
    return Approximation(m, encoding, w, b, share(~seen), share(seen), slowness, ridge, phi)


def _tuning(
    kappa: np.ndarray, u: np.ndarray, units: int, gain: float, key: PRNGKey
) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "n d"], Float[np.ndarray, " n"]]:
    """Random embedding, input weights and biases, matched to the spread of what they act on."""
    driven = np.concatenate([kappa, u], 1)
    spread = driven.std(0)
    if not (spread > 0).all():
        raise InputError("`samples` and `inputs` must vary in every coordinate; leave out those that do not.")
    weights = gain * np.asarray(jr.normal(stream(key, "tuning"), (units, driven.shape[1]))) / spread
    reach = np.abs((driven - driven.mean(0)) @ weights.T).max(0)
    offset = np.asarray(jr.uniform(stream(key, "bias"), (units,), minval=-1.0, maxval=1.0)) * reach
    bias = offset - weights @ driven.mean(0)
    return weights[:, : kappa.shape[1]], weights[:, kappa.shape[1] :], bias
