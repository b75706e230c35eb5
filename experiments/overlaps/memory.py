"""Figures 3, 6 and 7: A–B–A, what comes back, what does not, and what noise and Adam make of it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

import recurvature as rc
from recurvature import overlaps as ov
from recurvature.app.claims import Measured

from .settings import (
    RANK1,
    RANK2,
    A,
    B,
    Lab,
    filter_loss,
    filter_task,
    named,
    on_impulses,
    overlaps_of,
    random_vectors,
    two_networks,
)

ORDER = (A, B, A, B, A)


def _sequence(lab: Lab) -> ov.Curriculum:
    """Network 2 through A–B–A–B–A by descent, and A with noise on its targets."""
    how, noise = lab.settings.linear, lab.settings.noise

    def compute() -> ov.Curriculum:
        phases = [
            ov.Phase(filter_loss(lab, rate), how.rate, how.return_steps if k else how.first_steps, "AB"[rate == B])
            for k, rate in enumerate(ORDER)
        ]
        return ov.in_turn(two_networks(lab)["network 2"], [*phases, _noisy(lab, noise.steps, 0)], layout=RANK1)

    return lab.once("sequence", compute)


def _noisy(lab: Lab, steps: int, seed: int) -> ov.Phase:
    noise = lab.settings.noise
    key = rc.stream(lab.key, f"noise {seed}")
    return ov.noise_phase(filter_loss(lab, A), noise.rate, steps, std=noise.std, key=key)


def _trip(lab: Lab) -> ov.RoundTrip:
    return lab.once(
        "round trip",
        lambda: ov.round_trip(
            filter_loss(lab, A),
            filter_loss(lab, B),
            two_networks(lab)["network 2"],
            duration=30.0,
            levels=4,
            layout=RANK1,
        ),
    )


def loss_fixes_the_function_alone(lab: Lab) -> Measured:
    """At a solution: directions of overlap space in which the loss rises, and the gradient of the invisible ones."""
    sequence = _sequence(lab)
    found = ov.memory_conditions(filter_loss(lab, A), sequence.end(0), sequence.end(0), RANK1)
    return Measured(
        {"directions_fixed": found["function_fixed"], "directions_free": len(RANK1.names) - found["function_fixed"]},
        {"conditions": found},
    )


def function_follows_the_task(lab: Lab) -> Measured:
    """The function at the end of every phase, beside the closed form of the task's solution."""
    sequence, dt, rows = _sequence(lab), lab.settings.linear.dt, []
    for phase, rate in enumerate(ORDER):
        end = sequence.end(phase)
        value = 1 - (1 - np.exp(-rate * dt)) / dt
        s = {name: float(end[RANK1.position(name)]) for name in ("z·m", "v·u", "z·u", "v·m")}
        off = [s["z·m"] - 1, s["v·u"] - value, s["z·u"] * s["v·m"] - value]
        rows.append({"off": float(np.abs(off).max()), **named(end)})
    return Measured({"largest_error": max(row["off"] for row in rows)}, {"phases": rows}, {"sequence": sequence})


def original_solution_returns(lab: Lab) -> Measured:
    """A–B–A at steps of size 0: the function, and how far each overlap is from where it was."""
    trip = _trip(lab)
    moved, out = np.asarray(trip.displacement), np.asarray(trip.excursion)
    relevant = [ov.function_relevant(jnp.asarray(m), RANK1) for m in (_at(trip, 0), _at(trip, 2))]
    apart = [float(np.abs(np.asarray(relevant[0][k]) - np.asarray(relevant[1][k])).max()) for k in relevant[0]]
    largest = float(np.abs(moved).max())
    return Measured(
        {
            "difference_of_function": max(apart),
            "displacement_over_excursion": float(largest / np.abs(out).max()),
            "largest_displacement": largest,
            "displacement_over_its_error": float(largest / np.abs(np.asarray(trip.extrapolated) - moved).max()),
            "displacement_of_charge": float(abs(moved[RANK1.names.index("u·u")] - moved[RANK1.names.index("v·v")])),
        },
        {
            "displacement": dict(zip(RANK1.names, moved.tolist(), strict=True)),
            "extrapolated from descent": dict(zip(RANK1.names, np.asarray(trip.extrapolated).tolist(), strict=True)),
            "excursion": dict(zip(RANK1.names, out.tolist(), strict=True)),
        },
        {"trip": trip},
    )


def _at(trip: ov.RoundTrip, phase: int) -> Float[np.ndarray, "a a"]:
    """The overlaps at the end of a phase of the flow."""
    return np.asarray(trip.matrix)[np.flatnonzero(np.asarray(trip.phase) == phase)[-1]]


