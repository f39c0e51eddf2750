"""The recurrent matrices of a network: a gate's weights, and the Jacobians of its step along a real trajectory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from vlang.runtime.graph.concrete import trajectory
from vlang.runtime.graph.nodes import GraphBuilder, Ref
from vlang.runtime.network.cells import CELLS, CellWeights
from vlang.runtime.network.layers import Recurrent
from vlang.runtime.network.unroll import Network
from vlang.runtime.spectra.arrays import Matrix
from vlang.words.cells import CELLS as WORDS


def recurrent(network: Network, layer: int, reverse: bool, gate: int) -> Tensor:
    """A gate's rows of weight_hh, behind the projection if there is one; all of them for gate 0 of a cell with one. shape: [s, s].

    layer: counted through all stacks.
    """
    stack, at = _located(network, layer)
    weights = stack.stack[at][int(reverse)]
    return weights.recurrent[gate * weights.hidden : (gate + 1) * weights.hidden]


def jacobians(network: Network, x: Tensor, layer: int, reverse: bool, frame: int) -> list[Matrix]:
    """Of the step from a state to the next, for every frame up to this one in the order in which they are read. The state of an LSTM is (h, c).

    shape: x [m, n]; each [S, S], S numbers of all states.
    """
    stack, at = _located(network, layer)
    below = network.unroll(len(x), upto=stack)
    sequence = trajectory(below, x[None])[below.output][0].reshape(-1, stack.stack[0][0].ih.shape[1])
    for weights, initial in zip(stack.stack[:at], stack.initial[:at], strict=True):
        read = [_walk(stack, sequence, w, initial[k], bool(k)) for k, w in enumerate(weights)]
        sequence = torch.cat([torch.stack([h for _, _, h in (steps if k == 0 else steps[::-1])]) for k, steps in enumerate(map(list, read))], 1)
    read_by = stack.stack[at][int(reverse)]
    step = _Step(stack, read_by)
    found = []
    order = range(len(sequence)) if not reverse else range(len(sequence) - 1, -1, -1)
    for t, (y, state, _) in zip(order, _walk(stack, sequence, read_by, stack.initial[at][int(reverse)], reverse), strict=True):
        with torch.enable_grad():
            found.append(torch.autograd.functional.jacobian(lambda v, y=y: step(y, v), state).cpu().numpy())  # type: ignore[no-untyped-call]
        if t == frame:
            break
    return found


def _located(network: Network, layer: int) -> tuple[Recurrent, int]:
    """The stack of a recurrent layer, and its place there."""
    every = [(stack, k) for stack in network.recurrent for k in range(len(stack.stack))]
    return every[layer]


class _Step:
    """One frame of a layer as a function of its state. shape: y [n], state [S] -> [S]."""

    def __init__(self, stack: Recurrent, weights: CellWeights) -> None:
        cell, n = CELLS[stack.cell], weights.ih.shape[1]
        ends = list(accumulate([weights.outputs] + [weights.hidden] * (len(WORDS[stack.cell].states) - 1), initial=n))
        builder = GraphBuilder(weights.ih.dtype, weights.ih.device)
        whole = builder.input(0, ends[-1])
        state = tuple(Ref(whole.node, a, b) for a, b in pairwise(ends))
        self.ends = cell.step(builder, Ref(whole.node, 0, n), state, weights)
        self.graph = builder.build(self.ends[0])

    def __call__(self, y: Tensor, state: Tensor) -> Tensor:
        values = trajectory(self.graph, torch.cat([y, state])[None, None])
        return torch.cat([values[r.node][0, r.start : r.stop] for r in self.ends])


def _walk(
    stack: Recurrent, sequence: Tensor, weights: CellWeights, initial: tuple[Tensor, ...], reverse: bool
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Every frame that is read, the state before it, and the output after it."""
    step, state = _Step(stack, weights), torch.cat(initial)
    for y in sequence.flip(0) if reverse else sequence:
        after = step(y, state)
        yield y, state, after[: weights.outputs]
        state = after
