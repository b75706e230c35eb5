"""How many linear dimensions few variables fill: constructions, and spheres under random tuning."""

import itertools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

import recurvature as rc
from recurvature import latent, measures
from recurvature.app.claims import Measured

from .settings import Lab
from .theorems import generator


def one_variable_fills_all_dimensions(lab: Lab) -> Measured:
    """Rates on a staircase of thresholds: rank of the points, and components of 99 % of their variance."""
    count = lab.settings.geometry.units
    # between the thresholds, so that rounding of i/N decides nothing
    kappa = jnp.asarray((np.arange(count) + 0.5) / count)[:, None]
    step = lambda x: (x > 0).astype(x.dtype)  # noqa: E731
    rates = {
        phi: np.asarray(latent.staircase(count, phi=f).rates(kappa)) for phi, f in (("relu", "relu"), ("step", step))
    }
    return Measured(
        {
            "missing_rank_of_relu": float(count - np.linalg.matrix_rank(rates["relu"])),
            "missing_rank_of_step": float(count - np.linalg.matrix_rank(rates["step"])),
        },
        {f"components_of_{name}": measures.variance_dimension(each) for name, each in rates.items()},
    )


ALIGNED, OTHERS = 1.0, np.array([0.1, 0.25, 0.5, 2.0, 4.0])
"""The latent variable at which an encoding is the tuning itself, and those at which it is held against it."""


def activity_leaves_the_encoding(lab: Lab) -> Measured:
    """One variable, read along the rates at one of its values: what is off that line at others, if tuning is linear."""
    m = generator(lab, "outside").normal(size=lab.settings.theorems.units)
    at, kappa = np.tanh(ALIGNED * m), OTHERS[:, None]
    shares, seen = {}, []
    for phi, aligned in (("tanh", at), ("identity", ALIGNED * m)):
        unit = latent.from_encoding(m[:, None], aligned[None] / (aligned @ aligned), phi=phi)
        rates = np.asarray(unit.rates(jnp.asarray(kappa)))
        outside = np.asarray(latent.split(unit, rates)[1])
        shares[phi] = np.linalg.norm(outside, axis=1) / np.linalg.norm(rates, axis=1)
        seen.append(np.abs(outside @ np.asarray(unit.encoding).T).max())
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    tuned, straight = np.tanh(kappa * nodes), np.tanh(ALIGNED * nodes)
    cosine = tuned * straight @ weights / np.sqrt(tuned**2 @ weights * (straight**2 @ weights))
    minors = [np.outer(r, at) - np.outer(at, r) for r in np.tanh(kappa * m)]
    lagrange = [np.linalg.norm(a) / (2**0.5 * np.linalg.norm(at)) for a in minors]
    by_pairs = np.array(lagrange) / np.linalg.norm(np.tanh(kappa * m), axis=1)
    return Measured(
        {
            "least_share_over_expected": float((shares["tanh"] / np.sqrt(1 - cosine**2)).min()),
            "difference_to_pairs_of_units": float(np.abs(shares["tanh"] - by_pairs).max()),
            "largest_share_of_linear_tuning": float(shares["identity"].max()),
            "what_the_encoding_sees_of_it": float(max(seen)),
        },
        {"kappa": OTHERS.tolist(), "share_outside": shares["tanh"].tolist()},
    )


def dimension_of_spheres_is_bounded(lab: Lab) -> Measured:
    """Components for 99 % of the variance of units of random tuning: of finitely many, and of infinitely many."""
    sizes, rng = lab.settings.geometry, generator(lab, "sphere")
    limits = {"circle": (np.sin, 2, 1.0), "sphere": (np.tanh, 3, 2.0), "sharp": (np.sign, 5, 1.0)}
    exact = {
        name: measures.sphere_spectrum(phi, coordinates=k, gain=gain).dimension()
        for name, (phi, k, gain) in limits.items()
    }
    simulated = {
        f"{name}_{units}": _components(rng, *limits[name], units, sizes.points)
        for name in limits
        for units in (sizes.few, sizes.many)
    }
    return Measured(
        {
            "circle_of_infinitely_many": exact["circle"],
            "circle_of_many": float(simulated[f"circle_{sizes.many}"]),
            "sphere_of_many_over_limit": simulated[f"sphere_{sizes.many}"] / exact["sphere"],
            "smallest_limit": min(exact.values()),
            "sharp_growth": simulated[f"sharp_{sizes.many}"] / simulated[f"sharp_{sizes.few}"],
        },
        {"limits": exact, "simulated": simulated},
    )


