"""How a paper trains a network on a task: the network and the options of training, in one record."""

from collections.abc import Callable
from typing import Any, NamedTuple

from recurvature._keys import PRNGKey
from recurvature.systems.base import Network


class Recipe(NamedTuple):
    """What to train, and how.

    `recurvature.training.fit(recipe.network(key), task, key=key, **recipe.training)` is the whole of it; change what
    you like with `{**recipe.training, "steps": 100}`.
    """

    network: Callable[[PRNGKey], Network]
    """An untrained network from a key."""
    training: dict[str, Any]
    """Options of `recurvature.training.fit`."""
