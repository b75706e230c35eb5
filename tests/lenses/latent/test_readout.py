"""Closure and readouts: the variables alone do what the network does, and what a readout may see beside them."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from tests.lenses.latent.conftest import DT, INPUTS, K, N, network_of, random_unit

import recurvature as rc
from recurvature import latent
from recurvature._errors import InputError
from recurvature.systems import ActivatedReadout, Euler, FunctionMap, LinearReadout, Network, simulate


@pytest.mark.parametrize("form", ["rate", "current"])
def test_variables_run_alone_are_those_of_the_network(form, drive):
    network = network_of(random_unit(form))
    found = latent.closure(network, drive)
    assert np.abs(np.asarray(found.alone)).max() > 0.2
    # the bound of the theorem in float64: rounding of forty steps of sums over forty units
    assert found.error <= 1e-12
    assert found.relative_error == pytest.approx(found.error / np.abs(np.asarray(found.alone)).max())
    if form == "rate":
        states = np.asarray(simulate(network, jnp.asarray(drive)).states)
        encoding = np.asarray(random_unit().encoding)
        seen = states @ (np.linalg.pinv(encoding) @ encoding)
        expected = 1 - (seen**2).sum(-1) / (states**2).sum(-1)
        np.testing.assert_allclose(found.outside, expected, atol=1e-12)


def test_inputs_along_the_embedding_do_not_hide_the_closure(drive):
    unit = random_unit("current")
    along = latent.from_encoding(
        unit.embedding,
        unit.encoding,
        input_weights=unit.embedding[:, :INPUTS],
        bias=unit.flow.bias,
        form="current",
        dt=DT,
    )
    # a state is then of many pairs of kappa and v; it is the state that must agree, to rounding of forty steps
    assert latent.closure(network_of(along), drive).error <= 1e-12


def test_variables_close_in_float32(drive):
    network = rc.cast(network_of(random_unit()), jnp.float32)
    # forty steps in float32, whose unit is 6e-8, of sums over forty units
    assert latent.closure(network, drive).error <= 5e-6


def test_units_of_unequal_time_constants_do_not_close(drive):
    """The equation of the variables needs one time constant: with several the variables part from it at once."""
    unit = random_unit()
    m, n, w, b = (np.asarray(a) for a in (unit.embedding, unit.encoding, unit.flow.input_weights, unit.flow.bias))

    def run(share):
        r, kappa, apart, rates = np.zeros(N), np.zeros(K), [], []
        for u in drive[0]:
            r = r + share * (np.tanh(m @ (n @ r) + w @ u + b) - r)
            kappa = kappa + share.mean() * (n @ np.tanh(m @ kappa + w @ u + b) - kappa)
            apart.append(np.abs(n @ r - kappa).max())
            rates.append(r)

        return max(apart), latent.step_residual(unit, np.array(rates)[None], drive[:1]).relative

    # rounding, and a change of the variables that any plot shows
    even, uneven = run(np.full(N, DT)), run(DT * np.linspace(0.5, 1.5, N))
    assert max(even) < 1e-12
    assert min(uneven) > 0.01
    flow = FunctionMap(lambda x, u: x, N, INPUTS)
    with pytest.raises(InputError, match="share one time constant"):
        latent.unit(flow)


def test_weights_outside_of_the_unit_leave_the_stated_residual(drive):
    unit, rng = random_unit(), np.random.default_rng(3)
    m, n, w, b = (np.asarray(a) for a in (unit.embedding, unit.encoding, unit.flow.input_weights, unit.flow.bias))
    background, r, rates, expected = 0.3 * rng.normal(size=(N, N)) / N**0.5, np.zeros(N), [], []
    for u in drive[0]:
        seen, driven = np.tanh(m @ (n @ r) + w @ u + b), np.tanh((m @ n + background) @ r + w @ u + b)
        expected.append(DT * n @ (driven - seen))
        r = r + DT * (driven - r)
        rates.append(r)
    found = latent.step_residual(unit, np.array(rates)[None], drive[:1])
    # differences of sums over forty units
    np.testing.assert_allclose(found.residual[0], expected[1:], atol=1e-13)
    assert found.relative > 0.01
    with pytest.raises(InputError, match="must be of the rate form and have a step"):
        latent.step_residual(random_unit("current"), np.array(rates)[None], drive[:1])


@pytest.mark.parametrize("form", ["rate", "current"])
def test_a_network_of_the_variables_alone_has_the_outputs_of_the_network(form, drive):
    unit = random_unit(form)
    network = network_of(unit, outputs=2)
    if form == "rate":
        weight = jnp.asarray(np.random.default_rng(0).normal(size=(2, K))) @ unit.encoding
        network = Network(network.system, ActivatedReadout(weight, jnp.ones(2), "tanh"), network.x0)
    small = latent.latent_network(network)
    assert small.system.state_size == (K if form == "rate" else K + INPUTS + 1)
    one, other = (np.asarray(simulate(each, jnp.asarray(drive)).outputs) for each in (small, network))
    # as above
    np.testing.assert_allclose(one, other, atol=1e-12)


def test_a_readout_outside_the_encoding_has_no_network_of_variables():
    with pytest.raises(InputError, match=r"outside the encoding.*latent\.extend"):
        latent.latent_network(network_of(random_unit()))
    gated = rc.systems.GatedReadout(
        jnp.ones((2, N)), jnp.ones((2, N)), jnp.zeros(2), jnp.zeros(2), jnp.ones((1, 2)), jnp.zeros(1)
    )
    unit = random_unit()
    with pytest.raises(InputError, match="need a linear readout"):
        latent.latent_network(Network(Euler(unit.flow, DT), gated, jnp.zeros(N)))


def test_readouts_inside_the_encoding_are_readouts_of_the_variables():
    unit, rng = random_unit(), np.random.default_rng(0)
    inside = rng.normal(size=(2, K)) @ np.asarray(unit.encoding)
    found = latent.readout_equivalence(unit, inside)
    assert found.equivalent
    rates = rng.normal(size=(5, N))
    # a projection
    np.testing.assert_allclose(rates @ inside.T, unit.project(jnp.asarray(rates)) @ found.latent_weight.T, atol=1e-12)


def test_two_states_of_equal_variables_give_other_outputs_by_the_stated_gap():
    unit, rng = random_unit(), np.random.default_rng(1)
    weight, rates = rng.normal(size=(2, N)), rng.normal(size=N)
    found = latent.readout_equivalence(unit, weight)
    assert not found.equivalent
    encoding = np.asarray(unit.encoding)
    full = np.eye(N) - np.linalg.pinv(encoding) @ encoding
    for row, witness, gap in zip(weight, found.witness, found.gap, strict=True):
        other = rates + witness
        # projections of forty numbers, against the pseudo-inverse multiplied out
        np.testing.assert_allclose(encoding @ other, encoding @ rates, atol=1e-12)
        np.testing.assert_allclose(row @ (other - rates), gap, rtol=1e-12)
        np.testing.assert_allclose(gap, ((full @ row) ** 2).sum(), rtol=1e-12)


# ---- approximation


def oscillator(kappa, u):
    """Van der Pol's."""
    return jnp.stack([kappa[1], (1 - kappa[0] ** 2) * kappa[1] - kappa[0]])


