"""Specs are strict: every key and class is known, or the nearest known one is named."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pydantic
import pytest
from jaxtyping import Array, Complex, Float

import recurvature as rc
from recurvature.io import specs
from recurvature.io.specs import TrainSpec, decode, encode, known_classes, parse, read_toml
from recurvature.systems import AbstractMap, FunctionMap, LeakyCurrent, LinearReadout, Network


class Turning(AbstractMap):
    """A user's own system: a tuple of numbers, an option, complex weights."""

    angles: tuple[float, ...] = eqx.field(static=True)
    spectrum: Complex[Array, " n"]
    state_size: int = eqx.field(static=True)
    input_size: int = eqx.field(static=True, default=1)
    dt: float = eqx.field(static=True, default=1.0)
    exact: bool = eqx.field(static=True, default=True)

    def rates(self, x: Float[Array, " n"]) -> Float[Array, " r"]:
        return x

    def step(self, x: Float[Array, " n"], u: Float[Array, " d"]) -> Float[Array, " n"]:
        return x * jnp.abs(self.spectrum) + u


def turning() -> Network:
    system = Turning((0.5, 1.0), jnp.asarray([1 + 2j, 3j]), 2)
    return Network(system, LinearReadout(jnp.ones((1, 2)), jnp.ones(1)), jnp.zeros(2))


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(specs, "_REGISTERED", {})
    rc.io.register(Turning)


def through_json(spec: Any) -> Any:
    return json.loads(json.dumps(spec, allow_nan=False))


def test_every_class_of_the_library_has_been_through_a_round_trip(networks: list[Network]) -> None:
    seen: set[str] = set()

    def collect(spec: Any) -> None:
        for value in spec.values() if isinstance(spec, dict) else spec if isinstance(spec, list) else ():
            collect(value)
        if isinstance(spec, dict) and "class" in spec:
            seen.add(spec["class"])

    for network in networks:
        collect(encode(network)[0])
    own = {n for n, cls in known_classes().items() if cls.__module__.startswith("recurvature.")}
    # a class that no constructor makes would need a network of its own in this list
    assert own == seen


def test_a_registered_class_of_the_users_own_comes_back(registered: None, assert_same: Callable) -> None:
    spec, tensors = encode(turning())
    assert_same(decode(through_json(spec), tensors), turning())


def test_a_class_that_is_not_registered_is_refused_with_the_cure(refused: Callable) -> None:
    with refused("call `recurvature.io.register(Turning)`"):
        encode(turning())


def test_a_name_is_registered_once(registered: None, refused: Callable) -> None:
    rc.io.register(Turning)
    with refused("a class called 'Dense' is known already"):
        rc.io.register(type("Dense", (eqx.Module,), {}))
    with refused("must be a final"):
        rc.io.register(AbstractMap)


def test_a_function_as_nonlinearity_is_refused_with_the_names(getkey: Callable, refused: Callable) -> None:
    network = rc.systems.leaky_current(3, inputs=1, outputs=1, key=getkey(), phi=jnp.sin)
    with refused("`system.flow.phi` is a function of your own, which a file cannot hold; use one by name: tanh"):
        encode(network)


def test_a_function_as_system_is_refused_with_the_way_out(refused: Callable) -> None:
    network = Network(FunctionMap(lambda x, u: x, 2, 1), LinearReadout(jnp.ones((1, 2))), jnp.zeros(2))
    with refused("Write it as a class of your own"):
        encode(network)


