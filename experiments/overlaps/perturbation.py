"""Figure 2: two networks with one function, and how training tells them apart."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np

import recurvature as rc
from recurvature import overlaps as ov
from recurvature.app.claims import Measured

from .settings import RANK1, A, Lab, filter_loss, filter_task, named, on_impulses, overlaps_of, two_networks

CHARGE = 1.0
"""u·u − v·v of the control: network 1 with the same weight matrix, written with other factors."""


def _trained(lab: Lab) -> ov.Perturbation:
    how = lab.settings.linear
    return lab.once(
        "perturbation",
        lambda: ov.perturb(
            filter_loss(lab, A),
            two_networks(lab),
            how.rate,
            steps=how.steps,
            layout=RANK1,
            every=how.steps // 200,
            charge=CHARGE,
        ),
    )


def invisible_overlaps_do_not_act(lab: Lab) -> Measured:
    """Two networks of equal visible overlaps, all their units run on noise: outputs, latents, loss, gradient."""
    how, networks = lab.settings.linear, two_networks(lab)
    inputs = jr.normal(rc.stream(lab.key, "perturbation inputs"), (1, 200, 1), float)
    data, outputs, latent, losses, hidden = on_impulses(filter_task(lab), RANK1), [], [], [], []
    for name, matrix in networks.items():
        theta = ov.vectors(matrix, RANK1, how.units, key=rc.stream(lab.key, name))
        outputs.append(np.asarray(ov.simulated(theta, RANK1, inputs, how.dt)))
        latent.append(np.asarray(ov.trajectory(theta, RANK1, inputs, how.dt)))
        losses.append(float(data.of_units(theta)))
        gamma = np.asarray(ov.symmetric_gradient(data, jnp.asarray(matrix)))
        hidden.append(float(np.abs(ov.to_pairs(gamma, RANK1)[~RANK1.visible("linear")]).max()))
    apart = lambda pair: float(np.abs(pair[0] - pair[1]).max() / np.abs(pair[0]).max())  # noqa: E731
    return Measured(
        {
            "difference_of_outputs": apart(outputs),
            "difference_of_latent_activity": apart(latent),
            "difference_of_losses": abs(losses[0] / losses[1] - 1),
            "largest_gradient_of_invisible": max(hidden),
        },
        {name: named(matrix) for name, matrix in networks.items()},
    )


def states_differ_in_shape(lab: Lab) -> Measured:
    """How far apart the states of all units are over time, network by network, and what the overlaps say of it."""
    how, networks = lab.settings.linear, two_networks(lab)
    inputs = jr.normal(rc.stream(lab.key, "perturbation inputs"), (1, 200, 1), float)
    powers, errors = [], []
    for name, matrix in networks.items():
        theta = ov.vectors(matrix, RANK1, how.units, key=rc.stream(lab.key, name))
        latent = np.asarray(ov.trajectory(theta, RANK1, inputs, how.dt))[0]
        writes = np.asarray(theta)[:, RANK1.split :]
        power = ((latent @ writes.T) ** 2).mean(1)
        block = overlaps_of(theta)[RANK1.split :, RANK1.split :]
        said = np.einsum("ti,ij,tj->t", latent, block, latent)
        powers.append(power)
        errors.append(float(np.abs(power - said).max() / power.max()))
    return Measured(
        {
            "largest_difference_of_power": float(
                np.abs(powers[0] / powers[1].max() - powers[1] / powers[1].max()).max()
            ),
            "largest_error_of_overlaps": max(errors),
        }
    )


def learning_tells_apart(lab: Lab) -> Measured:
    """Learning curves of the two networks, and their first slopes beside differences of losses at a tiny rate."""
    trained = _trained(lab)
    loss, tiny = filter_loss(lab, A), 1e-7
    slopes = []
    for matrix in two_networks(lab).values():
        step = ov.descend(loss, matrix, tiny, steps=1, layout=RANK1)
        slopes.append(float(step.loss[1] - step.loss[0]) / tiny)
    said = np.asarray(trained.slope)[:2]
    pair = np.asarray(trained.loss)[:2]
    return Measured(
        {
            "largest_gap_of_losses": float(np.abs(pair[0] - pair[1]).max() / pair[0, 0]),
            "difference_of_slopes": float(abs(said[0] - said[1]) / abs(said[0])),
            "largest_error_of_slopes": float(np.abs(np.array(slopes) / said - 1).max()),
            "initial_difference": float(abs(pair[0, 0] / pair[1, 0] - 1)),
        },
        {"half_the_loss_after": dict(zip(trained.members, np.asarray(trained.half).tolist(), strict=True))},
        {"curves": trained},
    )


def gauge_tells_apart(lab: Lab) -> Measured:
    """Network 1 in another gauge: the same weights, the same outputs, another learning curve."""
    trained, how = _trained(lab), lab.settings.linear
    inputs = jr.normal(rc.stream(lab.key, "perturbation inputs"), (1, 200, 1), float)
    theta = np.asarray(
        ov.vectors(two_networks(lab)["network 1"], RANK1, how.units, key=rc.stream(lab.key, "network 1"))
    )
    turn = ov.gauge_matrix(RANK1, ov.gauge_with_charge(two_networks(lab)["network 1"], RANK1, CHARGE))
    weights = [vectors[:, RANK1.u] @ vectors[:, RANK1.v].T / how.units for vectors in (theta, theta @ turn)]
    outputs = [
        np.asarray(ov.simulated(jnp.asarray(vectors), RANK1, inputs, how.dt)) for vectors in (theta, theta @ turn)
    ]
    pair = np.asarray(trained.loss)[[0, 2]]
    return Measured(
        {
            "difference_of_weights": float(np.abs(weights[0] - weights[1]).max() / np.abs(weights[0]).max()),
            "difference_of_outputs": float(np.abs(outputs[0] - outputs[1]).max() / np.abs(outputs[0]).max()),
            "largest_gap_of_losses": float(np.abs(pair[0] - pair[1]).max() / pair[0, 0]),
        },
        {"half_the_loss_after": np.asarray(trained.half).tolist()},
    )


def training_ends_in_one_function(lab: Lab) -> Measured:
    """After training: the functions of the two networks, and their invisible overlaps."""
    trained = _trained(lab)
    ends = np.asarray(trained.matrix)[:2, -1]
    functions = [ov.function_relevant(jnp.asarray(end), RANK1) for end in ends]
    apart = [float(np.abs(np.asarray(functions[0][key]) - np.asarray(functions[1][key])).max()) for key in functions[0]]
    pairs, seen = ov.to_pairs(ends, RANK1), RANK1.visible("linear")
    return Measured(
        {
            "largest_difference_of_function": max(apart),
            "largest_difference_of_invisible": float(np.abs(pairs[0] - pairs[1])[~seen].max()),
        },
        {name: named(end) for name, end in zip(trained.members, ends, strict=False)},
    )
