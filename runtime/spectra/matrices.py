"""The recurrent matrices of a network: a gate's weights, and the Jacobians of its step along a real trajectory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vlang.runtime.graph.concrete import trajectory
from vlang.runtime.graph.nodes import GraphBuilder, Ref
from vlang.runtime.network.cells import CELLS, CellWeights
from vlang.runtime.network.unroll import Network
from vlang.runtime.spectra.arrays import Matrix
from vlang.words.cells import CELLS as WORDS


def recurrent(network: Network, layer: int, reverse: bool, gate: int) -> Tensor:
    """A gate's rows of weight_hh; the whole of it for gate 0 of a cell with one. shape: [s, s]."""
    weights = network.layers[layer][int(reverse)]
    return weights.hh[gate * weights.hidden : (gate + 1) * weights.hidden]


def jacobians(network: Network, x: Tensor, layer: int, reverse: bool, frame: int) -> list[Matrix]:
    """Of the step from a state to the next, for every frame up to this one in the order in which they are read. The state of an LSTM is (h, c).

    shape: x [m, n]; each [states s, states s].
    """
    sequence = x
    for below, weights in enumerate(network.layers[:layer]):
        read = [_walk(network, sequence, w, network.initial[below][k], bool(k)) for k, w in enumerate(weights)]
        sequence = torch.cat([torch.stack([h for _, _, h in (steps if k == 0 else steps[::-1])]) for k, steps in enumerate(map(list, read))], 1)
    read_by = network.layers[layer][int(reverse)]
    step = _Step(network, read_by)
    found = []
    order = range(len(x)) if not reverse else range(len(x) - 1, -1, -1)
    for t, (y, state, _) in zip(order, _walk(network, sequence, read_by, network.initial[layer][int(reverse)], reverse), strict=True):
        with torch.enable_grad():
            found.append(torch.autograd.functional.jacobian(lambda v, y=y: step(y, v), state).cpu().numpy())  # type: ignore[no-untyped-call]
        if t == frame:
            break
    return found


class _Step:
    """One frame of a layer as a function of its state. shape: y [n], state [states s] -> [states s]."""

    def __init__(self, network: Network, weights: CellWeights) -> None:
        cell, n, s = CELLS[network.cell], weights.ih.shape[1], weights.hidden
        states = len(WORDS[network.cell].states)
        builder = GraphBuilder(network.dtype, network.device)
        whole = builder.input(0, n + states * s)
        state = tuple(Ref(whole.node, n + k * s, n + (k + 1) * s) for k in range(states))
        self.ends = cell.step(builder, Ref(whole.node, 0, n), state, weights)
        self.graph = builder.build(self.ends[0])

    def __call__(self, y: Tensor, state: Tensor) -> Tensor:
        values = trajectory(self.graph, torch.cat([y, state])[None, None])
        return torch.cat([values[r.node][0, r.start : r.stop] for r in self.ends])


def _walk(
    network: Network, sequence: Tensor, weights: CellWeights, initial: tuple[Tensor, ...], reverse: bool
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Every frame that is read, the state before it, and the output after it."""
    step, state = _Step(network, weights), torch.cat(initial)
    for y in sequence.flip(0) if reverse else sequence:
        after = step(y, state)
        yield y, state, after[: weights.hidden]
        state = after
