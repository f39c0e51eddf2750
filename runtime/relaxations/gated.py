"""Relaxations of the two gated products P(v,z) = sigma(v) z and Q(v,z) = sigma(v) tanh(z).

Both are odd in z, so only upper planes are derived. Offsets are exact for any slopes (runtime/README.md, section 2): the maximum of
f(v,z) - a v - b z over the box is at a corner, at a stationary point of an edge, or (Q only) at one interior point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vlang.runtime import elementary, rounding
from vlang.runtime.relaxations import curvature
from vlang.runtime.relaxations.base import Args, Nonlinearity, Rule
from vlang.runtime.relaxations.curvature import Interval
from vlang.runtime.relaxations.scalar import Sigmoid
from vlang.runtime.relaxations.stationary import inside, sigmoid_edge, sigmoid_tanh_interior, tanh_edge
from vlang.runtime.relaxations.supporting import supporting_plane

#: Passes of the exchange for a plane; the median gap at the centre is then within 0.1 % of the least possible (tested).
PLANE_PASSES = 4
#: Newton steps for the interior maximiser: while slopes are searched for, and for the offset that is returned.
ROUGH_STEPS, EXACT_STEPS = 2, 6


@dataclass(frozen=True, eq=False)
class Candidates:
    """Possible maximisers, stacked along the first axis: points, the factors of f there, whether in the box, and slack.

    slack: how far the true maximum may exceed the objective at the candidate (zero but for an interior root).
    """

    v: Tensor
    z: Tensor
    sigma: Tensor
    k: Tensor
    valid: Tensor
    slack: Tensor | float = 0.0

    def objective(self, a: Tensor, b: Tensor) -> Tensor:
        """f - a v - b z, minus infinity where the candidate is not in the box."""
        v, z, sigma, k = self.v, self.z, self.sigma, self.k
        if a.requires_grad or k.requires_grad:  # a gradient of 0 times what is not there is not a number
            v, z, sigma, k = (torch.where(self.valid, x, 0.0) for x in (v, z, sigma, k))
        return torch.where(self.valid, sigma * k - a * v - b * z, -torch.inf)


class _SigmoidTimes(Nonlinearity):
    """sigma(v) k(z) with k odd and increasing."""

    arity: ClassVar[int] = 2
    flips: ClassVar[tuple[bool, ...]] = (False, True)
    twist: ClassVar[float] = 0.25

    def factor(self, z: Tensor) -> Tensor:
        """k(z)."""
        raise NotImplementedError

    def factor_slope(self, z: Tensor) -> Tensor:
        """k'(z)."""
        raise NotImplementedError

    def factor_ranges(self, lo: Tensor, hi: Tensor) -> tuple[Interval, Interval]:
        """Intervals of k and k''."""
        raise NotImplementedError

    def value(self, *y: Tensor) -> Tensor:
        return elementary.sigmoid(y[0]) * self.factor(y[1])

    def gradient(self, *y: Tensor) -> Args:
        return curvature.sigmoid_derivative(y[0]) * self.factor(y[1]), elementary.sigmoid(y[0]) * self.factor_slope(y[1])

    def second(self, lo: Args, hi: Args) -> tuple[Interval, ...]:
        k, bend = self.factor_ranges(lo[1], hi[1])
        return curvature.product(curvature.sigmoid_second(lo[0], hi[0]), k), curvature.product(curvature.sigmoid(lo[0], hi[0]), bend)

    def range(self, lo: Args, hi: Args) -> tuple[Tensor, Tensor]:
        box = _Box.of(self, lo, hi)
        low = torch.where(box.k_lo >= 0, box.s_lo, box.s_hi) * box.k_lo
        high = torch.where(box.k_hi >= 0, box.s_hi, box.s_lo) * box.k_hi
        lost = rounding.tiny(low)  # torch's sigmoid is 0 where the true one is smaller than this
        return rounding.down(low, low.abs()) - lost * box.k_lo.abs(), rounding.up(high, high.abs()) + lost * box.k_hi.abs()

    def candidates(self, box: _Box, slopes: Args, steps: int) -> list[Candidates]:
        """Corners, and the stationary points of the two edges along v."""
        v, sigma = sigmoid_edge(box.k_ends, slopes[0])
        return [box.corners, Candidates(v, box.z_ends, sigma, box.k_ends, inside(v, box.v_lo, box.v_hi))]

    def upper_offset(self, lo: Args, hi: Args, slopes: Args) -> Tensor:
        box, (a, b) = _Box.of(self, lo, hi), slopes
        tops = [(c.objective(a, b) + c.slack).amax(0) for c in self.candidates(box, slopes, EXACT_STEPS)]
        size = (
            torch.maximum(box.k_lo.abs(), box.k_hi.abs())
            + a.abs() * torch.maximum(box.v_lo.abs(), box.v_hi.abs())
            + b.abs() * torch.maximum(box.z_lo.abs(), box.z_hi.abs())
        )
        return rounding.up(torch.stack(tops).amax(0), size)

    def upper_slopes(self, rule: Rule, lo: Args, hi: Args) -> Args:
        zero = torch.zeros_like(lo[0])
        if rule == "constant":
            return zero, zero
        if rule == "line":
            return self._line(lo, hi), zero
        box = _Box.of(self, lo, hi)

        v0, z0 = (lo[0] + hi[0]) / 2, (lo[1] + hi[1]) / 2
        s0 = elementary.sigmoid(v0)
        tangent = (s0 * (1 - s0) * self.factor(z0), s0 * self.factor_slope(z0))
        corners = box.corners.sigma * box.corners.k
        return supporting_plane(lo, hi, corners, lambda slopes: self._maximise(box, slopes), tangent, PLANE_PASSES)

    def _maximise(self, box: _Box, slopes: Args) -> tuple[Tensor, Args, Tensor]:
        """The maximum of f - slopes . y over the box, nearly; where it is, and f there."""
        found = self.candidates(box, slopes, ROUGH_STEPS)
        objective = torch.cat([c.objective(*slopes) for c in found])
        top, which = objective.max(0, keepdim=True)
        v, z, sigma, k = (torch.cat([getattr(c, name).expand_as(c.valid) for c in found]).gather(0, which)[0] for name in ("v", "z", "sigma", "k"))
        return top[0], (v, z), sigma * k

    def maximiser(self, lo: Args, hi: Args, slopes: Args) -> Args:
        return self._maximise(_Box.of(self, lo, hi), slopes)[1]

    def slope_range(self, lo: Args, hi: Args) -> Args:
        corners = _Box.of(self, lo, hi).corners
        by_v = corners.sigma * (1 - corners.sigma) * corners.k
        by_z = corners.sigma * self.factor_slope(corners.z)
        return by_v.amax(0) - by_v.amin(0), by_z.amax(0) - by_z.amin(0)

    def _line(self, lo: Args, hi: Args) -> Tensor:
        """Slope in v alone (POPQORN, appendix A.6): f <= k(uz) sigma(v), and sigma by its line on the side that k(uz)'s sign asks for."""
        k = self.factor(hi[1])
        sigmoid = Sigmoid()
        above = sigmoid.upper_slopes("plane", lo[:1], hi[:1])[0]
        below = sigmoid.upper_slopes("plane", (-hi[0],), (-lo[0],))[0]  # slope of the lower line, by symmetry
        return k * torch.where(k >= 0, above, below)


