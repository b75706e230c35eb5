"""The settings of the experiments: one table for every file."""

from recurvature.app.laboratory import Lab as AnyLab
from recurvature.io.specs import Count, Positive, Spec


class Theorems(Spec):
    """Sizes in `theorems.py`."""

    units: Count
    """Units of random networks."""
    steps: Count
    """Steps of their runs."""


class Design(Spec):
    """Sizes in `design.py`."""

    draws: Count
    """Units that are sampled, of every kind."""
    law_draws: Count
    """Those whose growth rates are held against the law."""
    sizes: tuple[Count, ...]
    """Neurons of sampled units."""
    observed_size: Count
    """Neurons of units that are seen in part."""
    million_draws: Count
    """Draws of a million neurons."""
    run_size: Count
    """Neurons of the unit that is run."""
    precision_size: Count
    """Neurons whose field is summed in several precisions."""


class Drift(Spec):
    """Sizes in `drift.py`."""

    units: Count
    """Neurons of the memory; larger ones are copies."""
    small: Positive
    """Strength from which orders are measured."""
    sizes: tuple[Count, ...]
    """Neurons of the memories that drift: multiples of `units`."""
    strengths: Count
    restarts: Count
    restarts_of_small: Count
    """Draws of drift at up to 1000 neurons, where they are cheap."""
    trials: Count
    steps: Count
    """Steps of a trial."""


class Perturbations(Spec):
    """Sizes in `perturbations.py`."""

    units: Count
    """Coding neurons."""
    redundant: Count
    draws: Count
    """Random backgrounds."""
    after: Count
    """Steps after a pulse."""
    memories: Count
    """Memories whose coding neurons get a pulse."""
    kicks: Count
    """Random directions."""
    hold: Count
    """Steps over which a sum is held."""
    additions: Count
    """Networks that learn to add."""
    addition_steps: Count


class Decoding(Spec):
    """Sizes in `decoding.py`."""

    units: Count
    trials: Count
    splits: Count
    trees: Count
    bottlenecks: tuple[Count, ...]


class Approximations(Spec):
    """Sizes in `approximations.py`."""

    few: Count
    many: Count
    """Units of the two networks that are compared."""
    samples: Count
    """Where the wanted flow is given."""


class Geometry(Spec):
    """Sizes in `geometry.py`."""

    units: Count
    """Units of the staircase."""
    few: Count
    many: Count
    """Units that see a sphere, twice."""
    points: Count
    """Points on the sphere."""


class Fitting(Spec):
    """Sizes in `training.py`."""

    units: Count
    steps: Count
    tune_steps: Count
    """Steps of training at full rank, and at low rank."""
    batch: Count
    seeds: Count
    trials: Count
    """Trials of 40 steps that a convex fit is made to."""
    passes: Count
    """Of Adam over them."""
    random_units: Count
    random_steps: Count


class Scaling(Spec):
    """Sizes in `scaling.py`."""

    units: Count
    """Units of networks that sort, over ranks."""
    ranks: tuple[Count, ...]
    sizes: tuple[Count, ...]
    """Numbers of units, at a rank of 2."""
    seeds: Count
    steps: Count
    size_steps: Count
    """Of networks of other sizes."""
    batch: Count
    long_ranks: tuple[Count, ...]
    long_steps: Count
    """Of networks that sort three numbers."""
    long_seeds: Count
    memory_sizes: tuple[Count, ...]
    memory_rates: tuple[Positive, ...]
    memory_steps: Count


class Settings(Spec):
    """The table `quick` or `full` of spec.toml."""

    seed: int
    theorems: Theorems
    approximations: Approximations
    geometry: Geometry
    design: Design
    drift: Drift
    perturbations: Perturbations
    decoding: Decoding
    fitting: Fitting
    scaling: Scaling


Lab = AnyLab[Settings]
