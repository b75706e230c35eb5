"""Every command end to end, at sizes that are small: demo, train, analyze and doctor in processes of their own."""

import copy
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from tests.app.conftest import Demo, Outcome, plain_weights

import recurvature as rc
from recurvature.lenses import warping

COMMANDS = ("demo", "train", "inspect", "analyze", "sweep", "reproduce", "doctor")
RECORD = {
    "schema",
    "command",
    "line",
    "started",
    "wall_seconds",
    "versions",
    "device",
    "seed",
    "spec",
    "numbers",
    "claims",
}
DATA = Path(__file__).parents[2] / "../shared/data/networks"


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from recurvature.app import cli, terminal; code = terminal.run(cli.app, ['--help']);"
        "heavy = {'jax', 'numpy', 'matplotlib', 'jinja2', 'pydantic', 'torch'} & sys.modules.keys();"
        "sys.exit(code or ' '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


def test_demo_writes_a_run_its_results_a_report_and_the_network(demo: Demo) -> None:
    assert sorted(p.name for p in demo.folder.iterdir()) == [
        "network.safetensors",
        "report.html",
        "results.zarr",
        "run.json",
    ]
    assert json.loads((demo.folder / "run.json").read_text()) == demo.document
    assert demo.document.keys() == RECORD
    assert demo.document["claims"] == []
    assert demo.document["seed"] == 0
    assert demo.document["spec"]["task"] == "context-decision"


def test_results_of_a_demo_load_as_what_they_were(demo: Demo) -> None:
    store = demo.folder / "results.zarr"
    loaded = {p.stem: rc.io.load(p) for p in store.iterdir() if p.is_dir()}
    assert isinstance(loaded["evidence-1-counts-state"], warping.Metric)
    assert loaded["evidence-1-counts-state"].grid == (3, 3)
    assert isinstance(loaded["history"], rc.training.History)
    zarr = pytest.importorskip("zarr")
    assert set(zarr.open_group(store, mode="r").group_keys()) == {f"{name}.zarr" for name in loaded}


def test_numbers_in_the_record_are_those_of_the_results(demo: Demo) -> None:
    ratio = rc.io.load(demo.folder / "results.zarr/evidence-2-counts-ratio.zarr")
    assert isinstance(ratio, warping.Ratio)
    said = demo.document["numbers"]["geometry"]["evidence-2-counts"]["ratio"]
    assert (said["numerator"], said["median_end"]) == (ratio.numerator, float(ratio.median[-1]))


def test_every_lens_has_its_part_of_the_story(demo: Demo) -> None:
    page = (demo.folder / "report.html").read_text(encoding="utf-8")
    sections = re.findall(r'<section id="([^"]+)">\n<h2>[^<]+</h2>\n(<p class="finding">)?', page)
    assert [name for name, _ in sections] == [
        "task",
        "network",
        "learning",
        "dynamics",
        "latent",
        "geometry",
        "curvature",
        "superposition",
        "overlaps",
        "trust",
        "provenance",
        "papers",
    ]
    # each opens with what was found; the last two say where it is from
    assert all(finding for _, finding in sections[:-2])
    numbers = demo.document["numbers"]
    assert not [name for name, each in numbers.items() if isinstance(each, dict) and "left_out" in each]
    assert {each["verdict"] for each in numbers["identities"].values()} <= {"holds", "not_applicable"}


def test_the_course_of_overlaps_ends_at_those_of_the_network(demo: Demo) -> None:
    load = lambda name: rc.io.load(demo.folder / f"results.zarr/{name}.zarr")  # noqa: E731
    course, table = load("overlaps-course"), load("overlaps")
    assert isinstance(course, rc.overlaps.UnitLearning)
    assert isinstance(table, rc.overlaps.Overlaps)
    np.testing.assert_array_equal(course.count, [0, 20])
    # the weights of float32 in float64, twice
    np.testing.assert_allclose(course.matrix[-1], table.matrix, rtol=1e-12, atol=1e-14)


