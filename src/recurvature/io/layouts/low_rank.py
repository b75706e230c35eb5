"""The low-rank networks of Dubreuil, Valente et al.: `wi si m n b wo so h0`, as in their public code."""

import jax.numpy as jnp
import numpy as np

from recurvature._errors import InputError
from recurvature.io.layouts.ledger import Ledger
from recurvature.systems import Euler, LeakyCurrent, LinearReadout, LowRank, Network

NEEDED = frozenset({"wi", "m", "n", "wo"})
_ALPHA = 0.2


def fits(names: set[str]) -> bool:
    """Whether the names are those of the layout."""
    return names >= NEEDED


def read(ledger: Ledger) -> tuple[Network, str]:
    r"""The network of $h \leftarrow h + \alpha(-h + \frac1N m\,n^\top\tanh(h + b) + W_\mathrm{in}u)$ and its layout.

    $W_\mathrm{in}$ = `wi`ᵀ·`si`, readout $\frac1N$ (`wo`·`so`)ᵀ tanh(h), $\alpha$ = dt/tau = 0.2 unless told
    (Valente, Pillow & Ostojic 2022, arXiv 2206.09920). With the state $x = h + b$ this is a leaky current network.
    """
    options = ledger.options
    if options.form != "current" or options.orientation is not None or options.readout is not None:
        raise InputError("the low-rank layout fixes `form`, `orientation` and `readout`; leave them out.")
    if options.phi not in (None, "tanh"):
        raise InputError(f"`phi` must be tanh in the low-rank layout; got {options.phi!r}.")
    size, rank = _matrix(ledger, "m")
    left = ledger.take("m", "m", "left vectors m (units, rank)", (size, rank))
    right = ledger.take("n", "n", "right vectors n (units, rank), recurrent weights m nᵀ / N", (size, rank))
    inputs, outputs = _matrix(ledger, "wi")[0], _matrix(ledger, "wo")[1]
    weights = ledger.take("wi", "wi", "input vectors (inputs, units)", (inputs, size))
    weights = weights * _optional(ledger, "si", "strength of each input", inputs, 1.0)[:, None]
    out = ledger.take("wo", "wo", "output vectors (units, outputs), readout with 1/N", (size, outputs))
    out = out * _optional(ledger, "so", "strength of each output", outputs, 1.0)
    bias = _optional(ledger, "b", "bias inside the nonlinearity: the state is x = h + b", size, 0.0)
    start = _optional(ledger, "h0", "initial state", size, 0.0)
    if bias.any():
        ledger.note("b is not zero: the original reads tanh(h), this network tanh(x) = tanh(h + b); outputs differ")
    flow = LeakyCurrent(
        LowRank(jnp.asarray(left), jnp.asarray(right)), jnp.asarray(weights.T), jnp.asarray(bias), "tanh", _tau(ledger)
    )
    readout = LinearReadout(jnp.asarray(out.T / size))
    return Network(Euler(flow, _dt(ledger)), readout, jnp.asarray(start + bias)), "low-rank"


def _matrix(ledger: Ledger, name: str) -> tuple[int, int]:
    shape = ledger.shape(name)
    if len(shape) != 2 or min(shape) < 1:
        raise InputError(f"`{name}` must be a matrix; got shape {shape}.")
    return shape[0], shape[1]


def _optional(ledger: Ledger, name: str, meaning: str, size: int, default: float) -> np.ndarray:
    if name not in ledger.tensors:
        return np.full(size, default, ledger.dtype)
    return ledger.take(name, name, meaning, (size,))


def _tau(ledger: Ledger) -> float:
    tau = ledger.options.tau or 1.0
    ledger.settings |= {"tau": tau, "phi": "tanh", "form": "current"}
    return tau


def _dt(ledger: Ledger) -> float:
    dt = ledger.options.dt
    if dt is None:
        dt = _ALPHA * (ledger.options.tau or 1.0)
        ledger.note(f"time step not in the file: dt/tau = {_ALPHA}, as published, was taken; pass dt to change it")
    ledger.settings |= {"dt": dt}
    return dt
