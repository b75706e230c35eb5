import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recurvature._errors import InputError
from recurvature.systems import (
    ConstantInputs,
    Coordinate,
    FunctionInputs,
    PulsedInputs,
    box,
    circle,
    interval,
    sphere,
    torus,
)
from recurvature.systems.inputs import Product, grid_shape


def two_pulses(theta):
    return jnp.stack([jnp.stack([theta[0], 0 * theta[0]]), jnp.stack([theta[0], theta[0] ** 2])])


WINDOWS = ((0.5, 1.0), (0.75, 2.0))


def test_grid_of_an_interval_has_both_ends_and_one_point_is_the_middle():
    coordinate = interval("level", -1.0, 3.0).coordinates[0]
    np.testing.assert_array_equal(coordinate.grid(5), [-1, 0, 1, 2, 3])
    np.testing.assert_array_equal(coordinate.grid(1), [1.0])


def test_grid_of_a_circle_has_no_point_twice():
    angle = circle().coordinates[0]
    # products of pi with exact fractions
    np.testing.assert_allclose(angle.grid(4), np.pi * np.array([0, 0.5, 1, 1.5]), rtol=1e-15)
    np.testing.assert_array_equal(angle.grid(1), [0.0])
    points = jax.vmap(circle().embed)(jnp.asarray(angle.grid(7))[:, None])
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    # the nearest two of seven points on a circle
    np.testing.assert_allclose(np.sort(distances, axis=1)[:, 1], 2 * np.sin(np.pi / 7), rtol=1e-12)


def test_grid_of_a_manifold_runs_fastest_along_the_last_coordinate():
    manifold = ConstantInputs(interval("a", 0.0, 1.0) * box(b=(0.0, 2.0), c=(5.0, 6.0)))
    grid = manifold.grid((2, 3, 1))
    np.testing.assert_array_equal(grid[:, 0], [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(grid[:, 1], [0, 1, 2, 0, 1, 2])
    np.testing.assert_array_equal(grid[:, 2], 5.5)
    assert grid_shape(manifold, 4) == (4, 4, 4)
    with pytest.raises(InputError, match=r"`points` needs one count for each of 3 coordinates; got \(2, 3\)"):
        manifold.grid((2, 3))
    with pytest.raises(InputError, match="`points` must be at least 1 along every coordinate; got 0 for `b`"):
        manifold.grid((2, 0, 1))


def test_embeddings_are_the_usual_ones():
    c, s = math.cos, math.sin
    # one evaluation of each function
    for domain, theta, expected in [
        (interval("a"), [0.3], [0.3]),
        (box(a=(0.0, 1.0), b=(0.0, 1.0)), [0.3, 0.4], [0.3, 0.4]),
        (circle(), [0.3], [c(0.3), s(0.3)]),
        (torus("a", "b"), [0.3, 2.0], [c(0.3), s(0.3), c(2.0), s(2.0)]),
        (sphere(), [0.3, 2.0], [s(0.3) * c(2.0), s(0.3) * s(2.0), c(0.3)]),
        (circle() * interval("level"), [0.3, 0.7], [c(0.3), s(0.3), 0.7]),
        (interval("level") * (sphere() * circle()), [0.7, 0.3, 2.0, 1.0],
         [0.7, s(0.3) * c(2.0), s(0.3) * s(2.0), c(0.3), c(1.0), s(1.0)]),
    ]:  # fmt: skip
        assert domain.dimension == len(theta)
        np.testing.assert_allclose(domain.embed(jnp.array(theta)), expected, rtol=1e-15)
        np.testing.assert_array_equal(
            ConstantInputs(domain).inputs_at(jnp.array(theta)), domain.embed(jnp.array(theta))
        )


def test_periodic_coordinates_close():
    for domain, theta in [(circle(), [0.3]), (torus("a", "b"), [0.3, 1.0]), (sphere(), [0.3, 1.0])]:
        for k, coordinate in enumerate(domain.coordinates):
            ends = [jnp.array(theta).at[k].set(end) for end in (coordinate.low, coordinate.high)]
            gap = np.abs(domain.embed(ends[0]) - domain.embed(ends[1])).max()
            # sin(2π) in float64 is 2e-16
            assert (gap < 1e-15) == coordinate.periodic


def test_coordinates_keep_names_ranges_and_units():
    domain = circle("direction") * interval("coherence", -0.2, 0.2, units="%")
    assert [(c.name, c.low, c.high, c.periodic, c.units) for c in domain.coordinates] == [
        ("direction", 0.0, 2 * math.pi, True, "rad"),
        ("coherence", -0.2, 0.2, False, "%"),
    ]
    for make in (lambda: circle("angle") * circle("angle"), lambda: torus("a", "a"), torus):
        with pytest.raises(InputError, match="different names"):
            make()
    with pytest.raises(InputError, match="different names"):
        Product((circle("a") * circle("b"), interval("b")))


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (0.0, math.inf), (math.nan, 1.0)])
def test_ranges_that_are_none_are_refused(low, high):
    with pytest.raises(InputError, match="coordinate `level` needs finite low < high"):
        Coordinate("level", low, high)