@pytest.fixture(scope="module")
def samples():
    return np.random.default_rng(0).uniform([-3, -4], [3, 4], (600, 2))


@pytest.fixture(scope="module")
def unit(samples):
    """A hundred units that oscillate on five time constants."""
    return latent.approximate(oscillator, samples, units=100, key=rc.key(1), slowness=5.0, gain=0.5)


@pytest.mark.parametrize("slowness", [1.0, pytest.param(50.0, marks=pytest.mark.slow)])
def test_more_units_follow_a_wanted_flow_better(samples, slowness):
    few, many = (latent.approximate(oscillator, samples, units=n, key=rc.key(0), slowness=slowness) for n in (25, 100))
    # smooth fields are fitted faster than by any fixed power of the number of units; three is far below
    assert many.field_error < few.field_error / 3
    assert many.field_error < 0.01


def test_a_unit_follows_the_wanted_flow_in_time(unit):
    """Against SciPy's solution of the wanted equation, on the attractor for two thirds of its period."""
    made, slowness = unit.unit(), 5.0
    assert unit.field_error < 1e-3
    m, n, b = (np.asarray(a) for a in (made.embedding, made.encoding, made.flow.bias))
    times = np.linspace(0, 4 * slowness, 40)
    options = {"t_eval": times, "rtol": 1e-9, "atol": 1e-10}
    wanted = lambda t, k: np.asarray([k[1], (1 - k[0] ** 2) * k[1] - k[0]]) / slowness  # noqa: E731
    full = lambda t, r: np.tanh(m @ (n @ r) + b) - r  # noqa: E731
    start = np.tanh(m @ [2.0, 0.0] + b)
    first = solve_ivp(wanted, (0, times[-1]), n @ start, **options).y
    second = n @ solve_ivp(full, (0, times[-1]), start, **options).y
    # the error of the field, over the four time constants of a stable cycle that it adds up in
    assert np.abs(first - second).max() < 4 * unit.field_error * np.abs(first).max() * 5


