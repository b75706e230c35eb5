"""Draws the README's figure, `docs/overview.png`, of the network of `recurvature demo`: `python docs/overview.py`."""

from pathlib import Path
from typing import Any

import recurvature as rc
from recurvature._progress import silent
from recurvature.app.commands import DEMO, demonstrate
from recurvature.app.subject import Options
from recurvature.io.specs import TrainSpec, parse
from recurvature.tasks import ContextDecision


def main() -> None:
    """Train the demo's network, look at it as the demo does, and draw one panel to each lens."""
    spec = parse(TrainSpec, DEMO, "the settings")
    _, found = demonstrate(spec, Options(), silent)
    network = found.subject.network
    seen: dict[str, Any] = dict(found.results)
    # the first input that is held after silence: the first context, without evidence
    points, field = seen["dynamics-fixed-points-1"], seen["dynamics-flow-1"]
    coordinate = ContextDecision().manifold(context=0).coordinates[0].name
    axes = rc.figures.every_lens(
        seen["evidence-1-counts-sheet"],
        rc.warping.profile(seen["evidence-1-counts-state"], coordinate),
        field,
        points,
        rc.dynamics.plane_coordinates(network, field, points.states),
        seen["dynamics-branches"],
        seen["superposition-directions"],
        seen["overlaps-course"],
        inputs=found.subject.input_names,
    )
    figure = next(iter(axes.values())).get_figure(root=True)
    assert figure is not None
    figure.savefig(Path(__file__).with_name("overview.png"), dpi=130, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    main()
