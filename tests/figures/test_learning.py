"""Loss curves."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from tests.figures.drawing import figure_of

import recurvature as rc
from recurvature.training.history import NON_FINITE, History


def history(loss: np.ndarray, status: list[int]) -> History:
    shape, ensemble = loss.shape, loss.ndim == 2
    return History(
        step=jnp.arange(shape[-1]),
        loss=jnp.asarray(loss),
        gradient_norm=jnp.ones(shape),
        learning_rate=jnp.ones(shape),
        penalties=jnp.zeros((*shape, 0)),
        steps_done=jnp.asarray(np.isfinite(loss).sum(-1)),
        status=jnp.asarray(status if ensemble else status[0]),
        seed=jnp.arange(shape[0]) + 10 if ensemble else None,
    )


LOSS = np.exp(-np.arange(20) / 5) * np.array([[1.0], [2.0], [4.0], [3.0]])
LOSS[3, 7:] = np.nan


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_network_is_one_line_on_a_logarithmic_axis(dtype: type) -> None:
    ax = rc.figures.training(history(LOSS[0].astype(dtype), [0]))
    (line,) = ax.get_lines()
    np.testing.assert_array_equal(line.get_ydata(), LOSS[0].astype(dtype).astype(np.float64))
    assert ax.get_yscale() == "log"
    assert ax.get_xlabel() == "training step"
    FigureCanvasAgg(figure_of(ax)).draw()


def test_an_ensemble_is_a_median_and_its_failed_seed_is_marked() -> None:
    ax = rc.figures.training(history(LOSS, [0, 0, 0, NON_FINITE]))
    lines = {str(line.get_label()): line for line in ax.get_lines()}
    np.testing.assert_array_equal(lines["median of 3 seeds (band: all)"].get_ydata(), LOSS[1])
    assert "non-finite: seed 13" in lines
    (cross,) = [line for line in ax.get_lines() if line.get_marker() == "x" and len(line.get_xdata()) == 1]  # type: ignore[arg-type]
    assert (cross.get_xdata()[0], cross.get_ydata()[0]) == (6, LOSS[3, 6])  # type: ignore[index]
    FigureCanvasAgg(figure_of(ax)).draw()


def test_nothing_learned_is_still_a_figure() -> None:
    lost = history(np.full((2, 5), np.nan), [NON_FINITE, NON_FINITE])
    ax = rc.figures.training(lost)
    assert "non-finite: seed 10, 11" in [text.get_text() for text in ax.get_legend().get_texts()]  # type: ignore[union-attr]
    FigureCanvasAgg(figure_of(ax)).draw()
    alone = dataclasses.replace(lost, loss=jnp.zeros(5), status=jnp.asarray(0), seed=None)
    FigureCanvasAgg(figure_of(rc.figures.training(alone))).draw()
