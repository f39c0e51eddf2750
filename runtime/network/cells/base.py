"""What a cell is: its gate equations, written once, as nodes of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from vlang.runtime.graph.nodes import GraphBuilder, Ref


@dataclass(frozen=True, eq=False)
class CellWeights:
    """One layer, one direction, in torch.nn's layout. shape: ih [gates s, n], hh [gates s, s], biases [gates s].

    more: what else a cell has, by role.
    """

    ih: Tensor
    hh: Tensor
    bias_ih: Tensor
    bias_hh: Tensor
    more: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def hidden(self) -> int:
        return self.hh.shape[1]

    @property
    def bias_size(self) -> Tensor:
        """shape: [gates s]."""
        return self.bias_ih.abs() + self.bias_hh.abs()


class Cell(Protocol):
    """A recurrent cell. The first element of its state is the output h. Its layout is in vlang/words/cells.py."""

    def step(self, graph: GraphBuilder, x: Ref, state: tuple[Ref, ...], weights: CellWeights) -> tuple[Ref, ...]:
        """One frame: appends the cell's nodes and returns the new state."""
        ...
