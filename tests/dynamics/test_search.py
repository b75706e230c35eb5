"""The steps of the search: without matrices, by factorisation, and what is proved of where they end."""

import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature.dynamics import fixed_points, search
from recurvature.dynamics.certificate import _factorised, _probed, longest
from recurvature.dynamics.rate import Rate
from recurvature.dynamics.steps import _least_squares, factorised
from recurvature.systems import Dense, FunctionFlow, FunctionMap, LeakyRate


@pytest.fixture(scope="module")
def memory():
    """64 units that hold three patterns, in a random background: 3 × 2 stable points at least."""
    rng = np.random.default_rng(0)
    patterns = np.sign(rng.standard_normal((3, 64)))
    weight = 1.8 * patterns.T @ patterns / 64 + 0.3 * rng.standard_normal((64, 64)) / 8
    chosen = patterns[rng.integers(0, 3, 24)] * rng.choice([-1, 1], (24, 1))
    starts = 0.6 * chosen + 0.3 * rng.standard_normal((24, 64))
    return LeakyRate(Dense(jnp.asarray(weight)), jnp.zeros((64, 0)), jnp.zeros(64)), starts


def test_steps_without_matrices_lead_where_factorised_ones_do(memory, monkeypatch):
    flow, starts = memory
    ours = fixed_points(flow, starts=starts)
    monkeypatch.setattr(search, "LEAST_FREE", 1000)
    other = fixed_points(flow, starts=starts)
    # each start may take another way, but to points of one set, polished to rounding
    apart = np.linalg.norm(np.asarray(ours.states)[:, None] - np.asarray(other.states)[None], axis=2)
    stable = np.asarray(ours.unstable) == 0
    assert stable.sum() >= 6
    assert apart[stable].min(1).max() < 1e-12
    assert (np.asarray(ours.status) == 0).all()
    assert (np.asarray(other.status) == 0).all()


def test_a_start_that_comes_to_rest_without_matrices_goes_on_by_factorisation(memory, monkeypatch):
    flow, starts = memory
    turned = []

    def seen(*args):
        turned.append(1)
        return factorised(*args)

    monkeypatch.setattr(search, "factorised", seen)
    # one that does nothing: every start comes to rest
    monkeypatch.setattr(search, "matrix_free", lambda rate, x, lam, scale, tol: (x, lam, np.ones(len(x), x.dtype)))
    points = fixed_points(flow, starts=starts[:2])
    assert len(turned) > 0
    assert (np.asarray(points.status) == 0).all()


@pytest.mark.oracle
@pytest.mark.parametrize("bare", [False, True])
def test_descent_takes_the_steps_of_adam(memory, bare):
    torch = pytest.importorskip("torch")
    flow, starts = memory
    rate = Rate(flow, jnp.zeros(0))
    if bare:  # whose slopes are products with its Jacobians
        rate = Rate(FunctionFlow(lambda x, u: flow.velocity(x, u[:0]), 64, 1), jnp.zeros(1))
    ours = search.descend(rate, starts, 20, 2.0)
    weight, states = torch.tensor(np.array(flow.connectivity.dense())), torch.tensor(starts, requires_grad=True)
    optimiser = torch.optim.Adam([states], lr=0.1)  # in units of the scale
    for _ in range(20):
        optimiser.zero_grad()
        rate = torch.tanh(states @ weight.T) - states
        (0.5 * (rate**2).sum()).backward()
        optimiser.step()
    # a first step divides each slope by its own size, so that rounding grows where a slope is small
    np.testing.assert_allclose(ours, states.detach().numpy(), atol=1e-9)
    assert np.abs(ours - starts).max() > 0.5


@pytest.mark.slow
def test_a_trained_memory_of_three_bits_is_found_whole_between_what_visited_states_lead_to(getkey):
    task, network = rc.tasks.FlipFlop(3), rc.systems.leaky_current(64, inputs=3, outputs=3, key=getkey(), dt=0.5)
    fit = rc.training.fit(network, task, key=getkey(), steps=1500, batch=32, learning_rate=3e-3)
    trained = rc.cast(fit.network, float)
    visited = rc.systems.simulate(trained, task.trials(getkey(), 32).inputs.astype(float)).states
    size = float(np.sqrt(np.mean(np.square(visited))))
    options = {"trajectory": visited, "count": 128, "noise": 0.3 * size, "scale": size, "key": getkey()}
    some, whole = (fixed_points(trained, np.zeros(3), between=rounds, **options) for rounds in (0, 2))
    assert len(some.states) < 27
    # the points of three independent bits, each at one of two states or between them
    assert np.bincount(np.asarray(whole.unstable)).tolist() == [8, 12, 6, 1]
    assert (whole.index_sum, whole.completeness) == (1, "consistent")


