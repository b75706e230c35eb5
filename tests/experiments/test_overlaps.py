"""The experiments on overlaps: what their measurements give where the answer is known."""

from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.linalg

import recurvature as rc
from recurvature import overlaps as ov
from recurvature._progress import silent
from recurvature.app.claims import read_claims, read_settings
from recurvature.app.laboratory import Lab, load_experiment


@pytest.fixture
def parts(part: Any) -> dict[str, ModuleType]:
    return {name: part("overlaps", name) for name in ("settings", "linear", "histories", "memory")}


@pytest.fixture
def lab(tmp_path: Path) -> Any:
    settings = read_settings("overlaps", load_experiment("overlaps").Settings, full=False)
    return Lab(settings, False, rc.key(0), tmp_path, silent)


def test_every_figure_has_a_claim() -> None:
    sources = " ".join(claim.source for claim in read_claims("overlaps").claim)
    for figure in range(1, 13):
        assert f"Fig. {figure}" in sources or f"and {figure}" in sources or f" {figure}," in sources, figure


def test_an_impulse_as_data_has_the_loss_in_closed_form(parts: dict[str, ModuleType], lab: Any) -> None:
    settings = parts["settings"]
    data = settings.on_impulses(settings.filter_task(lab), settings.RANK1)
    loss = settings.filter_loss(lab, settings.A)
    s = jnp.asarray(ov.matrix(settings.RANK1, {"z·m": 0.4, "z·u": 0.3, "v·m": 0.2, "v·u": 0.5}))
    # a sum of 200 squares against a sum by doubling: rounding
    assert float(data(s)) * lab.settings.linear.duration == pytest.approx(float(loss(s)), rel=1e-11)


def test_the_two_networks_differ_in_what_the_paper_changes_and_nothing_else(
    parts: dict[str, ModuleType], lab: Any
) -> None:
    layout = parts["settings"].RANK1
    first, second = parts["settings"].two_networks(lab).values()
    changed = [name for name in layout.names if first[layout.position(name)] != second[layout.position(name)]]
    assert changed == ["m·u", "u·u"]
    assert second[layout.position("u·u")] == 2.048
    # unit vectors times the square root of N: rounding
    np.testing.assert_allclose(np.diag(first), 1, rtol=1e-12)
    assert np.linalg.eigvalsh(second)[0] > 0


