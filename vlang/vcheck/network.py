"""The network as a graph: torch.nn's RNN, GRU or LSTM over so many frames and a head of linear layers."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from flint import arb_mat

from .errors import InvalidError
from .vectors import ONE, ZERO, Array, Vector, diagonal, matrix, vector

#: Elements start..stop of a node.
Ref = tuple[int, int, int]
#: What an affine map takes of a node: weighted, or as it is.
Term = tuple[Ref, arb_mat | None]


@dataclass
class Node:
    """An input frame, a constant (a bias without terms), an affine map of terms, or op(args) unit by unit."""

    name: str
    width: int
    frame: int | None = None
    op: str = ""
    args: Sequence[Ref] = ()
    terms: Sequence[Term] = ()
    bias: Vector = field(default_factory=list)


@dataclass
class Graph:
    """Nodes in the order that the format prescribes, built from tensors of which it notes the names."""

    tensors: dict[str, Array]
    nodes: list[Node] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def tensor(self, name: str, *shape: int) -> Array:
        self.used.add(name)
        if name not in self.tensors or (shape and self.tensors[name].shape != shape):
            raise InvalidError(f"the network has no tensor {name!r} of the shape {list(shape)}")
        return self.tensors[name]

    def bias(self, name: str, width: int) -> Vector:
        return vector(self.tensor(name, width)) if name in self.tensors else [ZERO] * width

    def add(self, name: str, width: int, **rest: Any) -> Ref:
        self.nodes.append(Node(name, width, **rest))
        return len(self.nodes) - 1, 0, width

    def affine(self, name: str, terms: Sequence[Term], bias: Vector | None = None) -> Ref:
        (_, start, stop), weight = terms[0]
        width = stop - start if weight is None else weight.nrows()
        return self.add(name, width, terms=terms, bias=bias or [ZERO] * width)

    def apply(self, name: str, op: str, *args: Ref) -> Ref:
        return self.add(name, args[0][2] - args[0][1], op=op, args=args)


def split(ref: Ref, parts: int) -> list[Ref]:
    w = ref[2] // parts
    return [(ref[0], k * w, (k + 1) * w) for k in range(parts)]


def spread(refs: Sequence[Ref], weight: Array) -> list[Term]:
    """A weight's columns over several nodes, one after the other."""
    ends = np.cumsum([0, *(r[2] for r in refs)])
    return [(r, matrix(weight[:, a:b])) for r, a, b in zip(refs, ends[:-1], ends[1:], strict=True)]


# -- cells ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Weights:
    """Of one layer in one direction, as they are stored: rows gate by gate, s a gate."""

    ih: Array
    hh: Array
    b_ih: Vector
    b_hh: Vector

    @classmethod
    def of(cls, graph: Graph, cell: str, prefix: str, end: str, inside: int, s: int) -> Weights:
        rows = CELLS[cell].gates * s
        ih, hh = graph.tensor(f"{prefix}weight_ih{end}", rows, inside), graph.tensor(f"{prefix}weight_hh{end}", rows, s)
        return cls(ih, hh, graph.bias(f"{prefix}bias_ih{end}", rows), graph.bias(f"{prefix}bias_hh{end}", rows))

    @property
    def s(self) -> int:
        return int(self.hh.shape[1])

    @property
    def bias(self) -> Vector:
        return list(map(operator.add, self.b_ih, self.b_hh))


#: A step: (where it is, input, states) -> states, of which the first is the output.
Step = Callable[[str, Ref, list[Ref]], list[Ref]]


def lstm(graph: Graph, w: Weights) -> Step:
    by_x, by_h, bias = matrix(w.ih), matrix(w.hh), w.bias

    def step(at: str, x: Ref, state: list[Ref]) -> list[Ref]:
        i, f, g, o = split(graph.affine(at + "gates", [(x, by_x), (state[0], by_h)], bias), 4)
        kept, fresh = graph.apply(at + "forget", "sigmoid_mul", f, state[1]), graph.apply(at + "add", "sigmoid_tanh", i, g)
        c = graph.affine(at + "cell", [(kept, None), (fresh, None)])
        return [graph.apply(at + "output", "sigmoid_tanh", o, c), c]

    return step


