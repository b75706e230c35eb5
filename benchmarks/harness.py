"""Measure arms of one computation side by side: same inputs, equal answers first, ratios of CPU time after.

A job is a module `benchmarks/NAME.py` with one function `cases(size) -> Iterable[Case]`. A case has arms; every arm is
built once (compilation is timed apart) and gives a function that does the whole computation and returns its answer:

    def cases(size: str) -> Iterable[Case]:
        def ours() -> Built:
            compiled = jax.jit(f).lower(x).compile()
            return Built(lambda: compiled(x), temp_bytes(compiled))

        def theirs() -> Built:
            import torch                      # absent peer: ImportError here means "arm missing"
            return Built(lambda: loop(torch.as_tensor(x)))

        yield Case("metric", {"n": 128}, [Arm("streamed", ours), Arm("torch jacfwd", theirs)],
                   goals=[Goal("torch jacfwd", "streamed", at_least=15)], rtol=1e-5)

Wall time on a shared machine says little. What is compared is process CPU time, children included, of arms that take
turns round by round in one single-threaded process.
"""

import dataclasses
import functools
import os
import resource
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

ROUNDS = 7
NOISY = 1.5
"""A ratio is marked noisy where an arm's slowest round took this many times its median."""
SHORTEST_ROUND = 0.03
"""CPU seconds that a round should at least take: short computations are repeated within a round."""

THREADS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "NPROC": "1",  # XLA's CPU client
    "JAX_PLATFORMS": "cpu",
}


@dataclasses.dataclass(frozen=True)
class Built:
    """An arm ready to run: the whole computation, and the temporary memory its compiler says it takes."""

    run: Callable[[], Any]
    temp_bytes: int | None = None


@dataclasses.dataclass(frozen=True)
class Arm:
    """One way to do the computation. `build` may raise ImportError: then the arm is missing, which is not a pass.

    `units` is how much of the work one run does (4 for four seeds); ratios compare CPU time per unit. Arms answer the
    same question, and must agree, within a `group`; None exempts an arm that has no answer to compare.
    """

    name: str
    build: Callable[[], Built]
    units: float = 1.0
    group: str | None = "all"
    rtol: float | None = None
    """Tolerance of this arm against the first of its group, where it differs from the case's."""


@dataclasses.dataclass(frozen=True)
class Goal:
    """CPU time of `slow` over CPU time of `fast`, per unit of work, and the bounds that ratio should keep."""

    slow: str
    fast: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def name(self) -> str:
        """`slow_over_fast`."""
        return f"{self.slow}_over_{self.fast}"


@dataclasses.dataclass(frozen=True)
class Work:
    """What one unit of the computation cannot do without, for the limit that the machine sets."""

    flop: float = 0.0
    bytes: float = 0.0
    tanh: float = 0.0
    seq_steps: float = 0.0


@dataclasses.dataclass(frozen=True)
class Case:
    """One computation at one size."""

    job: str
    params: Mapping[str, Any]
    arms: Sequence[Arm]
    goals: Sequence[Goal] = ()
    work: Work = Work()
    dtype: str = "float32"
    rtol: float = 1e-5
    atol: float = 0.0
    rounds: int = ROUNDS
    limits: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    """Facts that are no ratios of times, by name: (value, largest value allowed), such as bytes used and by formula."""

    @property
    def title(self) -> str:
        """Job and parameters in one line."""
        return " ".join([self.job, *(f"{k}={v}" for k, v in self.params.items())])


class Disagreement(AssertionError):
    """Two arms of a case gave different answers, so their times must not be compared."""


def temp_bytes(compiled: Any) -> int | None:
    """Temporary memory of a compiled JAX program, where its backend tells."""
    analysis = compiled.memory_analysis()
    return None if analysis is None else int(analysis.temp_size_in_bytes)


