"""The theorems on latent units, each by a route that the library does not take."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

import recurvature as rc
from recurvature import latent
from recurvature.app.claims import Measured
from recurvature.systems import Euler, LinearReadout, LowRank, Network, simulate

from .settings import Lab

STEP = 0.5
"""The step of the paper's simulations, in time constants."""
LAG_TIMES = 4000
"""Times at which slow variables are given, over one period of them."""


def random_unit(lab: Lab, rank: int, *, inputs: int = 2, name: str = "unit") -> latent.LatentUnit:
    """A rate unit of Gaussian vectors whose encoding is strong enough to keep it active."""
    rng = generator(lab, name)
    n = lab.settings.theorems.units
    draw = lambda *shape: rng.normal(size=shape)  # noqa: E731
    return latent.from_mean_convention(
        draw(n, rank), 2 * draw(n, rank), input_weights=draw(n, inputs), bias=draw(n), dt=STEP
    )


def generator(lab: Lab, name: str) -> np.random.Generator:
    """Numbers of NumPy from the laboratory's key."""
    import jax

    return np.random.default_rng(np.asarray(jax.random.key_data(rc.stream(lab.key, name))))


def network_of(unit: latent.LatentUnit, start: Any = None) -> Network:
    """The units themselves, all of them read out."""
    n = unit.connectivity.size
    assert unit.dt is not None
    x0 = jnp.zeros(n) if start is None else jnp.asarray(start)
    return Network(Euler(unit.flow, unit.dt), LinearReadout(jnp.eye(n)), x0)


def variables_close(lab: Lab) -> Measured:
    """Variables read from a network of all units, beside a recursion of the variables alone."""
    sizes = lab.settings.theorems
    unit, rng = random_unit(lab, 3), generator(lab, "closure")
    start, inputs = rng.normal(size=sizes.units), rng.normal(size=(sizes.steps, 2))
    states = np.asarray(simulate(network_of(unit, start), jnp.asarray(inputs[None])).states)[0]
    m, n, w, b = (np.asarray(a) for a in (unit.embedding, unit.encoding, unit.flow.input_weights, unit.flow.bias))
    kappa, differences = n @ start, []
    for state, u in zip(states, inputs, strict=True):
        kappa = (1 - STEP) * kappa + STEP * n @ np.tanh(m @ kappa + w @ u + b)
        differences.append(float(np.abs(kappa - n @ state).max()))
    return Measured({"largest_difference": max(differences)}, {"smallest_final": float(np.abs(kappa).min())})


def current_variables_close(lab: Lab) -> Measured:
    """The same for a current network: beside its state, a recursion of the variables and of the filtered inputs."""
    sizes, rng = lab.settings.theorems, generator(lab, "current closure")
    rate = random_unit(lab, 3, name="current unit")
    weights = {"input_weights": rate.flow.input_weights, "bias": rate.flow.bias}
    unit = latent.from_encoding(rate.embedding, rate.encoding, form="current", dt=STEP, **weights)
    m, n, w, b = (np.asarray(a) for a in (unit.embedding, unit.encoding, unit.flow.input_weights, unit.flow.bias))
    kappa, v, inputs = rng.normal(size=3), rng.normal(size=2), rng.normal(size=(sizes.steps, 2))
    network = network_of(unit, m @ kappa + w @ v + b)
    states = np.asarray(simulate(network, jnp.asarray(inputs[None])).states)[0]
    differences = []
    for state, u in zip(states, inputs, strict=True):
        target = n @ np.tanh(m @ kappa + w @ v + b)
        kappa, v = (1 - STEP) * kappa + STEP * target, (1 - STEP) * v + STEP * u
        differences.append(float(np.abs(m @ kappa + w @ v + b - state).max()))
    dimensions = latent.linear_dimension(states - b, 5, tolerance=1e-9).rank
    return Measured({"largest_difference": max(differences), "dimensions_of_states": float(dimensions)})


