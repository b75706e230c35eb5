"""Environments of NeuroGym as tasks: trials recorded once, with what the environment says is right as their targets."""

import importlib.util
import math
import re
import warnings
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float

from recurvature._errors import InputError, check_count, check_kind, check_positive, unknown
from recurvature._keys import PRNGKey, stream
from recurvature._result import Citation, Values
from recurvature.systems.inputs import AbstractInputManifold, Box, Coordinate
from recurvature.tasks.base import AbstractTask, Phases, Trials, numbered
from recurvature.tasks.draws import balanced, beats_silence, window_mean

NEUROGYM = Citation(
    "molano2022",
    "Molano-Mazón et al. NeuroGym: an open resource for developing and sharing neuroscience tasks. PsyArXiv 2022.",
    "https://doi.org/10.31234/osf.io/aqc9n",
)
_LINEAR = 1e-5
"""Observations are float32 numbers of order one; a few of them are added and taken from one another."""


class LinearCourse(AbstractInputManifold):
    r"""Inputs of a trial that depend linearly on numbers of the trial: $u(t;\theta) = c(t) + \sum_i\theta_i\,s_i(t)$.

    Both are constant within steps of `dt`. After its last step a trial stays as it was there.
    """

    domain: Box
    course: Float[Values, "time d"]
    slopes: Float[Values, "m time d"]
    dt: float = eqx.field(static=True)
    jump_times: tuple[float, ...] = eqx.field(static=True)

    def inputs(self, time: Float[Array, ""], theta: Float[Array, " m"]) -> Float[Array, " d"]:
        """The input in the step that holds `time`."""
        # far above the rounding of a quotient, also in single precision: a jump belongs to what follows it
        slack = 1e-6 + 4 * len(self.course) * float(jnp.finfo(time.dtype).eps)
        step = jnp.clip(jnp.floor(time / self.dt + slack).astype(jnp.int32), 0, len(self.course) - 1)
        course, slopes = jnp.asarray(self.course, theta.dtype), jnp.asarray(self.slopes, theta.dtype)
        return course[step] + theta @ slopes[:, step]


