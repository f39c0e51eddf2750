"""Samples in memory, and what the network says of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vlang.plan import DatasetInput, Variant
from vlang.runtime.graph.concrete import logits
from vlang.runtime.graph.nodes import Graph
from vlang.runtime.network import load
from vlang.runtime.network.reading import as_saved
from vlang.runtime.network.reference import compare
from vlang.runtime.network.unroll import Network

#: Samples whose logits are computed at once.
AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs and what the network says of them. shape: inputs [S, m, n], logits [S, classes]."""

    network: Network
    graph: Graph
    inputs: Tensor
    logits: Tensor
    labels: load.Labels | None
    numbers: tuple[int, ...]

    @classmethod
    def load(cls, variant: Variant, network: Network) -> Samples:
        """Of a variant's input in its network. Raises DataError, also where outputs are not those of a reference."""
        plan, read = variant.input, variant.network
        classes = 0 if variant.steps is None else variant.steps.outputs
        inputs, labels, numbers = load.samples(plan, network, read.labels, classes)
        graph = network.unroll(inputs.shape[1])
        values = torch.cat([logits(graph, part) for part in torch.split(inputs, AT_ONCE)])
        of, own = (plan.of, plan.reference) if isinstance(plan, DatasetInput) else (len(numbers), None)
        for reference in (x for x in (read.reference, own) if x is not None and read.normalize is None):
            compare(reference, as_saved(values, read.architecture), numbers, of)
        return cls(network, graph, inputs, values, labels, numbers)
