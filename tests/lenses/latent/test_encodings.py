"""Linear embeddings and nonlinear encodings: against matrix exponentials, SciPy's solver, and spectra by autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from recurvature import latent
from recurvature._errors import InputError

N, K = 12, 2


@pytest.fixture(scope="module")
def parts():
    """Embedding, encoding, time constants, and rates to start from."""
    rng = np.random.default_rng(0)
    m, n = rng.standard_normal((N, K)), rng.standard_normal((K, N)) / N
    return m, n, 0.5 + rng.random(N), rng.standard_normal(N)


@pytest.mark.parametrize("several", [False, True])
def test_courses_are_those_of_the_exponential_and_of_the_modes(parts, several):
    m, n, taus, start = parts
    tau = taus if several else 0.7
    times = np.array([0.0, 0.4, 2.5])
    generator = -(np.eye(N) - m @ n) / np.broadcast_to(tau, N)[:, None]
    wanted = np.stack([expm(t * generator) @ start for t in times])
    # two algorithms for an exponential of norm near 10: rounding
    np.testing.assert_allclose(latent.linear_rates(m, n, start, times, taus=tau), wanted, atol=1e-12)
    modes = latent.linear_modes(m, n, taus=tau)
    rates = modes.decay + 1j * modes.rotation
    leak = [] if several else [1 / tau] * (N - K)
    found, expected = (np.sort_complex(np.asarray(a)) for a in ([*rates, *leak], np.linalg.eigvals(-generator)))
    # eigenvalues of a random matrix of a dozen rows
    np.testing.assert_allclose(found, expected, atol=1e-10)
    vectors = modes.pattern_real + 1j * modes.pattern_imaginary
    np.testing.assert_allclose(vectors @ generator.T, -rates[:, None] * vectors, atol=1e-12)
    np.testing.assert_allclose(modes.latent_real + 1j * modes.latent_imaginary, vectors @ n.T, atol=1e-14)
    assert modes.status == latent.MODES_STATUS.index("ok")
    assert (np.diff(modes.decay) >= 0).all()


def test_a_chain_is_followed_although_its_modes_coincide():
    # unit 0 drives 1: κ = (r_0, r_1), M = [[0, 0], [5, 0]]
    m, n = np.array([[0.0, 0.0], [5.0, 0.0]]), np.eye(2)
    modes = latent.linear_modes(m, n)
    assert modes.status == latent.MODES_STATUS.index("defective")
    np.testing.assert_allclose(modes.decay, 1.0)
    times = np.array([0.5, 3.0])
    # r_0 = e^-t, r_1 = 5 t e^-t
    wanted = np.exp(-times)[:, None] * np.stack([np.ones(2), 5 * times], axis=1)
    np.testing.assert_allclose(latent.linear_rates(m, n, np.array([1.0, 0.0]), times), wanted, atol=1e-14)


def test_rates_follow_variables_as_a_solver_says(parts):
    m, _, taus, start = parts
    kappa = lambda t: np.array([np.sin(t), np.cos(2 * t)])  # noqa: E731
    run = solve_ivp(lambda t, r: (m @ kappa(t) - r) / taus, (0, 3), start, rtol=1e-10, atol=1e-12)
    errors = []
    for count in (40, 80):
        times = np.linspace(0, 3, count + 1)
        found = latent.embedded_rates(kappa(times).T, times, m, taus=taus, start=start)
        errors.append(np.abs(found.rates[-1] - run.y[:, -1]).max())
        np.testing.assert_allclose(found.rates - found.lag, kappa(times).T @ m.T, atol=1e-14)
        # the theorem, to rounding
        assert (np.abs(found.lag) <= found.bound + 1e-14).all()
    # variables that bend are taken as straight: second order in the spacing; the next order is a few per cent of it
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)
    assert errors[1] < 1e-2


def test_a_ramp_meets_its_bound(parts):
    m, _, taus, _ = parts
    times = np.linspace(0, 4, 9)
    found = latent.embedded_rates(times[:, None] * np.array([[0.1, -0.2]]), times, m, taus=taus)
    # from rest the lag of a straight course is -τ m·κ̇ (1 - e^(-t/τ))
    wanted = -taus * (m @ [0.1, -0.2]) * (1 - np.exp(-times[:, None] / taus))
    np.testing.assert_allclose(found.lag, wanted, atol=1e-14)
    np.testing.assert_allclose(found.bound, np.abs(wanted), atol=1e-14)


# an encoder of four units that is the inverse of a decoder on its image only, and nonlinear off it
CURVED = np.linalg.qr(np.random.default_rng(1).standard_normal((4, 4)))[0]


def decode(k):
    return jnp.asarray(CURVED) @ jnp.stack([jnp.sinh(k[0]), k[1], k[0] * k[1], k[0] ** 2])


def encode(r):
    a, b, ab, aa = jnp.asarray(CURVED).T @ r
    k = jnp.arcsinh(a)
    return jnp.stack([k + 0.3 * (aa - k**2), b + 0.2 * (ab - k * b) * (1 + b)])


def turning(k, u):
    """A cycle of radius 1 around the origin."""
    return jnp.stack([-k[1], k[0]]) + k * (1 - k @ k) + u


CARRIED = latent.AutoencoderFlow(encode, decode, turning, 4, 2, 0.5)
SILENCE = jnp.zeros(2)
ENCODED, DECODED = jax.jit(jax.vmap(encode)), jax.jit(jax.vmap(decode))
STEP = jax.jit(lambda r: CARRIED.velocity(r, SILENCE))


def solved(start, stop):
    return solve_ivp(lambda _, r: np.asarray(STEP(r)), (0, stop), start, rtol=1e-9, atol=1e-11).y[:, -1]


def test_units_carry_any_flow_on_the_image_of_a_decoder():
    k, turn = np.array([0.4, -0.2]), np.array([[0.0, -1.0], [1.0, 0.0]])
    wanted = solve_ivp(lambda _, k: turn @ k + k * (1 - k @ k), (0, 2), k, rtol=1e-9, atol=1e-11).y[:, -1:].T
    end = solved(np.asarray(DECODED(k[None]))[0], 2.0)
    # both solvers to 1e-9, over two units of time
    np.testing.assert_allclose(ENCODED(end[None]), wanted, atol=1e-7)
    np.testing.assert_allclose(end[None], DECODED(wanted), atol=1e-7)


def test_what_is_off_the_image_fades_with_the_units():
    k = np.array([[0.4, -0.2]])
    on = np.asarray(DECODED(k))[0]
    # the encoder does not see this direction, to first order: differences of it, good to 1e-10
    slopes = np.asarray(ENCODED(on + 1e-5 * np.eye(4)) - ENCODED(on - 1e-5 * np.eye(4))) / 2e-5
    away = np.linalg.svd(slopes.T)[2][2]
    rest = np.stack([solved(on + size * away, 1.0) for size in (1e-3, 2e-3)])
    small, large = np.linalg.norm(rest - DECODED(ENCODED(rest)), axis=1)
    # linear in the offset up to its square
    assert large / small == pytest.approx(2, rel=0.01)
    # e^(-t/τ) with τ = 0.5; the image turns and bends on the way, which changes the length of what is off it
    assert 0.3 < small / (1e-3 * np.exp(-2)) < 3


def test_at_rest_the_eigenvalues_are_those_of_the_flow_and_the_leak():
    on = np.asarray(DECODED(np.zeros((1, 2))))[0]
    columns = [np.asarray(STEP(on + 1e-5 * e) - STEP(on - 1e-5 * e)) / 2e-5 for e in np.eye(4)]
    found = np.linalg.eigvals(np.stack(columns, axis=1))
    # the origin of the cycle is a spiral of growth 1, the leak is 1/τ = 2; differences are good to 1e-9, of which a
    # double eigenvalue may split by the root
    np.testing.assert_allclose(np.sort_complex(found), np.sort_complex([1 + 1j, 1 - 1j, -2.0, -2.0]), atol=1e-4)


def test_an_encoder_is_held_against_its_decoder():
    samples = np.random.default_rng(2).normal(size=(5, 2))
    wrong = latent.autoencoder_consistency(lambda r: 1.1 * encode(r), decode, samples)
    # E(ψ(κ)) = κ, so that all of the difference is the factor; identities of some ten operations
    np.testing.assert_allclose(wrong.tangent, 0.1, atol=1e-12)
    np.testing.assert_allclose(wrong.reconstruction, 0.1 * np.linalg.norm(samples, axis=1), atol=1e-12)
    columns = [(DECODED(samples + 1e-5 * e) - DECODED(samples - 1e-5 * e)) / 2e-5 for e in np.eye(2)]
    # differences, good to 1e-9
    np.testing.assert_allclose(wrong.stretch, np.linalg.svd(np.stack(columns, 2), compute_uv=False), atol=1e-7)
    with pytest.raises(InputError, match="must give the 2 variables"):
        latent.autoencoder_consistency(lambda r: r, decode, samples)


def test_velocities_of_a_nonlinear_encoding_are_differences_of_it():
    rng = np.random.default_rng(3)
    m, into, taus = rng.normal(size=(4, 2)), rng.normal(size=(4, 1)), np.array([1, 2, 0.5, 1.0])
    flow = latent.EncodedFlow(encode, jnp.asarray(m), jnp.asarray(into), jnp.asarray(taus), 2.0)
    rates = 0.5 * rng.normal(size=(2, 3, 4))
    flat = rates.reshape(6, 4)
    speed = np.asarray(jax.jit(jax.vmap(lambda r: flow.velocity(r, jnp.ones(1))))(flat))
    # the two written apart: rounding
    wanted = (np.asarray(ENCODED(flat)) @ m.T + into[:, 0] - flat) / (2.0 * taus)
    np.testing.assert_allclose(speed, wanted, atol=1e-14)
    found = latent.encoded_velocity(encode, rates, speed.reshape(rates.shape))
    differences = (ENCODED(flat + 1e-6 * speed) - ENCODED(flat - 1e-6 * speed)) / 2e-6
    # second-order differences: the square of the step, and rounding over it
    np.testing.assert_allclose(np.asarray(found).reshape(6, 2), differences, atol=1e-8)


def test_mistakes_are_named(parts):
    m, n, _, _ = parts
    with pytest.raises(InputError, match="`taus` must be finite and positive"):
        latent.linear_modes(m, n, taus=-1.0)
    with pytest.raises(InputError, match="`times` must rise"):
        latent.embedded_rates(np.zeros((2, K)), np.array([1.0, 1.0]), m)