def test_the_figure_of_every_lens_is_made_of_the_results_of_a_demo(demo: Demo) -> None:
    found: dict[str, Any] = {
        name: rc.io.load(demo.folder / f"results.zarr/{name}.zarr")
        for name in (
            "evidence-1-counts-sheet",
            "evidence-1-counts-state",
            "dynamics-fixed-points-1",
            "dynamics-flow-1",
            "dynamics-branches",
            "superposition-directions",
            "overlaps-course",
        )
    }
    points = found["dynamics-fixed-points-1"]
    axes = rc.figures.every_lens(
        found["evidence-1-counts-sheet"],
        rc.warping.profile(found["evidence-1-counts-state"], "evidence_1"),
        found["dynamics-flow-1"],
        points,
        np.zeros((len(points.states), 2)),
        found["dynamics-branches"],
        found["superposition-directions"],
        found["overlaps-course"],
        inputs=rc.tasks.ContextDecision().input_names,
        most=2,
    )
    FigureCanvasAgg(next(iter(axes.values())).get_figure(root=True)).draw()
    # two overlaps that the loss sees, two that it does not, and the line at 0
    assert len(axes["overlaps"].get_lines()) == 5
    lengths = np.linalg.norm(found["superposition-directions"].direction, axis=1)
    drawn = np.stack([np.asarray(line.get_ydata()) for line in axes["memory"].get_lines()])
    np.testing.assert_allclose(drawn, lengths.T, rtol=1e-12)


def test_the_compilation_cache_is_used_and_private(demo: Demo) -> None:
    folder = demo.cache / "recurvature/xla"
    assert any(folder.iterdir())
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.slow  # analyses run in process, and of foreign files, by default
def test_analyze_looks_at_the_network_that_demo_saved(
    command: Callable[..., Outcome], demo: Demo, tmp_path: Path
) -> None:
    out = tmp_path / "look"
    net = demo.folder / "network.safetensors"
    options = ["--task", "context-decision", "--lens", "warping", "--points", 3, "--json"]
    done = command("analyze", net, "--out", out, *options)
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["numbers"]["accuracy"] == demo.document["numbers"]["accuracy"]
    for view, before in copy.deepcopy(demo.document["numbers"]["geometry"]).items():
        now = document["numbers"]["geometry"][view]
        # the same float64 programs on the same numbers, compiled twice: rounding only
        assert now["stretch_end_median"] == pytest.approx(before["stretch_end_median"], rel=1e-9)
        assert now["ratio"].pop("numerator") == before["ratio"].pop("numerator")
        assert now["ratio"].pop("denominator") == before["ratio"].pop("denominator")
        assert now["ratio"] == pytest.approx(before["ratio"], rel=1e-9)
    assert {p.name for p in out.iterdir()} == {"run.json", "results.zarr", "report.html"}
    assert all(json.loads(line)["progress"]["total"] for line in done.err.splitlines())


def test_analyze_without_a_task_says_what_it_looked_at(foreign: Path) -> None:
    report = (foreign / "report.html").read_text()
    assert "No task was named" in report
    assert "every other input at 0" in report
    record = json.loads((foreign / "run.json").read_text())
    assert record["numbers"]["accuracy"] is None
    assert record["numbers"]["geometry"]["constant-inputs"]["coordinates"] == ["input_1", "input_2"]


def test_inspect_prints_every_tensor_and_the_certificate(here: Callable[..., Outcome], tmp_path: Path) -> None:
    net = plain_weights(tmp_path / "own.npz", spare=np.zeros(6))
    done = here("inspect", net)
    assert done.code == 0, done.err
    assert all(name in done.out for name in ("W_rec", "W_in", "W_out", "6 x 6", "certificate", "not used: spare"))
    document = json.loads(here("inspect", net, "--json").out)
    assert {t["name"] for t in document["reading"]["tensors"]} == {"W_rec", "W_in", "W_out", "spare"}
    torch = importlib.util.find_spec("torch")
    assert document["certificate"]["status"] == ("ok" if torch else "not-available")


