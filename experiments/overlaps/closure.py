"""Figures 4 and 8, and how exact the nonlinear theory is: activity, the first step, the course, optimisers."""

from typing import Any

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, Float

import recurvature as rc
from recurvature import overlaps as ov
from recurvature.app.claims import Measured
from recurvature.tasks import AbstractTask, ExponentialFilter, FlipFlop

from .settings import RANK1, Lab, overlaps_of

PHI = "erf"
START = ov.matrix(RANK1, {"z·m": 0.3, "z·u": 0.4, "v·m": 0.4, "v·u": 0.8, "m·u": 0.2})
"""Overlaps that learning starts from where several tasks and sizes are compared: rows of unit variance."""

RECORDS = 200
"""Of a training on the flip-flop, whose loss falls in a few per cent of the steps."""
LEVELS = (0.8, 0.5, 0.2)
"""Shares of the first loss at which losses are said to have fallen: before, in, and after the drop."""


def flip_flop(lab: Lab) -> FlipFlop:
    """The flip-flop of the paper: pulses of ±1 half a tau long, targets of ±1/2, two tau left out after a pulse."""
    how = lab.settings.flipflop
    timing: dict[str, Any] = {"dt": how.dt, "steps": round(how.duration / how.dt)}
    return FlipFlop(bits=1, pulse=0.5, gaps=(4.0, 10.0), settle=2.0, level=0.5, **timing)


def _tasks(lab: Lab) -> dict[str, AbstractTask]:
    """A mild task, a strong one, and a filter of white noise, all short."""
    steps = lab.settings.closure.steps_of_a_trial
    dt = 10 / steps
    short: dict[str, Any] = {"bits": 1, "dt": dt, "steps": steps, "pulse": 0.5}
    return {
        "flip-flop of the paper": FlipFlop(gaps=(4.0, 10.0), settle=2.0, level=0.5, **short),
        "flip-flop of strong pulses": FlipFlop(gaps=(2.0, 5.0), settle=1.0, amplitude=2.0, **short),
        "filter": ExponentialFilter(dt=dt, steps=steps, input="white"),
    }


def as_data(task: AbstractTask, trials: int, key: Any) -> ov.DataLoss:
    """A fixed batch of a task in float64."""
    drawn = task.trials(key, trials)
    arrays = (jnp.asarray(a, float) for a in (drawn.inputs, drawn.targets, drawn.mask))
    inputs, targets, mask = arrays
    return ov.DataLoss(inputs, targets, RANK1, task.dt, mask, PHI)


