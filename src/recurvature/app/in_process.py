"""The report of `recurvature analyze` on a network in memory: a live module, a step function, or any other."""

from collections.abc import Sequence
from pathlib import Path

from recurvature._errors import InputError, check_kind
from recurvature._precision import require_float64
from recurvature._progress import Report, silent
from recurvature.app.commands import write_study
from recurvature.app.output import claim
from recurvature.app.pipeline import Study, find_task, fit_to, study
from recurvature.app.run import Run, files
from recurvature.app.subject import LENSES, Options, Probe
from recurvature.systems.base import Network
from recurvature.tasks.base import AbstractTask


def analyze(
    network: Network,
    out: str | Path | None = None,
    *,
    task: AbstractTask | str | None = None,
    lenses: Sequence[str] = LENSES,
    points: int | None = None,
    trials: int = 1000,
    amplitude: float = 1.0,
    duration: float = 10.0,
    seed: int = 0,
    name: str = "network",
    force: bool = False,
    report: Report = silent,
) -> Study:
    """Look at a network through the lenses, as `recurvature analyze` does with one in a file.

    - `out`: the folder for `report.html`, `results.zarr` and `run.json`; None writes nothing. `force` replaces them.
    - `task`: what the network does, or the name of that; without it constant inputs from -`amplitude` to `amplitude`
      are held for `duration` (in the unit of the network's step).
    - `lenses`: some of `warping`, `dynamics`, `latent`, `superposition`, `overlaps`. One that does not apply says why.
    - `points`: along each coordinate of a manifold. `trials`: for the accuracy. `seed`: of trials and of searches.
    - `name`: what the network is called at the head of the report.

    What comes back has the `results` by name, the `numbers` of `run.json` and the `sections` of the report. Raises
    `InputError` where network and task do not fit, on options that make no sense, and where `out` cannot be written;
    `ValueError` unless the network is in float64.
    """
    check_kind("network", network, Network, "pass a systems.Network (of a fit, its `.network`)")
    require_float64(**{"network.x0": network.x0})
    if isinstance(lenses, str):
        raise InputError(f"`lenses` must be a sequence of names; got {lenses!r}. Pass ({lenses!r},).")
    known = find_task(task) if isinstance(task, str) else task
    options, probe = Options(tuple(lenses), points, trials, seed), Probe(amplitude, duration)
    network = network if known is None else fit_to(network, known)
    if out is None:
        return study(network, known, probe, options, report)
    run = Run("analyze", force=force, call=f"recurvature.analyze({name}, {str(out)!r}, …)")
    with claim(Path(out), files(), force=force) as output:
        found = study(network, known, probe, options, report)
        write_study(run, output, found, name, {"net": None, "task": None if known is None else known.name})
    return found
