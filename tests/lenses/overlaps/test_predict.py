"""A forecast of training is held against training; what history left behind is what the forecast depends on."""

import importlib
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tests.lenses.overlaps.prescribed import DT, FILTER, RANK1, some_overlaps, some_vectors

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses import overlaps as ov

STEPS, BATCH = 12, 4
TASK = rc.tasks.ExponentialFilter(dt=DT, steps=20, input="white")


def network(phi: str = "identity", units: int = 40) -> Any:
    """A low-rank network with factors of its own normalisation, a bias and a start."""
    made: Any = rc.cast(ov.assemble(some_vectors(RANK1, units, 3), RANK1, dt=DT, phi=phi), jnp.float32)
    factors = made.system.flow.connectivity
    plain = rc.systems.LowRank(factors.left / units**0.5, factors.right / units**0.5, "1")
    changed = eqx.tree_at(lambda n: n.system.flow.connectivity, made, plain)
    bias = 0.3 * np.random.default_rng(0).normal(size=units)
    return eqx.tree_at(lambda n: n.system.flow.bias, changed, jnp.asarray(bias, jnp.float32))


OPTIONS: dict[str, Any] = {"steps": STEPS, "batch": BATCH, "learning_rate": 0.01}
FROZEN, CLIP = ("system.flow.input_weights",), 5.0


def test_a_forecast_is_the_training_that_follows() -> None:
    net, key = network(), rc.key(5)
    fit = rc.training.fit(
        net, TASK, key=key, optimiser=lambda rate: optax.sgd(rate, 0.5), clip_norm=CLIP, frozen=FROZEN, **OPTIONS
    )
    forecast = ov.predict(net, TASK, key=key, momentum=0.5, clip_norm=CLIP, frozen=FROZEN, **OPTIONS)
    # training is in float32
    np.testing.assert_allclose(forecast.loss[:-1], fit.history.loss, rtol=2e-5)
    np.testing.assert_allclose(forecast.gradient_norm[:-1], fit.history.gradient_norm, rtol=2e-4)
    # both sides of the clip were visited
    assert fit.history.gradient_norm.min() < CLIP < fit.history.gradient_norm.max()
    after = ov.stacked(fit.network)
    assert after.layout.columns == forecast.columns == ("z", "v", "m", "bias", "start", "u")
    s = np.asarray(after.theta, float)
    np.testing.assert_allclose(forecast.matrix[-1], s.T @ s / len(s), rtol=1e-4, atol=1e-5)
    # it learnt, the start from nothing, and the frozen inputs did not
    assert np.abs(forecast.matrix[-1] - forecast.matrix[0]).max() > 0.05
    assert forecast.of("start·start")[0] == 0 < forecast.of("start·start")[-1]
    assert forecast.of("m·m")[-1] == forecast.of("m·m")[0]
    assert forecast.exact
    assert forecast.trusted_until == STEPS


@pytest.mark.parametrize("phi", ["erf", pytest.param("tanh", marks=pytest.mark.slow)])
def test_a_forecast_of_nonlinear_units_says_how_far_it_may_be_trusted(phi: str) -> None:
    rng = np.random.default_rng(1)
    x = 2.0 * rng.normal(size=(4, 20, 1))
    trials = ov.Batch(jnp.asarray(x), jnp.asarray(0.5 * np.sign(np.cumsum(x, axis=1))), jnp.ones((4, 20)))
    units = 4000
    net = ov.network(some_overlaps(RANK1), RANK1, units, key=rc.key(2), dt=DT, phi=phi)
    frozen = ("x0", "system.flow.bias", "readout.weight")
    options: dict[str, Any] = {"steps": 40, "every": 10, "frozen": frozen, "key": rc.key(0), "clip_norm": None}
    forecast = ov.predict(net, trials, learning_rate=1.0 * units, **options)
    assert not forecast.exact
    # the units themselves, trained; the readout stands still
    loss = ov.DataLoss(*trials[:2], RANK1, DT, phi=phi)
    tensors = {name: optax.sgd(0.0 if name == "z" else 1.0) for name in "zvmu"}
    optimiser = optax.transforms.partition(tensors, {name: name for name in "zvmu"})
    full = ov.descend_units(loss, ov.stacked(net).theta, optimiser, steps=40, every=10, layout=RANK1)
    true = np.abs(full.matrix - forecast.matrix).max((1, 2))
    moved = np.abs(full.matrix - full.matrix[0]).max((1, 2))
    assert moved[-1] > 1
    # trusted, and right: within a tenth of what it forecasts, beside what a sample of N leaves
    assert forecast.trusted_until == 40
    assert (true <= 0.1 * moved + 3 * moved / np.sqrt(units) + 1e-12).all()
    # the error was foretold, to leading order: within a factor of three
    assert 1 / 3 < forecast.error[-1] / true[-1] < 3
    assert np.isfinite(forecast.energy_ratio).all()
    # much more learning of the same kind is not trusted
    far = ov.predict(net, trials, learning_rate=10.0 * units, **options)
    assert 0 < far.trusted_until < 40
    assert np.isnan(far.balanced_loss).all()


