"""`recurvature reproduce` on a paper made up for the purpose: verdicts, files, exit codes, networks used again."""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from tests.app.conftest import Outcome

import recurvature as rc
from recurvature._errors import InputError, NumericalError
from recurvature._progress import silent
from recurvature.app import claims, laboratory
from recurvature.app.laboratory import Lab
from recurvature.io.specs import Spec
from recurvature.systems import FunctionMap, LinearReadout, Network
from recurvature.training import Fit, History, TrainingState
from recurvature.training.history import STATUS

RUN = """
from typing import Any
import numpy as np
from recurvature._errors import NumericalError
from recurvature.app.claims import Measured
from recurvature.io.specs import Spec
from recurvature.measures import local_rank


class Settings(Spec):
    seed: int
    size: float


def computed(lab: Any) -> float:
    lab.settings.model_config  # settings are a spec
    return lab.settings.size


def right(lab: Any) -> Measured:
    size = lab.once("size", lambda: computed(lab))
    return Measured({"size": size}, {"by_seed": [size]}, {"rank": local_rank(np.eye(4), neighbours=2)})


def broken(lab: Any) -> Measured:
    raise NumericalError("it overflowed <b>here</b>")
"""
CLAIM = """
[[claim]]
id = "{id}"
statement = "The size is one."
source = "Table 1"
function = "{function}"
{more}

[[claim.expected]]
quantity = "size"
relation = "="
value = {value}
reason = "One is one."
"""
DIFFERS = """
[claim.differs]
statement = "It is two."
derivation = "docs/a.md#b"
test = "tests/a.py::b"

[[claim.differs.expected]]
quantity = "size"
relation = "="
value = 1
reason = "Derived."
"""
PAPER = '[paper]\ntitle = "made2020up"\ntext = "Made & Up (2020). On sizes."\nurl = "https://example.org"\n'
SPEC = "[quick]\nseed = 3\nsize = 1.0\n[full]\nseed = 3\nsize = 5.0\n"


def rows(**values: str) -> str:
    return PAPER + "".join(values.values())


def claim(name: str, value: float = 1, function: str = "right", more: str = "", end: str = "") -> str:
    return CLAIM.format(id=name, function=function, more=more, value=value) + end


