"""Linear units: activity and learning in overlaps, the filter, the oscillator, the Gram matrix, what flow keeps."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import recurvature as rc
from recurvature import overlaps as ov
from recurvature.app.claims import Measured
from recurvature.systems import simulate

from .settings import (
    RANK1,
    RANK2,
    A,
    Lab,
    filter_loss,
    filter_task,
    named,
    on_impulses,
    oscillator_loss,
    oscillator_task,
    overlaps_of,
    random_vectors,
    two_networks,
)

SMALL = 7
"""Units of the network whose Jacobian is written out: more than vectors, or overlaps would not be free."""


def effective_model_is_exact(lab: Lab) -> Measured:
    """Outputs to noise of all units, multiplied out, beside those of the effective model, for ranks 1 and 2."""
    errors = []
    for layout in (RANK1, RANK2):
        theta = random_vectors(lab, layout, lab.settings.linear.units, f"effective model {layout.rank}")
        network = ov.assemble(theta, layout, dt=lab.settings.linear.dt)
        inputs = jr.normal(rc.stream(lab.key, "effective model inputs"), (1, 200, 1), float)
        outputs = np.asarray(simulate(network, inputs).outputs)[0]
        said = np.asarray(ov.respond(jnp.asarray(overlaps_of(theta)), layout, inputs[0], lab.settings.linear.dt))
        errors.append(float(np.abs(outputs - said).max() / np.abs(outputs).max()))
    return Measured({"largest_relative_difference": max(errors)}, {"by_rank": errors})


def learning_closes(lab: Lab) -> Measured:
    """Descent of all units on an impulse, differentiated through all of them, beside the map of the overlaps."""
    found = lab.once("learning closes", lambda: [_side_by_side(lab, layout) for layout in (RANK1, RANK2)])
    return Measured(
        {
            "largest_relative_difference": max(each["overlaps"] for each in found),
            "largest_difference_of_weights": max(each["weights"] for each in found),
            "largest_relative_difference_of_losses": max(each["loss"] for each in found),
        },
        {"rank 1": found[0], "rank 2": found[1]},
    )


def _side_by_side(lab: Lab, layout: ov.Layout) -> dict[str, float]:
    how = lab.settings.linear
    task = filter_task(lab) if layout == RANK1 else oscillator_task(lab)
    loss = on_impulses(task, layout)
    theta = random_vectors(lab, layout, how.units, f"side by side {layout.rank}")
    # the mean square is the loss of the paper over the duration
    options: dict[str, Any] = {"steps": how.compared, "layout": layout, "every": how.compared // 10}
    units = ov.descend_units(loss, theta, how.rate * how.duration, **options)
    said = ov.descend(loss, overlaps_of(theta), how.rate * how.duration, **options)
    scale = np.maximum(np.abs(units.matrix), 1e-2)
    return {
        "overlaps": float((np.abs(said.matrix - units.matrix) / scale).max()),
        "weights": float(np.abs(np.asarray(ov.recover(theta, said)) - units.vectors[-1]).max()),
        "loss": float(np.abs(said.loss / units.loss - 1).max()),
    }


def filter_is_learned(lab: Lab) -> Measured:
    """The impulse response after training on impulses and on white noise, and the overlaps that it comes from."""
    how, rows = lab.settings.linear, {}
    start = two_networks(lab)["network 1"]
    for kind in ("impulse", "white"):
        loss = filter_loss(lab, A, kind)
        learning = ov.descend(loss, start, how.rate, steps=how.steps, layout=RANK1, every=how.steps // 100)
        task, last = filter_task(lab), jnp.asarray(learning.matrix[-1])
        response = np.asarray(ov.kernel(last, RANK1, task.steps, how.dt))[:, 0, 0]
        error = np.abs(response - task.kernel(np.arange(task.steps) * how.dt)).max()
        rows[kind] = {"error": float(error), "loss": float(learning.loss[-1]), **named(last)}
        if kind == "impulse":
            results, losses = {"learning": learning}, np.asarray(learning.loss)
    recurrence = 1 - (1 - np.exp(-A * how.dt)) / how.dt
    wanted = {"z·m": 1.0, "v·u": recurrence}
    far = [abs(row[name] - value) for row in rows.values() for name, value in wanted.items()]
    far += [abs(row["z·u"] * row["v·m"] - recurrence) for row in rows.values()]
    # per record; the plateau comes before the drop, and not as the loss runs out
    fall = np.abs(np.diff(np.log(losses[losses > 1e-6])))
    plateau = fall[: fall.argmax() + 1].min()
    return Measured(
        {
            "largest_error_of_the_response": max(row["error"] for row in rows.values()),
            "largest_error_of_function": max(far),
            "plateau_over_drop": float(plateau / fall.max()),
        },
        rows,
        results,
    )


def flow_is_the_limit(lab: Lab) -> Measured:
    """How far descent is from flow at equal rate times steps, for three rates, each half of the one before."""
    start, loss = two_networks(lab)["network 1"], filter_loss(lab, A)
    duration, rates = 4.0, (2e-3, 1e-3, 5e-4)
    limit = ov.flow(loss, start, duration=duration, layout=RANK1, samples=20)
    far = []
    for rate in rates:
        steps = round(duration / rate)
        learning = ov.descend(loss, start, rate, steps=steps, layout=RANK1, every=steps // 20)
        far.append(float(np.abs(learning.matrix - limit.matrix).max()))
    slope = float(np.polyfit(np.log(rates), np.log(far), 1)[0])
    return Measured({"order_in_the_rate": slope, "largest_difference": far[0]}, {"rates": rates, "differences": far})


def flow_keeps_invariants(lab: Lab) -> Measured:
    """The spectrum of JS and the charge along flow, and how descent moves them, rate by rate: a whole training."""
    start, loss, how = two_networks(lab)["network 2"], filter_loss(lab, A), lab.settings.linear
    duration, rates = how.first_steps * how.rate, (2e-3, 1e-3, 5e-4)
    kept = ov.invariants(ov.flow(loss, start, duration=duration, layout=RANK1, samples=60))
    moved = []
    for rate in rates:
        steps = round(duration / rate)
        learning = ov.descend(loss, start, rate, steps=steps, layout=RANK1, every=steps)
        moved.append(float(ov.invariants(learning).drift[-1]))
    slope = float(np.polyfit(np.log(rates), np.log(moved), 1)[0])
    return Measured(
        {"largest_drift_of_flow": float(kept.drift.max()), "order_in_the_rate": slope},
        {"drift": moved, "rates": rates},
        {"invariants": kept},
    )


def gram_of_linear_units(lab: Lab) -> Measured:
    """The Gram matrix beside Jacobians multiplied out, and which overlaps stand where in its visible columns."""
    seen = RANK1.visible("linear")
    where = _coefficients(RANK1)[:, seen]
    return Measured(
        {
            "largest_difference": _gram_error(lab, RANK1),
            "visible_overlaps_in_visible_rows": int(where[seen][..., seen].any((0, 1)).sum()),
            "invisible_overlaps_in_invisible_rows": int(where[~seen][..., ~seen].any((0, 1)).sum()),
            "invisible_overlaps_in_visible_rows": int(where[seen][..., ~seen].any((0, 1)).sum()),
        },
        {"visible": [name for name, shown in zip(RANK1.names, seen, strict=True) if shown]},
    )


def gram_of_nonlinear_units(lab: Lab) -> Measured:
    """The same for the visible overlaps of nonlinear units, where the two kinds mix."""
    seen = RANK1.visible("gaussian")
    where = _coefficients(RANK1)[:, seen]
    return Measured(
        {
            "largest_difference": _gram_error(lab, RANK2),
            "visible_overlaps_in_visible_rows": int(where[seen][..., seen].any((0, 1)).sum()),
            "invisible_overlaps_in_visible_rows": int(where[seen][..., ~seen].any((0, 1)).sum()),
        }
    )


def _coefficients(layout: ov.Layout) -> Any:
    """Which overlaps (last axis) enter each entry of the Gram matrix: it is linear in them."""
    units = []
    for i, j in layout.pairs:
        unit = np.zeros((layout.size, layout.size))
        unit[i, j] = unit[j, i] = 1
        units.append(ov.gram(unit, layout) != 0)
    return np.stack(units, axis=-1)


def _gram_error(lab: Lab, layout: ov.Layout) -> float:
    theta = random_vectors(lab, layout, SMALL, "Gram matrix")

    def overlaps(vectors: Any) -> Any:
        return ov.to_pairs(vectors.T @ vectors / SMALL, layout)

    jacobian = np.asarray(jax.jacrev(overlaps)(theta)).reshape(len(layout.names), -1)
    return float(np.abs(SMALL * jacobian @ jacobian.T - ov.gram(overlaps_of(theta), layout)).max())


def oscillator_has_21_overlaps(lab: Lab) -> Measured:
    """Visible and invisible overlaps of rank 2, counted; and that the loss does not see the invisible ones."""
    loss, seen = oscillator_loss(lab), RANK2.visible("linear")
    start = overlaps_of(random_vectors(lab, RANK2, lab.settings.linear.units, "oscillator"))
    gamma = ov.to_pairs(np.asarray(ov.symmetric_gradient(loss, jnp.asarray(start))), RANK2)
    return Measured(
        {
            "visible": int(seen.sum()),
            "invisible": int((~seen).sum()),
            "largest_gradient_of_invisible": float(np.abs(gamma[~seen]).max()),
        }
    )


def oscillator_is_learned(lab: Lab) -> Measured:
    """The impulse response of rank 2 after training on the oscillator."""
    how, loss, task = lab.settings.linear, oscillator_loss(lab), oscillator_task(lab)
    start = overlaps_of(random_vectors(lab, RANK2, how.units, "oscillator"))
    every = how.oscillator_steps // 100
    learning = ov.descend(loss, start, how.oscillator_rate, steps=how.oscillator_steps, layout=RANK2, every=every)
    response = np.asarray(ov.kernel(jnp.asarray(learning.matrix[-1]), RANK2, task.steps, how.dt))[:, 0, 0]
    error = np.abs(response - task.kernel(np.arange(task.steps) * how.dt)).max()
    return Measured(
        {
            "error_of_the_response": float(error),
            "loss_left": float(learning.loss[-1] / learning.loss[0]),
            "loss_left_after_1000_steps": float(learning.loss[1000 // every] / learning.loss[0]),
        },
        {"overlaps": named(learning.matrix[-1], RANK2)},
        {"learning": learning},
    )
