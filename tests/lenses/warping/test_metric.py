"""The metric is what it says: invariances, closed forms, other derivatives, memory and compilation."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Array

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses.warping import STATUS, metric
from recurvature.lenses.warping.field import _block, check_network
from recurvature.systems import (
    ConstantInputs,
    FunctionFlow,
    FunctionMap,
    LinearReadout,
    Network,
    PulsedInputs,
    box,
    sphere,
)
from recurvature.systems.simulate import rollout, step_times

DT, DURATION = 0.1, 2.0

POINTS = np.asarray([[0.3, 1.1], [2.0, -0.7], [-1.2, 0.4], [5.0, 3.0]])


def jacobians(network: Network, manifold: PulsedInputs, theta: np.ndarray) -> Array:
    """∂x/∂θ along the plain rollout, (point, time, n, m)."""
    times = jnp.asarray(step_times(manifold, DT, round(DURATION / DT)))

    def states(point: Array) -> Array:
        return rollout(network.system, network.x0, jax.vmap(lambda t: manifold.inputs(t, point))(times))  # type: ignore[arg-type]

    return jax.jit(jax.vmap(jax.jacfwd(states)))(jnp.asarray(theta))


def test_metric_is_the_gram_matrix_of_the_jacobian(network: Network, manifold: PulsedInputs) -> None:
    got = metric(network, manifold, points=POINTS, duration=DURATION)
    jacobian = jacobians(network, manifold, POINTS)
    expected = np.einsum("ptni,ptnj->tpij", jacobian, jacobian)
    # sums of 30 products of numbers of order 1
    np.testing.assert_allclose(got.metric, expected, rtol=0, atol=1e-13)
    np.testing.assert_allclose(got.time, DT * np.arange(1, 21), rtol=1e-15)
    assert got.unaligned_jumps == ()


@pytest.mark.parametrize("space", ["rates", "readout"])
def test_metric_of_rates_and_readout(network: Network, manifold: PulsedInputs, space: str) -> None:
    got = metric(network, manifold, points=POINTS, duration=DURATION, space=space)  # type: ignore[arg-type]
    inputs = rc.systems.sample_inputs(manifold, jnp.asarray(POINTS), dt=DT, steps=20)
    states = rc.systems.simulate(network, inputs).states
    seen = (1 - np.tanh(states) ** 2)[..., None] * np.asarray(jacobians(network, manifold, POINTS))
    if space == "readout":
        seen = np.einsum("or,ptri->ptoi", network.readout.weight, seen)  # type: ignore[attr-defined]
    # sums of 30 products of numbers of order 1
    np.testing.assert_allclose(got.metric, np.einsum("ptni,ptnj->tpij", seen, seen), rtol=0, atol=1e-12)


def test_blocks_do_not_show(network: Network, manifold: PulsedInputs) -> None:
    whole, parts = (metric(network, manifold, points=4, duration=DURATION, block=b) for b in (None, 5))
    # 16 points in one block or in four (the last padded): the same sums, vectorised differently
    np.testing.assert_allclose(whole.metric, parts.metric, rtol=0, atol=1e-13)


class Turned(rc.systems.AbstractMap):
    """A random map in rotated and shifted coordinates."""

    weight: Array
    rotation: Array
    shift: Array
    state_size: int = 8
    input_size: int = 2
    dt: float = 0.1

    def rates(self, x: Array) -> Array:
        return x

    def step(self, x: Array, u: Array) -> Array:
        x = self.rotation.T @ (x - self.shift)
        return self.rotation @ jnp.tanh(self.weight @ jnp.concatenate([x, u])) + self.shift


@given(seed=st.integers(0, 2**32 - 1))
def test_metric_is_blind_to_rotations_and_shifts_of_state_space(seed: int) -> None:
    size, key = 8, rc.key(seed)
    rotation, _ = jnp.linalg.qr(jr.normal(rc.stream(key, "rotation"), (size, size)))
    shift = jr.normal(rc.stream(key, "shift"), (size,))
    weight = jr.normal(rc.stream(key, "weight"), (size, size + 2)) / 2

    manifold = ConstantInputs(box(a=(-1.0, 1.0), b=(-1.0, 1.0)))
    readout, still = LinearReadout(jnp.ones((1, size))), jnp.zeros(size)
    plain = Network(Turned(weight, jnp.eye(size), still), readout, still)
    turned = Network(Turned(weight, rotation, shift), readout, shift)
    first, second = (metric(net, manifold, points=3, duration=0.5) for net in (plain, turned))
    # five steps, sums of 10 products, one orthogonal matrix each way
    np.testing.assert_allclose(first.metric, second.metric, rtol=0, atol=1e-12)
    np.testing.assert_allclose(first.stretches, second.stretches, rtol=0, atol=1e-12)


def test_metric_transforms_as_a_tensor_and_stretches_do_not_change(network: Network) -> None:
    change = np.asarray([[2.0, 0.5], [-0.3, 0.7]])

    def encode(theta: Array) -> Array:
        a, b = theta
        return jnp.stack([jnp.sin(a), jnp.cos(b), a * b, b])

    def recoded(theta: Array) -> Array:
        return encode(jnp.asarray(change) @ theta)

    theta = np.asarray([[0.4, -0.2], [0.9, 0.8]])
    domain = box(a=(-1.0, 1.0), b=(-1.0, 1.0))
    old = metric(network, ConstantInputs(domain, encode), points=theta, duration=DURATION)
    new = metric(network, ConstantInputs(domain, recoded), points=theta @ np.linalg.inv(change).T, duration=DURATION)
    # the change of chart has condition number 4: rounding of a few sums
    np.testing.assert_allclose(new.metric, change.T @ np.asarray(old.metric) @ change, rtol=0, atol=1e-13)
    # measured against the inputs' own metric, which transforms alike
    np.testing.assert_allclose(new.stretches, old.stretches, rtol=1e-11)


def test_length_of_a_small_step_is_the_distance_of_the_trajectories(network: Network, manifold: PulsedInputs) -> None:
    got = metric(network, manifold, points=POINTS[:1], duration=DURATION).metric[-1, 0]

    def relative_error(size: float) -> float:
        step = size * np.asarray([0.6, 0.8])
        # centred on the point, so that the cubic term of the squared distance vanishes
        ends = np.stack([POINTS[0] - step / 2, POINTS[0] + step / 2])
        states = rc.systems.simulate(network, rc.systems.sample_inputs(manifold, ends, dt=DT, steps=20)).states
        first, second = np.asarray(states)[:, -1]
        squared = float(((second - first) ** 2).sum())
        return abs(squared / float(step @ np.asarray(got) @ step) - 1)

    # dθᵀ G dθ is the squared distance up to fourth order: the relative error falls with order 2
    assert np.log2(relative_error(2e-2) / relative_error(1e-2)) == pytest.approx(2.0, abs=0.01)


def test_linear_flow_has_its_closed_form() -> None:
    # x' = A x + B θ from 0: ∂x/∂θ = A⁻¹(e^{At} − 1)B, here with A diagonal
    rates = np.asarray([-1.0, -0.3, -2.0])
    drive = np.asarray([[1.0, 0.2], [0.5, -1.0], [0.3, 0.4]])
    flow = FunctionFlow(lambda x, u: jnp.asarray(rates) * x + jnp.asarray(drive) @ u, 3, 2)
    network = Network(flow, LinearReadout(jnp.eye(3)), jnp.zeros(3))
    manifold = ConstantInputs(box(a=(-1.0, 1.0), b=(-1.0, 1.0)))
    got = metric(network, manifold, points=2, duration=3.0, samples=6)
    growth = (np.exp(rates * np.asarray(got.time)[:, None]) - 1) / rates
    tangent = growth[:, :, None] * drive
    # a hundred times the relative tolerance of the solver, 1e-8
    np.testing.assert_allclose(got.metric[:, 0], np.einsum("tni,tnj->tij", tangent, tangent), rtol=1e-6)


def test_inner_products(network: Network, manifold: PulsedInputs) -> None:
    square = np.random.default_rng(5).normal(size=(30, 30))
    inner = square @ square.T
    jacobian = np.asarray(jacobians(network, manifold, POINTS))
    given = metric(network, manifold, points=POINTS, duration=DURATION, inner=inner).metric
    expected = np.einsum("ptni,nk,ptkj->tpij", jacobian, inner, jacobian)
    # an eigendecomposition of condition number 1e4 and two sums of 30 products of order 10
    np.testing.assert_allclose(given, expected, rtol=0, atol=1e-10)
    plain, per_unit = (
        metric(network, manifold, points=POINTS, duration=DURATION, inner=i) for i in ("euclidean", "per_unit")
    )
    # one division
    np.testing.assert_allclose(np.asarray(per_unit.metric) * 30, plain.metric, rtol=1e-13)


def test_stretches_come_from_tangents_not_from_their_squares() -> None:
    # x = (θ₁, 1e-9 θ₂) at all times: stretches 1 and 1e-9; the square root of an eigenvalue of G would say 1e-8 or 0
    scale = jnp.asarray([1.0, 1e-9])
    network = Network(FunctionMap(lambda x, u: scale * u, 2, 2), LinearReadout(jnp.eye(2)), jnp.zeros(2))
    turn = np.asarray([[0.6, -0.8], [0.8, 0.6]])
    manifold = ConstantInputs(box(a=(-1.0, 1.0), b=(-1.0, 1.0)), lambda theta: jnp.asarray(turn) @ theta)
    got = metric(network, manifold, points=2, duration=1.0)
    # absolute error of some eps in each singular value
    np.testing.assert_allclose(got.stretches[0, 0], [1.0, 1e-9], rtol=0, atol=1e-15)
    assert STATUS[int(got.status[0, 0])] == "rank_deficient"
    np.testing.assert_allclose(got.log_volume[0, 0], np.log(1e-9), rtol=1e-6)  # 1e-15 of 1e-9
    np.testing.assert_allclose(got.anisotropy[0, 0], 1e9, rtol=1e-6)  # the same


def test_references(network: Network, manifold: PulsedInputs) -> None:
    options = {"points": POINTS, "duration": DURATION}
    coordinates = metric(network, manifold, reference="coordinates", **options)  # type: ignore[arg-type]
    eigenvalues = np.linalg.eigvalsh(np.asarray(coordinates.metric))[..., ::-1]
    # eigenvalues of G lose half of the digits: compared from t = 1.5 on, where G is far from singular
    np.testing.assert_allclose(coordinates.stretches[14:] ** 2, eigenvalues[14:], rtol=1e-10)
    inputs = metric(network, manifold, **options)  # type: ignore[arg-type]
    # each unit circle is on for a quarter of the time: its own metric has entries 1/4, hence stretches are twice
    np.testing.assert_allclose(inputs.stretches, 2 * np.asarray(coordinates.stretches), rtol=1e-12)
    itself = metric(network, manifold, reference=inputs, **options)  # type: ignore[arg-type]
    # a Cholesky factor of a metric of condition number below 1e6 where the status is ok
    np.testing.assert_allclose(itself.stretches[14:], 1.0, rtol=1e-8)
    early = metric(network, manifold, reference=1.5, **options)  # type: ignore[arg-type]
    np.testing.assert_allclose(early.stretches[14], 1.0, rtol=1e-10)  # a triangular solve with itself
    assert early.reference == "metric at time 1.5"


def test_reasons_where_a_metric_is_singular(network: Network, manifold: PulsedInputs) -> None:
    got = metric(network, manifold, points=POINTS, duration=DURATION)
    reasons = [{STATUS[int(code)] for code in row} for row in np.asarray(got.status)]
    assert reasons[0] == {"no_input_yet"}, "the second item has not been shown at t = 0.1"
    assert reasons[9] == {"no_input_yet"}
    assert reasons[10] == {"ok"}, "from t = 1.1 on both have"
    assert (np.asarray(got.stretches)[:10, :, 1] == 0).all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_both_poles_are_named_in_either_number_type(dtype: type) -> None:
    network = rc.cast(rc.systems.leaky_current(4, inputs=3, outputs=1, key=rc.key(0)), dtype)
    field = metric(network, ConstantInputs(sphere()), points=(3, 4), duration=0.4)
    names = np.asarray(STATUS)[np.asarray(field.status[-1]).reshape(3, 4)]
    assert set(names[[0, 2]].ravel()) == {"chart_singularity"}
    assert set(names[1]) == {"ok"}
    assert np.isnan(np.asarray(field.stretches)[-1].reshape(3, 4, 2)[[0, 2]]).all()


def test_a_reference_with_nan_gives_no_stretch_there(network: Network, manifold: PulsedInputs) -> None:
    given = np.tile(np.eye(2), (len(POINTS), 1, 1))
    given[1, 0, 0] = np.nan
    got = metric(network, manifold, points=POINTS, duration=1.3, reference=given)
    np.testing.assert_array_equal(np.isnan(got.stretches).all((0, 2)), [False, True, False, False])
    assert {STATUS[int(code)] for code in got.status[-1:, 1]} == {"chart_singularity"}


def test_overflow_is_a_status_not_an_exception() -> None:
    network = Network(FunctionMap(lambda x, u: 1e200 * (x + u) ** 3, 1, 1), LinearReadout(jnp.eye(1)), jnp.zeros(1))
    got = metric(network, ConstantInputs(box(a=(0.5, 1.0))), points=3, duration=6.0)
    assert STATUS[int(got.status[-1, 0])] == "non_finite"
    assert np.isnan(got.stretches[-1]).all()


def test_collapse_is_told_from_never_having_been_there() -> None:
    # the state follows the input for one step and then forgets all but its first component
    def step(x: Array, u: Array) -> Array:
        return jnp.where(x[2] == 0, jnp.append(u, 1.0), x * jnp.asarray([1.0, 0.0, 1.0]))

    network = Network(FunctionMap(step, 3, 2), LinearReadout(jnp.ones((1, 3))), jnp.zeros(3))
    got = metric(network, ConstantInputs(box(a=(0.5, 1.0), b=(0.5, 1.0))), points=2, duration=3.0)
    assert [STATUS[int(code)] for code in np.asarray(got.status)[:, 0]] == ["ok", "collapsed", "collapsed"]


def test_the_same_request_compiles_once(network: Network, manifold: PulsedInputs) -> None:
    metric(network, manifold, points=3, duration=DURATION)
    before = _block._cached._cache_size()  # type: ignore[attr-defined]
    for shift in range(10):
        other = jax.tree.map(lambda leaf: leaf * (1 + 0.01 * shift) if hasattr(leaf, "dtype") else leaf, network)  # noqa: B023
        metric(other, manifold, points=3, duration=DURATION)
    assert _block._cached._cache_size() == before  # type: ignore[attr-defined]


def test_float32_stays_float32_and_agrees(network: Network, manifold: PulsedInputs) -> None:
    exact = metric(network, manifold, points=POINTS, duration=DURATION)
    got = metric(rc.cast(network, jnp.float32), manifold, points=POINTS, duration=DURATION)
    assert got.metric.dtype == np.float32
    # theory §5(a): 4e-7 of the largest entry in the tangent, twice that in its square, some margin for 20 steps
    assert np.abs(got.metric - exact.metric).max() / np.abs(exact.metric).max() < 5e-6


def test_dimensions_have_names_and_units(network: Network, manifold: PulsedInputs) -> None:
    got = metric(network, manifold, points=(3, 2), duration=DURATION)
    dataset = got.to_xarray()
    assert dataset["metric"].dims == ("time", "point", "i", "j")
    assert dataset["time"].attrs["units"] == "tau"
    assert (got.coordinates, got.grid, got.periodic) == (("a", "b"), (3, 2), (True, True))
    assert "2512.04310" in rc.cite(got)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": (3,)}, "`points` needs one count for each of 2"),
        ({"points": 0}, "`points` must be at least 1"),
        ({"points": np.zeros((2, 3))}, "`points` must have shape"),
        ({"points": np.full((2, 2), np.nan)}, "finite"),
        ({"duration": 0.0}, "`duration` must be"),
        ({"inner": np.eye(3)}, "`inner` must be a symmetric matrix"),
        ({"inner": -np.eye(30)}, "positive semi-definite"),
        ({"inner": "fisher"}, "`inner` must be one of"),
        ({"reference": "early"}, "`reference` must be"),
        ({"reference": 9.0}, "outside the times"),
        ({"reference": np.eye(2)}, "`reference` must have shape"),
        ({"block": -1}, "`block` must be"),
    ],
)
def test_misuse_gets_one_clear_line(network: Network, manifold: PulsedInputs, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        metric(network, manifold, **{"points": 2, "duration": 0.2, **options})
    assert "\n" not in str(caught.value)


def test_an_unknown_space(network: Network, manifold: PulsedInputs) -> None:
    with pytest.raises(InputError, match="`space` must be one of state, rates, readout"):
        check_network(network, manifold, "currents")


def test_inputs_that_do_not_fit_the_network(network: Network) -> None:
    with pytest.raises(InputError, match=r"inputs of shape \(1,\).*takes 4"):
        metric(network, ConstantInputs(box(a=(0.0, 1.0))), points=2, duration=1.0)
