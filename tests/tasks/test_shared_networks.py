"""Networks that others trained on these tasks, from a public release, must be right on the trials drawn here."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recurvature.systems import Euler, LeakyCurrent, LinearReadout, LowRank, Network, Noise, simulate
from recurvature.tasks import TASKS

FOLDER = Path(__file__).parents[2] / "../shared/data/networks"


def load(file):
    torch = pytest.importorskip("torch", reason="needs torch to read the shared networks")
    path = FOLDER / file
    if not path.is_file():
        pytest.skip("needs ../shared/data/networks beside the repository")
    tensors = torch.load(path, weights_only=True)
    w = {name: jnp.asarray(tensor.numpy()) for name, tensor in tensors.items()}
    flow = LeakyCurrent(LowRank(w["m"], w["n"]), (w["wi"] * w["si"][:, None]).T, w["b"])
    readout = LinearReadout((w["wo"] * w["so"][None, :]).T / len(w["h0"]))
    return Network(Euler(flow, 0.2), readout, w["h0"])


@pytest.mark.parametrize(
    ("file", "name", "least"),
    # what issue 2 asks of them; the release itself reports 99.75 % and 100 %
    [
        ("rdm_rank1_512.pt", "random-dots", 0.99),
        pytest.param("dms_rank2_512.pt", "delayed-match", 0.95, marks=pytest.mark.slow),
    ],
)
def test_published_networks_solve_400_noisy_trials(file, name, least, getkey):
    network, task = load(file), TASKS[name]()
    trials = task.trials(getkey(), 400)
    outputs = jnp.asarray(simulate(network, trials.inputs, noise=Noise(0.05), key=getkey()).outputs)
    assert task.accuracy(outputs, trials) >= least
    right = np.asarray(jax.jit(task.correct)(outputs, trials))
    for condition in np.unique(np.asarray(trials.theta), axis=0):
        # each of 10 or 4 conditions has 40 trials or more: solved, not guessed (the chance of 36 of 40 is below 1e-6)
        assert right[(np.asarray(trials.theta) == condition).all(1)].mean() >= 0.9
