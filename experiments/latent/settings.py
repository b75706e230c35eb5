"""The settings of the experiments: one table for every file."""

from recurvature.app.laboratory import Lab as AnyLab
from recurvature.io.specs import Count, Spec


class Theorems(Spec):
    """Sizes in `theorems.py`."""

    units: Count
    """Units of random networks."""
    steps: Count
    """Steps of their runs."""


class Settings(Spec):
    """The table `quick` or `full` of spec.toml."""

    seed: int
    theorems: Theorems


Lab = AnyLab[Settings]
