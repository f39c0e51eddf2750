"""Whether a parabola holds on a box, and what it adds to its plane where its arguments do not move linearly."""

from __future__ import annotations

import operator
from functools import cmp_to_key
from itertools import pairwise

import numpy as np
from flint import arb, arb_mat

from .balls import Balls
from .curves import CURVES
from .functions import VALUES, mirrored
from .vectors import ONE, ZERO, Interval, Vector, diagonal, largest, norm2, total

#: Cells along an argument on which parabolas are bounded, for one argument and for two; any number is sound.
CELLS = {1: 64, 2: 16}
#: Nonlinearities as products of a function of each argument.
FACTORS = {"sigmoid_mul": ("sigmoid", "identity"), "sigmoid_tanh": ("sigmoid", "tanh"), "product": ("identity", "identity")}
#: Where second derivatives jump.
KINKS: dict[str, tuple[arb, ...]] = {"relu": (ZERO,), "elu": (ZERO,), "selu": (ZERO,), "hardtanh": (-ONE, ONE), "hardsigmoid": (arb(-3), arb(3))}


def cut(kind: str, ends: Interval, cells: int) -> Vector:
    """Points from end to end in order, exact between them, so that no kink is inside a cell."""
    lo, hi = ends
    inner = [(lo + (hi - lo) * k / cells).mid() for k in range(1, cells)]
    inner += [x for x in KINKS.get(kind, ()) if not (x <= lo or hi <= x)]

    def order(x: arb, y: arb) -> int:
        return int(x > y) - int(x < y)

    return [lo, *sorted(inner, key=cmp_to_key(order)), hi]


def second(op: str, lo: arb, hi: arb) -> Interval:
    """The range of a factor's second derivative, kinks aside. tanh'' = -2 t (1 - t^2) turns where t^2 = 1/3; sigma(y) = 1/2 + 1/2 tanh(y / 2)."""
    if op in CURVES:
        return CURVES[op].bend_range(lo, hi)
    if op == "sigmoid":
        low, high = second("tanh", lo / 2, hi / 2)
        return low / 8, high / 8
    if op in ("relu", "identity", "one"):
        return ZERO, ZERO
    if op != "tanh":
        raise KeyError(f"the second derivative of {op} is not known")
    t, turn = (lo.tanh(), hi.tanh()), (ONE / 3).sqrt()
    bends = [-2 * x.tanh() / x.cosh() ** 2 for x in (lo, hi)]  # 1 - t^2 without cancellation
    bends += [-2 * x * (1 - x * x) for x in (-turn, turn) if not (x < t[0] or x > t[1])]
    return -largest(-x for x in bends), largest(bends)


def is_under(op: str, box: list[Interval], centre: Vector, stated: Vector, sign: int) -> bool:
    """Whether sign (f(y) - slopes . y - offset - 1/2 (y - centre)' K (y - centre)) <= 0 on the box. stated: slopes, offset, K_vv, K_vz, K_zz.

    On a cell of a grid, along one argument after the other, a function is at most its larger end plus width^2 / 8 times its largest -f''.
    """
    if op == "cosigmoid_tanh":
        a, b, offset, vv, vz, zz = stated
        return is_under("sigmoid_tanh", [mirrored(box[0]), box[1]], [-centre[0], centre[1]], [-a, b, offset, vv, -vz, zz], sign)
    if len(box) == 1:  # times one, of an argument that does not move
        factors, ends, (a, offset, vv), (b, vz, zz) = (op, "one"), [*box, (ZERO, ZERO)], stated, (ZERO, ZERO, ZERO)
    else:
        factors, ends, (a, b, offset, vv, vz, zz) = FACTORS[op], box, stated
    axes: list[Vector] = []
    for kind, between, cells in zip(factors, ends, (CELLS[len(box)], CELLS[2] if len(box) == 2 else 1), strict=True):
        axes.append(cut(kind, between, cells))
    p, q = ([VALUES[kind](v) for v in y] for kind, y in zip(factors, axes, strict=True))
    dv, dz = ([v - c for v in y] for y, c in zip(axes, [*centre, ZERO], strict=False))
    left = [[sign * x, -sign * (a * v + offset + vv * d * d / 2), -ONE, -sign * vz * d] for x, v, d in zip(p, axes[0], dv, strict=True)]
    right = [q, [ONE] * len(q), [sign * (b * z + zz * d * d / 2) for z, d in zip(axes[1], dz, strict=True)], dz]
    gap = (Balls.around_rows(left) @ Balls.around_rows(right)).most()
    (at_v, bend_v, wide_v), (at_z, bend_z, wide_z) = (
        (
            Balls.around_rows([x[:-1], x[1:]]),
            Balls.around_rows(list(zip(*(second(kind, *cell) for cell in pairwise(y)), strict=True))),
            Balls.around_rows([[(hi - lo) * (hi - lo) / 8 for lo, hi in pairwise(y)]]),
        )
        for kind, x, y in zip(factors, (p, q), axes, strict=True)
    )
    over_v = (Balls.around([sign * vv]) - least(bend_v, at_z, sign)).positive() * wide_v.mT
    over_z = (Balls.around([sign * zz]) - least(at_v, bend_z, sign)).positive() * wide_z
    high = np.maximum(np.maximum(gap[1:, 1:], gap[:-1, :-1]), np.maximum(gap[1:, :-1], gap[:-1, 1:]))
    return bool(((Balls.exactly(high) + over_v + over_z).most() <= 0).all())


def least(x: Balls, y: Balls, sign: int) -> Balls:
    """Lower bounds of sign x y between ends, low and high ones, of x down and of y across."""
    products = [a[:, None] * b if sign > 0 else -(a[:, None] * b) for a in x for b in y]
    return Balls.exactly(-np.max([(-ab).most() for ab in products], 0))


def cushion(k: arb_mat, residual: Vector, steps: Vector, split: tuple[float, float]) -> tuple[arb_mat, arb]:
    """w and c with 1/2 d' k d <= 1/2 u' w u + c, where d = u + r and |r| <= residual.

    d' k d <= u' k u + 2 sum_i |(k u)_i| R_i + r' k r, and 2 |x| R <= tau x^2 + R^2 / tau for any tau > 0. split: the share of a neuron's reach, and
    the least reach, that the certificate takes for R / tau.
    """
    typical = [arb(max(split[1], split[0] * float(norm2(map(operator.mul, row, steps))))) for row in k.table()]
    constant = total(r * (t + k[i, i].max(ZERO) * r) / 2 for i, (r, t) in enumerate(zip(residual, typical, strict=True)))
    if len(residual) == 2:
        constant += abs(k[0, 1]) * residual[0] * residual[1]
    return k + k * diagonal(list(map(operator.truediv, residual, typical))) * k, constant
