"""The command line. Only typer is imported here: the work behind a command is imported when it is called."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="recurvature",
    help="Open recurrent networks: train one or bring your own, and see how it computes.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[
    bool, typer.Option("--json", help="One JSON document on standard output; logs and progress on standard error.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace output that is already there.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Do not keep compiled programs between runs.")]
Seed = Annotated[int, typer.Option(help="The one number from which all randomness comes.")]
Points = Annotated[
    int | None, typer.Option(help="Points along every coordinate of the input manifold (default: chosen by dimension).")
]
Layout = Annotated[str | None, typer.Option(help="How the tensors are named and arranged (default: recognised).")]
Mapping = Annotated[
    Path | None, typer.Option(help="TOML file that says which tensor is what, for a layout of your own.")
]
Net = Annotated[Path, typer.Argument(metavar="NET", help="Network file: .safetensors, .pt, .pth or .npz.")]
Seen = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="Network (.safetensors, .pt, .pth, .npz) or recording (.npz, .mat, .h5, .nwb)"),
]


def main() -> None:
    """The console script."""
    from recurvature.app.terminal import run

    sys.exit(run(app, sys.argv[1:] or ["--help"]))


def begin(command: str, json: bool, force: bool, no_cache: bool) -> Any:
    """Start the clock and the compilation cache before the libraries that take long to load."""
    from recurvature.app import run

    return run.begin(command, json=json, force=force, cache=not no_cache)


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Open recurrent networks: train one or bring your own, and see how it computes."""
    if version:
        import importlib.metadata

        print(importlib.metadata.version("recurvature"))


@app.command()
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the report and its data.")] = Path("runs/demo"),
    seed: Seed = 0,
    steps: Annotated[int, typer.Option(help="Gradient steps.")] = 1000,
    hidden: Annotated[int, typer.Option(help="Units.")] = 64,
    points: Points = None,
    force: Force = False,
    json: Json = False,
    no_cache: NoCache = False,
) -> None:
    """Train a network to decide by context, look at it through every lens, write DIR/report.html."""
    run = begin("demo", json, force, no_cache)
    from recurvature.app import commands
    from recurvature.app.subject import Options

    options = Options(points=points, seed=seed)
    commands.demo(run, out, options, steps=steps, hidden=hidden)


@app.command()
def train(
    out: Annotated[Path, typer.Option(metavar="NET.safetensors", help="File for the trained network.")],
    task: Annotated[
        str | None,
        typer.Argument(
            metavar="TASK",
            help="Name of a task, also as 'sequence-sorting(length=4)', or neurogym:NAME-v0 (or `task` in the spec).",
        ),
    ] = None,
    system: Annotated[str | None, typer.Option(metavar="NAME", help="Kind of network.")] = None,
    hidden: Annotated[int | None, typer.Option(help="Units.")] = None,
    rank: Annotated[int | None, typer.Option(help="Rank of the recurrent weights (default: full).")] = None,
    steps: Annotated[int | None, typer.Option(help="Gradient steps.")] = None,
    batch: Annotated[int | None, typer.Option(help="Trials in each step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Step size of Adam.")] = None,
    seed: Annotated[int | None, typer.Option(help="The one number from which all randomness comes.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Networks to train, with seeds one apart.")] = None,
    spec: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="The same settings, and more, in a file.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint beside the output.")] = False,
    force: Force = False,
    json: Json = False,
    no_cache: NoCache = False,
) -> None:
    """Train a network on a task and save it; NET.report.html, NET.run.json and NET.results.zarr go beside it."""
    run = begin("train", json, force, no_cache)
    from recurvature.app import commands
    from recurvature.app.spec import train_spec

    asked = train_spec(
        spec,
        task=task,
        system=system,
        hidden=hidden,
        rank=rank,
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        seed=seed,
        seeds=seeds,
    )
    commands.train(run, asked, out, resume=resume)


@app.command()
def inspect(
    net: Net, layout: Layout = None, mapping: Mapping = None, json: Json = False, no_cache: NoCache = False
) -> None:
    """Print what a network file holds, how each tensor was understood, and how nearly the two networks agree."""
    run = begin("inspect", json, False, no_cache)
    from recurvature.app import commands

    commands.inspect(run, net, layout, mapping)


