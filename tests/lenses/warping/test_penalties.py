"""Constraints on the metric are what they say: by closed forms, by `warping.metric` after the fact, by differences."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.linalg
from jaxtyping import Array

import recurvature as rc
from recurvature import warping
from recurvature._errors import InputError
from recurvature.lenses.warping.penalties import square_log_stretches
from recurvature.systems import (
    ConstantInputs,
    FunctionMap,
    LinearReadout,
    Network,
    PulsedInputs,
    box,
    leaky_current,
    vanilla,
)

SQUARE = ConstantInputs(box(a=(-1.0, 1.0), b=(-1.0, 1.0)))
ONCE: dict[str, Any] = {"times": (1.0,), "points": 5, "epsilon": 0.0}
"""One step of a map without memory: its state is a closed form of the coordinates."""


def immediate(code: Callable[[Array], Array], rates: Callable[[Array], Array] = lambda x: x) -> Network:
    """A network whose state is `code` of its input, whatever came before."""
    size = jax.eval_shape(code, jnp.zeros(2)).shape[0]
    system = FunctionMap(lambda x, u: code(u), state_size=size, input_size=2, dt=1.0, rate_function=rates)
    return Network(system, LinearReadout(jnp.ones((1, size))), jnp.zeros(size))


def held(average: Any = "pointwise", space: Any = "state", **options: Any) -> warping.RatioConstraint:
    return warping.ratio_constraint([(SQUARE, "a", "b")], average=average, space=space, **{**ONCE, **options})


def test_a_ratio_of_one_does_not_forbid_warping() -> None:
    network = immediate(lambda u: jnp.tanh(4 * jnp.stack([u[0] + u[1], u[0] - u[1]])))
    theta = SQUARE.grid(5)
    slopes = [4 - 4 * np.tanh(4 * (theta[:, 0] + sign * theta[:, 1])) ** 2 for sign in (1, -1)]
    entry = slopes[0] ** 2 + slopes[1] ** 2
    assert entry.max() > 100 * entry.min()
    metrics = np.asarray(held().sites.metric(network))[0, 0]
    # tanh² next to 1 leaves six digits of what is missing to 1
    np.testing.assert_allclose(metrics[:, [0, 1], [0, 1]], np.stack([entry, entry], -1), rtol=1e-8)
    # both entries are the same sum of two squares: rounding of its logarithm, squared
    assert float(held()(network)) < 1e-28


def test_pointwise_and_of_means_are_different_constraints() -> None:
    # the squared slope of the first coordinate is 1 + 0.9 sin(pi a): its mean over a symmetric grid is 1
    nodes = np.linspace(-1, 1, 5)
    squared = 1 + 0.9 * np.sin(np.pi * nodes)
    network = immediate(lambda u: jnp.stack([_integral(u[0]), u[1]]))
    # quadrature of the slope is exact enough: its derivative is the slope itself, to rounding
    assert float(held("means")(network)) < 1e-28
    np.testing.assert_allclose(held("pointwise")(network), np.mean(np.log(squared) ** 2), rtol=1e-12)
    np.testing.assert_allclose(held("means", c=3.0)(network), np.log(3.0) ** 2, rtol=1e-12)


@jax.custom_jvp
def _integral(a: Array) -> Array:
    """Some function with the slope of the test above; its value plays no part in a metric."""
    return a


@_integral.defjvp
def _integral_jvp(primals: tuple[Array], along: tuple[Array]) -> tuple[Array, Array]:
    return primals[0], jnp.sqrt(1 + 0.9 * jnp.sin(jnp.pi * primals[0])) * along[0]


def test_a_constraint_on_states_leaves_the_nonlinearity_of_rates_free() -> None:
    network = immediate(lambda u: 3 * u, jnp.tanh)
    assert float(held(space="state")(network)) == 0
    theta = SQUARE.grid(5)
    slope = 1 - np.tanh(3 * theta) ** 2
    expected = np.mean((2 * np.log(slope[:, 0] / slope[:, 1])) ** 2)
    # 1 - tanh² loses two digits at its smallest, 0.01
    np.testing.assert_allclose(held(space="rates")(network), expected, rtol=1e-12)


def test_epsilon_is_added_to_both_entries() -> None:
    network = immediate(lambda u: jnp.stack([2 * u[0], u[1]]))
    np.testing.assert_allclose(held(epsilon=0.5)(network), np.log(4.5 / 1.5) ** 2, rtol=1e-13)
    # nothing has moved: without epsilon the ratio is undefined, and says so
    still = immediate(lambda u: jnp.stack([0 * u[0], u[1]]))
    assert not np.isfinite(held()(still))
    np.testing.assert_allclose(held(epsilon=0.5)(still), np.log(0.5 / 1.5) ** 2, rtol=1e-13)


@eqx.filter_jit
def values(constraints: Sequence[Callable[[Network], Array]], network: Network) -> Array:
    """Several constraints in one program."""
    return jnp.stack([constraint(network) for constraint in constraints])


SITES: dict[str, Any] = {"times": (0.6, 2.0), "points": (3, 4), "epsilon": 0.01}


def _after_the_fact(network: Network, manifold: PulsedInputs, space: Any) -> np.ndarray:
    whole = warping.metric(network, manifold, points=(3, 4), duration=2.0, space=space)
    at = [int(np.abs(np.asarray(whole.time) - t).argmin()) for t in SITES["times"]]
    return np.asarray(whole.metric)[at] + SITES["epsilon"] * np.eye(2)


def test_values_are_those_of_the_metric_after_the_fact(network: Network, manifold: PulsedInputs) -> None:
    space: Any = "rates"
    metrics = _after_the_fact(network, manifold, space)
    # two conditions on one manifold, so that both the order and the direction of the ratio are seen
    conditions: Any = [(manifold, "a", "b"), (manifold, 1, 0)]
    averages: tuple[Any, ...] = ("pointwise", "means")
    constraints = [
        warping.ratio_constraint(conditions, average=average, space=space, c=2.0, **SITES) for average in averages
    ]
    expected = []
    for of in (metrics, metrics.mean(1, keepdims=True)):
        logs = np.log(of[..., 0, 0] / of[..., 1, 1])
        expected.append(np.mean((np.stack([logs, -logs]) - np.log(2.0)) ** 2))
    # two orders of summation over 30 units and 20 steps
    np.testing.assert_allclose(values(constraints, network), expected, rtol=1e-11)


def test_a_field_is_compared_as_squared_logarithms(network: Network, manifold: PulsedInputs) -> None:
    other = rc.systems.leaky_current(30, inputs=4, outputs=2, key=rc.key(5), dt=0.1, gain=1.2)
    wanted, got = (_after_the_fact(each, manifold, "rates") for each in (other, network))
    sites: dict[str, Any] = {"space": "rates", **SITES}
    # one target given by a network, the other by its metrics
    bare = wanted[:, None] - 0.01 * np.eye(2)
    constraints = [
        warping.field_constraint([manifold], other, entries="diagonal", **sites),
        warping.field_constraint([manifold], bare, entries="all", **sites),
    ]
    logs = [np.log(got[..., i, i] / wanted[..., i, i]) for i in (0, 1)]
    pairs = zip(got.reshape(-1, 2, 2), wanted.reshape(-1, 2, 2), strict=True)
    spectra = np.square([np.log(scipy.linalg.eigvalsh(g, w)) for g, w in pairs])
    expected = [np.mean(np.square(logs)), np.mean(spectra)]
    # two orders of summation, and an eigenvalue solver against singular values of a factor
    np.testing.assert_allclose(values(constraints, network), expected, rtol=1e-10)
    own = warping.field_constraint([manifold], network, entries="all", **sites)
    # the square of rounding
    assert float(own(network)) < 1e-25


class Chart(eqx.Module):
    """Coordinates that are linear functions of others."""

    matrix: Array

    def __call__(self, theta: Array) -> Array:
        return self.matrix @ theta


def test_conditions_are_kept_apart() -> None:
    charts = [ConstantInputs(SQUARE.domain, Chart(jnp.diag(jnp.asarray(sides)))) for sides in ([1.0, 1.0], [2.0, 1.0])]
    options: dict[str, Any] = {"average": "pointwise", "space": "state", **ONCE}
    constraint = warping.ratio_constraint([(charts[0], "a", "b"), (charts[1], "b", "a")], **options)
    # exact: powers of 2
    found = constraint.log_ratios(immediate(lambda u: u))
    np.testing.assert_allclose(found, np.repeat([[[0.0], [-np.log(4.0)]]], 25, 2), rtol=1e-15)


def test_the_distance_of_all_entries_is_blind_to_the_chart() -> None:
    one = immediate(lambda u: jnp.tanh(2 * u))
    other = immediate(lambda u: jnp.stack([u[0] + 0.3 * u[1] ** 2, u[1] + 0.3 * jnp.sin(u[0])]))
    found = []
    for turn in (np.eye(2), np.array([[2.0, 1.0], [-0.5, 1.5]])):
        manifold = ConstantInputs(SQUARE.domain, Chart(jnp.asarray(turn)))
        sites: dict[str, Any] = {**ONCE, "points": SQUARE.grid(3) @ np.linalg.inv(turn).T, "space": "state"}
        found.append(float(warping.field_constraint([manifold], other, entries="all", **sites)(one)))
    # products of 2 × 2 matrices of condition 10 at most
    np.testing.assert_allclose(found[1], found[0], rtol=1e-11)
    assert found[0] > 0.1


def _constraints() -> list[Callable[[Network], Array]]:
    sites: dict[str, Any] = {"times": (0.6,), "points": 2, "epsilon": 1e-3, "space": "rates"}
    target = np.broadcast_to(np.array([[2.0, 0.3], [0.3, 1.0]]), (1, 1, 4, 2, 2))
    return [
        warping.ratio_constraint([(SQUARE, "a", "b")], average="means", **sites),
        warping.field_constraint([SQUARE], target, entries="all", **sites),
    ]


@pytest.mark.parametrize(("make", "which"), [(vanilla, 0), (leaky_current, 1)])
def test_gradients_agree_with_central_differences(make: Callable[..., Network], which: int) -> None:
    network = make(6, inputs=2, outputs=1, key=rc.key(2), dt=0.2)
    weights, rest = eqx.partition(network, eqx.is_inexact_array)
    leaves, tree = jax.tree.flatten(weights)
    ways = jax.tree.unflatten(tree, [jr.normal(jr.key(i), leaf.shape) for i, leaf in enumerate(leaves)])
    constraint = _constraints()[which]

    def along(step: Array) -> Array:
        return constraint(eqx.combine(jax.tree.map(lambda w, d: w + step * d, weights, ways), rest))

    both = jax.jit(lambda step: (jax.grad(along)(step), along(step)))
    h = 1e-5
    slopes, ahead, behind = both(jnp.asarray(0.0))[0], both(jnp.asarray(h))[1], both(jnp.asarray(-h))[1]
    difference = (ahead - behind) / (2 * h)
    # error h² times a third derivative of order 100, and rounding 1e-16/h
    np.testing.assert_allclose(slopes, difference, rtol=1e-6, atol=1e-7)
    # the central difference is not rounding
    assert abs(difference) > 1e-2


def test_the_distance_is_smooth_where_singular_values_meet() -> None:
    gradient = jax.grad(square_log_stretches)(2 * jnp.eye(2))
    # 8 log(2)/2 times the derivative of either singular value, summed
    np.testing.assert_allclose(gradient, 4 * np.log(2) * np.eye(2), atol=1e-14)


def test_a_network_in_float32_gives_float32() -> None:
    network = rc.systems.leaky_current(6, inputs=2, outputs=1, key=rc.key(2))
    narrow = values(_constraints(), rc.cast(network, jnp.float32))
    assert narrow.dtype == jnp.float32
    # logarithms of order 1 from a metric with six digits
    np.testing.assert_allclose(narrow, values(_constraints(), network), rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"c": 0.0}, "`c` must be a finite number greater than 0"),
        ({"times": (1.0, 0.5)}, "`times` must increase"),
        ({"times": ()}, "`times` must be a row of finite times"),
        ({"epsilon": -1.0}, "`epsilon` must be finite and at least 0"),
    ],
)
def test_forms_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        held(**options)


def test_misfits_are_refused(network: Network, manifold: PulsedInputs) -> None:
    options: dict[str, Any] = {"average": "means", "space": "state", **ONCE}
    with pytest.raises(InputError, match="unknown coordinate 'c'"):
        warping.ratio_constraint([(SQUARE, "a", "c")], **options)
    with pytest.raises(InputError, match="two different coordinates"):
        warping.ratio_constraint([(SQUARE, "a", 0)], **options)
    with pytest.raises(InputError, match="`relevant` must lie in 0…1; got 2"):
        warping.ratio_constraint([(SQUARE, 2, "b")], **options)
    with pytest.raises(InputError, match="the same coordinates"):
        warping.ratio_constraint([(SQUARE, 0, 1), (manifold, 0, 1)], **options)
    with pytest.raises(InputError, match="`manifold` gives inputs of shape"):
        held()(network)
    with pytest.raises(InputError, match=r"has a flow.*Wrap it as Euler"):
        held()(rc.systems.leaky_current(4, inputs=2, outputs=1, key=rc.key(0), dt=None))
    fields: dict[str, Any] = {"entries": "all", "space": "state", **ONCE}
    with pytest.raises(InputError, match=r"`target` must have shape \(1, 1, 25, 2, 2\)"):
        warping.field_constraint([SQUARE], np.ones((1, 1, 24, 2, 2)), **fields)
    with pytest.raises(InputError, match="`target` is singular or not finite"):
        warping.field_constraint([SQUARE], np.ones((1, 1, 25, 2, 2)), **fields)
