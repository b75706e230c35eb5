"""What starting costs: the command line's help, the import of the package, and a second start with a warm cache.

Every arm is a fresh interpreter; its CPU time is counted as this process's children.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from benchmarks.harness import Arm, Built, Case, Goal, cpu_time

PROGRAM = """
import jax
jax.config.update("jax_compilation_cache_dir", {cache!r})
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
import recurvature as rc
key = rc.key(0)
network = rc.systems.leaky_current(64, inputs=4, outputs=1, key=rc.stream(key, "weights"))
rc.training.fit(network, rc.tasks.ContextDecision(), steps=2, block=2, batch=8, key=rc.stream(key, "training"))
"""


def cases(size: str) -> Iterable[Case]:
    """The same at every size; fewer rounds at the smallest."""
    yield Case(
        "startup",
        {"what": "help"},
        [Arm("recurvature --help", lambda: Built(lambda: _command("--help")), group=None)],
        limits={"CPU seconds of recurvature --help": (_median_cpu("--help"), 0.5)},
    )
    yield Case(
        "startup",
        {"what": "import"},
        [
            _script("import jax", "import jax"),
            _script("import recurvature", "import recurvature"),
            _script("its systems", "import recurvature.systems"),
        ],
        goals=[Goal("import recurvature", "import jax", at_most=1.3), Goal("its systems", "import jax")],
    )
    with tempfile.TemporaryDirectory() as folder:
        yield Case(
            "startup",
            {"what": "train, compilation cache"},
            [_first(Path(folder)), _script("second start", PROGRAM.format(cache=folder + "/warm"))],
            goals=[Goal("second start", "first start", at_most=0.6)],
            rounds=3 if size == "ci" else 7,
        )


def _python(*arguments: str) -> None:
    # the measured program is the installed package, as a user starts it: no bytecode is left out, no path added
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=os.environ)


def _command(*arguments: str) -> None:
    _python("-c", "import sys; from recurvature.app.cli import main; sys.exit(main())", *arguments)


def _median_cpu(*arguments: str) -> float:
    _command(*arguments)
    spent = []
    for _ in range(5):
        start = cpu_time()
        _command(*arguments)
        spent.append(cpu_time() - start)
    return sorted(spent)[2]


def _script(name: str, program: str) -> Arm:
    return Arm(name, lambda: Built(lambda: _python("-c", program)), group=None)


def _first(folder: Path) -> Arm:
    """The same program with a new, empty cache every time."""
    count = iter(range(10**6))
    return Arm(
        "first start",
        lambda: Built(lambda: _python("-c", PROGRAM.format(cache=f"{folder}/cold{next(count)}"))),
        group=None,
    )
