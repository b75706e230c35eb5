from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest
from scipy.integrate import solve_ivp

import recurvature as rc
from recurvature._errors import InputError
from recurvature.systems import Dense, Euler, LeakyCurrent, LeakyRate, LinearReadout, LowRank, Network
from recurvature.systems.leaky import leaky

FORMS = [LeakyCurrent, LeakyRate]
N, INPUTS = 12, 3


def parts(draw: Callable, *, low_rank: bool = False) -> tuple[Dense | LowRank, jax.Array, jax.Array]:
    connectivity = LowRank(draw(N, 2), draw(N, 2)) if low_rank else Dense(0.8 / np.sqrt(N) * draw(N, N))
    return connectivity, draw(N, INPUTS), draw(N)


def torch_loop(torch: Any, form: type, w: Any, win: Any, b: Any, phi: Any, ratio: float, x: Any, inputs: Any) -> Any:
    """The loop that labs write, one trial per row."""
    states = []
    for u in inputs.unbind(1):
        drive = u @ win.T + b
        if form is LeakyCurrent:
            x = (1 - ratio) * x + ratio * (phi(x) @ w.T + drive)
        else:
            x = (1 - ratio) * x + ratio * phi(x @ w.T + drive)
        states.append(x)
    return torch.stack(states, 1)


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("form", "low_rank", "phi"),
    [
        (LeakyCurrent, False, "tanh"),
        (LeakyCurrent, True, "relu"),
        (LeakyRate, False, "relu"),
        (LeakyRate, True, "tanh"),
    ],
)
def test_equals_the_torch_loop(torch, form, low_rank, phi, draw):
    connectivity, input_weights, bias = parts(draw, low_rank=low_rank)
    x0, inputs = draw(N), draw(4, 40, INPUTS)
    network = Network(Euler(form(connectivity, input_weights, bias, phi, 2.0), 0.3), LinearReadout(jnp.eye(N)), x0)
    out = rc.systems.simulate(network, inputs)
    arrays = (connectivity.dense(), input_weights, bias, x0, inputs)
    w, win, b, start, drive = (torch.tensor(np.asarray(a)) for a in arrays)
    function = getattr(torch, phi)
    expected = torch_loop(torch, form, w, win, b, function, 0.15, start.expand(4, N), drive)
    # 40 steps of sums of 12 products of order one
    np.testing.assert_allclose(out.states, expected, rtol=0, atol=1e-12)
    rates = function(expected) if form is LeakyCurrent else expected
    np.testing.assert_allclose(out.outputs, rates, rtol=0, atol=1e-12)


def test_current_and_rate_networks_are_one_system_in_two_coordinates(draw):
    connectivity, input_weights, bias = parts(draw)
    u, r0 = draw(INPUTS), draw(N)
    drive = input_weights @ u + bias
    x0 = connectivity(r0) + drive
    inputs = jnp.broadcast_to(u, (1, 30, INPUTS))
    run = lambda form, start: rc.systems.simulate(  # noqa: E731
        Network(Euler(form(connectivity, input_weights, bias), 0.2), LinearReadout(jnp.eye(N)), start), inputs
    )
    rates, currents = run(LeakyRate, r0).states, run(LeakyCurrent, x0).states
    recurrent = np.asarray(currents) - np.asarray(drive)
    # for a constant input x = Wr + drive holds at every step; 30 steps of rounding
    np.testing.assert_allclose(recurrent, rates @ connectivity.dense().T, rtol=0, atol=1e-13)


def test_fixed_points_correspond(draw):
    connectivity, input_weights, bias = parts(draw)
    u = draw(INPUTS)
    current, rate = (form(connectivity, input_weights, bias) for form in FORMS)
    solver: Any = optx.Newton(rtol=1e-12, atol=1e-12)
    root = optx.root_find(lambda x, args: current.velocity(x, u), solver, jnp.zeros(N)).value
    # what Newton leaves is far below its tolerance, once it converges quadratically
    np.testing.assert_allclose(rate.velocity(current.rates(root), u), 0, atol=1e-10)
    assert np.abs(root).max() > 0.1


@pytest.mark.parametrize("form", FORMS)
def test_rows_are_independent(form, draw):
    flow = form(*parts(draw))
    x, u = draw(5, N), draw(INPUTS)
    drive = jnp.broadcast_to(u @ flow.input_weights.T + flow.bias, (5, N))
    each = np.stack([flow.velocity(row, u) for row in x])
    # one product of matrices against five of a matrix and a vector
    np.testing.assert_allclose(flow.field(x, drive, jnp.tanh), each, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("form", FORMS)
def test_euler_converges_to_the_flow_with_order_one(form, draw):
    connectivity, input_weights, bias = parts(draw)
    flow, x0, u, end = form(connectivity, input_weights, bias), draw(N), jnp.full(INPUTS, 0.7), 2.0
    w, drive = np.asarray(connectivity.dense()), np.asarray(input_weights @ u + bias)
    written = {
        LeakyCurrent: lambda _, x: -x + w @ np.tanh(x) + drive,
        LeakyRate: lambda _, r: -r + np.tanh(w @ r + drive),
    }
    exact = solve_ivp(written[form], (0, end), np.asarray(x0), "DOP853", rtol=1e-10, atol=1e-12).y[:, -1]
    errors = []
    for steps in (100, 200):
        network = Network(Euler(flow, end / steps), LinearReadout(jnp.eye(N)), x0)
        states = rc.systems.simulate(network, jnp.broadcast_to(u, (1, steps, INPUTS))).states
        errors.append(float(np.linalg.norm(states[0, -1] - exact)))
    # error a dt + b dt²: the ratio differs from 2 by order dt = 0.02, with a factor of order one
    np.testing.assert_allclose(errors[0] / errors[1], 2, atol=0.1)
    assert errors[0] > 1e-4


@pytest.mark.parametrize("form", FORMS)
def test_time_scales_with_tau(form, draw):
    arrays, x, u = parts(draw), draw(N), draw(INPUTS)
    fast, slow = Euler(form(*arrays), 0.1), Euler(form(*arrays, "tanh", 10.0), 1.0)
    # only dt/tau enters: a few roundings
    np.testing.assert_allclose(fast.step(x, u), slow.step(x, u), rtol=1e-13, atol=1e-15)


def test_without_dt_the_network_is_a_flow(getkey):
    net = leaky(LeakyRate, 5, inputs=2, outputs=1, key=getkey(), dt=None, phi="relu")
    assert isinstance(net.system, LeakyRate)
    assert net.system.phi == "relu"


@pytest.mark.parametrize("form", FORMS)
def test_parts_that_do_not_fit_are_named(form, draw):
    connectivity, input_weights, bias = parts(draw)
    for arguments, name in [
        ((connectivity, input_weights[1:], bias), "input_weights|bias"),
        ((connectivity, input_weights, bias[1:]), "bias"),
        ((connectivity, input_weights, bias, "tanh", 0.0), "`tau`"),
        ((connectivity, input_weights, bias, "tank"), "Did you mean 'tanh'"),
    ]:
        # jaxtyping may see a clash of shapes first, and says which field
        with pytest.raises((InputError, TypeError), match=name):
            form(*arguments)
