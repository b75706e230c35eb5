r"""Units that are driven linearly by the latent variables: their modes, and rates that follow given variables."""

from typing import Any, ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Float
from scipy.linalg import expm
from scipy.sparse.linalg import LinearOperator, expm_multiply

from recurvature._errors import InputError, check_shape
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.latent.source import DINC

OK, DEFECTIVE = range(2)
MODES_STATUS = ("ok", "defective")
"""What `LinearModes.status` means; `defective`: modes coincide to rounding, so that courses are no sums of them."""


class LinearModes(AbstractResult):
    r"""Modes $e^{-\lambda t}v$ of a linear unit, $\tau_i\dot r_i = -r_i + (M\mathbf Nr)_i$ (docs eq. L.85).

    With one time constant there are K of them, beside N - K that `leak`; with several, all N. The slowest comes first.
    All that such a unit can do is decay, turn and grow.
    """

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    decay: Float[Values, " mode"] = eqx.field(metadata={"units": "1/time"})
    r"""Real parts of $\lambda$: positive where a mode decays."""
    rotation: Float[Values, " mode"] = eqx.field(metadata={"units": "rad/time"})
    r"""Imaginary parts of $\lambda$."""
    pattern_real: Float[Values, "mode n"]
    """Real parts of $v$, of length 1."""
    pattern_imaginary: Float[Values, "mode n"]
    latent_real: Float[Values, "mode k"]
    r"""Real parts of $\mathbf Nv$: what the variables see of it."""
    latent_imaginary: Float[Values, "mode k"]
    leak: float | None
    """The decay of all other patterns, where there is one time constant."""
    condition: float
    """Of the modes: how much a small change of rates can change their shares."""
    status: int


def linear_modes(
    embedding: Float[Any, "n k"], encoding: Float[Any, "k n"], *, taus: float | Float[Any, " n"] = 1.0
) -> LinearModes:
    r"""The modes of a unit without a nonlinearity (docs eq. L.85; arXiv 2502.14337, eq. M4, M5).

    With one time constant K × K matrices are enough; with `taus` of N neurons, an N × N one is diagonalised.
    """
    m, n, tau = _unit(embedding, encoding, taus)
    if np.ndim(tau) == 0:
        values, latent = np.linalg.eig(n @ m)
        rates, patterns, seen, leak = (1 - values) / tau, m @ latent, latent, float(1 / tau)
    else:
        rates, patterns = np.linalg.eig((np.eye(len(m)) - m @ n) / tau[:, None])
        seen, leak = patterns, None
    order = np.lexsort([-rates.imag, rates.real])
    size = np.linalg.norm(patterns, axis=0)
    patterns = patterns / np.where(size > 0, size, 1)
    condition = float(np.linalg.cond(seen))
    shown = patterns[:, order].T
    latents = shown @ n.T
    return LinearModes(
        decay=rates.real[order],
        rotation=rates.imag[order],
        pattern_real=shown.real,
        pattern_imaginary=shown.imag,
        latent_real=latents.real,
        latent_imaginary=latents.imag,
        leak=leak,
        condition=condition,
        # two vectors closer than the root of the rounding unit are one
        status=OK if condition < np.finfo(float).eps ** -0.5 else DEFECTIVE,
    )


def linear_rates(
    embedding: Float[Any, "n k"],
    encoding: Float[Any, "k n"],
    start: Float[Any, " n"],
    times: Float[Any, " time"],
    *,
    taus: float | Float[Any, " n"] = 1.0,
) -> Float[np.ndarray, "time n"]:
    r"""Rates of such a unit at `times` after `start`, exact also where modes coincide (docs eq. L.86).

    Never forms N × N: with one time constant through K × K exponentials, else by the action of the exponential.
    """
    m, n, tau = _unit(embedding, encoding, taus)
    r, at = np.asarray(start, float), np.asarray(times, float)
    check_shape("start", r, (len(m),))
    check_shape("times", at, (None,))
    if np.ndim(tau) == 0:
        kappa, overlap = n @ r, n @ m
        return np.stack([np.exp(-t / tau) * (r + m @ _integrated(overlap, kappa, t / tau)) for t in at])
    generator = LinearOperator(
        (len(m), len(m)),
        matvec=lambda x: (m @ (n @ x.ravel()) - x.ravel()) / tau,
        rmatvec=lambda x: n.T @ (m.T @ (x.ravel() / tau)) - x.ravel() / tau,
        dtype=float,
    )
    trace = float((((m * n.T).sum(1) - 1) / tau).sum())
    return np.stack([expm_multiply(t * generator, r, traceA=t * trace) for t in at])


