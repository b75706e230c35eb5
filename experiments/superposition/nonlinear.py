"""Relu recurrences, several features, several dimensions, and delays that are told by a cue."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

import recurvature as rc
from recurvature import superposition
from recurvature.app.claims import Measured
from recurvature.systems import Network

from .networks import SPARSE, Lab, best_exactly, planar, trained

IMPORTANCE = (1.0, 0.8, 0.6, 0.4, 0.2)
CUES = (1, 2, 3)


def _relu(lab: Lab, delay: int) -> superposition.Census:
    how, steps = lab.settings.relu, delay + 14
    population = superposition.random_population(
        2, delays=(delay,), seeds=how.seeds, kind="nonlinear", key=rc.stream(lab.key, "relu")
    )
    loss = superposition.recall_loss(SPARSE, steps=steps, trials=how.trials, stationary=False)
    return trained(lab, f"relu {delay}", population, loss, how.steps)


def relu_recurrences_forget_sharply(lab: Lab) -> Measured:
    """The best relu networks: what they read of younger and later ages, and their loss beside linear recurrences."""
    rows: dict[int, Any] = {}
    for delay in lab.settings.relu_delays:
        census = _relu(lab, delay)
        best = census.best(delay)
        weights = rc.cast(census.population.weights(best), float)
        a = np.asarray(superposition.projections(weights, 2 * delay + 6, phi="relu"))[:, 0, 0]
        linear = best_exactly(planar(lab, SPARSE), delay, SPARSE)[0]
        least = superposition.spiral_optimum(delay, SPARSE, "sparse", points=2048).loss
        rows[delay] = {
            "younger": float(np.maximum(a[:delay], 0).max() / a[delay]),
            "tail": float((np.maximum(a[delay + 1 :], 0) ** 2).sum() / a[delay] ** 2),
            "loss over trained linear": float(census.loss[best]) / linear,
            "loss over least linear": float(census.loss[best]) / least,
            "relative error": float(census.standard_error[best] / census.loss[best]),
            "response": a.tolist(),
            "near best": census.near_best(delay),
            "dead": float((np.asarray(census.status) == 1).mean()),
        }
    longest = rows[max(rows)]
    return Measured(
        {
            "largest_younger_projection": max(row["younger"] for row in rows.values()),
            "largest_tail": max(row["tail"] for row in rows.values()),
            "loss_over_trained_linear_at_longest_delay": longest["loss over trained linear"],
            "loss_over_least_linear_at_longest_delay": longest["loss over least linear"],
        },
        {str(delay): row for delay, row in rows.items()},
    )


def _many(lab: Lab) -> superposition.Census:
    how = lab.settings.many
    population = superposition.random_population(
        2, delays=(0, 1, 2, 3), seeds=how.seeds, features=5, key=rc.stream(lab.key, "many")
    )
    loss = superposition.recall_loss(
        SPARSE, steps=16, trials=how.trials, features=5, importance=jnp.asarray(IMPORTANCE)
    )
    return trained(lab, "many", population, loss, how.steps)


def fewer_features_are_stored_at_longer_delays(lab: Lab) -> Measured:
    """How many of five features of falling importance are stored in two units, by delay, and how nearly in full."""
    census = _many(lab)
    stored = {delay: np.asarray(census.stored)[:, census.best(delay)] for delay in range(4)}
    off = {delay: float(np.minimum(np.abs(row), np.abs(row - 1)).max()) for delay, row in stored.items()}
    counts = {delay: int((row > 0.5).sum()) for delay, row in stored.items()}
    return Measured(
        {
            **{f"stored_at_delay_{delay}": float(count) for delay, count in counts.items()},
            "largest_rise_with_delay": float(np.diff(list(counts.values())).max()),
            "largest_distance_from_all_or_none": max(off.values()),
            "largest_distance_but_at_delay_2": max(value for delay, value in off.items() if delay != 2),
            "part_minus_full_in_standard_errors": _part_over_full(lab, census),
        },
        {"stored": {str(delay): row.tolist() for delay, row in stored.items()}},
    )


def _part_over_full(lab: Lab, census: superposition.Census) -> float:
    """At delay 2: the best network's loss less that of the best which stores in full or not, on common samples."""
    places = census.places(2)
    stored = np.asarray(census.stored)[:, places]
    whole = np.minimum(np.abs(stored), np.abs(stored - 1)).max(0) < 0.05
    if not whole.any():
        return float("nan")
    full = int(places[whole][np.asarray(census.selection)[places[whole]].argmin()])
    key, importance = rc.stream(lab.key, "part or full"), jnp.asarray(IMPORTANCE, jnp.float32)
    errors = [
        np.asarray(
            superposition.sampled_loss(
                census.population.network(place),
                steps=18,
                delay=2,
                density=SPARSE,
                importance=importance,
                trials=2**15,
                key=key,
            ).errors
        )
        for place in (census.best(2), full)
    ]
    apart = errors[0] - errors[1]
    return float(apart.mean() / (apart.std(ddof=1) / np.sqrt(len(apart))))


