"""Drift of tuning: orders of its effects, and how much of it a memory of three bits tolerates."""

from typing import Any

import jax.numpy as jnp
import numpy as np

import recurvature as rc
from recurvature import latent
from recurvature.app.claims import Measured
from recurvature.systems import Euler, LinearReadout, Network, simulate
from recurvature.tasks.base import Trials

from .settings import Lab

KINDS = ("random", "orthogonal", "tangential")
BITS = 3
NOISE = 0.1
"""Standard deviation of the noise inside the activation."""
SMALL = 1000
"""The largest number of neurons whose drift is drawn more often."""


def memory(lab: Lab) -> latent.LatentUnit:
    """A three-bit memory of the base size, designed by least squares: nothing was trained."""
    how = lab.settings.drift
    # a stiffer fit than the usual one: every corner is far from losing its state, so that shifts are small ones
    design = lambda: latent.bit_memory(BITS, how.units, key=rc.stream(lab.key, "three bits"), ridge=1e-3)  # noqa: E731
    return lab.once("three bits", design)


def corners(lab: Lab, unit: latent.LatentUnit) -> np.ndarray:
    """The eight states at rest, found by running from the corners of the cube."""
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * BITS)).reshape(BITS, -1).T
    return _settled(unit, signs)


def _settled(unit: latent.LatentUnit, starts: Any, steps: int = 400) -> np.ndarray:
    return np.asarray(latent.rollout(unit, np.zeros((len(starts), steps, BITS)), starts).kappa)[:, -1]


def _slopes(sizes: np.ndarray, values: np.ndarray) -> float:
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def first_order_misses_second_order(lab: Lab) -> Measured:
    """What the recursion of the first-order source leaves of the true difference, as drift gets smaller."""
    unit, inputs = memory(lab), np.zeros((60, BITS))
    inputs[5], inputs[25, 1] = [1, -1, 1], 1
    shares, orders = 2.0 ** -np.arange(4), {}
    states = corners(lab, unit)
    kinds: tuple[Any, ...] = (*KINDS, "jacobian-orthogonal")
    for kind in kinds:
        change = latent.drift_direction(unit, kind, key=rc.stream(lab.key, kind), states=states)
        missed = []
        for share in shares:
            found = latent.drift_deviation(unit, lab.settings.drift.small * share * change, inputs, np.zeros(BITS))
            missed.append(np.abs(np.asarray(found.exact) - np.asarray(found.first_order)).max())
        orders[kind] = _slopes(shares, np.array(missed))
    off = max(orders.values(), key=lambda order: abs(order - 2))
    return Measured({"order_farthest_from_two": off}, {"orders": orders})


def _shift_orders(lab: Lab) -> dict[str, Any]:
    """Orders in the strength of the shift of stored states, and of what two readouts see of it."""

    def compute() -> dict[str, Any]:
        unit = memory(lab)
        states = corners(lab, unit)
        decoder = np.random.default_rng(0).normal(size=(2, unit.connectivity.size))
        decoders = {"generic": decoder, "robust": np.asarray(latent.drift_robust_decoder(unit, decoder))}
        found: dict[str, Any] = {}
        kinds: tuple[Any, ...] = (*KINDS, "jacobian-orthogonal")
        for kind in kinds:
            change = latent.drift_direction(unit, kind, key=rc.stream(lab.key, kind), states=states)
            found[kind] = _orders(unit, states, change, lab.settings.drift.small, decoders)
        return found

    return lab.once("orders of shifts", compute)


def _orders(
    unit: latent.LatentUnit, states: np.ndarray, direction: Any, small: float, decoders: dict[str, np.ndarray]
) -> dict[str, float]:
    strengths = small * 2.0 ** -np.arange(3)
    shifts: dict[str, list[float]] = {"state": [], "generic": [], "robust": []}
    before = np.asarray(unit.lift(jnp.asarray(states)))
    for strength in strengths:
        moved = latent.drifted(unit, direction, float(strength))
        later = _settled(moved, states)
        rates = np.asarray(moved.lift(jnp.asarray(later)))
        shifts["state"].append(float(np.abs(later - states).max()))
        for name, decoder in decoders.items():
            shifts[name].append(float(np.abs((rates - before) @ decoder.T).max()))
    source = np.asarray(latent.drift_source(unit, direction, states))
    orders = {name: _slopes(strengths, np.array(values)) for name, values in shifts.items()}
    return orders | {"source": float(np.sqrt(np.mean(source**2)))}


