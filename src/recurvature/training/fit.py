"""Train one network on a task."""

from collections.abc import Sequence

import optax

from recurvature._errors import NumericalError
from recurvature._keys import PRNGKey
from recurvature._progress import Report, silent
from recurvature.systems.base import Network
from recurvature.systems.simulate import Noise
from recurvature.tasks.base import AbstractTask
from recurvature.training.checkpoint import TrainingState
from recurvature.training.descent import LossFunction, Optimiser, Schedule
from recurvature.training.history import Fit
from recurvature.training.loss import mean_squared_error
from recurvature.training.options import Options, check_fits, sequence, split
from recurvature.training.penalty import Penalty
from recurvature.training.run import OnBlock, blocks, finished, follow, new_run, resumed


def fit(
    network: Network,
    task: AbstractTask,
    *,
    steps: int,
    key: PRNGKey,
    batch: int = 64,
    learning_rate: float | Schedule = 1e-3,
    optimiser: Optimiser = optax.adam,
    loss: LossFunction = mean_squared_error,
    penalties: Sequence[Penalty] = (),
    noise: Noise | None = None,
    clip_norm: float | None = 1.0,
    target_loss: float | None = None,
    frozen: Sequence[str] = (),
    block: int = 50,
    report: Report = silent,
    resume: TrainingState | None = None,
    on_block: OnBlock | None = None,
    throw: bool = True,
) -> Fit:
    """Train `network` on fresh trials of `task` by backpropagation through time, in float32.

    - `steps`, `batch`: updates in all, and trials drawn for each.
    - `learning_rate`: a number, or a function of the step (an optax schedule).
    - `optimiser`: from a learning rate to an optax transformation: `optax.adam`, `optax.sgd`,
      `lambda rate: optax.adamw(rate, weight_decay=1e-2)`.
    - `loss`: from outputs and trials to a scalar; the mean squared error where the mask of the trials says so.
    - `penalties`: added to the loss, see `Penalty`. `noise`: added to the state.
    - `clip_norm`: largest norm of the gradient over all parameters together; None leaves it as it is.
    - `target_loss`: stop after the first block whose mean loss is at most this.
    - `frozen`: parameters that do not learn, by name, such as `("x0", "system.flow.input_weights")`.
    - `block`: steps in one compiled program. Reports, early stopping and checkpoints happen between blocks. The last
      block may be shorter; it runs in the same program.
    - `on_block` receives a `TrainingState` after each block, `resume` goes on from one. A resumed run equals the
      uninterrupted one bit for bit; only `steps` may differ from what that run was asked to do.

    Training stops at the first loss, gradient or parameter that is not finite and keeps the parameters before it.
    With `throw` this raises `NumericalError`, with the fit in its `result`; otherwise `Fit.status` says so. Raises
    `InputError` on options that make no sense, a network that does not fit the task, or a `resume` of another run.
    """
    check_fits(network, task)
    options = Options(
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        optimiser=optimiser,
        loss=loss,
        penalties=sequence("penalties", penalties),
        noise=noise,
        clip_norm=clip_norm,
        target_loss=target_loss,
        frozen=sequence("frozen", frozen),
        block=block,
    )
    spec = options.spec(task, network, key, None)
    run = resumed(new_run(options, task, split(network, options.frozen), key, spec), resume)
    result = finished(follow(run, blocks(run), report, on_block))
    if throw and result.failed:
        raise NumericalError(
            f"training went {result.status}: the loss or its gradient overflowed. Lower `learning_rate` or "
            "`clip_norm`; the last finite network is in the `result` of this error.",
            result,
        )
    return result
