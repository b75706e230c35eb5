r"""Kinks: what keeps a function from having continuous second derivatives, read off its program.

Automatic differentiation gives the second derivative of each smooth piece and sees nothing of what lies between them:
$\phi''$ of ReLU is 0. So the program of a function is traced and followed from its inputs to its values: it has a kink
where a value passes through an operation that switches. Functions with a rule for their derivative (`jax.custom_jvp`)
are judged by that rule, which is how softplus, written with a maximum, is known to be smooth, and ReLU not to be.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from recurvature._errors import InputError
from recurvature._precision import cast, float_dtype
from recurvature.lenses.warping.field import Initial, Space
from recurvature.lenses.warping.immersion import Immersion, StateAt
from recurvature.systems.base import AbstractFlow, AbstractMap, Network
from recurvature.systems.inputs import AbstractInputManifold

KINKED = frozenset(
    [
        "abs",
        "max",
        "min",
        "clamp",
        "sort",
        "top_k",
        "approx_top_k",
        "cummax",
        "cummin",
        "reduce_max",
        "reduce_min",
        "reduce_window_max",
        "reduce_window_min",
    ]
)
"""Operations whose values are continuous and whose derivatives are not."""
JUMPING = frozenset(
    [
        "sign",
        "floor",
        "ceil",
        "round",
        "rem",
        "argmax",
        "argmin",
        "nextafter",
        "bitcast_convert_type",
        "gt",
        "ge",
        "lt",
        "le",
        "lt_to",
        "le_to",
    ]
)
"""Operations whose values jump, comparisons among them: what a comparison selects has a seam."""
GUARDS = frozenset(["eq", "ne", "is_finite", "stop_gradient"])
"""Comparisons that single out points (infinities, removable singularities), and what declares itself constant."""

Dependence = frozenset[str] | None
"""The switches between the inputs and a value; None where it does not depend on them."""


def kinks(function: Callable[..., Any], *arguments: Any, order: int = 2) -> tuple[str, ...]:
    """The operations that keep a function from having `order` continuous derivatives; empty if there are none.

    `arguments` are arrays, or shapes with types. It is a reading of the program, not of values: a function that is
    smooth although written in pieces, such as `where(x > 0, x**3, 0)`, is reported unless it brings its own derivative.
    """
    closed = jax.make_jaxpr(function)(*arguments)
    found = _walk(closed.jaxpr, [frozenset()] * len(closed.jaxpr.invars), order)
    return tuple(sorted(_joined(found) or ()))


def kinks_of_network(
    network: Network, manifold: AbstractInputManifold, *, space: Space = "state", initial: Initial | None = None
) -> tuple[str, ...]:
    """The kinks on the way from the coordinates to the state, the rates or the outputs of a network."""
    system, dtype = network.system, float_dtype(network)
    manifold = cast(manifold, dtype)
    x, u, theta = (
        jax.ShapeDtypeStruct((size,), dtype) for size in (system.state_size, system.input_size, manifold.dimension)
    )
    assert isinstance(system, AbstractFlow | AbstractMap)
    found = {*kinks(system.velocity if isinstance(system, AbstractFlow) else system.step, x, u)}
    found |= {*kinks(lambda point: manifold.inputs(jnp.zeros((), dtype), point), theta)}
    if space != "state":
        found |= {*kinks(system.rates if space == "rates" else network.outputs, x)}
    if initial is not None:
        found |= {*kinks(initial, theta)}
    return tuple(sorted(found))


def kinks_of_immersion(immersion: Immersion) -> tuple[str, ...]:
    """The kinks of an immersion; of the state of a network, those of the network."""
    at = immersion.function
    if isinstance(at, StateAt):
        return kinks_of_network(at.network, at.manifold, space=at.space)
    return kinks(at, jax.ShapeDtypeStruct((immersion.dimension,), jnp.result_type(float)))


def check_smooth(found: tuple[str, ...], *, allow_piecewise: bool) -> None:
    """Raise where there are kinks that were not allowed."""
    if found and not allow_piecewise:
        raise InputError(
            f"no continuous second derivatives ({', '.join(found)}), so that curvature hides in kinks: pass "
            "`allow_piecewise=True` for that of the smooth pieces alone, or smooth the kinks (`smoothing_sweep`)."
        )


def _joined(parts: Sequence[Dependence]) -> Dependence:
    """What depends on any of the parts."""
    known = [part for part in parts if part is not None]
    return frozenset().union(*known) if known else None


def _walk(jaxpr: core.Jaxpr, given: Sequence[Dependence], order: int) -> list[Dependence]:
    """The dependences of the outputs of a program on what its inputs depend on."""
    known: dict[Any, Dependence] = dict(zip(jaxpr.invars, given, strict=True))
    read = lambda atom: None if isinstance(atom, core.Literal) else known.get(atom)  # noqa: E731
    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        if _joined(inputs) is None:
            continue
        known.update(zip(equation.outvars, _through(equation, inputs, order), strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _through(equation: core.JaxprEqn, inputs: list[Dependence], order: int) -> list[Dependence]:
    """The dependences of the outputs of one operation."""
    name = equation.primitive.name
    if name in _STRUCTURED:
        return _STRUCTURED[name](equation, inputs, order)
    inner = [_open(value) for value in equation.params.values() if isinstance(value, core.Jaxpr | core.ClosedJaxpr)]
    if len(inner) == 1 and len(inner[0].invars) == len(inputs):
        return _walk(inner[0], inputs, order)
    switches = _joined(inputs) or frozenset()
    if name in JUMPING or (order > 0 and name in KINKED) or _rounds(equation):
        switches |= {name}
    out = (switches - KINKED or None) if name in GUARDS else switches
    return [out] * len(equation.outvars)


def _open(program: Any) -> core.Jaxpr:
    return program.jaxpr if isinstance(program, core.ClosedJaxpr) else program


def _rounds(equation: core.JaxprEqn) -> bool:
    """Whether numbers become integers."""
    if equation.primitive.name != "convert_element_type":
        return False
    before, after = (_shape(atom).dtype for atom in (equation.invars[0], equation.outvars[0]))
    return jnp.issubdtype(before, jnp.inexact) and not jnp.issubdtype(after, jnp.inexact)


def _shape(atom: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(atom.aval.shape, atom.aval.dtype)


def _custom(equation: core.JaxprEqn, inputs: list[Dependence], order: int) -> list[Dependence]:
    """A function with its own derivative: it must not jump, and its derivative must be smooth to one order less."""
    values = _walk(_open(equation.params["call_jaxpr"]), inputs, 0)
    if order == 0:
        return values
    part_of = {a: part for a, part in zip(equation.invars, inputs, strict=True) if not isinstance(a, core.Literal)}
    names = list(part_of)
    active = [k for k, part in enumerate(part_of.values()) if part is not None]
    own = _open(equation.params["call_jaxpr"])
    program = own.replace(constvars=[], invars=names, outvars=equation.outvars, eqns=[equation])
    alone = core.jaxpr_as_fun(core.ClosedJaxpr(program, ()))

    def derivative(arguments: list[Any], directions: list[Any]) -> Any:
        def function(*some: Any) -> Any:
            return alone(*(some[active.index(k)] if k in active else a for k, a in enumerate(arguments)))

        return jax.jvp(function, tuple(arguments[k] for k in active), tuple(directions))[1]

    shapes = [_shape(atom) for atom in names]
    rule = jax.make_jaxpr(derivative)(shapes, [shapes[k] for k in active]).jaxpr
    slopes = _walk(rule, [*part_of.values(), *(None for _ in active)], order - 1)
    return [_joined(pair) for pair in zip(values, slopes, strict=True)]


def _settled(
    body: core.Jaxpr, fixed: list[Dependence], carry: list[Dependence], rest: list[Dependence], order: int
) -> list[Dependence]:
    """The outputs of a loop's body once its carry depends on nothing new."""
    while True:
        out = _walk(body, [*fixed, *carry, *rest], order)
        after = [_joined(pair) for pair in zip(carry, out, strict=False)]
        if after == carry:
            return out
        carry = after


