from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature.systems import (
    ConstantInputs,
    Dense,
    Euler,
    FunctionFlow,
    FunctionInputs,
    FunctionMap,
    LinearMap,
    LinearReadout,
    Network,
    Noise,
    PulsedInputs,
    interval,
)
from recurvature.systems.simulate import STATUS, step_times, steps_for, unaligned_jumps

ONE = LinearReadout(jnp.ones((1, 1)))


def leak(x, u):
    return u - x


def level(theta):
    return theta[None, :]


INTEGRATOR = Network(FunctionFlow(leak, 1, 1), ONE, jnp.zeros(1))
STEP = jnp.ones((1, 5, 1))


def pulse_response(times, start, stop):
    """Of the leaky integrator with unit leak to a unit pulse."""
    charged = 1 - np.exp(-(np.clip(times, start, stop) - start))
    return charged * np.exp(-np.clip(times - stop, 0, None))


# ---- maps


def test_each_state_has_consumed_the_input_at_its_own_index(draw):
    network = Network(FunctionMap(lambda x, u: u, 2, 2), LinearReadout(2 * jnp.eye(2)), jnp.zeros(2))
    inputs = draw(3, 5, 2)
    out = rc.systems.simulate(network, inputs)
    # copies, and a product with a power of two
    np.testing.assert_array_equal(out.states, inputs)
    np.testing.assert_array_equal(out.outputs, 2 * inputs)
    np.testing.assert_array_equal(out.time, [1, 2, 3, 4, 5])


def test_runs_in_the_number_type_of_the_network(getkey, draw):
    network = rc.cast(rc.systems.gru(4, inputs=2, outputs=1, key=getkey()), jnp.float32)
    out = rc.systems.simulate(network, draw(2, 5, 2))
    assert {getattr(out, name).dtype for name in ("time", "inputs", "states", "outputs")} == {jnp.dtype("float32")}


def test_a_trial_that_explodes_is_marked_and_the_others_are_not():
    network = Network(LinearMap(Dense(1e200 * jnp.eye(1)), jnp.ones((1, 1))), ONE, jnp.zeros(1))
    out = rc.systems.simulate(network, jnp.array([0.0, 1.0, 0.0])[:, None, None] * jnp.ones((3, 5, 1)))
    assert [STATUS[s] for s in np.asarray(out.status)] == ["ok", "non-finite", "ok"]


def test_outputs_that_are_not_finite_are_marked_too():
    readout = LinearReadout(jnp.full((1, 1), jnp.inf))
    out = rc.systems.simulate(Network(LinearMap(Dense(jnp.eye(1)), jnp.ones((1, 1))), readout, jnp.ones(1)), STEP)
    assert STATUS[int(out.status[0])] == "non-finite"


@pytest.mark.parametrize("shape", [(5, 2), (1, 3, 5, 2), (3, 5, 4)])
def test_inputs_of_another_shape_are_refused(shape, getkey):
    network = rc.systems.vanilla(4, inputs=2, outputs=1, key=getkey())
    # jaxtyping may see the rank first
    with pytest.raises((InputError, TypeError), match="inputs"):
        rc.systems.simulate(network, jnp.zeros(shape))


def test_maps_and_flows_have_their_own_way_to_be_run(getkey):
    manifold, theta = ConstantInputs(interval("level")), jnp.zeros((1, 1))
    with pytest.raises(InputError, match=r"Wrap it as Euler\(flow, dt\)"):
        rc.systems.simulate(INTEGRATOR, jnp.zeros((1, 5, 1)))
    with pytest.raises(InputError, match="`network` is a map: use `simulate`"):
        rc.systems.simulate_flow(rc.systems.vanilla(4, inputs=1, outputs=1, key=getkey()), manifold, theta, jnp.ones(1))


# ---- noise


def kicks(noise: Noise, dt: float, tau: float, key: Any) -> np.ndarray:
    """What the noise adds, seen through a network that forgets its state in every step."""
    forget = FunctionFlow(lambda x, u: -x / dt, 1, 1, tau=tau)
    network = Network(Euler(forget, dt), ONE, jnp.zeros(1))
    return np.asarray(rc.systems.simulate(network, jnp.zeros((100, 100, 1)), noise=noise, key=key).states)


@pytest.mark.parametrize(("convention", "expected"), [("per_step", 0.3), ("diffusion", 0.3 * np.sqrt(2 * 0.5 / 4.0))])
def test_noise_has_the_size_that_its_convention_says(convention, expected, getkey):
    drawn = kicks(Noise(0.3, convention), 0.5, 4.0, getkey())
    # 4 standard errors of the mean and of the standard deviation of 10,000 normal draws
    assert abs(drawn.mean()) < 4 * expected / np.sqrt(10_000)
    assert abs(drawn.std() - expected) < 4 * expected / np.sqrt(2 * 10_000)
    # and of the correlation of neighbouring steps
    assert abs(np.mean(drawn[:, 1:] * drawn[:, :-1])) < 4 * expected**2 / np.sqrt(9_900)


