"""Linear networks, by exact losses: terms and staircases, the best spirals, capacities, what training conserves."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.optimize

from recurvature import superposition
from recurvature.app.claims import Measured

from .networks import Lab

DELAY, DENSITY, STEPS, RATE = 3, 0.3, 20, 0.01
"""Of the descent whose loss is taken apart."""

START = (jnp.array([[0.30, 0.02], [-0.01, 0.28]]), jnp.array([[0.25], [0.1]]))


def _by_terms(response: np.ndarray) -> float:
    """The loss over that of silence from its four terms, summed age by age as they are written (docs eq. S.6)."""
    a, m, q = response, DENSITY / 2, DENSITY / 3
    ages = range(STEPS)
    task = (STEPS - DELAY) * q * (1 - a[DELAY]) ** 2
    mean = -2 * m * m * sum((STEPS - max(s, DELAY)) * a[s] for s in ages if s != DELAY)
    own = q * sum((STEPS - s) * a[s] ** 2 for s in ages if s != DELAY)
    pairs = m * m * sum((STEPS - max(s, r)) * a[s] * a[r] for s in ages for r in ages if s != r)
    return (task + mean + own + pairs) / ((STEPS - DELAY) * q)


def _least(size: int) -> tuple[float, np.ndarray]:
    """The least loss of tied networks of one or two units, by a search that shares no code with the library."""

    def lost(x: np.ndarray) -> float:
        recurrent, w = x[: size * size].reshape(size, size), x[size * size :]
        every = [w]
        for _ in range(STEPS - 1):
            every.append(recurrent @ every[-1])
        return _by_terms(np.array(every) @ every[DELAY])

    rng = np.random.default_rng(0)
    starts = [rng.normal(size=size * size + size) * 0.7 for _ in range(6)]
    found = [scipy.optimize.minimize(lost, x, method="BFGS", options={"gtol": 1e-8}) for x in starts]
    best = min(found, key=lambda run: float(run.fun))
    return float(best.fun), best.x


def _descent(lab: Lab) -> dict[str, Any]:
    """Losses, weights and terms along plain gradient descent on the exact loss."""
    statistics = superposition.sparse(DENSITY)
    silence = (STEPS - DELAY) * DENSITY / 3

    def loss(pair: Any) -> Any:
        weights = superposition.tied(*pair, delay=DELAY)
        return superposition.expected_loss(superposition.projections(weights, STEPS), statistics, DELAY) / silence

    @jax.jit
    def descend(pair: Any) -> Any:
        def step(pair: Any, _: None) -> Any:
            value, slope = jax.value_and_grad(loss)(pair)
            return jax.tree.map(lambda w, g: w - RATE * g, pair, slope), (pair, value)

        return jax.lax.scan(step, pair, None, length=lab.settings.descent)[1]

    def run() -> dict[str, Any]:
        pairs, losses = descend(START)
        pairs, losses = jax.tree.map(np.asarray, pairs), np.asarray(losses)
        shown = np.unique(np.r_[0, 400, 1000, 1200, np.linspace(0, len(losses) - 1, 60).astype(int)])
        tied = lambda i: superposition.tied(jnp.asarray(pairs[0][i]), jnp.asarray(pairs[1][i]), delay=DELAY)  # noqa: E731
        terms = [superposition.loss_terms(superposition.projections(tied(i), STEPS), statistics, DELAY) for i in shown]
        return {"losses": losses, "pairs": pairs, "shown": shown, "terms": terms, "last": tied(len(losses) - 1)}

    return lab.once("descent", run)


def losses_come_in_terms(lab: Lab) -> Measured:
    """Gradient descent on the exact loss: its four terms at every moment, and where it ends."""
    course = _descent(lab)
    terms, losses = course["terms"], course["losses"]
    added = [abs(one.normalised - losses[i]) for one, i in zip(terms, course["shown"], strict=True)]
    last, silence = terms[-1], float(np.asarray(terms[-1].silence).sum())
    shares = {name: float(np.asarray(getattr(last, name)).sum()) / silence for name in _TERMS}
    response = np.asarray(superposition.projections(course["last"], STEPS))[:, 0, 0]
    return Measured(
        {
            "largest_gap_of_terms_to_loss": max(added),
            "final_minus_least": float(losses[-1]) - _least(2)[0],
            "final_minus_written_out": float(losses[-1]) - _by_terms(response),
            "final_loss": float(losses[-1]),
            **{f"final_{name}": share for name, share in shares.items()},
        },
        {"losses": {str(i): float(losses[i]) for i in (0, 400, 1000, 1200)}},
        {"final-terms": last},
    )


_TERMS = ("task", "mean", "projection", "composition")


def losses_fall_in_steps(lab: Lab) -> Measured:
    """The plateaus of the descent beside the least losses of no unit, one unit and two."""
    course = _descent(lab)
    losses, (recurrent, inputs) = course["losses"], course["pairs"]
    one = _least(1)[0]
    # where the loss is nearest to that of one unit it should hardly move, and all directions should be one
    middle = int(np.abs(losses - one).argmin())
    speed = -np.gradient(losses)
    drops = [int(speed[:middle].argmax()), middle + int(speed[middle:].argmax())]
    turns = [_turn(recurrent[i]) for i in (*drops, middle, len(losses) - 1)]
    return Measured(
        {
            "start": float(losses[0]),
            "plateau_minus_one_unit": float(losses[middle]) - one,
            "speed_on_plateau_over_drops": float(speed[middle] / min(speed[i] for i in drops)),
            "turn_of_eigenvalues_in_first_drop": turns[0],
            "turn_of_eigenvalues_on_plateau": turns[2],
            "turn_of_eigenvalues_at_end": turns[3],
            "largest_sine_between_directions_on_plateau": _sine(recurrent[middle], inputs[middle]),
        },
        {"one_unit": one, "drops": drops, "plateau": middle},
    )


def _turn(recurrent: np.ndarray) -> float:
    return float(DELAY * np.rad2deg(np.abs(np.angle(np.linalg.eigvals(recurrent))).max()))


def _sine(recurrent: np.ndarray, inputs: np.ndarray) -> float:
    """Of the angles between directions of ages 0 to k."""
    w = np.stack([np.linalg.matrix_power(recurrent, s) @ inputs[:, 0] for s in range(DELAY + 1)])
    w /= np.linalg.norm(w, axis=1, keepdims=True)
    return float(np.abs(w[:, None, 0] * w[None, :, 1] - w[:, None, 1] * w[None, :, 0]).max())


def best_linear_is_a_spiral(lab: Lab) -> Measured:
    """The best linear networks for white input, beside a search over eigenvalues by another route."""
    gaps, turns, better = [], [], []
    for delay in (2, 3, 4, 5, 6, 8):
        found = superposition.optimal_linear(delay, 2, starts=6)
        spiral, real = _least_of_poles(delay, complex_pair=True), _least_of_poles(delay, complex_pair=False)
        gaps.append(abs(found.loss - spiral))
        better.append(real - found.loss)
        turns.append(delay * float(np.rad2deg(np.asarray(found.angle)[0])))
    two = superposition.optimal_linear(2, 2, starts=6)
    singles = [
        abs(superposition.optimal_linear(k, 1, starts=2).loss - (1 - (k / (k + 1)) ** k / (k + 1))) for k in (2, 5)
    ]
    expected = np.array([-1 / 8, 3 / 8, 7 / 16, 1 / 4, 1 / 32])
    return Measured(
        {
            "largest_gap_to_search": max(gaps),
            "largest_gap_to_one_unit": max(singles),
            "loss_of_delay_2": two.loss,
            "radius_of_delay_2": float(np.asarray(two.modulus)[0]),
            "turn_of_delay_2": turns[0],
            "largest_gap_of_responses": float(np.abs(np.asarray(two.response)[:5] - expected).max()),
            "smallest_turn": min(turns),
            "largest_turn": max(turns),
            "smallest_advantage_over_real": min(better),
        },
        {"turns": turns},
        {"delay-2": two},
    )


def _least_of_poles(delay: int, *, complex_pair: bool) -> float:
    """The least 1 - MC of two units with given eigenvalues, by a Lyapunov equation of SciPy."""

    def lost(x: np.ndarray) -> float:
        if complex_pair:
            radius, angle = 1 / (1 + np.exp(-x[0])), x[1]
            c, s = radius * np.cos(angle), radius * np.sin(angle)
            recurrent = np.array([[c, -s], [s, c]])
        else:
            recurrent = np.diag(np.tanh(x))
        w = np.ones(2)
        covariance = scipy.linalg.solve_discrete_lyapunov(recurrent, np.outer(w, w))
        older = np.linalg.matrix_power(recurrent, delay) @ w
        return float(1 - older @ np.linalg.lstsq(covariance, older, rcond=1e-12)[0])

    starts = (
        [(1.0, np.deg2rad(95 / delay)), (2.0, np.deg2rad(100 / delay))] if complex_pair else [(2.0, 0.3), (2.0, -1.5)]
    )
    options = {"xatol": 1e-9, "fatol": 1e-13, "maxiter": 4000}
    return min(float(scipy.optimize.minimize(lost, x, method="Nelder-Mead", options=options).fun) for x in starts)


def capacities_add_up_to_the_rank(lab: Lab) -> Measured:
    """Memory capacity of random recurrences over so many ages that nothing is left, one and two features."""
    rng, totals, most = np.random.default_rng(lab.settings.seed), [], []
    for n, d in ((2, 1), (3, 1), (4, 2), (6, 3)):
        recurrent = rng.normal(size=(n, n))
        recurrent *= 0.7 / np.abs(np.linalg.eigvals(recurrent)).max()
        found = superposition.memory_capacity(jnp.asarray(recurrent), jnp.asarray(rng.normal(size=(n, d))), ages=80)
        totals.append(abs(float(np.asarray(found.capacity).sum()) - n))
        most.append(float(np.asarray(found.capacity).max()))
    return Measured({"largest_gap_to_units": max(totals), "largest_capacity": max(most)})


def a_thousand_units_hold_a_thousand_inputs(lab: Lab) -> Measured:
    """A dense recurrence of many units, the ring of docs eq. S.71 in random coordinates, beside its closed form."""
    n, rng = lab.settings.units, np.random.default_rng(lab.settings.seed)
    change = np.linalg.qr(rng.normal(size=(n, n)))[0]
    radius, ages = 1 - 1 / n, np.arange(2 * n)
    recurrent = radius * change @ np.roll(np.eye(n), 1, axis=0) @ change.T
    found = superposition.memory_capacity(jnp.asarray(recurrent), jnp.asarray(change[:, :1]), ages=2 * n)
    exact = (1 - radius ** (2 * n)) * radius ** (2 * n * (ages // n))
    capacity = np.asarray(found.capacity)[:, 0]
    return Measured(
        {
            "units": float(n),
            "rank": float(found.rank),
            "largest_gap_to_closed_form": float(np.abs(capacity - exact).max()),
            "gap_of_total_to_rank": abs(float(capacity.sum()) + n * radius ** (4 * n) - n),
        }
    )


def training_conserves_a_matrix(lab: Lab) -> Measured:
    """What descent changes of Q at two step sizes: a change that goes with the step is none of the flow itself."""
    statistics, rng = superposition.sparse(0.3, 2), np.random.default_rng(lab.settings.seed)
    start = superposition.Weights(*(jnp.asarray(0.3 * rng.normal(size=s)) for s in ((3, 3), (3, 2), (2, 3))))

    def loss(weights: superposition.Weights) -> Any:
        return superposition.expected_loss(superposition.projections(weights, 8), statistics, 2)

    @jax.jit
    def change(weights: superposition.Weights) -> Any:
        return jax.jvp(superposition.conserved, (weights,), (jax.grad(loss)(weights),))[1]

    @jax.jit
    def descend(rate: Any, count: Any) -> Any:
        step = lambda w: jax.tree.map(lambda a, g: a - rate * g, w, jax.grad(loss)(w))  # noqa: E731
        return jax.lax.fori_loop(0, count, lambda _, w: step(w), start)

    before = superposition.conserved(start)
    ends = [descend(rate, round(4 / rate)) for rate in (0.02, 0.01)]
    drift = [float(jnp.abs(superposition.conserved(end) - before).max()) for end in ends]
    moved = max(
        float(jnp.abs(a - b).max()) for a, b in zip(jax.tree.leaves(ends[1]), jax.tree.leaves(start), strict=True)
    )
    return Measured(
        {
            "largest_rate_of_change": float(jnp.abs(change(start)).max()),
            "order_of_drift_in_step": float(np.log2(drift[0] / drift[1])),
            "weights_moved": moved,
        },
        {"drift": drift},
    )
