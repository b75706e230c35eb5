"""Drift: what every kind leaves alone, what it does to first order, and how much a memory takes of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature import latent
from recurvature._errors import InputError
from recurvature.lenses.latent.drift import KINDS
from recurvature.lenses.latent.drift_sweep import _scores, follow, in_blocks
from recurvature.tasks.base import Trials


@pytest.fixture(scope="module")
def unit() -> latent.LatentUnit:
    """Two variables of 60 neurons, strongly recurrent, one input."""
    rng = np.random.default_rng(0)
    m = rng.normal(size=(60, 2))
    n = 1.5 * m + rng.normal(size=(60, 2))
    return latent.from_mean_convention(m, n, input_weights=rng.normal(size=(60, 1)), dt=0.5)


STATES = np.array([[0.9, -0.4], [-0.3, 0.8]])


@pytest.fixture(scope="module")
def directions(unit: latent.LatentUnit) -> dict[str, np.ndarray]:
    """A drift of every kind."""
    found = {kind: latent.drift_direction(unit, kind, key=rc.key(1), states=STATES) for kind in KINDS}
    return {kind: np.asarray(direction) for kind, direction in found.items()}


def test_all_kinds_have_the_same_power(directions: dict[str, np.ndarray]) -> None:
    for direction in directions.values():
        # divided by its own root mean square: rounding
        np.testing.assert_allclose(np.sqrt(np.mean(direction**2, 0)), 1, rtol=1e-13)


def test_orthogonal_drift_is_not_read_and_tangential_drift_is_nothing_else(
    unit: latent.LatentUnit, directions: dict[str, np.ndarray]
) -> None:
    n = np.asarray(unit.encoding)
    projector = np.linalg.pinv(n) @ n
    # sums of 60 products
    np.testing.assert_allclose(n @ directions["orthogonal"], 0, atol=1e-13)
    np.testing.assert_allclose(projector @ directions["tangential"], directions["tangential"], atol=1e-13)


def test_drift_orthogonal_to_the_encoding_leaves_the_origin_as_it_was(
    unit: latent.LatentUnit, directions: dict[str, np.ndarray]
) -> None:
    of = lambda u: jax.jacfwd(lambda kappa: u.field(kappa, jnp.zeros(1)))(jnp.zeros(2))  # noqa: E731
    moved = {kind: latent.drifted(unit, directions[kind], 50.0) for kind in ("orthogonal", "random")}
    # of any strength: -1 + N(M + ΔM), where NΔM is 50 times rounding
    np.testing.assert_allclose(of(moved["orthogonal"]), of(unit), atol=1e-11)
    assert np.abs(of(moved["random"]) - of(unit)).max() > 1


def test_only_drift_weighted_by_the_gains_leaves_stored_states_alone_to_first_order(
    unit: latent.LatentUnit, directions: dict[str, np.ndarray]
) -> None:
    at = {kind: np.asarray(latent.drift_source(unit, drift, STATES)) for kind, drift in directions.items()}
    # orthogonal to the weighted encoding vectors: rounding
    np.testing.assert_allclose(at["jacobian-orthogonal"], 0, atol=1e-13)
    # orthogonality to the encoding alone does not do it
    assert np.abs(at["orthogonal"]).min() > 1e-3
    n, m = np.asarray(unit.encoding), np.asarray(unit.embedding)
    for kind, source in at.items():
        gain = 1 / np.cosh(STATES @ m.T) ** 2
        # the definition, written out
        np.testing.assert_allclose(source, (gain * (STATES @ directions[kind].T)) @ n.T, atol=1e-13)


def test_what_is_read_of_drift_has_its_size() -> None:
    # an encoding of orthogonal rows of one length
    size, rank = 400, 4
    rows = np.linalg.qr(np.random.default_rng(2).normal(size=(size, rank)))[0].T * 3.0
    unit = latent.from_encoding(np.ones((size, rank)), rows)
    tangential = np.asarray(latent.drift_direction(unit, "tangential", key=rc.key(0)))
    # columns of length √N inside K orthogonal rows: N times the squared row length, whatever the draw
    np.testing.assert_allclose(((rows @ tangential) ** 2).sum(0), size * 9.0, rtol=1e-12)
    random = np.asarray(latent.drift_direction(unit, "random", key=rc.key(0)))
    # 16 normal numbers of standard deviation 3: five standard errors of their root mean square
    np.testing.assert_allclose(np.sqrt(np.mean((rows @ random) ** 2)), 3.0, rtol=5 / np.sqrt(32))


@pytest.mark.parametrize("kind", KINDS)
def test_what_first_order_misses_is_of_second_order(
    kind: str, unit: latent.LatentUnit, directions: dict[str, np.ndarray]
) -> None:
    inputs = np.zeros((25, 1))
    inputs[3] = 1.0
    missed = []
    for share in (1.0, 0.5, 0.25):
        found = latent.drift_deviation(unit, 2e-3 * share * directions[kind], inputs, np.array([0.5, -0.2]))
        missed.append(np.abs(np.asarray(found.exact) - np.asarray(found.first_order)).max())
    orders = np.log2(np.array(missed[:-1]) / missed[1:])
    # the third-order term is 2e-3 of the second and less
    np.testing.assert_allclose(orders, 2.0, atol=0.05)


def test_a_decoder_of_latent_variables_drifts_with_them_only(
    unit: latent.LatentUnit, directions: dict[str, np.ndarray]
) -> None:
    rng = np.random.default_rng(3)
    decoder = rng.normal(size=(3, 60))
    robust = np.asarray(latent.drift_robust_decoder(unit, decoder))
    n, rates = np.asarray(unit.encoding), rng.normal(size=(2, 60))
    pseudo = np.linalg.pinv(n)
    # CP = CN⁺N, by another factorisation
    np.testing.assert_allclose(robust, decoder @ pseudo @ n, atol=1e-12)
    drifted = rates + rng.normal(size=60)
    kappa = (drifted - rates) @ n.T
    np.testing.assert_allclose((drifted - rates) @ robust.T, kappa @ (decoder @ pseudo).T, atol=1e-11)


def test_coding_groups_are_counted_by_hand() -> None:
    unit = latent.from_encoding(np.array([[0.1, 0.5], [-0.9, 0.2], [0.8, -0.7], [0.0, 0.0]]), np.ones((2, 4)))
    np.testing.assert_array_equal(latent.coding_groups(unit), [2, 1, 3, 0])
    push = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(latent.groups_kept(unit, push, np.array([0.1, 0.7])), [1.0, 0.5])


def test_copies_keep_the_field(unit: latent.LatentUnit) -> None:
    kappa, u = jnp.asarray([0.3, -0.8]), jnp.asarray([0.7])
    for copies in (latent.tile(unit, 3), latent.resize(unit, 151, key=rc.key(0))):
        # the same sum with its terms in parts
        np.testing.assert_allclose(copies.field(kappa, u), unit.field(kappa, u), rtol=1e-12)
    assert latent.resize(unit, 151, key=rc.key(0)).connectivity.size == 151
    # seeing all of them is seeing
    np.testing.assert_allclose(latent.partial_encoding(unit, 60), unit.encoding)
    half = np.asarray(latent.partial_encoding(unit, 30))
    assert not half[:, 30:].any()
    np.testing.assert_allclose(half[:, :30], 2 * np.asarray(unit.encoding)[:, :30])


def drifting_neurons(
    unit: latent.LatentUnit, direction: np.ndarray, strength: float, inputs: np.ndarray, start: np.ndarray
) -> np.ndarray:
    """Latent variables of one trial, read from rates that are all kept."""
    m = np.asarray(unit.embedding) + strength * direction
    n, w = np.asarray(unit.encoding), np.asarray(unit.flow.input_weights)
    rates, path = np.linalg.pinv(n) @ start, []
    for u in inputs:
        rates = 0.5 * rates + 0.5 * np.tanh(m @ (n @ rates) + w @ u)
        path.append(n @ rates)
    return np.stack(path)


def test_blocks_of_drifting_neurons_follow_all_of_them(
    unit: latent.LatentUnit, directions: dict[str, np.ndarray]
) -> None:
    rng = np.random.default_rng(4)
    copies = latent.tile(unit, 5)
    direction = np.tile(directions["random"], (5, 1))
    inputs, start = rng.normal(size=(3, 20, 1)), rng.normal(size=(3, 2))
    strengths = np.array([0.0, 0.3, 1.1])
    # blocks of 128, the last one filled up
    blocks = in_blocks(copies, jnp.asarray(direction), 10**6)
    assert blocks.drive.shape[0] == 3
    found = np.asarray(
        follow(blocks, jnp.asarray(inputs), jnp.asarray(start), jnp.asarray(strengths), 0.5, 0.0, rc.key(0))
    )
    for q, strength in enumerate(strengths):
        for trial in range(3):
            path = drifting_neurons(unit, directions["random"], strength, inputs[trial], start[trial])
            # 20 steps of sums over 300 neurons in another order
            np.testing.assert_allclose(found[:, q, trial], path, atol=1e-11)


def test_noise_is_inside_and_of_its_size() -> None:
    size = 3000
    unit = latent.from_mean_convention(np.zeros((size, 1)), np.ones((size, 1)), dt=0.5)
    blocks = in_blocks(unit, jnp.zeros((size, 1)), 10)
    start, inputs = jnp.zeros((1, 1)), jnp.zeros((1, 200, 0))
    path = np.asarray(follow(blocks, inputs, start, jnp.zeros(1), 1.0, 0.5, rc.key(0)))[:, 0, 0, 0]
    z, weights = np.polynomial.hermite_e.hermegauss(60)
    variance = np.tanh(0.5 * z) ** 2 @ weights / weights.sum() / size
    # at α = 1 each step is a mean of tanh(ε) over 3000 neurons, independent: four standard errors from 200 steps
    assert abs(path.mean()) < 4 * np.sqrt(variance / 200)
    np.testing.assert_allclose(path.var(), variance, rtol=4 * np.sqrt(2 / 200))
    assert abs(np.corrcoef(path[1:], path[:-1])[0, 1]) < 4 / np.sqrt(200)


@pytest.fixture(scope="module")
def sweep() -> latent.DriftSweep:
    """Two bits on 60 neurons under two kinds of drift."""
    memory = latent.bit_memory(2, 60, key=rc.key(0), samples=1000)
    trials = rc.tasks.FlipFlop(bits=2, steps=40).trials(rc.key(1), 6)
    return latent.drift_sweep(
        rc.cast(memory, jnp.float32),
        trials,
        np.array([0.02, 0.1, 0.5, 2.5]),
        key=rc.key(2),
        kinds=("orthogonal", "tangential"),
        restarts=2,
        observed=10,
    )


def test_a_memory_takes_more_drift_that_is_not_read(sweep: latent.DriftSweep) -> None:
    accuracy = np.asarray(sweep.accuracy)
    assert accuracy.shape == (2, 5, 2)
    # the same noise and trials for all kinds: without drift they are one run
    np.testing.assert_array_equal(accuracy[0, 0], accuracy[1, 0])
    assert accuracy[:, 0].min() > 0.95
    # the strongest leaves neither more than chance
    assert (accuracy[0, :4].mean(-1) >= accuracy[1, :4].mean(-1)).all()
    assert accuracy[0, 2].min() > accuracy[1, 2].max()
    found = latent.drift_tolerance(sweep)
    assert found.tolerance[0] > 2 * found.tolerance[1]
    assert (found.low <= found.tolerance).all()
    assert (found.tolerance <= found.high).all()


def test_some_of_the_neurons_know_less_and_regression_undoes_what_mixes_them(sweep: latent.DriftSweep) -> None:
    assert sweep.observed_accuracy is not None
    assert np.asarray(sweep.accuracy)[0, 0].mean() > np.asarray(sweep.observed_accuracy)[0, 0].mean()
    path = np.random.default_rng(7).normal(size=(4, 3, 2, 2))
    wanted = Trials(jnp.zeros((2, 4, 1)), jnp.asarray(path[:, 0].swapaxes(0, 1)), jnp.ones((2, 4)), jnp.zeros((2, 4)))
    mixed = np.concatenate([path, path @ np.array([[0.2, 1.0], [-0.9, 0.1]])], axis=-1)
    own, seen, mapped = _scores(mixed, wanted, 2)
    # targets are the signs at strength 0; a linear map is undone exactly
    assert own[0] == 1
    np.testing.assert_array_equal(mapped, own)
    assert seen[0] < 0.9


def made_up(accuracy: np.ndarray, strengths: np.ndarray) -> latent.DriftSweep:
    table = np.concatenate([np.ones((1, accuracy.shape[1])), accuracy])[None]
    return latent.DriftSweep(np.concatenate([[0.0], strengths]), table, None, None, ("random",), 10, 2, None, 0.0)


def test_the_sigmoid_that_made_the_numbers_is_found() -> None:
    strengths = np.logspace(-2, 1, 12)
    curve = latent.drift_curve(strengths, 0.4, 1.7, 1.0, 0.25)
    rng = np.random.default_rng(5)
    noisy = [made_up(curve[:, None] + 0.02 * rng.normal(size=(12, 3)), strengths) for _ in range(20)]
    found = [latent.drift_tolerance(one) for one in noisy]
    covered = sum(float(f.low[0]) < 0.4 < float(f.high[0]) for f in found)
    # 19 of 20 intervals in the mean; 14 or fewer would happen once in 3000
    assert covered >= 15
    # errors of 0.02 on slopes of 0.3 a unit of the logarithm, 36 points, 20 fits: three standard errors are 1 %
    np.testing.assert_allclose(np.mean([f.tolerance[0] for f in found]), 0.4, rtol=0.01)
    np.testing.assert_allclose(np.mean([f.steepness[0] for f in found]), 1.7, rtol=0.03)
    # of 36 points less two that were fitted
    np.testing.assert_allclose(np.mean([f.residual[0] for f in found]), 0.02 * np.sqrt(34 / 36), rtol=0.1)


def test_restarts_that_differ_among_themselves_make_the_interval_as_wide_as_that() -> None:
    """All strengths of a restart share its draw of drift: twelve points of a curve are one draw of its place."""
    strengths, rng = np.logspace(-2, 1, 12), np.random.default_rng(6)
    covered = 0
    for _ in range(20):
        places = 0.4 * np.exp(0.25 * rng.normal(size=3))
        curves = np.stack([latent.drift_curve(strengths, place, 1.7, 1.0, 0.25) for place in places], axis=1)
        found = latent.drift_tolerance(made_up(curves + 0.01 * rng.normal(size=(12, 3)), strengths))
        covered += float(found.low[0]) < 0.4 < float(found.high[0])
    # as above
    assert covered >= 15


def test_a_tolerance_outside_of_what_was_tested_says_so() -> None:
    strengths = np.logspace(-1, 0, 5)
    for place, words in ((0.02, "below"), (0.3, "inside"), (7.0, "above")):
        curve = latent.drift_curve(strengths, place, 2.0, 1.0, 0.25)
        found = latent.drift_tolerance(made_up(curve[:, None].repeat(2, 1), strengths))
        assert found.statuses[found.status[0]].startswith(words)


def test_one_set_of_copies_errs_by_the_source_of_a_unit_of_that_size(unit: latent.LatentUnit) -> None:
    copies = latent.tile(unit, 5)
    drift = np.asarray(latent.drift_direction(copies, "random", key=rc.key(3)))
    kappa, size = jnp.asarray(STATES[0]), 1e-6
    rates = [np.asarray(u.lift(kappa, jnp.zeros(1))) for u in (copies, latent.drifted(copies, drift, size))]
    seen = np.asarray(latent.partial_encoding(copies, 60)) @ (rates[1] - rates[0]) / size
    wanted = latent.drift_source(unit, drift[:60], kappa, jnp.zeros(1))
    # the second order is a millionth of the first, which is of order one
    np.testing.assert_allclose(seen, wanted, atol=1e-4)
    assert np.abs(np.asarray(wanted)).max() > 0.01


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda u: latent.drift_direction(u, "jacobian-orthogonal", key=rc.key(0)), "`states` must hold"),
        (
            lambda u: latent.drift_direction(u, "jacobian-orthogonal", key=rc.key(0), states=np.ones((30, 2))),
            "no direction",
        ),
        (lambda u: latent.drift_direction(no_encoding(u), "tangential", key=rc.key(0)), "leaves no direction"),
        (lambda u: latent.resize(u, 10, key=rc.key(0)), "at least the unit's own 60"),
        (lambda u: latent.partial_encoding(u, 61), "at most 60"),
        (lambda u: latent.coding_groups(u, threshold=-0.1), "`threshold` must be"),
        (lambda u: latent.drifted(u, np.ones((3, 2)), 1.0), "`direction` must have shape"),
        (lambda u: latent.drifted(u, np.full((60, 2), np.nan), 1.0), "`direction` must be finite"),
        (lambda u: latent.drift_tolerance(made_up(np.ones((2, 1)), np.array([1.0, 2.0]))), "4 strengths"),
        (lambda u: latent.drift_sweep(u, trials(u), np.array([0.2, 0.1]), key=rc.key(0)), "`strengths` must be"),
        (lambda u: latent.drift_sweep(u, trials(u), np.array([0.1]), key=rc.key(0), noise=-1.0), "`noise` must be"),
        (lambda u: latent.drift_sweep(u, trials(u), np.array([0.1]), key=rc.key(0), kinds=()), "`kinds` must name"),
        (
            lambda u: latent.drift_sweep(u, trials(u), np.array([0.1]), key=rc.key(0), start=np.zeros((3, 2))),
            "`start` must have shape",
        ),
        (
            lambda u: latent.drift_sweep(u, trials(u), np.array([0.1]), key=rc.key(0), start=np.full((2, 2), np.nan)),
            "`start` must be finite",
        ),
    ],
)
def test_what_makes_no_drift_is_refused(call, words: str, unit: latent.LatentUnit) -> None:
    with pytest.raises(InputError, match=words):
        call(unit)


def no_encoding(unit: latent.LatentUnit) -> latent.LatentUnit:
    """The same neurons, not read."""
    return latent.from_encoding(unit.embedding, jnp.zeros_like(unit.encoding))


def trials(unit: latent.LatentUnit) -> Trials:
    """Two trials of four steps with one input and two bits."""
    return Trials(jnp.zeros((2, 4, 1)), jnp.ones((2, 4, 2)), jnp.ones((2, 4)), jnp.zeros((2, 4)))
