"""Foreign tensors become networks: which names, which axes, which numbers; what cannot be told is refused."""

import itertools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature.io.layouts import ImportOptions, Reading, interpret
from recurvature.systems import Euler, GRUCell, LeakyCurrent, LeakyRate, LowRank, LSTMCell, Stack, VanillaCell

SIZE, INPUTS, OUTPUTS = 5, 3, 2


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def read(tensors: dict[str, Any], **how: Any) -> tuple[Any, Reading]:
    if "options" in how:
        how["options"] = ImportOptions(**how["options"])
    network, reading, _ = interpret(tensors, "file", **how)
    return network, reading


def plain() -> dict[str, Any]:
    return {
        "W_rec": normal(SIZE, SIZE),
        "W_in": normal(SIZE, INPUTS, seed=1),
        "W_out": normal(OUTPUTS, SIZE, seed=2),
        "b": normal(SIZE, seed=3),
        "b_out": normal(OUTPUTS, seed=4),
        "x0": normal(SIZE, seed=5),
    }


def low_rank() -> dict[str, Any]:
    return {
        "wi": normal(INPUTS, SIZE),
        "si": normal(INPUTS, seed=1),
        "m": normal(SIZE, 2, seed=2),
        "n": normal(SIZE, 2, seed=3),
        "b": normal(SIZE, seed=4),
        "wo": normal(SIZE, OUTPUTS, seed=5),
        "so": normal(OUTPUTS, seed=6),
        "h0": normal(SIZE, seed=7),
    }


def stacked(gates: int, layers: int = 1, prefix: str = "") -> dict[str, Any]:
    seeds = itertools.count()
    tensors = {}
    for k in range(layers):
        for part, columns in (("weight_ih", SIZE if k else INPUTS), ("weight_hh", SIZE)):
            tensors[f"{prefix}{part}_l{k}"] = normal(gates * SIZE, columns, seed=next(seeds))
        for part in ("bias_ih", "bias_hh"):
            tensors[f"{prefix}{part}_l{k}"] = normal(gates * SIZE, seed=next(seeds))
    return tensors


def test_plain_weights_stand_in_their_places() -> None:
    tensors = plain()
    network, reading = read(tensors, options={"form": "rate", "phi": "relu", "dt": 0.1, "tau": 2.0})
    flow = network.system.flow
    assert isinstance(flow, LeakyRate)
    assert (flow.phi, flow.tau, network.system.dt) == ("relu", 2.0, 0.1)
    np.testing.assert_array_equal(flow.connectivity.dense(), tensors["W_rec"])
    np.testing.assert_array_equal(flow.input_weights, tensors["W_in"])
    np.testing.assert_array_equal(flow.bias, tensors["b"])
    np.testing.assert_array_equal(network.readout.weight, tensors["W_out"])
    np.testing.assert_array_equal(network.readout.bias, tensors["b_out"])
    np.testing.assert_array_equal(network.x0, tensors["x0"])
    assert (reading.layout, reading.unused) == ("leaky-rate", ())
    assert {entry.name: entry.shape for entry in reading.tensors} == {n: a.shape for n, a in tensors.items()}


def test_defaults_are_stated_as_guesses() -> None:
    network, reading = read(plain())
    assert isinstance(network.system, Euler)
    assert isinstance(network.system.flow, LeakyCurrent)
    expected = {"form": "current", "phi": "tanh", "tau": 1.0, "dt": 0.2, "orientation": "post-pre"}
    assert reading.options == expected
    text = " ".join(reading.notes)
    for guess in ("post × pre", "leaky current", "tanh was taken", "dt/tau = 0.2"):
        assert guess in text