def several_synapses_close(lab: Lab) -> Measured:
    """A gain-modulated network of two synapses, ranks 1 and 3, beside its four variables, by NumPy and by `latent`."""
    sizes, rng = lab.settings.theorems, generator(lab, "synapses")
    n = sizes.units
    network = rc.cast(rc.systems.multi_synapse(n, inputs=2, outputs=1, key=lab.key, dt=STEP, rank=3, gain=4.0), float)
    first: Any = network.system.flow.synapses[0]  # type: ignore[attr-defined]
    one = LowRank(first.left[:, :1], first.right[:, :1], first.normalisation)
    network = eqx.tree_at(lambda net: net.system.flow.synapses[0], network, one)
    flow = network.system.flow
    start, inputs = rng.normal(size=n), rng.normal(size=(sizes.steps, 2))
    whole = Network(network.system, network.readout, jnp.asarray(start))
    states = np.asarray(simulate(whole, jnp.asarray(inputs[None])).states)[0]
    embeddings = [np.asarray(s.left) for s in flow.synapses]
    encodings = [np.asarray(s.right).T / n for s in flow.synapses]
    kappas, differences = [e @ start for e in encodings], []
    for state, u in zip(states, inputs, strict=True):
        z = [m @ k + np.asarray(w) @ u for m, k, w in zip(embeddings, kappas, flow.input_weights, strict=True)]
        rates = np.tanh(z[0]) / (1 + np.exp(-z[1]))
        kappas = [(1 - STEP) * k + STEP * e @ rates for k, e in zip(kappas, encodings, strict=True)]
        differences += [float(np.abs(k - e @ state).max()) for k, e in zip(kappas, encodings, strict=True)]
    read = states @ np.concatenate(encodings).T
    filled = latent.linear_dimension(read, read.shape[1], tolerance=1e-9).rank
    library = latent.closure(whole, inputs[None])
    return Measured(
        {
            "largest_difference": max(differences),
            "largest_difference_of_the_latent_flow": library.error,
            "dimensions_of_variables": float(filled),
        },
        {"smallest_share_outside": float(np.asarray(library.outside).min())},
    )


def outside_is_forgotten(lab: Lab) -> Measured:
    """A random kick, as the network and its variables feel it: the part outside the encoding, and the part inside."""
    sizes, rng = lab.settings.theorems, generator(lab, "kick")
    unit = random_unit(lab, 3)
    start, inputs = rng.normal(size=sizes.units), rng.normal(size=(1, 20, 2))
    encoding = np.asarray(unit.encoding)
    inverse = np.linalg.pinv(encoding)
    kick = rng.normal(size=sizes.units)
    parts = {"inside": inverse @ (encoding @ kick), "outside": kick - inverse @ (encoding @ kick)}
    run = lambda x: np.asarray(simulate(network_of(unit, x), jnp.asarray(inputs)).states)[0]  # noqa: E731
    plain = run(start)
    moved = {name: run(start + part) - plain for name, part in parts.items()}
    expected = parts["outside"] * (1 - STEP) ** np.arange(1, 21)[:, None]
    return Measured(
        {
            "largest_change_of_variables": float(np.abs(moved["outside"] @ encoding.T).max()),
            "largest_difference_from_the_leak": float(np.abs(moved["outside"] - expected).max()),
            "change_of_variables_by_the_inside": float(np.abs(moved["inside"] @ encoding.T).max()),
        }
    )


def readouts_see_more_than_variables(lab: Lab) -> Measured:
    """A readout inside the encoding and a random one, on two states of equal variables."""
    rng, unit = generator(lab, "readouts"), random_unit(lab, 3)
    n = lab.settings.theorems.units
    encoding = np.asarray(unit.encoding)
    inside, any_other = rng.normal(size=(1, 3)) @ encoding, rng.normal(size=(1, n))
    rates = rng.normal(size=n)
    same, differing = (latent.readout_equivalence(unit, weight) for weight in (inside, any_other))
    other = rates + np.asarray(differing.witness)[0]
    outside = any_other - any_other @ np.linalg.pinv(encoding) @ encoding
    gap = float((any_other @ (other - rates))[0])
    return Measured(
        {
            "difference_inside": float(np.abs(inside @ rates - np.asarray(same.latent_weight) @ (encoding @ rates))[0]),
            "difference_of_variables": float(np.abs(encoding @ (other - rates)).max()),
            "difference_of_outputs_less_derived": abs(gap - float((outside**2).sum())),
            "difference_of_outputs": gap,
        }
    )