def test_after_a_descent_the_search_lacks_less_of_what_descent_alone_ends_at():
    lacking = {0: 0, 100: 0}
    for seed in range(4):
        rng = np.random.default_rng(seed)
        patterns = np.sign(rng.standard_normal((3, 32)))
        chosen = patterns[rng.integers(0, 3, 32)] * rng.choice([-1, 1], (32, 1))
        starts = 0.6 * chosen + 0.5 * rng.standard_normal((32, 32))
        weight, bias = 2.5 * patterns.T @ patterns / 32, 0.1 * rng.standard_normal(32)
        flow = LeakyRate(Dense(jnp.asarray(weight)), jnp.zeros((32, 0)), jnp.asarray(bias))
        rate = Rate(flow, jnp.zeros(0))
        ends, speed = search.polish(rate, search.descend(rate, starts, 2000, 1.0), 1.0)
        assert (speed < 1e-12).all()
        for descent in lacking:
            found = np.asarray(fixed_points(flow, starts=starts, descent=descent).states)
            apart = np.linalg.norm(ends[:, None] - found[None], axis=2).min(1)
            # both polished to rounding; distinct points lie farther apart by orders
            lacking[descent] += int((apart > 1e-6).sum())
    # a start on a boundary may fall to either side by rounding
    assert lacking[100] < lacking[0]


@pytest.mark.oracle
def test_conjugate_gradients_solve_damped_least_squares():
    rng = np.random.default_rng(1)
    matrices, values = rng.standard_normal((3, 6, 6)), rng.standard_normal((3, 6))
    ridge = np.array([0.0, 0.3, 2.0])
    forward = lambda s: jnp.einsum("bij,bj->bi", matrices, s)  # noqa: E731
    back = lambda y: jnp.einsum("bij,bi->bj", matrices, y)  # noqa: E731
    goal = jnp.full(3, 1e-12)
    steps, left = _least_squares(forward, back, jnp.asarray(values), jnp.asarray(ridge), goal)
    for matrix, value, extra, step, rest in zip(matrices, values, ridge, steps, left, strict=True):
        stacked = np.vstack([matrix, extra**0.5 * np.eye(6)])
        wanted = np.linalg.lstsq(stacked, -np.concatenate([value, np.zeros(6)]))[0]
        # a gradient of 1e-12 over the least singular value squared, some hundredths
        np.testing.assert_allclose(step, wanted, atol=1e-8)
        np.testing.assert_allclose(rest, value + matrix @ wanted, atol=1e-8)


@pytest.mark.parametrize("shape", [(1, 1), (30, 4), (5, 40), (40, 40)])
def test_a_norm_by_products_is_a_bound_and_a_close_one(shape):
    matrix = np.random.default_rng(2).standard_normal(shape)
    norm = np.linalg.norm(matrix, 2)
    # rounding where they are equal, a matrix of one column
    assert norm * (1 - 1e-14) <= longest(matrix) <= norm * min(shape) ** 0.125 * (1 + 1e-14)


def test_one_factorisation_gives_inverse_and_index():
    rng = np.random.default_rng(3)
    for size in (1, 2, 5, 8):
        matrix = rng.standard_normal((size, size))
        inverse, sign = _factorised(matrix)
        # well-conditioned matrices of up to eight rows
        np.testing.assert_allclose(inverse @ matrix, np.eye(size), atol=1e-12)
        assert sign == np.sign(np.linalg.det(-matrix))
    assert _factorised(np.zeros((2, 2)))[1] == 0


def test_the_measured_bend_is_that_of_a_quadratic_map():
    rng = np.random.default_rng(4)
    bends = rng.standard_normal((40, 40, 40)) / 40
    rate = Rate(FunctionMap(lambda x, u: x + jnp.einsum("ijk,j,k->i", bends, x, x), 40, 1), jnp.zeros(1))
    inverse = rng.standard_normal((40, 40)) / 40**0.5
    found = _probed(rate, np.zeros(40), inverse)
    norms = []
    for k in (0, 1):
        wave = np.cos((1 + 0.7 * k) * (k + 1) * np.arange(40) + k)
        along = np.einsum("ijk,j->ik", bends + bends.swapaxes(1, 2), wave / np.linalg.norm(wave))
        norms.append(np.linalg.norm(inverse @ along))
    # two vectors of signs stand for all: a share of some tenths, of random matrices of 40 rows
    assert found == pytest.approx(max(norms), rel=0.3)