@pytest.mark.parametrize(
    "names",
    [
        ("J", "wi", "wo", "b"),
        ("w_rec", "w_in", "w_out", "b_rec"),
        ("rnn.h2h.weight", "rnn.input2h.weight", "fc.weight", "rnn.h2h.bias"),
        ("module.recurrent.weight", "module.input.weight", "module.output.weight", "module.recurrent.bias"),
        ("wrec", "Win", "Wout", "bias"),
    ],
)
def test_usual_names_are_known(names: tuple[str, ...]) -> None:
    tensors = plain()
    network, reading = read(dict(zip(names, (tensors[n] for n in ("W_rec", "W_in", "W_out", "b")), strict=True)))
    assert reading.unused == ()
    np.testing.assert_array_equal(network.system.flow.connectivity.weight, tensors["W_rec"])
    np.testing.assert_array_equal(network.system.flow.bias, tensors["b"])


def test_two_biases_add_up() -> None:
    tensors = plain()
    network, _ = read({**tensors, "b_in": normal(SIZE, seed=9)})
    np.testing.assert_array_equal(network.system.flow.bias, tensors["b"] + normal(SIZE, seed=9))


def test_vectors_stand_for_one_channel_and_columns_for_vectors() -> None:
    tensors = {"J": normal(SIZE, SIZE), "W_in": normal(SIZE), "W_out": normal(SIZE, seed=1), "b": normal(SIZE, 1)}
    network, reading = read(tensors)
    assert any(note.endswith("nothing in the file tells") for note in reading.notes)
    np.testing.assert_array_equal(network.system.flow.input_weights[:, 0], tensors["W_in"])
    np.testing.assert_array_equal(network.readout.weight[0], tensors["W_out"])
    np.testing.assert_array_equal(network.system.flow.bias, tensors["b"][:, 0])


@pytest.mark.parametrize("stored", [{"dt": 0.05, "tau": 0.5}, {"alpha": 0.1, "tau": 0.5}, {"dt": [[0.05]], "tau": 0.5}])
def test_time_constants_in_the_file_are_used(stored: dict[str, Any]) -> None:
    network, reading = read(plain() | {name: np.asarray(value) for name, value in stored.items()})
    assert network.system.flow.tau == 0.5
    # 0.1 · 0.5 is 0.05 to rounding
    assert network.system.dt == pytest.approx(0.05, rel=1e-15)
    assert "dt/tau" not in " ".join(reading.notes)


def test_options_win_over_the_file_and_say_so() -> None:
    _, reading = read(plain() | {"dt": np.asarray(0.05), "tau": np.asarray(1.0)}, options={"dt": 0.1, "tau": 2.0})
    assert "dt = 0.1 as given; the file says 0.05" in reading.notes
    assert "tau = 2.0 as given; the file says 1.0" in reading.notes


def test_pre_post_weights_are_turned() -> None:
    tensors = plain()
    turned = {name: array.T for name, array in tensors.items()}
    network, reading = read(turned, options={"orientation": "pre-post"})
    straight, _ = read(tensors, options={"orientation": "post-pre"})
    np.testing.assert_array_equal(network.system.flow.connectivity.weight, tensors["W_rec"])
    np.testing.assert_array_equal(network.system.flow.input_weights, straight.system.flow.input_weights)
    np.testing.assert_array_equal(network.readout.weight, straight.readout.weight)
    assert any("transposed" in entry.meaning for entry in reading.tensors)


def test_axes_that_cannot_be_told_are_refused(refused: Callable) -> None:
    square = plain() | {"W_in": normal(SIZE, SIZE)}
    with refused("which axis is the units cannot be told"):
        read(square)
    read(square, options={"orientation": "post-pre"})
    with refused("which axis is the units cannot be told"):
        read(plain() | {"W_out": normal(SIZE, SIZE), "b_out": normal(SIZE)})
    with refused("the weights seem to be pre × post"):
        read(plain() | {"W_in": normal(INPUTS, SIZE)})
    network, _ = read({"A": normal(SIZE, SIZE), "B": normal(INPUTS, SIZE)}, mapping={"W_rec": "A", "W_in": "B.T"})
    np.testing.assert_array_equal(network.system.flow.input_weights, normal(INPUTS, SIZE).T)


