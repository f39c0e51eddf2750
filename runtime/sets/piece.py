"""A piece of a ball: the part of a perturbation set between pairs of parallel hyperplanes, low_k <= g_k . delta <= high_k.

For every multiplier lam, A . delta = (A - lam g) . delta + lam (g . delta) <= h(A - lam g) + max(lam low, lam high), h the ball's own support
function: any lam is sound, and the best one makes it the exact support function between one pair (runtime/README.md, section 4). It is convex in
lam; for p = 2 it needs three inner products per frame, for other norms a few golden-section steps. Several pairs take their turns.

A piece is seen from a point in its middle: supports are those of delta - offset, for a nominal trajectory that starts there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor

from vlang.runtime import rounding
from vlang.runtime.sets.ball import Ball, p_norm

BISECTIONS = 30
GOLDEN_STEPS = 12
GOLDEN = 0.6180339887498949


@dataclass(frozen=True, eq=False)
class Piece:
    """shape: directions [B, K, m, n]; low, high [B, K], in the units of direction . delta; offset [B, m, n], known to a few ulps."""

    ball: Ball
    directions: Tensor
    low: Tensor
    high: Tensor
    offset: Tensor

    @classmethod
    def between(cls, ball: Ball, directions: Tensor, low: Tensor, high: Tensor) -> Piece:
        """With the offset in the middle of the piece: the point nearest to the ball's centre, put into the ball."""
        if ball.norm == Fraction(1):  # next to a vertex of the ball everything else is farther away
            return cls(ball, directions, low, high, torch.zeros_like(directions[:, 0]))
        normals = (directions * (ball.radii > 0)[:, None, :, None]).flatten(2)
        offset = (torch.linalg.pinv(normals) @ (low + high)[..., None]).reshape(directions[:, 0].shape) / 2
        radii = ball.radii[:, :, None]
        if ball.norm is None:
            return cls(ball, directions, low, high, torch.minimum(torch.maximum(offset, -radii), radii))
        size = p_norm(offset, float(ball.norm))[..., None]
        return cls(ball, directions, low, high, offset * (radii / size.clamp(min=rounding.tiny(size))).clamp(max=1))

    @property
    def moved(self) -> Tensor:
        return self.ball.moved

    @property
    def frames(self) -> frozenset[int]:
        return self.ball.frames

    def reach(self, frame: int) -> Tensor:
        """A bound on every |coordinate| of delta_frame - offset_frame. shape: [B, 1]."""
        return self.ball.reach(frame) + self.offset[:, frame].abs().amax(-1, keepdim=True)

    def support(self, coefficients: Mapping[int, Tensor]) -> Tensor:
        """The largest value of sum_k coefficient_k . (delta_k - offset_k) on the piece, rounded up. shape: each [B or 1, R, n] -> [B, R]."""
        return self.lifted(coefficients)[0]

    def lifted(self, coefficients: Mapping[int, Tensor]) -> tuple[Tensor, Tensor | None]:
        """The support, and the multiplier of every pair of hyperplanes that proves it. shape: [B, R], [B, R, K]."""
        best = self.ball.support(coefficients)
        if not coefficients:
            return best, None
        lifts = []
        euclidean = self.ball.norm == Fraction(2) and self.ball.clip is None and self.ball.at_most is None
        left, edges = dict(coefficients), torch.zeros_like(best)
        for direction, low, high in zip(self.directions.unbind(1), self.low.unbind(1), self.high.unbind(1), strict=True):
            unit = {k: direction[:, k, None] for k in sorted(self.frames)}
            slab = _Slab(self.ball, unit, low[:, None], high[:, None])
            lam = slab.euclidean(left) if euclidean else slab.golden(left)
            shifted = slab.shifted(left, lam)
            edge = edges + slab.edge(shifted, lam)
            value = self.ball.support(shifted) + edge
            lower = value < best
            best, edges = torch.where(lower, value, best), torch.where(lower, edge, edges)
            lifts.append(torch.where(lower, lam, 0.0))
            left = {k: torch.where(lower[..., None], a, left.get(k, torch.zeros_like(a))) for k, a in shifted.items()}
        return self._from_offset(best, coefficients), torch.stack(lifts, -1)

    def unlifted(self, coefficients: Mapping[int, Tensor]) -> Tensor:
        """The same on the whole ball, as if there were no hyperplanes."""
        return self._from_offset(self.ball.support(coefficients), coefficients)

    def _from_offset(self, support: Tensor, coefficients: Mapping[int, Tensor]) -> Tensor:
        for k, a in coefficients.items():
            here = self.offset[:, k, :, None]
            support = support - (a @ here)[..., 0] + 2 * (a.abs() @ here.abs())[..., 0] * rounding.gamma(a.shape[-1] + 16, a.dtype)
        return support


