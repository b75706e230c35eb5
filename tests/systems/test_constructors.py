import inspect

import jax
import numpy as np
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature.systems import CONSTRUCTORS, AbstractMap, Network

NAMES = sorted(CONSTRUCTORS)


@pytest.mark.parametrize("name", NAMES)
def test_names_are_the_functions_of_the_room_in_kebab_case(name):
    assert getattr(rc.systems, name.replace("-", "_")) is CONSTRUCTORS[name]


@pytest.mark.parametrize("name", NAMES)
def test_makes_a_network_of_the_sizes_asked_for(name, getkey):
    net = CONSTRUCTORS[name](5, inputs=2, outputs=1, key=getkey(), dt=0.1)
    assert isinstance(net, Network)
    assert isinstance(net.system, AbstractMap)
    assert (net.system.input_size, net.readout.output_size, net.system.dt) == (2, 1, 0.1)
    assert net.x0.shape == (net.system.state_size,)
    assert jax.eval_shape(net.outputs, net.x0).shape == (1,)
    assert not np.any(net.x0)


@pytest.mark.parametrize("name", NAMES)
def test_same_key_same_network_other_key_other_weights(name):
    make = lambda seed: CONSTRUCTORS[name](5, inputs=2, outputs=1, key=rc.key(seed))  # noqa: E731
    first, again, other = (jax.tree.leaves(make(seed)) for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True) if np.any(a))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("argument", ["size", "inputs", "outputs"])
@pytest.mark.parametrize("value", [0, -1, True])
def test_sizes_that_are_no_count_are_refused(name, argument, value, getkey):
    sizes = {"size": 4, "inputs": 2, "outputs": 1, argument: value}
    with pytest.raises(InputError, match=f"`{argument}` must be a whole number of at least 1"):
        CONSTRUCTORS[name](sizes.pop("size"), **sizes, key=getkey())


@pytest.mark.parametrize("name", [n for n in NAMES if "layers" in inspect.signature(CONSTRUCTORS[n]).parameters])
def test_no_layers_are_refused(name, getkey):
    with pytest.raises(InputError, match="`layers`"):
        CONSTRUCTORS[name](4, inputs=2, outputs=1, key=getkey(), layers=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_key_must_be_given(name):
    with pytest.raises(TypeError, match="key"):
        CONSTRUCTORS[name](4, inputs=2, outputs=1)
