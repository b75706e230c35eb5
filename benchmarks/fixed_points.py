"""Fixed points of a GRU that stores patterns, against joint gradient descent by Adam on the same starts.

The peer is emulated: the loop of the PyTorch path of FixedPointFinder (Golub & Sussillo 2018; no package to install),
with its defaults as they act: float32, one Adam for all states on the mean of q = |F(x) - x|²/2, learning rate 0.05
falling by 0.7 every 500 iterations, at most 5000, until every state has q < 1e-12 or a change of q below 1e-20; then,
of states that lie farther than 1e-3 apart, Jacobians and their spectra. Ours has certificates beside.

Two problems: the stronger the patterns are held, the sooner the peer comes to an end. Its iterations and the share of
its states that arrived stand beside each ratio, which is worth as much as they are.

Saddles between stable points are found by chance from such starts. A hundred steps of descent first lead ours to those
that the peer comes to: then none of them may be lacking. How many are after other numbers of steps stands beside, and
how many points three rounds of searches between ours find. The largest size repeats this for other draws of patterns,
without goals: there the peer may be done after 650 iterations, and a start near a boundary may fall to the other side
of it by rounding.

At 512 units the eigenvalues of a dozen points take most of the time, on either side by the same routine of LAPACK:
there the goal is on the searches, without Jacobians, spectra and certificates. The ratio of the whole stands beside it.
"""

import importlib.util
from collections.abc import Iterable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from benchmarks.harness import Arm, Built, Case, Goal, Work

import recurvature as rc
from recurvature.dynamics import FixedPoints, fixed_points
from recurvature.dynamics.fixed_points import SEARCH_TOLERANCE
from recurvature.dynamics.problem import candidates, prepare
from recurvature.dynamics.search import distinct, polish, search
from recurvature.systems import GRUCell, Network, Stack

SIZES = {"ci": [(64, 32)], "std": [(128, 256)], "full": [(128, 256), (256, 256), (512, 64)]}
PATTERNS = 6
GAINS = {"ci": (4.0,), "std": (3.0, 4.0), "full": (3.0, 4.0)}
"""Of the patterns. With gates half open they are stable from 2 on: near it the peer creeps to its last iteration."""
DRAWS = {128: 5}
"""Of patterns and starts, by units, at the largest size."""
DESCENT, DESCENTS = 100, (0, 20, 50, 100, 200)
"""Steps of Adam that ours takes first: where it is timed, and where the points of the peer are counted."""
ROUNDS = {64: 3, 128: 3, 256: 3, 512: 2}
"""By units; the peer takes ten seconds a round and more."""
GOALS, SEARCH_GOALS = {64: 10, 128: 10, 256: 10}, {512: 3}
"""By units, of the whole; of the searches alone where spectra take most of the time."""
DESCENT_GOALS = {64: 10, 128: 10}
"""By units, after our descent."""


def cases(size: str) -> Iterable[Case]:
    """One case for each (N, starts), gain and draw."""
    rc.enable_float64()
    for n, count in SIZES[size]:
        for gain in GAINS[size]:
            for draw in range(DRAWS.get(n, 1) if size == "full" else 1):
                yield against_adam(n, count, gain, draw)


def against_adam(n: int, count: int, gain: float, draw: int) -> Case:
    """Both searches from the same states: patterns with noise. Limits: final q, and points of the peer that we lack."""
    network, starts = stored_patterns(n, count, gain, draw)
    ours = ours_of(network, starts, DESCENT)
    facts = {"largest_q": (float(0.5 * np.max(ours.speed) ** 2), 1e-20)}
    about: dict[str, Any] = {
        "N": n,
        "starts": count,
        "gain": gain,
        "draw": draw,
        "points_after_descent": len(ours.states),
    }
    if importlib.util.find_spec("torch") is None:
        about["peer"] = "missing: its points are not compared"
    else:
        found, iterations, _ = adam(network, starts).run()
        share = float((0.5 * (rates(network, found) ** 2).sum(1) < 1e-12).mean())
        about |= {"peer_iterations": iterations, "peer_below_1e-12": round(share, 3)}
        polished, _ = polish(prepare(network, [0.0], 1.0, True, None).fine, found.astype(float), 1.0)
        passed = polished[0.5 * (rates(network, polished) ** 2).sum(1) < 1e-20]
        passed = passed[distinct(passed, np.zeros(len(passed)), 1e-6)]
        about["points_of_the_peer"] = len(passed)
        lost = {steps: lacking(passed, ours_of(network, starts, steps).states) for steps in DESCENTS}
        about["points_of_the_peer_lost_by_steps_of_descent"] = " ".join(f"{k}:{v}" for k, v in lost.items())
        if not draw:
            facts["points_of_the_peer_lost"] = (float(lost[DESCENT]), 0.0)
    if n == 128 and not draw:
        more = fixed_points(network, [0.0], starts=starts, between=3)
        about |= {"points_of_three_rounds_between": len(more.states), "sum_of_their_indices": more.index_sum}
    arms = [
        Arm("ours", lambda: Built(lambda: ours_of(network, starts)), group=None),
        Arm("adam", lambda: adam(network, starts), group=None),
        Arm("descended", lambda: Built(lambda: ours_of(network, starts, DESCENT)), group=None),
    ]
    wanted = [{} if draw else goals for goals in (GOALS, DESCENT_GOALS)]
    goals = [Goal("adam", arm, at_least=of.get(n)) for arm, of in zip(("ours", "descended"), wanted, strict=True)]
    if n in SEARCH_GOALS:
        arms += [
            Arm("our search", lambda: Built(lambda: points_alone(network, starts)), group=None),
            Arm("descent", lambda: adam(network, starts, spectra=False), group=None),
        ]
        goals.append(Goal("descent", "our search", at_least=SEARCH_GOALS[n]))
    return Case(
        "fixed_points",
        about,
        arms,
        goals,
        # a step without matrices: two products with three matrices of N × N an iteration, about ten of these; and the
        # eigenvalues of every point
        Work(flop=8 * count * 10 * 2 * 6 * n**2 + 10 * len(ours.states) * n**3),
        rounds=ROUNDS[n],
        limits=facts,
    )


