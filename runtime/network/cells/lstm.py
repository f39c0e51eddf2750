"""nn.LSTM: c' = sigma(f) c + sigma(i) tanh(g), h' = sigma(o) tanh(c'), projected where it has proj_size; gates stacked i, f, g, o."""

from __future__ import annotations

from dataclasses import dataclass

from vlang.runtime.graph.nodes import GraphBuilder, Ref
from vlang.runtime.network.cells.base import CellWeights


@dataclass(frozen=True)
class Lstm:
    def step(self, graph: GraphBuilder, x: Ref, state: tuple[Ref, ...], weights: CellWeights) -> tuple[Ref, ...]:
        h, c = state
        pre = graph.affine((x, weights.ih), (h, weights.hh), bias=weights.bias_ih + weights.bias_hh, size=weights.bias_size)
        i, f, g, o = pre.split(4)
        cell = graph.affine((graph.apply("sigmoid_mul", f, c), None), (graph.apply("sigmoid_tanh", i, g), None))
        output = graph.apply("sigmoid_tanh", o, cell)
        return output if weights.projection is None else graph.affine((output, weights.projection)), cell
