"""Functions of one argument that are convex and concave by turns: values, derivatives, and where convexity changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from flint import arb

from .vectors import HALF, ONE, ZERO, Interval, largest

#: Halvings of the bracket of a stationary point.
HALVINGS = 100
#: More than f rises above its tangent where a piece is wider than f is concave: ends of pieces are known to 1e-40.
STRIP = arb("1e-70")
#: torch's constants of selu, as the float64 that they are.
SELU_SCALE, SELU_ALPHA = arb(1.0507009873554804934193349852946), arb(1.6732632423543772848170429916717)


@dataclass(frozen=True)
class Curve:
    """f, f' and f'': the last of a point, and of the middle of the cell that it is an end of, which says on which side of a kink it is.

    changes: where f'' changes its sign or jumps; bends: the sign of f'' from each to the next.

    turns: where f is stationary; crests: where f'' is. rises: whether f rises everywhere. least: below which f is not defined.
    """

    value: Callable[[arb], arb]
    slope: Callable[[arb], arb]
    second: Callable[[arb, arb], arb]
    bends: tuple[int, ...]
    changes: tuple[arb, ...] = ()
    turns: tuple[arb, ...] = ()
    crests: tuple[arb, ...] = ()
    least: arb | None = None

    def defined(self, lo: arb) -> bool:
        return self.least is None or bool(lo > self.least)

    def pieces(self, lo: arb, hi: arb) -> list[tuple[arb, arb, int]]:
        """What [lo, hi] has of every piece, with the sign of f'' there."""
        ends = [lo, *(x for x in self.changes), hi]
        found = []
        for k, bend in enumerate(self.bends):
            start = lo if k == 0 else ends[k].max(lo)
            end = hi if k == len(self.bends) - 1 else ends[k + 1].min(hi)
            if not start > end:
                found.append((start, end, bend))
        return found

    def within(self, points: tuple[arb, ...], lo: arb, hi: arb) -> list[arb]:
        """Those that may be in [lo, hi]."""
        return [x for x in points if not (x < lo or x > hi)]

    def range(self, lo: arb, hi: arb) -> Interval:
        if not self.defined(lo):
            return arb("-inf"), arb("inf")
        values = [self.value(x) for x in (lo, hi, *self.within(self.turns, lo, hi))]
        return -largest(-x for x in values), largest(values)

    def bend_range(self, lo: arb, hi: arb) -> Interval:
        """Of f'' on a cell inside one piece."""
        inside = (lo + hi) / 2
        values = [self.second(x, inside) for x in (lo, hi, *self.within(self.crests, lo, hi))]
        return -largest(-x for x in values), largest(values)

    def top(self, a: arb, lo: arb, hi: arb, sign: int) -> arb:
        """An upper bound of sign (f(y) - a y) on [lo, hi]: at an end, where pieces meet, or in a piece where sign f is concave."""
        if not self.defined(lo):
            return arb("inf")
        best = largest(sign * (self.value(y) - a * y) for y in (lo, hi, *self.within(self.changes, lo, hi)))
        for start, end, bend in self.pieces(lo, hi):
            if bend * sign < 0:
                best = best.max(self._inside(a, start, end, sign))
        return best

    def _inside(self, a: arb, start: arb, end: arb, sign: int) -> arb:
        """On a piece where sign f is concave: the bracket of the maximum halved, then the tangent at its middle."""
        for _ in range(HALVINGS):
            middle = arb(((start + end) / 2).mid())
            rise = sign * (self.slope(middle) - a)
            if not (start < middle < end):
                break
            if rise > 0:
                start = middle
            elif rise < 0:
                end = middle
            else:
                break
        middle = (start + end) / 2
        return sign * (self.value(middle) - a * middle) + abs(self.slope(middle) - a) * ((end - start) / 2).abs_upper() + STRIP


def sigmoid(v: arb) -> arb:
    return 1 / (1 + (-v).exp())


def density(y: arb) -> arb:
    return (-y * y / 2).exp() / (2 * arb.pi()).sqrt()


def normal(y: arb) -> arb:
    return (-y / arb(2).sqrt()).erfc() / 2


def elu(scale: arb, alpha: arb) -> Curve:
    """scale (y above 0, alpha (exp(y) - 1) below)."""

    def second(y: arb, inside: arb) -> arb:
        below = scale * alpha * y.min(ZERO).exp()
        return ZERO if inside > 0 else below if inside < 0 else ZERO.union(below)

    return Curve(
        lambda y: scale * (y.max(ZERO) + alpha * y.min(ZERO).expm1()),
        lambda y: scale * (ONE if y > 0 else alpha * y.min(ZERO).exp() if y <= 0 else ONE.union(alpha)),
        second,
        (1, 0),
        (ZERO,),
    )


def silu_bend(y: arb, inside: arb) -> arb:
    return sigmoid(y) * sigmoid(-y) * (2 - y * (y / 2).tanh())


def steps(at: arb, value: Callable[[arb], arb], slope: arb) -> Curve:
    """Linear between -at and at, constant elsewhere."""
    return Curve(value, lambda y: slope if abs(y) < at else ZERO if abs(y) > at else ZERO.union(slope), lambda y, inside: ZERO, (0, 0, 0), (-at, at))


def _ball(digits: str) -> arb:
    return arb(digits, "1e-40")


SILU, GELU = _ball("2.39935728051546766783273969728228388852291758"), arb(2).sqrt()
SILU_CREST = _ball("3.43584099353511068895164134385211678777314081")

CURVES: Mapping[str, Curve] = MappingProxyType(
    {
        "softplus": Curve(lambda y: y.exp().log1p(), sigmoid, lambda y, inside: sigmoid(y) * sigmoid(-y), (1,), crests=(ZERO,)),
        "elu": elu(ONE, ONE),
        "selu": elu(SELU_SCALE, SELU_ALPHA),
        "silu": Curve(
            lambda y: y * sigmoid(y),
            lambda y: sigmoid(y) * (1 + y * sigmoid(-y)),
            silu_bend,
            (-1, 1, -1),
            (-SILU, SILU),
            (_ball("-1.27846454276107379510935873902298015543947749"),),
            (-SILU_CREST, ZERO, SILU_CREST),
        ),
        "gelu": Curve(
            lambda y: y * normal(y),
            lambda y: normal(y) + y * density(y),
            lambda y, inside: density(y) * (2 - y * y),
            (-1, 1, -1),
            (-GELU, GELU),
            (_ball("-0.751791524693564457457904946779524039664471153"),),
            (arb(-2), ZERO, arb(2)),
        ),
        "hardtanh": steps(ONE, lambda y: y.max(-ONE).min(ONE), ONE),
        "hardsigmoid": steps(arb(3), lambda y: ((y + 3) / 6).max(ZERO).min(ONE), ONE / 6),
        "exp": Curve(lambda y: y.exp(), lambda y: y.exp(), lambda y, inside: y.exp(), (1,)),
        "square": Curve(lambda y: y * y, lambda y: 2 * y, lambda y, inside: arb(2), (1,), turns=(ZERO,)),
        "reciprocal": Curve(lambda y: 1 / y, lambda y: -1 / (y * y), lambda y, inside: 2 / (y * y * y), (1,), least=ZERO),
        "rsqrt": Curve(
            lambda y: y.rsqrt(), lambda y: -HALF * y.rsqrt() / y, lambda y, inside: 3 * HALF * HALF * y.rsqrt() / (y * y), (1,), least=ZERO
        ),
    }
)
