r"""How many dimensions units of random tuning give to a sphere: exact for infinitely many units and points."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int
from scipy.special import gammaln, roots_legendre

from recurvature._errors import InputError, check_count, check_positive
from recurvature._result import AbstractResult, Citation, Values

FUNK_HECKE = Citation(
    "muller1998spherical",
    "Müller (1998). Analysis of spherical symmetries in Euclidean spaces. Springer.",
    "https://doi.org/10.1007/978-1-4612-0581-4",
)


class SphereSpectrum(AbstractResult):
    r"""Principal components of rates $\phi(m_i\cdot x)$, $m_i\sim\mathcal N(0, g^2)$, $x$ on a sphere (docs eq. L.32).

    Entry l is for spherical harmonics of degree l: `variance` of each component, of which there are `multiplicity`.
    """

    citations: ClassVar[tuple[Citation, ...]] = (FUNK_HECKE,)

    degree: Int[Values, " degree"]
    variance: Float[Values, " degree"]
    multiplicity: Float[Values, " degree"]
    total: float
    """Variance of one unit, of all degrees; about zero, or about the mean if `centred`."""
    missing: float
    """Share of it in degrees beyond the last."""
    coordinates: int
    """K: the sphere has one dimension less."""
    gain: float
    centred: bool

    def dimension(self, share: float = 0.99) -> float:
        """The least number of components that hold a share of the variance; infinite if more degrees are needed."""
        if not 0 < share < 1:
            raise InputError(f"`share` must lie in (0, 1); got {share!r}.")
        variance, count = np.asarray(self.variance, float), np.asarray(self.multiplicity, float)
        order = np.argsort(-variance, kind="stable")
        held = np.cumsum((variance * count)[order])
        wanted = share * self.total
        # components above the rounding of the sum
        full = int(np.searchsorted(held, wanted * (1 - 1e-12)))
        if full == len(held):
            return float("inf")
        before = held[full - 1] if full else 0.0
        return float(count[order[:full]].sum() + np.ceil((wanted - before) / variance[order[full]] * (1 - 1e-12)))


def sphere_spectrum(
    phi: Callable[[np.ndarray], np.ndarray],
    *,
    coordinates: int,
    gain: float = 1.0,
    degrees: int = 120,
    centred: bool = True,
) -> SphereSpectrum:
    r"""The spectrum of rates on the unit sphere of `coordinates` = K dimensions, by the theorem of Funk and Hecke.

    With $\rho = \lVert m\rVert$, a component of degree l has the variance $\langle\mu_l(\rho)^2\rangle_\rho$, where
    $\mu_l(\rho) = \int\phi(\rho t)P_l(t)\,d\nu(t)$, $P_l$ is Gegenbauer's polynomial with $P_l(1) = 1$ and $\nu$ the
    distribution of a coordinate of a random point (docs eq. L.32, L.33).

    `phi` is a NumPy function, smooth but for a jump or kink at zero; `gain` the standard deviation of the entries of
    $m$; `degrees` how far to go. `missing` says what lies beyond. Components found from N units and T points are fewer
    until both exceed this.
    """
    check_count(coordinates=coordinates, degrees=degrees)
    check_positive(gain=gain)
    if coordinates < 2:
        raise InputError(f"`coordinates` must be at least 2; got {coordinates}.")
    angle, weight = _legendre(2 * degrees + 400, 0.0, np.pi / 2)
    density = weight * np.sin(angle) ** (coordinates - 2)
    density /= 2 * density.sum()
    # twelve standard deviations: what lies beyond is below rounding
    radius, share = _legendre(200, 0.0, np.sqrt(coordinates) + 12.0)
    share = share * np.exp(_log_chi(radius, coordinates))
    ahead, behind = (np.asarray(phi(sign * gain * np.outer(radius, np.cos(angle)))) for sign in (1, -1))
    parts = {0: (ahead + behind) * density, 1: (ahead - behind) * density}
    polynomials = gegenbauer(np.cos(angle), coordinates, degrees)
    variance = np.array([share @ (parts[degree % 2] @ p) ** 2 for degree, p in enumerate(polynomials)])
    total = float(share @ ((ahead**2 + behind**2) @ density))
    count = multiplicities(coordinates, degrees)
    if centred:
        total, variance[0] = total - variance[0], 0.0
    if not total > 0:
        raise InputError("`phi` gives every unit the same rate everywhere: there is no variance to share.")
    return SphereSpectrum(
        degree=np.arange(degrees + 1),
        variance=variance,
        multiplicity=count,
        total=total,
        missing=float(1 - (variance * count).sum() / total),
        coordinates=coordinates,
        gain=float(gain),
        centred=centred,
    )


def gegenbauer(t: Float[Any, " sample"], coordinates: int, degrees: int) -> Float[np.ndarray, "degree sample"]:
    r"""$P_0, P_1, \ldots$ of the sphere of K coordinates, $P_l(1) = 1$: Chebyshev for K = 2, Legendre for K = 3."""
    x = np.asarray(t, float)
    rows = [np.ones_like(x), x]
    for done in range(1, degrees):
        factor = 2 * done + coordinates - 2
        rows.append((factor * x * rows[-1] - done * rows[-2]) / (done + coordinates - 2))
    return np.array(rows[: degrees + 1])


def multiplicities(coordinates: int, degrees: int) -> Float[np.ndarray, " degree"]:
    r"""How many spherical harmonics there are of each degree: $\frac{2l+K-2}{l}\binom{l+K-3}{l-1}$ (docs eq. L.33)."""
    k = coordinates
    counts = [
        (2 * degree + k - 2) * math.comb(degree + k - 3, degree - 1) // degree for degree in range(1, degrees + 1)
    ]
    return np.array([1, *counts], float)


def _legendre(count: int, low: float, high: float) -> tuple[Float[np.ndarray, " q"], Float[np.ndarray, " q"]]:
    nodes, weights = roots_legendre(count)
    return low + (high - low) * (nodes + 1) / 2, weights * (high - low) / 2


def _log_chi(radius: Float[np.ndarray, " q"], k: int) -> Float[np.ndarray, " q"]:
    """Log density of the length of K standard normal numbers."""
    return (k - 1) * np.log(radius) - radius**2 / 2 - (k / 2 - 1) * np.log(2) - gammaln(k / 2)
