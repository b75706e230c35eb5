"""What a one-step fit cannot see: drive that its variables do not explain takes gain from it, and states with that."""

import numpy as np
import pytest
import scipy.optimize

from recurvature.training import Activity, OneStepFit, cornn

GAIN, SPREAD, ALPHA = 1.2, 1.0, 0.5


@pytest.fixture(scope="module")
def shaken() -> np.ndarray:
    """One bistable unit, shaken at every step by a drive that nobody recorded: (trial, time, 1)."""
    rng = np.random.default_rng(0)
    r, rows = np.zeros(100), []
    for _ in range(200):
        r = (1 - ALPHA) * r + ALPHA * np.tanh(GAIN * r + SPREAD * rng.normal(size=100))
        rows.append(r)
    return np.stack(rows, 1)[:, :, None]


def fitted(rates: np.ndarray) -> OneStepFit:
    return cornn(Activity(rates, None, ALPHA), ridge=1e-9, weighting="equal", outlier=None, iterations=60)


def gain(fit: OneStepFit) -> float:
    return float(np.asarray(fit.network.system.flow.connectivity.weight)[0, 0])  # type: ignore[attr-defined]


def states(fit: OneStepFit) -> int:
    """How often -r + tanh(ar) changes its sign: the fixed points of the fitted unit."""
    r = np.linspace(-1.0, 1.0, 2000)
    return int((np.diff(np.sign(np.tanh(gain(fit) * r) - r)) != 0).sum())


@pytest.mark.slow  # a claim holds it
def test_a_fit_of_low_rank_has_less_gain_than_what_it_is_fitted_to(shaken: np.ndarray) -> None:
    """The fitted gain a solves E[r tanh(ar)] = E[r tanh(wr + xi)], and E tanh(z + xi) < tanh z for z > 0 (L.82)."""
    fit = fitted(shaken)
    r = shaken[:, :-1].ravel()
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    smoothed = (np.tanh(GAIN * r[:, None] + SPREAD * nodes) @ weights) / weights.sum()
    missing = lambda a: (r * (np.tanh(a * r) - smoothed)).mean()  # noqa: E731
    expected = scipy.optimize.brentq(missing, 0.1, 2.0)
    slope = (r**2 / np.cosh(expected * r) ** 2).mean()
    # the noise of the sample average of r tanh(wr + xi), over the slope of the condition: four standard errors
    error = 4 * np.std(r) * np.std(np.tanh(SPREAD * nodes)) / np.sqrt(len(r)) / slope
    assert abs(gain(fit) - expected) < error
    assert gain(fit) + error < GAIN


@pytest.mark.slow  # a claim holds it
def test_with_the_gain_states_are_lost_that_the_unit_has_when_it_is_left_alone(shaken: np.ndarray) -> None:
    fit = fitted(shaken)
    assert gain(fit) < 1
    assert states(fit) == 1
    alone = np.linspace(-0.9, 0.9, 20)
    rows = [alone]
    for _ in range(30):
        rows.append((1 - ALPHA) * rows[-1] + ALPHA * np.tanh(GAIN * rows[-1]))
    # of the same unit without that drive the fit is exact, and has both states
    still = fitted(np.stack(rows, 1)[:, :, None])
    np.testing.assert_allclose(gain(still), GAIN, atol=1e-5)
    assert states(still) == 3
