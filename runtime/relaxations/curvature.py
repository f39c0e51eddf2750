"""Second-order relaxations: a tangent plane, and how far the function can be from it as a quadratic form.

With d = y - centre, f(y) - f(centre) - grad . d is the integral over u in [0, 1] of (1 - u) d' Hess(centre + u d) d (Taylor). On the box shrunk by u
towards the centre every second derivative lies in an interval; averaging those intervals with the weight 2 (1 - u) bounds the remainder by
1/2 d' K d. That is about a third as wide around the Hessian at the centre as the range over the whole box (runtime/README.md, section 10).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vlang.runtime import rounding

Interval = tuple[Tensor, Tensor]
#: One tensor per argument of the nonlinearity, all of one shape.
Args = tuple[Tensor, ...]

#: Nested boxes over which second derivatives are averaged. More are tighter: the excess over the limit falls as 1 / LEVELS.
LEVELS = 32
#: Where |tanh''| and |sigmoid''| are largest, and an upper bound of their value there.
TANH_PEAK, TANH_TOP = 0.6584789484624084, 0.7698003589195011
SIGMOID_PEAK, SIGMOID_TOP = 1.3169578969248166, 0.0962250448649377


@dataclass(frozen=True)
class Parabola:
    """f(y) = slopes . y + offset + remainder, and 1/2 d' low d - slack <= remainder <= 1/2 d' high d + slack with d = y - centre.

    curvature: (low, high) of each entry of the symmetric form: f'' for one argument; f_vv, f_vz, f_zz for two. shape: each as the box.
    """

    slopes: Args
    offset: Tensor
    slack: Tensor
    curvature: tuple[Interval, ...]


def averaged(second: Callable[[Args, Args], tuple[Interval, ...]], centre: Args, lo: Args, hi: Args) -> tuple[Interval, ...]:
    """The intervals of `second` on the box shrunk towards `centre` (which is in the box), averaged with the weight of Taylor's remainder."""
    like = centre[0]
    shrink = torch.arange(1, LEVELS + 1, dtype=like.dtype, device=like.device).reshape(-1, *[1] * like.dim()) / LEVELS
    weight = ((2 * (1 - shrink) + 1 / LEVELS) / LEVELS).flatten()

    def towards(end: Args, sign: int) -> Args:
        moved = (c + shrink * (e - c) for c, e in zip(centre, end, strict=True))
        return tuple(m + sign * rounding.pad(c.abs() + e.abs(), 8) for m, c, e in zip(moved, centre, end, strict=True))

    def mean(levels: Tensor, sign: int) -> Tensor:
        size = torch.einsum("s...,s->...", levels.abs(), weight)
        return torch.einsum("s...,s->...", levels, weight) + sign * rounding.pad(size, 2 * LEVELS + 16)

    return tuple((mean(low, -1), mean(high, 1)) for low, high in second(towards(lo, -1), towards(hi, 1)))


def product(a: Interval, b: Interval) -> Interval:
    """The interval product, rounded outward."""
    ends = torch.stack([a[0] * b[0], a[0] * b[1], a[1] * b[0], a[1] * b[1]])
    low, high = ends.amin(0), ends.amax(0)
    return rounding.down(low, low.abs(), 4), rounding.up(high, high.abs(), 4)


def negated(a: Interval) -> Interval:
    return -a[1], -a[0]


def tanh(lo: Tensor, hi: Tensor) -> Interval:
    return _rising(torch.tanh, lo, hi)


def tanh_slope(lo: Tensor, hi: Tensor) -> Interval:
    return _bell(sech2, lo, hi)


def tanh_second(lo: Tensor, hi: Tensor) -> Interval:
    return _wave(lambda z: -2 * torch.tanh(z) * sech2(z), TANH_PEAK, TANH_TOP, lo, hi)


def sigmoid(lo: Tensor, hi: Tensor) -> Interval:
    return _rising(torch.sigmoid, lo, hi)


def sigmoid_slope(lo: Tensor, hi: Tensor) -> Interval:
    return _bell(sigmoid_derivative, lo, hi)


def sigmoid_second(lo: Tensor, hi: Tensor) -> Interval:
    return _wave(lambda v: -sigmoid_derivative(v) * torch.tanh(v / 2), SIGMOID_PEAK, SIGMOID_TOP, lo, hi)


def sech2(z: Tensor) -> Tensor:
    """tanh', accurate relative to its own size."""
    return torch.cosh(z.clamp(-300, 300)) ** -2


def sigmoid_derivative(v: Tensor) -> Tensor:
    return torch.sigmoid(v) * torch.sigmoid(-v)


def _rising(f: Callable[[Tensor], Tensor], lo: Tensor, hi: Tensor) -> Interval:
    """The range of an increasing function."""
    low, high = f(lo), f(hi)
    return rounding.down(low, low.abs()), rounding.up(high, high.abs())


def _bell(f: Callable[[Tensor], Tensor], lo: Tensor, hi: Tensor) -> Interval:
    """The range of an even function that falls away from 0."""
    low, high = f(torch.maximum(lo.abs(), hi.abs())), f(torch.where(lo > 0, lo, hi.clamp(max=0)))
    return rounding.down(low, low), rounding.up(high, high)


def _wave(f: Callable[[Tensor], Tensor], peak: float, top: float, lo: Tensor, hi: Tensor) -> Interval:
    """The range of an odd function with its maximum `top` at -peak, its minimum at peak, and no other stationary point."""
    at_lo, at_hi = f(lo), f(hi)
    low, high = torch.minimum(at_lo, at_hi), torch.maximum(at_lo, at_hi)
    low, high = rounding.down(low, low.abs()), rounding.up(high, high.abs())
    # `peak` is rounded: an end within its rounding misses the top by far less than the padding above.
    return torch.where((lo <= peak) & (hi >= peak), -top, low), torch.where((lo <= -peak) & (hi >= -peak), top, high)
