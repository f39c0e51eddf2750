"""Cells: how torch.nn lays out their weights, and what bounding them costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Cell:
    """family: what a checkpoint's shapes can tell; cells of one family differ in what is not in them (an RNN's activation).

    gates: in the order of the weights' rows; none where there is one recurrent matrix. states: the names of their initial values, the output's first.
    activation: of a family whose cells differ in it. more: vectors beside matrices and biases, and how many numbers a hidden unit has in each.
    projection: the matrix by which a file may multiply what the cell gives.
    foreign: whether no module of torch has it, so that only files of other frameworks hold it. Per hidden unit and step: bounded, rows that are
    bounded; products, entries of the quadratic forms' weights (1 for a function of one argument, 3 for one of two). nodes: of the graph, a step.
    """

    family: str
    gates: tuple[str, ...]
    states: tuple[str, ...]
    bounded: int
    products: int
    nodes: int
    activation: str | None = None
    more: tuple[tuple[str, int], ...] = ()
    foreign: bool = False
    projection: str | None = None

    @property
    def rows(self) -> int:
        """Rows of weight_ih and weight_hh per hidden unit."""
        return max(1, len(self.gates))


CELLS: Mapping[str, Cell] = MappingProxyType(
    {
        "rnn_tanh": Cell("rnn", (), ("h0",), bounded=1, products=1, nodes=2, activation="tanh"),
        "rnn_relu": Cell("rnn", (), ("h0",), bounded=1, products=1, nodes=2, activation="relu"),
        "lstm": Cell("lstm", ("i", "f", "g", "o"), ("h0", "c0"), bounded=5, products=9, nodes=5, projection="weight_hr"),
        "gru": Cell("gru", ("r", "z", "n"), ("h0",), bounded=5, products=9, nodes=6),
        "mgu": Cell("mgu", ("f", "n"), ("h0",), bounded=3, products=6, nodes=5),
        "gru_before": Cell("gru", ("r", "z", "n"), ("h0",), bounded=5, products=9, nodes=6, foreign=True),
        "lstm_peephole": Cell("lstm", ("i", "f", "g", "o"), ("h0", "c0"), bounded=5, products=9, nodes=6, more=(("peephole", 3),), foreign=True),
    }
)
#: What a spec may say of a cell: the family, or the cell itself.
STATED = tuple(dict.fromkeys(x for word, cell in CELLS.items() if not cell.foreign for x in (cell.family, word)))
#: Activations that tell cells of one family apart.
ACTIVATIONS = tuple(dict.fromkeys(cell.activation for cell in CELLS.values() if cell.activation is not None))


def of_family(family: str) -> dict[str, Cell]:
    """Its cells of torch, by word."""
    return {word: cell for word, cell in CELLS.items() if cell.family == family and not cell.foreign}


def families(rows: int, projected: bool = False) -> tuple[str, ...]:
    """Those whose weights have so many rows per hidden unit. projected: and whose cells may be projected."""
    return tuple(dict.fromkeys(cell.family for cell in CELLS.values() if cell.rows == rows and (not projected or cell.projection is not None)))
