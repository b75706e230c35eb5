r"""Labelled responses of a latent unit, for which the best that any decoder can do is known (docs eq. L.62)."""

from typing import Literal

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int

from recurvature._errors import check_choice, check_count
from recurvature._keys import PRNGKey, stream
from recurvature._precision import float_dtype
from recurvature.lenses.latent.unit import LatentUnit

Rule = Literal["shift", "xor"]


def labelled_responses(
    unit: LatentUnit,
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
    check_choice("rule", rule, ("shift", "xor"))
    dtype, (size, rank) = float_dtype(unit.flow), unit.embedding.shape
    if rule == "xor":
        check_choice("rule", rule, ("shift", "xor") if rank > 1 else ("shift",))
    signs = jr.rademacher(stream(key, "signs"), (trials, min(2, rank)), dtype)
    moved = signs[:, :1] if rule == "shift" else signs
    kappa = jr.normal(stream(key, "latents"), (trials, rank), dtype)
    kappa = kappa.at[:, : moved.shape[1]].add(shift * moved)
    rates = unit.lift(kappa) + noise * jr.normal(stream(key, "noise"), (trials, size), dtype)
    return rates, (signs[:, 0] > 0 if rule == "shift" else signs.prod(1) < 0).astype(jnp.int32), kappa
