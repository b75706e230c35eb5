r"""All $N$ units of a network, run from their vectors: what the overlaps have to answer to."""

import functools

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
    return _run(theta, layout, inputs, dt, phi)[1]


@eqx.filter_jit
def trajectory(
    theta: Float[Array, "n a"],
    layout: Layout,
    inputs: Float[Array, "trial time i"],
    dt: float,
    phi: str = "identity",
) -> Float[Array, "trial later k"]:
    r"""The latent variables $\kappa$ of the same network, $h = B\kappa$, with the start in front: one more instant."""
    return _run(theta, layout, inputs, dt, phi)[0]


def _run(
    theta: Float[Array, "n a"], layout: Layout, inputs: Float[Array, "trial time i"], dt: float, phi: str
) -> tuple[Float[Array, "trial later k"], Float[Array, "trial time o"]]:
    """Latent variables and outputs. Rates are computed once: what drives a step is read out with the step before."""
    function, split = activation(phi), layout.split
    reads, writes = theta[:, :split].T / jnp.asarray(theta.shape[0], theta.dtype), theta[:, split:].T
    filled, start = completed(layout, inputs.astype(theta.dtype))
    begin = jnp.broadcast_to(start[None], (len(inputs), len(start)))

    # on the way back rates are computed again: that is cheaper than to keep them
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def read(state: Array) -> Array:
        return function(state @ writes) @ reads.T

    def step(carry: tuple[Array, Array], x: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        state, seen = carry
        after = (1 - dt) * state + dt * jnp.concatenate([x, seen[:, layout.v]], axis=1)
        carry = after, read(after)
        return carry, carry

    _, (states, seen) = jax.lax.scan(step, (begin, read(begin)), filled.swapaxes(0, 1))
    return jnp.concatenate([begin[None], states]).swapaxes(0, 1), seen[..., layout.z].swapaxes(0, 1)
