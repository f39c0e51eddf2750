"""The concrete interpreter: the network's value on given inputs, differentiable."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from torch import Tensor

from vlang.runtime.graph.nodes import Affine, Constant, Graph, Input, Nonlinear, Ref
from vlang.runtime.products import through
from vlang.runtime.relaxations import RELAXATIONS

#: No node's value is known.
NONE: Mapping[int, Tensor] = MappingProxyType({})


def trajectory(graph: Graph, inputs: Tensor, known: Mapping[int, Tensor] = NONE, block: int | None = None) -> list[Tensor]:
    """Every node's value. known: those that need no computing. shape: inputs [B, m, n], known each [1, width] -> each [B, width].

    block: so many consecutive rows are one matrix product each, so that their values are the same bits whatever other blocks are computed beside
    them; without it the whole batch is one product.
    """
    values: list[Tensor] = []

    def read(ref: Ref) -> Tensor:
        return values[ref.node][:, ref.start : ref.stop]

    for i, node in enumerate(graph.nodes):
        if i in known:
            values.append(known[i].expand(inputs.shape[0], -1))
            continue
        match node:
            case Input(frame=frame):
                values.append(inputs[:, frame])
            case Constant(value=value):
                values.append(value.expand(inputs.shape[0], -1))
            case Affine(terms=terms, bias=bias):
                total = bias.expand(inputs.shape[0], -1)
                for term in terms:
                    x = read(term.ref)
                    total = total + (x if term.weight is None else _product(x, term.weight, block))
                values.append(total)
            case Nonlinear(op=op, args=args):
                values.append(RELAXATIONS[op].value(*(read(r) for r in args)))
    return values


def _product(x: Tensor, weight: Tensor, block: int | None) -> Tensor:
    return x @ weight.T if block is None else through(x.reshape(-1, block, x.shape[1]), weight.T).reshape(len(x), -1)


def logits(graph: Graph, inputs: Tensor, known: Mapping[int, Tensor] = NONE, block: int | None = None) -> Tensor:
    """The network's output (see `trajectory`). shape: inputs [B, m, n] -> [B, classes]."""
    return trajectory(graph, inputs, known, block)[graph.output]


def unmoved(graph: Graph, inputs: Tensor, frames: frozenset[int]) -> dict[int, Tensor]:
    """The values that do not depend on these frames, by node. shape: inputs [1, m, n] -> each [1, width]."""
    return {i: v for i, (v, hit) in enumerate(zip(trajectory(graph, inputs), graph.reached_from(frames), strict=True)) if not hit}


def margins(values: Tensor, rows: Tensor, some: bool = False) -> Tensor:
    """Smallest margin over the rows, all of which have to stay below 0; the largest, where some row has to. shape: [B, w], [B, T, w] -> [B]."""
    return of_rows((rows @ values[:, :, None])[..., 0], some)


def of_rows(found: Tensor, some: bool) -> Tensor:
    """The margin that values of rows, or upper bounds of them, give. shape: [B, T] -> [B]."""
    return -(found.amin(1) if some else found.amax(1))
