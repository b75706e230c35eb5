"""Every kind of network that can be made from sizes and a key, by its name on the command line."""

from collections.abc import Callable

from recurvature.systems.base import Network
from recurvature.systems.gated import gru, lstm
from recurvature.systems.leaky import leaky_current, leaky_rate
from recurvature.systems.linear import diagonal, linear, s4d, state_space
from recurvature.systems.multi_synapse import multi_synapse
from recurvature.systems.preactivation import preactivation
from recurvature.systems.vanilla import vanilla

CONSTRUCTORS: dict[str, Callable[..., Network]] = {
    "leaky-current": leaky_current,
    "leaky-rate": leaky_rate,
    "multi-synapse": multi_synapse,
    "vanilla": vanilla,
    "gru": gru,
    "lstm": lstm,
    "preactivation": preactivation,
    "linear": linear,
    "diagonal": diagonal,
    "state-space": state_space,
    "s4d": s4d,
}
"""Functions `(size, *, inputs, outputs, key, dt=…, …) -> Network`."""
