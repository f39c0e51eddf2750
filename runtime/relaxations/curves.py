"""Relaxations of functions of one argument that are convex and concave by turns: exact offsets for any slope.

sign (f(y) - a y) is largest at an end of the box, at a point where convexity changes, or inside a piece where sign f is concave, where its derivative
vanishes. There any point y near the root will do: by concavity the maximum exceeds the value at y by at most |sign (f'(y) - a)| times the way that is
left in the direction of ascent (runtime/README.md, section 2).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vlang.runtime import elementary, rounding
from vlang.runtime.relaxations.base import Args, Plane, Planes, Rule
from vlang.runtime.relaxations.curvature import Interval
from vlang.runtime.relaxations.plain import Plain
from vlang.runtime.relaxations.supporting import supporting_line

Function = Callable[[Tensor], Tensor]
INF = math.inf
#: Passes of the exchange for a line, as for tanh.
LINE_PASSES = 6
#: Where a stationary point has no closed form: halvings of its bracket, then steps of Newton's method.
HALVINGS, NEWTON = 12, 4


@dataclass(frozen=True, eq=False)
class Piece:
    """Where f is convex (bend 1) or concave (-1). root: for a slope the point with that derivative, where there is a closed form."""

    start: float
    end: float
    bend: int
    root: Function | None = None


@dataclass(frozen=True, eq=False)
class Turn:
    """Where f is stationary, and its value there."""

    at: float
    value: float


@dataclass(frozen=True, eq=False)
class Crest:
    """Where f'' is stationary, and its value there."""

    at: float
    value: float


class Curve(Plain):
    """f from its values, two derivatives and pieces. Points between pieces are within a unit in the last place of where convexity changes.

    bends: f'' at a point of a cell whose middle is given: kinks belong to the side that the middle is on.
    """

    pieces: ClassVar[tuple[Piece, ...]]
    #: Ends of pieces and kinks: where the maximum may be besides.
    breaks: ClassVar[tuple[float, ...]] = ()
    turns: ClassVar[tuple[Turn, ...]] = ()
    crests: ClassVar[tuple[Crest, ...]] = ()

    def slope(self, y: Tensor) -> Tensor:
        """f'."""
        raise NotImplementedError

    def bends(self, y: Tensor, middle: Tensor) -> Tensor:
        """f''."""
        raise NotImplementedError

    def size(self, y: Tensor) -> Tensor:
        """What roundings of a value are relative to."""
        return self.value(y).abs()

    def deployed(self, lo: Args, hi: Args, size: Tensor) -> Tensor:
        """Sums inside may cancel: exp(y) - 1, 1 + erf(y)."""
        return size + 1 + torch.maximum(lo[0].abs(), hi[0].abs())

    def range(self, lo: Args, hi: Args) -> tuple[Tensor, Tensor]:
        (low,), (high,) = lo, hi
        at_low, at_high = self.value(low), self.value(high)
        size = torch.maximum(self.size(low), self.size(high))
        least, most = torch.minimum(at_low, at_high), torch.maximum(at_low, at_high)
        for turn in self.turns:
            inside = (low <= turn.at) & (high >= turn.at)
            least = torch.where(inside, least.clamp(max=turn.value), least)
            most = torch.where(inside, most.clamp(min=turn.value), most)
            size = size + abs(turn.value)
        return rounding.down(least, size), rounding.up(most, size)

    def upper_offset(self, lo: Args, hi: Args, slopes: Args) -> Tensor:
        return self._top(1, lo[0], hi[0], slopes[0], exact=True)[0]

    def lower_offset(self, lo: Args, hi: Args, slopes: Args) -> Tensor:
        return -self._top(-1, lo[0], hi[0], slopes[0], exact=True)[0]

    def planes_with(self, slopes: Args, both_lo: Args, both_hi: Args) -> Planes:
        low, high, above, below = both_lo[0][0], both_hi[0][0], slopes[0][0], slopes[0][1]
        return Planes(Plane((below,), -self._carried(-1, low, high, below)), Plane((above,), self._carried(1, low, high, above)))

    def _carried(self, sign: int, low: Tensor, high: Tensor, a: Tensor) -> Tensor:
        """The largest sign (f(y) - a y), with a zero added that carries the gradient (see `Nonlinearity._offset`)."""
        with torch.no_grad():
            top, point = self._top(sign, low, high, a, exact=True)
        if not torch.is_grad_enabled():
            return top
        y = torch.where(point <= low, low, torch.where(point >= high, high, point))
        objective = sign * (self.value(y) - a * y)
        return top + (objective - objective.detach())

    def upper_slopes(self, rule: Rule, lo: Args, hi: Args) -> Args:
        """shape: lo, hi as `both` gives them, [2, ...]; slopes of the upper and of the lower line."""
        if rule == "constant":
            return (torch.zeros_like(lo[0]),)
        low, high = lo[0][0], hi[0][0]
        f_low, f_high, tangent = self.value(low), self.value(high), self.slope((low + high) / 2)

        def chosen(sign: int) -> Tensor:
            def maximise(slopes: Args) -> tuple[Tensor, Args, Tensor]:
                top, y = self._top(sign, low, high, sign * slopes[0], exact=False)
                return top, (y,), sign * self.value(y)

            return sign * supporting_line(low, high, sign * f_low, sign * f_high, maximise, sign * tangent, LINE_PASSES)[0]

        return (torch.stack([chosen(1), chosen(-1)]),)

    def maximiser(self, lo: Args, hi: Args, slopes: Args) -> Args:
        return (self._top(1, lo[0], hi[0], slopes[0], exact=False)[1],)

    def slope_range(self, lo: Args, hi: Args) -> Args:
        points = [lo[0], hi[0], (lo[0] + hi[0]) / 2, *(torch.minimum(torch.maximum(lo[0].new_tensor(x), lo[0]), hi[0]) for x in self.breaks)]
        found = torch.stack([self.slope(y) for y in points])
        return (found.amax(0) - found.amin(0),)

    def gradient(self, *y: Tensor) -> Args:
        return (self.slope(y[0]),)

    def bend(self, lo: Tensor, hi: Tensor) -> Interval:
        middle = (lo + hi) / 2
        at_lo, at_hi = self.bends(lo, middle), self.bends(hi, middle)
        low, high = torch.minimum(at_lo, at_hi), torch.maximum(at_lo, at_hi)
        for crest in self.crests:
            inside = (lo <= crest.at) & (hi >= crest.at)
            low, high = torch.where(inside, low.clamp(max=crest.value), low), torch.where(inside, high.clamp(min=crest.value), high)
        size = torch.maximum(low.abs(), high.abs()) * (1 + torch.maximum(lo.abs(), hi.abs()))
        return rounding.down(low, size), rounding.up(high, size)

    def _top(self, sign: int, low: Tensor, high: Tensor, a: Tensor, exact: bool) -> tuple[Tensor, Tensor]:
        """The largest sign (f(y) - a y) on [low, high], and where it nearly is. exact: rounded up, whatever the roots are."""

        def objective(y: Tensor) -> Tensor:
            return sign * (self.value(y) - a * y)

        at_low, at_high = objective(low), objective(high)
        right = at_high > at_low
        top, where = torch.maximum(at_low, at_high), torch.where(right, high, low)
        reach = torch.maximum(low.abs(), high.abs())
        size = torch.maximum(self.size(low), self.size(high)) + a.abs() * reach

        def offer(y: Tensor, valid: Tensor, more: Tensor | float = 0.0) -> None:
            nonlocal top, where
            height = objective(y) + more
            better = valid & (height > top)
            top, where = torch.where(better, height, top), torch.where(better, y, where)

        for x in self.breaks:
            at = low.new_tensor(x).expand_as(low)
            offer(at, (low < x) & (high > x))
        for piece in self.pieces:
            if piece.bend * sign >= 0:
                continue
            start, end = low.clamp(min=piece.start), high.clamp(max=piece.end)
            valid = start < end
            if not bool(valid.any()):
                continue
            start, end = torch.where(valid, start, low), torch.where(valid, end, low)
            y = self._root(piece, a, start, end)
            slope = self.slope(y)
            rise = sign * (slope - a)
            slack = torch.where(rise > 0, rise * (end - y), -rise * (y - start))
            offer(y, valid, slack if exact else 0.0)
            size = torch.where(valid, size + slope.abs() * (end - start) + self.size(y), size)
        return (rounding.up(top, size), where) if exact else (top, where)

    def _root(self, piece: Piece, a: Tensor, start: Tensor, end: Tensor) -> Tensor:
        """Where f' is a on a piece, nearly, between start and end. Any point there is sound."""
        if piece.root is not None:
            found = piece.root(a)
            return torch.minimum(torch.maximum(torch.where(found.isnan(), start, found), start), end)
        low, high = start, end
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            further = (self.slope(middle) < a) == (piece.bend > 0)
            low, high = torch.where(further, middle, low), torch.where(further, high, middle)
        y = (low + high) / 2
        for _ in range(NEWTON):
            step = (self.slope(y) - a) / self.bends(y, y)
            y = torch.minimum(torch.maximum(torch.where(step.isfinite(), y - step, y), low), high)
        return y


