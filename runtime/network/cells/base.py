"""What a cell is: its gate equations, written once, as nodes of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from vlang.runtime.graph.nodes import GraphBuilder, Ref


@dataclass(frozen=True, eq=False)
class CellWeights:
    """One layer, one direction, in torch.nn's layout. shape: ih [gates s, n], hh [gates s, p], biases [gates s].

    more: what else a cell has, by role. projection: of s numbers to the p that the cell gives, [p, s]; None where they are the same.
    """

    ih: Tensor
    hh: Tensor
    bias_ih: Tensor
    bias_hh: Tensor
    more: Mapping[str, Tensor] = field(default_factory=dict)
    projection: Tensor | None = None

    @property
    def outputs(self) -> int:
        """Numbers that it gives."""
        return self.hh.shape[1]

    @property
    def hidden(self) -> int:
        """Units."""
        return self.outputs if self.projection is None else self.projection.shape[1]

    @property
    def recurrent(self) -> Tensor:
        """What the units before the projection are multiplied by. shape: [gates s, s]."""
        return self.hh if self.projection is None else self.hh @ self.projection

    @property
    def bias_size(self) -> Tensor:
        """shape: [gates s]."""
        return self.bias_ih.abs() + self.bias_hh.abs()


class Cell(Protocol):
    """A recurrent cell. The first element of its state is the output h. Its layout is in vlang/words/cells.py."""

    def step(self, graph: GraphBuilder, x: Ref, state: tuple[Ref, ...], weights: CellWeights) -> tuple[Ref, ...]:
        """One frame: appends the cell's nodes and returns the new state."""
        ...
