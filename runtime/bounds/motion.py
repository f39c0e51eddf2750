"""Which nodes of a graph move with the perturbation, row by row of a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vlang.runtime.graph.nodes import Graph


@dataclass(frozen=True, eq=False)
class Moving:
    """live: of every node, whether it moves in any row. some: of those that move in some rows only, in which. shape: each [B]."""

    live: tuple[bool, ...]
    some: dict[int, Tensor]

    @classmethod
    def of(cls, graph: Graph, moved: Tensor) -> Moving:
        """moved: which frames move. shape: [B, m]."""
        patterns, which = torch.unique(moved, dim=0, return_inverse=True)
        reached = [graph.reached_from(frozenset(p.nonzero().flatten().tolist())) for p in patterns]
        live = tuple(map(any, zip(*reached, strict=True)))
        some = {}
        for i, hits in enumerate(zip(*reached, strict=True)):
            if any(hits) and not all(hits):
                some[i] = torch.tensor(hits, device=moved.device)[which]
        return cls(live, some)

    def in_row(self, node: int, row: int) -> bool:
        """Whether a node moves in a row of the batch."""
        return self.live[node] and (node not in self.some or bool(self.some[node][row]))