class Softplus(Curve):
    """log(1 + exp(y))."""

    pieces: ClassVar[tuple[Piece, ...]] = (Piece(-INF, INF, 1, lambda a: elementary.log(a) - elementary.log1p(-a)),)
    crests: ClassVar[tuple[Crest, ...]] = (Crest(0.0, 0.25),)

    def value(self, *y: Tensor) -> Tensor:
        return y[0].clamp(min=0) + elementary.log1p(elementary.exp(-y[0].abs()))

    def slope(self, y: Tensor) -> Tensor:
        return elementary.sigmoid(y)

    def bends(self, y: Tensor, middle: Tensor) -> Tensor:
        return elementary.sigmoid(y) * elementary.sigmoid(-y)


class Elu(Curve):
    """scale (y above 0, alpha (exp(y) - 1) below); the constants of selu are those of torch."""

    kinks: ClassVar[tuple[float, ...]] = (0.0,)
    breaks: ClassVar[tuple[float, ...]] = (0.0,)
    scale: ClassVar[float] = 1.0
    alpha: ClassVar[float] = 1.0
    pieces: ClassVar[tuple[Piece, ...]] = (Piece(-INF, 0.0, 1, elementary.log),)

    def value(self, *y: Tensor) -> Tensor:
        return self.scale * torch.where(y[0] > 0, y[0], self.alpha * elementary.expm1(y[0].clamp(max=0)))

    def slope(self, y: Tensor) -> Tensor:
        return self.scale * torch.where(y > 0, torch.ones_like(y), self.alpha * elementary.exp(y.clamp(max=0)))

    def bends(self, y: Tensor, middle: Tensor) -> Tensor:
        return torch.where(middle > 0, torch.zeros_like(y), self.scale * self.alpha * elementary.exp(y.clamp(max=0)))


SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


class Selu(Elu):
    scale: ClassVar[float] = SELU_SCALE
    alpha: ClassVar[float] = SELU_ALPHA
    pieces: ClassVar[tuple[Piece, ...]] = (Piece(-INF, 0.0, 1, lambda a: elementary.log(a / (SELU_SCALE * SELU_ALPHA))),)


SILU_INFLECTION = 2.39935728051546766783
GELU_INFLECTION = math.sqrt(2)


class Silu(Curve):
    """y sigma(y)."""

    breaks: ClassVar[tuple[float, ...]] = (-SILU_INFLECTION, SILU_INFLECTION)
    pieces: ClassVar[tuple[Piece, ...]] = (
        Piece(-INF, -SILU_INFLECTION, -1),
        Piece(-SILU_INFLECTION, SILU_INFLECTION, 1),
        Piece(SILU_INFLECTION, INF, -1),
    )
    turns: ClassVar[tuple[Turn, ...]] = (Turn(-1.27846454276107379511, -0.278464542761073795109),)
    crests: ClassVar[tuple[Crest, ...]] = (
        Crest(0.0, 0.5),
        Crest(3.43584099353511068895, -0.0369143731998931856),
        Crest(-3.43584099353511068895, -0.0369143731998931856),
    )

    def value(self, *y: Tensor) -> Tensor:
        return y[0] * elementary.sigmoid(y[0])

    def slope(self, y: Tensor) -> Tensor:
        s = elementary.sigmoid(y)
        return s + y * s * elementary.sigmoid(-y)

    def bends(self, y: Tensor, middle: Tensor) -> Tensor:
        return elementary.sigmoid(y) * elementary.sigmoid(-y) * (2 - y * elementary.tanh(y / 2))