class EnvironmentTask(AbstractTask):
    """Trials that an environment gave, as many as were recorded; made by `from_environment`.

    Inputs are its observations. Targets are its ground truth: one output to each action, 1 at the right one and
    otherwise 0, or the numbers themselves where actions are continuous. Trials shorter than the longest are filled up
    with zeros that weigh 0. Steps at which an answer is due weigh `answer_weight`, others 1. It is due in the period
    called `decision`, else wherever the ground truth is not the first action, else all the time.

    A trial is answered right if the right action has the largest mean output over the steps at which an answer is due;
    actions at other steps are not counted. Where actions are continuous, at most a quarter of the square error may be
    left that silence makes.
    """

    observations: Float[Values, "trial time d"]
    truth: Float[Values, "trial time o"]
    weight: Float[Values, "trial time"]
    name: str = eqx.field(static=True)
    reference: Citation = eqx.field(static=True)
    discrete: bool = eqx.field(static=True)
    dt: float = eqx.field(static=True)
    periods: tuple[tuple[str, tuple[float, float]], ...] = eqx.field(static=True)
    stimuli: LinearCourse | None = None
    input_noise: float = eqx.field(static=True, default=0.0)

    @property
    def input_size(self) -> int:
        """Observations at one step."""
        return self.observations.shape[2]

    @property
    def output_size(self) -> int:
        """Actions, or the numbers that make one."""
        return self.truth.shape[2]

    @property
    def steps(self) -> int:
        """Steps of the longest trial."""
        return self.observations.shape[1]

    @property
    def input_names(self) -> tuple[str, ...]:
        """The observations, by number."""
        return numbered("observation", self.input_size)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The actions, by number."""
        return numbered("action", self.output_size)

    def draw(self, key: PRNGKey, n: int) -> Trials:
        """`n` of the recorded trials, each as often as any other or once more."""
        index = balanced(stream(key, "trial"), n, len(self.observations))
        pick = lambda array: jnp.asarray(array, jnp.float32)[index]  # noqa: E731
        return Trials(pick(self.observations), pick(self.truth), pick(self.weight))

    def correct(self, outputs: Float[Array, "trial time o"], trials: Trials) -> Bool[Array, " trial"]:
        """Which trials were answered right, as the class says."""
        if not self.discrete:
            return beats_silence(outputs, trials.targets, trials.mask)
        due = (trials.mask == trials.mask.max(1, keepdims=True)).astype(trials.mask.dtype)
        asked, given = window_mean(trials.targets, due), window_mean(outputs, due)
        return (given.argmax(-1) == asked.argmax(-1)) & jnp.isfinite(given).all(-1)

    def manifold(self) -> AbstractInputManifold:
        """The stimuli along the coordinates that `from_environment` was asked for; raises `InputError` without any."""
        if self.stimuli is None:
            raise InputError(
                f"{self.name} has no manifold: name numbers of a trial in `along` of from_environment, or write its "
                "stimuli as systems.FunctionInputs."
            )
        return self.stimuli

    def views(self) -> dict[str, dict[str, int]]:
        """The one manifold, if there is one."""
        return {} if self.stimuli is None else {"stimuli": {}}

    def phases(self) -> Phases:
        """The periods of the trial of the manifold, else of one that was recorded."""
        return dict(self.periods)


def from_environment(
    environment: Any,
    *,
    key: PRNGKey,
    trials: int = 1000,
    tau_ms: float = 100.0,
    answer_weight: float = 5.0,
    along: Mapping[str, tuple[float, float]] | None = None,
    fixed: Mapping[str, Any] | None = None,
    input_noise: float = 0.0,
    **options: Any,
) -> EnvironmentTask:
    """An environment of NeuroGym as a task: `trials` of its trials, with its ground truth as targets.

    - `environment`: a name such as `"PerceptualDecisionMaking-v0"`, which `options` are passed to (`dt=20`, in
      milliseconds; `timing`), or an environment, which is seeded and asked for trials.
    - `key`: which trials. Another key gives others: what a network has learnt is to be tested on those.
    - `tau_ms`: milliseconds in a unit of time. `answer_weight`: above 1, see `EnvironmentTask`.
    - `along`: numbers of a trial and their ranges, as `{"coh": (-51.2, 51.2)}`, to be the coordinates of a manifold;
      `fixed`: the others, as `{"ground_truth": 0}`, where it matters which. Noise (its `sigma`) is left out. What is
      observed must depend linearly on the coordinates; nothing else is guessed.

    Raises `InputError` where NeuroGym is missing or does not know the name, where the environment has no ground truth
    (it is learnt from rewards, which is not done here) or no vectors to observe, and on a manifold that is not linear.
    """
    check_count(trials=trials)
    check_positive(tau_ms=tau_ms)
    for name, numbers in (("along", along), ("fixed", fixed)):
        check_kind(name, numbers or {}, Mapping, "pass a dictionary of numbers of a trial")
    if not 1 < answer_weight < math.inf:
        raise InputError(f"`answer_weight` must be a finite number above 1; got {answer_weight!r}.")
    if fixed and not along:
        raise InputError("`fixed` says what else a trial of the manifold is made of: name its coordinates in `along`.")
    env = _environment(environment, options)
    seed = int(jr.bits(stream(key, "environment"), dtype=jnp.uint32))
    env.seed(seed)
    rows = [_trial(env, answer_weight) for _ in range(trials)]
    dt = env.dt / tau_ms
    observations, truth, weight = (_padded([row[i] for row in rows]) for i in range(3))
    discrete = hasattr(env.action_space, "n")
    if discrete:
        truth = np.eye(int(env.action_space.n))[truth[..., 0].astype(int)] * (weight > 0)[..., None]
    stimuli = None if not along else _stimuli(env, dict(along), dict(fixed or {}), seed, dt)
    periods = tuple((name, (env.start_ind[name] * dt, env.end_ind[name] * dt)) for name in env.start_ind)
    return EnvironmentTask(
        observations,
        truth,
        weight,
        name=re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", type(env).__name__).lower(),
        reference=_reference(env),
        discrete=discrete,
        dt=dt,
        periods=tuple(period for period in periods if period[1][0] < period[1][1]),
        stimuli=stimuli,
        input_noise=input_noise,
    )


def _environment(environment: Any, options: Mapping[str, Any]) -> Any:
    """The environment itself, of a kind that can be recorded."""
    if importlib.util.find_spec("neurogym") is None:
        raise InputError("environments come from NeuroGym: `pip install 'recurvature[neurogym]'`.")
    import neurogym
    from neurogym.core import TrialEnv, TrialWrapper
    from neurogym.envs.registration import all_envs

    if isinstance(environment, str):
        known = all_envs(collections=True)
        if environment not in known:
            raise unknown("environment", environment, known)
        with warnings.catch_warnings():
            # gymnasium says so of every environment of NeuroGym, none of which draws
            warnings.filterwarnings("ignore", ".*metadata doesn't include `render_modes`", UserWarning)
            if "dt" in options:
                check_positive(dt=options["dt"])
            try:
                environment = neurogym.make(environment, **options)
            except (TypeError, ValueError, KeyError) as error:
                raise InputError(
                    f"{environment} takes no options {dict(options)}: {' '.join(str(error).split())}."
                ) from error
    elif options:
        raise InputError(
            f"`{min(options)}` is an option of an environment that is made by its name; make yours with it."
        )
    if isinstance(environment, TrialWrapper):
        raise InputError("`environment` is in a wrapper, which changes its trials; pass what is inside: `.unwrapped`.")
    env = getattr(environment, "unwrapped", None)
    if not isinstance(env, TrialEnv):
        raise InputError(f"`environment` must be a NeuroGym environment or its name; got {type(environment).__name__}.")
    if len(env.observation_space.shape or ()) != 1:
        raise InputError(f"{type(env).__name__} has no vectors to observe, but {env.observation_space}.")
    if not hasattr(env.action_space, "n") and len(env.action_space.shape or ()) != 1:
        raise InputError(f"{type(env).__name__} has actions that are neither numbered nor vectors: {env.action_space}.")
    return env


def _trial(env: Any, answer_weight: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observations, ground truth and weights of one new trial."""
    env.new_trial()
    if not env._has_gt:
        raise InputError(
            f"{type(env).__name__} has no ground truth: it is learnt from rewards, which is not done here."
        )
    truth = np.asarray(env.gt, float).reshape(len(env.gt), -1)
    due = np.zeros(len(truth), bool)
    if "decision" in env.start_ind:
        due[env.start_ind["decision"] : env.end_ind["decision"]] = True
    elif hasattr(env.action_space, "n"):
        due = truth[:, 0] != 0
    weight = np.where(due, answer_weight, 1.0)
    return np.array(env.ob, float), truth, weight