def gru(graph: Graph, w: Weights) -> Step:
    s, by_h, by_x_new, bias_new = w.s, matrix(w.hh), matrix(w.ih[2 * w.s :]), w.b_ih[2 * w.s :]
    # r (W_hn h + b_hn) joins W_in x + b_in outside the gate.
    by_x = matrix(np.concatenate([w.ih[: 2 * s], np.zeros_like(w.ih[2 * s :])]))
    bias = w.bias[: 2 * s] + w.b_hh[2 * s :]

    def step(at: str, x: Ref, state: list[Ref]) -> list[Ref]:
        r, z, n = split(graph.affine(at + "gates", [(x, by_x), (state[0], by_h)], bias), 3)
        new = graph.affine(at + "new", [(x, by_x_new), (graph.apply(at + "reset", "sigmoid_mul", r, n), None)], bias_new)
        kept, fresh = graph.apply(at + "keep", "sigmoid_mul", z, state[0]), graph.apply(at + "update", "cosigmoid_tanh", z, new)
        return [graph.affine(at + "state", [(fresh, None), (kept, None)])]

    return step


def rnn(op: str) -> Callable[[Graph, Weights], Step]:
    def of(graph: Graph, w: Weights) -> Step:
        by_x, by_h, bias = matrix(w.ih), matrix(w.hh), w.bias
        return lambda at, x, state: [graph.apply(at + "state", op, graph.affine(at + "gates", [(x, by_x), (state[0], by_h)], bias))]

    return of


@dataclass(frozen=True)
class Cell:
    """states: what the initial ones are called, with the prefix or without; any other tensor has another role. step: of some weights."""

    gates: int
    states: tuple[str, ...]
    step: Callable[[Graph, Weights], Step]


CELLS: Mapping[str, Cell] = MappingProxyType(
    {
        "lstm": Cell(4, ("h0", "c0"), lstm),
        "gru": Cell(3, ("h0",), gru),
        "rnn_tanh": Cell(1, ("h0",), rnn("tanh")),
        "rnn_relu": Cell(1, ("h0",), rnn("relu")),
    }
)


#: What is read out of the last layer's frames.
READOUTS = ("last", "last_frame", "mean", "max")
#: Of the head, "none" for one that is not there.
ACTIVATIONS = ("tanh", "relu", "sigmoid", "none")


# -- the whole --------------------------------------------------------------------------------------------------------


def unroll(tensors: dict[str, Array], claim: dict[str, Any], frames: int) -> list[Node]:
    """The nodes of the network that is claimed; raises InvalidError where a tensor does not fit or has no role in it."""
    graph, first, table = Graph(tensors), f"{claim['prefix']}weight_ih_l0", claim["embedding"]
    well_formed(claim)
    sequence = [[graph.add(f"frame {t}", graph.tensor(first).shape[1], frame=t)] for t in range(frames)]
    if table is not None and (not re.fullmatch(r"(?i).*emb.*weight", table) or graph.tensor(table).shape[1:] != graph.tensor(first).shape[1:]):
        raise InvalidError(f"{table!r} is no embedding of its inputs")
    final: list[Ref] = []
    for layer in range(claim["layers"]):
        ways = [list(direction(graph, claim, layer, backwards, sequence)) for backwards in range(2 if claim["bidirectional"] else 1)]
        final, sequence = (
            [way[-1] for way in ways],
            [list(refs) for refs in zip(*(way[:: -1 if k else 1] for k, way in enumerate(ways)), strict=True)],
        )
    final = head(graph, claim, read_out(graph, claim["readout"], sequence, final))
    if set(tensors) - graph.used:
        raise InvalidError(f"the network's tensor {min(set(tensors) - graph.used)!r} has no role in what is claimed")
    return graph.nodes


