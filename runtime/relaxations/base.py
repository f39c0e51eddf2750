"""What a relaxation is: valid offsets for any slopes, and a rule for good slopes.

A nonlinearity f of one or two arguments y is bounded on a box ``lo <= y <= hi`` by an upper and a lower plane
``slope . y + offset``. For ANY slopes the tightest valid upper offset is ``c = max over the box of f(y) - slope . y``,
so slopes are free and soundness rests on `Nonlinearity.upper_offset` alone (runtime/README.md, section 2).

All nonlinearities here except relu have a symmetry ``f(y) = kappa - f(R y)``, R flipping the sign of some arguments:
a lower plane on a box is then an upper plane on the reflected box, and only upper planes have to be derived.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from vlang.runtime import rounding
from vlang.runtime.relaxations.curvature import Args, Interval

__all__ = ["Args", "Flipped", "Nonlinearity", "Plane", "Planes", "Rule", "reflect"]

#: How slopes are chosen: all zero, a line in the first argument alone, or the minimum-volume plane.
Rule = Literal["constant", "line", "plane"]


@dataclass(frozen=True)
class Plane:
    """``sum_k slopes[k] * y[k] + offset``, elementwise. shape: each as the box."""

    slopes: Args
    offset: Tensor


@dataclass(frozen=True)
class Planes:
    """A lower and an upper plane of one nonlinearity on one box."""

    lower: Plane
    upper: Plane


class Nonlinearity(ABC):
    """One nonlinearity and the exact offsets of its planes.

    Subclasses give the concrete value, its range over a box, the upper offset for any slopes, and slopes for each rule.
    """

    arity: ClassVar[int]
    #: The symmetry f(y) = kappa - f(R y); flips[k] says whether R negates argument k.
    flips: ClassVar[tuple[bool, ...]]
    kappa: ClassVar[float] = 0.0
    #: A bound of the mixed second derivative of a function of two arguments.
    twist: ClassVar[float] = 0.0
    #: Where the derivative of a function of one argument jumps.
    kinks: ClassVar[tuple[float, ...]] = ()

    @abstractmethod
    def value(self, *y: Tensor) -> Tensor:
        """The function itself, elementwise."""

    @abstractmethod
    def range(self, lo: Args, hi: Args) -> tuple[Tensor, Tensor]:
        """Smallest and largest value over the box, rounded outward."""

    @abstractmethod
    def upper_offset(self, lo: Args, hi: Args, slopes: Args) -> Tensor:
        """The smallest c with f(y) <= slopes . y + c on the box, rounded up."""

    @abstractmethod
    def upper_slopes(self, rule: Rule, lo: Args, hi: Args) -> Args:
        """Slopes of the upper plane under `rule`. Any value is sound."""

    @abstractmethod
    def maximiser(self, lo: Args, hi: Args, slopes: Args) -> Args:
        """Where f(y) - slopes . y is largest on the box, nearly. Only gradients rest on it."""

    @abstractmethod
    def slope_range(self, lo: Args, hi: Args) -> Args:
        """How much f's derivative by each argument varies over the box's corners: the natural unit of a change of slope."""

    @abstractmethod
    def gradient(self, *y: Tensor) -> Args:
        """f's derivative by each argument, accurate relative to its own size."""

    @abstractmethod
    def second(self, lo: Args, hi: Args) -> tuple[Interval, ...]:
        """Intervals that hold the second derivative by each argument alone on the box, kinks at its ends aside."""

    def deployed(self, lo: Args, hi: Args, size: Tensor) -> Tensor:
        """What roundings of a float32 implementation are relative to on a box; size: of the values there."""
        return size

    def raised(self, *y: Tensor) -> Tensor:
        """What upper bounds are wanted of on `both` boxes: the function on each. shape: [..., 2, N]."""
        return self.value(*y)

    def planes(self, rule: Rule, lo: Args, hi: Args) -> Planes:
        """Both planes, with slopes by a rule."""
        box = self.both(lo, hi)
        return self.planes_with(self.upper_slopes(rule, *box), *box)

    def both(self, lo: Args, hi: Args) -> tuple[Args, Args]:
        """The box and the reflected box, stacked: an upper plane on each gives both planes. shape: each [2, ...]."""
        mirror_lo, mirror_hi = reflect(lo, hi, self.flips)
        return (
            tuple(torch.stack(pair) for pair in zip(lo, mirror_lo, strict=True)),
            tuple(torch.stack(pair) for pair in zip(hi, mirror_hi, strict=True)),
        )

    def planes_with(self, slopes: Args, both_lo: Args, both_hi: Args) -> Planes:
        """Both planes for any slopes on `both` boxes: f(y) = kappa - f(Ry) >= kappa - offset' - slopes' . Ry.

        Differentiable in the slopes and the box by the envelope theorem.
        """
        offset = self._offset(both_lo, both_hi, slopes)
        lower_slopes = tuple(s[1] if flip else -s[1] for s, flip in zip(slopes, self.flips, strict=True))
        lower_offset = -offset[1]
        if self.kappa:
            lower_offset = rounding.down(self.kappa + lower_offset, lower_offset.abs() + abs(self.kappa), 1)
        return Planes(Plane(lower_slopes, lower_offset), Plane(tuple(s[0] for s in slopes), offset[0]))

    def _offset(self, lo: Args, hi: Args, slopes: Args) -> Tensor:
        """`upper_offset`, to which a zero is added that carries the gradient: the objective at the maximiser, on the box's ends where it is."""
        with torch.no_grad():
            exact = self.upper_offset(lo, hi, slopes)
        if not torch.is_grad_enabled():
            return exact
        with torch.no_grad():
            point = self.maximiser(lo, hi, slopes)
        y = tuple(torch.where(p <= x, x, torch.where(p >= h, h, p)) for p, x, h in zip(point, lo, hi, strict=True))
        objective = self.value(*y) - torch.stack([s * v for s, v in zip(slopes, y, strict=True)]).sum(0)
        return exact + (objective - objective.detach())