def _padded(rows: list[np.ndarray]) -> np.ndarray:
    longest = max(len(row) for row in rows)
    return np.stack([np.pad(row, [(0, longest - len(row)), *[(0, 0)] * (row.ndim - 1)]) for row in rows])


def _stimuli(
    env: Any, along: dict[str, tuple[float, float]], fixed: dict[str, Any], seed: int, dt: float
) -> LinearCourse:
    """The trial as a linear function of some of its numbers, checked where it was not fitted."""
    for name, ends in along.items():
        if np.shape(ends) != (2,):
            raise InputError(f"`along` gives each coordinate its two ends, {{{name!r}: (low, high)}}; got {ends!r}.")
    domain = Box(tuple(Coordinate(name, float(low), float(high)) for name, (low, high) in along.items()))
    centre = {name: (low + high) / 2 for name, (low, high) in along.items()}
    course = _quiet(env, fixed | centre, seed)
    slopes = []
    for name, (_, high) in along.items():
        moved = _quiet(env, fixed | centre | {name: high}, seed)
        slopes.append((_alike(moved, course) - course) / (high - centre[name]))
    base = course - sum(centre[name] * slope for name, slope in zip(along, slopes, strict=True))
    corner = {name: low + 0.3 * (high - low) for name, (low, high) in along.items()}
    seen = _alike(_quiet(env, fixed | corner, seed), course)
    expected = base + sum(corner[name] * slope for name, slope in zip(along, slopes, strict=True))
    if not np.abs(seen - expected).max() <= _LINEAR * max(1.0, *(float(np.abs(a).max()) for a in (course, expected))):
        raise InputError(
            f"the observations of {type(env).__name__} are no linear function of {', '.join(along)} (or are noisy). "
            "Write its stimuli as systems.FunctionInputs."
        )
    # what each coordinate does over its range: units of coordinates are anyone's
    moves = [slope * (high - low) for slope, (low, high) in zip(slopes, along.values(), strict=True)]
    idle = [name for name, move in zip(along, moves, strict=True) if not np.abs(move).max() > _LINEAR]
    if idle:
        raise InputError(f"the observations of {type(env).__name__} do not depend on {', '.join(idle)}.")
    stacked = np.concatenate([base, *moves], 1)
    jumps = np.flatnonzero((np.abs(np.diff(stacked, axis=0)) > _LINEAR * np.abs(stacked).max()).any(1)) + 1
    return LinearCourse(domain, base, np.stack(slopes), dt, tuple(float(k * dt) for k in jumps))


def _alike(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    if one.shape != other.shape:
        raise InputError("`along` names a number that changes how long a trial is, which no manifold here can follow.")
    return one


def _quiet(env: Any, numbers: dict[str, Any], seed: int) -> np.ndarray:
    """Observations of a trial with these numbers, the same random ones each time, and no noise."""
    before = getattr(env, "sigma", 0.0)
    env.seed(seed)
    try:
        env.sigma = 0.0
        env.new_trial(**numbers)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{type(env).__name__} makes no trial with {numbers}: {error!r}.") from error
    finally:
        env.sigma = before
    return np.array(env.ob, float)


def _reference(env: Any) -> Citation:
    """The paper that the environment names, else that of NeuroGym."""
    name, link = env.metadata.get("paper_name"), env.metadata.get("paper_link")
    if not name or not link:
        return NEUROGYM
    return Citation(type(env).__name__, f"{' '.join(str(name).split())} (by NeuroGym)", str(link))
