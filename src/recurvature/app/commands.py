"""What each command does, from checked input to files in place: imported only when a command is called."""

import functools
import shlex
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import optax

import recurvature as rc
from recurvature import io
from recurvature._errors import InputError
from recurvature._progress import Report
from recurvature.app import about_network, sections
from recurvature.app.asked import task_section
from recurvature.app.output import Output, claim
from recurvature.app.page import Page, percent
from recurvature.app.pipeline import Study, find_task, fit_to, study
from recurvature.app.run import NETWORK, Run, files, finish, provenance_of, write_run
from recurvature.app.story import story
from recurvature.app.subject import Options, Performance, Probe
from recurvature.app.terminal import progress, say
from recurvature.app.train import Trained, check_unfinished, checkpoint_of, run_training, watch_training
from recurvature.io import Certificate, Reading
from recurvature.io.specs import TrainSpec, parse
from recurvature.tasks.base import AbstractTask

DEMO = {"task": "context-decision", "system": "leaky-current", "rank": 2, "hidden": 64, "learning_rate": 1e-2}
"""What the demo trains: a network that every lens applies to. The learning rate falls to 0 along a cosine."""


def demo(run: Run, out: Path, options: Options, **settings: Any) -> None:
    """Train on context-dependent decision, look through every lens, and write it all into the folder `out`."""
    spec = parse(TrainSpec, {**DEMO, **settings, "seed": options.seed}, "the settings")
    with claim(out, [*files(), NETWORK], force=run.force) as output:
        with progress(run.json) as report:
            trained, found = demonstrate(spec, options, report)
        asked = spec.model_dump() | {"schedule": "cosine", "points": options.points, "trials": options.trials}
        numbers = {**found.numbers, "training": trained.numbers()}
        record = run.record(spec=asked, seed=spec.seed, numbers=numbers)
        provenance = provenance_of(record)
        network = trained.fit.network
        output.write(NETWORK, lambda path: io.save(network, path, provenance=provenance))
        title = f"A {about_network.kind_in_words(network)} network of {spec.hidden} units learns {spec.task}"
        parts = story(found, history=trained.fit.history)
        results = {"history": trained.fit.history, **found.results}
        papers = [trained.task.reference]
        page = sections.page(record, title, sections.lead(found), parts, list(results.values()), papers)
        write_run(output, record, results, page)
    finish(run, record, [sections.summary(found), f"Report: {out / 'report.html'}"])


def demonstrate(spec: TrainSpec, options: Options, report: Report) -> tuple[Trained, Study]:
    """Train what `spec` says, watching its overlaps, and look through every lens; float64 is on from then on."""
    schedule = optax.cosine_decay_schedule(spec.learning_rate, spec.steps)
    watched = watch_training(spec, report=report, learning_rate=schedule)
    # training is over: from here on the number type is that of theory
    rc.enable_float64()
    trained, course = watched.trained, watched.course()
    network = rc.cast(trained.fit.network, jnp.float64)
    return trained, study(network, trained.task, Probe(), options, report, course)


def train(run: Run, spec: TrainSpec, out: Path, *, resume: bool) -> None:
    """Train what `spec` says and save each network; beside it go run.json, results.zarr and report.html."""
    if out.suffix != ".safetensors":
        raise InputError(f"--out needs the ending .safetensors; got {out.name!r}.")
    checkpoint = checkpoint_of(out)
    names = {spec.seed: out.name}
    if spec.seeds > 1:
        names = {seed: f"{out.stem}-{seed}{out.suffix}" for seed in range(spec.seed, spec.seed + spec.seeds)}
    with claim(out.parent, [*names.values(), *files(out.stem)], force=run.force) as output:
        check_unfinished(checkpoint, resume=resume, force=run.force)
        if resume and not checkpoint.exists():
            say(f"no checkpoint at {checkpoint}: starting at step 0")
        with progress(run.json) as report:
            trained = run_training(spec, report=report, checkpoint=checkpoint, resume=resume)
            done = trained.performances(report)
        accuracy = {str(seed): p.accuracy for seed, p in done.items()}
        numbers = {"training": trained.numbers(), "accuracy": accuracy}
        record = run.record(spec=spec.model_dump(), seed=spec.seed, numbers=numbers, resumed_at=trained.resumed_at)
        for seed, network in trained.networks.items():
            provenance = {**provenance_of(record), "seed": seed, "status": trained.status(seed)}
            output.write(names[seed], functools.partial(io.save, network, provenance=provenance))
        page = _training_page(record, trained, done, out.parent / names[spec.seed])
        write_run(output, record, {"history": trained.fit.history}, page, out.stem)
    checkpoint.unlink(missing_ok=True)
    shares = ", ".join(percent(share) for share in accuracy.values())
    lines = [f"{trained.fit.status}; trials answered right: {shares}"]
    finish(run, record, [*lines, *(f"Network: {out.parent / name}" for name in names.values())])