def well_formed(claim: dict[str, Any]) -> None:
    cell, initial = claim["cell"], claim["initial"]
    if len(set(claim["head"])) != len(claim["head"]):
        raise InvalidError("a layer of its head is there twice")
    if type(claim["layers"]) is not int or claim["layers"] < 1 or type(claim["bidirectional"]) is not bool:
        raise InvalidError("its layers and directions are no number from 1 and no truth value")
    if cell not in CELLS or claim["readout"] not in READOUTS:
        raise InvalidError(f"cell {cell!r} with readout {claim['readout']!r} is not known")
    known = CELLS[cell].states
    if initial and (len(initial) != len(known) or any(n not in (k, claim["prefix"] + k) for n, k in zip(initial, known, strict=True))):
        raise InvalidError(f"its initial states are not {list(known)}")


def direction(graph: Graph, claim: dict[str, Any], layer: int, backwards: int, sequence: list[list[Ref]]) -> Iterator[Ref]:
    """The outputs of one layer in one direction, in the order in which it meets the frames. sequence: a frame's inputs, from either direction."""
    cell, prefix, end = claim["cell"], claim["prefix"], f"_l{layer}" + "_reverse" * backwards
    s, inside = graph.tensor(f"{prefix}weight_hh{end}").shape[1], sum(r[2] for r in sequence[0])
    step, state, ways = CELLS[cell].step(graph, Weights.of(graph, cell, prefix, end, inside, s)), [], 2 if claim["bidirectional"] else 1
    for name in claim["initial"] or [None] * len(CELLS[cell].states):
        start = np.zeros(s) if name is None else graph.tensor(name).reshape(claim["layers"] * ways, s)[layer * ways + backwards]
        state.append(graph.add("initial state", s, bias=vector(start)))
    for t in range(len(sequence))[:: -1 if backwards else 1]:
        at = f"layer {layer}{' reverse' * backwards}, frame {t}, "
        x = sequence[t][0] if len(sequence[t]) == 1 else graph.affine(at + "input", spread(sequence[t], np.eye(inside)))
        state = step(at, x, state)
        yield state[0]


def read_out(graph: Graph, kind: str, sequence: list[list[Ref]], final: list[Ref]) -> list[Ref]:
    """What the head reads of the last layer, for each direction."""
    if kind == "last":
        return final
    if kind == "last_frame":
        return sequence[-1]
    if kind == "mean":
        share = ONE / len(sequence)
        return [graph.affine("mean", [(r, diagonal([share] * r[2])) for r in refs]) for refs in zip(*sequence, strict=True)]
    return [largest_of(graph, list(refs)) for refs in zip(*sequence, strict=True)]


def largest_of(graph: Graph, refs: list[Ref]) -> Ref:
    """max(a, b) = a + relu(b - a), in a balanced tree."""
    minus = diagonal([-ONE] * refs[0][2])
    while len(refs) > 1:
        gaps = ((a, graph.apply("gain", "relu", graph.affine("gap", [(b, None), (a, minus)]))) for a, b in zip(refs[::2], refs[1::2], strict=False))
        refs = [graph.affine("maximum", [(a, None), (gap, None)]) for a, gap in gaps] + refs[len(refs) // 2 * 2 :]
    return refs[0]


def head(graph: Graph, claim: dict[str, Any], refs: list[Ref]) -> list[Ref]:
    """The linear layers on top of what is read, each but the last with its activation; what is read may have one too."""
    before = claim.get("readout_activation", "none")
    if before not in ACTIVATIONS:
        raise InvalidError(f"the activation {before!r} is not known")
    refs = refs if before == "none" else [graph.apply(f"readout {before}", before, r) for r in refs]
    for name, activation in zip(claim["head"], [*claim["head_activations"], "none"], strict=True):
        weight = graph.tensor(f"{name}.weight")
        if activation not in ACTIVATIONS or weight.shape != (len(weight), sum(r[2] for r in refs)):
            raise InvalidError(f"the head's layer {name!r} does not fit")
        y = graph.affine(f"head {name!r}", spread(refs, weight), graph.bias(f"{name}.bias", len(weight)))
        refs = [y if activation == "none" else graph.apply(f"head {name!r} {activation}", activation, y)]
    return refs
