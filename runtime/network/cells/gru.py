"""nn.GRU (reset gate inside): n = tanh(W_in x + b_in + r (W_hn h + b_hn)), h' = (1 - z) n + z h; gates stacked r, z, n."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vlang.runtime.graph.nodes import GraphBuilder, Ref
from vlang.runtime.network.cells.base import CellWeights


@dataclass(frozen=True)
class Gru:
    def step(self, graph: GraphBuilder, x: Ref, state: tuple[Ref, ...], weights: CellWeights) -> tuple[Ref, ...]:
        (h,) = state
        s = weights.hidden
        # One affine node for r, z and the recurrent part of n; the latter does not see x, and b_in joins outside the gate.
        ih = torch.cat([weights.ih[: 2 * s], torch.zeros_like(weights.ih[2 * s :])])
        bias = weights.bias_hh + torch.cat([weights.bias_ih[: 2 * s], torch.zeros_like(weights.bias_ih[2 * s :])])
        reset, update, recurrent = graph.affine((x, ih), (h, weights.hh), bias=bias, size=weights.bias_size).split(3)
        gated = graph.apply("sigmoid_mul", reset, recurrent)
        new = graph.affine((x, weights.ih[2 * s :]), (gated, None), bias=weights.bias_ih[2 * s :])
        keep = graph.apply("sigmoid_mul", update, h)
        # torch adds n + z (h - n), and n is at most its pre-activation.
        return (graph.affine((graph.apply("cosigmoid_tanh", update, new), None), (keep, None), beside=(new, new, h)),)