def stored_patterns(n: int, count: int, gain: float, draw: int) -> tuple[Network, np.ndarray]:
    """A GRU whose candidate gate holds a few patterns, as a Hopfield network would, and states near them."""
    network = rc.cast(rc.systems.gru(n, inputs=1, outputs=1, key=rc.key(draw)), jnp.float32)
    rng = np.random.default_rng(draw)
    patterns = np.sign(rng.standard_normal((PATTERNS, n)))
    assert isinstance(network.system, Stack)
    weight = np.array(network.system.layers[0].weight_hh)
    weight[2 * n :] = gain * patterns.T @ patterns / n
    network = eqx.tree_at(lambda net: net.system.layers[0].weight_hh, network, jnp.asarray(weight, jnp.float32))
    chosen = patterns[rng.integers(0, PATTERNS, count)] * rng.choice([-1, 1], (count, 1))
    return network, (0.6 * chosen + 0.3 * rng.standard_normal((count, n))).astype(np.float32)


def ours_of(network: Network, starts: np.ndarray, descent: int = 0) -> FixedPoints:
    """Our search, after so many steps of descent."""
    return fixed_points(network, [0.0], starts=starts, descent=descent)


def lacking(points: np.ndarray, among: Any) -> int:
    """How many points are not among others."""
    apart = np.linalg.norm(points[:, None] - np.asarray(among)[None], axis=2)
    # both are polished to rounding; distinct points lie farther apart by orders
    return int((apart.min(1) > 1e-6).sum())


def rates(network: Network, states: np.ndarray) -> np.ndarray:
    """F(x) - x in float64, by NumPy."""
    assert isinstance(network.system, Stack)
    cell = network.system.layers[0]
    assert isinstance(cell, GRUCell)
    w, b_ih, b_hh = (np.asarray(a, np.float64) for a in (cell.weight_hh, cell.bias_ih, cell.bias_hh))
    x = states.astype(np.float64)
    r_h, z_h, n_h = np.split(x @ w.T + b_hh, 3, axis=1)
    r_u, z_u, n_u = np.split(b_ih, 3)
    r, z = (1 / (1 + np.exp(-(a + b))) for a, b in ((r_h, r_u), (z_h, z_u)))
    return (1 - z) * (np.tanh(n_u + r * n_h) - x)


def points_alone(network: Network, starts: np.ndarray) -> np.ndarray:
    """What `fixed_points` does before it describes points: search and polish, distinct before and after."""
    problem = prepare(network, [0.0], 1.0, True, None)
    searched = search(problem.coarse, starts, tolerance=SEARCH_TOLERANCE, scale=1.0, max_steps=100)
    return candidates(problem, searched, 1e-3, 1e-4).states


def adam(network: Network, starts: np.ndarray, *, spectra: bool = True) -> Built:
    """The emulated loop, on PyTorch's own GRU cell; its Jacobians and their spectra can be left out."""
    import torch

    torch.set_num_threads(1)
    assert isinstance(network.system, Stack)
    cell, peer = network.system.layers[0], torch.nn.GRUCell(1, starts.shape[1])
    weights: dict[str, Any] = {
        name: torch.tensor(np.array(getattr(cell, name))) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    peer.load_state_dict(weights)
    for parameter in peer.parameters():
        parameter.requires_grad_(False)
    silence = torch.zeros(len(starts), 1)

    def descend() -> tuple[np.ndarray, int, list[np.ndarray]]:
        state = torch.tensor(starts, requires_grad=True)
        optimiser = torch.optim.Adam([state], lr=0.05)
        schedule = torch.optim.lr_scheduler.StepLR(optimiser, 500, 0.7)
        before = torch.full((len(starts),), torch.inf)
        for iteration in range(1, 5001):  # noqa: B007
            optimiser.zero_grad()
            q = 0.5 * ((peer(silence, state) - state) ** 2).sum(1)
            q.mean().backward()
            optimiser.step()
            schedule.step()
            now = q.detach()
            if bool(((now < 1e-12) | ((now - before).abs() < 1e-20)).all()):
                break
            before = now
        states = state.detach().numpy()
        if not spectra:
            return states, iteration, []
        unique = distinct(states, now.numpy(), 1e-3 / starts.shape[1] ** 0.5)
        step = lambda x: peer(silence[:1], x[None])[0]  # noqa: E731
        jacobians = [torch.autograd.functional.jacobian(step, state.detach()[i]) for i in unique]
        return states, iteration, [np.linalg.eig(j.numpy())[0] for j in jacobians]

    return Built(descend)
