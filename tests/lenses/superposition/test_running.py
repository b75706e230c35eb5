"""Networks that are run, with their gradients in the same pass; and delays that a cue tells."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.lenses.superposition.conftest import every_sequence, run

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses.superposition import (
    Levels,
    Population,
    census,
    expected_recall,
    phase_diagram,
    random_population,
    recall_loss,
    sparse,
)
from recurvature.lenses.superposition.running import BLOCK, Course, Matrices, squares

RELU = lambda z: np.maximum(z, 0)  # noqa: E731
FUNCTIONS = {"nonlinear": (RELU, RELU), "ssm": (lambda h: h, RELU)}
CUES, DELAYS = (1, 2), (0, 1, 3)
BIAS = np.array([[0.1, -0.2]])
SQUARE = jnp.ones((2, 2, 1))
PULL = np.array([1.0, -2.0, 0.5])


@eqx.filter_jit
@eqx.filter_value_and_grad
def slopes(weights, course):
    """A mixture of errors and its gradient."""
    return squares(weights, course).error @ PULL


@eqx.filter_jit
def judge(loss, population, key):
    """The loss on a sample."""
    return loss.sample(population, key)


def plainly(weights: Matrices, course: Course, hidden, seen) -> jax.Array:
    """The error of every network by a loop over steps, one product after another."""
    total = jnp.zeros(3)
    for i in range(3):
        recurrent, inputs, readout = (part[..., i] for part in (weights.recurrent, weights.inputs, weights.readout))
        bias = jnp.zeros(len(readout)) if weights.bias is None else weights.bias[:, 0, i]
        h = jnp.zeros((course.inputs.shape[1], len(recurrent)))
        for t, u in enumerate(course.inputs):
            h = u @ inputs.T + hidden(h) @ recurrent.T
            k, weight = DELAYS[i], course.weight[0, i]
            due = course.inputs[t - k] if t >= k else jnp.zeros_like(u)
            error = ((seen(h @ readout.T + bias[None]) - due[:, : len(readout)]) ** 2 @ course.importance).sum()
            counts = float(not course.last or t == len(course.inputs) - 1)
            total = total.at[i].add(counts * weight * error)
    return total @ PULL


@pytest.mark.parametrize(
    ("hidden", "seen", "last", "bias"), [("relu", "relu", False, True), ("tanh", "identity", True, False)]
)
def test_the_slopes_of_networks_that_are_run_are_those_of_a_plain_loop(hidden, seen, last, bias):
    # a block is not filled
    rng, trials = np.random.default_rng(0), BLOCK + 5
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape))  # noqa: E731
    weights = Matrices(draw(2, 2, 3), draw(2, 3, 3), draw(2, 2, 3), draw(2, 1, 3) if bias else None)
    delay, weight = jnp.asarray([DELAYS], jnp.int32), jnp.asarray([[1.0, 0.5, 2.0]])
    course = Course(draw(5, trials, 3), delay, weight, jnp.asarray([1.0, 0.25]), hidden, seen, last)
    value, found = slopes(weights, course)
    functions = [{"relu": jax.nn.relu, "tanh": jnp.tanh, "identity": lambda z: z}[name] for name in (hidden, seen)]
    exact, wanted = jax.jit(jax.value_and_grad(lambda w: plainly(w, course, *functions)))(weights)
    # the same sums of some hundred products in another order
    assert float(value) == pytest.approx(float(exact), rel=1e-12)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12 * np.abs(other).max())


def cued(kind, size: int = 2) -> Population:
    made = random_population(
        size, delays=(CUES[-1],), cues=2, seeds=2, features=1, kind=kind, tied=False, gain=0.7, bias=True, key=rc.key(3)
    )
    return eqx.tree_at(lambda p: p.bias, rc.cast(made, float), jnp.asarray(BIAS))


def answers(population: Population, place: int, x: np.ndarray, hidden, seen) -> np.ndarray:
    """What one of the networks gives out."""
    return run(population.weights(place), x, hidden, lambda z: seen(z + BIAS[:, place]))


@pytest.mark.slow  # slopes and answers under cues are tested by default
def test_cued_delays_cost_what_all_sequences_under_all_cues_do(getkey):
    steps, density, levels = 5, 0.15, (0.5, 1.0)
    x, chance = every_sequence(steps, 1, density, levels)
    for kind, (hidden, seen) in FUNCTIONS.items():
        population = cued(kind)
        assert (population.features, population.cues) == (1, 2)
        loss = recall_loss(
            density, steps=steps, trials=2**12 + 1, stationary=False, amplitude=Levels(levels), delays=CUES
        )
        found = np.stack([np.asarray(judge(loss, population, getkey()).loss) for _ in range(12)])
        for i in range(len(population)):
            exact = 0.0
            for place, delay in enumerate(CUES):
                cue = np.broadcast_to(np.eye(2)[place], (len(x), steps, 2))
                outputs = answers(population, i, np.concatenate([x, cue], axis=2), hidden, seen)
                due = np.concatenate([np.zeros((len(x), delay, 1)), x[:, : steps - delay]], axis=1)
                error = ((outputs - due) ** 2).sum((1, 2))
                exact += chance @ error / (steps - delay) / (density * np.mean(np.square(levels))) / len(CUES)
            error = found[:, i].std(ddof=1) / np.sqrt(len(found))
            # four standard errors, half more since twelve samples estimate them; a sample knows a loss to a per cent
            assert found[:, i].mean() == pytest.approx(exact, abs=6 * error)
            assert error < 0.01 * exact


def test_cued_networks_answer_the_trials_of_the_task(getkey):
    population, steps = cued("nonlinear"), 8
    task = rc.tasks.Recall(delay_steps=CUES, steps=steps, density=0.4)
    trials = task.trials(getkey(), 2**13)
    x, y = np.asarray(trials.inputs, float), np.asarray(trials.targets, float)
    assert task.input_size == population.network(0).system.input_size
    which = x[:, 0, 1:].argmax(1)
    silence = 0.4 / 3 * (steps - np.array(CUES))[which]
    loss = recall_loss(0.4, steps=steps, trials=2**12, stationary=False, delays=CUES)
    found = np.stack([np.asarray(judge(loss, population, getkey()).loss) for _ in range(8)])
    for i in range(len(population)):
        outputs = answers(population, i, x, *FUNCTIONS["nonlinear"])
        each = ((outputs - y) ** 2).sum((1, 2)) / silence
        error = np.hypot(each.std() / np.sqrt(len(each)), found[:, i].std(ddof=1) / np.sqrt(8))
        # delays are balanced among trials; four standard errors of the difference
        assert found[:, i].mean() == pytest.approx(each.mean(), abs=4 * error)


def test_a_census_and_a_diagram_take_cued_networks():
    population = cued("ssm")
    loss = lambda p: recall_loss(p, steps=6, trials=64, delays=CUES)  # noqa: E731
    cells = {p: census(population, loss(p), key=rc.key(0), repeats=2) for p in (0.2, 0.5)}
    assert cells[0.2].stored.shape == (1, 2)
    assert (cells[0.2].population.features, cells[0.2].population.cues) == (1, 2)
    np.testing.assert_array_equal(cells[0.2].population.bias, BIAS)
    diagram = phase_diagram(cells)
    assert diagram.delay.tolist() == [CUES[-1]]
    # a linear recurrence responds to a feature in the same way under every cue
    weights = population.weights(0)
    recurrent, inputs, readout = (np.asarray(w) for w in (weights.recurrent, weights.inputs, weights.readout))
    np.testing.assert_allclose(cells[0.2].stored[0, 0], (readout @ recurrent @ recurrent @ inputs[:, :1])[0, 0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: recall_loss(0.5, delays=(3,)), "`delays` must hold two or more different delays"),
        (lambda: recall_loss(0.5, delays=(3, 3)), "`delays` must hold two or more different delays"),
        (lambda: recall_loss(0.5, steps=3, delays=(1, 3)), "`delay` must be below the number of steps, 3"),
        (lambda: random_population(2, delays=(2,), cues=2, key=rc.key(0)), "`cues` need an untied readout"),
        (lambda: judge(recall_loss(0.5), cued("ssm"), rc.key(0)), "the loss has 0 cues, and the networks have 2"),
        (lambda: expected_recall(sparse(0.5))(cued("linear")), "the loss has 0 cues, and the networks have 2"),
        (
            lambda: Population(SQUARE, SQUARE[:, :1], SQUARE, np.array([1]), "ssm"),
            "`readout` has 2 outputs of 1 inputs",
        ),
    ],
)
def test_cues_that_do_not_fit_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