def test_windows_of_pulses_are_half_open_and_add_up():
    manifold = PulsedInputs(interval("level"), two_pulses, WINDOWS)
    assert manifold.jump_times == (0.5, 0.75, 1.0, 2.0)
    for time, expected in [
        (0.0, [0, 0]),
        (np.nextafter(0.5, 0), [0, 0]),
        (0.5, [3, 0]),
        (0.75, [6, 9]),
        (np.nextafter(1.0, 0), [6, 9]),
        (1.0, [3, 9]),
        (2.0, [0, 0]),
    ]:
        np.testing.assert_array_equal(manifold.inputs_at(3.0, float(time)), expected)


def test_windows_follow_the_number_type_of_time_not_of_the_pulses():
    # 0.7 rounds down in float32: compared with its float64 neighbour, the pulse would start one step late
    manifold = PulsedInputs(interval("level"), lambda theta: jnp.ones((1, 1), jnp.float64), ((0.7, 1.0),))
    assert manifold.inputs(jnp.float32(0.7), jnp.zeros(1, jnp.float32))[0] == 1


@pytest.mark.parametrize("window", [(1.0, 1.0), (2.0, 1.0), (math.nan, 1.0)])
def test_windows_that_are_none_are_refused(window):
    with pytest.raises(InputError, match="`windows` need start < stop"):
        PulsedInputs(interval("level"), two_pulses, ((0.0, 1.0), window))


def test_pulses_and_windows_must_agree_in_number():
    manifold = PulsedInputs(interval("level"), two_pulses, WINDOWS[:1])
    with pytest.raises(InputError, match=r"`encode\(theta\)` must have shape \(1, any\); got \(2, 2\)"):
        manifold.inputs_at(1.0)


def test_functions_of_the_user_say_when_they_jump():
    ramp = lambda time, theta: jnp.stack([theta[0] * time, theta[1]])  # noqa: E731
    manifold = FunctionInputs(torus("a", "b"), ramp, ())
    np.testing.assert_array_equal(manifold.inputs_at(jnp.array([2.0, 0.5]), 3.0), [6.0, 0.5])
    # a number stands for every coordinate
    np.testing.assert_array_equal(manifold.inputs_at(2.0, 3.0), [6.0, 2.0])
    with pytest.raises(TypeError, match="jump_times"):
        FunctionInputs(torus("a", "b"), ramp)  # type: ignore[call-arg]


def test_constant_inputs_of_the_user_do_not_see_time():
    manifold = ConstantInputs(interval("level"), lambda theta: jnp.exp(theta))
    assert manifold.jump_times == ()
    np.testing.assert_array_equal(manifold.inputs_at(0.5, 0.0), manifold.inputs_at(0.5, 7.0))
    # one exponential
    np.testing.assert_allclose(manifold.inputs_at(0.5), [math.exp(0.5)], rtol=1e-15)
