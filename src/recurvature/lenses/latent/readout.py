r"""Linear readouts of units and of latent variables: when they are the same, and how to make any readout one."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_choice, check_shape
from recurvature._precision import float_dtype
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.latent.gauge import with_connectivity
from recurvature.lenses.latent.regression import ridge_rows
from recurvature.lenses.latent.source import DINC
from recurvature.lenses.latent.unit import AbstractUnit, LatentUnit, row_space
from recurvature.systems.connectivity import LowRank


class ReadoutEquivalence(AbstractResult):
    r"""A linear readout $Cr$ beside the one $D\kappa$ that sees the latent variables alone (docs eq. L.20, L.21).

    They are equal for all rates if and only if $CP = C$. Else adding `witness`, $q = (1-P)C^\top$, to the rates changes
    no latent variable and every output by `gap` $= \lVert q\rVert^2$.
    """

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    latent_weight: Float[Values, "o k"]
    r"""$D = C\mathbf N^+$."""
    witness: Float[Values, "o n"]
    gap: Float[Values, " o"]
    outside: Float[Values, " o"]
    r"""$\lVert(1-P)C^\top\rVert/\lVert C\rVert$, output by output."""
    equivalent: bool


def readout_equivalence(unit: AbstractUnit, weight: Float[Any, "o n"]) -> ReadoutEquivalence:
    """Whether a linear readout of the rates is one of the latent variables."""
    c = np.asarray(weight, float)
    check_shape("weight", c, (None, unit.flow.state_size))
    basis = row_space(unit).astype(float)
    witness = c - (c @ basis) @ basis.T
    size = np.linalg.norm(c, axis=1)
    outside = np.linalg.norm(witness, axis=1) / np.where(size > 0, size, 1)
    # a projection of N numbers, in the number type of the unit
    rounding = 10 * c.shape[1] ** 0.5 * float(jnp.finfo(float_dtype(unit.flow)).eps)
    return ReadoutEquivalence(
        latent_weight=c @ np.linalg.pinv(np.asarray(unit.encoding, float)),
        witness=witness,
        gap=(witness**2).sum(1),
        outside=outside,
        equivalent=bool((outside <= rounding).all()),
    )


class Extension(AbstractResult):
    r"""Rows of an encoding that make outputs $y = g(\kappa)$ linear in the rates (docs eq. L.24, L.83)."""

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    weight: Float[Values, "o n"]
    r"""$n_{K+1}$ and so on: $y = n_{K+1}r$."""
    error: Float[Values, " o"]
    r"""Root mean square of what the fit leaves, over that of $g$."""
    largest_error: Float[Values, " o"]
    """The largest of it, in units of the output."""
    ridge: float
    form: str


def extend(
    unit: LatentUnit,
    output: Callable[[Float[Array, " k"]], Float[Array, " o"]],
    samples: Float[Any, "sample k"],
    *,
    inputs: Float[Any, "sample d"] | None = None,
    form: str = "stable",
    ridge: float = 1e-12,
) -> Extension:
    r"""Outputs that are any function $g$ of the latent variables become latent variables of their own (Lemma 1).

    They are then read linearly from the rates, $y = n_{K+1}r$ (Theorem 2). Rows are fitted on `samples` of $\kappa$
    (and inputs), which must cover where the unit goes.

    **Arguments**

    - `form`: `stable` fits $n_{K+1}\phi = g + \tau\,\partial g\,\dot\kappa$, so that $y - g$ fades as $e^{-t/\tau}$
      (docs eq. L.24); of a unit with a step, the finite difference for which it fades by $1-\alpha$ in every step,
      inputs that change included (docs eq. L.83). `static` fits $n_{K+1}\phi = g$: $y$ is then $g$ seen through the
      leak, late by up to $\tau$. The neutral form of the paper, whose errors stay for ever, is `approximate` of
      $(\dot\kappa, \partial g\,\dot\kappa)$.
    - `ridge`: relative to the mean square of the rates.

    Raises `InputError` for current networks, whose rates are functions of their variables already.
    """
    check_choice("form", form, ("stable", "static"))
    if unit.form != "rate":
        raise InputError("`unit` must be one of a rate network: rates of a current network are functions of κ and v.")
    kappa = jnp.asarray(samples, unit.embedding.dtype)
    check_shape("samples", kappa, (None, unit.connectivity.rank))
    none = np.zeros((len(kappa), unit.flow.input_size))
    u = jnp.asarray(none if inputs is None else inputs, kappa.dtype)
    check_shape("inputs", u, none.shape)
    values, wanted = _targets(unit, output, kappa, u, leaking=form == "stable")
    rates = np.asarray(unit.rates(kappa, u), float)
    weight = ridge_rows(rates, wanted, ridge)
    left = np.abs(rates @ weight.T - wanted)
    size = np.sqrt((values**2).mean(0))
    return Extension(
        weight=weight,
        error=np.sqrt((left**2).mean(0)) / np.where(size > 0, size, 1),
        largest_error=left.max(0),
        ridge=ridge,
        form=form,
    )


@eqx.filter_jit
def _traced(unit: LatentUnit, output: Callable, kappa: Array, u: Array) -> tuple[Array, Array]:
    r"""$g$, and what the leak needs beside it: $\tau\,\partial g\,\dot\kappa$, or its exact counterpart for a step."""
    dt, tau = unit.dt, unit.flow.tau

    def one(k: Array, drive: Array) -> tuple[Array, Array]:
        move = unit.field(k, drive)
        if dt is None:
            value, along = jax.jvp(output, (k,), (move,))
            return value, tau * along
        value = output(k)
        return value, (output(k + dt * move) - value) * (tau / dt)

    return jax.vmap(one)(kappa, u)


def _targets(
    unit: LatentUnit, output: Callable, kappa: Array, u: Array, *, leaking: bool
) -> tuple[Float[np.ndarray, "sample o"], Float[np.ndarray, "sample o"]]:
    values, rise = (np.asarray(a, float) for a in _traced(unit, output, kappa, u))
    if values.ndim != 2:
        raise InputError(f"`output` must give a vector for every κ; got shape {values.shape[1:]}.")
    # infinite ones are refused where they are fitted
    with np.errstate(invalid="ignore"):
        return values, values + rise if leaking else values


def extended_unit(unit: LatentUnit, extension: Extension) -> LatentUnit:
    """The unit of K + O variables: the outputs are read from the rates, and drive no unit."""
    low = unit.connectivity
    weight = jnp.asarray(extension.weight, low.left.dtype)
    check_shape("extension.weight", weight, (None, low.size))
    left = jnp.concatenate([low.left, jnp.zeros((low.size, len(weight)), low.left.dtype)], axis=1)
    right = jnp.concatenate([low.right, weight.T / low.scale], axis=1)
    return with_connectivity(unit, LowRank(left, right, low.normalisation))