@app.command()
def analyze(
    net: Seen,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the report and its data.")],
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="The task that it does, by name, or neurogym:NAME-v0.")
    ] = None,
    lens: Annotated[
        str,
        typer.Option(metavar="A,B,…", help="warping, dynamics, latent, superposition, overlaps; or all."),
    ] = "all",
    layout: Layout = None,
    mapping: Mapping = None,
    points: Points = None,
    trials: Annotated[int, typer.Option(help="Trials for the accuracy.")] = 1000,
    amplitude: Annotated[float, typer.Option(help="Without a task: constant inputs go from -A to A.")] = 1.0,
    duration: Annotated[float, typer.Option(help="Without a task: time to watch, in units of tau.")] = 10.0,
    activity: Annotated[str | None, typer.Option(metavar="NAME", help="Recording: the array of activity.")] = None,
    coordinates: Annotated[str | None, typer.Option(metavar="A,B", help="Recording: what it was beside.")] = None,
    polar: Annotated[
        str | None, typer.Option(metavar="NAME", help="Recording: a vector, taken as direction and speed.")
    ] = None,
    labels: Annotated[str | None, typer.Option(metavar="NAME", help="Recording: conditions.")] = None,
    periods: Annotated[
        str | None, typer.Option(metavar="NAME|N|seams", help="Recording: where trials begin, or bins in each.")
    ] = None,
    order: Annotated[
        str | None, typer.Option(metavar="AXES", help="Recording: order of its axes, such as 'unit time trial'.")
    ] = None,
    bin_width: Annotated[float | None, typer.Option(help="Recording: length of a bin in seconds.")] = None,
    circular: Annotated[
        list[str] | None, typer.Option(metavar="NAME=PERIOD", help="Recording: a coordinate that comes round again.")
    ] = None,
    missing: Annotated[
        str, typer.Option(metavar="refuse|drop", help="Recording: leave out trials in which a coordinate is NaN.")
    ] = "refuse",
    unpack_limit: Annotated[
        int, typer.Option(help="Recording: how many times its size a file may unpack to, if you trust it.")
    ] = 64,
    seed: Seed = 0,
    force: Force = False,
    json: Json = False,
    no_cache: NoCache = False,
) -> None:
    """Look at any network, or a recording, through the lenses and write DIR/report.html."""
    run = begin("analyze", json, force, no_cache)
    from recurvature.app import commands, observing
    from recurvature.app.subject import Options, Probe, lenses_of

    choices = observing.choices_of(
        activity=activity,
        coordinates=coordinates,
        polar=polar,
        labels=labels,
        periods=periods,
        order=order,
        bin_width=bin_width,
        circular=circular,
        missing=missing,
        unpack_limit=unpack_limit,
        points=points,
        seed=seed,
    )
    if observing.is_recording(net, choices):
        observing.analyze_recording(run, net, out, choices)
        return

    options = Options(lenses_of(lens), points, trials, seed)
    probe = Probe(amplitude, duration)
    commands.analyze(run, net, out, options, probe, task=task, layout=layout, mapping=mapping)


@app.command()
def reproduce(
    paper: Annotated[str, typer.Argument(metavar="PAPER", help="Whose claims: the name of a lens, or `all`.")],
    claim: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only this claim; may be repeated.")] = None,
    full: Annotated[bool, typer.Option("--full", help="The paper's own sizes: hours instead of minutes.")] = False,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for verdicts, report and trained networks.")] = Path(
        "runs/reproduce"
    ),
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of data that are no part of the package.")
    ] = None,
    force: Force = False,
    json: Json = False,
    no_cache: NoCache = False,
) -> None:
    """Check the claims of a paper one by one; exit with 1 if one fails. Networks in DIR/parts are used again."""
    run = begin("reproduce", json, force, no_cache)
    from recurvature.app import reproduce as reproduction

    request = reproduction.Request(paper, tuple(claim or ()), full, data)
    raise typer.Exit(reproduction.reproduce(run, out, request))


@app.command()
def sweep(
    task: Annotated[str, typer.Argument(metavar="TASK", help="What the networks learn: recall.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the phase diagram and its cells.")],
    delays: Annotated[str | None, typer.Option(metavar="K,K,…", help="Delays, in steps.")] = None,
    densities: Annotated[str | None, typer.Option(metavar="P,P,…", help="Densities, from 0 to 1.")] = None,
    kind: Annotated[str | None, typer.Option(metavar="NAME", help="linear, ssm, nonlinear or tanh.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Networks in every cell.")] = None,
    steps: Annotated[int | None, typer.Option(help="Gradient steps of every network.")] = None,
    seed: Annotated[int | None, typer.Option(help="The one number from which all randomness comes.")] = None,
    exact: Annotated[
        bool | None, typer.Option("--exact", help="Train on exact expected losses (kind linear).", show_default=False)
    ] = None,
    spec: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="The same settings, and more, in a file.")
    ] = None,
    force: Force = False,
    json: Json = False,
    no_cache: NoCache = False,
) -> None:
    """Map how networks pack memories by density and delay; a sweep that was stopped goes on where it was."""
    run = begin("sweep", json, force, no_cache)
    from recurvature.app import sweep as sweeping

    grid = {
        "delays": sweeping.numbers_of(delays, "delays", int),
        "densities": sweeping.numbers_of(densities, "densities", float),
    }
    asked = sweeping.sweep_spec(task, spec, kind=kind, seeds=seeds, steps=steps, seed=seed, exact=exact, **grid)
    sweeping.sweep_recall(run, asked, out)


@app.command()
def doctor(json: Json = False) -> None:
    """Print versions, devices, number types, the cache folder, and what is missing and how to get it."""
    from recurvature.app import doctor as clinic
    from recurvature.app.terminal import emit

    found = clinic.examine()
    if json:
        emit(found)
    else:
        print(clinic.as_text(found))
