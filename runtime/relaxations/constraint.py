"""Quadratic constraints on the graph of a nonlinearity: how large q(y, f(y)) is on a box, for any quadratic q of arguments and value.

Along one argument q's second derivative is (1, f')' K (1, f') + q_v f'', where f' is that argument's, K the part of q's matrix that belongs to
argument and value, and q_v the derivative of q by the value. On a cell [y0, y1] along one argument a function g is at most max(g(y0), g(y1)) +
(y1 - y0)^2 / 8 max(0, sup -g''), along one argument after the other (as `parabola.offset`); f' on a cell is within its change from the middle, which
second derivatives bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vlang.runtime import rounding
from vlang.runtime.relaxations.curvature import Args
from vlang.runtime.relaxations.parabola import along, vertices

if TYPE_CHECKING:
    from vlang.runtime.relaxations.base import Nonlinearity

#: Vertices along an argument of the grid on which a constraint is bounded, by how many arguments move.
CELLS = {1: 257, 2: 65}


@dataclass(frozen=True, eq=False)
class Quadratics:
    """linear . Y + 1/2 Y' matrix Y of Y = (arguments, value) - centre. shape: linear [N, K + 1], matrix [N, K + 1, K + 1], centre [N, K + 1]."""

    linear: Tensor
    matrix: Tensor
    centre: Tensor


def highest(f: Nonlinearity, lo: Args, hi: Args, q: Quadratics) -> Tensor:
    """An upper bound of q(y, f(y)) on the box, rounded up. shape: lo, hi [N] each -> [N]."""
    arity = len(lo)
    axes = [vertices(x[None], h[None], f.kinks, CELLS[arity])[:, 0] for x, h in zip(lo, hi, strict=True)]
    y = [along(v, k, arity) for k, v in enumerate(axes)]
    value = f.value(*_spread(y))
    d = [v - c for v, c in zip([*y, value], q.centre.mT, strict=True)]
    gap = torch.zeros_like(value)
    for k in range(arity + 1):
        gap = gap + d[k] * q.linear[:, k]
        for i in range(k + 1):
            gap = gap + d[k] * d[i] * q.matrix[:, k, i] * (0.5 if i == k else 1.0)
    starts = _spread([along(v[:-1], k, arity) for k, v in enumerate(axes)])
    ends = _spread([along(v[1:], k, arity) for k, v in enumerate(axes)])
    middle = tuple((s + e) / 2 for s, e in zip(starts, ends, strict=True))
    half = [rounding.around((e - s) / 2, m) for s, e, m in zip(starts, ends, middle, strict=True)]
    slopes = f.gradient(*middle)
    bends = [(x[..., 0, :], h[..., 0, :]) for x, h in f.second(_twice(starts), _twice(ends))]
    low, high = f.range(starts, ends)
    at_value = q.linear[:, arity] + torch.zeros_like(low)  # q's derivative by the value: between these two
    spread = torch.zeros_like(low)
    for k, (m, h) in enumerate(zip([*middle, (low + high) / 2], [*half, (high - low) / 2], strict=True)):
        at_value = at_value + q.matrix[:, arity, k] * (m - q.centre[:, k])
        spread = spread + q.matrix[:, arity, k].abs() * h
    for axis in range(arity):
        gap = torch.maximum(gap.narrow(axis, 0, gap.shape[axis] - 1), gap.narrow(axis, 1, gap.shape[axis] - 1))
    everywhere = tuple(range(arity))
    # Numbers of the centre's size cancel in a distance from it.
    reach = [torch.maximum(v.amax(everywhere).abs(), v.amin(everywhere).abs()) + c.abs() for v, c in zip([*y, value], q.centre.mT, strict=True)]
    pull = q.linear[:, arity].abs()
    for k in range(arity + 1):
        pull = pull + q.matrix[:, arity, k].abs() * reach[k]
    for k in range(arity):
        bend = torch.maximum(bends[k][0].abs(), bends[k][1].abs())
        away = bend * half[k] + sum((f.twist * h for i, h in enumerate(half) if i != k), torch.zeros_like(low))
        own, cross, square = q.matrix[:, k, k], q.matrix[:, k, arity], q.matrix[:, arity, arity]
        # -(1, s + e)' K (1, s + e) for |e| <= away, then -(q_v +- spread) f''
        fall = (
            -(own + 2 * cross * slopes[k] + square * slopes[k] ** 2)
            + 2 * (cross + square * slopes[k]).abs() * away
            + (-square).clamp(min=0) * away**2
        )
        fall = fall + torch.maximum(-at_value * bends[k][0], -at_value * bends[k][1]) + spread * bend
        size = own.abs() + 2 * cross.abs() * (slopes[k].abs() + away) + square.abs() * (slopes[k].abs() + away) ** 2
        size = size + (pull + spread) * bend
        width = 2 * half[k]
        gap = gap + rounding.up(fall, size, 64 * rounding.LIBM_ULPS).clamp(min=0) * width * width / 8
    size = torch.zeros_like(q.linear[:, 0])
    for k in range(arity + 1):
        size = size + reach[k] * q.linear[:, k].abs()
        for i in range(arity + 1):
            size = size + reach[k] * reach[i] * q.matrix[:, k, i].abs()
    lost = pull * torch.stack(reach[:arity]).sum(0) * rounding.lost_sigmoid(size)  # as in `parabola.offset`
    return rounding.up(gap.flatten(0, arity - 1).amax(0), size, 64 * rounding.LIBM_ULPS) + lost + rounding.UNDERFLOWN


def _twice(ends: Args) -> Args:
    """As `Nonlinearity.both` stacks boxes: its own first. shape: [..., N] -> [..., 2, N]."""
    return tuple(torch.stack([x, x], -2) for x in ends)


def _spread(axes: list[Tensor]) -> Args:
    """Of every combination."""
    whole = torch.zeros_like(axes[0])
    for x in axes[1:]:
        whole = whole + torch.zeros_like(x)
    return tuple(x.expand_as(whole) for x in axes)
