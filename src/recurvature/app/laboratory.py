"""What an experiment works with: settings, keys, and networks that are trained once and kept beside the output."""

import dataclasses
import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

import numpy as np

import recurvature as rc
from recurvature._errors import InputError, NumericalError
from recurvature._keys import PRNGKey
from recurvature._progress import Progress, Report
from recurvature.app.claims import FAILED, Claim, Measured, Verdict, experiments_folder, judge, read_settings
from recurvature.app.terminal import say
from recurvature.io.checkpoint import load_checkpoint, save_checkpoint
from recurvature.io.specs import Spec
from recurvature.systems.base import Network
from recurvature.tasks.base import AbstractTask
from recurvature.training import Fit, fit, fit_ensemble

S = TypeVar("S", bound=Spec)
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Lab(Generic[S]):
    """Where the functions of one paper's `run.py` find their settings and share what they compute.

    Training goes through `fit` and `fit_ensemble`: the state of the run is written below `folder` after every block,
    so a run that was killed goes on where it stopped, and a finished one is read back. `once` keeps anything else for
    the rest of this process.
    """

    settings: S
    full: bool
    key: PRNGKey
    folder: Path
    report: Report
    data: Path | None = None
    """The folder that `--data` names."""
    _kept: dict[str, Any] = dataclasses.field(default_factory=dict)

    def once(self, name: str, compute: Callable[[], T]) -> T:
        """What `compute()` gives, computed at the first call with this `name` only."""
        if name not in self._kept:
            self._kept[name] = compute()
        return self._kept[name]

    def fit(self, name: str, network: Network, task: AbstractTask, **options: Any) -> Fit:
        """`training.fit`, once for this `name` and with its checkpoint in the folder."""
        options.setdefault("key", rc.stream(self.key, f"{name}, training"))
        options["throw"] = False
        train = lambda **more: fit(network, task, **options, **more)  # noqa: E731
        return self.once(f"fit {name}", lambda: self._trained(name, train))

    def fit_ensemble(self, name: str, make: Callable[[PRNGKey], Network], task: AbstractTask, **options: Any) -> Fit:
        """`training.fit_ensemble`, once for this `name` and with its checkpoint in the folder."""
        options.setdefault("key", self.key)
        train = lambda **more: fit_ensemble(make, task, **options, **more)  # noqa: E731
        return self.once(f"fit {name}", lambda: self._trained(name, train))

    def members(self, fitted: Fit) -> list[Network]:
        """The networks of a fit in float64, as theory wants them."""
        count = 1 if fitted.history.seed is None else len(np.asarray(fitted.history.seed))
        each = [fitted.network] if fitted.history.seed is None else [fitted.member(i) for i in range(count)]
        return [rc.cast(network, float) for network in each]

    def named(self, name: str) -> Report:
        """A report under a name of its own."""
        return lambda progress, /: self.report(dataclasses.replace(progress, task=name))

    def _trained(self, name: str, train: Callable[..., Fit]) -> Fit:
        path = self.folder / f"{name}.safetensors"
        more = {"report": self.named(f"train {name}"), "on_block": lambda state: save_checkpoint(state, path)}
        done = self._resumed(path, train, more) if path.exists() else train(**more)
        if done.failed.any():
            raise NumericalError(f"training of {name} ended {done.status}", done)
        return done

    def _resumed(self, path: Path, train: Callable[..., Fit], more: dict[str, Any]) -> Fit:
        try:
            return train(**more, resume=load_checkpoint(path))
        except InputError as error:
            # a fault of the call itself shows again below, without the file
            say(f"{path.name} cannot be used, training anew: {error}")
            return train(**more)


def load_experiment(paper: str) -> ModuleType:
    """The module `run.py` of a paper, of the package or of the checkout that it is developed in."""
    package = "recurvature.experiments"
    if package not in sys.modules and importlib.util.find_spec(package) is None:
        folder = experiments_folder()
        spec = importlib.util.spec_from_file_location(
            package, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        if spec is None or spec.loader is None:
            raise InputError(f"{folder} is no package of experiments: it lacks __init__.py.")
        sys.modules[package] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[package])
    return importlib.import_module(f"{package}.{paper}.run")


def prepare(paper: str, module: ModuleType, *, full: bool, folder: Path, report: Report, data: Path | None) -> Lab[Any]:
    """The laboratory of one paper, with the settings of its spec.toml."""
    settings = read_settings(paper, module.Settings, full=full)
    place = folder / paper / ("full" if full else "quick")
    return Lab(settings, full, rc.stream(rc.key(settings.seed), paper), place, report, data)


def measure(claim: Claim, module: ModuleType, lab: Lab[Any]) -> Verdict:
    """Run one claim. Numerical trouble on the way is a verdict; anything else that goes wrong is raised."""
    function = getattr(module, claim.function, None)
    if function is None:
        raise InputError(f"claim {claim.id} names the function {claim.function!r}, which run.py lacks.")
    lab.report(Progress(claim.id, 0, 1))
    try:
        measured: Measured = function(lab)
    except NumericalError as trouble:
        return Verdict(claim, FAILED, note=str(trouble))
    lab.report(Progress(claim.id, 1, 1))
    return judge(claim, measured)