def _training_page(record: dict[str, Any], trained: Trained, done: dict[int, Performance], saved: Path) -> Page:
    spec, networks = trained.spec, trained.networks
    network, history = networks[spec.seed], trained.fit.history
    who = f"A {about_network.kind_in_words(network)} network" if len(networks) == 1 else f"{len(networks)} networks"
    right = ", ".join(percent(each.accuracy) for each in done.values())
    of = "seed by seed, " if len(networks) > 1 else ""
    subtitle = f"{trained.fit.status.capitalize()}. Trials answered right: {of}{right}."
    parts = [
        task_section(trained.test, next(iter(done.values()))),
        about_network.network_section(network, None),
        sections.learning_section(trained.test, next(iter(done.values())), history, seeds=trained.table(done)),
        sections.next_section(shlex.join(["recurvature", "analyze", str(saved), "--task", spec.task, "--out", "DIR"])),
    ]
    title = f"{who} of {spec.hidden} units, trained on {trained.task.name}"
    return sections.page(record, title, subtitle, parts, [history], [trained.task.reference])


def inspect(run: Run, net: Path, layout: str | None, mapping: Path | None) -> None:
    """Print what a file holds, how it was understood, and the certificate."""
    rc.enable_float64()
    imported = io.read_network(net, layout=layout, mapping=mapping)
    certificate = io.equivalence(imported)
    record = run.record(
        spec={"net": str(net), "layout": layout, "mapping": mapping and str(mapping)},
        seed=None,
        numbers={"network": about_network.network_numbers(imported.network)},
        reading=imported.reading.to_dict(),
        certificate=certificate.to_dict(),
    )
    finish(run, record, about_network.inspection_lines(imported.network, imported.reading, certificate))


def analyze(
    run: Run,
    net: Path,
    out: Path,
    options: Options,
    probe: Probe,
    *,
    task: str | None,
    layout: str | None,
    mapping: Path | None,
) -> None:
    """Look at the network in `net` through the lenses and write it all into the folder `out`."""
    rc.enable_float64()
    known: AbstractTask | None = None if task is None else find_task(task)
    imported = io.read_network(net, layout=layout, mapping=mapping)
    network = rc.cast(imported.network, jnp.float64)
    network = network if known is None else fit_to(network, known)
    with claim(out, files(), force=run.force) as output:
        certificate = io.equivalence(imported)
        with progress(run.json) as report:
            found = study(network, known, probe, options, report)
        asked = {"net": str(net), "task": task, "layout": layout, "mapping": mapping and str(mapping)}
        record, _ = write_study(run, output, found, net.name, asked, imported.reading, certificate)
    finish(run, record, [sections.summary(found), f"Report: {out / 'report.html'}"])


def write_study(
    run: Run,
    output: Output,
    found: Study,
    name: str,
    asked: dict[str, Any],
    read: Reading | None = None,
    certificate: Certificate | None = None,
) -> tuple[dict[str, Any], Page]:
    """Write what was found out about the network called `name`; the record of the run, and the page."""
    network, task = found.subject.network, found.subject.task
    options, probe = found.subject.options, found.subject.probe
    asked = asked | {"lenses": list(options.lenses), "points": options.points, "trials": options.trials}
    if task is None:
        asked |= {"amplitude": probe.amplitude, "duration": probe.duration}
    numbers = {**found.numbers, "network": about_network.network_numbers(network)}
    more = {"reading": read and read.to_dict(), "certificate": certificate and certificate.to_dict()}
    record = run.record(spec=asked, seed=options.seed, numbers=numbers, **more)
    parts = story(found, read=read, certificate=certificate)
    title = f"{name}: a {about_network.kind_in_words(network)} network of {about_network.units(network)} units"
    title += f" on {task.name}" if task else ""
    results, papers = found.results, [task.reference] if task else []
    page = sections.page(record, title, sections.lead(found), parts, list(results.values()), papers)
    write_run(output, record, results, page)
    return record, page
