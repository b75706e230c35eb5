"""Functions of the host inside JAX: batches of any shape, transposes, and no waiting for one another."""

import dataclasses
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recurvature._errors import InputError
from recurvature.systems import AbstractHostFunction, HostMap
from recurvature.systems.host import host_call

A = np.random.default_rng(0).standard_normal((3, 5))


@dataclasses.dataclass(frozen=True)
class Cubic(AbstractHostFunction):
    r"""$f(z) = A\\,z^{3}$ in NumPy, with the derivative $3A(z^2 t)$ and its transpose written out."""

    kind: str = "value"

    @property
    def sizes(self) -> tuple[int, ...]:
        return {"value": (5,), "push": (5, 5), "pull": (5, 3)}[self.kind]

    @property
    def size(self) -> int:
        return {"value": 3, "push": 3, "pull": 5}[self.kind]

    @property
    def transpose(self) -> "Cubic | None":
        return {"value": None, "push": Cubic("pull"), "pull": Cubic("push")}[self.kind]

    @property
    def push(self) -> "Cubic":
        assert self.kind == "value"
        return Cubic("push")

    def __call__(self, *arguments: np.ndarray) -> np.ndarray:
        z = arguments[0]
        if self.kind == "value":
            return z**3 @ A.T
        return (3 * z**2 * arguments[1]) @ A.T if self.kind == "push" else 3 * z**2 * (arguments[1] @ A)


def cubic(z: jax.Array) -> jax.Array:
    return host_call(Cubic(), z)


def test_batches_within_batches_are_one_call_each() -> None:
    z = jnp.asarray(np.random.default_rng(1).standard_normal((2, 4, 5)))
    nested = jax.jit(jax.vmap(jax.vmap(cubic)))(z)
    # the same products, summed in the same order or another: rounding
    np.testing.assert_allclose(nested, np.asarray(z) ** 3 @ A.T, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(jax.vmap(jax.vmap(cubic), 1, 1)(z), nested, rtol=1e-13, atol=1e-13)


def test_what_does_not_vary_along_a_batch_gets_the_sum_of_its_cotangents() -> None:
    z = jnp.asarray(np.random.default_rng(2).standard_normal((4, 5)))
    total = jax.jit(jax.grad(lambda shift: jax.vmap(lambda row: cubic(row + shift))(z).sum()))(jnp.zeros(5))
    expected = (3 * np.asarray(z) ** 2 * A.sum(0)).sum(0)
    np.testing.assert_allclose(total, expected, rtol=1e-12, atol=1e-12)
    along = jax.vmap(lambda t: jax.jvp(cubic, (z[0],), (t,))[1])(jnp.eye(5))
    # a point that is shared by all tangents of a batch
    np.testing.assert_allclose(along, (3 * np.asarray(z[0]) ** 2 * A).T, rtol=1e-13, atol=1e-13)


def test_single_precision_stays_single() -> None:
    z = jnp.ones(5, jnp.float32)
    assert cubic(z).dtype == jnp.float32
    assert jax.jit(jax.grad(lambda z: cubic(z).sum()))(z).dtype == jnp.float32


def test_a_map_takes_state_and_input_joined() -> None:
    system = HostMap(Cubic(), rate_size=2)
    assert (system.state_size, system.input_size, system.dt) == (3, 2, 1.0)
    x, u = jnp.asarray([0.5, -1.0, 2.0]), jnp.asarray([1.0, -0.5])
    np.testing.assert_allclose(system.step(x, u), A @ np.concatenate([x, u]) ** 3, rtol=1e-13)
    np.testing.assert_array_equal(system.rates(x), x[:2])
    with pytest.raises(InputError, match="`rate_size` must be at most the length of the state, 3; got 4"):
        HostMap(Cubic(), rate_size=4)
    with pytest.raises(InputError, match="must take state and input joined"):
        HostMap(Cubic("pull"), rate_size=2)


ON_ONE_CORE = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import jax, jax.numpy as jnp
from tests.systems.test_host import cubic
jax.config.update("jax_enable_x64", True)
step = jax.jit(jax.vmap(lambda x: jnp.tanh(cubic(jnp.concatenate([x, jnp.ones(2)])))))
x = jnp.ones((500_000, 3))
for k in range(6):
    y = step(step(x * k) + 1)  # calls that nobody has waited for
print(jax.block_until_ready(y).shape)
"""


@pytest.mark.slow
def test_calls_with_large_batches_do_not_wait_for_ever_on_one_core() -> None:
    # handed over by `jax.pure_callback` this hangs at 20 MB: its copy waits for the thread in which the call runs
    flags = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}
    done = subprocess.run(
        [sys.executable, "-c", ON_ONE_CORE], env=os.environ | flags, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(500000, 3)"
