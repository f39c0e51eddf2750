"""Slopes as variables: every slope is sound, gradients are those of the bound, and optimising only gains."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from tests.helpers import DTYPE, attacked_margins, largest_certified, points, random_network, walked
from tests.runtime.relaxations.test_offsets import POSITIVE, domain
from tests.runtime.sets.test_piece import asked
from vlang.runtime.bounds.linear import Linear
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.graph.concrete import trajectory
from vlang.runtime.methods.slopes import Slopes
from vlang.runtime.methods.table import METHODS
from vlang.runtime.relaxations import RELAXATIONS, Args, Nonlinearity
from vlang.runtime.sets.ball import Ball

CELLS = ["rnn_tanh", "rnn_relu", "lstm", "gru"]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("noise", [0.1, 1.0, 30.0])
def test_any_slopes_are_sound(cell: str, noise: float) -> None:
    """Slopes moved at random, far beyond anything sensible: no point leaves a box or an output."""
    g = torch.Generator().manual_seed(0)

    def moved(node: int, f: Nonlinearity, box: tuple[Args, Args]) -> Args:
        slopes = f.upper_slopes("plane", *box)
        return tuple(s + noise * torch.randn(s.shape, generator=g, dtype=DTYPE) * u for s, u in zip(slopes, f.slope_range(*box), strict=True))

    for seed in range(4):
        network = random_network(cell, s=4, seed=seed, scale=1.0)
        x = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=DTYPE)
        nominal = Nominal.at(network.unroll(3), x)
        ball = Ball(torch.full((2, 3), 0.3, dtype=DTYPE), Fraction(2))
        with torch.no_grad():
            relaxed = Linear(nominal, ball, moved).run()
            upper = relaxed.upper(nominal.graph.output, torch.eye(3, dtype=DTYPE))
            for p in points(nominal, ball, 30):
                for value, (lo, hi) in zip(trajectory(nominal.graph, p), relaxed.boxes, strict=True):
                    slack = 1e-13 * (1 + value.abs())
                    assert bool(((value <= hi + slack) & (value >= lo - slack)).all())
                assert bool((trajectory(nominal.graph, p)[nominal.graph.output] <= upper + 1e-12).all())


@pytest.mark.parametrize("op", list(RELAXATIONS))
def test_gradients_of_offsets_are_those_of_the_envelope(op: str) -> None:
    """d offset / d (slopes, box) against central differences."""
    f = RELAXATIONS[op]
    g = torch.Generator().manual_seed(4)
    centre = torch.randn(f.arity, 200, generator=g, dtype=DTYPE) * 2
    half = torch.rand(f.arity, 200, generator=g, dtype=DTYPE) + 0.05
    slopes = [torch.rand(200, generator=g, dtype=DTYPE) * 0.2 + 0.01 for _ in range(f.arity)]
    lo, hi = map(list, domain(op, tuple(centre - half), tuple(centre + half)))
    variables = [v.clone().requires_grad_() for v in (*slopes, *lo, *hi)]
    n = f.arity

    def offset(vs: list[torch.Tensor]) -> torch.Tensor:
        return f._offset(tuple(vs[n : 2 * n]), tuple(vs[2 * n :]), tuple(vs[:n]))

    slopes = [-s if op in POSITIVE else s for s in slopes]
    variables[:n] = [s.clone().requires_grad_() for s in slopes]
    assert torch.equal(offset(variables).detach(), f.upper_offset(tuple(lo), tuple(hi), tuple(slopes)))
    gradients = torch.autograd.grad(offset(variables).sum(), variables)
    step = 1e-6
    agree = []
    for k, gradient in enumerate(gradients):
        up, down = ([v.detach() + (sign * step if j == k else 0) for j, v in enumerate(variables)] for sign in (1, -1))
        with torch.no_grad():
            difference = (offset(up) - offset(down)) / (2 * step)
        agree.append((difference - gradient).abs() < 1e-5)
    assert float(torch.stack(agree).double().mean()) > 0.99  # all but where the maximiser jumps


def test_zero_moves_are_the_rules_planes() -> None:
    question = asked("lstm", Fraction(2))
    rows = torch.arange(3)
    with torch.no_grad():
        plain = walked(question.centre, question.ball, "plane").upper(question.centre.graph.output, question.rows)
        moved = Linear(question.centre, question.ball, Slopes().choice(rows, 3)).run().upper(question.centre.graph.output, question.rows)
    assert torch.equal(plain, moved)


@pytest.mark.parametrize(("cell", "norm"), [("rnn_tanh", Fraction(2)), ("lstm", Fraction(2)), ("gru", None)])
def test_optimized_margins_are_sound_and_never_below_planes(cell: str, norm: Fraction | None) -> None:
    question = asked(cell, norm, seed=5, frames=2)
    planes, optimized = METHODS["planes"](question), METHODS["optimized"](question)
    index = torch.arange(3)
    low = largest_certified(planes, 3)
    gained = 0.0
    for factor in (0.5, 1.01, 1.1, 3.0):
        size = low * factor
        with torch.no_grad():
            a, b = planes(index, size), optimized(index, size)
        assert bool((b >= a).all())
        gained += float((b - a)[a <= 0].sum())
        assert bool((b <= attacked_margins(question, size) + 1e-9).all())
    assert gained > 0