def test_low_rank_networks_are_read_as_published() -> None:
    tensors = low_rank()
    network, reading = read(tensors)
    flow = network.system.flow
    assert isinstance(flow.connectivity, LowRank)
    assert (flow.connectivity.normalisation, flow.phi, flow.tau, network.system.dt) == ("1/N", "tanh", 1.0, 0.2)
    np.testing.assert_array_equal(flow.connectivity.left, tensors["m"])
    np.testing.assert_array_equal(flow.input_weights, (tensors["wi"] * tensors["si"][:, None]).T)
    # division by N before or after the product: one rounding
    np.testing.assert_allclose(network.readout.weight, (tensors["wo"] * tensors["so"]).T / SIZE, rtol=1e-15)
    np.testing.assert_array_equal(network.x0, tensors["h0"] + tensors["b"])
    assert reading.layout == "low-rank"
    assert any(note.startswith("b is not zero: the original reads tanh(h)") for note in reading.notes)


def test_low_rank_networks_step_as_published() -> None:
    tensors = low_rank()
    network, _ = read(tensors, options={"dt": 0.6, "tau": 2.0})
    h, u = tensors["h0"], normal(INPUTS, seed=11)
    for _ in range(3):
        recurrent = tensors["m"] @ (tensors["n"].T @ np.tanh(h + tensors["b"])) / SIZE
        h = h + 0.3 * (-h + recurrent + (tensors["wi"].T * tensors["si"]) @ u)
    states = rc.systems.simulate(network, jnp.asarray(np.tile(u, (1, 3, 1)))).states
    # three steps of sums of at most ten products of order one
    np.testing.assert_allclose(states[0, -1] - tensors["b"], h, rtol=0, atol=1e-14)


@pytest.mark.parametrize("prefix", ["", "rnn.", "module.encoder.gru."])
@pytest.mark.parametrize(("gates", "cell"), [(1, VanillaCell), (3, GRUCell), (4, LSTMCell)])
def test_pytorch_modules_are_read_under_any_prefix(prefix: str, gates: int, cell: type) -> None:
    tensors = stacked(gates, layers=2, prefix=prefix)
    tensors |= {"head.fc.weight": normal(OUTPUTS, SIZE), "head.fc.bias": normal(OUTPUTS)}
    network, reading = read(tensors)
    assert isinstance(network.system, Stack)
    assert [type(layer) for layer in network.system.layers] == [cell, cell]
    for k, layer in enumerate(network.system.layers):
        for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            np.testing.assert_array_equal(getattr(layer, part), tensors[f"{prefix}{part}_l{k}"])
    np.testing.assert_array_equal(network.readout.weight, tensors["head.fc.weight"])
    np.testing.assert_array_equal(network.readout.bias, tensors["head.fc.bias"])
    assert reading.layout == {1: "torch-rnn", 3: "torch-gru", 4: "torch-lstm"}[gates]
    assert reading.unused == ()


def test_modules_without_biases_and_cells_are_read() -> None:
    tensors = {"cell.weight_ih": normal(SIZE, INPUTS), "cell.weight_hh": normal(SIZE, SIZE)}
    network, reading = read(tensors, options={"phi": "relu", "dt": 0.5})
    assert network.system.layers[0].phi == "relu"
    assert network.system.dt == 0.5
    assert not network.system.layers[0].bias_ih.any()
    assert "layer 0 has no biases: zeros" in reading.notes
    assert "no readout in the file: the outputs are the units of the top layer" in reading.notes
    np.testing.assert_array_equal(network.readout.weight, np.eye(SIZE))


def test_a_learnt_start_is_used() -> None:
    network, _ = read(stacked(3, layers=2) | {"h0": normal(2, 1, SIZE)})
    np.testing.assert_array_equal(network.x0, normal(2, 1, SIZE).ravel())


