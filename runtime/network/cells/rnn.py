"""nn.RNN: h' = act(W_ih x + b_ih + W_hh h + b_hh), act tanh or relu."""

from __future__ import annotations

from dataclasses import dataclass

from vlang.runtime.graph.nodes import GraphBuilder, Ref
from vlang.runtime.network.cells.base import CellWeights


@dataclass(frozen=True)
class Rnn:
    activation: str

    def step(self, graph: GraphBuilder, x: Ref, state: tuple[Ref, ...], weights: CellWeights) -> tuple[Ref, ...]:
        pre = graph.affine((x, weights.ih), (state[0], weights.hh), bias=weights.bias_ih + weights.bias_hh, size=weights.bias_size)
        return (graph.apply(self.activation, pre),)
