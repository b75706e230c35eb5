"""The first section of a report: what the network is asked to do, and a trial of it."""

import numpy as np

from recurvature import figures
from recurvature.app import pictures
from recurvature.app.page import Block, Fact, Facts, Notice, Picture, Section, Text, number
from recurvature.app.report import picture
from recurvature.app.subject import Performance, Probe
from recurvature.tasks import EnvironmentTask
from recurvature.tasks.base import AbstractTask

TITLE = "What it is asked"

ASKED = {
    "context-decision": "Of two constant evidences, it is to report the sign of the one that a context points at.",
    "random-dots": "It is to say whether noisy evidence, weak or strong, is for the right or for the left.",
    "delayed-match": "It is to say whether two stimuli, some time apart, were the same.",
    "working-memory": "It is to keep two angles, shown in turn, over a delay, and then to report both.",
    "memory-subtraction": "It is to keep two angles, shown in turn, over a delay, and then to report their difference.",
    "static-circle": "It is to say, within a single step, in which arc of a circle its input lies.",
    "reaching": "It is to decode the velocity of a hand from spike counts of units tuned to direction and speed.",
    "recall": "It is to give out, at every step, what came in a fixed number of steps ago.",
    "filter": "It is to be a filter: its output is its input, averaged over an exponentially fading past.",
    "oscillator": "It is to be a filter: its output is its input, run through a damped oscillator.",
    "flip-flop": "It is to keep, for every channel, the sign of the last pulse that came in on it.",
    "sequence-sorting": "It is to give out, in order of size, the numbers that it was shown one after another.",
    "delayed-addition": "It is to report the sum of two pulses that came some time apart.",
}
"""What every task asks for, in one sentence."""


def task_section(task: AbstractTask | None, done: Performance | None, probe: Probe | None = None) -> Section:
    """What is asked, or that nobody said it; with a trial of each rule where trials were run."""
    if task is None:
        why = "no task was named, so nobody can say what a right output is. Name one with --task."
        span = "" if probe is None else f" from −{number(probe.amplitude)} to {number(probe.amplitude)}"
        return Section(
            "task",
            TITLE,
            (Notice("Left out:", why),),
            f"No task is known: what follows is about inputs that are held constant{span}.",
        )
    sizes = Facts(
        (
            Fact("task", task.name),
            Fact("inputs", str(task.input_size)),
            Fact("outputs", str(task.output_size)),
            Fact("a trial lasts", f"{number(task.steps * task.dt)} τ", f"{task.steps} steps of {number(task.dt)} τ"),
        )
    )
    noise = f" Gaussian noise of {number(task.input_noise)} comes on top of every input at every step."
    made = (
        f" Its trials were made by the environment beforehand: {len(task.observations):,} of them."
        if isinstance(task, EnvironmentTask)
        else ""
    )
    whence = f"From {task.reference.text.rstrip('.')}."
    source = Text(f"{whence}{noise if task.input_noise else ''}{made}")
    finding = ASKED.get(task.name, f"It is to do the task {task.name}.")
    drawn: tuple[Block, ...] = () if done is None else (_trials(task, done),)
    return Section("task", TITLE, (*drawn, sizes, source), finding)


def examples(done: Performance, groups: list[str]) -> list[int]:
    """A trial with an answer of each group that has one; of several rules, one that they would answer differently."""
    counts = np.asarray(done.trials.mask)[:, :, None] != 0
    answer = (counts & (np.asarray(done.trials.targets) != 0)).any((1, 2))
    rows = [[k for k, of in enumerate(groups) if of == name and answer[k]] for name in sorted(set(groups))]
    theta = done.trials.theta
    apart = np.zeros(len(counts), bool) if theta is None else np.sign(theta).min(1) * np.sign(theta).max(1) < 0
    return [min(row, key=lambda k: (len(rows) > 1 and not apart[k], k)) for row in rows if row]


def _trials(task: AbstractTask, done: Performance) -> Picture:
    groups = pictures.contexts(task, done.trials)
    chosen = examples(done, ["" for _ in done.outputs] if groups is None else groups)
    titles = None if groups is None else [groups[k] for k in chosen]
    axes = figures.trial(done.trials, task, examples=chosen, run=done.outputs, titles=titles)
    several = "A trial of either rule" if len(chosen) == 2 else "One trial"
    counts = np.asarray(done.trials.mask)[chosen] != 0
    when = "at its last step" if counts.sum() == len(chosen) and counts[:, -1].all() else "in the shaded time"
    return picture(
        pictures.root(axes),
        f"{several}: above, what comes in; below, what the network gives out, and what is asked for {when}.",
        "Inputs, outputs and targets of a trial",
    )
