"""Figures 9 and 10: networks that learned A or B, and then C; what the overlaps still tell."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

import recurvature as rc
from recurvature import overlaps as ov
from recurvature.app.claims import Measured
from recurvature.tasks import FlipFlop, RandomDots

from .settings import RANK1, Lab

TEACHER = ov.matrix(
    RANK1,
    {"z·m": 0.5, "z·u": 2.3, "v·m": 2.0, "v·u": 1.5, "m·u": 1.6, "m·m": 1.8, "u·u": 2.2, "z·z": 9.0, "v·v": 9.0},
)
"""Overlaps of the network that task C is to be like; those that the function does not depend on complete a matrix."""


class Likeness(eqx.Module):
    """The loss of being like a teacher on pulses and noise, a function of overlaps and a key."""

    rule: ov.BatchLoss
    teacher: Array
    steps: int = eqx.field(static=True)
    batch: int = eqx.field(static=True)
    pulse: int = eqx.field(static=True)
    """Steps of a pulse, and of the gap after it."""

    @property
    def phi(self) -> str:
        """The nonlinearity of the units."""
        return self.rule.phi

    def __call__(self, overlaps: Float[Array, "a a"], key: Any) -> Float[Array, ""]:
        """The loss of the overlaps on the inputs of a key."""
        return self.sample(key)(overlaps)

    def sample(self, key: Any) -> ov.DataLoss:
        """The loss on the inputs of a key as one on fixed data."""
        x = self.inputs(key)
        said = ov.respond(self.teacher, self.rule.layout, x, self.rule.dt, self.rule.phi)
        return self.rule.sample(ov.Batch(x, said, jnp.ones(x.shape[:2], x.dtype)))

    def inputs(self, key: Any) -> Float[Array, "trial time d"]:
        """Pulses of ±2 in turn with silence, and noise of standard deviation 1.5 at every step."""
        count = -(-self.steps // (2 * self.pulse))
        dtype = self.teacher.dtype
        signs = jr.rademacher(rc.stream(key, "pulses"), (self.batch, count, 1), dtype)
        on = jnp.concatenate([jnp.ones(self.pulse, dtype), jnp.zeros(self.pulse, dtype)])
        pulses = (signs * on[None, None, :]).reshape(self.batch, -1)[:, : self.steps, None]
        noise = jr.normal(rc.stream(key, "noise"), (self.batch, self.steps, 1), dtype)
        return 2.0 * pulses + 1.5 * noise


class InSingle(eqx.Module):
    """A loss of random batches, computed in float32: that rounds by 1e-7, and batches scatter by some per cent.

    What its gradients add up to stays in float64.
    """

    loss: ov.TaskLoss | Likeness

    @property
    def phi(self) -> str:
        """The nonlinearity of the units."""
        return self.loss.phi

    def __call__(self, overlaps: Float[Array, "a a"], key: Any) -> Float[Array, ""]:
        """The loss of the overlaps on the trials of a key."""
        return self.loss(overlaps.astype(jnp.float32), key).astype(overlaps.dtype)

    def sample(self, key: Any) -> ov.DataLoss:
        """The loss on the trials of a key as one on fixed data."""
        return self.loss.sample(key)


def _told(lab: Lab) -> ov.Histories:
    """All runs along both routes."""

    def compute() -> ov.Histories:
        how = lab.settings.histories
        rule, steps = ov.BatchLoss(RANK1, how.dt, "erf"), how.steps_of_a_trial
        memory = FlipFlop(
            bits=1, dt=how.dt, steps=steps, pulse=0.5, gaps=(1.0, 2.0), settle=0.5, amplitude=2.0, level=1.0
        )
        tenth = steps // 20
        decision = RandomDots(
            dt=how.dt,
            fixation_steps=tenth,
            stimulus_steps=10 * tenth,
            delay_steps=4 * tenth,
            response_steps=5 * tenth,
            coherences=(4.0, 8.0, 16.0),
        )
        # as in the paper's code, a fifth of the rate once the loss of a batch is small
        descent = ov.Rule(how.rate, slower_below=0.015, slower=0.2)
        first = tuple(
            ov.Phase(
                InSingle(ov.TaskLoss(task, rule, how.batch)), descent, how.steps, name, _keys(lab, name, how.steps)
            )
            for name, task in (("A", memory), ("B", decision))
        )
        like = Likeness(rule, jnp.asarray(TEACHER, jnp.float32), steps, how.batch, round(1 / how.dt))
        last = ov.Phase(InSingle(like), how.last_rate, how.last_steps, "C", _keys(lab, "C", how.last_steps))
        return ov.histories(
            (first[0], first[1]), last, random_starts(lab, how.runs), layout=RANK1, records=20, regime="gaussian"
        )

    return lab.once("histories", compute)


def _keys(lab: Lab, name: str, steps: int) -> Any:
    return jr.split(rc.stream(lab.key, f"batches of {name}"), steps)


def random_starts(lab: Lab, runs: int) -> Float[np.ndarray, "run a a"]:
    """Squared norms evenly between 1/2 and 2, other overlaps half-normal of scale 0.4, where that is a matrix."""
    rng = np.random.default_rng(lab.settings.seed)
    found: list[np.ndarray] = []
    while len(found) < runs:
        upper = np.triu(np.abs(0.4 * rng.normal(size=(4, 4))), 1)
        matrix = upper + upper.T + np.diag(rng.uniform(0.5, 2.0, 4))
        # of the others no vectors have these products
        if np.linalg.eigvalsh(matrix)[0] > 0.05:
            found.append(matrix)
    return np.stack(found)


def first_tasks_leave_different_overlaps(lab: Lab) -> Measured:
    """The two routes before C: how far visible and invisible overlaps are apart, in the mean over runs."""
    told = _told(lab)
    apart, seen = _apart(told, told.switch - 1), told.visible
    losses = np.asarray(told.loss)
    return Measured(
        {
            "visible_apart": float(apart[:, seen].mean()),
            "invisible_apart": float(apart[:, ~seen].mean()),
            "largest_loss_left": float((losses[:, :, told.switch - 1] / losses[:, :, 0]).max()),
        },
        {"by_overlap": dict(zip(RANK1.names, apart.mean(0).tolist(), strict=True))},
        {"histories": told},
    )


def _apart(told: ov.Histories, step: int) -> Float[np.ndarray, "run pair"]:
    pairs = told.pairs(step)
    return np.abs(pairs[:, 0] - pairs[:, 1])


def visible_overlaps_meet_and_invisible_do_not(lab: Lab) -> Measured:
    """After C: what is left of the distance between the routes, for visible and invisible overlaps."""
    told, seen = _told(lab), _told(lab).visible
    before, after = _apart(told, told.switch - 1).mean(0), _apart(told, -1).mean(0)
    left = after / before
    losses = np.asarray(told.loss)
    return Measured(
        {
            "visible_left": float(after[seen].mean() / before[seen].mean()),
            "invisible_left": float(after[~seen].mean() / before[~seen].mean()),
            "largest_loss_left": float((losses[:, :, -1] / losses[:, :, told.switch]).max()),
        },
        {"left": dict(zip(RANK1.names, left.tolist(), strict=True)), "conditions": told.conditions},
    )


def invisible_overlaps_tell_the_first_task(lab: Lab) -> Measured:
    """A discriminant on overlaps after C, run by run left out: without an error of measurement, and with one."""
    told, noise = _told(lab), lab.settings.histories.noise
    rows = {
        level: ov.tell_first_task(told, noise=level, key=rc.stream(lab.key, "measurement"), draws=50)
        for level in (0.0, noise / 6, noise)
    }
    exact, rough = rows[0.0], rows[noise]
    return Measured(
        {
            "right_from_invisible": float(exact.invisible.mean()),
            "right_from_visible_with_noise": float(rough.visible.mean()),
            "right_from_invisible_with_noise": float(rough.invisible.mean()),
            "invisible_over_visible_with_noise": float(rough.invisible.mean() - rough.visible.mean()),
        },
        {
            str(level): {"visible": float(t.visible.mean()), "invisible": float(t.invisible.mean())}
            for level, t in rows.items()
        },
        {"telling": rough},
    )
