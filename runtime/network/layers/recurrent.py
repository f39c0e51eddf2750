"""A stack of recurrent layers of one cell, in one direction or two, as nn.RNN, nn.LSTM and nn.GRU hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vlang.plan import LayerPlan
from vlang.runtime.graph.nodes import GraphBuilder, Ref
from vlang.runtime.network.cells import CELLS, CellWeights
from vlang.runtime.network.layers.base import Get, Layer, Value, join, needed
from vlang.words.cells import CELLS as WORDS

#: Of one layer and direction: one tensor [s] per state of the cell.
States = tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class Recurrent(Layer):
    """stack[l][d], initial[l][d]: the weights and the initial states of layer l, direction d (0 forward, 1 backward).

    given: names of those states.
    """

    cell: str
    stack: tuple[tuple[CellWeights, ...], ...]
    initial: tuple[tuple[States, ...], ...]
    given: tuple[str, ...] = ()

    @classmethod
    def of(cls, plan: LayerPlan, get: Get) -> Recurrent:
        layers, directions, given = (plan.setting(k) for k in ("layers", "directions", "initial"))

        def cell(layer: int, reverse: int) -> CellWeights:
            end = f"_l{layer}" + "_reverse" * reverse
            ih, hh = needed(get, f"weight_ih{end}"), needed(get, f"weight_hh{end}")
            biases = [get(f"bias_{part}{end}") for part in ("ih", "hh")]
            more = {role: needed(get, role + end) for role, _ in WORDS[plan.word].more}
            projection = needed(get, f"{WORDS[plan.word].projection}{end}") if plan.projected else None
            bias_ih, bias_hh = (ih.new_zeros(ih.shape[0]) if b is None else b for b in biases)
            return CellWeights(ih, hh, bias_ih, bias_hh, more, projection)

        stack = tuple(tuple(cell(layer, d) for d in range(directions)) for layer in range(layers))
        like, rows, widths = stack[0][0].hh, layers * directions, plan.state_widths
        start = [needed(get, name).reshape(rows, width) for name, width in zip(given, widths, strict=False)]
        start = start or [like.new_zeros(rows, width) for width in widths]
        initial = tuple(tuple(tuple(s[layer * directions + d] for s in start) for d in range(directions)) for layer in range(layers))
        return cls(plan.word, stack, initial, given)

    def append(self, graph: GraphBuilder, *read: Value) -> Value:
        cell, sequence = CELLS[self.cell], read[0].frames
        for weights, initial in zip(self.stack, self.initial, strict=True):
            outputs: list[list[Ref]] = [[] for _ in sequence]
            for direction, w in enumerate(weights):
                state = tuple(graph.constant(v) for v in initial[direction])
                for t in range(len(sequence))[:: -1 if direction else 1]:
                    state = cell.step(graph, join(graph, sequence[t]), state, w)
                    outputs[t].append(state[0])
            sequence = tuple(map(tuple, outputs))
        return Value(sequence, directions=len(self.stack[0]))

    def tensors(self) -> Mapping[str, Tensor]:
        parts = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        weights = {
            f"{part}_l{layer}{'_reverse' * d}": x
            for layer, ways in enumerate(self.stack)
            for d, w in enumerate(ways)
            for part, x in (*zip(parts, (w.ih, w.hh, w.bias_ih, w.bias_hh), strict=True), *w.more.items(), *self._projection(w))
        }
        every = [direction for layer in self.initial for direction in layer]
        return weights | {name: torch.stack([s[k] for s in every]) for k, name in enumerate(self.given)}

    def _projection(self, w: CellWeights) -> list[tuple[str, Tensor]]:
        role = WORDS[self.cell].projection
        return [] if role is None or w.projection is None else [(role, w.projection)]
