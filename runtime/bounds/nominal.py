"""The nominal trajectory: a graph on a batch of centres, and how well the values there are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from vlang.runtime import rounding
from vlang.runtime.graph.concrete import trajectory
from vlang.runtime.graph.nodes import Graph
from vlang.runtime.late import never


@dataclass(frozen=True, eq=False)
class Nominal:
    """A graph on a batch of centres, with the values of every node there. shape: inputs [B, m, n], values each [B, width].

    deployed: whether bounds are those of a float32 forward pass too, whatever its order of operations (runtime/README.md, section 9).
    blur: by node, how far values that do not move may be from the real ones, where intervals in float64 would be too wide. shape: as values.
    late: asked at every node that is bounded there; once it is true, LateError is raised.
    """

    graph: Graph
    inputs: Tensor
    values: tuple[Tensor, ...]
    deployed: bool = False
    blur: Mapping[int, Tensor] = field(default_factory=dict)
    late: Callable[[], bool] = never

    @classmethod
    def at(cls, graph: Graph, inputs: Tensor, deployed: bool = False, late: Callable[[], bool] = never) -> Nominal:
        with torch.no_grad():
            return cls(graph, inputs, tuple(trajectory(graph, inputs, block=1)), deployed, late=late)

    @property
    def logits(self) -> Tensor:
        return self.values[self.graph.output]

    def rows(self, index: Tensor) -> Nominal:
        blur = {i: b[index] for i, b in self.blur.items()}
        return Nominal(self.graph, self.inputs[index], tuple(v[index] for v in self.values), self.deployed, blur, self.late)

    def moved(self, offset: Tensor) -> Nominal:
        """At other inputs, the offset zero on frames that do not move. shape: offset [B, m, n].

        What does not move is computed again, in another batch, perhaps with other roundings: what is known of it is widened by the difference.
        """
        there = Nominal.at(self.graph, self.inputs + offset, self.deployed, self.late)
        blur = {i: rounding.up(b + (there.values[i] - self.values[i]).abs(), there.values[i].abs() + b, 8) for i, b in self.blur.items()}
        return replace(there, blur=blur)