def coordinates_are_free(lab: Lab) -> Measured:
    """A random change of coordinates of the variables, and everything that should not feel it."""
    rng, unit = generator(lab, "gauge"), random_unit(lab, 3)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0] @ np.diag([0.5, 1.0, 3.0])
    other = latent.regauge(unit, turn)
    inputs = jnp.asarray(rng.normal(size=(1, lab.settings.theorems.steps, 2)))
    runs = [np.asarray(simulate(network_of(each), inputs).states) for each in (unit, other)]
    encodings = [np.asarray(each.encoding) for each in (unit, other)]
    projectors = [np.linalg.pinv(e) @ e for e in encodings]
    kappa = rng.normal(size=3)
    values = [latent.spectrum(u, k).eigenvalues for u, k in ((unit, kappa), (other, turn @ kappa))]
    difference = lambda a, b: float(np.abs(a - b).max())  # noqa: E731
    return Measured(
        {
            "difference_of_weights": difference(*(np.asarray(u.connectivity.dense()) for u in (unit, other))),
            "difference_of_states": difference(*runs),
            "difference_of_projectors": difference(*projectors),
            "difference_of_eigenvalues": difference(*values),
            "change_of_variables": difference(runs[0] @ encodings[0].T, runs[1] @ encodings[1].T),
        }
    )


def spectra_agree(lab: Lab) -> Measured:
    """Eigenvalues of the N × N Jacobian beside those of K variables, at random points of several units."""
    differences, kept = [], []
    for number in range(3):
        unit, rng = random_unit(lab, 3, name=f"spectrum {number}"), generator(lab, f"point {number}")
        kappa, u = rng.normal(size=3), rng.normal(size=2)
        m, n, w, b = (np.asarray(a) for a in (unit.embedding, unit.encoding, unit.flow.input_weights, unit.flow.bias))
        gain = 1 - np.tanh(m @ kappa + w @ u + b) ** 2
        full = np.linalg.eigvals((gain[:, None] * m) @ n - np.eye(len(m)))
        own = latent.spectrum(unit, kappa, u).eigenvalues
        apart = [int(np.abs(full - value).argmin()) for value in own]
        differences += [float(np.abs(full[apart] - own).max())]
        kept += [float(np.abs(np.delete(full, apart) + 1).max())]
    return Measured({"difference_of_latent_eigenvalues": max(differences), "difference_from_the_leak": max(kept)})


def all_fixed_points_are_found(lab: Lab) -> Measured:
    """The sum of indices over the fixed points of units with several of them."""
    rows = []
    for number in range(4):
        rng = generator(lab, f"memory {number}")
        n = lab.settings.theorems.units
        m = rng.normal(size=(n, 2))
        unit = latent.from_mean_convention(m, (2 + number) * m + 0.5 * rng.normal(size=(n, 2)))
        found = rc.dynamics.fixed_points(unit.flow, key=rc.stream(lab.key, f"search {number}"))
        rows.append((found.index_sum, len(found.states), found.completeness))
    return Measured(
        {
            "smallest_sum": min(float(row[0]) for row in rows),
            "largest_sum": max(float(row[0]) for row in rows),
            "most_points": max(float(row[1]) for row in rows),
        },
        {"units": rows},
    )


def tuning_follows_slow_variables(lab: Lab) -> Measured:
    r"""Rates driven by $\kappa = \sin(t/\beta\tau)$ beside their tuning, for slower and slower variables.

    By the library, and by SciPy's solution of the same units, which knows the variables between the times as well.
    """
    from scipy.integrate import solve_ivp

    m = generator(lab, "tuning").normal(size=40)
    unit = latent.from_mean_convention(m[:, None], np.ones((40, 1)))
    lags, shares, differences, slowness = [], [], [], np.array([10.0, 100.0, 1000.0])

    def velocity(t: float, r: np.ndarray, beta: float) -> np.ndarray:
        return np.tanh(m * np.sin(t / beta)) - r

    for beta in slowness:
        times = np.linspace(0, 10 + 2 * np.pi * beta, LAG_TIMES)
        found = latent.tuning_lag(unit, np.sin(times / beta)[:, None], times)
        # the rates of the start are those of the tuning: ten time constants later the lag has come to stay
        settled = times >= 10
        lag = np.abs(np.asarray(found.lag))
        lags.append(float(lag[settled].max()))
        shares.append(float((lag[1:] / np.asarray(found.bound)[1:]).max()))
        options = {"t_eval": times, "rtol": 1e-9, "atol": 1e-11, "method": "LSODA", "args": (beta,)}
        rates = solve_ivp(velocity, (0, times[-1]), np.zeros(40), **options).y.T
        differences.append(float(np.abs(np.asarray(found.rates) - rates).max() / lags[-1]))
    return Measured(
        {
            "slope_of_the_lag": float(np.polyfit(np.log(slowness), np.log(lags), 1)[0]),
            "largest_lag_over_its_bound": max(shares),
            "largest_difference_from_a_solver": max(differences),
        },
        {"lags": lags, "over_bounds": shares, "differences": differences},
    )
