"""What bounds ask of a perturbation set: its support function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor


class Region(Protocol):
    """A batch of perturbation sets, seen from a nominal point. Coefficients are on frames, by frame. shape: each [B or 1, R, n]."""

    @property
    def moved(self) -> Tensor:
        """Which frames move, row by row. shape: [B, m]."""
        ...

    def reach(self, frame: int) -> Tensor:
        """A bound on every |coordinate| of what the frame moves by. shape: [B, 1]."""
        ...

    def support(self, coefficients: Mapping[int, Tensor]) -> Tensor:
        """The largest value of sum_k coefficient_k . (what frame k moves by), rounded up. shape: -> [B, R]."""
        ...

    def lifted(self, coefficients: Mapping[int, Tensor]) -> tuple[Tensor, Tensor | None]:
        """The support, and multipliers of a piece's hyperplanes that prove it; None where none are needed. shape: [B, R], [B, R, K]."""
        ...

    def unlifted(self, coefficients: Mapping[int, Tensor]) -> Tensor:
        """An upper bound of the support that needs no multipliers. shape: -> [B, R]."""
        ...