def changed(spec: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of a spec with something else at a path."""
    spec = through_json(spec)
    place = spec
    *outer, last = path.split(".")
    for part in outer:
        place = place[part]
    place[last] = value
    return spec


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("class", "Netwrok", "unknown class 'Netwrok'. Did you mean 'Network'?"),
        ("class", None, "unknown class 'None'"),
        ("system.class", "Eular", "Did you mean 'Euler'?"),
        ("system.class", "LinearReadout", "unknown key of LinearReadout"),
        ("system.flow.taau", 1.0, "unknown key of LeakyCurrent 'taau'. Did you mean 'tau'?"),
        ("system.flow.phi", "tanhh", "unknown activation 'tanhh'. Did you mean 'tanh'?"),
        ("system.flow.phi", 3, "`system.flow.phi` of LeakyCurrent cannot be 3"),
        ("system.flow.tau", "1.0", "`system.flow.tau` of LeakyCurrent cannot be '1.0'"),
        ("system.flow.tau", -1.0, "`tau` must be a finite number greater than 0"),
        ("system.dt", True, "`system.dt` of Euler cannot be True"),
        ("system.dt", 5.0, "`dt` must lie in (0, tau]"),
        ("system.flow.connectivity", None, "cannot be None"),
        ("system.flow.bias.shape", [4], "the spec says float64 of shape [4]"),
        ("system.flow.bias.tensor", "float32", "the spec says float32"),
        ("readout", {"tensor": "float64", "shape": [1]}, "tensor 'readout' is missing"),
        ("readout", [], "`readout` of Network cannot be ()"),
        ("system.flow.bias", {"tensor": "float64"}, "unknown class 'None'"),
    ],
)
def test_a_changed_spec_is_refused_by_name(
    path: str, value: Any, words: str, leaky: Network, refused: Callable
) -> None:
    spec, tensors = encode(leaky)
    with refused(words):
        decode(changed(spec, path, value), tensors)


def test_missing_keys_and_tensors_without_a_place_are_refused(leaky: Network, refused: Callable) -> None:
    spec, tensors = encode(leaky)
    with refused("Network needs 'x0', which the spec lacks"):
        decode({k: v for k, v in spec.items() if k != "x0"}, tensors)
    with refused("tensor 'extra' has no place in the spec"):
        decode(spec, tensors | {"extra": np.ones(1)})
    with refused("the spec is a list, not a table"):
        decode([], {})


def replaced(flow_bias: np.ndarray, leaky: Network) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    spec, tensors = encode(leaky)
    shape = {"tensor": str(flow_bias.dtype), "shape": list(flow_bias.shape)}
    return changed(spec, "system.flow.bias", shape), tensors | {"system.flow.bias": flow_bias}


@pytest.mark.parametrize(
    ("bias", "words"),
    [
        (np.ones(4), "`system.flow.bias` of LeakyCurrent cannot be float64 of shape (4,)"),
        (np.ones((5, 1)), "cannot be float64 of shape (5, 1)"),
        (np.ones(5, int), "cannot be int64 of shape (5,)"),
        (np.array([0, np.nan, 0, 0, 0]), "NaN or infinite"),
        (np.array([0, np.inf, 0, 0, 0]), "NaN or infinite"),
        (np.ones(0), "every size must be at least 1"),
    ],
)
def test_tensors_that_fit_the_spec_but_no_network_are_refused(
    bias: np.ndarray, words: str, leaky: Network, refused: Callable
) -> None:
    with refused(words):
        decode(*replaced(bias, leaky))


def test_the_lengths_of_one_class_must_agree(refused: Callable) -> None:
    flow = {
        "class": "LeakyCurrent",
        "connectivity": {"class": "Dense", "weight": {"tensor": "float64", "shape": [2, 2]}},
        "input_weights": {"tensor": "float64", "shape": [3, 1]},
        "bias": {"tensor": "float64", "shape": [3]},
        "phi": "tanh",
        "tau": 1.0,
    }
    tensors = {"connectivity.weight": np.ones((2, 2)), "input_weights": np.ones((3, 1)), "bias": np.ones(3)}
    with refused("`input_weights` must have shape (2, any)"):
        decode(flow, tensors)
    assert {f.name for f in dataclasses.fields(LeakyCurrent)} == flow.keys() - {"class"}


def test_a_train_spec_comes_from_toml(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text('task = "random-dots"\nhidden = 32\nlearning_rate = 1e-2\n')
    spec = read_toml(tmp_path / "spec.toml", TrainSpec)
    assert (spec.task, spec.hidden, spec.learning_rate, spec.seeds) == ("random-dots", 32, 0.01, 1)
    with pytest.raises(pydantic.ValidationError):
        spec.hidden = 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('task = "x"\nlearning_rat = 1', "unknown key 'learning_rat'. Did you mean 'learning_rate'?"),
        ("hidden = 3", "the key 'task' is missing"),
        ('task = "x"\nhidden = 0', "'hidden' should be greater than or equal to 1; got 0"),
        ('task = "x"\nhidden = 2.5', "'hidden' should be a valid integer"),
        ('task = "x"\nhidden = true', "'hidden' should be a valid integer"),
        ('task = "x"\nlearning_rate = nan', "'learning_rate' should be"),
        ('task = "x"\nlearning_rate = -1', "'learning_rate' should be greater than 0; got -1"),
        ("task = 3", "'task' should be a valid string; got 3"),
        ('task = "x', "is not a TOML file"),
        ("a = " + "[" * 3000, "is not a TOML file"),
        ("\xff", "is not a TOML file"),
    ],
)
def test_unfit_toml_is_refused_by_key(tmp_path: Path, text: str, words: str, refused: Callable) -> None:
    (tmp_path / "spec.toml").write_text(text, encoding="latin-1")
    with refused(words):
        read_toml(tmp_path / "spec.toml", TrainSpec)


def test_parse_names_the_source(refused: Callable) -> None:
    with refused("options: unknown key 'fom'. Did you mean 'form'?"):
        parse(rc.io.ImportOptions, {"fom": "rate"}, "options")