@pytest.fixture
def paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Put a paper called `made-up` where experiments are looked for."""
    folder = tmp_path / "experiments"
    for name in [name for name in sys.modules if name.startswith("recurvature.experiments")]:
        monkeypatch.delitem(sys.modules, name)
    for module in (claims, laboratory):
        monkeypatch.setattr(module, "experiments_folder", lambda: folder)

    def write(text: str) -> None:
        (folder / "made_up").mkdir(parents=True)
        for path in (folder, folder / "made_up"):
            (path / "__init__.py").write_text("")
        (folder / "made_up/run.py").write_text(RUN)
        (folder / "made_up/spec.toml").write_text(SPEC)
        (folder / "made_up/claims.toml").write_text(text)

    yield write
    for name in [name for name in sys.modules if name.startswith("recurvature.experiments")]:
        del sys.modules[name]


def test_claims_that_hold_end_with_0_and_leave_a_record(
    paper: Any, here: Callable[..., Outcome], tmp_path: Path
) -> None:
    paper(rows(a=claim("holds"), b=claim("is-otherwise", 2, end=DIFFERS)))
    out = tmp_path / "out"
    done = here("reproduce", "made_up", "--out", out)
    assert done.code == 0, done.err
    assert "reproduced  holds" in done.out
    assert "differs     is-otherwise" in done.out
    assert "1 reproduced, 1 differs" in done.out
    record = json.loads((out / "run.json").read_text())
    assert [(c["paper"], c["id"], c["verdict"]) for c in record["claims"]] == [
        ("made_up", "holds", "reproduced"),
        ("made_up", "is-otherwise", "differs"),
    ]
    assert record["claims"][0]["expected"][0]["measured"] == 1.0
    assert record["claims"][0]["seen"] == {"by_seed": [1.0]}
    assert record["claims"][1]["differs"]["derivation"] == "docs/a.md#b"
    assert record["spec"]["settings"] == {"made_up": {"seed": 3, "size": 1.0}}
    assert record["seed"] == 3
    stored = rc.io.load(out / "results.zarr/made_up-holds-rank.zarr")
    assert isinstance(stored, rc.measures.LocalRank)
    assert stored.neighbours == 2
    page = (out / "report.html").read_text()
    assert "One is one." in page
    assert "Made &amp; Up" in page


def test_a_claim_that_fails_ends_with_1_and_the_others_are_run(
    paper: Any, here: Callable[..., Outcome], tmp_path: Path
) -> None:
    paper(rows(a=claim("wrong", 7), b=claim("overflows", function="broken"), c=claim("holds")))
    done = here("reproduce", "made_up", "--out", tmp_path / "out", "--json")
    assert done.code == 1
    found = {c["id"]: c for c in json.loads(done.out)["claims"]}
    assert {name: c["verdict"] for name, c in found.items()} == {
        "wrong": "failed",
        "overflows": "failed",
        "holds": "reproduced",
    }
    assert "overflowed" in found["overflows"]["note"]
    assert "<b>here" not in (tmp_path / "out/report.html").read_text()


def test_sizes_of_the_paper_are_taken_on_request(paper: Any, here: Callable[..., Outcome], tmp_path: Path) -> None:
    paper(rows(a=claim("five", 5)))
    assert here("reproduce", "made_up", "--out", tmp_path / "quick").code == 1
    assert here("reproduce", "made_up", "--full", "--out", tmp_path / "full").code == 0


def test_single_claims_can_be_asked_for_by_name(paper: Any, here: Callable[..., Outcome], tmp_path: Path) -> None:
    paper(rows(a=claim("holds"), b=claim("wrong", 7), c=claim("holds-too")))
    done = here("reproduce", "all", "--claim", "holds", "--claim", "holds-too", "--out", tmp_path / "out", "--json")
    assert done.code == 0
    assert [c["id"] for c in json.loads(done.out)["claims"]] == ["holds", "holds-too"]


def test_claims_without_their_data_are_not_run_and_do_not_fail(
    paper: Any, here: Callable[..., Outcome], tmp_path: Path
) -> None:
    paper(rows(a=claim("holds"), b=claim("of-data", function="broken", more='data = ["x.mat"]')))
    done = here("reproduce", "made_up", "--out", tmp_path / "out")
    assert done.code == 0
    assert "not run     of-data" in done.out
    assert "--data" in done.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("made_down",), "unknown paper 'made_down'. Did you mean 'made_up'"),
        (("made_up", "--claim", "hold"), "unknown claim 'hold'. Did you mean 'holds'"),
        (("all", "--claim", "hold"), "unknown claim 'hold'. Did you mean 'holds'"),
    ],
)
def test_misuse_is_one_line_and_2(
    paper: Any, here: Callable[..., Outcome], tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    paper(rows(a=claim("holds")))
    done = here("reproduce", *words, "--out", tmp_path / "out")
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_function_that_is_not_there_is_named(paper: Any, here: Callable[..., Outcome], tmp_path: Path) -> None:
    paper(rows(a=claim("holds", function="wright")))
    done = here("reproduce", "made_up", "--out", tmp_path / "out")
    assert (done.code, "'wright', which run.py lacks" in done.err) == (2, True)


STATE = TrainingState({"step": np.asarray(4), "status": np.asarray(0), "spec": np.frombuffer(b"{}", np.uint8)})


@dataclasses.dataclass
class Trainer:
    """Stands for `training.fit`: writes a state after its only block, and remembers from where it was resumed."""

    resumed: list[Any] = dataclasses.field(default_factory=list)
    failed: bool = False
    refuses: bool = False

    def __call__(self, network: Any, task: Any, *, resume: Any = None, on_block: Any, **options: Any) -> Any:
        self.resumed.append(resume)
        if self.refuses and resume is not None:
            raise InputError("`resume` comes from a different run")
        on_block(STATE)
        one, step = jnp.zeros(4, jnp.float32), jnp.asarray(4)
        ended = jnp.asarray(STATUS.index("non-finite") * self.failed)
        history = History(jnp.arange(4), one, one, one, jnp.zeros((4, 0), jnp.float32), step, ended)
        return Fit(network, history, {}, "non-finite at step 3")


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    made = Trainer()
    monkeypatch.setattr(laboratory, "fit", made)
    return made


def lab(folder: Path) -> Lab[Any]:
    return Lab(Spec(), full=False, key=rc.key(0), folder=folder, report=silent)


def train(where: Lab[Any]) -> Any:
    system = FunctionMap(lambda x, u: x, state_size=1, input_size=4, dt=0.2)
    network = Network(system, LinearReadout(jnp.zeros((1, 1))), jnp.zeros(1))
    return where.fit("net", network, rc.tasks.ContextDecision())


def test_a_network_is_trained_once_in_a_run_and_read_back_in_the_next(trainer: Trainer, tmp_path: Path) -> None:
    first = lab(tmp_path)
    assert train(first) is train(first)
    assert trainer.resumed == [None]
    train(lab(tmp_path))
    (again,) = trainer.resumed[1:]
    assert again.step == STATE.step


def test_a_network_of_other_settings_is_trained_anew(
    trainer: Trainer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(lab(tmp_path))
    trainer.refuses = True
    train(lab(tmp_path))
    assert trainer.resumed[-1] is None
    assert "training anew" in capsys.readouterr().err


def test_training_that_overflowed_is_trouble_with_a_name(trainer: Trainer, tmp_path: Path) -> None:
    trainer.failed = True
    with pytest.raises(NumericalError, match="training of net ended non-finite at step 3"):
        train(lab(tmp_path))
