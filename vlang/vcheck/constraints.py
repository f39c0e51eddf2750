"""How large a quadratic of an operation's arguments and value is on its graph over a box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

import numpy as np
from flint import arb

from .balls import Balls
from .curves import CURVES, sigmoid
from .functions import VALUES, mirrored
from .parabolas import FACTORS, cut, second
from .vectors import NEVER, ONE, ZERO, Array, Interval

#: Cells along an argument, by how many arguments there are; any number is sound, and who writes certificates has half as many.
CELLS = MappingProxyType({1: 512, 2: 128})
#: Constraints on these are those on sigma(v) tanh(z) with -v for v.
MIRRORED = "cosigmoid_tanh"
#: Derivatives of factors, kinks aside.
SLOPES = {
    "tanh": lambda y: 1 / y.cosh() ** 2,
    "sigmoid": lambda y: sigmoid(y) * sigmoid(-y),
    "relu": lambda y: ONE if y > 0 else ZERO if y < 0 else ZERO.union(ONE),
    "identity": lambda y: ONE,
    "one": lambda y: ZERO,
    **{op: curve.slope for op, curve in CURVES.items()},
}


@dataclass(frozen=True)
class Axis:
    """A factor along its argument: at the ends of cells, and on all of each cell. eighth: of the cells' squared widths."""

    at: Balls
    value: Balls
    on: Balls
    values: Balls
    slopes: Balls
    bends: Balls
    eighth: Balls

    @classmethod
    def of(cls, kind: str, ends: Interval, cells: int) -> Axis:
        y = cut(kind, ends, cells)
        value = [VALUES[kind](v) for v in y]
        on, values, slopes, bends, eighth = [], [], [], [], []
        for (a, b), p in zip(pairwise(y), pairwise(value), strict=True):
            bend, half = second(kind, a, b), (b - a) / 2
            on.append(a.union(b))
            values.append(p[0].union(p[1]) if kind not in CURVES else CURVES[kind].range(a, b)[0].union(CURVES[kind].range(a, b)[1]))
            bends.append(bend[0].union(bend[1]))
            slopes.append(SLOPES[kind]((a + b) / 2) + bends[-1] * half.union(-half))  # by the mean value theorem
            eighth.append(half * half / 2)
        return cls(*map(Balls.around, (y, value, on, values, slopes, bends, eighth)))


def axes_of(op: str, box: Sequence[Interval]) -> tuple[Axis, Axis]:
    """Of an operation's two factors; a second one that is 1, of an argument that is 0, where there is one argument."""
    if len(box) == 1:
        return Axis.of(op, box[0], CELLS[1]), Axis.of("one", (ZERO, ZERO), 1)
    if op == MIRRORED:
        op, box = "sigmoid_tanh", [mirrored(box[0]), box[1]]
    first, last = (Axis.of(kind, ends, CELLS[2]) for kind, ends in zip(FACTORS[op], box, strict=True))
    return first, last


def highest(op: str, axes: tuple[Axis, Axis], centre: Array, linear: Array, matrix: Array) -> arb:
    """An upper bound of linear . Y + 1/2 Y' matrix Y, Y = (a, b, f(a, b)) - centre, on the box. shape: [3], [3], [3, 3].

    On a cell, along one argument after the other, a function is at most its larger end plus width^2 / 8 times its largest -g''. By a,
    g'' = K_aa + 2 K_av f_a + K_vv f_a^2 + g_v f_aa, and g_v is the derivative by the value.
    """
    if op == MIRRORED:
        turn = np.array([-1.0, 1.0, 1.0])
        centre, linear, matrix = centre * turn, linear * turn, matrix * turn * turn[:, None]
    a, b = axes
    g, k, c = Balls.exactly(linear), Balls.exactly(matrix), Balls.exactly(centre)
    half, two = Balls.exactly(np.array(0.5)), Balls.exactly(np.array(2.0))
    x, y = a.at[:, None] - c[0], b.at[None] - c[1]
    v = a.value[:, None] * b.value[None] - c[2]
    gap = (
        x * (g[0] + half * k[0, 0] * x + k[0, 1] * y + k[0, 2] * v) + y * (g[1] + half * k[1, 1] * y + k[1, 2] * v) + v * (g[2] + half * k[2, 2] * v)
    ).most()
    x, y = a.on[:, None] - c[0], b.on[None] - c[1]
    v = a.values[:, None] * b.values[None] - c[2]
    pull = g[2] + k[0, 2] * x + k[1, 2] * y + k[2, 2] * v
    by_a, by_b = a.slopes[:, None] * b.values[None], a.values[:, None] * b.slopes[None]
    bent_a, bent_b = a.bends[:, None] * b.values[None], a.values[:, None] * b.bends[None]
    over = [
        (-(own + slope * (two * cross + k[2, 2] * slope) + pull * bend)).positive() * wide
        for own, cross, slope, bend, wide in (
            (k[0, 0], k[0, 2], by_a, bent_a, a.eighth[:, None]),
            (k[1, 1], k[1, 2], by_b, bent_b, b.eighth[None]),
        )
    ]
    most = (Balls.exactly(np.maximum(np.maximum(gap[1:, 1:], gap[:-1, :-1]), np.maximum(gap[1:, :-1], gap[:-1, 1:]))) + over[0] + over[1]).most()
    found = float(most.max())
    return arb(found) if np.isfinite(found) else NEVER
