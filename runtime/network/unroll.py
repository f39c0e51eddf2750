"""A network with its weights, unrolled into a graph for a given number of frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vlang.runtime.graph.nodes import Graph, GraphBuilder, Ref
from vlang.runtime.network.cells import CELLS, CellWeights


@dataclass(frozen=True, eq=False)
class Linear:
    """shape: weight [out, in], bias [out]."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True, eq=False)
class Network:
    """A recurrent classifier.

    layers[l][d] are the weights of layer l, direction d (0 forward, 1 backward). initial[l][d] is the initial state, one tensor
    [s] per state of the cell. head: linear layers with `head_activations` between them and `readout_activation` before the first.
    readout: last, last_frame, mean or max over the frames of the top layer (`last` takes each direction's own final state, as torch's h_n does,
    `last_frame` what both say of the last frame). embedding: [tokens, n] or None.
    """

    cell: str
    layers: tuple[tuple[CellWeights, ...], ...]
    initial: tuple[tuple[tuple[Tensor, ...], ...], ...]
    head: tuple[Linear, ...]
    head_activations: tuple[str, ...]
    readout: str
    embedding: Tensor | None = None
    readout_activation: str = "none"

    @property
    def input_size(self) -> int:
        return self.layers[0][0].ih.shape[1]

    @property
    def classes(self) -> int:
        return self.head[-1].weight.shape[0]

    @property
    def dtype(self) -> torch.dtype:
        return self.layers[0][0].ih.dtype

    @property
    def device(self) -> torch.device:
        return self.layers[0][0].ih.device

    def parameters(self) -> Iterator[Tensor]:
        """Every number that the network is made of."""
        for direction in (w for layer in self.layers for w in layer):
            yield from (direction.ih, direction.hh, direction.bias_ih, direction.bias_hh)
        yield from (state for layer in self.initial for direction in layer for state in direction)
        yield from (x for linear in self.head for x in (linear.weight, linear.bias))

    def unroll(self, frames: int) -> Graph:
        """The graph of this network on sequences of so many frames."""
        graph = GraphBuilder(self.dtype, self.device)
        cell = CELLS[self.cell]
        sequence: list[tuple[Ref, ...]] = [(graph.input(t, self.input_size),) for t in range(frames)]
        final: list[Ref] = []
        for weights, initial in zip(self.layers, self.initial, strict=True):
            outputs: list[list[Ref]] = [[] for _ in range(frames)]
            final = []
            for direction, w in enumerate(weights):
                state = tuple(graph.constant(v) for v in initial[direction])
                order = range(frames) if direction == 0 else range(frames - 1, -1, -1)
                for t in order:
                    state = cell.step(graph, _join(graph, sequence[t]), state, w)
                    outputs[t].append(state[0])
                final.append(state[0])
            sequence = [tuple(o) for o in outputs]
        return graph.build(self._head(graph, self._read_out(graph, sequence, tuple(final))))

    def _read_out(self, graph: GraphBuilder, sequence: list[tuple[Ref, ...]], final: tuple[Ref, ...]) -> tuple[Ref, ...]:
        """What the head reads of the top layer, for each direction."""
        match self.readout:
            case "last":
                top = final
            case "last_frame":
                top = sequence[-1]
            case kind:
                top = tuple(_pool(graph, kind, o) for o in zip(*sequence, strict=True))
        return top if self.readout_activation == "none" else tuple(graph.apply(self.readout_activation, x) for x in top)

    def _head(self, graph: GraphBuilder, features: tuple[Ref, ...]) -> Ref:
        out = features
        for i, linear in enumerate(self.head):
            y = graph.affine(*_columns(out, linear.weight), bias=linear.bias)
            if i == len(self.head) - 1:
                return y
            activation = self.head_activations[i]
            out = (y if activation == "none" else graph.apply(activation, y),)
        raise ValueError("a network needs a head of at least one linear layer")


def _columns(refs: tuple[Ref, ...], weight: Tensor) -> list[tuple[Ref, Tensor | None]]:
    """The terms of weight @ concat(refs)."""
    terms: list[tuple[Ref, Tensor | None]] = []
    start = 0
    for ref in refs:
        terms.append((ref, weight[:, start : start + ref.width].contiguous()))
        start += ref.width
    return terms


def _join(graph: GraphBuilder, refs: tuple[Ref, ...]) -> Ref:
    """One reference for a concatenation (both directions of a lower layer)."""
    if len(refs) == 1:
        return refs[0]
    eye = torch.eye(sum(r.width for r in refs), dtype=graph.dtype, device=graph.device)
    return graph.affine(*_columns(refs, eye))


def _pool(graph: GraphBuilder, readout: str, refs: tuple[Ref, ...]) -> Ref:
    """Mean or elementwise maximum over frames. max(a, b) = a + relu(b - a), in a balanced tree."""
    if readout == "mean":
        return graph.mean(refs)
    eye = torch.eye(refs[0].width, dtype=graph.dtype, device=graph.device)
    while len(refs) > 1:
        pairs = [
            graph.affine((a, None), (graph.apply("relu", graph.affine((b, None), (a, -eye))), None))
            for a, b in zip(refs[0::2], refs[1::2], strict=False)
        ]
        refs = (*pairs, *refs[2 * len(pairs) :])
    return refs[0]