class Gelu(Curve):
    """y Phi(y), Phi the normal distribution's function: torch's gelu without approximation."""

    breaks: ClassVar[tuple[float, ...]] = (-GELU_INFLECTION, GELU_INFLECTION)
    pieces: ClassVar[tuple[Piece, ...]] = (
        Piece(-INF, -GELU_INFLECTION, -1),
        Piece(-GELU_INFLECTION, GELU_INFLECTION, 1),
        Piece(GELU_INFLECTION, INF, -1),
    )
    turns: ClassVar[tuple[Turn, ...]] = (Turn(-0.751791524693564457458, -0.169971207479903661693),)
    crests: ClassVar[tuple[Crest, ...]] = (
        Crest(0.0, 0.797884560802865355880),
        Crest(2.0, -0.107981933026376103901),
        Crest(-2.0, -0.107981933026376103901),
    )

    def value(self, *y: Tensor) -> Tensor:
        return y[0] * _normal(y[0])

    def size(self, y: Tensor) -> Tensor:
        """Below 0, where an exponential of a rounded square is wrong by as many units as the square is large."""
        return self.value(y).abs() * (1 + y.clamp(max=0) ** 2)

    def slope(self, y: Tensor) -> Tensor:
        return _normal(y) + y * _density(y)

    def bends(self, y: Tensor, middle: Tensor) -> Tensor:
        return _density(y) * (2 - y * y)


def _normal(y: Tensor) -> Tensor:
    return elementary.erfc(-y * math.sqrt(0.5)) / 2


def _density(y: Tensor) -> Tensor:
    return elementary.exp(-y * y / 2) / math.sqrt(2 * math.pi)


class Hardtanh(Curve):
    """y between -1 and 1."""

    kinks: ClassVar[tuple[float, ...]] = (-1.0, 1.0)
    breaks: ClassVar[tuple[float, ...]] = (-1.0, 1.0)
    pieces: ClassVar[tuple[Piece, ...]] = ()

    def value(self, *y: Tensor) -> Tensor:
        return y[0].clamp(-1, 1)

    def slope(self, y: Tensor) -> Tensor:
        return ((y > -1) & (y < 1)).to(y)

    def bends(self, y: Tensor, middle: Tensor) -> Tensor:
        return torch.zeros_like(y)


class Hardsigmoid(Hardtanh):
    """y / 6 + 1/2 between 0 and 1, as torch's."""

    kinks: ClassVar[tuple[float, ...]] = (-3.0, 3.0)
    breaks: ClassVar[tuple[float, ...]] = (-3.0, 3.0)

    def value(self, *y: Tensor) -> Tensor:
        return ((y[0] + 3) / 6).clamp(0, 1)

    def size(self, y: Tensor) -> Tensor:
        return torch.ones_like(y)

    def slope(self, y: Tensor) -> Tensor:
        return ((y > -3) & (y < 3)).to(y) / 6


class Exp(Curve):
    pieces: ClassVar[tuple[Piece, ...]] = (Piece(-INF, INF, 1, elementary.log),)

    def value(self, *y: Tensor) -> Tensor:
        return elementary.exp(y[0])

    def slope(self, y: Tensor) -> Tensor:
        return elementary.exp(y)

    def bends(self, y: Tensor, middle: Tensor) -> Tensor:
        return elementary.exp(y)


class Square(Curve):
    pieces: ClassVar[tuple[Piece, ...]] = (Piece(-INF, INF, 1, lambda a: a / 2),)
    turns: ClassVar[tuple[Turn, ...]] = (Turn(0.0, 0.0),)

    def value(self, *y: Tensor) -> Tensor:
        return y[0] * y[0]

    def slope(self, y: Tensor) -> Tensor:
        return 2 * y

    def bends(self, y: Tensor, middle: Tensor) -> Tensor:
        return torch.full_like(y, 2.0)


class _OfPositive(Curve):
    """A function of numbers above 0: elsewhere nothing is known of it."""

    def value(self, *y: Tensor) -> Tensor:
        return torch.where(y[0] > 0, self.above(y[0]), torch.nan)

    def above(self, y: Tensor) -> Tensor:
        raise NotImplementedError


class Reciprocal(_OfPositive):
    """1 / y."""

    pieces: ClassVar[tuple[Piece, ...]] = (Piece(0.0, INF, 1, lambda a: (-a) ** -0.5),)

    def above(self, y: Tensor) -> Tensor:
        return 1 / y

    def slope(self, y: Tensor) -> Tensor:
        return -1 / (y * y)

    def bends(self, y: Tensor, middle: Tensor) -> Tensor:
        return 2 / (y * y * y)


class Rsqrt(_OfPositive):
    """1 / sqrt(y)."""

    pieces: ClassVar[tuple[Piece, ...]] = (Piece(0.0, INF, 1, lambda a: (-2 * a) ** (-2 / 3)),)

    def above(self, y: Tensor) -> Tensor:
        return 1 / y.sqrt()

    def slope(self, y: Tensor) -> Tensor:
        return -0.5 / (y * y.sqrt())

    def bends(self, y: Tensor, middle: Tensor) -> Tensor:
        return 0.75 / (y * y * y.sqrt())
