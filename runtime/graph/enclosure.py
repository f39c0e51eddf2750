"""The interpreter in ball arithmetic (Arb, by python-flint): every node's real value at one input, enclosed.

Intervals in float64 widen by some factor at every step of a recurrent network and are useless after a few dozen; here they begin with hundreds of
bits. Slow, and needed for two things: values of frames that do not move, and witnesses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from flint import arb, arb_mat, ctx
from torch import Tensor

from vlang.runtime import rounding
from vlang.runtime.graph.nodes import Affine, Constant, Factor, Graph, Input, Node, Nonlinear, Ref
from vlang.runtime.late import LateError, never
from vlang.runtime.relaxations.curves import SELU_ALPHA, SELU_SCALE

#: Bits to begin with, and to spend on every frame.
BITS, BITS_A_FRAME = 128, 8
ONE, TWO = arb(1), arb(2)


def _sigmoid(v: arb) -> arb:
    return (ONE + (v / TWO).tanh()) / TWO


def _elu(y: arb, alpha: arb) -> arb:
    return y.max(arb(0)) + alpha * y.min(arb(0)).expm1()


#: The nonlinearities of runtime/relaxations, exactly.
FUNCTIONS: Mapping[str, Callable[..., arb]] = MappingProxyType(
    {
        "tanh": lambda y: y.tanh(),
        "sigmoid": _sigmoid,
        "relu": lambda y: y.max(arb(0)),
        "sigmoid_mul": lambda v, z: _sigmoid(v) * z,
        "sigmoid_tanh": lambda v, z: _sigmoid(v) * z.tanh(),
        "cosigmoid_tanh": lambda v, z: _sigmoid(-v) * z.tanh(),
        "softplus": lambda y: (ONE + y.exp()).log(),
        "elu": lambda y: _elu(y, ONE),
        "selu": lambda y: arb(SELU_SCALE) * _elu(y, arb(SELU_ALPHA)),
        "silu": lambda y: y * _sigmoid(y),
        "gelu": lambda y: y * (-y / TWO.sqrt()).erfc() / TWO,
        "hardtanh": lambda y: y.max(-ONE).min(ONE),
        "hardsigmoid": lambda y: ((y + 3) / 6).max(arb(0)).min(ONE),
        "exp": lambda y: y.exp(),
        "square": lambda y: y * y,
        "reciprocal": lambda y: ONE / y,
        "rsqrt": lambda y: y.rsqrt(),
        "product": lambda x, y: x * y,
    }
)


def enclosed(graph: Graph, point: Tensor, wanted: Sequence[bool] | None = None, late: Callable[[], bool] = never) -> list[list[arb]]:
    """Every node's value at an input [m, n]; those not wanted (which no wanted node may need) are left empty. Raises LateError once it is late."""
    before = ctx.prec
    ctx.prec = BITS + BITS_A_FRAME * graph.frames
    try:
        values: list[list[arb]] = []
        matrices: dict[int, arb_mat] = {}
        for i, node in enumerate(graph.nodes):
            if late():
                raise LateError
            values.append(_value(node, point, values, matrices) if wanted is None or wanted[i] else [])
        return values
    finally:
        ctx.prec = before


def _value(node: Node, point: Tensor, values: list[list[arb]], matrices: dict[int, arb_mat]) -> list[arb]:
    def read(ref: Ref) -> list[arb]:
        return values[ref.node][ref.start : ref.stop]

    match node:
        case Input(frame=frame):
            return [arb(x) for x in point[frame].tolist()]
        case Constant(value=value):
            return [arb(x) for x in value.tolist()]
        case Affine(terms=terms, bias=bias, factor=factor):
            total = [arb(x) for x in bias.tolist()]
            scale = None if factor is None else _exactly(factor)
            for term in terms:
                x = read(term.ref)
                if scale is not None:
                    x = [v * f for v, f in zip(x, scale, strict=True)]
                elif term.weight is not None:
                    key = id(term.weight)  # the tensors live as long as the graph, which outlives this call
                    if key not in matrices:
                        matrices[key] = arb_mat(term.weight.shape[0], term.weight.shape[1], term.weight.flatten().tolist())
                    x = (matrices[key] * arb_mat(len(x), 1, x)).entries()
                total = [a + b for a, b in zip(total, x, strict=True)]
            return total
        case Nonlinear(op=op, args=args):
            return [FUNCTIONS[op](*y) for y in zip(*(read(r) for r in args), strict=True)]


def _exactly(factor: Factor) -> list[arb]:
    divisor = [arb(x) for x in factor.divisor.tolist()]
    below = divisor if factor.under_root is None else [(x + factor.under_root).sqrt() for x in divisor]
    return [arb(n) / d for n, d in zip(factor.numerator.tolist(), below, strict=True)]


def distances(values: list[arb], computed: Tensor) -> Tensor:
    """How far computed numbers may be from the enclosed ones, with room for rounding number +- distance. shape: [width]."""
    found = [float((v - arb(x)).abs_upper()) for v, x in zip(values, computed.tolist(), strict=True)]
    return rounding.around(torch.tensor(found, dtype=computed.dtype, device=computed.device), computed)


def surely_below(values: list[arb], row: Sequence[float]) -> bool:
    """Whether row . values is certainly below 0."""
    before = ctx.prec
    ctx.prec = 2 * BITS
    try:
        return bool(sum((arb(a) * v for a, v in zip(row, values, strict=True)), arb(0)) < 0)
    finally:
        ctx.prec = before
