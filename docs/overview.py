"""Draws the README's figure, `docs/overview.png`: `python docs/overview.py`."""

from pathlib import Path
from typing import Any

import recurvature as rc


def main() -> None:
    """Train the README's network and draw what it does to one of its two contexts."""
    key = rc.key(0)
    task = rc.tasks.ContextDecision()
    network = rc.systems.leaky_current(64, inputs=4, outputs=1, key=rc.stream(key, "weights"))
    fit = rc.training.fit(network, task, steps=1_000, learning_rate=3e-3, key=rc.stream(key, "training"))
    rc.enable_float64()
    network, manifold = rc.cast(fit.network, float), task.manifold(context=0)
    options: dict[str, Any] = {"points": 21, "duration": task.duration}
    warp = rc.warping.metric(network, manifold, **options)
    ratio = rc.warping.ratio(warp, "evidence_1", "evidence_2")
    profile = rc.warping.profile(warp, "evidence_1")
    sheet = rc.warping.sheet(network, manifold, times=(1.0, task.duration), points=21)
    axes = rc.figures.overview(warp, ratio, profile, sheet)
    figure = next(iter(axes.values())).get_figure(root=True)
    assert figure is not None
    figure.savefig(Path(__file__).with_name("overview.png"), dpi=150)


if __name__ == "__main__":
    main()
