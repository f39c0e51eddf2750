"""A network with its weights, unrolled into a graph for a given number of frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vlang.runtime.graph.nodes import Graph, GraphBuilder
from vlang.runtime.network.layers import Layer, Recurrent, Value, join

CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Network:
    """layers, and of which earlier ones each reads (-1: the input's frames); the last one's value is the output, one frame of `classes` numbers.

    input_size: numbers of a frame; 0 where they are `flattened` in all frames. embedding: [tokens, n] or None.
    """

    layers: tuple[Layer, ...]
    of: tuple[tuple[int, ...], ...]
    input_size: int
    classes: int
    flattened: int = 0
    embedding: Tensor | None = None
    dtype: torch.dtype = torch.float64
    device: torch.device = CPU

    @property
    def recurrent(self) -> tuple[Recurrent, ...]:
        return tuple(x for x in self.layers if isinstance(x, Recurrent))

    def parameters(self) -> Iterator[Tensor]:
        """Every number that the network is made of."""
        for layer in self.layers:
            yield from layer.tensors().values()

    def unroll(self, frames: int, upto: Layer | None = None) -> Graph:
        """The graph of this network on sequences of so many frames; its last node, an affine map, is the output.

        upto: of what this layer reads, all of its frames side by side.
        """
        graph = GraphBuilder(self.dtype, self.device)
        width = self.input_size or self.flattened // frames
        start = Value(tuple((graph.input(t, width),) for t in range(frames)))
        given: list[Value] = []
        for layer, of in zip(self.layers, self.of, strict=True):
            read = [start if k < 0 else given[k] for k in of]
            if layer is upto:
                return graph.build(join(graph, [ref for parts in read[0].frames for ref in parts]))
            given.append(layer.append(graph, *read))
        (parts,) = given[-1].frames
        output = join(graph, parts)
        if not graph.ends_with(output):
            output = graph.affine((output, None))
        return graph.build(output)
