"""Networks built to break verifiers in floating point: what is false in exact arithmetic, however narrowly, is never certified."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from flint import arb, ctx
from torch import Tensor

from tests.helpers import DTYPE, classifier
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.methods.table import METHODS, Asked
from vlang.runtime.network.cells import CellWeights
from vlang.runtime.network.layers import Linear
from vlang.runtime.network.unroll import Network
from vlang.runtime.sets.ball import Ball

EPS = [1e-300, 1e-18, 1e-12, 1e-6]


def rnn(ih: list[list[float]], bias: list[float], head: list[list[float]], head_bias: list[float]) -> Network:
    """One step of tanh units without recurrence, and a linear head."""
    weight = torch.tensor(ih, dtype=DTYPE)
    s = len(ih)
    cell = CellWeights(weight, torch.zeros(s, s, dtype=DTYPE), torch.tensor(bias, dtype=DTYPE), torch.zeros(s, dtype=DTYPE))
    linear = Linear(torch.tensor(head, dtype=DTYPE), torch.tensor(head_bias, dtype=DTYPE))
    return classifier("rnn_tanh", ((cell,),), (((torch.zeros(s, dtype=DTYPE),),),), (linear,))


def exact_margin(network: Network, x: Tensor) -> arb:
    """Logit 0 minus logit 1 of one frame, to 3,000 bits."""
    ctx.prec = 3000
    ((cell,),), head = network.recurrent[0].stack, network.layers[-1]
    assert isinstance(head, Linear)
    state = [
        (sum((arb(w) * arb(v) for w, v in zip(row, x.tolist(), strict=True)), arb(0)) + arb(b)).tanh()
        for row, b in zip(cell.ih.tolist(), cell.bias_ih.tolist(), strict=True)
    ]
    a, b = (
        sum((arb(w) * h for w, h in zip(row, state, strict=True)), arb(0)) + arb(c)
        for row, c in zip(head.weight.tolist(), head.bias.tolist(), strict=True)
    )
    ctx.prec = 53
    return a - b


def asked(network: Network, x: Tensor, norm: Fraction | None) -> Asked:
    """Whether class 0 stays ahead of class 1, whatever the network itself says."""
    ball = Ball(torch.ones(1, 1, dtype=DTYPE), norm)
    return Asked(Nominal.at(network.unroll(1), x[None, None]), ball, torch.tensor([[[-1.0, 1.0]]], dtype=DTYPE), 8)


def certified(network: Network, x: Tensor) -> list[tuple[str, float]]:
    found = []
    for norm in (Fraction(1), Fraction(2), None):
        question = asked(network, x, norm)
        for name, method in METHODS.items():
            with torch.no_grad():
                found += [(name, eps) for eps in EPS if float(method(question)(torch.tensor([0]), torch.tensor([eps], dtype=DTYPE))) > 0]
    return found


HERE = torch.tensor([0.3, -0.2], dtype=DTYPE)
ONES = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
#: Names, networks, and the sign of the exact margin at the input. Units 0 and 1 are equal: what cancels in the reals leaves rounding in float64.
CASES: dict[str, tuple[Network, int]] = {
    "large weights that cancel": (rnn(ONES, [0, 0, 30], [[1e16, -1e16, -0.3], [0, 0, 0]], [0.1, 0]), -1),
    "larger weights that cancel": (rnn(ONES, [0, 0, 30], [[1e300, -1e300, -0.3], [0, 0, 0]], [0.1, 0]), -1),
    "large biases that cancel": (rnn(ONES, [1e17, 1e17, 0], [[1, -1, 0], [0, 0, 0]], [1e17, 1e17]), 0),
    "a tie": (rnn(ONES, [0, 0, 0], [[1, 0, 0], [0, 1, 0]], [0, 0]), 0),
    "behind by an ulp": (rnn(ONES, [0, 0, 0], [[1, 0, 0], [1 + 2**-52, 0, 0]], [0, 0]), -1),
    "behind by less than an ulp": (rnn([[1.0, 0], [1.0 + 2**-52, 0], [0, 0]], [0, 0, 0], [[1, 0, 0], [0, 1, 0]], [1e-17, 0]), -1),
    "saturated units": (rnn(ONES, [40, 41, 0], [[1, 0, 0], [0, 1, 0]], [1e-40, 0]), -1),
    "units saturated beyond float64": (rnn(ONES, [400, 500, 0], [[1, 0, 0], [0, 1, 0]], [0, 0]), -1),
    "weights that saturate": (rnn([[1e3, 0], [2e3, 0], [0, 0]], [0, 0, 0], [[1, 0, 0], [0, 1, 0]], [0, 0]), -1),
    "denormal weights": (rnn([[5e-324, 0], [1e-323, 0], [0, 0]], [0, 0, 0], [[1, 0, 0], [0, 1, 0]], [0, 0]), -1),
    "behind by 1e-15": (rnn(ONES, [0, 0, 0], [[1, 0, 0], [0, 1, 0]], [0, 1e-15]), -1),
    "sums that lose their small terms": (rnn([[1.0, 1e-20], [1.0, 0.0], [0, 0]], [1e8, 1e8, 0], [[0, 0, 1], [0, 0, 1]], [-1e-30, 0]), -1),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_false_is_never_certified(name: str) -> None:
    network, sign = CASES[name]
    margin = exact_margin(network, HERE)
    assert margin < 0 if sign < 0 else not margin > 0
    assert not certified(network, HERE)


def test_what_is_true_by_a_good_margin_is_certified() -> None:
    """The same constructions, ahead by a thousand times the rounding: the tests above do not pass because nothing is ever certified."""
    assert len(certified(rnn(ONES, [0, 0, 0], [[1, 0, 0], [0, 1, 0]], [1e-4, 0]), HERE)) == 3 * len(METHODS) * len(EPS)


def test_an_input_at_a_known_tiny_distance_bounds_the_radius() -> None:
    """Logit 0 is ahead by 1e-15 and falls with slope 1 along the first number: eps = 2e-15 must not be certified, nor 1.1e-15."""
    linear = rnn([[1e-8, 0.0], [0, 0], [0, 0]], [0, 0, 0], [[-1e8, 0, 0], [0, 0, 0]], [0, 0])
    margin = exact_margin(linear, torch.zeros(2, dtype=DTYPE))
    assert not margin > 0
    ahead = rnn([[1e-8, 0.0], [0, 0], [0, 0]], [0, 0, 0], [[-1e8, 0, 0], [0, 0, 0]], [1e-15, 0])
    for norm in (Fraction(1), Fraction(2), None):
        question = asked(ahead, torch.zeros(2, dtype=DTYPE), norm)
        for method in METHODS.values():
            for eps in (1.1e-15, 2e-15, 1e-12):
                with torch.no_grad():
                    assert not float(method(question)(torch.tensor([0]), torch.tensor([eps], dtype=DTYPE))) > 0