def reflect(lo: Args, hi: Args, flips: tuple[bool, ...]) -> tuple[Args, Args]:
    """The box with some arguments negated."""
    pairs = [(-h, -x) if flip else (x, h) for x, h, flip in zip(lo, hi, flips, strict=True)]
    return tuple(p[0] for p in pairs), tuple(p[1] for p in pairs)


class Flipped(Nonlinearity):
    """g(y) = f(S y), S negating some arguments; e.g. (1 - sigmoid(v)) tanh(z) = sigmoid(-v) tanh(z)."""

    def __init__(self, base: Nonlinearity, negate: tuple[bool, ...]) -> None:
        self.base, self.negate = base, negate
        self.arity, self.flips, self.kappa, self.twist = base.arity, base.flips, base.kappa, base.twist  # type: ignore[misc]

    def _map(self, args: Args) -> Args:
        return tuple(-x if n else x for x, n in zip(args, self.negate, strict=True))

    def value(self, *y: Tensor) -> Tensor:
        return self.base.value(*self._map(y))

    def range(self, lo: Args, hi: Args) -> tuple[Tensor, Tensor]:
        return self.base.range(*reflect(lo, hi, self.negate))

    def upper_offset(self, lo: Args, hi: Args, slopes: Args) -> Tensor:
        return self.base.upper_offset(*reflect(lo, hi, self.negate), self._map(slopes))

    def upper_slopes(self, rule: Rule, lo: Args, hi: Args) -> Args:
        return self._map(self.base.upper_slopes(rule, *reflect(lo, hi, self.negate)))

    def maximiser(self, lo: Args, hi: Args, slopes: Args) -> Args:
        return self._map(self.base.maximiser(*reflect(lo, hi, self.negate), self._map(slopes)))

    def slope_range(self, lo: Args, hi: Args) -> Args:
        return self.base.slope_range(*reflect(lo, hi, self.negate))

    def gradient(self, *y: Tensor) -> Args:
        return self._map(self.base.gradient(*self._map(y)))

    def second(self, lo: Args, hi: Args) -> tuple[Interval, ...]:
        return self.base.second(*reflect(lo, hi, self.negate))