def test_diffusion_has_the_stationary_variance_of_its_equation(getkey):
    dt, tau, sigma = 0.1, 2.0, 0.3
    network = Network(Euler(FunctionFlow(lambda x, u: -x / tau, 1, 1, tau=tau), dt), ONE, jnp.zeros(1))
    noise = Noise(sigma, "diffusion")
    out = rc.systems.simulate(network, jnp.zeros((4000, 150, 1)), noise=noise, key=getkey())
    # Euler's leak a = dt/tau makes σ²·2a/(1 − (1 − a)²) of σ²; after 150 steps e^-15 of the start is left
    variance = sigma**2 / (1 - dt / tau / 2)
    # 4 standard errors of a variance at 4,000 independent trials
    assert abs(float(out.states[:, -1].var()) / variance - 1) < 4 * np.sqrt(2 / 4000)


def test_noise_is_the_same_for_the_same_key_and_none_at_zero(getkey):
    network, inputs = rc.systems.leaky_rate(4, inputs=2, outputs=1, key=getkey()), jnp.ones((2, 5, 2))
    run = lambda std, seed: rc.systems.simulate(network, inputs, noise=Noise(std), key=rc.key(seed)).states  # noqa: E731
    np.testing.assert_array_equal(run(0.1, 0), run(0.1, 0))
    assert not np.any(run(0.1, 0) == run(0.1, 1))
    np.testing.assert_array_equal(run(0.0, 0), rc.systems.simulate(network, inputs).states)


def test_noise_that_makes_no_sense_is_refused(getkey):
    network = rc.systems.vanilla(4, inputs=2, outputs=1, key=getkey())
    with pytest.raises(InputError, match="`noise` needs a `key`"):
        rc.systems.simulate(network, jnp.zeros((1, 5, 2)), noise=Noise(0.1))
    for std in (-0.1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="`std`"):
            Noise(std)
    # jaxtyping may see it first, and says which field
    with pytest.raises((InputError, TypeError), match="convention"):
        Noise(0.1, "per-step")  # type: ignore[arg-type]


# ---- flows


def test_pulses_in_continuous_time_equal_their_closed_form():
    manifold = PulsedInputs(interval("level"), level, ((0.5, 1.3),))
    times, levels = np.linspace(0.1, 3.0, 30), np.array([[1.0], [-2.0]])
    out = rc.systems.simulate_flow(INTEGRATOR, manifold, levels, times, rtol=1e-9, atol=1e-12)
    expected = levels * pulse_response(times, 0.5, 1.3)
    # ten times the relative tolerance of the solver
    np.testing.assert_allclose(out.states[:, :, 0], expected, rtol=0, atol=1e-8)
    np.testing.assert_array_equal(out.inputs[0, :, 0], (times >= 0.5) & (times < 1.3))
    assert (out.status == 0).all()


def test_a_solver_that_does_not_know_of_a_pulse_steps_over_it():
    aware = PulsedInputs(interval("level"), level, ((3.3, 3.32),))
    unaware = FunctionInputs(aware.domain, aware.inputs, ())
    times, theta = jnp.array([4.0]), jnp.ones((1, 1))
    expected = pulse_response(np.asarray(times), 3.3, 3.32)
    seen, missed = (rc.systems.simulate_flow(INTEGRATOR, m, theta, times).states[0, :, 0] for m in (aware, unaware))
    # the default relative tolerance of the solver is 1e-6
    np.testing.assert_allclose(seen, expected, rtol=1e-5)
    # at rest nothing makes the solver slow down: it steps over the pulse, and reports success
    assert np.abs(missed / expected - 1).max() > 0.5


def test_a_solver_that_fails_says_so():
    explode = Network(FunctionFlow(lambda x, u: u * x**2, 1, 1), ONE, jnp.ones(1))
    times = jnp.array([0.5, 1.5])
    # x' = ux², x(0) = 1 is infinite at t = 1/u
    out = rc.systems.simulate_flow(explode, ConstantInputs(interval("level")), jnp.array([[0.1], [1.0]]), times)
    assert [STATUS[s] for s in np.asarray(out.status)] == ["ok", "solver-failed"]
    # the default relative tolerance of the solver is 1e-6
    np.testing.assert_allclose(out.states[:, 0, 0], [1 / 0.95, 2], rtol=1e-5)
    np.testing.assert_allclose(out.states[0, 1, 0], 1 / 0.85, rtol=1e-5)