def balanced_networks_forget(lab: Lab) -> Measured:
    r"""A trip between filters of two modes from $AA^\top = BB^\top$: nothing is conserved but zeros, nothing is left.

    Of a filter of one mode K is singular, and a balanced network comes near it too slowly to tell.
    """
    angle, block = 0.4, np.array([[0.8, 0.1], [0.1, 0.7]])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    # A = B Q: reading vectors are writing vectors, turned
    balanced = np.block([[turn.T @ block @ turn, turn.T @ block], [block @ turn, block]])
    other = balanced.copy()
    other[RANK1.u, RANK1.u] += 1.0
    tasks = _two_modes(lab, 1.0, 0.6, -0.5, 0.6), _two_modes(lab, 0.7, 0.8, -0.8, 0.5)
    options: dict[str, Any] = {"duration": 80.0, "rate": 0.02, "levels": 2, "layout": RANK1}
    trips = [ov.round_trip(*tasks, start, **options) for start in (balanced, other)]
    largest = [float(np.abs(np.asarray(trip.displacement)).max()) for trip in trips]
    return Measured(
        {
            "imbalance": trips[0].conditions["imbalance"],
            "largest_displacement": largest[0],
            "displacement_of_unbalanced_over_it": largest[1] / largest[0],
            "largest_excursion": float(np.abs(np.asarray(trips[0].excursion)).max()),
            "hidden_dimensions": trips[0].conditions["hidden"],
        },
        {"balanced": trips[0].conditions, "u·u larger by 1": trips[1].conditions},
    )


def _two_modes(lab: Lab, zm: float, zu: float, vm: float, vu: float) -> ov.FilterLoss:
    """The loss of being like the network with these visible overlaps in continuous time."""
    overlaps = ov.matrix(RANK1, {"z·m": zm, "z·u": zu, "v·m": vm, "v·u": vu}, diagonal=2.0)
    how = lab.settings.linear
    return ov.FilterLoss(ov.state_space(jnp.asarray(overlaps), RANK1), RANK1, how.dt, how.duration)


def memory_has_dimensions(lab: Lab) -> Measured:
    """Dimensions that any training can reach and the function does not show, case by case."""
    one = overlaps_of(random_vectors(lab, RANK1, 12, "reach 1"))
    two = overlaps_of(random_vectors(lab, RANK2, 12, "reach 2"))
    cases: dict[str, Any] = {
        "linear_rank_1": ov.reach(one, layout=RANK1),
        "nonlinear_rank_1": ov.reach(one, layout=RANK1, regime="gaussian"),
        "linear_rank_2": ov.reach(two, layout=RANK2),
    }
    return Measured(
        {f"hidden_{name}": found.hidden for name, found in cases.items()},
        {name: {"leaf": found.leaf, "function": found.function} for name, found in cases.items()},
    )


def noise_moves_invisible_overlaps(lab: Lab) -> Measured:
    """A learned network with and without noise on its targets, for as long: what the invisible overlaps do."""
    noise, start = lab.settings.noise, _sequence(lab).end(2)
    quiet = ov.descend(filter_loss(lab, A), start, noise.rate, steps=noise.steps, layout=RANK1, every=noise.steps)
    still = float(np.abs(np.asarray(quiet.matrix)[-1] - start).max())
    rows, forecast = [], []
    for seed in range(noise.seeds):
        course = ov.in_turn(start, [_noisy(lab, noise.steps, seed)], layout=RANK1, records=40)
        end = course.end(0)
        moves, spread = _function_moves(lab, course)
        rows.append(
            {
                "charge": _charge(end),
                "moved": float(np.abs(end - start).max()),
                "function moved": np.abs(moves).max(0).tolist(),
                "function moved, over its spread": float(np.abs(moves / spread).max()),
                **named(end),
            }
        )
        forecast.append(_forecast(lab, course))
    lost = np.mean([row["charge"] for row in rows]) - _charge(start)
    return Measured(
        {
            "smallest_move_over_move_without_noise": min(row["moved"] for row in rows) / still,
            "largest_charge_over_charge_before": max(abs(row["charge"]) for row in rows) / abs(_charge(start)),
            "largest_move_of_function_over_spread": max(row["function moved, over its spread"] for row in rows),
            "drift_over_forecast": float(lost / np.mean(forecast)),
        },
        {"seeds": rows, "charge before": _charge(start)},
    )


