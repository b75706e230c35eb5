"""Which trials a report draws to show what is asked."""

import numpy as np

import recurvature as rc
from recurvature.app import asked, pictures
from recurvature.app.subject import Performance
from recurvature.tasks import ContextDecision


def test_trials_drawn_have_an_answer_on_which_the_rules_differ() -> None:
    task = ContextDecision(input_noise=0.0)
    trials = task.trials(rc.key(0), 242)
    done = Performance(1.0, 220, trials, np.zeros(trials.targets.shape), 0)
    groups = pictures.contexts(task, trials)
    assert groups is not None
    chosen = asked.examples(done, groups)
    assert [groups[k] for k in chosen] == list(task.views())
    assert np.asarray(trials.targets)[chosen, -1, 0].all()
    assert trials.theta is not None
    assert (np.asarray(trials.theta)[chosen].prod(1) < 0).all()
    silent = np.flatnonzero(np.asarray(trials.targets)[:, -1, 0] == 0)
    # a rule under which no trial has an answer is left out
    assert len(asked.examples(done, ["a" if k in silent else "b" for k in range(242)])) == 1