def _course(lab: Lab) -> dict[str, dict[str, Any]]:
    """For every task and size: how far the overlaps of networks are from those of the theory, and their losses."""

    def compute() -> dict[str, dict[str, Any]]:
        how, rows = lab.settings.closure, {}
        for name, task in _tasks(lab).items():
            loss = as_data(task, how.trials, rc.stream(lab.key, name))
            options: dict[str, Any] = {"steps": how.steps, "layout": RANK1, "every": how.steps // 5}
            said = ov.descend(loss, START, how.rate, **options)
            sizes = {
                n: _draws(lab, loss, said, n, draws, options) for n, draws in zip(how.units, how.draws, strict=True)
            }
            moved = float(np.abs(said.matrix[-1] - said.matrix[0]).max())
            rows[name] = {
                "sizes": sizes,
                "moved": moved,
                "predicted loss": float(said.loss[-1]),
                "estimated error": said.diagnostics["error"][-1],
            }
        return rows

    return lab.once("course", compute)


def _draws(
    lab: Lab, loss: ov.DataLoss, said: ov.Learning, units: int, draws: int, options: dict[str, Any]
) -> dict[str, Any]:
    """Root mean squares over networks of one size whose overlaps are exactly those of the theory at the start."""
    far, energy, losses = [], [], []
    for draw in range(draws):
        theta = ov.vectors(START, RANK1, units, key=rc.stream(lab.key, f"draw {units} {draw}"))
        learned = ov.descend_units(loss, theta.astype(jnp.float32), lab.settings.closure.rate, **options)
        far.append(np.abs(learned.matrix - said.matrix).max((1, 2)))
        if units == max(lab.settings.closure.units):
            energy.append(float(ov.closure(theta, loss, key=lab.key).energy_ratio[0]))
        losses.append(float(learned.loss[-1]))
    squares = np.stack(far) ** 2
    distance = np.sqrt(squares.mean(0))
    # of a root mean square, from the scatter of squares; zero at the start, where all are equal
    scatter = squares.std(0, ddof=1) / np.sqrt(draws) / np.maximum(2 * distance, 1e-300)
    return {
        "distance": distance.tolist(),
        "standard error": scatter.tolist(),
        "energy ratio": float(np.mean(energy)) if energy else None,
        "loss": float(np.mean(losses)),
    }


def course_is_exact_for_many_units(lab: Lab) -> Measured:
    r"""The distance of the course of learning from the theory, as a power of N, over several tasks."""
    found, orders, errors, shares, ratios, floors, foretold = _course(lab), {}, {}, {}, {}, {}, {}
    for name, row in found.items():
        units = list(row["sizes"])
        far = np.array([row["sizes"][n]["distance"][-1] for n in units])
        scatter = np.array([row["sizes"][n]["standard error"][-1] for n in units])
        orders[name] = float(np.polyfit(np.log(units), np.log(far), 1)[0])
        # a slope is a sum of logarithms with these coefficients
        centred = np.log(units) - np.mean(np.log(units))
        errors[name] = float(np.linalg.norm(centred * scatter / far) / np.sum(centred**2))
        shares[name] = float(far[-1] / row["moved"])
        # a floor and what sampling adds to it
        design = np.stack([np.ones(len(units)), np.array(units, float) ** -0.5], axis=1)
        floor = float(np.linalg.lstsq(design, far)[0][0])
        floors[name], foretold[name] = floor / float(far[-1]), floor / row["estimated error"]
        ratios[name] = float(far[-1] / far[0] / np.sqrt(units[0] / units[-1]))
    energy = {name: row["sizes"][max(row["sizes"])]["energy ratio"] for name, row in found.items()}
    return Measured(
        {
            "largest_order": max(orders.values()),
            "smallest_order": min(orders.values()),
            "smallest_excess_at_most_units": min(ratios.values()),
            "largest_distance_over_change": max(shares.values()),
            "smallest_floor_over_distance": min(floors.values()),
            "smallest_floor_over_estimate": min(foretold.values()),
            "largest_floor_over_estimate": max(foretold.values()),
            "largest_energy_ratio": max(energy.values()),
        },
        {
            "orders": orders,
            "standard errors of orders": errors,
            "floors over distance": floors,
            "floors over estimate": foretold,
            "distance over change": shares,
            "energy ratios": energy,
            "courses": found,
        },
    )


def first_step_is_exact_for_many_units(lab: Lab) -> Measured:
    """The first velocity of the overlaps of Gaussian networks beside the theory, as a power of N."""
    how = lab.settings.closure
    loss = as_data(_tasks(lab)["flip-flop of strong pulses"], how.trials, rc.stream(lab.key, "first step"))
    rows = {}
    for units in how.units:
        found = []
        for draw in range(8):
            key = rc.stream(lab.key, f"first step {units} {draw}")
            # rows drawn independently, not made to have the overlaps: their sample overlaps go into the theory
            theta = jr.normal(key, (units, RANK1.size), float) @ np.linalg.cholesky(START).T
            found.append(float(ov.closure(theta, loss, key=key).velocity_defect[0]))
        rows[units] = float(np.sqrt(np.mean(np.square(found))))
    order = float(np.polyfit(np.log(list(rows)), np.log(list(rows.values())), 1)[0])
    return Measured({"order": order, "defect_at_most_units": list(rows.values())[-1]}, {"defects": rows})


def effective_activity_is_asymptotic(lab: Lab) -> Measured:
    """Outputs of Gaussian networks of nonlinear units to one input, beside the effective model, as a power of N."""
    how = lab.settings.closure
    loss, rows = as_data(_tasks(lab)["flip-flop of strong pulses"], how.trials, rc.stream(lab.key, "activity")), {}
    said = ov.respond(jnp.asarray(START), RANK1, loss.inputs, loss.dt, PHI)
    for units in how.units:
        errors = []
        for draw in range(8):
            key = rc.stream(lab.key, f"activity {units} {draw}")
            theta = jr.normal(key, (units, RANK1.size), float) @ np.linalg.cholesky(START).T
            outputs = ov.simulated(theta, RANK1, loss.inputs, loss.dt, PHI)
            errors.append(float(jnp.mean((outputs - said) ** 2) / jnp.mean(said**2)))
        rows[units] = float(np.sqrt(np.mean(errors)))
    order = float(np.polyfit(np.log(list(rows)), np.log(list(rows.values())), 1)[0])
    return Measured({"order": order, "error_at_most_units": list(rows.values())[-1]}, {"errors": rows})


def _flip_flop_vectors(lab: Lab, draw: int = 0) -> Float[Array, "n a"]:
    """Weights at random. All units are trained in float32, as networks are: what is asked is good to per cents."""
    key = rc.stream(lab.key, f"flip-flop vectors {draw}")
    return jr.normal(key, (lab.settings.flipflop.units, RANK1.size), jnp.float32)


def _flip_flop_learned(lab: Lab) -> dict[str, Any]:
    """The flip-flop by all units and by the theory, network by network, and by descent in the overlaps themselves."""

    def compute() -> dict[str, Any]:
        how = lab.settings.flipflop
        loss = as_data(flip_flop(lab), how.batch, rc.stream(lab.key, "flip-flop"))
        options: dict[str, Any] = {"steps": how.steps, "layout": RANK1, "every": how.steps // RECORDS}
        thetas = [_flip_flop_vectors(lab, draw) for draw in range(how.draws)]
        starts = [overlaps_of(np.asarray(theta, float)) for theta in thetas]
        duration = how.rate * how.steps
        return {
            "units": [ov.descend_units(loss, theta, how.rate, **options) for theta in thetas],
            "theory": [ov.descend(loss, start, how.rate, **options) for start in starts],
            "direct": ov.control(loss, starts[0], duration=duration, layout=RANK1, samples=RECORDS, rtol=1e-6),
        }

    return lab.once("flip-flop learned", compute)


def reached(loss: Any) -> Float[np.ndarray, " level"]:
    """The share of the steps after which each of `LEVELS` is left of the first loss; all of them where it never is."""
    curve = np.minimum.accumulate(np.asarray(loss, float) / float(loss[0]))
    return np.interp(-np.array(LEVELS), -curve, np.linspace(0, 1, len(curve)))


def loss_curves_match(lab: Lab) -> Measured:
    """When losses of all units and of the theory fall, network by network: of a steep drop, the time is asked."""
    found = _flip_flop_learned(lab)
    pairs = [(np.asarray(a.loss), np.asarray(b.loss)) for a, b in zip(found["units"], found["theory"], strict=True)]
    shifts = [float(np.abs(reached(theory) / reached(units) - 1).max()) for units, theory in pairs]
    return Measured(
        {
            "middle_shift": float(np.median(shifts)),
            "loss_left": float(max(units[-1] / units[0] for units, _ in pairs)),
            "loss_left_of_theory": float(max(theory[-1] / theory[0] for _, theory in pairs)),
        },
        {
            "shifts": shifts,
            "gaps at equal steps": [float(np.abs(units - theory).max() / units[0]) for units, theory in pairs],
            "units": pairs[0][0].tolist(),
            "theory": pairs[0][1].tolist(),
        },
        {"theory": found["theory"][0]},
    )


def direct_descent_is_another(lab: Lab) -> Measured:
    """Descent in the overlaps beside the theory: when their losses fall, and what moves."""
    found = _flip_flop_learned(lab)
    times = {name: reached(found[name][0].loss) for name in ("units", "theory")}
    direct = found["direct"]
    seen = RANK1.visible("gaussian")
    moved = ov.to_pairs(np.asarray(direct.matrix), RANK1)
    shifts = [np.abs(at / times["units"] - 1).max() for at in (reached(direct.loss), times["theory"])]
    return Measured(
        {
            "shift_over_shift_of_theory": float(shifts[0] / shifts[1]),
            "largest_shift": float(shifts[0]),
            "largest_move_of_invisible": float(np.abs(moved[-1] - moved[0])[~seen].max()),
        },
        {"direct": np.asarray(direct.loss).tolist()},
        {"direct": direct},
    )


def effective_model_follows_the_trained_network(lab: Lab) -> Measured:
    """The trained network on fresh trials, beside the effective model of its own overlaps, and the closure tests."""
    found = _flip_flop_learned(lab)
    theta = jnp.asarray(found["units"][0].vectors[-1], float)
    test = as_data(flip_flop(lab), 20, rc.stream(lab.key, "flip-flop test"))
    outputs = np.asarray(ov.simulated(theta, RANK1, test.inputs, test.dt, PHI))
    s = jnp.asarray(overlaps_of(theta))
    said = np.asarray(ov.respond(s, RANK1, test.inputs, test.dt, PHI))
    closure = ov.closure(np.asarray(found["units"][0].vectors[[0, -1]], float), test, key=lab.key)
    return Measured(
        {
            "unexplained_share": float(((outputs - said) ** 2).mean() / (outputs**2).mean()),
            "correlation": float(np.corrcoef(outputs.ravel(), said.ravel())[0, 1]),
            "excess_kurtosis_of_rows": float(closure.row_kurtosis[-1]),
        },
        {
            "kurtosis": dict(zip(RANK1.columns, np.asarray(closure.kurtosis[-1]).tolist(), strict=True)),
            "closure defect": np.asarray(closure.closure_defect).tolist(),
            "energy ratio": np.asarray(closure.energy_ratio).tolist(),
            "trusted": closure.trusted,
        },
        {"closure": closure},
    )


def optimisers_differ(lab: Lab) -> Measured:
    """The flip-flop by descent of two rates and by Adam: learning, the conserved charge, and how Gaussian rows stay."""
    how = lab.settings.flipflop
    loss = ov.TaskLoss(flip_flop(lab), ov.BatchLoss(RANK1, how.dt, PHI), how.batch)
    found = ov.compare_optimisers(
        loss,
        _flip_flop_vectors(lab),
        {"small rate": how.rate, "large rate": how.large_rate, "Adam": optax.adam(how.adam_rate)},
        steps=how.steps,
        layout=RANK1,
        data=jr.split(rc.stream(lab.key, "optimisers"), how.steps),
        every=how.steps // 10,
        regime="gaussian",
    )
    test = as_data(flip_flop(lab), 20, rc.stream(lab.key, "flip-flop test"))
    closure = ov.closure(np.asarray(found.vectors, float), test, key=lab.key)
    moved = np.abs(np.asarray(found.matrix)[:, -1] - np.asarray(found.matrix)[:, 0]).max((1, 2))
    share = found.drift / moved
    return Measured(
        {
            "drift_at_small_rate_over_moves": float(share[0]),
            "drift_at_large_over_small_rate": float(found.drift[1] / found.drift[0]),
            "drift_by_adam_over_small_rate": float(share[2] / share[0]),
            "largest_loss": float(np.asarray(closure.loss).max()),
        },
        {
            "drift": dict(zip(found.members, found.drift.tolist(), strict=True)),
            "kurtosis of rows": dict(zip(found.members, np.asarray(closure.row_kurtosis).tolist(), strict=True)),
            "outside": dict(zip(found.members, np.asarray(found.outside)[:, -1].tolist(), strict=True)),
            "conditions": found.conditions,
        },
    )
