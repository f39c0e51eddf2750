"""Linear bounds that go forward: every node between two linear functions of what moves, where that has few dimensions.

What `Linear` finds by substituting every node back to the inputs, in time that grows with the square of the nodes, is found in one visit; it is looser
by what different paths to a node have in common, which vanishes with the square of the set's width. Rows over the output are substituted back once,
through the same planes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from vlang.runtime import rounding
from vlang.runtime.bounds.linear import Planar, by_rule
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.bounds.walk import Arguments, Box, batched
from vlang.runtime.graph.nodes import Affine, Input, Nonlinear, Ref
from vlang.runtime.products import by_row
from vlang.runtime.sets.ball import Ball


@dataclass(frozen=True, eq=False)
class Between:
    """lower . u + low <= value <= upper . u + high for every u of the box. size: at least |slopes| . |u| + |constant|, of both.

    shape: lower, upper [B, width, D]; low, high, size [B, width].
    """

    lower: Tensor
    low: Tensor
    upper: Tensor
    high: Tensor
    size: Tensor

    def part(self, ref: Ref) -> Between:
        return Between(*(x[:, ref.start : ref.stop] for x in vars(self).values()))


@final
class Forward(Planar):
    """The region is a box around the centre: a ball of the infinity norm, clipped evenly."""

    def __init__(self, nominal: Nominal, region: Ball) -> None:
        super().__init__(nominal, region, by_rule("plane"))
        assert region.norm is None
        assert region.clip is not None
        self._frames, self._numbers = (region.clip[1] > 0).any(0).nonzero().unbind(1)
        self._half = region.clip[1][:, self._frames, self._numbers]
        self._between: dict[int, Between] = {}

    def upper(self, node: int, rows: Tensor) -> Tensor:
        return self._upper_by_planes(node, batched(rows))

    def forget(self) -> None:
        self._between.clear()

    def _relax(self, i: int, node: Nonlinear, box: Arguments) -> None:
        self._relax_by_planes(i, node, box)
        planes, args = self.planes[i], [self._functions(ref) for ref in node.args]
        sides = []
        for sign, plane in ((1, planes.upper), (-1, planes.lower)):
            slopes, constant, size = 0.0 * args[0].upper, plane.offset, plane.offset.abs()
            for slope, arg in zip(plane.slopes, args, strict=True):
                up, down = slope.clamp(min=0), slope.clamp(max=0)
                far, near = ((arg.upper, arg.high), (arg.lower, arg.low))[::sign]
                slopes = slopes + up[..., None] * far[0] + down[..., None] * near[0]
                constant, size = constant + up * far[1] + down * near[1], size + slope.abs() * arg.size
            sides.append((slopes, constant, size))
        self._between[i] = self._made(sides[0], sides[1], torch.zeros_like(sides[0][1]), 4 * len(args))

    def _affine_box(self, i: int, node: Affine) -> Box:
        lo, hi = super()._affine_box(i, node)
        centre = self._centre[i]
        up = down = centre[..., None] * torch.zeros_like(self._half[:, None])
        high, low, size, width = centre, centre, centre.abs(), 0
        for term in node.terms:
            if not self.live[term.ref.node]:
                continue
            arg, weight = self._functions(term.ref), term.weight
            width += term.ref.width
            if weight is None:
                up, high, down, low, size = up + arg.upper, high + arg.high, down + arg.lower, low + arg.low, size + arg.size
                continue
            more, less = weight.clamp(min=0), weight.clamp(max=0)
            up, down = up + more @ arg.upper + less @ arg.lower, down + more @ arg.lower + less @ arg.upper
            high, low = high + by_row(arg.high, more) + by_row(arg.low, less), low + by_row(arg.low, more) + by_row(arg.high, less)
            size = size + by_row(arg.size, weight.abs())
        self._between[i] = found = self._made((up, high, size), (down, low, size), 2 * self._error[i], 2 * width)
        top, bottom = (side + sign * (slope.abs() @ self._half[..., None])[..., 0] for sign, slope, side in self._sides(found))
        room = found.size * rounding.gamma(self._half.shape[1] + 8, centre.dtype)
        return torch.maximum(lo, bottom - room), torch.minimum(hi, top + room)

    def _narrowed(self, i: int) -> Box:
        return self.boxes[i]

    def _functions(self, ref: Ref) -> Between:
        """Of a node's elements; those of an input frame are what moves."""
        source = self.nominal.graph.nodes[ref.node]
        if ref.node not in self._between:
            if not isinstance(source, Input):  # it rests, and is a number
                value, blur = self.nominal.values[ref.node], self.blur[ref.node]
                flat = value[..., None] * torch.zeros_like(self._half[:, None])
                self._between[ref.node] = self._made((flat, value, value.abs()), (flat, value, value.abs()), rounding.enlarged(blur), 2)
            else:
                own = (self._frames == source.frame)[None] & (self._numbers == torch.arange(source.width, device=self._half.device)[:, None])
                unit = own.to(self._half).expand(len(self._half), -1, -1)
                size = (unit @ self._half[..., None])[..., 0]
                self._between[ref.node] = Between(unit, 0 * size, unit, 0 * size, size)
        return self._between[ref.node].part(ref)

    def _made(self, upper: tuple[Tensor, Tensor, Tensor], lower: tuple[Tensor, Tensor, Tensor], error: Tensor, roundings: int) -> Between:
        """With constants that pay for every rounding of slopes and of constants, a product and a sum of each; sizes: of all that was added up."""
        lost = rounding.gamma(roundings + self._roundings, error.dtype)
        (up, high, above), (down, low, below) = upper, lower
        high, low = high + 2 * (lost * above + error + rounding.tiny(error)), low - 2 * (lost * below + error + rounding.tiny(error))
        size = torch.maximum(*((s.abs() @ self._half[..., None])[..., 0] + c.abs() for s, c in ((up, high), (down, low))))
        return Between(down, low, up, high, rounding.enlarged(size))

    @staticmethod
    def _sides(found: Between) -> tuple[tuple[int, Tensor, Tensor], ...]:
        return (1, found.upper, found.high), (-1, found.lower, found.low)
