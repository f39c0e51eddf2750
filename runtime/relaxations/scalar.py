"""Relaxations of tanh, sigmoid and relu alone: exact offset for any slope (runtime/README.md, section 2)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from vlang.runtime import elementary, rounding
from vlang.runtime.relaxations import curvature
from vlang.runtime.relaxations.base import Args, Nonlinearity, Rule
from vlang.runtime.relaxations.curvature import Interval
from vlang.runtime.relaxations.plain import Plain
from vlang.runtime.relaxations.stationary import inside, sigmoid_edge, tanh_edge
from vlang.runtime.relaxations.supporting import supporting_line

#: Passes of the exchange for a line; the gap at the centre is then within 1e-3 of the least possible (tested).
LINE_PASSES = 6


class _Sigmoidal(Nonlinearity):
    """Convex below zero, concave above."""

    arity: ClassVar[int] = 1
    flips: ClassVar[tuple[bool, ...]] = (True,)

    def _stationary(self, slope: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def range(self, lo: Args, hi: Args) -> tuple[Tensor, Tensor]:
        low, high = self.value(lo[0]), self.value(hi[0])
        return rounding.down(low, low.abs()), rounding.up(high, high.abs())

    def upper_offset(self, lo: Args, hi: Args, slopes: Args) -> Tensor:
        (low,), (high,), (a,) = lo, hi, slopes
        f_low, f_high = self.value(low), self.value(high)
        y, f = self._stationary(a)
        best = torch.maximum(f_low - a * low, f_high - a * high)
        best = torch.where(inside(y, low, high), torch.maximum(best, f - a * y), best)
        return rounding.up(best, torch.maximum(f_low.abs(), f_high.abs()) + a.abs() * torch.maximum(low.abs(), high.abs()))

    def upper_slopes(self, rule: Rule, lo: Args, hi: Args) -> Args:
        (low,), (high,) = lo, hi
        if rule == "constant":
            return (torch.zeros_like(low),)
        f_low, f_high = self.value(low), self.value(high)
        tangent = self.gradient((low + high) / 2)[0]
        return supporting_line(low, high, f_low, f_high, lambda slopes: self._maximise(low, high, f_low, f_high, slopes[0]), tangent, LINE_PASSES)

    def _maximise(self, low: Tensor, high: Tensor, f_low: Tensor, f_high: Tensor, a: Tensor) -> tuple[Tensor, Args, Tensor]:
        """The maximum of f(y) - a y, where it is, and f there."""
        at_low, at_high = f_low - a * low, f_high - a * high
        right = at_high > at_low
        top, y, f = torch.maximum(at_low, at_high), torch.where(right, high, low), torch.where(right, f_high, f_low)
        y_s, f_s = self._stationary(a)
        top_s = f_s - a * y_s
        take = inside(y_s, low, high) & (top_s > top)
        return torch.where(take, top_s, top), (torch.where(take, y_s, y),), torch.where(take, f_s, f)

    def maximiser(self, lo: Args, hi: Args, slopes: Args) -> Args:
        return self._maximise(lo[0], hi[0], self.value(lo[0]), self.value(hi[0]), slopes[0])[1]

    def slope_range(self, lo: Args, hi: Args) -> Args:
        ends = torch.stack([self.gradient(y)[0] for y in (lo[0], hi[0], (lo[0] + hi[0]) / 2)])
        return (ends.amax(0) - ends.amin(0),)


class Tanh(_Sigmoidal):
    """tanh(y) = -tanh(-y)."""

    def value(self, *y: Tensor) -> Tensor:
        return elementary.tanh(y[0])

    def gradient(self, *y: Tensor) -> Args:
        return (curvature.sech2(y[0]),)

    def second(self, lo: Args, hi: Args) -> tuple[Interval, ...]:
        return (curvature.tanh_second(lo[0], hi[0]),)

    def _stationary(self, slope: Tensor) -> tuple[Tensor, Tensor]:
        return tanh_edge(torch.ones_like(slope), slope)


class Sigmoid(_Sigmoidal):
    """sigma(y) = 1 - sigma(-y)."""

    kappa: ClassVar[float] = 1.0

    def value(self, *y: Tensor) -> Tensor:
        return elementary.sigmoid(y[0])

    def gradient(self, *y: Tensor) -> Args:
        return (curvature.sigmoid_derivative(y[0]),)

    def second(self, lo: Args, hi: Args) -> tuple[Interval, ...]:
        return (curvature.sigmoid_second(lo[0], hi[0]),)

    def _stationary(self, slope: Tensor) -> tuple[Tensor, Tensor]:
        return sigmoid_edge(torch.ones_like(slope), slope)


class Relu(Plain):
    """max(y, 0): the chord above; below, the steeper or the flatter tangent at the kink, whichever is higher at the centre."""

    kinks: ClassVar[tuple[float, ...]] = (0.0,)

    def value(self, *y: Tensor) -> Tensor:
        return y[0].clamp(min=0)

    def range(self, lo: Args, hi: Args) -> tuple[Tensor, Tensor]:
        return lo[0].clamp(min=0), hi[0].clamp(min=0)

    def upper_offset(self, lo: Args, hi: Args, slopes: Args) -> Tensor:
        (low,), (high,), (a,) = lo, hi, slopes  # relu(y) - a y is convex: its maximum is at an end
        ends = torch.maximum(low.clamp(min=0) - a * low, high.clamp(min=0) - a * high)
        return rounding.up(ends, (1 + a.abs()) * torch.maximum(low.abs(), high.abs()), 2)

    def lower_offset(self, lo: Args, hi: Args, slopes: Args) -> Tensor:
        (low,), (high,), (a,) = lo, hi, slopes
        ends = torch.minimum(low.clamp(min=0) - a * low, high.clamp(min=0) - a * high)
        least = torch.where((low <= 0) & (high >= 0), ends.clamp(max=0), ends)
        return rounding.down(least, (1 + a.abs()) * torch.maximum(low.abs(), high.abs()), 2)

    def upper_slopes(self, rule: Rule, lo: Args, hi: Args) -> Args:
        """shape: lo, hi as `both` gives them, [2, ...]; slopes of the upper and of the lower line."""
        low, high = lo[0][0], hi[0][0]
        if rule == "constant":
            return (torch.zeros_like(lo[0]),)
        width = high - low
        chord = (high.clamp(min=0) - low.clamp(min=0)) / torch.where(width > 0, width, torch.ones_like(width))
        return (torch.stack([torch.where(width > 0, chord, (high > 0).to(high)), (low + high > 0).to(low)]),)

    def maximiser(self, lo: Args, hi: Args, slopes: Args) -> Args:
        right = hi[0].clamp(min=0) - slopes[0] * hi[0] > lo[0].clamp(min=0) - slopes[0] * lo[0]
        return (torch.where(right, hi[0], lo[0]),)

    def slope_range(self, lo: Args, hi: Args) -> Args:
        return (((lo[0] < 0) & (hi[0] > 0)).to(lo[0]),)

    def gradient(self, *y: Tensor) -> Args:
        return ((y[0] > 0).to(y[0]),)

    def bend(self, lo: Tensor, hi: Tensor) -> Interval:
        zero = torch.zeros_like(lo)
        return zero, zero
