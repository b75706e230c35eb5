"""Branches of fixed points against normal forms, closed forms, and searches at single values of the parameter."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature import dynamics
from recurvature._errors import InputError
from recurvature.dynamics import ENDS, SPECIAL, TYPES, Continuation, fixed_points
from recurvature.systems import Dense, FunctionFlow, FunctionMap, LeakyRate

# dx/dt = u0 + u1 x + u2 x² + u3 x³ + u5 x⁵: every normal form of one variable, one program for each channel
POLYNOMIAL = FunctionFlow(lambda x, u: u[0] + u[1] * x + u[2] * x**2 + u[3] * x**3 + u[4] * x**5, 1, 5)


def continuation(network, states, span, **options):
    return dynamics.continuation(network, np.asarray(states, float), span, **options)


def along(channel, rest, states, span=(-1.0, 1.0), **options):
    return continuation(POLYNOMIAL, states, span, channel=channel, inputs=rest, **options)


def found(branches: Continuation):
    """Kind, value and first coordinate of every special point, in the order of kinds and values."""
    at = branches.special_points
    rows = zip(branches.special_kinds, branches.value[at], branches.states[at, 0], strict=True)
    return sorted((kind, float(v), float(x)) for kind, v, x in rows)


def check(branches, expected):
    """Special points to the rounding of their equations, all solved, and branches that run to the ends of the span."""
    assert [kind for kind, _, _ in found(branches)] == [kind for kind, _, _ in expected]
    # critical equations are regular where the rate alone is singular: both are good to some roundings
    np.testing.assert_allclose([row[1:] for row in found(branches)], [row[1:] for row in expected], atol=1e-12)
    assert branches.refined.all()
    assert (branches.ends == ENDS.index("range")).all()
    assert branches.left_out == 0


def test_a_pitchfork_has_both_arms():
    branches = along(1, [0.0, 0.0, 0.0, -1.0, 0.0], [0.0], start=-1.0)
    check(branches, [("pitchfork", 0, 0)])
    assert sorted(set(branches.branch.tolist())) == [0, 1]
    arms = branches.branch == 1
    # the rate is zero to rounding, and its slope -2s is small near the origin only
    np.testing.assert_allclose(branches.states[arms, 0] ** 2, branches.value[arms], atol=1e-13)
    assert {np.sign(x) for x in branches.states[arms, 0]} == {-1, 0, 1}
    away = arms & (np.abs(branches.value) > 1e-6)
    np.testing.assert_allclose(branches.growth[away, 0], -2 * branches.value[away], atol=1e-12)
    assert (branches.stability[away] == TYPES.index("stable")).all()
    trunk = ~arms & (branches.special < 0)
    assert (branches.unstable[trunk] == (branches.value[trunk] > 0)).all()


def test_without_switching_crossing_branches_are_counted_and_left():
    branches = along(1, [0.0, 0.0, 0.0, -1.0, 0.0], [0.0], start=-1.0, switch=False)
    assert set(branches.branch.tolist()) == {0}
    one = along(1, [0.0, 0.0, 0.0, -1.0, 0.0], [0.0], start=-1.0, branches=1)
    assert one.left_out == 1


def test_an_arm_finds_the_trunk():
    branches = along(1, [0.0, 0.0, 0.0, -1.0, 0.0], [[1.0], [-1.0], [0.0]], start=1.0)
    # the three starts lie on two curves, and each is traced once
    check(branches, [("pitchfork", 0, 0)])
    assert len(branches.ends) == 2


def test_a_subcritical_pitchfork_turns_around_at_folds():
    edge = 0.5**0.5
    branches = along(1, [0.0, 0.0, 0.0, 1.0, -1.0], [0.0], start=-1.0)
    # 0 = s + x² - x⁴ turns where 2x² = 1
    check(branches, [("fold", -0.25, -edge), ("fold", -0.25, edge), ("pitchfork", 0, 0)])


def test_a_transcritical_point_exchanges_stability():
    branches = along(1, [0.0, 0.0, -1.0, 0.0, 0.0], [0.0], start=-1.0)
    check(branches, [("transcritical", 0, 0)])
    for value in (-0.7, 0.4):
        states, index = branches.at(value)
        # both branches are straight, so that interpolation is exact
        np.testing.assert_allclose(sorted(states[:, 0]), sorted([0, value]), atol=1e-12)
        assert index.sum() == 0


def test_the_cusp_folds_where_the_cubic_has_a_double_root():
    branches = along(0, [0.0, 1.0, 0.0, -1.0, 0.0], [-1.3247179572447460], start=-1.0)
    turn = 2 / 27**0.5
    check(branches, [("fold", -turn, 3**-0.5), ("fold", turn, -(3**-0.5))])
    assert branches.name == "input 1"
    for value in (-1.0, -0.9, -0.2, 0.0, 0.3, 1.0):
        assert branches.at(value)[1].sum() == 1


def test_one_unit_folds_where_its_slope_is_one():
    gain = 2.0
    unit = LeakyRate(Dense(jnp.full((1, 1), gain)), jnp.ones((1, 1)), jnp.zeros(1))
    branches = continuation(unit, [0.0], (-2.0, 2.0), channel=0)
    r = (1 - 1 / gain) ** 0.5
    u = np.arctanh(r) - gain * r
    check(branches, [("fold", u, r), ("fold", -u, -r)])
    stable = branches.stability == TYPES.index("stable")
    assert (np.abs(branches.states[stable, 0]) > r).all()


def test_the_logistic_map_doubles_its_period_at_three():
    given = []

    def family(s):
        given.append(s)
        return FunctionMap(lambda x, u: s * x * (1 - x), 1, 1)

    branches = continuation(family, [0.0], (0.1, 3.5), name="growth")
    # a family need not be defined outside of the span, not even at zero
    values = [float(s) for s in given if not isinstance(s, jax.core.Tracer)]
    assert values
    assert 0.1 <= min(values) <= max(values) <= 3.5
    check(branches, [("period-doubling", 3, 2 / 3), ("transcritical", 1, 0)])
    assert branches.name == "growth"


class Pair(eqx.Module):
    """Two units over the gain of their weights."""

    weight: np.ndarray

    def __call__(self, gain):
        return LeakyRate(Dense(gain * self.weight), jnp.zeros((2, 1)), jnp.zeros(2))


def test_two_units_that_excite_each_other_part_at_gain_one():
    branches = continuation(Pair(np.eye(2)[::-1]), [0.0, 0.0], (0.2, 2.0))
    check(branches, [("pitchfork", 1, 0)])
    arm = branches.branch == 1
    # both units are alike on the arms
    np.testing.assert_allclose(branches.states[arm, 0], branches.states[arm, 1], atol=1e-12)
    for gain in (0.5, 1.4, 1.9):
        assert branches.at(gain)[1].sum() == 1
    assert {len(branches.at(gain)[0]) for gain in (0.5, 0.9)} == {1}
    assert len(branches.at(1.1)[0]) == 3


def test_a_double_kernel_is_called_multiple_and_not_switched():
    branches = continuation(Pair(np.eye(2)), [0.0, 0.0], (0.2, 2.0))
    ((kind, gain, _),) = found(branches)
    assert kind == "multiple"
    # a bisection of a step of at most 0.05 spans of 1.8
    assert gain == pytest.approx(1, abs=0.05 * 1.8 / 2**10)
    assert not branches.refined[branches.special_points].any()


def test_a_closed_curve_on_a_path_of_inputs_is_walked_once():
    # s² + x² = 1, with a growth 2x that vanishes at two folds
    path = lambda s: jnp.stack([s**2 - 1, 0 * s, 1 + 0 * s, 0 * s, 0 * s])  # noqa: E731
    branches = continuation(POLYNOMIAL, [-1.0], (-2.0, 2.0), inputs=path, start=0.0)
    assert (branches.ends == ENDS.index("closed")).all()
    assert [row[0] for row in found(branches)] == ["fold", "fold"]
    # the equations of a fold are regular: some roundings
    np.testing.assert_allclose([row[1] for row in found(branches)], [-1, 1], atol=1e-12)
    # the first point stands again at the end
    np.testing.assert_array_equal(branches.states[0], branches.states[-1])
    np.testing.assert_allclose(branches.states[:, 0] ** 2 + branches.value**2, 1, atol=1e-12)


def test_branches_of_a_low_rank_network_are_what_searches_find(rank_one, rank_one_points):
    branches = continuation(rank_one, rank_one_points.states, (-1.0, 1.0), channel=0, inputs=[0.05])
    assert branches.variables == "latent"
    assert branches.growth.shape[1] == 1
    folds = [row for row in found(branches) if row[0] == "fold"]
    assert len(folds) == 2
    weight = np.asarray(rank_one.connectivity.dense())
    for at in branches.special_points:
        x, entry = np.asarray(branches.states)[at], np.asarray(rank_one.input_weights)[:, 0] * branches.value[at]
        # all 24 units are at rest, to rounding, where one of their own eigenvalues vanishes
        np.testing.assert_allclose(weight @ np.tanh(x) + entry + np.asarray(rank_one.bias), x, atol=1e-12)
        slopes = np.linalg.eigvals(weight / np.cosh(x) ** 2 - np.eye(24))
        # the critical equations are regular; beside 23 equal eigenvalues this one is simple
        assert np.abs(slopes).min() < 1e-9
    for value in (-0.9, 0.05, 0.1, 0.95):
        points = fixed_points(rank_one, [value], key=rc.key(1), count=32)
        states, index = branches.at(value)
        assert index.sum() == points.index_sum == 1
        assert len(states) == len(points.states)
        apart = np.linalg.norm(states[:, None] - np.asarray(points.states)[None], axis=2).min(1)
        # interpolation over a step of 0.05 of a curve that bends: a few thousandths of the length of the state
        assert (apart < 0.02 * np.linalg.norm(states, axis=1).max()).all()


def test_a_branch_that_is_given_few_points_says_so():
    branches = along(0, [0.0, 1.0, 0.0, -1.0, 0.0], [-1.3247179572447460], start=-1.0, points=5)
    assert branches.ends.tolist() == [[ENDS.index("range"), ENDS.index("max_points")]]


def test_a_branch_that_runs_away_says_so():
    # 1 + s x = 0
    branches = along(1, [1.0, 0.0, 0.0, 0.0, 0.0], [1.0], start=-1.0, reach=5.0)
    assert branches.ends[0, 1] == ENDS.index("far")


def test_results_go_through_datasets():
    branches = along(1, [0.0, 0.0, 0.0, -1.0, 0.0], [0.0], start=-1.0)
    again = Continuation.from_xarray(branches.to_xarray())
    assert again.special_kinds == branches.special_kinds
    np.testing.assert_array_equal(again.ends, branches.ends)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "none of them"),
        ({"channel": 0, "inputs": lambda s: jnp.zeros(5)}, "a function as `inputs` and `channel`"),
        ({"channel": 5}, "`channel` must lie between 0 and 4"),
        ({"channel": 0, "inputs": [0.0]}, r"`inputs` must have shape \(5,\)"),
        ({"channel": 0, "start": 3.0}, "`start` must lie in `span`"),
        ({"channel": 0, "largest_step": 0.0}, "`largest_step` must be"),
        ({"channel": 0, "inputs": [0.0, 1.0, 0.0, -1.0, 0.0], "start": 1.0}, "no fixed point was found"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(InputError, match=message):
        continuation(POLYNOMIAL, [0.0], (-1.0, 1.0), **options)


@pytest.mark.parametrize("span", [(1.0, -1.0), (0.0, np.inf)])
def test_a_span_goes_up(span):
    with pytest.raises(InputError, match="`span`"):
        continuation(POLYNOMIAL, [0.0], span, channel=0)


def test_states_must_be_states():
    with pytest.raises(InputError, match="rows of length 1"):
        continuation(POLYNOMIAL, [[0.0, 0.0]], (-1.0, 1.0), channel=1)
    with pytest.raises(InputError, match="on a special point at `start` = 0"):
        along(1, [0.0, 0.0, 0.0, -1.0, 0.0], [0.0])


def test_every_name_of_a_special_point_is_met_above_or_in_criticality():
    assert set(SPECIAL) == {
        "fold",
        "pitchfork",
        "transcritical",
        "hopf",
        "neimark-sacker",
        "period-doubling",
        "multiple",
    }