@dataclass(frozen=True, eq=False)
class _Slab:
    """One pair of hyperplanes. shape: unit, its direction, per frame [B, 1, n]; low, high [B, 1]."""

    ball: Ball
    unit: Mapping[int, Tensor]
    low: Tensor
    high: Tensor

    def shifted(self, coefficients: Mapping[int, Tensor], lam: Tensor) -> dict[int, Tensor]:
        """shape: lam [B, R]."""
        return {k: (coefficients[k] if k in coefficients else torch.zeros_like(g)) - lam[..., None] * g for k, g in self.unit.items()}

    def edge(self, shifted: Mapping[int, Tensor], lam: Tensor) -> Tensor:
        """max(lam low, lam high), and what the subtraction has lost: at most 2 u (|A - lam g| + |lam g|) a coordinate; rounded up."""
        edge = torch.maximum(lam * self.low, lam * self.high)
        bare = replace(self.ball, clip=None)  # norms, which a clipped support function is not
        loss = rounding.gamma(8, lam.dtype) * (bare.support(shifted) + lam.abs() * bare.support(self.unit))
        return rounding.up(edge, edge.abs(), 4) + loss

    def euclidean(self, coefficients: Mapping[int, Tensor]) -> Tensor:
        """p = 2: the lam that minimises sum_k r_k sqrt(|A_k|^2 - 2 lam A_k.g_k + lam^2 |g_k|^2) + edge(lam), by bisection on its derivative."""
        frames = list(self.unit)
        gg = torch.stack([(g**2).sum(-1) for g in self.unit.values()], -1)  # [B, 1, m']
        radii = self.ball.radii[:, None, frames]
        zero = torch.zeros((), dtype=gg.dtype, device=gg.device)
        squares, products = [], []
        shape = (gg.shape[0], next(iter(coefficients.values())).shape[1])
        for k, g in self.unit.items():
            a = coefficients.get(k)
            squares.append(zero.expand(shape) if a is None else (a * a).sum(-1).expand(shape))
            products.append(zero.expand(shape) if a is None else (a @ g.mT)[..., 0].expand(shape))
        aa, ag = torch.stack(squares, -1), torch.stack(products, -1)  # [B, R, m']
        tiny = rounding.tiny(gg)

        def slope(lam: Tensor) -> Tensor:
            x = lam[..., None]
            norm = (aa - 2 * x * ag + x * x * gg).clamp(min=tiny).sqrt()
            pull = (radii * (x * gg - ag) / norm).sum(-1)
            return pull + torch.where(lam > 0, self.high, self.low)

        size = (aa.sum(-1) / gg.sum(-1).clamp(min=tiny)).sqrt()
        left, right = -64 * size, 64 * size
        for _ in range(BISECTIONS):
            middle = (left + right) / 2
            rising = slope(middle) > 0
            left, right = torch.where(rising, left, middle), torch.where(rising, middle, right)
        return (left + right) / 2

    def golden(self, coefficients: Mapping[int, Tensor]) -> Tensor:
        """Any norm: golden section on lam, around 0."""
        bare = replace(self.ball, clip=None)
        limit = 4 * bare.support(coefficients) / bare.support(self.unit)  # which is never 0

        def value(lam: Tensor) -> Tensor:
            return self.ball.support(self.shifted(coefficients, lam)) + torch.maximum(lam * self.low, lam * self.high)

        left, right = -limit, limit
        a, b = right - GOLDEN * (right - left), left + GOLDEN * (right - left)
        f_a, f_b = value(a), value(b)
        for _ in range(GOLDEN_STEPS):
            lower = f_a < f_b
            left, right = torch.where(lower, left, a), torch.where(lower, b, right)
            new = torch.where(lower, right - GOLDEN * (right - left), left + GOLDEN * (right - left))
            f_new = value(new)
            a, b = torch.where(lower, new, b), torch.where(lower, a, new)
            f_a, f_b = torch.where(lower, f_new, f_b), torch.where(lower, f_a, f_new)
        return torch.where(f_a < f_b, a, b)
