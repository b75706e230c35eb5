"""Censuses, phase diagrams and transitions: on trained populations, and on made-up ones whose answer is known."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses.superposition import (
    REGIMES,
    Branches,
    Census,
    PhaseDiagram,
    branches,
    census,
    expected_recall,
    geometry,
    optimal_linear,
    phase_diagram,
    random_population,
    recall_loss,
    spiral_optimum,
    transition,
    white,
)
from recurvature.lenses.superposition.census import DEAD, FINE, NON_FINITE
from recurvature.training import fit_population

DENSE, SPARSE = REGIMES.index("dense"), REGIMES.index("sparse")


@pytest.fixture(scope="module")
def packed() -> Census:
    """Networks under a rectified readout, after a short training at a small density."""
    key = rc.key(0)
    start = random_population(2, delays=(2, 3), seeds=4, key=key)
    loss = recall_loss(0.05, steps=16, trials=256)
    trained = fit_population(start, loss, steps=900, key=key).population
    return census(trained, loss, key=rc.stream(key, "census"), repeats=8)


def test_sparse_features_are_packed_where_the_readout_is_silent(packed):
    best = packed.best(3)
    assert packed.regime[0, best] == SPARSE
    # where packing is best the edges of the half-space are ages 0 and k - 1 (docs, before eq. S.75): 270° at k = 3
    assert float(packed.k_theta[0, best]) == pytest.approx(270, abs=3)
    # the least loss of any two units, without a sample: losses are flat in the modulus, so that a tenth above the
    # least may be anywhere between that modulus and the one of dense networks of this delay, 0.785
    least = spiral_optimum(3, 0.05, "sparse", ages=16, points=512)
    assert packed.loss[best] < 1.1 * least.loss + 4 * packed.standard_error[best]
    assert least.modulus - 0.01 < float(packed.modulus[best]) < 0.785
    # both younger ages are on the silent side, or at its edge to a hundredth
    assert float(packed.order_parameter[0, best]) > 0.99
    assert 0 < packed.near_best(3) < 1
    assert packed.reached(3, SPARSE) == len(packed.in_regime(3, SPARSE)) / 4 > 0


def test_a_census_says_of_every_network_what_its_geometry_says(packed):
    for i in (packed.best(2), packed.best(3), 0):
        one = geometry(rc.cast(packed.population.weights(i), float), int(packed.delay[i]))
        # weights of 32 bits, multiplied in 32 and in 64
        np.testing.assert_allclose(packed.order_parameter[:, i], one.order_parameter, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(packed.k_theta[:, i], one.k_theta, rtol=1e-4)
        np.testing.assert_allclose(packed.stored[:, i], one.stored, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(packed.cumulative_angle[:, i], one.cumulative_angle, rtol=1e-3)
        np.testing.assert_allclose(packed.modulus[i], one.modulus[0], rtol=1e-5)


def test_the_error_of_a_loss_is_that_of_a_mean_over_samples(packed):
    losses = np.asarray(packed.losses)
    np.testing.assert_allclose(packed.standard_error, losses.std(0, ddof=1) / np.sqrt(8))


@pytest.mark.slow
def test_populations_find_the_optimum_of_theory():
    key, loss = rc.key(0), expected_recall(white(), steps=24)
    start = random_population(2, delays=(2,), seeds=6, kind="linear", key=key)
    found = census(fit_population(start, loss, steps=400, key=key).population, loss, key=key)
    best, theory = found.best(2), optimal_linear(2, 2)
    # 400 steps of 32 bits, and ages beyond 24, of which the first weighs 2⁻¹²
    assert found.loss[best] == pytest.approx(theory.loss, abs=3e-4)
    assert found.loss[best] > theory.loss - 3e-4
    assert float(found.modulus[best]) == pytest.approx(1 / np.sqrt(2), abs=2e-3)
    assert float(found.k_theta[0, best]) == pytest.approx(90, abs=0.5)
    np.testing.assert_array_equal(found.standard_error, 0)


def test_dead_and_broken_networks_are_counted():
    population = random_population(2, delays=(1,), seeds=4, kind="nonlinear", tied=False, key=rc.key(0))
    assert population.readout is not None
    silent = eqx.tree_at(lambda p: p.readout, population, population.readout.at[..., 1].set(0.0))
    broken = eqx.tree_at(lambda p: p.recurrent, silent, silent.recurrent.at[0, 0, 2].set(jnp.nan))
    found = census(broken, recall_loss(0.5, steps=20, trials=64), key=rc.key(0), repeats=2)
    assert found.status.tolist()[1:3] == [DEAD, NON_FINITE]
    assert found.status[0] in (FINE, DEAD)
    assert found.best(1) != 2
    assert np.isnan(found.k_theta).all()
    assert found.population.readout is not None


def test_a_census_that_was_stored_has_its_networks(packed):
    again = Census.from_xarray(packed.to_xarray())
    np.testing.assert_array_equal(again.losses, packed.losses)
    np.testing.assert_array_equal(again.population.recurrent, packed.population.recurrent)
    assert (again.kind, again.tied) == ("ssm", True)


def made_up(packed: Census, dense: float, sparse: float) -> Census:
    """A census of delay 2 with a dense and a sparse network of given losses, noisy in common."""
    noise = np.random.default_rng(0).normal(scale=0.1, size=(8, 1))
    two = {f.name: getattr(packed, f.name) for f in dataclasses.fields(packed)}
    two |= {n: np.asarray(v)[..., :2] for n, v in two.items() if np.ndim(v) and not isinstance(v, tuple)}
    own = np.random.default_rng(1).normal(scale=0.01, size=(8, 2))
    means = np.array([dense, sparse], float)
    two |= {"losses": means + noise - noise.mean() + own - own.mean(0), "selection": means}
    two |= {"regime": np.array([[DENSE, SPARSE]]), "order_parameter": np.array([[0.1, 1.0]]), "delay": np.array([2, 2])}
    return Census(**two)


@pytest.fixture(scope="module")
def crossed(packed) -> tuple[PhaseDiagram, Branches]:
    """Losses that cross at a density of 0.33, with branches on a finer grid."""
    make = lambda p: made_up(packed, 1 - p, 0.67 + 0 * p)  # noqa: E731
    cells = {p: make(p) for p in (0.1, 0.2, 0.3, 0.5, 0.8)}
    fine = {p: make(p) for p in (0.28, 0.32, 0.36, 0.4)}
    return phase_diagram(cells), branches({p: fine[p] for p in (0.32, 0.36, 0.4)}, fine, 2)


def test_the_crossing_of_losses_is_interpolated_and_its_error_is_that_of_the_difference(crossed):
    diagram, followed = crossed
    found = transition(diagram, [followed], key=rc.key(0))
    # the losses are straight lines
    assert found.crossing[0] == pytest.approx(0.33, abs=1e-12)
    assert found.crossing_grid.tolist() == [[0.32, 0.36]]
    # the slope is 1, and what is common to both networks cancels: 0.01·√2/√8, twice, with weights 3/4 and 1/4
    assert found.crossing_error[0] == pytest.approx(0.005 * np.hypot(0.75, 0.25), rel=0.5)
    assert found.coexistence.tolist() == [[0.32, 0.4]]
    assert [found.statuses[s] for s in (*found.crossing_status, *found.best_of_n_status)] == ["found", "found"]


def test_the_best_of_many_seeds_changes_between_two_densities(crossed):
    diagram, _ = crossed
    found = transition(diagram, key=rc.key(0), resamples=200)
    assert diagram.of_best("order_parameter")[:, 0].tolist() == [1, 1, 1, 0.1, 0.1]
    assert found.grid.tolist() == [[0.3, 0.5]]
    # a step between two densities puts the centre in their middle, to the spacing of centres
    assert found.best_of_n[0] == pytest.approx(np.sqrt(0.3 * 0.5), rel=0.01)
    # of two seeds, a resample may hold the worse one twice: the interval is wider than nothing, and holds the centre
    # two seeds drawn of two hold the better one with a chance of 3/4; nothing falls in patterns such as 0.1, 1, 1, 1, 1
    sparse_best = np.array([3, 3, 3, 1, 1]) / 4
    flat = sum(np.prod(1 - sparse_best[:a]) * np.prod(sparse_best[a:]) for a in range(6))
    # four standard errors of 200 resamples
    assert found.flat[0] == pytest.approx(flat, abs=4 * np.sqrt(flat / 200))
    low, high = found.interval[0]
    assert low < found.best_of_n[0] < high
    assert np.isnan(found.crossing).all()
    assert found.statuses[found.crossing_status[0]] == "unknown"
    # one dense and one sparse seed in every cell: n Var ψ = 2 · 0.45²
    np.testing.assert_allclose(diagram.susceptibility, 2 * 0.45**2)
    np.testing.assert_allclose(diagram.steepness, 0, atol=1e-14)
    np.testing.assert_array_equal(diagram.near_best[:, 0], 0.5)
    np.testing.assert_array_equal(diagram.reached[:, 0], 0.5)


def test_a_phase_throughout_is_no_transition(packed):
    cells = {p: made_up(packed, 0.5, 0.4) for p in (0.1, 0.2)}
    found = transition(phase_diagram(cells), [branches(cells, cells, 2)], key=rc.key(0), resamples=10)
    assert np.isnan([found.best_of_n[0], found.crossing[0]]).all()
    assert [found.statuses[s] for s in (*found.crossing_status, *found.best_of_n_status)] == ["not bracketed"] * 2


def test_without_younger_ages_there_is_no_order_and_no_density_where_it_changes(crossed):
    diagram, _ = crossed
    none = dataclasses.replace(diagram, order_parameter=np.full_like(diagram.order_parameter, np.nan))
    found = transition(none, key=rc.key(0), resamples=10)
    assert np.isnan(none.susceptibility).all()
    assert np.isnan([found.susceptible[0], found.steepest[0], found.best_of_n[0]]).all()


def test_a_single_younger_age_makes_no_two_phases(crossed):
    diagram, followed = crossed
    short = dataclasses.replace(diagram, delay=np.array([1]))
    found = transition(short, [dataclasses.replace(followed, delay=1)], key=rc.key(0), resamples=10)
    assert [found.statuses[s] for s in (*found.crossing_status, *found.best_of_n_status)] == [
        "too few younger ages"
    ] * 2
    numbers = (found.crossing, found.best_of_n, found.flat, found.susceptible, found.steepest)
    assert np.isnan([each[0] for each in numbers]).all()
    assert np.isnan(
        np.concatenate([found.interval[0], found.grid[0], found.coexistence[0], found.crossing_grid[0]])
    ).all()
    assert not found.missed.any()
    assert np.isnan(short.reached).all()
    assert (diagram.packs.tolist(), short.packs.tolist()) == ([True], [False])


def test_cells_whose_seeds_all_missed_the_better_branch_are_named(packed, crossed):
    diagram, _ = crossed
    better = {p: made_up(packed, 2.0, 0.5) for p in (0.25, 0.6)}
    found = transition(diagram, [branches({}, better, 2)], key=rc.key(0), resamples=10)
    # the best cost 0.67 at 0.3 and 0.5 at 0.5, where the branch costs 0.5; beyond it nothing is known
    assert found.missed[:, 0].tolist() == [False, False, True, False, False]


def test_a_logistic_gives_its_centre_back():
    from recurvature.lenses.superposition.transition import _logistic_centre

    density = np.geomspace(0.01, 1, 20)
    psi = 0.1 + 0.9 / (1 + (density / 0.37) ** (1 / 0.3))
    # centres are 4.6/400 apart in the logarithm
    rows = np.stack([psi, np.full(20, 0.7), psi[::-1]])
    found = _logistic_centre(density, rows)
    assert found[0] == pytest.approx(0.37, rel=0.02)
    # what is the same everywhere, or rises, has no centre
    assert np.isnan(found[1:]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: phase_diagram({0.1: c}), r"two or more densities in \(0, 1\]"),
        (lambda c: phase_diagram({0.1: c, 1.5: c}), r"two or more densities in \(0, 1\]"),
        (lambda c: phase_diagram({0.1: c, 0.2: made_up(c, 1, 1)}), "the same delays"),
        (lambda c: branches({}, {}, 2), "branches need censuses"),
        (lambda c: branches({0.1: c}, {0.1: c}, 7), r"`delay` must be one of \[2, 3\]; got 7"),
        (lambda c: census(c.population, recall_loss(0.5, steps=3), key=rc.key(0)), "`delay` must be below"),
        (lambda c: census(c.population, recall_loss(0.5), key=rc.key(0), repeats=1), "`repeats` must be at least 2"),
    ],
)
def test_what_does_not_fit_is_refused(packed, call, message):
    with pytest.raises(InputError, match=message):
        call(packed)


def test_branches_of_another_delay_are_refused(packed, crossed):
    cells = dict.fromkeys((0.1, 0.2), packed)
    with pytest.raises(InputError, match="different delays of the diagram"):
        transition(crossed[0], [branches(cells, cells, 3)], key=rc.key(0))