def test_of_several_readouts_one_is_named(refused: Callable) -> None:
    tensors = stacked(3) | {"a.weight": normal(1, SIZE), "b.weight": normal(2, SIZE)}
    with refused("several tensors could be the readout: a.weight, b.weight; name it with the option `readout`"):
        read(tensors)
    network, reading = read(tensors, options={"readout": "b"})
    assert network.readout.output_size == 2
    assert reading.unused == ("a.weight",)
    with refused("`readout` names 'c'"):
        read(tensors, options={"readout": "c"})


Change = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    ("tensors", "change", "words"),
    [
        (stacked(3), lambda t: t.update(weight_ih_l0_reverse=normal(15, 3)), "bidirectional"),
        (stacked(4), lambda t: t.update(weight_hr_l0=normal(2, 5)), "projections"),
        (stacked(3), lambda t: t.update({"other.weight_hh_l0": normal(15, 5)}), "2 recurrent modules"),
        (stacked(3), lambda t: t.pop("weight_ih_l0"), "layer 0 is not complete"),
        (stacked(3), lambda t: t.pop("bias_hh_l0"), "layer 0 is not complete"),
        (stacked(3, 3), lambda t: t.pop("weight_hh_l1"), "layer 1 is not complete"),
        (stacked(3), lambda t: t.update(weight_hh_l0=normal(10, 5)), "1, 3 or 4 times the columns"),
        (stacked(3), lambda t: t.update(weight_hh_l0=normal(15)), "must be a matrix"),
        (stacked(3), lambda t: t.update(weight_ih_l0=normal(14, 3)), "`weight_ih_l0` must have shape (15, any)"),
        (stacked(3, 2), lambda t: t.update(weight_ih_l1=normal(15, 3)), "`weight_ih_l1` must have shape (15, 5)"),
        (stacked(3), lambda t: t.update(weight_ih=normal(15, 3)), "are the same part of the same layer"),
        (stacked(3), lambda t: t.update(weight_ih_l0=normal(15, 0)), "every size must be at least 1"),
        (plain(), lambda t: t.update(W_rec=normal(5, 4)), "must be square"),
        (plain(), lambda t: t.update(W_rec=normal(0, 0)), "every size must be at least 1"),
        (plain(), lambda t: t.update(W_in=normal(4, 3)), "must have one axis of 5 units"),
        (plain(), lambda t: t.update(W_in=normal(5, 3, 1)), "must have one axis of 5 units"),
        (plain(), lambda t: t.update(b=normal(4)), "`b` (bias) must have shape (5,)"),
        (plain(), lambda t: t.update(J=normal(5, 5)), "`W_rec` and `J` could both be W_rec"),
        (plain(), lambda t: t.update(W_in=np.ones((5, 3), int)), "number type int64; weights must be floating"),
        (plain(), lambda t: t.update(W_in=np.ones((5, 3), complex)), "number type complex128"),
        (plain(), lambda t: t["W_in"].__setitem__((0, 0), np.nan), "has 1 values that are NaN or infinite"),
        (plain(), lambda t: t["W_out"].__setitem__(0, np.inf), "has 5 values that are NaN or infinite"),
        (plain(), lambda t: t.update(tau=normal(5)), "one number for all units"),
        (plain(), lambda t: t.update(tau=np.asarray(-1.0)), "(tau) must be a finite number greater than 0; got -1.0"),
        (plain(), lambda t: t.update(dt=np.asarray(np.nan)), "(dt) must be a finite number"),
        (plain(), lambda t: t.update(dt=np.asarray(3.0)), "`dt` must lie in (0, tau]"),
        (plain(), lambda t: t.pop("W_rec"), "are of no known layout"),
        (plain(), lambda t: t.clear(), "holds no tensors"),
        (low_rank(), lambda t: t.update(n=normal(5, 3)), "`n` must have shape (5, 2)"),
        (low_rank(), lambda t: t.update(wi=normal(5, 3)), "`wi` must have shape (5, 5)"),
        (low_rank(), lambda t: t.update(si=normal(4)), "`si` must have shape (3)"),
        (low_rank(), lambda t: t.update(m=normal(5)), "`m` must be a matrix"),
        (low_rank(), lambda t: t.update(m=normal(5, 0)), "`m` must be a matrix"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(
    tensors: dict[str, Any], change: Change, words: str, refused: Callable
) -> None:
    tensors = {name: array.copy() for name, array in tensors.items()}
    change(tensors)
    with refused(words):
        read(tensors)


@pytest.mark.parametrize(
    ("tensors", "how", "words"),
    [
        (plain(), {"options": {"phi": "tahn"}}, "unknown activation 'tahn'. Did you mean 'tanh'?"),
        (stacked(1), {"options": {"phi": "gelu"}}, "`phi` must be one of tanh, relu"),
        (stacked(3), {"options": {"phi": "relu"}}, "`phi` has no place in a GRU or an LSTM"),
        (low_rank(), {"options": {"phi": "relu"}}, "`phi` must be tanh"),
        (low_rank(), {"options": {"form": "rate"}}, "the low-rank layout fixes `form`"),
        (plain(), {"layout": "plian"}, "unknown layout 'plian'. Did you mean 'plain'?"),
        (plain(), {"layout": "low-rank"}, "are not of layout 'low-rank'; use a mapping"),
        (plain(), {"layout": "torch"}, "are not of layout 'torch'"),
        (stacked(3), {"layout": "plain"}, "are not of layout 'plain'"),
        (plain(), {"mapping": {"W_rek": "W_rec"}}, "unknown role 'W_rek'. Did you mean 'W_rec'?"),
        (plain(), {"mapping": {"W_rec": "W_rek"}}, "no tensor has that name. Did you mean 'W_rec'?"),
        (plain(), {"mapping": {"W_rec": "W_rec"}}, "are of no known layout"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    tensors: dict[str, Any], how: dict[str, Any], words: str, refused: Callable
) -> None:
    with refused(words):
        read(tensors, **how)


def test_a_mapping_names_tensors_of_any_layout() -> None:
    theirs = {"one": normal(15, 3), "two": normal(15, 5), "three": normal(15), "four": normal(15), "out": normal(2, 5)}
    roles = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "readout.weight")
    network, reading = read(theirs, mapping=dict(zip(roles, theirs, strict=True)))
    assert isinstance(network.system.layers[0], GRUCell)
    assert network.readout.output_size == 2
    assert "weight_ih_l0 = one" in reading.notes[-1]


@pytest.mark.parametrize(
    ("stored", "used", "note"),
    [
        ("float16", "float32", "float16 widened to float32"),
        ("bfloat16", "float32", "bfloat16 widened to float32"),
        ("float32", "float32", None),
        ("float64", "float64", None),
    ],
)
def test_number_types_are_kept_or_widened(stored: str, used: str, note: str | None) -> None:
    network, reading = read({name: array.astype(jnp.dtype(stored)) for name, array in plain().items()})
    assert {str(leaf.dtype) for leaf in (network.x0, network.readout.weight, network.system.flow.bias)} == {used}
    assert (note in reading.notes) if note else not any("wide" in text for text in reading.notes)


def test_mixed_number_types_become_the_widest() -> None:
    network, _ = read({name: array.astype("f4" if name == "b" else "f8") for name, array in plain().items()})
    assert network.system.flow.bias.dtype == jnp.float64


def test_unused_tensors_are_listed() -> None:
    _, reading = read(plain() | {"loss": normal(100), "steps": np.asarray(3)})
    assert reading.unused == ("loss", "steps")
    assert any("unused tensors do nothing here" in note for note in reading.notes)
    assert reading.to_dict()["unused"] == ("loss", "steps")


def test_the_file_is_not_changed_by_what_is_done_to_the_network() -> None:
    tensors = plain()
    network, _ = read(tensors)
    tensors["W_rec"][:] = 0
    assert network.system.flow.connectivity.weight.any()