def _integrated(overlap: Float[np.ndarray, "k k"], kappa: Float[np.ndarray, " k"], t: float) -> np.ndarray:
    r"""$\int_0^te^{\mathbf NMs}ds\,\kappa$, from one exponential of a matrix of one row more."""
    rank = len(kappa)
    block = np.zeros((rank + 1, rank + 1))
    block[:rank, :rank], block[:rank, rank] = overlap, kappa
    return expm(t * block)[:rank, rank]


def _unit(embedding: Any, encoding: Any, taus: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    m, n, tau = np.asarray(embedding, float), np.asarray(encoding, float), np.asarray(taus, float)
    check_shape("embedding", m, (None, None))
    check_shape("encoding", n, m.shape[::-1])
    _check_taus(tau, len(m))
    return m, n, tau


def _check_taus(tau: np.ndarray, units: int) -> None:
    if tau.ndim:
        check_shape("taus", tau, (units,))
    if not (np.isfinite(tau).all() and (tau > 0).all()):
        raise InputError(f"`taus` must be finite and positive; got {tau.min():g} as the least. Give time constants.")


class EmbeddedRates(AbstractResult):
    r"""Rates of units that follow $M\kappa(t)$, each with its own time constant (docs eq. L.87, L.88)."""

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    time: Float[Values, " time"]
    rates: Float[Values, "time n"]
    lag: Float[Values, "time n"]
    r"""$r - M\kappa$."""
    bound: Float[Values, "time n"]
    r"""What $|r - M\kappa|$ cannot exceed: what is left of the start, and $\tau_i$ times the fastest
    $|m_i\cdot\dot\kappa|$ so far. Where variables are slow, rates lie on the plane $M\kappa$, of at most K dimensions.
    """


def embedded_rates(
    latents: Float[Any, "time k"],
    times: Float[Any, " time"],
    embedding: Float[Any, "n k"],
    *,
    taus: float | Float[Any, " n"] = 1.0,
    start: Float[Any, " n"] | None = None,
) -> EmbeddedRates:
    r"""Rates $\tau_i\dot r_i = -r_i + (M\kappa)_i$ under given latent variables (docs eq. L.87; eq. M8-M10).

    However the variables come about: in a unit with a nonlinear encoding, $\kappa = E(r)$, rates obey this too.
    Between the `times` given the variables are taken to be straight, for which the answer is exact. `start`: rates at
    the first time (None: those at rest under its variables). Raises `InputError` unless times rise.
    """
    m, kappa, at, tau = (np.asarray(a, float) for a in (embedding, latents, times, taus))
    check_shape("embedding", m, (None, None))
    check_shape("latents", kappa, (None, m.shape[1]))
    check_shape("times", at, (len(kappa),))
    _check_taus(tau, len(m))
    if not (np.diff(at) > 0).all():
        raise InputError("`times` must rise from row to row: sort them, and leave out repeated ones.")
    followed = kappa @ m.T
    first = followed[0] if start is None else np.asarray(start, float)
    check_shape("start", first, (len(m),))
    speed = np.diff(followed, axis=0) / np.diff(at)[:, None]
    lag, gone = lag_behind(followed, at, tau, first)
    fastest = np.concatenate([np.zeros((1, len(m))), np.maximum.accumulate(np.abs(speed), axis=0)])
    bound = gone * np.abs(lag[0]) + tau * (1 - gone) * fastest
    return EmbeddedRates(at, followed + lag, lag, bound)


def lag_behind(
    followed: Float[np.ndarray, "time n"],
    times: Float[np.ndarray, " time"],
    tau: Float[np.ndarray, "*n"],
    first: Float[np.ndarray, " n"],
) -> tuple[Float[np.ndarray, "time n"], Float[np.ndarray, "time n"]]:
    r"""How far $\tau\dot r = -r + f$ is from an $f$ that is straight between times, and $e^{-(t-t_0)/\tau}$."""
    steps = np.diff(times)
    speed = np.diff(followed, axis=0) / steps[:, None]
    lag = np.empty_like(followed)
    lag[0] = first - followed[0]
    for i, step in enumerate(steps):
        # the lag itself is driven by the speed, which is constant between two times
        lag[i + 1] = np.exp(-step / tau) * lag[i] + tau * np.expm1(-step / tau) * speed[i]
    return lag, np.exp(-(times - times[0])[:, None] / np.broadcast_to(tau, (1, len(first))))
