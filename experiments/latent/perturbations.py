"""Kicks and pulses: to neurons that code, to neurons that follow, and along directions of their space."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import optax

import recurvature as rc
from recurvature import latent
from recurvature.app.claims import Measured
from recurvature.systems import LowRank, Network, leaky_rate, simulate
from recurvature.tasks import DelayedAddition

from .settings import Lab
from .theorems import STEP, generator

BIT, SIDE = 100, 20
"""Steps of 5 ms: before a pulse, and of the pulse to redundant neurons (500 to 600 ms of the paper)."""


def _memory(lab: Lab, index: int = 0) -> latent.LatentUnit:
    """A two-bit memory, designed by least squares."""
    units = lab.settings.perturbations.units
    return lab.once(
        f"two bits {index}", lambda: latent.bit_memory(2, units, key=rc.stream(lab.key, f"two bits {index}"))
    )


def _corner(unit: latent.LatentUnit) -> np.ndarray:
    return np.asarray(latent.rollout(unit, np.zeros((1, 300, 2)), np.array([[1.0, -1.0]])).kappa)[0, -1]


def _populations(lab: Lab, index: int = 0) -> latent.LatentUnit:
    how = lab.settings.perturbations
    return latent.redundant_population(_memory(lab, index), how.redundant, key=rc.stream(lab.key, "redundant"))


def _redundant_pulse(lab: Lab) -> latent.BackgroundSweep:
    """The memory on backgrounds of several strengths, with and without a pulse to the redundant neurons."""
    how = lab.settings.perturbations

    def compute() -> latent.BackgroundSweep:
        unit = _populations(lab)
        follows = np.arange(unit.connectivity.size) >= how.units
        return latent.background_sweep(
            rc.cast(unit, jnp.float32),
            np.array([0.0, 0.1, 0.3, 0.5, 1.0, 2.0]),
            key=rc.stream(lab.key, "background"),
            state=_corner(_memory(lab)),
            pulse=3.0 * follows,
            pulse_steps=SIDE,
            before=BIT,
            after=how.after,
            draws=how.draws,
        )

    return lab.once("redundant pulse", compute)


def redundant_neurons_can_be_perturbed(lab: Lab) -> Measured:
    """The largest effect on the latent variables of a pulse to redundant neurons, without a background."""
    found = _redundant_pulse(lab)
    return Measured({"largest_effect": float(np.asarray(found.effect)[0].max())}, {}, {"background": found})


def the_memory_lasts_on_a_background(lab: Lab) -> Measured:
    """The share of draws whose memory lasts on a background twice as strong as the structure, without any pulse."""
    found = _redundant_pulse(lab)
    kept, after = np.asarray(found.kept).mean(1), np.asarray(found.kept_after).mean(1)
    return Measured(
        {
            "share_kept": float(kept[-1]),
            "share_kept_on_a_weak_background": float(kept[1]),
            "smallest_spectral_radius": float(np.asarray(found.spectral_radius)[-1].min()),
            "median_random_over_structured_current": float(np.median(np.asarray(found.residual)[-1])),
        },
        {"ratio": np.asarray(found.ratio).tolist(), "kept": kept.tolist(), "kept_after_pulse": after.tolist()},
    )


def pulses_to_coding_neurons_flip(lab: Lab) -> Measured:
    """How many memories a pulse of one step, and of several, to coding neurons flips."""
    how = lab.settings.perturbations
    flips: dict[int, list[bool]] = {1: [], 10: []}
    reach, needed, expected = [], [], []
    for index in range(how.memories):
        unit = _memory(lab, index)
        corner, signs = _corner(unit), np.sign(np.asarray(unit.embedding)[:, 0])
        reach.append(float(np.abs(np.asarray(unit.encoding)[0] @ signs)))
        needed.append(float(abs(corner[0])))
        against = -3.0 * signs * np.sign(corner[0])
        after = 0.5 * corner + 0.5 * np.asarray(unit.encoding) @ np.tanh(np.asarray(unit.embedding) @ corner + against)
        expected.append(bool(after[0] * corner[0] < 0))
        options: dict[str, Any] = {"key": lab.key, "state": corner, "before": 5, "after": 60, "draws": 1}
        for steps, found in flips.items():
            run = latent.background_sweep(unit, np.array([0.0]), pulse=against, pulse_steps=steps, **options)
            found.append(not bool(np.asarray(run.kept_after)[0, 0]))
    return Measured(
        {
            "share_flipped_in_one_step": float(np.mean(flips[1])),
            "share_flipped_in_ten": float(np.mean(flips[10])),
            "differences_to_prediction": float(np.sum(np.array(expected) != np.array(flips[1]))),
        },
        {"saturated_drive": reach, "needed_for_one_step": needed},
    )


def kicks_move_what_is_read_of_them(lab: Lab) -> Measured:
    """Kicks along every kind of direction: predicted and simulated shifts, and how they scale."""
    unit, rng = _memory(lab), generator(lab, "kicks")
    corner = _corner(unit)
    rates = unit.lift(jnp.asarray(corner))
    directions: dict[str, Any] = dict(latent.perturbation_directions(unit, key=lab.key, kappa=corner))
    size = unit.connectivity.size
    directions |= {f"random {k}": rng.normal(size=size) for k in range(lab.settings.perturbations.kicks)}
    found = latent.perturb(unit, directions, rates=rates, inputs=np.zeros((20, 2)), size=0.1)
    shift = np.asarray(found.shift)
    place = {name: k for k, name in enumerate(found.names)}
    row = float(jnp.linalg.norm(unit.encoding[0]))
    random = [shift[k, 0, 0] for name, k in place.items() if name.startswith("random ")]
    outside = np.asarray(found.outside)[place["orthogonal"]]
    return Measured(
        {
            "largest_difference_to_prediction": float(np.abs(shift[:, 0] - np.asarray(found.predicted)).max()),
            "encoding_kick_over_row_length": float(shift[place["encoding 1"], 0, 0] / (0.1 * row)),
            "random_kick_over_its_law": float(np.sqrt(np.mean(np.square(random))) / (0.1 * row / np.sqrt(size))),
            "largest_shift_by_orthogonal_kick": float(np.abs(shift[place["orthogonal"]]).max()),
            "orthogonal_factor_of_a_step": float((outside[1:] / outside[:-1]).mean()),
        },
        {"persistence": dict(zip(found.names[:6], found.persistence[:6].tolist(), strict=True))},
    )


def kicks_along_the_encoding_persist(lab: Lab) -> Measured:
    """A sum held by a unit of one variable: kicks along its encoding, and to a readout that the unit does not see."""
    units = lab.settings.perturbations.units
    unit = latent.line_memory(2 * units, key=rc.stream(lab.key, "delayed addition"))
    drive = np.zeros((lab.settings.perturbations.hold, 1))
    kappa = jnp.asarray([0.4])
    row = float(jnp.linalg.norm(unit.encoding[0]))
    sizes = np.linspace(-0.5, 0.5, 7)
    sizes = sizes[sizes != 0]
    shifts = []
    for size in sizes:
        found = latent.perturb(
            unit, {"encoding": unit.encoding[0]}, rates=unit.lift(kappa), inputs=drive, size=size / row
        )
        shifts.append(np.asarray(found.shift)[0, -1, 0])
    slope = float(sizes @ shifts / (sizes @ sizes))
    blind = generator(lab, "readout").normal(size=2 * units)
    inside = latent.split(unit, blind)[0]
    hidden = latent.perturb(
        unit, {"readout": blind - inside}, rates=unit.lift(kappa), inputs=drive, size=1.0, decoder=blind[None]
    )
    output = np.asarray(hidden.output)[0, :, 0]
    return Measured(
        {
            "final_shift_over_kick": slope,
            "largest_departure_from_a_line": float(np.abs(np.array(shifts) - slope * sizes).max()),
            "share_of_output_left_after_five_tau": float(abs(output[10] / output[0])),
        },
        {"kicks": sizes.tolist(), "shifts": [float(s) for s in shifts]},
    )


ADDITION, ADDERS = DelayedAddition(dt=STEP), 64
"""The task, and units: as many as its recipe has."""
PULSE, SECOND, KICKED, DUE, END = 2, 20, 30, 60, 80
"""Steps: of a pulse, to the second one, to the kick, and of the report."""
FORGOTTEN = 10
"""Steps after which rates have forgotten a kick by themselves: five time constants, at half a step each."""


def _adding(lab: Lab, index: int) -> Network:
    """A network of rank 1 that has learnt delayed addition."""
    how = lab.settings.perturbations
    key = rc.stream(lab.key, f"addition {index}")
    network = leaky_rate(ADDERS, inputs=1, outputs=1, key=key, dt=STEP, gain=1.0, rank=1)
    low = network.system.flow.connectivity  # type: ignore[attr-defined]
    # what a neuron drives is what it reads: the variable begins near the edge of keeping its value
    aligned = LowRank(low.left, low.left / jnp.mean(low.left**2), low.normalisation)
    started = eqx.tree_at(lambda net: net.system.flow.connectivity, network, aligned)
    rate = optax.cosine_decay_schedule(3e-3, how.addition_steps)
    fitted = lab.fit(f"addition {index}", started, ADDITION, steps=how.addition_steps, batch=32, learning_rate=rate)
    return rc.cast(fitted.network, float)


def _share_explained(network: Network, key: Any) -> float:
    """R² of reports on trials of the task."""
    trials = ADDITION.trials(key, 200)
    wanted, due = np.asarray(trials.targets), np.asarray(trials.mask) > 0
    given = np.asarray(simulate(network, jnp.asarray(trials.inputs, float)).outputs)
    return float(1 - np.mean((given - wanted)[due] ** 2) / np.var(wanted[due]))


def _kicked_additions(network: Network) -> dict[str, float]:
    """What kicks while a network waits do to its report, in units of what pulses do to it."""
    unit, sums = latent.LatentUnit(network.system.flow, STEP), np.linspace(-1, 1, 9)  # type: ignore[attr-defined]
    inputs = np.zeros((len(sums), END, 1))
    for start in (0, SECOND):
        inputs[:, start : start + PULSE, 0] = sums[:, None] / 2
    told = simulate(network, jnp.asarray(inputs))
    # the readout without its offset: of differences between runs nothing else is left
    decoder = np.asarray(network.readout.weight)  # type: ignore[attr-defined]
    reports = np.asarray(told.outputs)[:, DUE:, 0].mean(1)
    states = np.asarray(told.states)[:, KICKED - 1]
    row = np.asarray(unit.encoding)[0]
    step = np.polyfit(sums, states @ row, 1)[0] / np.linalg.norm(row)
    rest: dict[str, Any] = {"rates": states[len(sums) // 2], "inputs": np.zeros((END - KICKED, 1)), "decoder": decoder}
    output = lambda along, size: np.asarray(latent.perturb(unit, {"kick": along}, size=size, **rest).output)[0, :, 0]  # noqa: E731
    kicks = sums[sums != 0]
    courses = np.array([output(row, size) for size in kicks * step])
    late, early = courses[:, DUE - KICKED + 1 :].mean(1), courses[:, FORGOTTEN]
    hidden = output(decoder[0] - latent.split(unit, decoder[0])[0], 1.0)
    return {
        "of_pulses": float((late @ kicks / (kicks @ kicks)) / np.polyfit(sums, reports, 1)[0]),
        "line": float(np.corrcoef(late, kicks)[0, 1] ** 2),
        "lasts": float(np.linalg.norm(late) / np.linalg.norm(early)),
        "hidden": float(abs(hidden[FORGOTTEN] / hidden[0])),
    }


def learnt_sums_are_kept_through_kicks(lab: Lab) -> Measured:
    """Networks of one variable that learnt to add: kicks along the encoding, and to what the encoding does not see."""
    networks = [_adding(lab, index) for index in range(lab.settings.perturbations.additions)]
    found = [_kicked_additions(network) for network in networks]
    columns = {name: [each[name] for each in found] for name in found[0]}
    explained = [_share_explained(network, rc.stream(lab.key, "sums")) for network in networks]
    return Measured(
        {
            "least_share_explained": min(explained),
            "shift_over_that_of_pulses": max(columns["of_pulses"], key=lambda ratio: abs(ratio - 1)),
            "least_share_on_a_line": min(columns["line"]),
            "least_share_that_lasts": min(columns["lasts"]),
            "share_of_output_left_after_five_tau": max(
                columns["hidden"], key=lambda left: abs(left - (1 - STEP) ** FORGOTTEN)
            ),
        },
        {"explained": explained, **columns},
    )
