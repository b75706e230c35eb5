import numpy as np
import pytest

import recurvature as rc
from recurvature._errors import InputError

MANIFOLD = rc.tasks.ContextDecision().manifold(context=0)


def checked(network, **options):
    found = rc.identities.check(network, MANIFOLD, duration=1.0, ages=2, **options)
    return found, dict(zip(found.names, found.verdicts, strict=True))


@pytest.fixture(scope="module")
def linear():
    network = rc.systems.leaky_current(9, inputs=4, outputs=1, key=rc.key(0), rank=1, phi="identity")
    points = rc.dynamics.fixed_points(rc.cast(network, float), key=rc.key(1), count=8)
    return checked(network, fixed_points=points)


@pytest.mark.slow
def test_every_identity_of_a_linear_low_rank_network_holds(linear):
    found, verdicts = linear
    # linear networks are not bounded: no sum of indices is due
    assert verdicts.pop("indices") == "not_applicable"
    assert set(verdicts.values()) == {"holds"}
    assert found.held == found.tried == len(verdicts) >= 9
    applicable = np.isfinite(found.error)
    assert (found.error[applicable] <= found.tolerance[applicable]).all()
    assert len(found.names) == len(found.statements) == len(found.equations) == len(found.reasons)


def test_what_is_no_identity_of_a_dense_network_says_why():
    network = rc.systems.leaky_rate(9, inputs=4, outputs=1, key=rc.key(0))
    found, verdicts = checked(network)
    assert [name for name, value in verdicts.items() if value == "holds"] == [
        "past inputs",
        "fisher memory",
        "noisy recall",
        "backward",
    ]
    reasons = dict(zip(found.names, found.reasons, strict=True))
    assert "has no latent unit of its own" in reasons["metric split"]
    assert "theory does not hold" in reasons["overlap metric"]


@pytest.mark.slow
def test_a_network_that_explodes_is_not_believed():
    network = rc.systems.leaky_rate(9, inputs=4, outputs=1, key=rc.key(0))
    wild = rc.systems.FunctionMap(lambda x, u: 1e200 * (x + u.sum()), 9, 4, 0.2)
    _, verdicts = checked(rc.systems.Network(wild, network.readout, network.x0))
    assert verdicts["past inputs"] == "non_finite"
    assert "holds" not in verdicts.values()


def test_what_does_not_fit_is_refused():
    network = rc.systems.leaky_rate(9, inputs=3, outputs=1, key=rc.key(0))
    with pytest.raises(InputError, match="`manifold` gives inputs of shape"):
        rc.identities.check(network, MANIFOLD, duration=1.0)
