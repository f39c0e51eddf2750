"""The GRU of Cho et al. 2014, whose reset gate is applied before the product with the recurrent matrix: n = tanh(W x + b + R (sigma(r) h)).

ONNX's linear_before_reset = 0, Keras' reset_after = False; torch.nn.GRU is the other one. Gates stacked r, z, n as torch's.
"""

from __future__ import annotations

from dataclasses import dataclass

from vlang.runtime.graph.nodes import GraphBuilder, Ref
from vlang.runtime.network.cells.base import CellWeights


@dataclass(frozen=True)
class GruBefore:
    def step(self, graph: GraphBuilder, x: Ref, state: tuple[Ref, ...], weights: CellWeights) -> tuple[Ref, ...]:
        (h,) = state
        s, bias = weights.hidden, weights.bias_ih + weights.bias_hh
        gates = graph.affine((x, weights.ih[: 2 * s]), (h, weights.hh[: 2 * s]), bias=bias[: 2 * s], size=weights.bias_size[: 2 * s])
        reset, update = gates.split(2)
        gated = graph.apply("sigmoid_mul", reset, h)
        new = graph.affine((x, weights.ih[2 * s :]), (gated, weights.hh[2 * s :]), bias=bias[2 * s :], size=weights.bias_size[2 * s :])
        keep = graph.apply("sigmoid_mul", update, h)
        return (graph.affine((graph.apply("cosigmoid_tanh", update, new), None), (keep, None), beside=(new, new, h)),)
