"""A geometry in words: the regime of each feature with the numbers that say so, and how far the transition is."""

import numpy as np

from recurvature._errors import check_positive
from recurvature.lenses.superposition.geometry import FORGETTING, REGIMES, Geometry
from recurvature.lenses.superposition.statistics import check_density

TRANSITION = {2: 0.497, 3: 0.495, 4: 0.362, 5: 0.301, 6: 0.257, 7: 0.227, 8: 0.205}
"""Density at which a sparse and a dense network of two units cost the same, by delay (docs, after eq. S.74).

Of one feature with amplitudes uniform from 0 to 1 under a relu readout. Each is known to about 0.01:
from branches of trained networks, that of 7 from exact losses.
"""


def verdict(geometry: Geometry, *, density: float | None = None, critical: float | None = None) -> tuple[str, ...]:
    """What the numbers of a geometry say, a sentence or two to each recalled feature.

    With the `density` of the features, also on which side of the transition it is: `critical` is the density of the
    transition, by default that of `TRANSITION` where it holds the delay, for one feature in two units.
    """
    lines = [_feature(geometry, i) for i in range(len(np.asarray(geometry.stored)))]
    more = ": they are superposed in time" if geometry.load > 1 else ""
    lines.append(
        f"{geometry.n_stored} of {len(lines)} features are stored, {geometry.load:.3g} memories for each unit{more}."
    )
    if density is not None:
        lines.append(_side(geometry, density, critical))
    return tuple(lines)


def _feature(geometry: Geometry, i: int) -> str:
    stored, psi = float(geometry.stored[i]), float(geometry.order_parameter[i])
    regime, forgetting = REGIMES[geometry.regime[i]], FORGETTING[geometry.forgetting[i]]
    turn = float(geometry.k_theta[i])
    parts = [f"{100 * stored:.0f} % of it is read out when it is due"]
    if np.isfinite(psi):
        parts.append(f"ψ = {psi:.2f}, the share of younger projections on the silent side")
    if np.isfinite(turn):
        parts.append(f"the eigenvalues turn by {turn:.0f}° over the delay")
    parts.append(f"it is forgotten {forgetting}ly (F = {float(geometry.sharpness[i]):.2f})")
    return f"Feature {i + 1}: {regime}. {'; '.join(parts)}."


def _side(geometry: Geometry, density: float, critical: float | None) -> str:
    check_density(density)
    _, units, features = np.shape(geometry.direction)
    known = TRANSITION.get(geometry.delay) if critical is None and (units, features) == (2, 1) else critical
    if known is None:
        size = f"units: {units}, features: {features}"
        return f"The transition for a delay of {geometry.delay} is not tabulated ({size}): pass `critical`."
    check_positive(critical=known)
    side = "sparse" if density < known else "dense"
    return (
        f"At a density of {density:.3g} the {side} packing costs less: the transition is at {known:.3g}, "
        f"a factor of {max(density, known) / min(density, known):.2g} away."
    )
