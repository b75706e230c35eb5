"""Recurvature opens recurrent networks: train one or bring your own, and see how it computes.

The rooms are `systems`, `dynamics`, `measures`, `tasks`, `training`, `figures`, `io`, the lenses `warping`,
`latent`, `overlaps` and `superposition`, and `identities`, what these must agree on.
Nothing is imported, and no flag of JAX is touched, until a name is used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recurvature import dynamics as dynamics
    from recurvature import figures as figures
    from recurvature import identities as identities
    from recurvature import io as io
    from recurvature import measures as measures
    from recurvature import systems as systems
    from recurvature import tasks as tasks
    from recurvature import training as training
    from recurvature._keys import key as key
    from recurvature._keys import stream as stream
    from recurvature._precision import cast as cast
    from recurvature._precision import enable_float64 as enable_float64
    from recurvature._result import cite as cite
    from recurvature.app.in_process import analyze as analyze
    from recurvature.lenses import latent as latent
    from recurvature.lenses import overlaps as overlaps
    from recurvature.lenses import superposition as superposition
    from recurvature.lenses import warping as warping

_ROOMS = {
    "systems": "recurvature.systems",
    "dynamics": "recurvature.dynamics",
    "measures": "recurvature.measures",
    "tasks": "recurvature.tasks",
    "training": "recurvature.training",
    "figures": "recurvature.figures",
    "io": "recurvature.io",
    "warping": "recurvature.lenses.warping",
    "latent": "recurvature.lenses.latent",
    "superposition": "recurvature.lenses.superposition",
    "overlaps": "recurvature.lenses.overlaps",
    "identities": "recurvature.identities",
}
_NAMES = {
    "key": "recurvature._keys",
    "stream": "recurvature._keys",
    "cast": "recurvature._precision",
    "enable_float64": "recurvature._precision",
    "cite": "recurvature._result",
    "analyze": "recurvature.app.in_process",
}

__all__ = [*_ROOMS, *_NAMES]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(_ROOMS[name])
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'recurvature' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