def cpu_time() -> float:
    """CPU seconds of this process and of its finished children."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage)


def measure(case: Case, calibration: Mapping[str, float], only: Iterable[str] | None = None) -> dict[str, Any]:
    """Build, compare, warm up and time the arms of a case; what it found, ready for JSON."""
    arms = [a for a in case.arms if only is None or a.name in set(only)]
    built, compile_s, missing = _build(arms)
    arms = [a for a in arms if a.name in built]
    assert_equal(case, arms, {a.name: _plain(built[a.name].run()) for a in arms if a.group is not None})
    times = _interleave({a.name: built[a.name].run for a in arms}, case.rounds)
    units = {a.name: a.units for a in arms}
    limit = _limit(case, calibration)
    return {
        "job": case.job,
        "params": dict(case.params),
        "dtype": case.dtype,
        "arms": {
            a.name: {
                **times[a.name],
                "units": a.units,
                "compile_s": compile_s[a.name],
                "temp_bytes": built[a.name].temp_bytes,
            }
            for a in arms
        },
        "missing": missing,
        "ratios": {g.name: ratio(g, times, units) for g in case.goals if {g.slow, g.fast} <= set(units)},
        "limits": {
            k: {"value": v, "at_most": bound, "verdict": _met(v <= bound)} for k, (v, bound) in case.limits.items()
        },
        "work": dataclasses.asdict(case.work),
        "limit_s": limit,
        "fraction": {a.name: limit * a.units / float(np.median(times[a.name]["cpu"])) for a in arms} if limit else {},
    }


def _build(arms: Sequence[Arm]) -> tuple[dict[str, Built], dict[str, float], dict[str, str]]:
    built, compile_s, missing = {}, {}, {}
    for arm in arms:
        start = cpu_time()
        try:
            built[arm.name] = arm.build()
        except ImportError as error:
            missing[arm.name] = str(error)
            continue
        _wait(built[arm.name].run())  # a program that compiles on its first call pays here
        compile_s[arm.name] = cpu_time() - start
    return built, compile_s, missing


def assert_equal(case: Case, arms: Sequence[Arm], answers: Mapping[str, list[np.ndarray]]) -> None:
    """Raise `Disagreement` unless the arms of every group gave the same answer."""
    first: dict[str, Arm] = {}
    for arm in arms:
        if arm.group is None:
            continue
        if not answers[arm.name]:
            raise Disagreement(f"{case.title}: `{arm.name}` returned nothing to compare.")
        reference = answers[first.setdefault(arm.group, arm).name]
        got, rtol = answers[arm.name], case.rtol if arm.rtol is None else arm.rtol
        shapes = [a.shape for a in reference], [a.shape for a in got]
        if shapes[0] != shapes[1]:
            raise Disagreement(f"{case.title}: `{arm.name}` has shapes {shapes[1]}, not {shapes[0]}.")
        for one, other in zip(reference, got, strict=True):
            # relative to the largest entry: the comparison is of arrays, not of their smallest elements
            allowed = case.atol + rtol * float(np.abs(one).max(initial=0.0))
            error = float(np.abs(one - other).max(initial=0.0))
            if not error <= allowed:
                raise Disagreement(
                    f"{case.title}: `{arm.name}` differs from `{first[arm.group].name}` by {error:.3g}, "
                    f"more than {allowed:.3g}."
                )


def _interleave(runs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, dict[str, Any]]:
    """CPU and wall seconds of one run of each arm, arms in turn, in another order every round."""
    repeats = {name: _repeats(run) for name, run in runs.items()}
    times: dict[str, dict[str, Any]] = {n: {"cpu": [], "wall": [], "repeats": r} for n, r in repeats.items()}
    order = np.random.default_rng(0)
    for _ in range(rounds):
        for name in order.permutation(list(runs)):
            cpu, wall = cpu_time(), time.perf_counter()
            for _ in range(repeats[name]):
                _wait(runs[name]())
            times[name]["cpu"].append((cpu_time() - cpu) / repeats[name])
            times[name]["wall"].append((time.perf_counter() - wall) / repeats[name])
    return times


def _repeats(run: Callable[[], Any]) -> int:
    """How often to run in a round, from a warm-up run."""
    start = cpu_time()
    _wait(run())
    return max(1, int(np.ceil(SHORTEST_ROUND / max(cpu_time() - start, 1e-5))))


def ratio(goal: Goal, times: Mapping[str, Mapping[str, Any]], units: Mapping[str, float]) -> dict[str, Any]:
    """Median, minimum and 95 % interval (bootstrap over rounds) of a ratio of CPU times, and its verdict."""
    slow, fast = (np.asarray(times[name]["cpu"]) / units[name] for name in (goal.slow, goal.fast))
    rounds = len(slow)
    draws = np.random.default_rng(0).integers(0, rounds, (2000, rounds))
    medians = np.median(slow[draws], axis=1) / np.median(fast[draws], axis=1)
    value = float(np.median(slow) / np.median(fast))
    noisy = any(t.max() / np.median(t) > NOISY for t in (slow, fast))
    low, high = (float(q) for q in np.quantile(medians, [0.025, 0.975]))
    return {
        "median": value,
        "min": float((slow / fast).min()),
        "ci95": [low, high],
        "at_least": goal.at_least,
        "at_most": goal.at_most,
        "noisy": bool(noisy),
        "verdict": _verdict(goal, low, value, high, noisy),
    }


def _verdict(goal: Goal, low: float, value: float, high: float, noisy: bool) -> str:
    """What the median says, unless noise leaves it open: then the whole interval has to lie on one side."""
    least, most = goal.at_least or -np.inf, goal.at_most or np.inf
    if not np.isfinite([least, most]).any():
        return "no goal"
    if not noisy:
        return _met(least <= value <= most)
    if high < least or low > most:
        return "missed"
    return "met" if low >= least and high <= most else "noisy"


def _met(met: bool) -> str:
    return "met" if met else "missed"


def _limit(case: Case, calibration: Mapping[str, float]) -> float:
    """The shortest time the machine allows for one unit of the work, from its own measured rates; 0 if unknown."""
    work, double = case.work, case.dtype == "float64"
    if not calibration:
        return 0.0
    return max(
        work.flop / calibration["gemm64" if double else "gemm32"],
        work.bytes / calibration["read"],
        work.tanh / calibration["tanh64" if double else "tanh32"],
        work.seq_steps * calibration["scan_step"],
    )


def calibrate() -> dict[str, float]:
    """Rates of this machine on one thread: FLOP/s, bytes/s and tanh/s, and seconds per step of the smallest network."""
    rng = np.random.default_rng(0)
    square = rng.standard_normal((1024, 1024))
    row = rng.standard_normal(4_000_000)
    rates = {}
    for bits, dtype in ((32, np.float32), (64, np.float64)):
        a, r = square.astype(dtype), row[:1_000_000].astype(dtype)
        rates[f"gemm{bits}"] = 2 * 1024**3 / _fastest(functools.partial(np.matmul, a, a))
        rates[f"tanh{bits}"] = r.size / _fastest(functools.partial(np.tanh, r))
    rates["read"] = row.nbytes / _fastest(lambda: row.sum())
    rates["scan_step"] = _scan_step()
    return rates


def _fastest(run: Callable[[], Any], rounds: int = 5) -> float:
    """CPU seconds of the fastest of a few runs."""
    best = np.inf
    for _ in range(rounds):
        start = cpu_time()
        _wait(run())
        best = min(best, cpu_time() - start)
    return float(best)


def _scan_step() -> float:
    import jax
    import jax.numpy as jnp

    steps = 5_000
    weight = jnp.eye(6)
    scan = jax.jit(lambda x: jax.lax.scan(lambda c, _: (jnp.tanh(c @ weight), None), x, None, length=steps)[0])
    x = jnp.ones((4, 6))
    _wait(scan(x))
    return _fastest(lambda: scan(x)) / steps


def environment() -> dict[str, Any]:
    """Versions, cores and load: what a reader needs to know about the machine."""
    import importlib.metadata
    import platform

    def version(name: str) -> str | None:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return None

    names = ("recurvature", "jax", "jaxlib", "numpy", "torch", "equinox", "diffrax")
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "loadavg": os.getloadavg(),
        "versions": {name: version(name) for name in names},
    }


def _wait(answer: Any) -> Any:
    """Wait for asynchronous arrays, so that their work is inside the clock."""
    if hasattr(answer, "block_until_ready"):
        return answer.block_until_ready()
    if isinstance(answer, list | tuple):
        for item in answer:
            _wait(item)
    elif isinstance(answer, dict):
        _wait(list(answer.values()))
    return answer


def _plain(answer: Any) -> list[np.ndarray]:
    """The arrays of an answer (nested lists, tuples and dictionaries of JAX, PyTorch or NumPy arrays) in float64."""
    if answer is None:
        return []
    if isinstance(answer, dict):
        answer = [answer[key] for key in sorted(answer)]
    if isinstance(answer, list | tuple):
        return [array for item in answer for array in _plain(item)]
    if hasattr(answer, "detach"):
        answer = answer.detach().cpu()
    return [np.asarray(answer, np.float64)]