def test_an_extended_unit_reads_a_product_linearly_and_forgets_offsets(unit, samples):
    product = lambda kappa: kappa[0] * kappa[1:]  # noqa: E731
    made = unit.unit(dt=0.05)
    found = latent.extend(made, product, samples, ridge=1e-14)
    bigger = latent.extended_unit(made, found)
    assert bigger.connectivity.rank == 3
    # the outputs drive no unit
    np.testing.assert_allclose(bigger.connectivity.dense(), made.connectivity.dense(), atol=1e-13)
    weight, start = np.asarray(found.weight), np.asarray(made.rates(jnp.asarray([2.0, 0.0])))
    network, none = network_from(bigger, start), jnp.zeros((1, 100, 0))
    kick = np.linalg.lstsq(np.asarray(bigger.encoding), [0.0, 0.0, 1.0], rcond=None)[0]
    runs = [np.asarray(simulate(network_from(bigger, s), none).states)[0] for s in (start, start + kick)]
    kappas = runs[0] @ np.asarray(made.encoding).T
    y, offset = runs[0] @ weight.T, (runs[1] - runs[0]) @ weight.T
    true = (kappas[:, 0] * kappas[:, 1])[:, None]
    # what the fit leaves is added in every step and fades with the leak: it never adds up to more than itself
    assert np.abs(y - true).max() <= 2 * found.largest_error[0] < 0.01 * np.ptp(true)
    # an offset fades by the leak alone, in every step: rounding
    np.testing.assert_allclose(offset[:, 0], (1 - 0.05) ** np.arange(1, 101), atol=1e-9)
    assert network.readout.weight.shape == (100, 100)


def test_outputs_of_a_unit_with_large_steps_are_exact_whatever_the_inputs(drive):
    """A row that is fitted without error along one run: y is g in every step of it, and an offset fades by the leak."""
    alpha, flow = 0.5, random_unit().flow
    unit = latent.LatentUnit(flow, dt=alpha * flow.tau)
    u = np.asarray(drive)[0, :20]
    states = np.asarray(simulate(network_from(unit, np.zeros(N)), jnp.asarray(u[None])).states)[0]
    kappa = np.concatenate([np.zeros((1, K)), states @ np.asarray(unit.encoding).T])
    curve = lambda k: jnp.stack([jnp.cos(3 * k[0]), k[0] * k[1] ** 2])  # noqa: E731
    true = np.stack([np.asarray(curve(k)) for k in jnp.asarray(kappa)])
    found = latent.extend(unit, curve, kappa[:-1], inputs=u, ridge=0.0)
    y = states @ np.asarray(found.weight).T
    # from rates of zero y starts apart from g; sums of forty units with weights of interpolation, near rounding
    expected = true[1:] - (1 - alpha) ** np.arange(1, 21)[:, None] * true[0]
    np.testing.assert_allclose(y, expected, atol=1e-8)
    # the derivative in place of the difference is off by far more: the test could tell them apart
    slope = latent.extend(latent.LatentUnit(flow), curve, kappa[:-1], inputs=u, ridge=0.0)
    assert np.abs(states @ np.asarray(slope.weight).T - expected).max() > 0.01


def test_an_output_that_follows_by_its_derivative_alone_keeps_every_offset():
    r"""The neutral form: y is fed back, its field is that of g, and an offset of 1 stays (docs eq. L.25)."""

    def field(state, u):
        move = oscillator(state[:2], u)
        return jnp.append(move, state[1] * move[0] + state[0] * move[1])

    cloud = np.random.default_rng(2).uniform([-3, -4, -12], [3, 4, 12], (900, 3))
    made = latent.approximate(field, cloud, units=250, key=rc.key(2), slowness=5.0, gain=0.5)
    m, n, b = (np.asarray(a) for a in (made.embedding, made.encoding, made.bias))
    flow = lambda t, k: n @ np.tanh(m @ k + b) - k  # noqa: E731
    ends = [solve_ivp(flow, (0, 5), [2.0, 0.0, y], rtol=1e-8, atol=1e-9).y[2, -1] for y in (0.0, 1.0)]
    # the derivative of y does not depend on y but for the error of the fit, one time constant of the variables long;
    # the stable form would leave exp(-5) = 0.007
    assert ends[1] - ends[0] == pytest.approx(1, abs=0.1)
    assert made.field_error < 0.01


def network_from(unit, start):
    return Network(Euler(unit.flow, unit.dt), LinearReadout(jnp.eye(len(start))), jnp.asarray(start))


def test_mistakes_are_named(unit, samples):
    with pytest.raises(InputError, match="must be one of a rate network"):
        latent.extend(random_unit("current"), lambda k: k, np.zeros((5, K)))
    with pytest.raises(InputError, match="`output` must give a vector"):
        latent.extend(unit.unit(), lambda k: k[0], samples)
    with pytest.raises(InputError, match="must vary in every coordinate"):
        latent.approximate(oscillator, np.zeros((20, 2)), units=5, key=rc.key(0))
    with pytest.raises(InputError, match="`ridge` must be"):
        latent.approximate(oscillator, samples, units=5, key=rc.key(0), ridge=-1.0)
    with pytest.raises(InputError, match="`held_out` must leave"):
        latent.approximate(oscillator, samples, units=5, key=rc.key(0), held_out=2.0)
    with pytest.raises(InputError, match="finite"):
        latent.approximate(lambda k, u: k / 0.0, samples, units=5, key=rc.key(0))
    for output, where in ((lambda k: k / 0.0, samples), (lambda k: k, np.zeros((0, 2)))):
        with pytest.raises(InputError, match="finite"):
            latent.extend(unit.unit(), output, where)