@pytest.mark.slow
def test_a_forecast_of_saturating_units_is_their_training_up_to_its_own_error() -> None:
    units, steps = 500, 200
    net = rc.cast(ov.network(some_overlaps(RANK1), RANK1, units, key=rc.key(2), dt=DT, phi="erf"), jnp.float32)
    frozen = ("x0", "system.flow.bias", "readout.weight")
    options: dict[str, Any] = {"steps": steps, "batch": 64, "learning_rate": 0.05 * units, "frozen": frozen}
    fit = rc.training.fit(net, TASK, key=rc.key(5), optimiser=optax.sgd, clip_norm=None, **options)
    forecast = ov.predict(net, TASK, key=rc.key(5), clip_norm=None, **options)
    after = np.asarray(ov.stacked(fit.network).theta, float)
    s = after.T @ after / units
    wrong, moved = np.abs(s - forecast.matrix[-1]).max(), np.abs(s - forecast.matrix[0]).max()
    # its own estimate
    assert wrong < forecast.error[-1]
    assert wrong < 0.2 * moved
    # trials are the same step by step; what is left is the closure's, and a sample of 500 units: 1/sqrt(500) each way
    ratio = np.asarray(fit.history.loss) / forecast.loss[:-1]
    assert np.abs(np.log(ratio)).max() < 2 / np.sqrt(units) + wrong / moved
    assert forecast.loss[-1] < 0.5 * forecast.loss[0]


def test_history_shows_in_the_future_alone() -> None:
    s = some_overlaps(RANK1)
    net = ov.network(s, RANK1, 30, key=rc.key(2), dt=DT)
    left = ov.traces(net)
    assert left.visible.sum() == 4
    assert set(left.invisible) == {n for n, v in zip(left.names, left.visible, strict=True) if not v}
    assert left.invisible["u·u"] == pytest.approx(s[3, 3], rel=1e-12)
    # linear rank 1: two hidden dimensions, which a balanced network has not
    assert (left.leaf, left.function, left.hidden) == (5, 3, 2)
    assert left.imbalance > 0.1
    twin = ov.balanced(s, RANK1)
    np.testing.assert_allclose(twin[:2, 2:], s[:2, 2:], rtol=0, atol=1e-14)
    again = ov.traces(ov.describe(twin, RANK1, units=30))
    # a square root of rounding
    assert again.imbalance < 1e-7
    assert again.hidden == 0
    np.testing.assert_allclose(left.balanced[left.visible], left.overlaps[left.visible], rtol=0, atol=1e-14)
    assert np.abs(left.balanced - left.overlaps).max() > 0.1


def test_traces_look_as_deep_as_the_case_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def reach(matrix: Any, **options: Any) -> None:
        asked.append(options["depth"])
        raise InterruptedError

    monkeypatch.setattr(importlib.import_module("recurvature.lenses.overlaps.traces"), "reach", reach)
    plain, wide = (ov.Layout(1, rank, 1) for rank in (1, 2))
    for layout, phi in ((plain, "identity"), (plain, "erf"), (wide, "identity")):
        with pytest.raises(InterruptedError):
            ov.traces(ov.describe(np.eye(layout.size), layout, units=30, phi=phi))
    assert asked == [2, 3, 3]


def test_balance_under_unequal_rates_is_kept_by_flow() -> None:
    blocks = (0.5, 2.0, 1.0, 0.8)
    twin = ov.balanced(some_overlaps(RANK1), RANK1, blocks=blocks)
    path = ov.flow(FILTER, twin, duration=0.6, layout=RANK1, samples=6, blocks=blocks)
    # square roots of a solver's 1e-10
    assert np.abs(ov.invariants(path).spectrum).max() < 1e-4
    assert np.abs(path.matrix[-1] - twin).max() > 0.1
    with pytest.raises(InputError, match="frozen block"):
        ov.balanced(some_overlaps(RANK1), RANK1, blocks=(0.0, 1.0, 1.0, 1.0))


