"""The network as a graph: its nodes, and the cells of torch.nn's RNN, GRU and LSTM, a frame at a time."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from flint import arb_mat

from .errors import InvalidError
from .vectors import ZERO, Array, Vector, matrix, vector

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
        """A nonlinearity; the format has none that reads an input itself."""
        args = tuple(r if self.nodes[r[0]].frame is None else self.affine(f"{name}, input", [(r, None)]) for r in args)
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
    """Of one layer in one direction, as they are stored: rows gate by gate, s a gate. more: what else a cell has, by name.

    hr: the projection of s numbers to what the cell gives, if there is one.
    """

    ih: Array
    hh: Array
    b_ih: Vector
    b_hh: Vector
    more: Mapping[str, Array]
    hr: Array | None

    @classmethod
    def of(cls, graph: Graph, cell: str, prefix: str, end: str, inside: int, s: int, gives: int) -> Weights:
        rows = CELLS[cell].gates * s
        ih, hh = graph.tensor(f"{prefix}weight_ih{end}", rows, inside), graph.tensor(f"{prefix}weight_hh{end}", rows, gives)
        hr = graph.tensor(f"{prefix}weight_hr{end}", gives, s) if f"{prefix}weight_hr{end}" in graph.tensors else None
        if (hr is None and gives != s) or (hr is not None and cell != "lstm"):
            raise InvalidError(f"{prefix!r}: its projection does not fit")
        more = {name: graph.tensor(f"{prefix}{name}{end}", k * s) for name, k in CELLS[cell].more.items()}
        return cls(ih, hh, graph.bias(f"{prefix}bias_ih{end}", rows), graph.bias(f"{prefix}bias_hh{end}", rows), more, hr)

    @property
    def s(self) -> int:
        return int(self.hh.shape[1] if self.hr is None else self.hr.shape[1])

    @property
    def bias(self) -> Vector:
        return list(map(operator.add, self.b_ih, self.b_hh))


#: A step: (where it is, input, states) -> states, of which the first is the output.
Step = Callable[[str, Ref, list[Ref]], list[Ref]]


def lstm(graph: Graph, w: Weights) -> Step:
    by_x, by_h, bias, projection = matrix(w.ih), matrix(w.hh), w.bias, None if w.hr is None else matrix(w.hr)

    def step(at: str, x: Ref, state: list[Ref]) -> list[Ref]:
        i, f, g, o = split(graph.affine(at + "gates", [(x, by_x), (state[0], by_h)], bias), 4)
        kept, fresh = graph.apply(at + "forget", "sigmoid_mul", f, state[1]), graph.apply(at + "add", "sigmoid_tanh", i, g)
        c = graph.affine(at + "cell", [(kept, None), (fresh, None)])
        h = graph.apply(at + "output", "sigmoid_tanh", o, c)
        return [h if projection is None else graph.affine(at + "projection", [(h, projection)]), c]

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


def gru_before(graph: Graph, w: Weights) -> Step:
    """The reset gate inside: n = tanh(W_n x + R_n (r h) + b_n)."""
    s, by_x, by_h = w.s, [matrix(w.ih[: 2 * w.s]), matrix(w.ih[2 * w.s :])], [matrix(w.hh[: 2 * w.s]), matrix(w.hh[2 * w.s :])]

    def step(at: str, x: Ref, state: list[Ref]) -> list[Ref]:
        r, z = split(graph.affine(at + "gates", [(x, by_x[0]), (state[0], by_h[0])], w.bias[: 2 * s]), 2)
        reset = graph.apply(at + "reset", "sigmoid_mul", r, state[0])
        new = graph.affine(at + "new", [(x, by_x[1]), (reset, by_h[1])], w.bias[2 * s :])
        kept, fresh = graph.apply(at + "keep", "sigmoid_mul", z, state[0]), graph.apply(at + "update", "cosigmoid_tanh", z, new)
        return [graph.affine(at + "state", [(fresh, None), (kept, None)])]

    return step


def mgu(graph: Graph, w: Weights) -> Step:
    """h - f h + f tanh(W_n x + U_n (f h) + b_n)."""
    s, minus = w.s, matrix(-np.eye(w.s))
    by_x, by_h = [matrix(w.ih[: w.s]), matrix(w.ih[w.s :])], [matrix(w.hh[: w.s]), matrix(w.hh[w.s :])]

    def step(at: str, x: Ref, state: list[Ref]) -> list[Ref]:
        f = graph.affine(at + "gate", [(x, by_x[0]), (state[0], by_h[0])], w.bias[:s])
        kept = graph.apply(at + "keep", "sigmoid_mul", f, state[0])
        new = graph.affine(at + "new", [(x, by_x[1]), (kept, by_h[1])], w.bias[s:])
        return [graph.affine(at + "state", [(state[0], None), (kept, minus), (graph.apply(at + "update", "sigmoid_tanh", f, new), None)])]

    return step


def lstm_peephole(graph: Graph, w: Weights) -> Step:
    """i and f see the cell state before the step, o the one after it, unit by unit."""
    s, (of_i, of_f, of_o) = w.s, np.split(w.more["peephole"], 3)
    by_x, by_h = [matrix(w.ih[: 3 * s]), matrix(w.ih[3 * s :])], [matrix(w.hh[: 3 * s]), matrix(w.hh[3 * s :])]
    before, after = matrix(np.concatenate([np.diag(of_i), np.diag(of_f), np.zeros((s, s))])), matrix(np.diag(of_o))

    def step(at: str, x: Ref, state: list[Ref]) -> list[Ref]:
        i, f, g = split(graph.affine(at + "gates", [(x, by_x[0]), (state[0], by_h[0]), (state[1], before)], w.bias[: 3 * s]), 3)
        kept, fresh = graph.apply(at + "forget", "sigmoid_mul", f, state[1]), graph.apply(at + "add", "sigmoid_tanh", i, g)
        c = graph.affine(at + "cell", [(kept, None), (fresh, None)])
        o = graph.affine(at + "output gate", [(x, by_x[1]), (state[0], by_h[1]), (c, after)], w.bias[3 * s :])
        return [graph.apply(at + "output", "sigmoid_tanh", o, c), c]

    return step


def rnn(op: str) -> Callable[[Graph, Weights], Step]:
    def of(graph: Graph, w: Weights) -> Step:
        by_x, by_h, bias = matrix(w.ih), matrix(w.hh), w.bias
        return lambda at, x, state: [graph.apply(at + "state", op, graph.affine(at + "gates", [(x, by_x), (state[0], by_h)], bias))]

    return of


@dataclass(frozen=True)
class Cell:
    """states: what the initial ones are called, with the prefix or without; any other tensor has another role. step: of some weights.

    more: other tensors, and how many numbers a unit each has.
    """

    gates: int
    states: tuple[str, ...]
    step: Callable[[Graph, Weights], Step]
    more: Mapping[str, int] = field(default_factory=dict)


CELLS: Mapping[str, Cell] = MappingProxyType(
    {
        "lstm": Cell(4, ("h0", "c0"), lstm),
        "gru": Cell(3, ("h0",), gru),
        "mgu": Cell(2, ("h0",), mgu),
        "gru_before": Cell(3, ("h0",), gru_before),
        "lstm_peephole": Cell(4, ("h0", "c0"), lstm_peephole, {"peephole": 3}),
        "rnn_tanh": Cell(1, ("h0",), rnn("tanh")),
        "rnn_relu": Cell(1, ("h0",), rnn("relu")),
    }
)
