"""Relaxations of the two gated products P(v,z) = sigma(v) z and Q(v,z) = sigma(v) tanh(z).

Both are odd in z, so only upper planes are derived. Offsets are exact for any slopes (shared/MATH.md, section 2): the maximum of
f(v,z) - a v - b z over the box is at a corner, at a stationary point of an edge, or (Q only) at one interior point.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from vlang.runtime import rounding
from vlang.runtime.relaxations.base import Args, Nonlinearity, Rule
from vlang.runtime.relaxations.scalar import Sigmoid
from vlang.runtime.relaxations.stationary import inside, sigmoid_edge, sigmoid_tanh_interior, tanh_edge
from vlang.runtime.relaxations.supporting import supporting_plane

#: Passes of the exchange for a plane (median gap within 0.1 % of the least possible; see tests/runtime/test_slopes.py).
PLANE_PASSES = 6

#: A candidate maximiser: v, z, f there, whether it is in the box, and how far the true maximum may exceed it.
Candidate = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


class _SigmoidTimes(Nonlinearity):
    """sigma(v) k(z) with k odd and increasing."""

    arity: ClassVar[int] = 2
    flips: ClassVar[tuple[bool, ...]] = (False, True)

    def factor(self, z: Tensor) -> Tensor:
        """k(z)."""
        raise NotImplementedError

    def factor_slope(self, z: Tensor) -> Tensor:
        """k'(z)."""
        raise NotImplementedError

    def stationary(self, lo: Args, hi: Args, ends: _Ends, slopes: Args) -> Iterator[Candidate]:
        """The candidates that are no corners."""
        a = slopes[0]
        for z, k in ((lo[1], ends.k_lo), (hi[1], ends.k_hi)):
            v, s = sigmoid_edge(k, a)
            yield v, z, k * s, inside(v, lo[0], hi[0]), torch.zeros_like(a)

    def value(self, *y: Tensor) -> Tensor:
        return torch.sigmoid(y[0]) * self.factor(y[1])

    def range(self, lo: Args, hi: Args) -> tuple[Tensor, Tensor]:
        ends = _Ends(self, lo, hi)
        low = torch.where(ends.k_lo >= 0, ends.s_lo, ends.s_hi) * ends.k_lo
        high = torch.where(ends.k_hi >= 0, ends.s_hi, ends.s_lo) * ends.k_hi
        return rounding.down(low, low.abs()), rounding.up(high, high.abs())

    def upper_offset(self, lo: Args, hi: Args, slopes: Args) -> Tensor:
        ends = _Ends(self, lo, hi)
        a, b = slopes
        best = ends.best_corner(lo, hi, slopes)[0]
        for v, z, f, valid, slack in self.stationary(lo, hi, ends, slopes):
            best = torch.where(valid, torch.maximum(best, f - a * v - b * z + slack), best)
        size = (
            torch.maximum(ends.k_lo.abs(), ends.k_hi.abs())
            + a.abs() * torch.maximum(lo[0].abs(), hi[0].abs())
            + b.abs() * torch.maximum(lo[1].abs(), hi[1].abs())
        )
        return rounding.up(best, size)

    def upper_slopes(self, rule: Rule, lo: Args, hi: Args) -> Args:
        zero = torch.zeros_like(lo[0])
        if rule == "constant":
            return zero, zero
        if rule == "line":
            return self._line(lo, hi), zero
        ends = _Ends(self, lo, hi)

        def maximise(slopes: Args) -> tuple[Tensor, Args, Tensor]:
            a, b = slopes
            top, (v, z), f = ends.best_corner(lo, hi, slopes)
            for v_s, z_s, f_s, valid, _ in self.stationary(lo, hi, ends, slopes):
                top_s = f_s - a * v_s - b * z_s
                take = valid & (top_s > top)
                top, v, z, f = (torch.where(take, n, o) for n, o in ((top_s, top), (v_s, v), (z_s, z), (f_s, f)))
            return top, (v, z), f

        v0, z0 = (lo[0] + hi[0]) / 2, (lo[1] + hi[1]) / 2
        s0 = torch.sigmoid(v0)
        tangent = (s0 * torch.sigmoid(-v0) * self.factor(z0), s0 * self.factor_slope(z0))
        return supporting_plane(lo, hi, ends.corners, maximise, tangent, PLANE_PASSES)

    def _line(self, lo: Args, hi: Args) -> Tensor:
        """Slope in v alone (POPQORN, appendix A.6): f <= k(uz) sigma(v), and sigma by its line on the side that k(uz)'s sign asks for."""
        k = self.factor(hi[1])
        sigmoid = Sigmoid()
        above = sigmoid.upper_slopes("plane", lo[:1], hi[:1])[0]
        below = sigmoid.upper_slopes("plane", (-hi[0],), (-lo[0],))[0]  # slope of the lower line, by symmetry
        return k * torch.where(k >= 0, above, below)


class _Ends:
    """The factors at the ends of the box, computed once per box."""

    def __init__(self, f: _SigmoidTimes, lo: Args, hi: Args) -> None:
        self.s_lo, self.s_hi = torch.sigmoid(lo[0]), torch.sigmoid(hi[0])
        self.k_lo, self.k_hi = f.factor(lo[1]), f.factor(hi[1])
        self.corners = (self.s_lo * self.k_lo, self.s_lo * self.k_hi, self.s_hi * self.k_lo, self.s_hi * self.k_hi)

    def best_corner(self, lo: Args, hi: Args, slopes: Args) -> tuple[Tensor, Args, Tensor]:
        a, b = slopes
        av = (a * lo[0], a * hi[0])
        bz = (b * lo[1], b * hi[1])
        tops = torch.stack([self.corners[2 * i + j] - av[i] - bz[j] for i in (0, 1) for j in (0, 1)])
        top, which = tops.max(0)
        v = torch.where(which >= 2, hi[0], lo[0])
        z = torch.where(which % 2 == 1, hi[1], lo[1])
        f = torch.where(which >= 2, self.s_hi, self.s_lo) * torch.where(which % 2 == 1, self.k_hi, self.k_lo)
        return top, (v, z), f


class SigmoidMul(_SigmoidTimes):
    """P(v,z) = sigma(v) z: linear in z, so the maximum is on an edge z = lz or z = uz."""

    def factor(self, z: Tensor) -> Tensor:
        return z

    def factor_slope(self, z: Tensor) -> Tensor:
        return torch.ones_like(z)


class SigmoidTanh(_SigmoidTimes):
    """Q(v,z) = sigma(v) tanh(z): edges in both directions and one interior candidate."""

    def factor(self, z: Tensor) -> Tensor:
        return torch.tanh(z)

    def factor_slope(self, z: Tensor) -> Tensor:
        return torch.cosh(z.clamp(-300, 300)) ** -2

    def stationary(self, lo: Args, hi: Args, ends: _Ends, slopes: Args) -> Iterator[Candidate]:
        yield from super().stationary(lo, hi, ends, slopes)
        a, b = slopes
        for v, s in ((lo[0], ends.s_lo), (hi[0], ends.s_hi)):
            z, t = tanh_edge(s, b)
            yield v, z, s * t, inside(z, lo[1], hi[1]), torch.zeros_like(a)
        v, z, s, t, slack = sigmoid_tanh_interior(a, b)
        yield v, z, s * t, inside(v, lo[0], hi[0]) & inside(z, lo[1], hi[1]), slack