def test_the_balanced_network_learns_otherwise() -> None:
    forecast = ov.predict(network(), TASK, key=rc.key(5), clip_norm=CLIP, **OPTIONS)
    # one function, one loss; and after some steps not
    assert forecast.balanced_loss[0] == pytest.approx(forecast.loss[0], rel=1e-12)
    assert np.abs(forecast.balanced_loss - forecast.loss).max() > 1e-3 * forecast.loss[0]
    assert ov.Forecast.from_xarray(forecast.to_xarray()).optimiser["learning_rate"] == 0.01


def test_a_training_that_diverges_is_forecast_to_diverge() -> None:
    forecast = ov.predict(network(), TASK, key=rc.key(5), clip_norm=CLIP, **(OPTIONS | {"learning_rate": 1e9}))
    assert ov.STATUS[forecast.status[-1]] == "non_finite"
    assert forecast.trusted_until < STEPS


def biased() -> Any:
    net = network()
    readout = rc.systems.LinearReadout(net.readout.weight, jnp.full((1,), 0.2, jnp.float32))
    return eqx.tree_at(lambda n: n.readout, net, readout)


def test_a_bias_of_the_readout_stays_where_it_is() -> None:
    net = biased()
    frozen = (*FROZEN, "readout.bias")
    forecast = ov.predict(net, TASK, key=rc.key(5), frozen=frozen, clip_norm=CLIP, **OPTIONS)
    trials = TASK.trials(rc.stream(rc.key(5), "looks"), BATCH)
    outputs = rc.systems.simulate(rc.cast(net, float), trials.inputs.astype(float)).outputs
    # float64 of a float32 network
    expected = float(rc.training.mean_squared_error(jnp.asarray(outputs), rc.cast(trials, float)))
    assert forecast.unit_loss[0] == pytest.approx(expected, rel=1e-6)


leaky = partial(rc.systems.leaky_current, 8, inputs=1, outputs=1, key=rc.key(0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frozen": ("system.flow.bia",)}, "unknown parameter in `frozen`"),
        ({"frozen": ("system", "readout", "x0")}, "leaves nothing to train"),
        ({"learning_rate": 0.0}, "`learning_rate` must be"),
        ({"network": partial(leaky, dt=DT)}, "dense recurrence"),
        ({"network": partial(leaky, dt=0.2, rank=1)}, "steps of dt"),
        ({"network": partial(leaky, dt=None, rank=1)}, "has a flow"),
        ({"network": partial(leaky, dt=DT, rank=1, phi="softplus")}, "unknown activation"),
        ({"network": biased}, r"frozen=\('readout.bias',\)"),
    ],
)
def test_what_the_theory_does_not_cover_is_refused(changes: dict, message: str) -> None:
    options = {"network": network, "task": TASK, "key": rc.key(0), **OPTIONS, **changes}
    with pytest.raises(InputError, match=message):
        ov.predict(options.pop("network")(), options.pop("task"), **options)


@pytest.mark.slow
def test_maps_without_a_leak_are_forecast_too() -> None:
    rng = np.random.default_rng(0)
    factors = rc.systems.LowRank(jnp.asarray(rng.normal(size=(20, 2))), jnp.asarray(rng.normal(size=(20, 2))))
    system = rc.systems.LinearMap(factors, jnp.asarray(rng.normal(size=(20, 1))))
    net: Any = rc.systems.Network(
        system, rc.systems.LinearReadout(jnp.asarray(rng.normal(size=(1, 20)) / 20)), jnp.zeros(20)
    )
    x, y = jnp.asarray(rng.normal(size=(3, 6, 1))), jnp.asarray(rng.normal(size=(3, 6, 1)))
    trials = ov.Batch(x, y, jnp.ones((3, 6)))
    forecast = ov.predict(net, trials, steps=1, learning_rate=0.02, key=rc.key(0), clip_norm=None)

    def loss(n: Any) -> jax.Array:
        return jnp.mean((rc.systems.simulate(n, x).outputs - y) ** 2)

    stepped = eqx.apply_updates(net, jax.tree.map(lambda g: -0.02 * g, eqx.filter_grad(loss)(net)))
    # one step, rounding
    assert forecast.loss[1] == pytest.approx(float(loss(stepped)), rel=1e-11)