@pytest.mark.parametrize("times", [[], [0.0, 1.0], [-1.0], [1.0, 1.0], [2.0, 1.0], [np.nan], [np.inf]])
def test_times_that_do_not_run_forward_are_refused(times):
    with pytest.raises(InputError, match="`times` must"):
        rc.systems.simulate_flow(
            INTEGRATOR, ConstantInputs(interval("level")), jnp.zeros((1, 1)), jnp.array(times, float)
        )


# ---- the grid of steps


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_sampled_pulses_start_and_stop_at_their_own_steps(dtype):
    # many multiples of 0.03 round to just below their decimals: unset, such a pulse would start one step late
    dt, on, off = 0.03, [], []
    for start in range(1, 60):
        manifold = PulsedInputs(interval("level"), level, ((start * 3 / 100, (start + 7) * 3 / 100),))
        inputs = rc.systems.sample_inputs(manifold, jnp.ones((1, 1), dtype), dt=dt, steps=80)
        where = np.flatnonzero(inputs[0, :, 0])
        on.append(where[0] - start)
        off.append(where[-1] - start - 6)
        assert inputs.dtype == dtype
    assert set(on) == set(off) == {0}


def test_step_times_are_set_onto_jumps_that_they_only_round_to():
    jumps = tuple(k / 100 for k in range(1, 200))
    manifold = FunctionInputs(interval("level"), lambda t, theta: theta, jumps)
    plain, times = np.arange(200) * 0.01, step_times(manifold, 0.01, 200)
    assert (plain[1:] != jumps).any()
    np.testing.assert_array_equal(times[1:], jumps)
    # a jump between two steps moves neither
    off_grid = FunctionInputs(interval("level"), lambda t, theta: theta, (0.0151, 0.5))
    moved = step_times(off_grid, 0.01, 200) != plain
    assert set(np.flatnonzero(moved)) <= {50}
    assert unaligned_jumps(off_grid, 0.01) == (0.0151,)
    assert unaligned_jumps(manifold, 0.01) == ()


def test_a_map_sees_an_unaligned_pulse_at_its_next_step():
    manifold = PulsedInputs(interval("level"), level, ((0.25, 0.55),))
    inputs = rc.systems.sample_inputs(manifold, jnp.ones((1, 1)), dt=0.1, steps=8)
    np.testing.assert_array_equal(np.flatnonzero(inputs[0, :, 0]), [3, 4, 5])
    assert unaligned_jumps(manifold, 0.1) == (0.25, 0.55)


def test_a_grid_goes_in_as_it_comes():
    manifold = ConstantInputs(interval("level", 0.0, 2.0))
    inputs = rc.systems.sample_inputs(manifold, manifold.grid(3), dt=0.5, steps=2)
    np.testing.assert_array_equal(inputs[:, :, 0], [[0, 0], [1, 1], [2, 2]])


def test_steps_cover_a_duration():
    assert [steps_for(d, 0.1) for d in (0.3, 1.0, 0.04, 0.26)] == [3, 10, 1, 3]
    with pytest.raises(InputError, match="`duration`"):
        steps_for(0.0, 0.1)
    with pytest.raises(InputError, match="`steps`"):
        step_times(ConstantInputs(interval("level")), 0.1, 0)
    with pytest.raises(InputError, match="`dt`"):
        step_times(ConstantInputs(interval("level")), float("nan"), 3)


def test_a_float32_network_takes_a_manifold_of_float64_numbers():
    gain = jnp.asarray([2.0])
    manifold = ConstantInputs(interval("level"), jax.tree_util.Partial(jnp.multiply, gain))
    flow = Network(FunctionFlow(leak, 1, 1), ONE, jnp.zeros(1, jnp.float32))
    got = rc.systems.simulate_flow(rc.cast(flow, jnp.float32), manifold, np.ones((1, 1)), np.asarray([1.0, 2.0]))
    assert got.states.dtype == jnp.float32
    # ten times the relative tolerance of the solver
    np.testing.assert_allclose(got.states[0, :, 0], 2 * (1 - np.exp([-1.0, -2.0])), rtol=1e-5)


def test_points_that_do_not_fit_the_manifold_are_refused():
    manifold, theta = ConstantInputs(interval("level")), np.ones((2, 3))
    with pytest.raises(InputError, match="`theta` must have shape"):
        rc.systems.simulate_flow(INTEGRATOR, manifold, theta, np.asarray([1.0]))
    with pytest.raises(InputError, match="`theta` must have shape"):
        rc.systems.sample_inputs(manifold, theta, dt=0.1, steps=2)
