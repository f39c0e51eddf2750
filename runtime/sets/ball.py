"""Perturbation sets as support functions: the largest value of coefficient . delta over the set.

The set: every perturbed frame k moves by delta_k with ||delta_k||_p <= radius_k (radius_k = weight_k eps), at most `at_most` frames at
once, and x + delta inside a box where a clip is given (runtime/README.md, section 8).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor

from vlang.runtime import rounding


@dataclass(frozen=True, eq=False)
class Ball:
    """A batch of perturbation sets.

    shape: radii [B, m] (0 where a frame is fixed). norm: p, exact, or None for infinity. at_most: None for all frames.
    clip: with a valid range, how far each coordinate may go down and up, both >= 0. shape: [B, m, n] each.
    """

    radii: Tensor
    norm: Fraction | None
    at_most: int | None = None
    clip: tuple[Tensor, Tensor] | None = None

    @property
    def moved(self) -> Tensor:
        """Which frames move, row by row. shape: [B, m]."""
        return self.radii > 0

    @property
    def frames(self) -> frozenset[int]:
        """The frames that are perturbed anywhere in the batch."""
        return frozenset(torch.nonzero((self.radii > 0).any(0)).flatten().tolist())

    @property
    def dual(self) -> float:
        """q with 1/p + 1/q = 1, rounded down (a smaller q gives a larger norm)."""
        if self.norm is None:
            return 1.0
        if self.norm == 1:
            return math.inf
        return rounding.exponent_down(float(self.norm / (self.norm - 1)))

    def scaled(self, eps: Tensor | float) -> Ball:
        """The sets with every radius times eps, rounded up. shape: eps [B, 1] or a number."""
        return replace(self, radii=torch.where((self.radii > 0) & (torch.as_tensor(eps) != 0), rounding.product_up(self.radii, eps), 0.0))

    @property
    def lopsided(self) -> bool:
        """Whether they are boxes of which a clip may cut off more on one side: all of them may be seen from their middles."""
        return self.norm is None and self.clip is not None and self.at_most is None

    def centred(self, x: Tensor) -> tuple[Ball, Tensor]:
        """Boxes seen from their middles, and what those are from x. They are clipped evenly there, by what x + middle loses in rounding, too.

        shape: x, middle [B, m, n].
        """
        assert self.clip is not None
        down, up = (torch.minimum(end, self.radii[..., None]) for end in self.clip)
        middle = (up - down) / 2
        lost = 2 * rounding.gamma(1, x.dtype) * (x + middle).abs() * (self.radii > 0)[..., None]
        half = rounding.enlarged(torch.maximum(down + middle, up - middle), rounding.LITTLE_ROOM) + lost
        return replace(self, radii=torch.maximum(self.radii, half.amax(-1)), clip=(half, half)), middle

    def rows(self, index: Tensor) -> Ball:
        """The sets of some rows of the batch."""
        clip = None if self.clip is None else (self.clip[0][index], self.clip[1][index])
        return replace(self, radii=self.radii[index], clip=clip)

    def gain(self, frame: int, coefficient: Tensor) -> Tensor:
        """max of coefficient . delta_frame, rounded up. shape: [B or 1, R, n] -> [B, R]."""
        radius = self.radii[:, frame, None]
        n = coefficient.shape[-1]
        plain = rounding.up(radius * p_norm(coefficient, self.dual), 0 * radius) * (1 + rounding.gamma(n + 64, coefficient.dtype))
        if self.clip is None:
            return plain
        if self.norm is None:
            boxed = self._boxed_gain(frame, coefficient)
            return torch.where(boxed < plain, boxed, plain)
        down, up = (r[:, frame, None, :] for r in self.clip)
        bound = torch.minimum(torch.where(coefficient > 0, up, down), radius[..., None])
        size = coefficient.abs().expand_as(bound)
        clipped = self._clipped_gain(size, bound, radius)
        clipped = rounding.up(clipped, 0 * clipped) * (1 + rounding.gamma(2 * n + 64, coefficient.dtype))
        return torch.where(clipped < plain, clipped, plain)  # not minimum: a NaN must not win

    def total(self, gains: list[Tensor]) -> Tensor:
        """Sum over frames, or of the `at_most` largest. shape: m' x [B, R] -> [B, R]."""
        if not gains:
            return torch.zeros((), dtype=self.radii.dtype, device=self.radii.device)
        if self.at_most is not None and self.at_most < len(gains):
            gains = list(torch.stack(gains).topk(self.at_most, 0).values)
        total = functools.reduce(torch.add, gains)  # one after the other: torch.sum's order depends on the batch
        return total * (1 + rounding.gamma(self.radii.shape[1] + 8, total.dtype))  # of all frames, not of those that others move

    def support(self, coefficients: Mapping[int, Tensor]) -> Tensor:
        """The largest value of sum_k coefficient_k . delta_k, rounded up. shape: each [B or 1, R, n] -> [B, R]."""
        return self.total([self.gain(frame, a) for frame, a in coefficients.items()])

    def lifted(self, coefficients: Mapping[int, Tensor]) -> tuple[Tensor, Tensor | None]:
        """The support, and multipliers that prove it (none are needed: see `Piece.lifted`)."""
        return self.support(coefficients), None

    def unlifted(self, coefficients: Mapping[int, Tensor]) -> Tensor:
        """The support without multipliers: the same (see `Piece.unlifted`)."""
        return self.support(coefficients)

    def reach(self, frame: int) -> Tensor:
        """A bound on every |coordinate| of delta_frame. shape: [B, 1]."""
        return self.radii[:, frame, None]

    def _boxed_gain(self, frame: int, coefficient: Tensor) -> Tensor:
        """The same for a box, rounded up: middle . a + half . |a|, two products instead of a choice for every coefficient."""
        assert self.clip is not None
        down, up = (torch.minimum(end[:, frame], self.radii[:, frame, None]) for end in self.clip)
        ends, n = ((up - down) / 2, (up + down) / 2), coefficient.shape[-1]
        middle, half = (
            torch.bmm(end[:, None], a.mT.expand(len(end), -1, -1))[:, 0] for end, a in zip(ends, (coefficient, coefficient.abs()), strict=True)
        )
        # What is lost of the first is little beside the second, which is no smaller.
        return rounding.up(middle + half, half, 2 * n + 64)

    def _clipped_gain(self, size: Tensor, bound: Tensor, radius: Tensor) -> Tensor:
        """max of size . d over 0 <= d <= bound <= radius, ||d||_p <= radius (signs absorbed).

        For every split size = b + c it is at most radius ||b||_q + bound . c; b = min(size, lam (bound / radius)^(p-1)) is the optimal
        family (its stationary point is the maximiser), so any lam >= 0 is sound.
        """
        share = bound / radius[..., None].clamp(min=rounding.tiny(size))
        weight = (bound > 0).to(size) if self.norm == 1 else share ** (float(self.norm or 1) - 1)
        # Detached: at the best lam the bound's derivative by it vanishes, and its own would not be a number where a size is 0.
        b = torch.minimum(size, self._multiplier(size.detach(), share, weight) * weight)
        split = radius * p_norm(b, self.dual) + ((size - b) * bound).sum(-1)
        box = (size * bound).sum(-1)
        return torch.where(split < box, split, box)

    def _multiplier(self, size: Tensor, share: Tensor, weight: Tensor) -> Tensor:
        """The best lam of `_clipped_gain`, up to rounding. shape: [B, R, n] -> [B, R, 1].

        Coordinates leave their bounds as lam passes size / weight. With those that are still at theirs, the others share what is left of the norm,
        which fixes lam: it is right where the next coordinate is not at its bound.
        """
        p, tiny = float(self.norm or 1), rounding.tiny(size)
        turn, order = torch.where(weight > 0, size / weight.clamp(min=tiny), torch.inf).sort(-1, descending=True)
        powers = share.gather(-1, order) ** p
        capped = powers.cumsum(-1)
        if p == 1:  # the others have nothing
            right, lams = capped >= 1, turn
        else:
            # In logarithms: for p near 1 and infinity powers leave the range of numbers.
            free = (size.gather(-1, order).log() * (p / (p - 1))).flip(-1).logcumsumexp(-1).flip(-1)
            lams = ((free - (1 - capped + powers).clamp(min=tiny).log()) * (1 - 1 / p)).exp()
            right = lams >= turn
        lam = lams.gather(-1, right.to(torch.int8).argmax(-1, keepdim=True))
        return torch.where(right.any(-1, keepdim=True), lam, 0.0).nan_to_num(0.0, 0.0, 0.0)


def p_norm(x: Tensor, q: float) -> Tensor:
    """The q-norm over the last axis, without underflow to zero."""
    scale = x.abs().amax(-1, keepdim=True)
    if q == math.inf:
        return scale[..., 0]
    if q == 1.0:
        return x.abs().sum(-1)
    if q == 2.0:
        norm: Tensor = torch.linalg.vector_norm(x, dim=-1)
        return norm + rounding.vanished(x.shape[-1])
    unit: Tensor = torch.linalg.vector_norm(x / torch.where(scale > 0, scale, torch.ones_like(scale)), ord=q, dim=-1)
    return scale[..., 0] * unit
