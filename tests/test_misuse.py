"""What newcomers get wrong is answered in one line that names the argument and the cure.

In a process of its own: the checks of annotations under which the other tests run would answer first.
"""

import subprocess
import sys

SCRIPT = """
import recurvature as rc

network = rc.systems.leaky_current(8, inputs=4, outputs=1, key=rc.key(0))
task = rc.tasks.ContextDecision()
manifold = task.manifold(context=0)
at = dict(times=(1.0,), points=3, average="means", space="state", epsilon=0.0)
surface = rc.warping.Immersion(lambda theta: theta, manifold.coordinates)


def fit(network=network, task=task, **options):
    return rc.training.fit(network, task, steps=2, batch=4, key=rc.key(1), **options)


MISTAKES = {
    "`frozen` cannot be str": lambda: fit(frozen="x0"),
    "`penalties` cannot be Penalty": lambda: fit(penalties=rc.training.l2_rates(0.1)),
    "`noise` cannot be float": lambda: fit(noise=0.1),
    "`task` cannot be the class ContextDecision": lambda: fit(task=rc.tasks.ContextDecision),
    "`task` cannot be str": lambda: fit(task="context-decision"),
    "`network` cannot be ContextDecision": lambda: fit(network=task),
    "`key` must be a key; got 0": lambda: rc.systems.leaky_current(8, inputs=4, outputs=1, key=0),
    "`coherences` cannot be int": lambda: rc.tasks.RandomDots(coherences=4),
    "`inputs` must have shape": lambda: rc.systems.simulate(network, [[0.0, 0.0, 0.0, 0.0]]),
    "`manifold` cannot be ContextDecision": lambda: rc.warping.metric(network, task, duration=1.0),
    "`network` cannot be ConstantInputs": lambda: rc.warping.metric(manifold, network, duration=1.0),
    "`points` needs whole numbers": lambda: rc.warping.metric(network, manifold, points=(5.0, 5.0), duration=1.0),
    "`points` must have shape (any, 2)": lambda: rc.warping.metric(network, manifold, points=[5, 5], duration=1.0),
    "`points` must be rows (point, 2), or a tuple": lambda: rc.warping.geodesic_distances(surface, points=[5, 5]),
    "`immersion` cannot be Network": lambda: rc.warping.geodesic_distances(network, points=5),
    "`times` must be a row": lambda: rc.warping.curvature(network, manifold, points=2, duration=1.0, times=0.5),
    "`times` cannot be float": lambda: rc.warping.ratio_constraint([(manifold, 0, 1)], **at | {"times": 1.0}),
    "`conditions` cannot be ConstantInputs": lambda: rc.warping.ratio_constraint((manifold, 0, 1), **at),
    "`immersions` cannot be list": lambda: rc.warping.compare([surface, surface], points=5),
    "`immersions` cannot be Immersion": lambda: rc.warping.compare({"a": surface, "b": surface}, points=5),
    "`duration` must be a finite number": lambda: rc.warping.metric(network, manifold, duration="1"),
}
for start, mistake in MISTAKES.items():
    try:
        mistake()
    except ValueError as error:
        if str(error).startswith(start) and "\\n" not in str(error):
            continue
        raise SystemExit(f"{start!r} was answered by {error}")
    raise SystemExit(f"{start!r} was accepted")
assert rc.systems.simulate(network, [[[0.0, 0.0, 0.0, 0.0]] * 5]).states.shape == (1, 5, 8)
"""


def test_mistakes_are_answered_in_one_line() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
