"""Units for wanted flows, and outputs that are made latent variables, held against their equations."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

import recurvature as rc
from recurvature import latent
from recurvature.app.claims import Measured

from .settings import Lab

PERIODS = 8.0
"""How long runs last, in time constants of the variables: a little more than one period of the oscillator."""


def oscillator(kappa: Any, u: Any) -> Any:
    """Van der Pol's."""
    return jnp.stack([kappa[1], (1 - kappa[0] ** 2) * kappa[1] - kappa[0]])


def samples(lab: Lab) -> np.ndarray:
    """Where the flow is given: a box around its cycle."""
    return np.random.default_rng(lab.settings.seed).uniform([-3, -4], [3, 4], (lab.settings.approximations.samples, 2))


def approximation(lab: Lab, units: int, slowness: float) -> latent.Approximation:
    """A unit that oscillates, `slowness` times slower than its units."""
    make = lambda: latent.approximate(  # noqa: E731
        oscillator, samples(lab), units=units, key=rc.stream(lab.key, "tuning"), slowness=slowness
    )
    return lab.once(f"approximation {units} {slowness}", make)


def trajectory_error(found: latent.Approximation) -> float:
    """The largest difference of all N units' variables from the wanted solution, over its amplitude."""
    m, n, b = (np.asarray(a) for a in (found.embedding, found.encoding, found.bias))
    times = np.linspace(0, PERIODS, 200)
    wanted = lambda t, k: [k[1], (1 - k[0] ** 2) * k[1] - k[0]]  # noqa: E731
    # time in units of the slow variables
    made = lambda t, k: found.slowness * (n @ np.tanh(m @ k + b) - k)  # noqa: E731
    options = {"t_eval": times, "rtol": 1e-9, "atol": 1e-10}
    first = solve_ivp(wanted, (0, PERIODS), [2.0, 0.0], **options).y
    second = solve_ivp(made, (0, PERIODS), [2.0, 0.0], method="LSODA", **options).y
    return float(np.abs(first - second).max() / np.abs(first).max())


def any_flow_is_made(lab: Lab) -> Measured:
    """The error of field and trajectory with few and with many units."""
    sizes = lab.settings.approximations
    few, many = (approximation(lab, units, 1.0) for units in (sizes.few, sizes.many))
    return Measured(
        {
            "error_of_few_over_many": few.field_error / many.field_error,
            "field_error_of_many": many.field_error,
            "trajectory_error_of_many": trajectory_error(many),
        },
        {"field_error_of_few": few.field_error},
    )


def slow_flows_are_made(lab: Lab) -> Measured:
    """The same for variables that are ten and a hundred times slower than their units."""
    sizes, slowness = lab.settings.approximations, (10.0, 100.0)
    errors = {
        name: [trajectory_error(approximation(lab, units, beta)) for beta in slowness]
        for name, units in (("few", sizes.few), ("many", sizes.many))
    }
    values = {f"trajectory_error_of_{name}": max(each) for name, each in errors.items()}
    return Measured(values, {"errors": errors})


def outputs_become_variables(lab: Lab) -> Measured:
    r"""The product of two variables, read linearly: by a row with the leak, and by a row that only follows.

    All N units are run in continuous time by SciPy. The second has the field $\partial g\,\dot\kappa$ alone.
    """
    base = approximation(lab, lab.settings.approximations.few, 5.0)
    unit = base.unit()
    found = latent.extend(unit, lambda k: k[:1] * k[1:], samples(lab), ridge=1e-14)
    m, n, b, row = (np.asarray(a) for a in (base.embedding, base.encoding, base.bias, found.weight))
    times = np.linspace(0, 30, 301)
    start = np.tanh(m @ [2.0, 0.0] + b)
    kick = np.linalg.lstsq(np.concatenate([n, row]), [0.0, 0.0, 1.0], rcond=None)[0]
    field = lambda t, r: np.tanh(m @ (n @ r) + b) - r  # noqa: E731
    options = {"t_eval": times, "rtol": 1e-9, "atol": 1e-11}
    runs = [solve_ivp(field, (0, times[-1]), x, **options).y for x in (start, start + kick)]
    kappa, y = n @ runs[0], (row @ runs[0])[0]
    settled, product = times >= 10, kappa[0] * kappa[1]
    offset = (row @ (runs[1] - runs[0]))[0]
    return Measured(
        {
            "error_over_range": float(np.abs(y - product)[settled].max() / np.ptp(product)),
            "offset_after_five": float(offset[50]),
            "neutral_offset_after_five": _neutral_offset(lab),
            "largest_feedback": float(np.abs(latent.extended_unit(unit, found).embedding[:, 2:]).max()),
        }
    )


def _neutral_offset(lab: Lab) -> float:
    r"""What five time constants leave of an offset of 1 where y follows $\partial g\,\dot\kappa$ and drives units."""
    slowness, rng = 5.0, np.random.default_rng(lab.settings.seed + 1)

    def field(state: Any, u: Any) -> Any:
        move = oscillator(state[:2], u)
        return jnp.append(move, state[1] * move[0] + state[0] * move[1])

    cloud = rng.uniform([-3, -4, -12], [3, 4, 12], (lab.settings.approximations.samples, 3))
    many = lab.settings.approximations.many
    made = latent.approximate(field, cloud, units=many, key=rc.stream(lab.key, "neutral"), slowness=slowness)
    m, n, b = (np.asarray(a) for a in (made.embedding, made.encoding, made.bias))
    flow = lambda t, k: n @ np.tanh(m @ k + b) - k  # noqa: E731
    ends = [solve_ivp(flow, (0, 5.0), [2.0, 0.0, y], rtol=1e-9, atol=1e-11).y[:, -1] for y in (0.0, 1.0)]
    return float(ends[1][2] - ends[0][2])