TABLE: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    **{f"tanh {gain}": (np.tanh, gain) for gain in (1.0, 2.0, 5.0, 10.0)},
    **{f"sin {gain}": (np.sin, gain) for gain in (1.0, 3.0)},
    "relu": (lambda x: np.maximum(x, 0.0), 1.0),
    "sign": (np.sign, 1.0),
}
"""Functions and gains of random units, each in `COORDINATES` dimensions."""
COORDINATES = (2, 3, 5)


def counts_are_those_of_the_kernel(lab: Lab) -> Measured:
    """Components of 99 % of the variance for every function, gain and sphere, beside bounds from the exact spectrum."""
    sizes, rng = lab.settings.geometry, generator(lab, "table of spheres")
    table = {}
    for (name, (phi, gain)), k in itertools.product(TABLE.items(), COORDINATES):
        spectrum = measures.sphere_spectrum(phi, coordinates=k, gain=gain)
        low, high = count_bounds(spectrum, sizes.many, sizes.points)
        found = _components(rng, phi, k, gain, sizes.many, sizes.points)
        table[f"{name}, {k} coordinates"] = (found, spectrum.dimension(), low, high)
    found, limit, low, high = np.array(list(table.values()), float).T
    enough = low >= limit / 2
    return Measured(
        {
            "cells_below": float((found < low).sum()),
            "cells_above": float((found > high).sum()),
            "cells_of_enough_units": float(enough.sum()),
        },
        {name: dict(zip(("found", "limit", "low", "high"), row, strict=True)) for name, row in table.items()}
        | {"least_over_limit_of_enough_units": float((found / limit)[enough].min())},
    )


KERNELS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    "sine": (np.sin, lambda t: np.exp(-1) * np.sinh(t)),
    "relu": (lambda x: np.maximum(x, 0.0), lambda t: (np.sqrt(1 - t**2) + t * np.arccos(-t)) / (2 * np.pi)),
}
"""Functions whose covariance of units at two points, of the cosine t, is known in closed form."""


def ten_coordinates_by_their_kernels(lab: Lab) -> Measured:
    """Counts of 99 % of the variance in ten coordinates, and the same from kernels in closed form."""
    spectrum = lambda phi: measures.sphere_spectrum(phi, coordinates=10)  # noqa: E731
    counts = {name: spectrum(phi).dimension() for name, (phi, _) in KERNELS.items()}
    kernels = {name: kernel_count(kernel, 10) for name, (_, kernel) in KERNELS.items()}
    counts["tanh"] = spectrum(np.tanh).dimension()
    found = _components(
        generator(lab, "ten"), np.tanh, 10, 1.0, lab.settings.geometry.few, lab.settings.geometry.points
    )
    values = {f"{name}_by_its_kernel": float(count) for name, count in kernels.items()}
    return Measured(
        values | counts | {"tanh_of_few_over_limit": found / counts["tanh"]},
        {"few": lab.settings.geometry.few, "found": found},
    )


