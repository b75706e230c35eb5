"""ReLU made smooth: the corner, where it is put in, and what curvature becomes as it sharpens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses.warping import SmoothingSweep, smoothed, smoothing_sweep
from recurvature.lenses.warping.smoothing import SoftRelu
from recurvature.lenses.warping.smoothness import kinks_of_network
from recurvature.systems import ConstantInputs, torus


def test_a_soft_corner_is_off_by_log_two_over_sharpness() -> None:
    x = jnp.linspace(-2, 2, 41)
    off = SoftRelu(10.0)(x) - jax.nn.relu(x)
    # the largest error is at the corner, exactly
    np.testing.assert_allclose(off.max(), np.log(2) / 10, rtol=1e-14)
    assert (off >= 0).all()


@pytest.mark.parametrize("make", [rc.systems.leaky_current, rc.systems.vanilla])
def test_every_relu_of_a_network_is_replaced(make: object) -> None:
    network = make(5, inputs=4, outputs=1, key=rc.key(0), phi="relu")  # type: ignore[operator]
    soft = smoothed(network, 3.0)
    manifold = ConstantInputs(torus("a", "b"))
    assert kinks_of_network(soft, manifold, space="readout") == ()
    assert kinks_of_network(network, manifold) == ("gt",)
    for one, other in zip(jax.tree.leaves(soft), jax.tree.leaves(network), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_away_from_kinks_the_sweep_approaches_the_pieces() -> None:
    network = rc.systems.leaky_current(6, inputs=4, outputs=1, key=rc.key(0), phi="relu", dt=0.5)
    got = smoothing_sweep(network, ConstantInputs(torus("a", "b")), sharpness=(8.0, 512.0), points=4, duration=1.5)
    assert isinstance(got, SmoothingSweep)
    off = np.median(np.abs(got.scalar - got.pieces), axis=(1, 2))
    # corners narrower by 64: the typical point is outside of all of them
    assert off[1] < 1e-3 * np.abs(got.pieces).max()
    assert off[1] < 0.1 * off[0]


def test_misuse_names_the_argument() -> None:
    network = rc.systems.leaky_current(3, inputs=4, outputs=1, key=rc.key(0))
    with pytest.raises(InputError, match="no `phi` that is ReLU"):
        smoothed(network, 2.0)
    with pytest.raises(InputError, match="`sharpness`"):
        smoothed(network, -2.0)
    with pytest.raises(InputError, match="`sharpness`"):
        smoothing_sweep(network, ConstantInputs(torus("a", "b")), sharpness=(), duration=1.0)
