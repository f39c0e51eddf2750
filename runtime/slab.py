"""A ball cut by two parallel hyperplanes: the part of a perturbation set where low <= g . delta <= high.

For every multiplier lam, A . delta = (A - lam g) . delta + lam (g . delta) <= h(A - lam g) + max(lam low, lam high), h the ball's own support
function: any lam is sound, and the best one makes it the exact support function of the slab (runtime/README.md, section 4). It is
convex in lam; for p = 2 it needs three inner products per frame, for other norms a few golden-section steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor

from vlang.runtime import rounding
from vlang.runtime.ball import UNDERFLOW, Ball

BISECTIONS = 30
GOLDEN_STEPS = 12
GOLDEN = 0.6180339887498949


@dataclass(frozen=True, eq=False)
class Slab:
    """shape: direction [B, m, n]; low, high [B], in the units of direction . delta."""

    ball: Ball
    direction: Tensor
    low: Tensor
    high: Tensor

    @property
    def frames(self) -> frozenset[int]:
        return self.ball.frames

    def reach(self, frame: int) -> Tensor:
        return self.ball.reach(frame)

    def support(self, coefficients: Mapping[int, Tensor]) -> Tensor:
        """The largest value of sum_k coefficient_k . delta_k on the slab, rounded up. shape: each [B or 1, R, n] -> [B, R]."""
        plain = self.ball.support(coefficients)
        if not coefficients:
            return plain
        euclidean = self.ball.norm == Fraction(2) and self.ball.room is None and self.ball.at_most is None
        tight = self._euclidean(coefficients) if euclidean else self._golden(coefficients, plain)
        return torch.where(tight < plain, tight, plain)

    def _edge(self, lam: Tensor) -> Tensor:
        """max(lam low, lam high), rounded up."""
        edge = torch.maximum(lam * self.low[:, None], lam * self.high[:, None])
        return rounding.up(edge, edge.abs(), 4)

    def _euclidean(self, coefficients: Mapping[int, Tensor]) -> Tensor:
        """p = 2: sum_k r_k sqrt(|A_k|^2 - 2 lam A_k.g_k + lam^2 |g_k|^2) + edge(lam), minimised by bisection on its derivative."""
        frames = sorted(self.frames)
        g = self.direction
        gg = torch.stack([(g[:, k] ** 2).sum(-1) for k in frames], -1)[:, None]  # [B, 1, m']
        radii = self.ball.radii[:, None, frames]
        zero = torch.zeros((), dtype=g.dtype, device=g.device)
        squares, products = [], []
        shape = (g.shape[0], next(iter(coefficients.values())).shape[1])
        for k in frames:
            a = coefficients.get(k)
            squares.append(zero.expand(shape) if a is None else (a * a).sum(-1).expand(shape))
            products.append(zero.expand(shape) if a is None else (a @ g[:, k, :, None])[..., 0].expand(shape))
        aa, ag = torch.stack(squares, -1), torch.stack(products, -1)  # [B, R, m']
        # The derivative at lam: sum r (lam gg - ag) / |A - lam g| + (high if lam > 0 else low), increasing.
        tiny = torch.finfo(g.dtype).tiny

        def slope(lam: Tensor) -> Tensor:
            x = lam[..., None]
            norm = (aa - 2 * x * ag + x * x * gg).clamp(min=tiny).sqrt()
            pull = (radii * (x * gg - ag) / norm).sum(-1)
            return pull + torch.where(lam > 0, self.high[:, None], self.low[:, None])

        size = (aa.sum(-1) / gg.sum(-1).clamp(min=tiny)).sqrt()
        left, right = -64 * size, 64 * size
        for _ in range(BISECTIONS):
            middle = (left + right) / 2
            rising = slope(middle) > 0
            left, right = torch.where(rising, left, middle), torch.where(rising, middle, right)
        return torch.minimum(self._value(left, aa, ag, gg, radii), self._value(right, aa, ag, gg, radii))

    def _value(self, lam: Tensor, aa: Tensor, ag: Tensor, gg: Tensor, radii: Tensor) -> Tensor:
        x, n = lam[..., None], self.direction.shape[-1]
        square = (aa - 2 * x * ag + x * x * gg).clamp(min=0)
        pad = (aa + x * x * gg) * (4 * rounding.gamma(n + 16, aa.dtype)) + n * UNDERFLOW**2  # |2 x ag| <= aa + x^2 gg
        total = (radii * (square + pad).sqrt()).sum(-1) * (1 + rounding.gamma(radii.shape[-1] + 16, aa.dtype))
        return rounding.up(total + self._edge(lam), total, 4)

    def _golden(self, coefficients: Mapping[int, Tensor], plain: Tensor) -> Tensor:
        """Any norm: golden section on lam, around 0."""
        frames = sorted(self.frames)
        unit = {k: self.direction[:, k, None] for k in frames}
        bare = replace(self.ball, room=None)  # norms, which a clipped support function is not
        support = bare.support(unit).clamp(min=torch.finfo(plain.dtype).tiny)  # [B, 1]
        size = bare.support(coefficients)
        limit = 4 * size / support

        def value(lam: Tensor) -> Tensor:
            shifted = {k: coefficients.get(k, torch.zeros_like(unit[k])) - lam[..., None] * unit[k] for k in frames}
            # The subtraction rounds: at most u (|A| + |lam g|) a coordinate.
            loss = rounding.gamma(8, plain.dtype) * (size + lam.abs() * support)
            return self.ball.support(shifted) + self._edge(lam) + loss

        left, right = -limit, limit
        a, b = right - GOLDEN * (right - left), left + GOLDEN * (right - left)
        f_a, f_b = value(a), value(b)
        best = torch.minimum(f_a, f_b)
        for _ in range(GOLDEN_STEPS):
            lower = f_a < f_b
            left, right = torch.where(lower, left, a), torch.where(lower, b, right)
            new = torch.where(lower, right - GOLDEN * (right - left), left + GOLDEN * (right - left))
            f_new = value(new)
            a, b = torch.where(lower, new, b), torch.where(lower, a, new)
            f_a, f_b = torch.where(lower, f_new, f_b), torch.where(lower, f_a, f_new)
            best = torch.minimum(best, f_new)
        return best
