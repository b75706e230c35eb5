"""What is read off a metric: ratios, profiles, attribution, dimension, the warped grid, dependence on the step."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses.warping import (
    STATUS,
    attribution,
    dimension_check,
    extended_metric,
    metric,
    profile,
    ratio,
    sheet,
    step_size_check,
)
from recurvature.systems import (
    ConstantInputs,
    Euler,
    FunctionFlow,
    FunctionInputs,
    FunctionMap,
    LinearReadout,
    Network,
    PulsedInputs,
    box,
    interval,
)

DURATION = 2.0


def squeeze(scale: Array) -> Network:
    """A map whose state is its input, each channel times a factor."""
    return Network(FunctionMap(lambda x, u: scale * u, 2, 2), LinearReadout(jnp.eye(2)), jnp.zeros(2))


SQUARE = box(relevant=(-1.0, 1.0), other=(-1.0, 1.0))


def test_the_three_summaries_of_a_ratio_disagree_and_keep_their_names() -> None:
    # x = (θ₁³/3, θ₂): G₁₁ = θ₁⁴, G₂₂ = 1, on θ₁ ∈ {-1, 0, 1}
    manifold = ConstantInputs(SQUARE, lambda theta: jnp.stack([theta[0] ** 3 / 3, theta[1]]))
    got = ratio(metric(squeeze(jnp.ones(2)), manifold, points=3, duration=1.0, reference="coordinates"), 0, "other")
    assert np.isnan(got.pointwise[0, 3:6]).all(), "where the cube is flat the metric is singular"
    np.testing.assert_allclose(got.pointwise[0, :3], 1.0, rtol=1e-14)  # exact up to one product
    assert got.median[0] == pytest.approx(1.0, rel=1e-14)
    assert got.ratio_of_means[0] == pytest.approx(2 / 3, rel=1e-14)
    assert (got.numerator, got.denominator) == ("relevant", "other")


def test_percentiles_over_points_hold_the_median_between_them(network: Network, manifold: PulsedInputs) -> None:
    got = ratio(metric(network, manifold, points=5, duration=DURATION), "a", "b")
    assert np.isnan(got.median[:10]).all(), "the second item has not been shown"
    late = slice(10, None)
    assert (got.low[late] <= got.median[late]).all()
    assert (got.median[late] <= got.high[late]).all()
    inside = (got.pointwise[late] >= got.low[late, None]) & (got.pointwise[late] <= got.high[late, None])
    # the 5th percentile of 25 points lies between the second and the third smallest: 21 of them are inside
    assert (inside.sum(1) == 21).all()


def test_profile_peaks_where_the_state_moves_fastest() -> None:
    # x = (tanh(4θ₁)/4, θ₂): stretch 1/cosh²(4θ₁) along the first coordinate, 1 along the second
    manifold = ConstantInputs(SQUARE, lambda theta: jnp.stack([jnp.tanh(4 * theta[0]) / 4, theta[1]]))
    got = profile(metric(squeeze(jnp.ones(2)), manifold, points=(9, 3), duration=1.0), "relevant")
    np.testing.assert_allclose(got.value, np.linspace(-1, 1, 9), rtol=0, atol=1e-15)  # a linspace
    np.testing.assert_allclose(got.stretch[0], np.cosh(4 * np.linspace(-1, 1, 9)) ** -2.0, rtol=1e-12)  # 1 - tanh²
    assert got.relative[0].argmax() == 4
    assert got.relative[0].mean() == pytest.approx(1.0, rel=1e-14)
    flat = profile(metric(squeeze(jnp.ones(2)), manifold, points=(9, 3), duration=1.0), 1)
    np.testing.assert_allclose(flat.relative[0], 1.0, rtol=1e-14)  # constant up to a mean


def test_unknown_coordinates_and_scattered_points(network: Network, manifold: PulsedInputs) -> None:
    scattered = metric(network, manifold, points=np.zeros((2, 2)), duration=0.2)
    with pytest.raises(InputError, match="unknown coordinate 'c'"):
        ratio(scattered, "a", "c")
    with pytest.raises(InputError, match=r"must lie in 0…1"):
        ratio(scattered, 0, 2)
    with pytest.raises(InputError, match="no grid"):
        profile(scattered, "a")


def test_attribution_sums_to_the_change_of_the_metric(network: Network, manifold: PulsedInputs) -> None:
    options = {"points": 3, "duration": DURATION}
    g = np.asarray(metric(network, manifold, **options).metric)  # type: ignore[arg-type]
    parts = attribution(network, manifold, **options)  # type: ignore[arg-type]
    change = (g[1:] - g[:-1]) / 0.1
    # exact for a map (the midpoint identity), up to the rounding of a difference divided by the step
    np.testing.assert_allclose((parts.recurrent + parts.input)[:-1], change, rtol=0, atol=1e-11)
    # no input drives after 1.5 nor between 0.5 and 1; entries are those at the start of a step
    driven = np.abs(parts.input).max((1, 2, 3)) > 0
    np.testing.assert_array_equal(driven, [0 < k < 5 or 10 <= k < 15 for k in range(1, 21)])


def test_attribution_of_a_linear_flow_is_leak_and_drive() -> None:
    # x' = -x + θ: V = 1 - e^-t, recurrent part 2V·(-V), input part 2V·1
    network = Network(FunctionFlow(lambda x, u: u - x, 1, 1), LinearReadout(jnp.eye(1)), jnp.zeros(1))
    got = attribution(network, ConstantInputs(interval("level")), points=3, duration=2.0, samples=4)
    v = 1 - np.exp(-np.asarray(got.time))
    # a hundred times the relative tolerance of the solver, 1e-8
    np.testing.assert_allclose(got.recurrent[:, 0, 0, 0], -2 * v**2, rtol=1e-6)
    np.testing.assert_allclose(got.input[:, 0, 0, 0], 2 * v, rtol=1e-6)
    np.testing.assert_allclose(got.recurrent_log_rate[:, 0, 0], -1.0, rtol=1e-6)
    np.testing.assert_allclose(got.input_log_rate[:, 0, 0], 1 / v, rtol=1e-6)


def test_dimension_of_two_pulses_is_two_then_three(network: Network, manifold: PulsedInputs) -> None:
    got = dimension_check(network, manifold, points=4, duration=DURATION)
    assert got.bound == 3
    # until the second item is shown its column is exactly zero
    assert set(got.rank[:10].ravel()) == {2}
    assert {STATUS[code] for code in got.status[:10].ravel()} == {"no_input_yet"}
    assert set(got.rank[10:].ravel()) == {3}
    assert {STATUS[code] for code in got.status[10:].ravel()} == {"ok"}


def test_a_flow_along_the_code_is_rank_deficient() -> None:
    # x = θt in one channel: the velocity is parallel to the tangent
    network = Network(FunctionMap(lambda x, u: x + u, 2, 2), LinearReadout(jnp.eye(2)), jnp.zeros(2))
    manifold = ConstantInputs(interval("level", 0.5, 1.0), lambda theta: jnp.append(theta, 0.0))
    got = dimension_check(network, manifold, points=2, duration=2.0)
    assert set(got.rank.ravel()) == {1}
    assert {STATUS[code] for code in got.status.ravel()} == {"rank_deficient"}


def test_extended_metric_holds_the_metric_and_the_speed(network: Network, manifold: PulsedInputs) -> None:
    options = {"points": 3, "duration": DURATION}
    got = extended_metric(network, manifold, **options)  # type: ignore[arg-type]
    plain = metric(network, manifold, **options)  # type: ignore[arg-type]
    # the same factorisation with one more column
    np.testing.assert_allclose(got.metric[..., :2, :2], plain.metric, rtol=0, atol=1e-13)
    inputs = rc.systems.sample_inputs(manifold, jnp.asarray(got.theta), dt=0.1, steps=21)
    states = np.swapaxes(rc.systems.simulate(network, inputs).states, 0, 1)
    speed = ((np.diff(states, axis=0) / 0.1) ** 2).sum(-1)
    # differences of neighbouring states divided by the step
    np.testing.assert_allclose(got.metric[..., 2, 2], speed, rtol=0, atol=1e-11)
    assert got.coordinates == ("a", "b", "time")


def test_sheet_holds_the_states_up_to_a_rotation(network: Network, manifold: PulsedInputs) -> None:
    got = sheet(network, manifold, times=(0.5, 2.0), points=3, components=18)
    inputs = rc.systems.sample_inputs(manifold, jnp.asarray(got.theta), dt=0.1, steps=20)
    trajectory = rc.systems.simulate(network, inputs)
    np.testing.assert_allclose(got.time, [0.5, 2.0], rtol=1e-15)
    states = np.swapaxes(trajectory.states[:, [4, 19]], 0, 1).reshape(18, -1)
    positions = np.asarray(got.position).reshape(18, -1)

    def distances(cloud: np.ndarray) -> np.ndarray:
        return np.linalg.norm(cloud[:, None] - cloud[None], axis=-1)

    # 18 points span at most 17 dimensions: all distances are kept, up to the rounding of an SVD
    np.testing.assert_allclose(distances(positions), distances(states), rtol=0, atol=1e-12)
    assert np.sum(got.variance) == pytest.approx(1.0, rel=1e-12)
    assert (np.diff(got.variance) <= 0).all()
    # the readout of 30 rates
    np.testing.assert_allclose(got.outputs[1], trajectory.outputs[:, 19], rtol=0, atol=1e-12)


def test_step_size_check_falls_with_order_one(network: Network, manifold: PulsedInputs) -> None:
    options = {"points": 3, "duration": DURATION}
    coarse = step_size_check(network, manifold, **options)  # type: ignore[arg-type]
    assert isinstance(network.system, Euler)
    halved = dataclasses.replace(network, system=Euler(network.system.flow, 0.05))
    fine = step_size_check(halved, manifold, **options)  # type: ignore[arg-type]
    # order 1 up to the next term, of relative size dt
    assert coarse.relative_change[-1].max() / fine.relative_change[-1].max() == pytest.approx(2.0, abs=0.2)
    with pytest.raises(InputError, match="cannot be halved"):
        step_size_check(squeeze(jnp.ones(2)), ConstantInputs(SQUARE), duration=1.0)


def exploding() -> Network:
    """A map that leaves every float64 behind within five steps where the input is not 0."""
    return Network(FunctionMap(lambda x, u: 1e60 * x * x * x + u, 1, 1), LinearReadout(jnp.ones((1, 1))), jnp.zeros(1))


LEVEL = ConstantInputs(interval("level"))


def test_ratio_is_there_where_one_output_cannot_tell_two_coordinates_apart() -> None:
    # y = 3 θ₁ + θ₂: the metric of the one output has rank 1, its diagonal entries are 9 and 1
    network = Network(FunctionMap(lambda x, u: u, 2, 2), LinearReadout(jnp.asarray([[3.0, 1.0]])), jnp.zeros(2))
    got = ratio(metric(network, ConstantInputs(SQUARE), points=3, duration=1.0, space="readout"), 0, 1)
    # exact up to a square and a quotient
    np.testing.assert_allclose(got.pointwise, 9.0, rtol=1e-14)
    np.testing.assert_allclose(got.median, got.ratio_of_means, rtol=1e-14)


def test_one_exploding_point_does_not_hide_the_ratio_of_the_others() -> None:
    network = Network(FunctionMap(lambda x, u: 1e60 * x * x * x + u, 2, 2), LinearReadout(jnp.eye(2)), jnp.zeros(2))
    with np.errstate(all="ignore"):
        field = metric(network, ConstantInputs(SQUARE), points=3, duration=8.0)
    got = ratio(field, 0, 1)
    # only the middle, without input, stays where it is: both coordinates move it alike
    assert np.isnan(got.pointwise[-1]).sum() == 8
    assert (got.median[-1], got.ratio_of_means[-1]) == (1.0, 1.0)


@pytest.mark.parametrize("duration", [0.55, 0.53, 0.57, 0.5])
def test_step_size_check_of_a_duration_that_is_no_whole_number_of_steps(
    network: Network, manifold: PulsedInputs, duration: float
) -> None:
    got = step_size_check(network, manifold, points=2, duration=duration)
    assert got.relative_change.shape == (len(got.time), 4)


def test_step_size_check_does_not_call_what_is_not_finite_unchanged() -> None:
    flow = FunctionFlow(lambda x, u: 1e60 * x * x * x - x + u, 1, 1)
    network = Network(Euler(flow, 1.0), LinearReadout(jnp.ones((1, 1))), jnp.zeros(1))
    with np.errstate(all="ignore"):
        got = step_size_check(network, LEVEL, points=3, duration=8.0)
    assert np.isnan(got.relative_change[-1, [0, 2]]).all()
    assert np.isfinite(got.relative_change[-1, 1])


def test_sheet_of_a_network_that_explodes_has_holes_and_no_traceback() -> None:
    got = sheet(exploding(), LEVEL, times=(1.0, 8.0), points=3)
    assert np.isfinite(got.position[0]).all()
    np.testing.assert_array_equal(np.isfinite(got.position[1, :, 0]), [False, True, False])
    assert got.variance.sum() == pytest.approx(1.0)


def test_dimension_check_of_a_network_that_explodes_is_not_zero() -> None:
    got = dimension_check(exploding(), LEVEL, duration=8.0, points=3)
    assert {STATUS[code] for code in got.status[-1, [0, 2]]} == {"non_finite"}
    assert np.isnan(got.singular_values[-1, [0, 2]]).all()
    assert np.isnan(got.smallest_over_largest[-1, [0, 2]]).all()


def test_dimension_lost_to_silence_is_collapse_and_not_a_missing_input() -> None:
    # the state is the input times a clock that stops: full rank, then exactly still
    manifold = FunctionInputs(
        interval("level", 0.5, 1.0), lambda t, theta: jnp.append(jnp.where(t < 2, theta, 0 * theta), t * t), (2.0,)
    )
    network = Network(FunctionMap(lambda x, u: u, 2, 2), LinearReadout(jnp.eye(2)), jnp.zeros(2))
    got = dimension_check(network, manifold, duration=4.0, points=2)
    assert {STATUS[code] for code in got.status[-1]} == {"collapsed"}