def test_a_gram_matrix_without_one_of_its_terms_fails(
    parts: dict[str, ModuleType], lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = parts["linear"].gram_of_linear_units(lab).values
    assert right["largest_difference"] < 1e-12
    whole = ov.gram
    monkeypatch.setattr(ov, "gram", lambda s, layout: whole(s, layout) - np.diag(np.diag(whole(s, layout))) / 2)
    assert parts["linear"].gram_of_linear_units(lab).values["largest_difference"] > 0.1


def test_a_network_is_like_itself_and_not_like_another(parts: dict[str, ModuleType]) -> None:
    histories = parts["histories"]
    rule = ov.BatchLoss(histories.RANK1, 0.25, "erf")
    teacher = jnp.asarray(histories.TEACHER)
    like = histories.Likeness(rule, teacher, 20, 500, 4)
    assert float(like(teacher, rc.key(0))) == 0
    assert float(like(0.8 * teacher, rc.key(0))) > 1e-3
    x = np.asarray(like.inputs(rc.key(0)))
    assert x.shape == (500, 20, 1)
    silent_part, pulse = x[:, 4:8], x[:, :4]
    # four standard errors of a variance, and of a mean of squares
    assert abs(silent_part.std() - 1.5) < 4 * 1.5 / np.sqrt(2 * silent_part.size)
    assert abs((pulse**2).mean() - (4 + 1.5**2)) < 4 * 7 / np.sqrt(500)


def test_starts_are_matrices_of_scalar_products(parts: dict[str, ModuleType], lab: Any) -> None:
    starts = parts["histories"].random_starts(lab, 5)
    assert np.linalg.eigvalsh(starts).min() > 0
    diagonal = np.diagonal(starts, axis1=1, axis2=2)
    assert 0.5 <= diagonal.min() <= diagonal.max() <= 2
    assert (starts >= 0).all()
    assert len({matrix.tobytes() for matrix in starts}) == 5


def solution(lab: Any, settings: Any) -> tuple[np.ndarray, Any]:
    """The filter of A as z·m, z·u v·m and v·u, and a network that has any such function."""
    dt = lab.settings.linear.dt
    recurrence = 1 - (1 - np.exp(-settings.A * dt)) / dt

    def overlaps(f: Any) -> Any:
        s = jnp.zeros((4, 4)).at[0, 2].set(f[0]).at[0, 3].set(f[1]).at[1, 2].set(1.0).at[1, 3].set(f[2])
        return s + s.T

    return np.array([1.0, recurrence, recurrence]), overlaps


def hessian(lab: Any, settings: Any) -> np.ndarray:
    """That of the loss by the function, from central differences of the network's kernel, good to 1e-9."""
    (at, overlaps), how = solution(lab, settings), lab.settings.linear
    steps = round(how.duration / how.dt)
    ends = [
        [np.asarray(ov.kernel(overlaps(at + sign * step), settings.RANK1, steps, how.dt))[:, 0, 0] for sign in (1, -1)]
        for step in 1e-5 * np.eye(3)
    ]
    slopes = np.stack([(up - down) / 2e-5 for up, down in ends], axis=1)
    return 2 * how.dt * slopes.T @ slopes


def test_noise_on_targets_scatters_the_function_as_a_stationary_process(parts: dict[str, ModuleType], lab: Any) -> None:
    settings, noise, dt = parts["settings"], lab.settings.noise, lab.settings.linear.dt
    bent = hessian(lab, settings)
    # f' = f - rate G (H f + noise), the noise of covariance 2 dt std² H: SciPy's Lyapunov equation
    gram = np.array([[1.5, 0.4, 0.2], [0.4, 1.1, -0.3], [0.2, -0.3, 2.0]])
    added = noise.rate**2 * gram @ (2 * dt * noise.std**2 * bent) @ gram
    stationary = scipy.linalg.solve_discrete_lyapunov(np.eye(3) - noise.rate * gram @ bent, added)
    spread = parts["memory"]._spread(lab, gram, solution(lab, settings)[0])
    # differences err by the square of 1e-5 times third derivatives of up to 1e3, of slopes that are nearly dependent
    np.testing.assert_allclose(spread, np.sqrt(np.diag(stationary)), rtol=1e-5)
    # the rate is not small: without its second order the spread is another
    plain = np.sqrt(noise.rate * dt * noise.std**2 * np.diag(gram))
    assert (spread > 1.01 * plain).any()


@pytest.mark.slow
def test_noise_on_targets_moves_the_gradient_as_the_loss_bends(parts: dict[str, ModuleType], lab: Any) -> None:
    settings, noise, dt = parts["settings"], lab.settings.noise, lab.settings.linear.dt
    loss, (at, overlaps) = settings.filter_loss(lab, settings.A), solution(lab, settings)
    noisy = ov.NoisyFilterLoss(loss, noise.std)
    drawn = jax.jit(jax.vmap(lambda key: jax.grad(lambda f: noisy(overlaps(f), key))(jnp.asarray(at))))
    covariance, said = (
        np.cov(np.asarray(drawn(jr.split(rc.key(3), 4000))).T),
        2 * dt * noise.std**2 * hessian(lab, settings),
    )
    assert float(loss(overlaps(at))) < 1e-20
    size = np.sqrt(np.outer(np.diag(said), np.diag(said)))
    # four standard errors of a covariance of 4000 draws
    np.testing.assert_allclose(covariance / size, said / size, atol=4 * np.sqrt(2 / 4000))
