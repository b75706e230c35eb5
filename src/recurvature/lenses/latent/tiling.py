"""A unit of more neurons with the same latent field: copies of those that it has, counted right."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int

from recurvature._errors import InputError, check_count
from recurvature._keys import PRNGKey, stream
from recurvature.lenses.latent.unit import LatentUnit, from_mean_convention


def tile(unit: LatentUnit, copies: int) -> LatentUnit:
    r"""Every neuron `copies` times over, its encoding shared among its copies: the same latent field (docs eq. L.52).

    The weights come back in the 1/N convention, in which copies keep their entries.
    """
    check_count(copies=copies)
    size = unit.connectivity.size
    return _chosen(unit, np.tile(np.arange(size), copies), np.full(size, copies))


def resize(unit: LatentUnit, size: int, *, key: PRNGKey) -> LatentUnit:
    r"""Copies that make `size` neurons, with exactly the latent field of the unit whatever `size` is (docs eq. L.52).

    Where `size` is no multiple, randomly chosen neurons get one copy more, and the encoding of each neuron is divided
    by its own count. Drawing neurons without that keeps the field in the mean only. Raises `InputError` below the
    unit's own size: neurons cannot be left out without changing the field.
    """
    check_count(size=size)
    own = unit.connectivity.size
    if size < own:
        raise InputError(f"`size` must be at least the unit's own {own}; got {size}. Design a smaller unit instead.")
    generator = np.random.default_rng(np.asarray(jr.key_data(stream(key, "copies"))))
    more = generator.permutation(own)[: size % own]
    counts = np.full(own, size // own)
    counts[more] += 1
    return _chosen(unit, np.concatenate([np.tile(np.arange(own), size // own), more]), counts)


def _chosen(unit: LatentUnit, neurons: Int[np.ndarray, " n"], counts: Int[np.ndarray, " base"]) -> LatentUnit:
    """The unit of these neurons, each weighing one over its number of copies."""
    share = jnp.asarray(len(neurons) / counts[neurons], unit.embedding.dtype)
    flow = unit.flow
    return from_mean_convention(
        unit.embedding[neurons],
        unit.encoding.T[neurons] * share[:, None],
        input_weights=flow.input_weights[neurons],
        bias=flow.bias[neurons],
        form=unit.form,
        phi=flow.phi,
        tau=flow.tau,
        dt=unit.dt,
    )


def partial_encoding(unit: LatentUnit, observed: int) -> Float[Array, "k n"]:
    r"""The rows that read $\kappa$ from the first `observed` neurons alone, scaled up (docs eq. L.53).

    They are multiplied by $N/N_\mathrm{obs}$, which is unbiased where neurons are exchangeable; the others have
    weight zero.
    """
    check_count(observed=observed)
    size = unit.connectivity.size
    if observed > size:
        raise InputError(f"`observed` must be at most {size}; got {observed}.")
    seen = jnp.arange(size) < observed
    return jnp.where(seen[None, :], unit.encoding * (size / observed), 0)