def _scan(equation: core.JaxprEqn, inputs: list[Dependence], order: int) -> list[Dependence]:
    consts, carried = equation.params["num_consts"], equation.params["num_carry"]
    split = inputs[:consts], inputs[consts : consts + carried], inputs[consts + carried :]
    return _settled(_open(equation.params["jaxpr"]), *split, order)


def _while(equation: core.JaxprEqn, inputs: list[Dependence], order: int) -> list[Dependence]:
    before, consts = equation.params["cond_nconsts"], equation.params["body_nconsts"]
    fixed, carry = inputs[before : before + consts], inputs[before + consts :]
    out = _settled(_open(equation.params["body_jaxpr"]), fixed, carry, [], order)
    (stop,) = _walk(_open(equation.params["cond_jaxpr"]), [*inputs[:before], *out], order)
    return [part if part is None or stop is None else part | stop | {"while"} for part in out]


def _cond(equation: core.JaxprEqn, inputs: list[Dependence], order: int) -> list[Dependence]:
    switch = inputs[0] if inputs[0] is None else inputs[0] | {"cond"}
    branches = [_walk(_open(branch), inputs[1:], order) for branch in equation.params["branches"]]
    return [_joined([switch, *outs]) for outs in zip(*branches, strict=True)]


_STRUCTURED: dict[str, Callable[[Any, list[Dependence], int], list[Dependence]]] = {
    "custom_jvp_call": _custom,
    "scan": _scan,
    "while": _while,
    "cond": _cond,
}
