r"""Which vector is which: the columns of $\Theta = [Z\,|\,V\,|\,M\,|\,U]$, their names, and which overlaps show."""

from collections.abc import Mapping
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from recurvature._errors import InputError, check_choice, check_count, check_shape, unknown
from recurvature._result import Values

Regime = Literal["linear", "gaussian"]
REGIMES = ("linear", "gaussian")
"""Linear units; nonlinear units whose weights are jointly Gaussian over units."""

BIAS, START = "bias", "start"
"""Names of the columns of $M$ that stand for a bias (an input held at 1) and a start (the state before the first)."""


class Layout(eqx.Module):
    r"""The columns of $\Theta$: `outputs` of $Z$, `rank` of $V$, `inputs` of $M$, `rank` of $U$ (docs eq. O.2).

    `input_names` name the columns of $M$ where they are not all channels (a bias, an initial state).
    """

    outputs: int = eqx.field(static=True)
    rank: int = eqx.field(static=True)
    inputs: int = eqx.field(static=True)
    input_names: tuple[str, ...] = eqx.field(static=True, default=())

    def __check_init__(self) -> None:
        check_count(outputs=self.outputs, rank=self.rank, inputs=self.inputs)
        if self.input_names and len(self.input_names) != self.inputs:
            raise InputError(f"`input_names` must name {self.inputs} inputs; got {self.input_names!r}.")

    @property
    def size(self) -> int:
        """Number of vectors, $P = p + q + 2R$."""
        return self.outputs + self.inputs + 2 * self.rank

    @property
    def z(self) -> slice:
        """Columns of the readout."""
        return slice(0, self.outputs)

    @property
    def v(self) -> slice:
        """Columns of the right factor of the recurrence: what it reads."""
        return slice(self.outputs, self.outputs + self.rank)

    @property
    def m(self) -> slice:
        """Columns of the input weights."""
        return slice(self.outputs + self.rank, self.outputs + self.rank + self.inputs)

    @property
    def u(self) -> slice:
        """Columns of the left factor of the recurrence: what it writes."""
        return slice(self.size - self.rank, self.size)

    @property
    def split(self) -> int:
        """Number of columns of $A = [Z|V]$, which read; the rest, $B = [M|U]$, write."""
        return self.outputs + self.rank

    @property
    def channels(self) -> int:
        """Number of inputs that come from outside: those that are neither a bias nor a start."""
        return self.inputs - len({BIAS, START} & set(self.input_names))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the vectors: `z`, `v`, `m`, `u`, with a number where a block has several."""
        names = self.input_names or _numbered("m", self.inputs)
        return (*_numbered("z", self.outputs), *_numbered("v", self.rank), *names, *_numbered("u", self.rank))

    @property
    def pairs(self) -> Int[np.ndarray, "pair two"]:
        """Unordered pairs of vectors (a, b), a ≤ b, row by row: one for each overlap."""
        return np.stack(np.triu_indices(self.size), axis=1)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the overlaps, `z·m` and so on, in the order of `pairs`."""
        columns = self.columns
        return tuple(f"{columns[a]}·{columns[b]}" for a, b in self.pairs)

    def position(self, name: str) -> tuple[int, int]:
        """Row and column of the overlap called `name`; its two vectors may stand in either order."""
        first, _, second = name.partition("·")
        if first not in self.columns or second not in self.columns:
            raise unknown("overlap", name, self.names)
        return self.columns.index(first), self.columns.index(second)

    def visible(self, regime: Regime) -> Bool[np.ndarray, " pair"]:
        """Which overlaps the loss can depend on (docs eq. O.6): $K$; with nonlinear units also $S_{BB}$."""
        check_choice("regime", regime, REGIMES)
        first, second = self.pairs.T
        writes = second >= self.split
        return writes if regime == "gaussian" else writes & (first < self.split)

    def function_dimension(self, regime: Regime) -> int:
        """Number of independent combinations of visible overlaps that change the function: the gauge takes $R^2$."""
        return int(self.visible(regime).sum()) - self.rank**2

    @property
    def signature(self) -> Float[np.ndarray, " a"]:
        r"""The diagonal of $J$: 1 for what reads, −1 for what writes (docs eq. O.24)."""
        return np.where(np.arange(self.size) < self.split, 1.0, -1.0)

    def block_of(self, column: int) -> int:
        """0, 1, 2, 3 for a column of $Z$, $V$, $M$, $U$."""
        ends = np.cumsum([self.outputs, self.rank, self.inputs])
        return int(np.searchsorted(ends, column, side="right"))


def layout_of(columns: tuple[str, ...], outputs: int, rank: int, inputs: int) -> Layout:
    """The layout whose vectors have the names `columns`."""
    plain = Layout(outputs, rank, inputs)
    names = tuple(columns[plain.m])
    return plain if names == plain.columns[plain.m] else Layout(outputs, rank, inputs, names)


def _numbered(letter: str, count: int) -> tuple[str, ...]:
    return (letter,) if count == 1 else tuple(f"{letter}{i + 1}" for i in range(count))


def matrix(layout: Layout, values: Mapping[str, float], *, diagonal: float = 1.0) -> Float[np.ndarray, "a a"]:
    """The overlap matrix with the named `values` (`{"z·m": 0.5}`); squared norms are `diagonal`, the others 0."""
    result = diagonal * np.eye(layout.size)
    for name, value in values.items():
        a, b = layout.position(name)
        result[a, b] = result[b, a] = value
    return result


def to_pairs(overlaps: Float[Any, "*batch a a"], layout: Layout) -> Float[Any, "*batch pair"]:
    """The overlaps as a vector, one entry for each of `layout.names`."""
    a, b = layout.pairs.T
    return overlaps[..., a, b]


def from_pairs(values: Float[Array, "*batch pair"], layout: Layout) -> Float[Array, "*batch a a"]:
    """The symmetric matrix of a vector of overlaps."""
    check_shape("values", values[(0,) * (values.ndim - 1)], (len(layout.names),))
    index = np.zeros((layout.size, layout.size), int)
    a, b = layout.pairs.T
    index[a, b] = index[b, a] = np.arange(len(a))
    return jnp.asarray(values)[..., index]


class AbstractLaidOut(eqx.Module):
    """A result whose matrices have the columns of a layout."""

    columns: eqx.AbstractVar[tuple[str, ...]]
    outputs: eqx.AbstractVar[int]
    rank: eqx.AbstractVar[int]
    inputs: eqx.AbstractVar[int]

    @property
    def layout(self) -> Layout:
        """Which column is which."""
        return layout_of(self.columns, self.outputs, self.rank, self.inputs)


class AbstractCourse(AbstractLaidOut):
    """A result that holds the overlap matrix along learning."""

    matrix: eqx.AbstractVar[Float[Values, "step a b"]]

    def of(self, name: str) -> Float[np.ndarray, " step"]:
        """The overlap called `name` (`z·m`, in either order) along learning."""
        a, b = self.layout.position(name)
        return np.asarray(self.matrix)[:, a, b]
