r"""All $N$ units of a network, run from their vectors: what the overlaps have to answer to."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from recurvature._errors import check_shape
from recurvature.lenses.overlaps.layout import Layout
from recurvature.lenses.overlaps.response import completed
from recurvature.systems.activations import activation


@eqx.filter_jit
def simulated(
    theta: Float[Array, "n a"],
    layout: Layout,
    inputs: Float[Array, "trial time i"],
    dt: float,
    phi: str = "identity",
) -> Float[Array, "trial time o"]:
    r"""The outputs of the network of vectors $\Theta = [Z|V|M|U]$ in steps of `dt`, every unit of it (docs eq. O.1).

    Inputs as for `respond`. The recurrence is never multiplied out: $O(BTN(p+q+R))$ work.
    """
    check_shape("theta", theta, (None, layout.size))
    reads = theta[:, : layout.split] / jnp.asarray(theta.shape[0], theta.dtype)
    latent = trajectory(theta, layout, inputs, dt, phi)[:, 1:]
    rates = activation(phi)(latent @ theta[:, layout.split :].T)
    return rates @ reads[:, layout.z]


@eqx.filter_jit
def trajectory(
    theta: Float[Array, "n a"],
    layout: Layout,
    inputs: Float[Array, "trial time i"],
    dt: float,
    phi: str = "identity",
) -> Float[Array, "trial later k"]:
    r"""The latent variables $\kappa$ of the same network, $h = B\kappa$, with the start in front: one more instant."""
    function = activation(phi)
    split = layout.split
    reads, writes = theta[:, layout.v] / jnp.asarray(theta.shape[0], theta.dtype), theta[:, split:]
    filled, starts = jax.vmap(lambda x: completed(layout, x))(inputs.astype(theta.dtype))

    def step(state: Array, x: Array) -> tuple[Array, Array]:
        drive = function(state @ writes.T) @ reads
        after = (1 - dt) * state + dt * jnp.concatenate([x, drive], axis=1)
        return after, after

    states = jax.lax.scan(step, starts, filled.swapaxes(0, 1))[1]
    return jnp.concatenate([starts[None], states]).swapaxes(0, 1)