def higher_dimensions_use_it_too(lab: Lab) -> Measured:
    """Projections of features of age k and of all others, in networks of several sizes."""
    rows: dict[str, Any] = {}
    how = lab.settings.wide
    for units, features in lab.settings.sizes:
        # a large network takes the time of many small ones: 800 units in all, but eight networks or more
        seeds = min(how.seeds, max(8, 800 // units))
        population = superposition.random_population(
            units, delays=(2,), seeds=seeds, features=features, key=rc.stream(lab.key, "wide")
        )
        loss = superposition.recall_loss(SPARSE, steps=12, trials=how.trials, features=features)
        census = trained(lab, f"wide {units} {features}", population, loss, how.steps)
        best = census.best(2)
        a = np.asarray(superposition.projections(census.population.weights(best), 12), float)
        own, others = np.diag(a[2]), np.delete(a, 2, axis=0)
        rows[f"{units} units, {features} features"] = {
            "own": [float(own.min()), float(own[own > 0.5].min(initial=np.inf)), float(own.mean())],
            "stored over units": float((own > 0.5).sum() / units),
            "younger": float(a[:2].mean()),
            "others": float(others.mean()),
            "stored": int((own > 0.5).sum()),
            "loss": float(census.loss[best]),
        }
    return Measured(
        {
            "smallest_own_projection_of_stored": min(row["own"][1] for row in rows.values()),
            "fewest_stored_over_units": min(row["stored over units"] for row in rows.values()),
            "largest_mean_of_other_ages": max(row["others"] for row in rows.values()),
            "largest_mean_of_younger_ages": max(row["younger"] for row in rows.values()),
            "smallest_rise_of_stored_with_units": float(np.diff([row["stored"] for row in rows.values()]).min()),
        },
        rows,
    )


def cued_delays_keep_several_ages(lab: Lab) -> Measured:
    """Which age gated networks read out under each cue, beside networks of one delay."""
    several, one = _cued(lab, CUES), _cued(lab, CUES[1:2])
    under = [[_read(network, CUES, cue) for cue in range(len(CUES))] for network in several]
    fixed = [_read(network, CUES[1:2], 0) for network in one]
    own = [[row[k] for row, k in zip(rows, CUES, strict=True)] for rows in under]
    right = [[int(np.argmax(row)) == k for row, k in zip(rows, CUES, strict=True)] for rows in under]
    others = [np.delete(row, CUES[1]) for row in fixed]
    return Measured(
        {
            "share_of_cues_whose_age_is_read_most": float(np.mean(right)),
            "smallest_projection_of_cued_age": float(np.min(own)),
            "largest_other_age_of_fixed_delay": float(np.abs(others).max()),
        },
        {"under each cue": np.asarray(under).round(3).tolist(), "fixed": np.asarray(fixed).round(3).tolist()},
    )


def _task(delays: tuple[int, ...]) -> rc.tasks.Recall:
    return rc.tasks.Recall(delay_steps=delays, steps=12, density=0.3)


def _cued(lab: Lab, delays: tuple[int, ...]) -> list[Network]:
    how, task = lab.settings.cued, _task(delays)
    make = lambda key: rc.systems.gru(12, inputs=task.input_size, outputs=1, key=key)  # noqa: E731
    rate = optax.cosine_decay_schedule(1e-2, how.steps)
    name = f"cued {'-'.join(map(str, delays))}"
    fitted = lab.fit_ensemble(name, make, task, seeds=how.seeds, steps=how.steps, batch=how.trials, learning_rate=rate)
    return lab.members(fitted)


def _read(network: Network, delays: tuple[int, ...], cue: int) -> np.ndarray:
    """The mean projection of every age of the feature in trials of one cue."""
    inputs = np.asarray(_task(delays).trials(rc.key(0), 96).inputs, float)
    chosen = inputs if len(delays) == 1 else inputs[inputs[:, 0, 1 + cue] == 1]
    return np.asarray(superposition.trajectory_directions(network, chosen, ages=7).projection)[:, 0, 0]