def kernel_count(kernel: Callable[[np.ndarray], np.ndarray], coordinates: int) -> int:
    """Components for 99 % of the variance about the mean, by the rule of Gauss and Gegenbauer for its coefficients."""
    from scipy.special import binom, eval_gegenbauer, roots_gegenbauer

    index = coordinates / 2 - 1
    t, weight = roots_gegenbauer(400, index)
    degree = np.arange(1, 40)
    shape = eval_gegenbauer(degree[:, None], index, t) / eval_gegenbauer(degree, index, 1.0)[:, None]
    variance = shape @ (weight / weight.sum() * kernel(t))
    many = np.rint((2 * degree + coordinates - 2) / degree * binom(degree + coordinates - 3, degree - 1)).astype(int)
    order = np.argsort(-variance)
    each = np.repeat(variance[order], np.minimum(many, 10_000)[order])
    # the kernel at t = 1 holds all degrees, also those that are cut off; the mean is that of degree 0
    total = kernel(np.ones(1))[0] - (weight / weight.sum()) @ kernel(t)
    return int(np.searchsorted(np.cumsum(each), 0.99 * total)) + 1


def count_bounds(spectrum: measures.SphereSpectrum, units: int, points: int) -> tuple[float, float]:
    r"""Between which counts of 99 % of the variance lie for finitely many units and points (docs eq. L.84).

    Of D population components, samples shrink every variance by $(1-\sqrt{D/N})^2(1-\sqrt{D/T})^2$ at most; the rest
    after d of them, 1 % of the whole, is no less than what the first D leave after d. Any D gives a bound.
    """
    variance, multiplicity = np.asarray(spectrum.variance), np.asarray(spectrum.multiplicity)
    order, most = np.argsort(-variance), min(units, points) - 1
    each = np.repeat(variance[order], np.minimum(multiplicity[order], most).astype(int))[:most]
    held = np.concatenate([[0.0], np.cumsum(each)]) / spectrum.total
    count = np.arange(1, len(held))
    shrunk = ((1 - np.sqrt(count / units)) * (1 - np.sqrt(count / points))) ** 2
    # three standard errors of a mean square of Gaussian numbers, over units and over points
    noise = 3 * np.sqrt(2 / units + 2 / points)
    least = (held[1:] - 0.01 * (1 + noise) / shrunk).max()
    return float(np.searchsorted(held, least)), spectrum.dimension(1 - 0.01 * (1 - noise))


def _components(
    rng: np.random.Generator, phi: Callable[[np.ndarray], np.ndarray], k: int, gain: float, units: int, points: int
) -> int:
    x = rng.normal(size=(points, k))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return measures.variance_dimension(phi(gain * x @ rng.normal(size=(k, units))))


def piecewise_linear_units_are_flat(lab: Lab) -> Measured:
    """A switching linear system in units of a network: beside the recursion of its variables, and its plane."""
    rng, n, dt = generator(lab, "switching"), lab.settings.theorems.units, 0.5
    turn = np.array([[0.9, -0.4], [0.4, 0.9]])
    matrices, offsets = np.stack([turn, 0.9 * turn.T]), np.array([[0.1, 0.0], [-0.2, 0.1]])
    borders, levels = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.zeros(2)
    embedding, baseline = rng.normal(size=(n, 2)), rng.normal(size=n)
    flow = latent.switching_unit(matrices, offsets, borders, levels, embedding=embedding, baseline=baseline, dt=dt)
    full = latent.SwitchingNetwork(flow)
    kappa = np.array([0.5, -0.3])
    network = rc.systems.Network(
        rc.systems.Euler(full, dt), rc.systems.LinearReadout(jnp.eye(n)), jnp.asarray(embedding @ kappa + baseline)
    )
    steps = lab.settings.theorems.steps
    states = np.asarray(rc.systems.simulate(network, jnp.zeros((1, steps, 0))).states)[0]
    differences = []
    for state in states:
        z = int(np.argmax(borders @ kappa))
        kappa = matrices[z] @ kappa + offsets[z]
        differences.append(float(np.abs(state - embedding @ kappa - baseline).max()))
    dimension = latent.linear_dimension(states, 2, tolerance=1e-9)
    return Measured({"largest_difference": max(differences), "linear_dimension": float(dimension.rank)})