def weighted_drift_is_harmless_to_first_order(lab: Lab) -> Measured:
    """The shift of stored states under drift orthogonal to the encoding weighted by the gains at these states."""
    found = _shift_orders(lab)
    return Measured({"order": found["jacobian-orthogonal"]["state"]}, {"orders": found})


def orthogonal_drift_is_harmless_to_first_order(lab: Lab) -> Measured:
    """The same under drift orthogonal to the encoding alone, and what becomes of the origin."""
    found, unit = _shift_orders(lab), memory(lab)
    drift = latent.drift_direction(unit, "orthogonal", key=rc.stream(lab.key, "orthogonal"))
    strong = latent.drifted(unit, drift, 10.0)
    n = np.asarray(unit.encoding)
    # all gains are one at the origin of units without bias
    change = n @ np.asarray(strong.embedding) - n @ np.asarray(unit.embedding)
    return Measured(
        {
            "order": found["orthogonal"]["state"],
            "source_over_that_of_random": found["orthogonal"]["source"] / found["random"]["source"],
            "largest_change_of_jacobian_at_origin": float(np.abs(change).max()),
        },
        {"orders": {kind: values["state"] for kind, values in found.items()}},
    )


def decoders_of_latents_are_robust(lab: Lab) -> Measured:
    """Order of what decoders with and without CP = C see of weighted drift."""
    found = _shift_orders(lab)["jacobian-orthogonal"]
    return Measured({"order_for_robust": found["robust"], "order_for_generic": found["generic"]})


def _trials(lab: Lab) -> Trials:
    how = lab.settings.drift
    return rc.tasks.FlipFlop(bits=BITS, steps=how.steps).trials(rc.stream(lab.key, "flip-flop"), how.trials)


def _strengths(lab: Lab) -> np.ndarray:
    return np.geomspace(0.01, 20.0, lab.settings.drift.strengths)