def _charge(matrix: Float[np.ndarray, "a a"]) -> float:
    """u·u − v·v."""
    return float(matrix[RANK1.position("u·u")] - matrix[RANK1.position("v·v")])


def _function_moves(lab: Lab, course: ov.Curriculum) -> tuple[Float[np.ndarray, "step f"], Float[np.ndarray, " f"]]:
    """How z·m, z·u v·m and v·u are off their start at every record, and how far noise should scatter them.

    The spread (docs eq. O.55) changes with the overlaps along the course; the largest is taken.
    """
    zm, zu, vm, vu = (course.of(name) for name in ("z·m", "z·u", "v·m", "v·u"))
    values = np.stack([zm, zu * vm, vu], axis=1)
    sizes = []
    for k, s in enumerate(np.asarray(course.matrix)):
        slopes = np.zeros((3, len(RANK1.names)))
        places = [RANK1.names.index(name) for name in ("z·m", "z·u", "v·m", "v·u")]
        slopes[[0, 1, 1, 2], places] = 1.0, vm[k], zu[k], 1.0
        gram = slopes @ np.asarray(ov.gram(jnp.asarray(s), RANK1)) @ slopes.T
        sizes.append(_spread(lab, gram, values[0]))
    return values - values[0], np.max(sizes, axis=0)


def _spread(lab: Lab, gram: Float[np.ndarray, "f f"], at: Float[np.ndarray, " f"]) -> Float[np.ndarray, " f"]:
    """Standard deviations of the function around a solution, for its Gram matrix (docs eq. O.55)."""
    how, noise = lab.settings.linear, lab.settings.noise

    def response(f: Float[Array, " f"]) -> Float[Array, " time"]:
        n = jnp.arange(round(how.duration / how.dt), dtype=float)
        return (f[0] - f[1] / f[2]) * (1 - how.dt) ** n + f[1] / f[2] * (1 - how.dt + how.dt * f[2]) ** n

    slopes = np.asarray(jax.jacfwd(response)(jnp.asarray(at)))
    values, axes = np.linalg.eigh(gram)
    root = axes * np.sqrt(values) @ axes.T
    rates, modes = np.linalg.eigh(root @ (2 * how.dt * slopes.T @ slopes) @ root)
    scattered = noise.rate * how.dt * noise.std**2 / (1 - noise.rate * rates / 2)
    return np.sqrt(((root @ modes) ** 2) @ scattered)


def _forecast(lab: Lab, course: ov.Curriculum) -> float:
    """What the mean drift of every step adds up to along a course, by the trapezoidal rule between its records."""
    noise, data = lab.settings.noise, on_impulses(filter_task(lab), RANK1)
    # the mean square is the loss of the paper over the duration
    rate = noise.rate * lab.settings.linear.duration
    drifts = [ov.noise_drift(data, s, noise.std, rate)[1][0, 0] for s in np.asarray(course.matrix)]
    return float(np.trapezoid(drifts, np.asarray(course.count)))


def adam_keeps_nothing(lab: Lab) -> Measured:
    """A–B–A–B–A by Adam on all weights: the function, the conserved quantities, and the span of the first weights."""
    how, ends = lab.settings.adam, []
    theta: Any = ov.vectors(two_networks(lab)["network 2"], RANK1, how.units, key=rc.stream(lab.key, "Adam"))
    first, losses = theta, []
    optimiser = optax.adam(how.rate)
    for rate in ORDER:
        run = ov.descend_units(
            filter_loss(lab, rate), theta, optimiser, steps=how.steps, layout=RANK1, every=how.steps // 10
        )
        theta = jnp.asarray(run.vectors[-1])
        ends.append(np.asarray(run.matrix)[-1])
        losses.append(float(run.loss[-1]))
    moved = np.asarray(theta) - np.asarray(first)
    charges = [_charge(end) for end in (overlaps_of(first), *ends)]
    by_descent = [_sequence(lab).end(phase) for phase in range(5)]
    drift = abs(_charge(by_descent[4]) - charges[0])
    returned = np.abs(ends[2] - ends[0]).max() / np.abs(ends[1] - ends[0]).max()
    by_descent_returned = np.abs(by_descent[2] - by_descent[0]).max() / np.abs(by_descent[1] - by_descent[0]).max()
    return Measured(
        {
            "largest_final_loss": max(losses),
            "share_outside_the_span": float(ov.share_outside(moved, first)),
            "drift_of_charge_over_descent": float(max(abs(c - charges[0]) for c in charges) / drift),
            "displacement_over_descent": float(returned / by_descent_returned),
        },
        {"losses": losses, "charges": charges, "phases": [named(end) for end in ends]},
    )
