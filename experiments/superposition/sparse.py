"""Rectified readouts: the free half-space, the transition, untied readouts, and features without delay."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

import recurvature as rc
from recurvature import superposition
from recurvature.app.claims import Measured

from .networks import DENSE, SPARSE, Lab, best_exactly, best_of, exact_loss, planar, trained

FEATURES, FEW = 5, 0.03
"""Features without delay, and their small density."""


def negative_projections_are_free(lab: Lab) -> Measured:
    """The polynomial in the density by running every sequence, and what negative projections add to its first order."""
    rng, steps, delay = np.random.default_rng(lab.settings.seed), 10, 2
    gaps, changes, orders = [], [], []
    for _ in range(3):
        response = rng.normal(size=5)
        response[delay] = 0.9
        response[0], response[3] = -abs(response[0]), -abs(response[3])
        first, deeper = (_polynomial(r, steps, delay) for r in (response, response * np.array([4, 1, 1, 2, 1])))
        padded = jnp.asarray(np.pad(response, (0, steps - 5)))[:, None, None]
        known = float(superposition.order_one(padded, delay, amplitude=superposition.Levels()))
        gaps.append(abs(known - float(first.coefficient[1])))
        changes.append(abs(float(first.coefficient[1] - deeper.coefficient[1])))
        second = superposition.order_two(np.asarray(padded)[:, 0, 0], delay, amplitude=superposition.Levels())
        left = [abs(first(p) - known * p - second * p**2) for p in (0.01, 0.005)]
        orders.append(np.log2(left[0] / left[1]))
    return Measured(
        {
            "largest_gap_of_first_order": max(gaps),
            "largest_cost_of_negative_projections": max(changes),
            "lowest_order_of_remainder": float(min(orders)),
            "highest_order_of_remainder": float(max(orders)),
        }
    )


def _polynomial(response: np.ndarray, steps: int, delay: int) -> superposition.SparsePolynomial:
    """Of a delay line read out with this response."""
    n = len(response)
    weights = superposition.Weights(jnp.eye(n, k=-1), jnp.eye(n)[:, :1], jnp.asarray(response)[None])
    network = superposition.recall_network(weights, kind="ssm")
    return superposition.sparse_polynomial(network, steps=steps, delay=delay)


def sparse_features_use_the_free_half_space(lab: Lab) -> Measured:
    """The best trained networks at small density, by exact losses, beside the best responses there are."""
    census = planar(lab, SPARSE)
    rows: dict[int, Any] = {}
    results: dict[str, Any] = {}
    for delay in lab.settings.sparse_delays:
        loss, _, geometry = best_exactly(census, delay, SPARSE)
        least = superposition.spiral_optimum(delay, SPARSE, "sparse", points=2048)
        rows[delay] = {
            "loss over least": loss / least.loss,
            "order parameter": float(geometry.order_parameter[0]),
            "turn of directions": float(geometry.cumulative_angle[0]),
            "radius": float(geometry.modulus[0]),
            "k theta": float(geometry.k_theta[0]),
            "least": {"loss": least.loss, "radius": least.modulus, "k theta": least.k_theta},
        }
        results[f"sparse-{delay}"] = geometry
    column = lambda name: [row[name] for row in rows.values()]  # noqa: E731
    three = rows.get(3, next(iter(rows.values())))
    return Measured(
        {
            "smallest_order_parameter": min(column("order parameter")),
            "largest_turn_off_three_quarters": max(abs(turn - 270) for turn in column("turn of directions")),
            "turn_of_delay_3": three["k theta"],
            "radius_of_delay_3": three["radius"],
            "largest_radius": max(column("radius")),
            "loss_over_least_of_delay_3": three["loss over least"],
        },
        {str(delay): row for delay, row in rows.items()},
        results,
    )


def small_radii_pack_best(lab: Lab) -> Measured:
    """Two units of small radius whose projections vanish at ages 0 and k - 1 and are very negative between them.

    Their losses beside the closed form of docs eq. S.75, and beside those of trained networks.
    """
    gaps, over = [], []
    for delay in (3, 4, 5, 6):
        ages, angle = np.arange(delay + 8) - delay, np.pi / (delay - 1)
        for radius in (0.01, 0.001):
            # zero at ages 0 and k - 1, and 1 at age k
            response = radius ** ages.astype(float) * np.sin((ages + 1) * angle) / np.sin(angle)
            response[[0, delay - 1]] = 0.0
            loss = superposition.rectified_loss(response, delay, SPARSE) / (SPARSE / 3)
        gaps.append(abs(loss - 1 + (1 - SPARSE) ** (delay - 2)))
        if delay in lab.settings.sparse_delays[1:]:
            over.append(best_exactly(planar(lab, SPARSE), delay, SPARSE)[0] / loss)
    return Measured(
        {"largest_gap_to_closed_form": max(gaps), "trained_over_bound_at_longest_delay": over[-1]}, {"over": over}
    )


def dense_features_make_a_quarter_turn(lab: Lab) -> Measured:
    """The best trained networks at density 1, how often they clip, and how much they lose without the relu."""
    rows: dict[int, Any] = {}
    results: dict[str, Any] = {}
    for delay in lab.settings.sparse_delays:
        dense, geometry = best_of(planar(lab, DENSE), delay)
        sparse = best_exactly(planar(lab, SPARSE), delay, SPARSE)[1]
        gaps = [_clipping(lab, weights, delay, p) for weights, p in ((dense, DENSE), (sparse, SPARSE))]
        least = superposition.spiral_optimum(delay, DENSE, "dense", points=2048)
        rows[delay] = {
            "k theta": float(geometry.k_theta[0]),
            "order parameter": float(geometry.order_parameter[0]),
            "radius": float(geometry.modulus[0]),
            "loss over least": exact_loss(dense, delay, DENSE) / least.loss,
            "gap dense": gaps[0].gap,
            "gap sparse": gaps[1].gap,
            "clip rate": float(gaps[0].rate[0]),
        }
        results |= {f"dense-{delay}": geometry, f"clipping-dense-{delay}": gaps[0], f"clipping-sparse-{delay}": gaps[1]}
    column = lambda name: [row[name] for row in rows.values()]  # noqa: E731
    return Measured(
        {
            "smallest_turn": min(column("k theta")),
            "largest_turn": max(column("k theta")),
            "largest_order_parameter": max(column("order parameter")),
            "largest_loss_over_least": max(column("loss over least")),
            "largest_linearity_gap_when_dense": max(column("gap dense")),
            "smallest_linearity_gap_when_sparse": min(column("gap sparse")),
        },
        {str(delay): row for delay, row in rows.items()},
        results,
    )


def _clipping(lab: Lab, weights: superposition.Weights, delay: int, density: float) -> superposition.Clipping:
    network = superposition.recall_network(weights, kind="ssm")
    key = rc.stream(lab.key, f"clipping {delay} {density}")
    return superposition.clipping(network, steps=30, delay=delay, density=density, trials=2048, key=key)


def phases_meet_in_a_jump(lab: Lab) -> Measured:
    """Where the dense and the sparse branch cost the same, from exact losses, and what jumps there."""
    found = _crossings(lab, lab.settings.crossing_delays)
    values: dict[str, float] = {f"density_of_delay_{delay}": one.density for delay, one in found.items()}
    every = list(found.values())
    angle, psi, radius = (np.array([np.asarray(getattr(one, name)) for one in every]) for name in _JUMPS)
    densities = [one.density for one in every]
    values |= {
        "largest_dense_turn": float(angle[:, 0].max()),
        "smallest_sparse_turn": float(angle[:, 1].min()),
        "smallest_jump_of_order_parameter": float((psi[:, 1] - psi[:, 0]).min()),
        "smallest_drop_of_radius": float((radius[:, 0] - radius[:, 1]).min()),
        "largest_drop_of_radius": float((radius[:, 0] - radius[:, 1]).max()),
        "largest_rise_with_delay": float(np.diff(densities).max()),
    }
    return Measured(values, {"radius": radius.tolist()}, {f"crossing-{delay}": one for delay, one in found.items()})


def transitions_move_with_the_delay(lab: Lab) -> Measured:
    """The same crossings at longer delays."""
    delays = lab.settings.long_delays
    found = _crossings(lab, (max(lab.settings.crossing_delays[:3]), *delays))
    drops = {delay: float(np.asarray(one.modulus)[0] - np.asarray(one.modulus)[1]) for delay, one in found.items()}
    return Measured(
        {
            **{f"density_of_delay_{delay}": found[delay].density for delay in delays},
            "largest_change_with_delay": float(np.diff([one.density for one in found.values()]).max()),
            "largest_change_of_drop_with_delay": float(np.diff(list(drops.values())).max()),
        },
        {"drop of radius": {str(delay): drop for delay, drop in drops.items()}},
        {f"crossing-{delay}": one for delay, one in found.items()},
    )


def _crossings(lab: Lab, delays: tuple[int, ...]) -> dict[int, superposition.Crossing]:
    """Of every delay, looked for on one wide range of densities: a second crossing there would be an error."""
    look = lambda delay: superposition.crossing(delay, tolerance=2e-3, points=1024)  # noqa: E731
    return {delay: lab.once(f"crossing {delay}", functools.partial(look, delay)) for delay in delays}


_JUMPS = ("k_theta", "order_parameter", "modulus")


def training_finds_both_phases(lab: Lab) -> Measured:
    """Best of many seeds on either side of the transition, at half and at twice its odds."""
    psi: dict[str, list[float]] = {"below": [], "above": []}
    for delay in lab.settings.crossing_delays[:3]:
        odds = superposition.TRANSITION[delay] / (1 - superposition.TRANSITION[delay])
        for side, factor in (("below", 0.5), ("above", 2.0)):
            density = factor * odds / (1 + factor * odds)
            how = lab.settings.plane
            population = superposition.random_population(
                2, delays=(delay,), seeds=how.seeds, key=rc.stream(lab.key, "weights")
            )
            loss = superposition.recall_loss(density, steps=40, trials=how.trials)
            census = trained(lab, f"side {delay} {side}", population, loss, how.steps)
            psi[side].append(float(best_exactly(census, delay, density)[2].order_parameter[0]))
    return Measured(
        {"smallest_order_parameter_below": min(psi["below"]), "largest_order_parameter_above": max(psi["above"])}, psi
    )


def untied_readouts_change_nothing(lab: Lab) -> Measured:
    """Untied networks beside their tied twins, and trained ones beside trained ones."""
    rng, gaps = np.random.default_rng(lab.settings.seed), []
    for _ in range(5):
        weights = _random(rng, 3)
        a = np.asarray(superposition.projections(weights, 12))[:, 0, 0]
        twin = np.asarray(superposition.projections(_twin(weights, 2), 12))[:, 0, 0]
        gaps.append(float(np.abs(twin - a).max() / np.abs(a).max()))
    rows = {p: {delay: _both(lab, delay, p) for delay in lab.settings.sparse_delays[:2]} for p in (DENSE, SPARSE)}
    values: dict[str, float] = {"largest_gap_of_twins": max(gaps)}
    for density, words in ((DENSE, ""), (SPARSE, "_when_sparse")):
        each = rows[density].values()
        apart = lambda name, each=each: max(abs(row[name][0] - row[name][1]) for row in each)  # noqa: E731
        values |= {
            f"largest_relative_gap_of_losses{words}": max(abs(np.log(r["loss"][0] / r["loss"][1])) for r in each),
            f"largest_gap_of_radii{words}": apart("radius"),
            f"largest_gap_of_turns{words}": apart("turn"),
            f"largest_gap_of_turns_of_directions{words}": apart("turn of directions"),
        }
    return Measured(values, {f"{delay} at {p}": row for p, found in rows.items() for delay, row in found.items()})


def _both(lab: Lab, delay: int, density: float) -> dict[str, list[float]]:
    """The best tied network of one delay, and the best untied one."""
    both = [best_exactly(planar(lab, density, tied=tied), delay, density) for tied in (True, False)]
    return {
        "loss": [loss for loss, _, _ in both],
        "radius": [float(g.modulus[0]) for _, _, g in both],
        "turn": [float(g.k_theta[0]) for _, _, g in both],
        "turn of directions": [float(g.cumulative_angle[0]) for _, _, g in both],
    }


def _random(rng: np.random.Generator, n: int) -> superposition.Weights:
    """A random network of one feature that reads out what is 2 steps old with a positive sign."""
    recurrent, inputs, readout = (rng.normal(size=s) for s in ((n, n), (n, 1), (1, n)))
    recurrent *= 0.8 / np.abs(np.linalg.eigvals(recurrent)).max()
    sign = np.sign((readout @ recurrent @ recurrent @ inputs)[0, 0])
    return superposition.Weights(*(jnp.asarray(w) for w in (recurrent, inputs, sign * readout)))


def _twin(weights: superposition.Weights, delay: int) -> superposition.Weights:
    """The tied network with the same answers: state coordinates in which the readout is the direction of age k."""
    recurrent, inputs, y = (np.asarray(w) for w in (weights.recurrent, weights.inputs, weights.readout[0]))
    w = np.linalg.matrix_power(recurrent, delay) @ inputs[:, 0]
    gauge = np.outer(y, y) / (y @ w) + np.eye(len(w)) - np.outer(w, w) / (w @ w)
    change = np.linalg.cholesky(gauge).T
    turned = (change @ recurrent @ np.linalg.inv(change), change @ inputs)
    return superposition.tied(*(jnp.asarray(part) for part in turned), delay=delay)


def features_without_delay_make_a_pentagon(lab: Lab) -> Measured:
    """Five features in two units: the least first order by descent, and trained networks at small density."""
    ends = [_least_first_order(seed) for seed in range(4)]
    loss, inputs = min(ends, key=lambda end: end[0])
    census, dense = (_without_delay(lab, density) for density in (FEW, DENSE))
    learned, collapsed = (np.asarray(best_of(each, 0)[0].inputs) for each in (census, dense))
    alone = superposition.Weights(jnp.zeros((2, 2)), jnp.asarray(learned), jnp.asarray(learned.T))
    geometry = superposition.geometry(alone, 0)
    return Measured(
        {
            "least_first_order": loss,
            "largest_gap_of_norms": float(np.abs(np.linalg.norm(inputs, axis=0) - _PENTAGON).max()),
            "largest_gap_off_72_degrees": _off_pentagon(inputs),
            "largest_gap_off_72_degrees_when_trained": _off_pentagon(learned),
            "mean_norm_when_trained": float(np.linalg.norm(learned, axis=0).mean()),
            "largest_gap_of_dimensionality": float(np.abs(np.asarray(geometry.dimensionality)[0] - 0.4).max()),
            "loss_at_density_1": float(dense.loss[dense.best(0)]),
            "largest_gap_off_72_degrees_at_density_1": _off_pentagon(collapsed),
            **_with_a_bias(lab),
        },
        {"trained loss": float(census.loss[census.best(0)])},
        {"pentagon": geometry},
    )


def _with_a_bias(lab: Lab) -> dict[str, float]:
    """The best networks with a bias, by losses without samples, beside the best pentagon of all."""
    least, length, offset = _best_pentagon(FEW)
    sparse, inputs, bias = _best_biased(lab, FEW)
    dense, spread, _ = _best_biased(lab, DENSE)
    return {
        "loss_with_bias_over_least": sparse / least,
        "mean_norm_with_bias": float(np.linalg.norm(inputs, axis=0).mean()),
        "mean_norm_with_bias_minus_best": float(np.linalg.norm(inputs, axis=0).mean()) - length,
        "mean_bias": float(bias.mean()),
        "mean_bias_minus_best": float(bias.mean()) - offset,
        "largest_gap_off_72_degrees_with_bias": _off_pentagon(inputs),
        "loss_with_bias_at_density_1": dense,
        "own_projections_with_bias_at_density_1": float((spread**2).sum()),
    }


def _best_biased(lab: Lab, density: float) -> tuple[float, np.ndarray, np.ndarray]:
    """The network of least loss, which is a mean over its outputs: the loss, its directions and its bias."""
    census = _without_delay(lab, density, bias=True)
    everyone = [
        (np.asarray(census.inputs, float)[..., i], np.asarray(census.bias, float)[:, i]) for i in census.places(0)
    ]

    def lost(inputs: np.ndarray, bias: np.ndarray) -> float:
        # features with gates of their own add up as ages do; the own one is the one that is due
        rows = [
            superposition.rectified_loss(row, i, density, bias=b)
            for i, (row, b) in enumerate(zip(inputs.T @ inputs, bias, strict=True))
        ]
        return float(np.mean(rows)) / (density / 3)

    losses = [lost(*one) for one in everyone]
    best = int(np.argmin(losses))
    return losses[best], *everyone[best]


def _best_pentagon(density: float) -> tuple[float, float, float]:
    """The least loss over all lengths and biases of a pentagon, with both."""
    turn = np.cos(2 * np.pi * np.arange(FEATURES) / FEATURES)

    def lost(x: np.ndarray) -> float:
        return superposition.rectified_loss(x[0] ** 2 * turn, 0, density, bias=x[1]) / (density / 3)

    found = scipy.optimize.minimize(lost, (1.0, -0.1), method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-9})
    return float(found.fun), float(found.x[0]), float(found.x[1])


def _without_delay(lab: Lab, density: float, *, bias: bool = False) -> superposition.Census:
    """Five features in two units, trained at one density."""
    how, words = lab.settings.plane, ("pentagon" if density < 1 else "pentagon, dense") + (", biased" if bias else "")
    population = superposition.random_population(
        2, delays=(0,), seeds=how.seeds, features=FEATURES, bias=bias, key=rc.stream(lab.key, "pentagon")
    )
    task = superposition.recall_loss(density, steps=1, trials=how.trials, features=FEATURES)
    return trained(lab, words, population, task, how.steps)


_PENTAGON = (1 + 2 * np.cos(np.deg2rad(72)) ** 2) ** -0.5


def _least_first_order(seed: int) -> tuple[float, np.ndarray]:
    def lost(x: Any) -> Any:
        inputs = x.reshape(2, FEATURES)
        # the order of p over that of silence
        return superposition.order_one((inputs.T @ inputs)[None], 0) * 3 / FEATURES

    slope = jax.jit(jax.value_and_grad(lost))
    start = np.random.default_rng(seed).normal(size=2 * FEATURES)
    found = scipy.optimize.minimize(
        lambda x: tuple(np.asarray(part, float) for part in slope(jnp.asarray(x))), start, jac=True, method="BFGS"
    )
    return float(found.fun), found.x.reshape(2, FEATURES)


def _off_pentagon(inputs: np.ndarray) -> float:
    """How far gaps between neighbouring directions are from a fifth of a circle (degrees)."""
    angle = np.sort(np.rad2deg(np.arctan2(inputs[1], inputs[0])))
    return float(np.abs(np.diff(np.append(angle, angle[0] + 360)) - 72).max())
