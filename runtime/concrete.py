"""The concrete interpreter: the network's value on given inputs, differentiable."""

from __future__ import annotations

from torch import Tensor

from vlang.runtime.graph import Affine, Constant, Graph, Input, Nonlinear, Ref
from vlang.runtime.relaxations import RELAXATIONS


def trajectory(graph: Graph, inputs: Tensor) -> list[Tensor]:
    """Every node's value. shape: inputs [B, m, n] -> each [B, width]."""
    values: list[Tensor] = []

    def read(ref: Ref) -> Tensor:
        return values[ref.node][:, ref.start : ref.stop]

    for node in graph.nodes:
        match node:
            case Input(frame=frame):
                values.append(inputs[:, frame])
            case Constant(value=value):
                values.append(value.expand(inputs.shape[0], -1))
            case Affine(terms=terms, bias=bias):
                total = bias.expand(inputs.shape[0], -1)
                for term in terms:
                    x = read(term.ref)
                    total = total + (x if term.weight is None else x @ term.weight.T)
                values.append(total)
            case Nonlinear(op=op, args=args):
                values.append(RELAXATIONS[op].value(*(read(r) for r in args)))
    return values


def logits(graph: Graph, inputs: Tensor) -> Tensor:
    """The network's output. shape: [B, m, n] -> [B, classes]."""
    return trajectory(graph, inputs)[graph.output]


def margins(values: Tensor, rows: Tensor) -> Tensor:
    """Smallest margin over the classes asked about. shape: values [B, classes], rows [B, T, classes] -> [B]."""
    return -(rows @ values[:, :, None])[..., 0].amax(1)