def _sweeps(lab: Lab) -> list[latent.DriftSweep]:
    """One sweep for every number of neurons: the memory, tiled, in float32."""
    how = lab.settings.drift
    options: dict[str, Any] = {"kinds": KINDS, "observed": how.units, "noise": NOISE}

    def one(size: int) -> latent.DriftSweep:
        unit = rc.cast(latent.tile(memory(lab), size // how.units), jnp.float32)
        more: dict[str, Any] = {
            "restarts": how.restarts_of_small if size <= SMALL else how.restarts,
            "key": rc.stream(lab.key, f"sweep of {size}"),
            "report": lab.named(f"drift of {size} neurons"),
        }
        return latent.drift_sweep(unit, _trials(lab), _strengths(lab), **options, **more)

    return lab.once("drift sweeps", lambda: [one(size) for size in how.sizes])


def _without_end(lab: Lab) -> float:
    """Tolerated strength when every neuron has endless copies that drift apart, each with its own noise."""
    how, unit = lab.settings.drift, memory(lab)
    trials, strengths = _trials(lab), _strengths(lab)
    wanted, counts = np.sign(np.asarray(trials.targets)), np.asarray(trials.mask) > 0
    accuracy = []
    for strength in (0.0, *strengths.tolist()):
        flow = Euler(latent.drift_limit(unit, strength, noise=NOISE), 0.5)
        network = Network(flow, LinearReadout(jnp.eye(BITS)), jnp.zeros(BITS))
        outputs = np.asarray(simulate(network, trials.inputs).outputs)
        accuracy.append(((wanted == 0) | (np.sign(outputs) == wanted)).all(-1)[counts].mean())
    table = np.array(accuracy)[None, :, None]
    made = latent.DriftSweep(
        np.concatenate([[0.0], strengths]), table, None, None, ("random",), how.units, BITS, None, 0.0
    )
    return float(np.asarray(latent.drift_tolerance(made).tolerance)[0])


def tolerated_drift_grows_with_size(lab: Lab) -> Measured:
    """Tolerated strength of every kind of drift, against the number of neurons."""
    sweeps = _sweeps(lab)
    fits = [latent.drift_tolerance(sweep) for sweep in sweeps]
    table = np.array([np.asarray(fit.tolerance) for fit in fits])
    random, orthogonal, tangential = np.log10(table).T
    decades = np.diff(np.log10([sweep.neurons for sweep in sweeps]))
    limit = _without_end(lab)
    lead = 10 ** (orthogonal - random)
    return Measured(
        {
            "random_growth_exponent": float((np.diff(random) / decades)[0]),
            "random_over_limit": float(table[-1, 0] / limit),
            "tangential_change_in_decades": float(tangential[-1] - tangential[0]),
            "orthogonal_over_random_in_the_smallest": float(lead[0]),
            "smallest_orthogonal_over_random": float(lead.min()),
            "lead_of_orthogonal_lost": float(lead[0] / lead[-1]),
            "smallest_random_over_tangential": float(10 ** (random - tangential).min()),
            "baseline": float(min(np.asarray(fit.baseline).min() for fit in fits)),
        },
        {
            "neurons": [sweep.neurons for sweep in sweeps],
            "limit": limit,
            "tolerance": table.tolist(),
            "low": [np.asarray(fit.low).tolist() for fit in fits],
            "high": [np.asarray(fit.high).tolist() for fit in fits],
            "where": [[fit.statuses[code] for code in np.asarray(fit.status)] for fit in fits],
            "accuracy": [np.asarray(sweep.accuracy).mean(-1).tolist() for sweep in sweeps],
            "regressed": [np.asarray(sweep.regressed_accuracy).mean(-1).tolist() for sweep in sweeps],
        },
        {"largest": sweeps[-1], "tolerance": fits[-1]},
    )


def memories_are_seen_in_a_hundred_neurons(lab: Lab) -> Measured:
    """Tolerated drift of what a hundred neurons show, rescaled and regressed, beside that of the memory itself."""
    sweeps, read = _sweeps(lab), KINDS.index("tangential")
    fits = {
        name: [latent.drift_tolerance(s, readout=name) for s in sweeps] for name in ("all", "observed", "regressed")
    }
    # tangential drift is read in full by any part: what is left are the two kinds that many neurons average
    table = {name: np.array([np.asarray(fit.tolerance)[:read] for fit in each]) for name, each in fits.items()}
    baselines = {name: np.array([np.asarray(fit.baseline)[0] for fit in each]) for name, each in fits.items()}
    seen = np.stack([table["observed"], table["regressed"]])
    between = table["regressed"] / table["observed"]
    return Measured(
        {
            "smallest_baseline_over_own": float((baselines["observed"] / baselines["all"]).min()),
            "largest_over_own_in_the_largest": float((seen[:, -1] / table["all"][-1]).max()),
            "smallest_over_a_network_of_a_hundred": float((seen[:, 1:] / table["all"][0]).min()),
            "regressed_over_rescaled": float(between.ravel()[np.abs(np.log(between)).argmax()]),
        },
        {
            "neurons": [sweep.neurons for sweep in sweeps],
            "kinds": KINDS[:read],
            **{name: each.tolist() for name, each in table.items()},
        },
    )


def tuning_changes_while_the_memory_lasts(lab: Lab) -> Measured:
    """How many neurons change the bits that they code, at the strongest orthogonal drift that costs next to nothing."""
    sweep, how = _sweeps(lab)[-1], lab.settings.drift
    accuracy = np.asarray(sweep.accuracy)[KINDS.index("orthogonal")].mean(-1)
    safe = max(1, int(np.flatnonzero(accuracy >= 0.95 * accuracy[0])[-1]))
    strength = float(np.asarray(sweep.strength)[safe])
    unit, key = latent.tile(memory(lab), sweep.neurons // how.units), rc.stream(lab.key, "groups")
    # on trials and under drift that did not choose the strength
    trials = rc.tasks.FlipFlop(bits=BITS, steps=how.steps).trials(rc.stream(key, "flip-flop"), how.trials)
    options: dict[str, Any] = {"kinds": ("orthogonal",), "restarts": how.restarts, "noise": NOISE, "key": key}
    again = latent.drift_sweep(rc.cast(unit, jnp.float32), trials, np.array([strength]), **options)
    left = np.asarray(again.accuracy)[0].mean(-1)
    drift = latent.drift_direction(unit, "orthogonal", key=rc.stream(key, "restart 0"))
    kept = float(latent.groups_kept(unit, drift, np.array([strength]))[0])
    before, after = latent.coding_groups(unit), latent.coding_groups(latent.drifted(unit, drift, strength))
    chance = sum(float(np.mean(before == group) * np.mean(after == group)) for group in range(2**BITS))
    return Measured(
        {"accuracy_left": float(left[1] / left[0]), "way_to_unrelated_groups": (1 - kept) / (1 - chance)},
        {"strength": strength, "share_that_keeps_its_group": kept, "share_by_chance": chance},
    )
