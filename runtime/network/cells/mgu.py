"""The minimal gated unit (Zhou et al. 2016): f = sigma(W_f x + U_f h + b_f), n = tanh(W_n x + U_n (f h) + b_n), h' = (1 - f) h + f n; rows f, n."""

from __future__ import annotations

from dataclasses import dataclass

from vlang.runtime.graph.nodes import GraphBuilder, Ref
from vlang.runtime.network.cells.base import CellWeights


@dataclass(frozen=True)
class Mgu:
    def step(self, graph: GraphBuilder, x: Ref, state: tuple[Ref, ...], weights: CellWeights) -> tuple[Ref, ...]:
        (h,) = state
        s, bias = weights.hidden, weights.bias_ih + weights.bias_hh
        forget = graph.affine((x, weights.ih[:s]), (h, weights.hh[:s]), bias=bias[:s], size=weights.bias_size[:s])
        kept = graph.apply("sigmoid_mul", forget, h)
        new = graph.affine((x, weights.ih[s:]), (kept, weights.hh[s:]), bias=bias[s:], size=weights.bias_size[s:])
        minus = -weights.hh.new_ones(s).diag()
        return (graph.affine((h, None), (kept, minus), (graph.apply("sigmoid_tanh", forget, new), None)),)
