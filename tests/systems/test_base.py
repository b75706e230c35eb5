import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import recurvature as rc
from recurvature._errors import InputError
from recurvature.systems import (
    AbstractFlow,
    AbstractMap,
    ConstantInputs,
    Euler,
    FunctionFlow,
    FunctionMap,
    LinearReadout,
    Network,
    interval,
)


class Rotation(AbstractMap):
    """A map as a user writes one: fields, `rates` and `step`."""

    angle: Array
    state_size: int = 2
    input_size: int = 2
    dt: float = 0.5

    def rates(self, x):
        return x[:1]

    def step(self, x, u):
        c, s = jnp.cos(self.angle), jnp.sin(self.angle)
        return jnp.stack([c * x[0] - s * x[1], s * x[0] + c * x[1]]) + u


class Decay(AbstractFlow):
    """A flow as a user writes one."""

    rate: Array
    state_size: int = 2
    input_size: int = 2
    tau: float = 1.0

    def rates(self, x):
        return x

    def velocity(self, x, u):
        return u - self.rate * x


def pair(system) -> Network:
    return Network(system, LinearReadout(jnp.ones((1, system.rates(jnp.zeros(2)).shape[0]))), jnp.array([1.0, 0.0]))


def as_function_map(x, u):
    return Rotation(jnp.array(0.3)).step(x, u)


def as_function_flow(x, u):
    return Decay(jnp.array(2.0)).velocity(x, u)


@pytest.mark.parametrize(
    "system", [Rotation(jnp.array(0.3)), FunctionMap(as_function_map, 2, 2, dt=0.5, rate_function=lambda x: x[:1])]
)
def test_a_map_of_the_user_runs_through_simulate(system):
    out = rc.systems.simulate(pair(system), jnp.zeros((3, 10, 2)))
    turned = np.exp(0.3j * np.arange(1, 11))
    # ten rotations of a unit vector
    np.testing.assert_allclose(out.states[1], np.stack([turned.real, turned.imag], 1), atol=1e-14)
    np.testing.assert_allclose(out.outputs[1, :, 0], turned.real, atol=1e-14)
    # half-steps are exact in binary
    np.testing.assert_array_equal(out.time, 0.5 * np.arange(1, 11))


def test_a_flow_of_the_user_runs_through_simulate_flow():
    system = Decay(jnp.array(2.0))
    manifold = ConstantInputs(interval("level"), lambda theta: jnp.stack([theta[0], 0 * theta[0]]))
    times = jnp.array([0.5, 1.0])
    out = rc.systems.simulate_flow(pair(system), manifold, jnp.array([[0.0], [1.0]]), times, rtol=1e-8, atol=1e-10)
    for level, states in zip([0.0, 1.0], out.states, strict=True):
        expected = level / 2 + (1 - level / 2) * np.exp(-2 * times)
        # ten times the tolerance of the solver
        np.testing.assert_allclose(states[:, 0], expected, rtol=1e-7)
    assert (out.status == 0).all()
    same = FunctionFlow(as_function_flow, 2, 2)
    np.testing.assert_array_equal(same.velocity(jnp.ones(2), jnp.ones(2)), system.velocity(jnp.ones(2), jnp.ones(2)))


def test_euler_is_one_step_along_the_velocity(draw):
    flow, x, u = Decay(jnp.array(2.0)), draw(2), draw(2)
    step = Euler(flow, 0.25)
    assert (step.state_size, step.input_size) == (2, 2)
    # a power of two and one addition
    np.testing.assert_allclose(step.step(x, u), x + 0.25 * flow.velocity(x, u), rtol=1e-15)
    np.testing.assert_array_equal(step.rates(x), flow.rates(x))


@pytest.mark.parametrize("dt", [0.0, -0.1, 1.5, float("nan"), float("inf")])
def test_euler_refuses_steps_that_make_no_sense(dt):
    with pytest.raises(InputError, match="`dt` must"):
        Euler(Decay(jnp.array(2.0)), dt)


@pytest.mark.parametrize("form", [FunctionMap, FunctionFlow])
def test_function_systems_need_sizes(form):
    with pytest.raises(InputError, match="`state_size`"):
        form(as_function_map, 0, 2)
    with pytest.raises(InputError, match="`input_size`"):
        form(as_function_map, 2, -1)


def test_function_systems_need_a_time_unit():
    with pytest.raises(InputError, match="`dt`"):
        FunctionMap(as_function_map, 2, 2, dt=0.0)
    with pytest.raises(InputError, match="`tau`"):
        FunctionFlow(as_function_flow, 2, 2, tau=0.0)


def test_readout_takes_leading_axes_and_a_bias(draw):
    weight, bias, rates = draw(2, 3), draw(2), draw(4, 5, 3)
    expected = np.einsum("or,abr->abo", np.asarray(weight), np.asarray(rates))
    # sums of three products
    np.testing.assert_allclose(LinearReadout(weight)(rates), expected, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(LinearReadout(weight, bias)(rates), expected + np.asarray(bias), rtol=1e-13, atol=1e-14)


def test_parts_that_do_not_fit_are_named():
    with pytest.raises(InputError, match="`x0` must have shape \\(2\\)"):
        Network(Rotation(jnp.array(0.3)), LinearReadout(jnp.ones((1, 1))), jnp.zeros(3))
    # jaxtyping may see the clash first, and says which field
    with pytest.raises((InputError, TypeError), match="bias"):
        LinearReadout(jnp.ones((2, 3)), jnp.ones(3))


def test_a_readout_of_another_width_is_refused() -> None:
    flow = FunctionFlow(lambda x, u: u - x, 3, 3)
    with pytest.raises(InputError, match=r"`readout` reads 2 rates, but the system gives rates of shape \(3,\)"):
        Network(flow, LinearReadout(jnp.ones((1, 2))), jnp.zeros(3))
