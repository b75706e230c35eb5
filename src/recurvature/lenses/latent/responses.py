r"""Labelled responses of a latent unit, for which the best that any decoder can do is known (docs eq. L.62)."""

from typing import Literal

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int

from recurvature._errors import check_choice, check_count, check_not_negative
from recurvature._keys import PRNGKey, stream
from recurvature._precision import float_dtype
from recurvature.lenses.latent.unit import AbstractUnit

Rule = Literal["shift", "xor"]


def labelled_responses(
    unit: AbstractUnit,
    trials: int,
    *,
    key: PRNGKey,
    rule: Rule = "shift",
    shift: float = 0.8,
    noise: float = 0.3,
) -> tuple[Float[Array, "trial n"], Int[Array, " trial"], Float[Array, "trial k"]]:
    r"""Rates $\phi(M\kappa + b)$ with noise, labels 0 and 1, and the latent variables $\kappa$ behind them.

    - `shift`: $\kappa$ is normal; label 1 moves its first variable up by `shift`, label 0 down. Bayes' accuracy from
      $\kappa$ is $\Phi(\mathrm{shift})$ and $d'^2 = 4\,\mathrm{shift}^2$; the best boundary is a plane.
    - `xor`: signs $\pm$`shift` of the first two variables are drawn apart, and the label says whether they differ. No
      plane does better than chance, since both classes have the same mean.
    """
    check_count(trials=trials)
    check_not_negative(shift=shift, noise=noise)
    check_choice("rule", rule, ("shift", "xor"))
    dtype, (size, rank) = float_dtype(unit.flow), (unit.flow.state_size, unit.rank)
    if rule == "xor":
        check_choice("rule", rule, ("shift", "xor") if rank > 1 else ("shift",))
    generator = np.random.default_rng(np.asarray(jr.key_data(stream(key, "responses"))))
    signs = generator.choice([-1.0, 1.0], (trials, min(2, rank)))
    moved = signs[:, :1] if rule == "shift" else signs
    kappa = generator.standard_normal((trials, rank))
    kappa[:, : moved.shape[1]] += shift * moved
    rates = np.asarray(unit.rates(jnp.asarray(kappa, dtype))) + noise * generator.standard_normal((trials, size))
    labels = signs[:, 0] > 0 if rule == "shift" else signs.prod(1) < 0
    return jnp.asarray(rates, dtype), jnp.asarray(labels, jnp.int32), jnp.asarray(kappa, dtype)
