"""Functions of one argument without a symmetry: upper and lower lines have slopes and offsets of their own (runtime/README.md, section 2)."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from vlang.runtime.relaxations.base import Args, Nonlinearity, Plane, Planes
from vlang.runtime.relaxations.curvature import Interval


class Plain(Nonlinearity):
    """Of the two boxes that `both` stacks, the first is for the upper line and the second for the lower one; they are the same."""

    arity: ClassVar[int] = 1
    flips: ClassVar[tuple[bool, ...]] = (False,)

    @abstractmethod
    def lower_offset(self, lo: Args, hi: Args, slopes: Args) -> Tensor:
        """The largest c with f(y) >= slopes . y + c on the box, rounded down."""

    @abstractmethod
    def bend(self, lo: Tensor, hi: Tensor) -> Interval:
        """An interval that holds f'' on [lo, hi], kinks at its ends aside."""

    def both(self, lo: Args, hi: Args) -> tuple[Args, Args]:
        return (torch.stack([lo[0], lo[0]]),), (torch.stack([hi[0], hi[0]]),)

    def raised(self, *y: Tensor) -> Tensor:
        """The function on the first box, minus the function on the second."""
        return self.value(*y) * _signs(y[0])

    def second(self, lo: Args, hi: Args) -> tuple[Interval, ...]:
        """Of `raised`."""
        low, high = self.bend(lo[0], hi[0])
        upper = _signs(low) > 0
        return ((torch.where(upper, low, -high), torch.where(upper, high, -low)),)

    def planes_with(self, slopes: Args, both_lo: Args, both_hi: Args) -> Planes:
        lo, hi, above, below = (both_lo[0][0],), (both_hi[0][0],), (slopes[0][0],), (slopes[0][1],)
        return Planes(Plane(below, self.lower_offset(lo, hi, below)), Plane(above, self.upper_offset(lo, hi, above)))


def _signs(like: Tensor) -> Tensor:
    """shape: [2, 1]."""
    return torch.tensor([[1.0], [-1.0]], dtype=like.dtype, device=like.device)
