"""The settings of the experiment, and the trained populations that several claims share."""

from typing import Any

import numpy as np

import recurvature as rc
from recurvature import superposition
from recurvature.app.laboratory import Lab as AnyLab
from recurvature.io.specs import Count, Spec
from recurvature.training import fit_population


class Training(Spec):
    """How a population is trained."""

    seeds: Count
    steps: Count
    trials: Count


class Settings(Spec):
    """The table `quick` or `full` of spec.toml."""

    seed: int
    plane: Training
    """Two units, one feature."""
    relu: Training
    """Two units with a relu recurrence."""
    many: Training
    """Two units, five features."""
    wide: Training
    """Several units, many features."""
    cued: Training
    """Gated networks whose delay is cued; `trials` is the batch."""
    sparse_delays: tuple[Count, ...]
    crossing_delays: tuple[Count, ...]
    long_delays: tuple[Count, ...]
    relu_delays: tuple[Count, ...]
    sizes: tuple[tuple[Count, Count], ...]
    """Units and features of higher-dimensional networks."""
    descent: Count
    """Steps of gradient descent on the exact loss."""
    units: Count
    """Units of the large linear network."""


Lab = AnyLab[Settings]

SPARSE, DENSE = 0.05, 1.0
"""Chances of a feature in either phase."""


def trained(
    lab: Lab, name: str, population: superposition.Population, loss: superposition.RecallLoss, steps: int
) -> superposition.Census:
    """A population trained on `loss`, held against other samples of it; trained once for this `name`."""

    def train() -> superposition.Census:
        options: dict[str, Any] = {"chunk": loss.fits(population), "report": lab.named(f"train {name}")}
        fitted = fit_population(population, loss, steps=steps, key=rc.stream(lab.key, f"{name}, training"), **options)
        return superposition.census(fitted.population, loss, key=rc.stream(lab.key, f"{name}, test"), repeats=20)

    return lab.once(f"census {name}", train)


def planar(lab: Lab, density: float, *, tied: bool = True) -> superposition.Census:
    """Two units with a rectified readout and one feature, at every delay."""
    how = lab.settings.plane
    population = superposition.random_population(
        2, delays=lab.settings.sparse_delays, seeds=how.seeds, tied=tied, key=rc.stream(lab.key, "weights")
    )
    loss = superposition.recall_loss(density, steps=40, trials=how.trials)
    return trained(lab, f"plane {density} {tied}", population, loss, how.steps)


def exact_loss(weights: superposition.Weights, delay: int, density: float, ages: int = 40) -> float:
    """The loss of one feature under a relu readout over that of silence, without a sample."""
    response = np.asarray(superposition.projections(weights, ages), float)[:, 0, 0]
    return superposition.rectified_loss(response, delay, density) / (density / 3)


def best_of(census: superposition.Census, delay: int) -> tuple[superposition.Weights, superposition.Geometry]:
    """The best network of one delay in float64, and its geometry."""
    weights = rc.cast(census.population.weights(census.best(delay)), float)
    return weights, superposition.geometry(weights, delay)


def best_exactly(
    census: superposition.Census, delay: int, density: float
) -> tuple[float, superposition.Weights, superposition.Geometry]:
    """The network of one delay of least exact loss: the loss, the weights and the geometry."""
    everyone = [rc.cast(census.population.weights(int(i)), float) for i in census.places(delay)]
    losses = [exact_loss(weights, delay, density) for weights in everyone]
    best = int(np.nanargmin(losses))
    return losses[best], everyone[best], superposition.geometry(everyone[best], delay)
