"""The LSTM with peepholes (Gers and Schmidhuber 2000; ONNX's input P): i and f see the old cell state, o the new one, unit by unit.

Gates stacked i, f, g, o as torch's; `peephole` [3 s] stacks the weights of i, f and o.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vlang.runtime.graph.nodes import GraphBuilder, Ref
from vlang.runtime.network.cells.base import CellWeights


@dataclass(frozen=True)
class LstmPeephole:
    def step(self, graph: GraphBuilder, x: Ref, state: tuple[Ref, ...], weights: CellWeights) -> tuple[Ref, ...]:
        h, c = state
        s, bias = weights.hidden, weights.bias_ih + weights.bias_hh
        by_i, by_f, by_o = map(torch.diag, torch.split(weights.more["peephole"], s))
        old = torch.cat([by_i, by_f, torch.zeros_like(by_o)])
        pre = graph.affine((x, weights.ih[: 3 * s]), (h, weights.hh[: 3 * s]), (c, old), bias=bias[: 3 * s], size=weights.bias_size[: 3 * s])
        i, f, g = pre.split(3)
        cell = graph.affine((graph.apply("sigmoid_mul", f, c), None), (graph.apply("sigmoid_tanh", i, g), None))
        o = graph.affine((x, weights.ih[3 * s :]), (h, weights.hh[3 * s :]), (cell, by_o), bias=bias[3 * s :], size=weights.bias_size[3 * s :])
        return graph.apply("sigmoid_tanh", o, cell), cell
