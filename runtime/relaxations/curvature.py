"""Ranges of factors and of their second derivatives over intervals, rounded outward."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vlang.runtime import elementary, rounding

Interval = tuple[Tensor, Tensor]
#: One tensor per argument of the nonlinearity, all of one shape.
Args = tuple[Tensor, ...]

#: Where |tanh''| and |sigmoid''| are largest, and an upper bound of their value there.
TANH_PEAK, TANH_TOP = 0.6584789484624084, 0.7698003589195011
SIGMOID_PEAK, SIGMOID_TOP = 1.3169578969248166, 0.0962250448649377


def product(a: Interval, b: Interval) -> Interval:
    """The interval product, rounded outward."""
    ends = torch.stack([a[0] * b[0], a[0] * b[1], a[1] * b[0], a[1] * b[1]])
    low, high = ends.amin(0), ends.amax(0)
    return rounding.down(low, low.abs(), 4), rounding.up(high, high.abs(), 4)


def tanh(lo: Tensor, hi: Tensor) -> Interval:
    return _rising(elementary.tanh, lo, hi)


def tanh_second(lo: Tensor, hi: Tensor) -> Interval:
    return _wave(lambda z: -2 * elementary.tanh(z) * sech2(z), TANH_PEAK, TANH_TOP, lo, hi)


def sigmoid(lo: Tensor, hi: Tensor) -> Interval:
    return _rising(elementary.sigmoid, lo, hi)


def sigmoid_second(lo: Tensor, hi: Tensor) -> Interval:
    return _wave(lambda v: -sigmoid_derivative(v) * elementary.tanh(v / 2), SIGMOID_PEAK, SIGMOID_TOP, lo, hi)


def sech2(z: Tensor) -> Tensor:
    """tanh', accurate relative to its own size."""
    return elementary.cosh(z.clamp(-300, 300)) ** -2


def sigmoid_derivative(v: Tensor) -> Tensor:
    return elementary.sigmoid(v) * elementary.sigmoid(-v)


def _rising(f: Callable[[Tensor], Tensor], lo: Tensor, hi: Tensor) -> Interval:
    """The range of an increasing function."""
    low, high = f(lo), f(hi)
    return rounding.down(low, low.abs()), rounding.up(high, high.abs())


def _wave(f: Callable[[Tensor], Tensor], peak: float, top: float, lo: Tensor, hi: Tensor) -> Interval:
    """The range of an odd function with its maximum `top` at -peak, its minimum at peak, and no other stationary point."""
    at_lo, at_hi = f(lo), f(hi)
    low, high = torch.minimum(at_lo, at_hi), torch.maximum(at_lo, at_hi)
    low, high = rounding.down(low, low.abs()), rounding.up(high, high.abs())
    # `peak` is rounded: an end within its rounding misses the top by far less than the padding above.
    return torch.where((lo <= peak) & (hi >= peak), -top, low), torch.where((lo <= -peak) & (hi >= -peak), top, high)
