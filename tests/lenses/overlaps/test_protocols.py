"""Protocols: phases in turn, loops of tasks, one function learning apart, and which task came first."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from tests.lenses.overlaps.prescribed import DT, FILTER, RANK1, STEPS, some_overlaps, some_vectors

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses import overlaps as ov

OTHER = ov.FilterLoss(ov.exponential(1.0, 0.6), RANK1, DT, STEPS * DT)
RATE = 0.02
NETWORKS = {"first": some_overlaps(RANK1)}
NETWORKS["second"] = NETWORKS["first"].copy()
NETWORKS["second"][[3, 2, 3], [3, 3, 2]] += (0.8, 0.3, 0.3)


@functools.cache
def perturbed() -> ov.Perturbation:
    return ov.perturb(FILTER, NETWORKS, RATE, steps=60, every=10, layout=RANK1, charge=2.0)


def test_phases_in_turn_are_one_course() -> None:
    phases = [ov.Phase(FILTER, RATE, 60, "A"), ov.Phase(OTHER, ov.Rule(RATE / 2), 30, "B")]
    course = ov.in_turn(NETWORKS["first"], phases, layout=RANK1, records=6)
    first = ov.descend(FILTER, NETWORKS["first"], RATE, steps=60, every=10, layout=RANK1)
    second = ov.descend(OTHER, first.matrix[-1], RATE / 2, steps=30, every=5, layout=RANK1)
    # the same programs
    np.testing.assert_array_equal(course.matrix, np.concatenate([first.matrix, second.matrix]))
    np.testing.assert_array_equal(course.end(0), first.matrix[-1])
    assert course.phases == ("A", "B")
    assert course.closure == first.closure == "exact"
    assert np.bincount(course.phase).tolist() == [7, 7]
    assert course.count[-1] == 90
    assert course.time[-1] == pytest.approx(60 * RATE + 30 * RATE / 2)
    # propagators go on through the phases: rounding of products of 4 × 4 matrices
    carried = np.swapaxes(course.propagator, 1, 2) @ NETWORKS["first"] @ course.propagator
    np.testing.assert_allclose(carried, course.matrix, rtol=1e-12)
    assert course.conditions["loss"] == [first.loss[-1], second.loss[-1]]
    again = ov.Curriculum.from_xarray(course.to_xarray())
    assert again.phases == course.phases
    assert again.conditions == course.conditions


def test_conditions_are_those_of_a_solution_known_in_closed_form() -> None:
    recurrence = 1 - (1 - np.exp(-0.2 * DT)) / DT
    solution = ov.matrix(
        RANK1, {"z·m": 1.0, "v·u": recurrence, "z·u": 1.0, "v·m": recurrence, "z·v": 0.2}, diagonal=2.0
    )
    found = ov.memory_conditions(FILTER, solution, solution, RANK1, final_loss=np.zeros(1), displacement=0.5)
    assert (found["function_fixed"], found["function"], found["leaf"], found["hidden"]) == (3, 3, 5, 2)
    assert found["charge"] == 0
    # ΘJΘᵀ/N written out for vectors with these overlaps
    theta = np.linalg.cholesky(solution).T
    conserved = theta @ np.diag([1, 1, -1, -1]) @ theta.T
    assert found["imbalance"] == pytest.approx(np.linalg.norm(conserved), rel=1e-12)
    np.testing.assert_allclose(found["spectrum"], np.linalg.eigvalsh(conserved)[::-1], atol=1e-12)
    said = ov.in_words(found)
    assert [line.split()[0] for line in said] == ["(i)", "(ii)", "(iii)", "(iv)", "(v)", "(vi)"]
    assert "fixes 3 of the 3 parameters" in said[1]
    assert "0.5" in said[4]
    assert said[5] == "(vi) targets are exact."


def test_noise_on_targets_is_added_where_it_says() -> None:
    s, key = jnp.asarray(NETWORKS["first"]), rc.key(3)
    loss = ov.NoisyFilterLoss(FILTER, 0.3)
    clean = np.asarray(ov.kernel(s, RANK1, STEPS, DT))[:, 0, 0] - np.exp(-0.2 * DT * np.arange(STEPS))
    noise = 0.3 * np.asarray(jr.normal(key, (1, STEPS, 1), float))[0, :, 0]
    # by hand: rounding
    assert float(loss(s, key)) == pytest.approx(DT * ((clean - noise) ** 2).sum(), rel=1e-12)
    assert float(ov.NoisyFilterLoss(FILTER, 0.0)(s, key)) == pytest.approx(float(FILTER(s)), rel=1e-12)
    phase = ov.noise_phase(FILTER, RATE, 6, std=0.3, key=key)
    assert phase.noise == 0.3
    assert len({tuple(np.asarray(jr.key_data(k)).tolist()) for k in phase.data}) == 6


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: ov.in_turn(NETWORKS["first"], [], layout=RANK1), "`phases` must hold at least one phase"),
        (
            lambda: ov.in_turn(NETWORKS["first"], [ov.Phase(FILTER, RATE, 50)], layout=RANK1, records=6),
            "`records` = 6 must divide the steps of every phase; got 50",
        ),
        (
            lambda: ov.in_turn(NETWORKS["first"], [ov.Phase(FILTER, RATE, 6)], layout=RANK1, records=0),
            "`records` must be a whole number of at least 1; got 0",
        ),
        (lambda: ov.Phase(FILTER, RATE, 0), "`steps` must be a whole number of at least 1"),
        (lambda: ov.Phase(FILTER, RATE, 6, noise=-1.0), "`noise` must be a finite number of at least 0"),
        (
            lambda: ov.NoisyFilterLoss(ov.FilterLoss(ov.exponential(1.0, 0.2), RANK1, DT, 1.0, "white"), 0.1),
            "noise on targets needs a loss in steps",
        ),
        (
            lambda: ov.perturb(FILTER, NETWORKS | {"third": some_overlaps(RANK1, 1)}, RATE, steps=6, layout=RANK1),
            "network 'third' has another function: z·m is off by",
        ),
        (lambda: ov.perturb(FILTER, {}, RATE, steps=6, layout=RANK1), "`networks` must hold one or more"),
        (
            lambda: ov.round_trip(FILTER, OTHER, NETWORKS["first"], duration=1.0, rate=0.3, layout=RANK1),
            "`duration` = 1.0 must be a whole number of steps of `rate` = 0.3",
        ),
    ],
)
def test_what_is_no_protocol_is_refused(wrong, message: str) -> None:
    with pytest.raises(InputError, match=message):
        wrong()


def test_networks_of_one_function_begin_equal_and_learn_apart() -> None:
    found = perturbed()
    assert found.members == ("first", "second", "first, other gauge")
    # equal to rounding at first, though nothing but the visible overlaps is equal
    np.testing.assert_allclose(found.loss[:, 0], found.loss[0, 0], rtol=1e-12)
    assert found.gap > 0.05
    assert np.abs(found.loss[2] - found.loss[0]).max() > 0.01 * found.loss[0, 0]
    # the first slope by all weights: minus the squared gradient, N times
    for matrix, slope in zip(np.asarray(found.matrix)[:, 0], np.asarray(found.slope), strict=True):
        theta = jnp.asarray(np.sqrt(4) * np.linalg.cholesky(matrix).T)
        gradient = jax.grad(lambda x: FILTER(x.T @ x / 4))(theta)
        assert slope == pytest.approx(-4 * float((gradient**2).sum()), rel=1e-10)
    # the gauge has the charge that was asked for, and the same recurrence
    turned = np.asarray(found.matrix)[2, 0]
    assert turned[3, 3] - turned[1, 1] == pytest.approx(2.0)
    assert ov.Perturbation.from_xarray(found.to_xarray()).conditions == found.conditions


def test_networks_of_one_function_have_states_of_different_power() -> None:
    x = jnp.ones((1, 60, 1))
    powers, outputs = [], []
    networks = [ov.matrix(RANK1, {"z·u": 0.4, "v·m": 0.5, "v·u": 0.6, "u·u": uu}) for uu in (1.0, 2.0)]
    for matrix in networks:
        theta = np.asarray(some_vectors(RANK1, 30)) @ np.linalg.inv(np.linalg.cholesky(some_overlaps(RANK1)).T)
        theta = theta @ np.linalg.cholesky(matrix).T
        # unit by unit, with the N × N matrix
        weight, h, visited = theta[:, 3:] @ theta[:, 1:2].T / 30, np.zeros(30), []
        for u in np.asarray(x)[0, :, 0]:
            h = h + DT * (-h + weight @ h + theta[:, 2] * u)
            visited.append(h)
        states = np.array(visited)
        outputs.append(states @ theta[:, 0] / 30)
        powers.append((states**2).mean(1))
        latent = np.asarray(ov.trajectory(jnp.asarray(theta), RANK1, x, DT))[0, 1:]
        # docs eq. O.50, to rounding
        np.testing.assert_allclose(powers[-1], np.einsum("ti,ij,tj->t", latent, matrix[2:, 2:], latent), rtol=1e-10)
    # equal visible overlaps: rounding
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-13)
    assert np.abs(powers[0] - powers[1]).max() > 0.01 * powers[0].max()


def two_modes(zm: float, zu: float, vm: float, vu: float) -> ov.FilterLoss:
    """A filter of two exponentials. Of a single one K is singular, and a balanced network comes near it slowly."""
    overlaps = ov.matrix(RANK1, {"z·m": zm, "z·u": zu, "v·m": vm, "v·u": vu}, diagonal=2.0)
    return ov.FilterLoss(ov.state_space(jnp.asarray(overlaps), RANK1), RANK1, DT, 20.0)


@pytest.mark.slow  # a claim holds it
def test_optimisers_are_told_apart_by_what_they_keep() -> None:
    theta = some_vectors(RANK1, 12)
    rules = {"small": RATE, "large": 4 * RATE, "Adam": optax.adam(0.02)}
    found = ov.compare_optimisers(FILTER, theta, rules, steps=60, every=10, layout=RANK1)
    said = ov.descend(FILTER, some_overlaps(RANK1), RATE, steps=60, every=10, layout=RANK1)
    # descent closes, to rounding; Adam does not
    np.testing.assert_allclose(found.matrix[0], said.matrix, rtol=1e-9)
    assert found.outside[:2].max() < 1e-12
    assert found.outside[2, -1] > 0.1
    # the charge moves by first order in the rate at the same time, by second at the same number of steps
    assert found.drift[1] > 4 * found.drift[0]
    assert found.drift[2] > found.drift[0]
    np.testing.assert_allclose(found.spectrum[0], ov.invariants(said).spectrum, atol=1e-9)
    assert set(found.conditions) == set(rules)
    assert ov.Optimisers.from_xarray(found.to_xarray()).conditions == found.conditions
    with pytest.raises(InputError, match="`optimisers` must hold one or more"):
        ov.compare_optimisers(FILTER, theta, {}, steps=6, layout=RANK1)


@pytest.mark.slow
def test_a_loop_of_tasks_leaves_a_holonomy_and_a_balanced_network_none() -> None:
    options: dict = {"duration": 80.0, "rate": 0.08, "levels": 3, "layout": RANK1, "samples": 6}
    tasks = two_modes(1.0, 0.6, -0.5, 0.6), two_modes(0.7, 0.8, -0.8, 0.5)
    trip = ov.round_trip(*tasks, NETWORKS["second"], **options)
    assert trip.conditions["function_fixed"] == 3
    moved = dict(zip(RANK1.names, np.asarray(trip.displacement), strict=True))
    largest = max(abs(v) for v in moved.values())
    # the function comes back: what is left decays with rates of 0.2 and more, e^-16 after each phase
    assert abs(moved["z·m"]) < 1e-5
    assert abs(moved["v·u"]) < 1e-5
    # the charge does, to the error of the solver, and so does the rest nearly but not quite
    assert abs(moved["u·u"] - moved["v·v"]) < 1e-9
    assert 1e-5 < largest < 0.1 * np.abs(trip.excursion).max()
    # descent, extrapolated to steps of size 0, is another route: far closer to it than to zero
    np.testing.assert_allclose(trip.extrapolated, trip.displacement, atol=0.1 * largest)
    assert trip.conditions["hidden"] == 2
    angle, block = 0.4, np.array([[0.8, 0.1], [0.1, 0.7]])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    balanced = np.block([[turn.T @ block @ turn, turn.T @ block], [block @ turn, block]])
    home = ov.round_trip(*tasks, balanced, **options)
    assert home.conditions["hidden"] == 0
    # as far as the function has come back
    assert np.abs(home.displacement).max() < 1e-5
    assert np.abs(home.excursion).max() > 0.05
    assert home.return_error < trip.return_error
    assert ov.RoundTrip.from_xarray(trip.to_xarray()).conditions == trip.conditions


@functools.cache
def told() -> ov.Histories:
    starts = np.stack([some_overlaps(RANK1, seed) for seed in range(4)])
    phases = [ov.Phase(loss, RATE, 12, name) for loss, name in ((FILTER, "A"), (OTHER, "B"))]
    return ov.histories((phases[0], phases[1]), ov.Phase(FILTER, RATE, 6, "C"), starts, layout=RANK1, records=6)


def test_runs_together_are_runs_alone() -> None:
    found = told()
    assert found.matrix.shape == (4, 2, 14, 4, 4)
    alone = ov.descend(OTHER, some_overlaps(RANK1, 2), RATE, steps=12, every=2, layout=RANK1)
    after = ov.descend(FILTER, alone.matrix[-1], RATE, steps=6, every=1, layout=RANK1)
    # sums of a batch in another order
    np.testing.assert_allclose(found.matrix[2, 1, :7], alone.matrix, rtol=1e-11)
    np.testing.assert_allclose(found.matrix[2, 1, 7:], after.matrix, rtol=1e-11)
    np.testing.assert_allclose(found.loss[2, 1, found.switch :], after.loss, rtol=1e-9)
    assert found.tasks == ("A", "B", "C")
    assert found.count[[0, 6, 7, 13]].tolist() == [0, 12, 12, 18]


def test_a_trace_in_invisible_overlaps_alone_tells_the_first_task() -> None:
    found = told()
    matrix = np.repeat(np.asarray(found.matrix)[:, :1], 2, axis=1)
    matrix[:, 1, -1, 1, 1] += 0.5
    marked = dataclasses.replace(found, matrix=matrix)
    exact = ov.tell_first_task(marked, noise=0.0, key=rc.key(0), draws=2)
    # nothing in the visible ones: a tie names nobody
    assert exact.visible.max() <= 0.5
    rough = ov.tell_first_task(marked, noise=5.0, key=rc.key(0), draws=200)
    # chance, to four standard errors of draws of eight networks that hang together
    assert abs(rough.invisible.mean() - 0.5) < 4 * 0.5 / np.sqrt(8 * 200 / 8)
    starts = np.repeat(matrix[:1], 4, axis=0)
    same = dataclasses.replace(found, matrix=starts)
    # runs that differ in nothing but the mark
    assert ov.tell_first_task(same, noise=0.0, key=rc.key(0), draws=1).invisible.tolist() == [1.0]
    few = dataclasses.replace(
        found, matrix=matrix[:2], loss=np.asarray(found.loss)[:2], status=np.asarray(found.status)[:2]
    )
    with pytest.raises(InputError, match="at least 3 runs; got 2"):
        ov.tell_first_task(few, noise=0.1, key=rc.key(0))
    with pytest.raises(InputError, match=r"`step` must lie in \[-14, 14\); got 14"):
        ov.tell_first_task(found, noise=0.1, key=rc.key(0), step=14)
    with pytest.raises(InputError, match=r"`shrinkage` must lie in \(0, 1\]; got 2.0"):
        ov.tell_first_task(found, noise=0.1, key=rc.key(0), shrinkage=2.0)


@pytest.mark.slow
def test_noise_on_the_weights_is_in_the_overlaps_of_all_runs() -> None:
    noisy = ov.Phase(FILTER, ov.Rule(RATE, noise=0.01), 6, "A")
    starts = np.stack([some_overlaps(RANK1, seed) for seed in range(2)])
    found = ov.histories((noisy, noisy), ov.Phase(FILTER, RATE, 6, "C"), starts, layout=RANK1, records=6)
    alone = ov.descend(FILTER, starts[1], ov.Rule(RATE, noise=0.01), steps=6, layout=RANK1)
    # sums of a batch in another order
    np.testing.assert_allclose(found.matrix[1, 0, :7], alone.matrix, rtol=1e-11)


def test_the_discriminant_is_that_of_another_package() -> None:
    sklearn = pytest.importorskip("sklearn.discriminant_analysis")
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(3, 3))
    features = rng.normal(size=(40, 2, 3)) @ mixing + np.array([[0.5, 0, 0], [0, 0.3, 0]])
    weights, threshold = ov.discriminant(features, 1e-12)
    model = sklearn.LinearDiscriminantAnalysis(solver="lsqr")
    model.fit(features.reshape(-1, 3), np.tile([1, 0], 40))
    # the same direction, whatever its length, and the same threshold on it
    other = model.coef_[0]
    assert abs(weights @ other) / np.linalg.norm(weights) / np.linalg.norm(other) == pytest.approx(1, abs=1e-9)
    length = np.linalg.norm(weights) / np.linalg.norm(other)
    assert threshold == pytest.approx(-model.intercept_[0] * length, rel=1e-6)


def test_learning_that_diverges_is_reported_and_not_raised() -> None:
    found = ov.perturb(FILTER, {"first": NETWORKS["first"]}, 30.0, steps=60, every=10, layout=RANK1)
    assert not np.isfinite(found.matrix[0, -1]).all()
    assert found.conditions["first"]["function_fixed"] is None
    assert ov.in_words(found.conditions["first"])[1] == "(ii) the last phase diverged."
    course = ov.in_turn(
        NETWORKS["first"], [ov.Phase(FILTER, 30.0, 60), ov.Phase(OTHER, 30.0, 60)], layout=RANK1, records=6
    )
    # what comes after a phase that diverged is not begun
    assert course.phases == ("",)
    assert ov.STATUS[course.status[-1]] == "non_finite"


@pytest.mark.slow
def test_networks_may_be_told_apart_on_batches() -> None:
    batches = jr.split(rc.key(2), 12)
    found = ov.perturb(ov.NoisyFilterLoss(FILTER, 0.1), NETWORKS, RATE, steps=12, layout=RANK1, data=batches)
    # the first slope is that of the first batch, noise and all
    theta = jnp.asarray(np.sqrt(4) * np.linalg.cholesky(NETWORKS["second"]).T)
    gradient = jax.grad(lambda x: ov.NoisyFilterLoss(FILTER, 0.1)(x.T @ x / 4, batches[0]))(theta)
    assert found.slope[1] == pytest.approx(-4 * float((gradient**2).sum()), rel=1e-10)
