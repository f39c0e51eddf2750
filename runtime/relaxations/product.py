"""The product of two computed values: x y - a x - b y is linear in each argument, so that its maximum over a box is at a corner."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from vlang.runtime import rounding
from vlang.runtime.relaxations.base import Args, Nonlinearity, Rule
from vlang.runtime.relaxations.curvature import Interval, product


class Product(Nonlinearity):
    """x y; odd in x."""

    arity: ClassVar[int] = 2
    flips: ClassVar[tuple[bool, ...]] = (True, False)
    twist: ClassVar[float] = 1.0

    def value(self, *y: Tensor) -> Tensor:
        return y[0] * y[1]

    def range(self, lo: Args, hi: Args) -> tuple[Tensor, Tensor]:
        return product((lo[0], hi[0]), (lo[1], hi[1]))

    def upper_offset(self, lo: Args, hi: Args, slopes: Args) -> Tensor:
        top, _ = self._corner(lo, hi, slopes)
        x, y = (torch.maximum(low.abs(), high.abs()) for low, high in zip(lo, hi, strict=True))
        return rounding.up(top, x * y + slopes[0].abs() * x + slopes[1].abs() * y)

    def upper_slopes(self, rule: Rule, lo: Args, hi: Args) -> Args:
        """Of all planes above, that with the tangent's slopes is lowest at the centre: by x y <= ... at opposite corners (McCormick 1976), halved."""
        x, y = ((low + high) / 2 for low, high in zip(lo, hi, strict=True))
        zero = torch.zeros_like(x)
        return (zero, zero) if rule == "constant" else (y, zero) if rule == "line" else (y, x)

    def maximiser(self, lo: Args, hi: Args, slopes: Args) -> Args:
        return self._corner(lo, hi, slopes)[1]

    def _corner(self, lo: Args, hi: Args, slopes: Args) -> tuple[Tensor, Args]:
        x, y = torch.stack([lo[0], lo[0], hi[0], hi[0]]), torch.stack([lo[1], hi[1], lo[1], hi[1]])
        top, which = (x * y - slopes[0] * x - slopes[1] * y).max(0, keepdim=True)
        return top[0], (x.gather(0, which)[0], y.gather(0, which)[0])

    def slope_range(self, lo: Args, hi: Args) -> Args:
        return hi[1] - lo[1], hi[0] - lo[0]

    def gradient(self, *y: Tensor) -> Args:
        return y[1], y[0]

    def second(self, lo: Args, hi: Args) -> tuple[Interval, ...]:
        zero = torch.zeros_like(lo[0])
        return (zero, zero), (zero, zero)