@dataclass(frozen=True, eq=False)
class _Box:
    """A box and the factors at its ends, computed once. *_ends: both ends, stacked."""

    v_lo: Tensor
    v_hi: Tensor
    z_lo: Tensor
    z_hi: Tensor
    s_lo: Tensor
    s_hi: Tensor
    k_lo: Tensor
    k_hi: Tensor
    v_ends: Tensor
    z_ends: Tensor
    s_ends: Tensor
    k_ends: Tensor
    corners: Candidates

    @classmethod
    def of(cls, f: _SigmoidTimes, lo: Args, hi: Args) -> _Box:
        v, z = torch.stack([lo[0], hi[0]]), torch.stack([lo[1], hi[1]])
        s, k = elementary.sigmoid(v), f.factor(z)
        every = torch.ones((4, *lo[0].shape), dtype=torch.bool, device=lo[0].device)
        corners = Candidates(_each(v, 1), _each(z, 0), _each(s, 1), _each(k, 0), every)
        return cls(lo[0], hi[0], lo[1], hi[1], s[0], s[1], k[0], k[1], v, z, s, k, corners)


def _each(ends: Tensor, axis: int) -> Tensor:
    """Of both ends of one argument, those at the four corners; the other argument's are along `axis`. shape: [2, ...] -> [4, ...]."""
    return ends.unsqueeze(axis).expand(2, 2, *ends.shape[1:]).flatten(0, 1)


class SigmoidMul(_SigmoidTimes):
    """P(v,z) = sigma(v) z: linear in z, so the maximum is on an edge z = lz or z = uz."""

    def factor(self, z: Tensor) -> Tensor:
        return z

    def factor_slope(self, z: Tensor) -> Tensor:
        return torch.ones_like(z)

    def factor_ranges(self, lo: Tensor, hi: Tensor) -> tuple[Interval, Interval]:
        zero = torch.zeros_like(lo)
        return (lo, hi), (zero, zero)


class SigmoidTanh(_SigmoidTimes):
    """Q(v,z) = sigma(v) tanh(z): edges in both directions and one interior candidate."""

    def factor(self, z: Tensor) -> Tensor:
        return elementary.tanh(z)

    def factor_slope(self, z: Tensor) -> Tensor:
        return curvature.sech2(z)

    def factor_ranges(self, lo: Tensor, hi: Tensor) -> tuple[Interval, Interval]:
        return curvature.tanh(lo, hi), curvature.tanh_second(lo, hi)

    def candidates(self, box: _Box, slopes: Args, steps: int) -> list[Candidates]:
        found = super().candidates(box, slopes, steps)
        z, tanh = tanh_edge(box.s_ends, slopes[1])
        found.append(Candidates(box.v_ends, z, box.s_ends, tanh, inside(z, box.z_lo, box.z_hi)))
        interior = self._interior(box, slopes[0], slopes[1], steps)
        return found if interior is None else [*found, interior]

    def _interior(self, box: _Box, a: Tensor, b: Tensor, steps: int) -> Candidates | None:
        """The interior maximiser; it needs a > 0, 0 < b < sigma(uv), uv > 0, uz > 0, so most boxes are spared the root finding."""
        possible = (a > 0) & (b > 0) & (b < box.s_hi) & (box.v_hi > 0) & (box.z_hi > 0)
        where = possible.nonzero(as_tuple=True)
        if where[0].numel() == 0:
            return None
        v, z, s, t, slack = sigmoid_tanh_interior(a[where], b[where], steps)
        valid = inside(v, box.v_lo[where], box.v_hi[where]) & inside(z, box.z_lo[where], box.z_hi[where])

        def spread(x: Tensor) -> Tensor:
            return torch.zeros_like(a).index_put(where, x)[None]

        mask = torch.zeros_like(possible).index_put(where, valid)[None]
        return Candidates(spread(v), spread(z), spread(s), spread(t), mask, spread(torch.where(valid, slack, 0.0)))
