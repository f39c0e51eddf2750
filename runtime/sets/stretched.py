"""Sets in units of their own: x + scale u, u in a ball. The network reads them through one more layer, of which u is the input that moves.

So nothing that bounds or attacks knows of it: the graph has the sample's frames, which rest, and as many for u, whose balls are plain ones at 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vlang.runtime import rounding
from vlang.runtime.graph.nodes import Graph, GraphBuilder


@dataclass(frozen=True, eq=False)
class Stretched:
    """shape: scale [m, n], each number at least what is asked for proofs, and at most for counterexamples."""

    scale: Tensor

    def graph(self, graph: Graph) -> Graph:
        """The same network on the sample's frames and, behind them, those of u; its own nodes follow, in order."""
        m, n = self.scale.shape
        build = GraphBuilder(self.scale.dtype, self.scale.device)
        frames = [build.input(k, n) for k in range(2 * m)]
        moved = [build.affine((x, None), (u, torch.diag(unit))) for x, u, unit in zip(frames[:m], frames[m:], self.scale, strict=True)]
        return build.before(moved, graph)

    def inputs(self, x: Tensor) -> Tensor:
        """With u = 0. shape: [B, m, n] -> [B, 2 m, n]."""
        return torch.cat([x, torch.zeros_like(x)], 1)

    def room(self, ends: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """How far u may go where x may go so far down and up, rounded up; what has no unit stays. shape: each [B, m, n] -> [B, 2 m, n]."""
        moves = self.scale > 0
        unit = torch.where(moves, self.scale, 1.0)
        found = [torch.where(moves, rounding.product_up(end / unit, 1 + rounding.LITTLE_ROOM), 0.0) for end in ends]
        down, up = (torch.cat([torch.zeros_like(end), end], 1) for end in found)
        return down, up

    def points(self, x: Tensor, delta: Tensor) -> Tensor:
        """Where u has moved. shape: x [B, m, n], delta [B, 2 m, n] -> [B, m, n]."""
        return x + self.scale * delta[:, x.shape[1] :]