def test_doctor_names_versions_devices_and_the_cache(command: Callable[..., Outcome], cache_home: Path) -> None:
    document = json.loads(command("doctor", "--json").out)
    assert document["versions"]["jax"]
    assert document["precision"]["float64"] is True
    # products of 64 terms of size 1 in 53 bits, against the same in 64 bits
    assert document["precision"]["rounding"]["float64"] < 1e-14
    assert document["cache"]["folder"] == str(cache_home / "recurvature/xla")
    assert ("torch" in " ".join(document["advice"])) == (importlib.util.find_spec("torch") is None)
    assert "versions" in command("doctor").out


@pytest.mark.slow  # tests/tasks/test_shared_networks.py runs their trials in the default suite
@pytest.mark.parametrize(
    ("file", "task", "least"), [("rdm_rank1_512.pt", "random-dots", 0.99), ("dms_rank2_512.pt", "delayed-match", 0.95)]
)
def test_published_networks_do_their_task(
    here: Callable[..., Outcome], tmp_path: Path, file: str, task: str, least: float
) -> None:
    if not (DATA / file).exists():
        pytest.skip("the folder shared/data with published networks is not beside this checkout")
    pytest.importorskip("torch", reason="PyTorch files need the extra `torch`")
    out = tmp_path / "look"
    options = ["--task", task, "--lens", "warping", "--points", 2, "--trials", 100]
    done = here("analyze", DATA / file, *options, "--out", out, "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["numbers"]["accuracy"] >= least
    assert document["certificate"]["status"] == "ok"
    assert document["numbers"]["geometry"]


@pytest.mark.slow
def test_an_environment_is_trained_on_and_analysed(here: Callable[..., Outcome], tmp_path: Path) -> None:
    pytest.importorskip("neurogym", reason="environments come from NeuroGym, which is an optional extra")
    net, task = tmp_path / "net.safetensors", "neurogym:GoNogo-v0"
    done = here("train", task, "--hidden", 16, "--steps", 100, "--learning-rate", 0.01, "--out", net, "--json")
    assert done.code == 0, done.err
    trained = json.loads(done.out)
    assert trained["numbers"]["accuracy"]["0"] > 0.9
    out = tmp_path / "look"
    done = here("analyze", net, "--task", task, "--lens", "warping", "--points", 2, "--out", out, "--json")
    assert done.code == 0, done.err
    # the same trials, that training did not see
    assert json.loads(done.out)["numbers"]["accuracy"] == pytest.approx(trained["numbers"]["accuracy"]["0"], abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "task", "rank", "types"),
    [
        ("rdm_rank1_512.pt", "random-dots", 1, {"stable": 2, "repeller": 1}),
        ("dms_rank2_512.pt", "delayed-match", 2, {"stable": 4, "saddle": 4, "repeller": 1}),
    ],
)
def test_published_networks_show_fixed_points_and_their_latent_unit(
    here: Callable[..., Outcome], tmp_path: Path, file: str, task: str, rank: int, types: dict[str, int]
) -> None:
    if not (DATA / file).exists():
        pytest.skip("the folder shared/data with published networks is not beside this checkout")
    pytest.importorskip("torch", reason="PyTorch files need the extra `torch`")
    out = tmp_path / "look"
    done = here("analyze", DATA / file, "--task", task, "--lens", "dynamics,latent,overlaps", "--out", out, "--json")
    assert done.code == 0, done.err
    numbers = json.loads(done.out)["numbers"]
    silent = numbers["dynamics"]["fixed_points"]["no input"]
    assert (silent["types"], silent["index_sum"]) == (types, 1)
    assert numbers["latent"]["fixed_points"] == types
    assert (numbers["latent"]["rank"], numbers["latent"]["method"]) == (rank, "exact")
    assert len(numbers["overlaps"]["columns"]) == 1 + 2 * rank + rank  # one output, and as many inputs as the rank
    report = (out / "report.html").read_text()
    assert "What it settles into" in report
    assert "Which few variables carry it" in report
