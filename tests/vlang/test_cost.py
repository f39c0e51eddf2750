"""`vrun plan` counts what the runtime builds, without torch."""

from __future__ import annotations

import pytest

from tests.helpers import random_network
from vlang.cost import nodes, pass_flop
from vlang.plan import Architecture, LayerPlan
from vlang.runtime.graph.nodes import Nonlinear
from vlang.words.cells import CELLS


def architecture(cell: str, layers: int, bidirectional: bool, head: tuple[str, ...], s: int = 4, n: int = 3) -> Architecture:
    directions = 1 + bidirectional
    stack = LayerPlan(cell, (-1,), s * directions, "", (), (("layers", layers), ("directions", directions), ("initial", ())))
    above = ["last", *(x for op in ("none", *head) for x in ([] if op == "none" else [op]) + ["linear"])]
    plans = tuple(LayerPlan(word, (k,), 3, roles=("weight",) if word == "linear" else ()) for k, word in enumerate(above))
    return Architecture((stack, *plans), n)


@pytest.mark.parametrize("cell", list(CELLS))
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("head", [(), ("relu",), ("none", "tanh")])
def test_node_count_is_the_graphs(cell: str, layers: int, bidirectional: bool, head: tuple[str, ...]) -> None:
    network = random_network(cell, layers=layers, bidirectional=bidirectional, head=head)
    assert nodes(architecture(cell, layers, bidirectional, head), 5) == len(network.unroll(5).nodes)


def test_flop_follows_the_model() -> None:
    """runtime/README.md, section 7: 40 m^2 s^2 (s + n) for an LSTM, 2 m^2 s^2 (s + n) for a vanilla RNN."""
    for cell, factor in (("lstm", 40), ("rnn_tanh", 2)):
        for m, s, n in ((7, 32, 112), (28, 128, 28)):
            assert 0.9 <= pass_flop(architecture(cell, 1, False, (), s, n), m) / (factor * m * m * s * s * (s + n)) <= 1.2


@pytest.mark.parametrize("cell", list(CELLS))
def test_quadratic_forms_are_counted_as_the_engine_makes_them(cell: str) -> None:
    steps = [n for n in random_network(cell, s=4).unroll(5).nodes if isinstance(n, Nonlinear)]
    assert sum(n.width * (1 if len(n.args) == 1 else 3) for n in steps) == CELLS[cell].products * 4 * 5
