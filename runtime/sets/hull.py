"""Finite sets: every frame stays or moves by one of a few steps, and so many may move at once. What is linear is largest at one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vlang.runtime import rounding


@dataclass(frozen=True, eq=False)
class Hull:
    """A batch of them. steps: from where the frames are, each known to an ulp of what it is the difference of, at most `size`; zeros fill them up.

    shape: steps [B, m, C, n]; size [B, m, n]; at_most [B].
    """

    steps: Tensor
    size: Tensor
    at_most: Tensor

    @property
    def moved(self) -> Tensor:
        return (self.steps != 0).flatten(2).any(-1)

    def reach(self, frame: int) -> Tensor:
        """A bound on every |coordinate|. shape: [B, 1]."""
        most = self.steps[:, frame].abs().amax((1, 2)) + self.size[:, frame].amax(-1) * rounding.gamma(2, self.steps.dtype)
        return most[:, None] * (1 + rounding.LITTLE_ROOM)

    def support(self, coefficients: Mapping[int, Tensor]) -> Tensor:
        """The largest value of sum_k coefficient_k . (what frame k moves by), rounded up. shape: each [B or 1, R, n] -> [B, R]."""
        if not coefficients:
            return torch.zeros((), dtype=self.steps.dtype, device=self.steps.device)
        gains = torch.stack([self._gain(k, a) for k, a in coefficients.items()], -1).sort(-1, descending=True).values
        counted = torch.arange(gains.shape[-1], device=gains.device) < self.at_most[:, None]
        total = torch.where(counted[:, None], gains, 0.0).sum(-1)
        return total * (1 + rounding.gamma(gains.shape[-1] + 8, gains.dtype))

    def _gain(self, frame: int, a: Tensor) -> Tensor:
        steps, n = self.steps[:, frame], a.shape[-1]
        gain = (a @ steps.mT).amax(-1).clamp(min=0)  # it may stay
        lost = (a.abs() @ (steps.abs().amax(1) + self.size[:, frame])[..., None])[..., 0]
        return rounding.up(gain, lost, n + 8)

    def lifted(self, coefficients: Mapping[int, Tensor]) -> tuple[Tensor, Tensor | None]:
        """The support, and multipliers that prove it: none are needed."""
        return self.support(coefficients), None

    def unlifted(self, coefficients: Mapping[int, Tensor]) -> Tensor:
        """The support."""
        return self.support(coefficients)
