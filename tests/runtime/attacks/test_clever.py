"""The estimate: its parts against what they estimate."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from tests.helpers import DTYPE, random_network
from tests.runtime.attacks.test_attacks import SPECS, affine_graph, answered
from vlang.runtime.attacks.clever import _limit, _points, _uniform, clever
from vlang.runtime.graph.concrete import logits, unmoved
from vlang.runtime.graph.nodes import Nonlinear
from vlang.runtime.sets.ball import Ball


@pytest.mark.parametrize("norm", [Fraction(1), Fraction(2), Fraction(3), None])
def test_points_fill_the_ball_evenly(norm: Fraction | None) -> None:
    """The radius of an even point of an n-ball is distributed as U^(1/n), and every sign pattern is as likely."""
    n = 3
    x = _uniform(20_000, n, Ball(torch.ones(1, 1, dtype=DTYPE), norm), np.random.default_rng(0))
    size = np.abs(x).max(1) if norm is None else (np.abs(x) ** float(norm)).sum(1) ** (1 / float(norm))
    assert size.max() <= 1 + 1e-12
    assert np.mean(size**n) == pytest.approx(0.5, abs=0.01)
    assert np.mean(x > 0, axis=0) == pytest.approx(0.5, abs=0.015)


@pytest.mark.parametrize("norm", [Fraction(1), Fraction(3, 2), Fraction(2), None])
def test_half_of_the_points_are_extreme(norm: Fraction | None) -> None:
    n, ball = 4, Ball(torch.ones(1, 1, dtype=DTYPE), norm)
    x = np.abs(_points(1001, n, ball, np.random.default_rng(0)))
    size = x.max(1) if norm is None else (x ** float(norm)).sum(1) ** (1 / float(norm))
    assert x.shape == (1001, n)
    assert size.max() <= 1 + 1e-12
    outer = x[501:]
    assert size[501:] == pytest.approx(1)
    if norm is None:
        assert (outer == 1).all()
    if norm == 1:
        assert (outer.max(1) == 1).all()
        assert (outer.sum(0) > 90).all()


@pytest.mark.parametrize("shape", [1.5, 3.0, 8.0])
def test_the_end_of_a_known_distribution(shape: float) -> None:
    errors = []
    for seed in range(20):
        maxima = 5 - np.random.default_rng(seed).weibull(shape, 100)
        end, fit = _limit(maxima)
        assert end >= maxima.max()
        assert 0 <= fit <= 1
        errors.append(end - 5)
    assert abs(float(np.median(errors))) < 0.25


def test_equal_maxima_need_no_fit() -> None:
    assert _limit(np.full(30, 2.0)) == (2.0, 1.0)


@pytest.mark.parametrize("value", [np.inf, np.nan, 1.7e308])
def test_slopes_without_a_number_have_no_end(value: float) -> None:
    assert _limit(np.array([1.0, value, 2.0]))[0] == np.inf


def test_gradients_without_a_number_say_that_nothing_is_known() -> None:
    rows = torch.tensor([[1e200, 0.0], [0.0, 1e200]], dtype=DTYPE) * 1e200
    graph = affine_graph(rows, torch.tensor([1.0, 0.0], dtype=DTYPE), 1, 2)
    found = clever(
        graph, torch.zeros(1, 1, 2, dtype=DTYPE), Ball(torch.ones(1, 1, dtype=DTYPE), None), torch.tensor([-1.0, 1.0], dtype=DTYPE), 1.0, 8, 20, 0
    )
    assert found.value == 0


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_neither_batches_at_once_nor_steps_that_do_not_move_matter(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = random_network(cell, layers=2, bidirectional=True, n=2, s=3, classes=3, readout="mean", seed=1)
    graph, x = network.unroll(4), torch.randn(1, 4, 2, generator=torch.Generator().manual_seed(0), dtype=DTYPE)
    known = unmoved(graph, x, frozenset({2}))
    assert any(isinstance(graph.nodes[i], Nonlinear) for i in known)
    there = x.repeat(5, 1, 1)
    there[:, 2] += torch.arange(5, dtype=DTYPE)[:, None]
    assert torch.allclose(logits(graph, there, known), logits(graph, there), rtol=1e-12)
    label, other = logits(graph, x)[0].sort(descending=True).indices[:2]
    row = torch.eye(3, dtype=DTYPE)[other] - torch.eye(3, dtype=DTYPE)[label]
    ball = Ball(torch.tensor([[0, 0, 1, 0]], dtype=DTYPE), Fraction(2))
    whole = clever(graph, x, ball, row, 1.0, 8, 20, 0)
    monkeypatch.setattr("vlang.runtime.attacks.clever.AT_ONCE", 1)
    assert clever(graph, x, ball, row, 1.0, 8, 20, 0).value == pytest.approx(whole.value, rel=1e-9)


@pytest.mark.parametrize("at_most", [None, 1])
@pytest.mark.parametrize("norm", [Fraction(1), Fraction(2), None])
def test_an_affine_margin_is_estimated_exactly(norm: Fraction | None, at_most: int | None) -> None:
    g = torch.Generator().manual_seed(0)
    rows = torch.randn(2, 6, generator=g, dtype=DTYPE)
    graph = affine_graph(rows, torch.tensor([9.0, 0.0], dtype=DTYPE), 2, 3)
    ball = Ball(torch.tensor([[1.0, 0.5]], dtype=DTYPE), norm, at_most)
    row = torch.tensor([-1.0, 1.0], dtype=DTYPE)
    x = torch.randn(1, 2, 3, generator=g, dtype=DTYPE)
    found = clever(graph, x, ball, row, 1.0, 8, 20, 0)
    q = 1.0 if norm is None else float("inf") if norm == 1 else 2.0
    slopes = torch.linalg.vector_norm((row @ rows).reshape(2, 3), ord=q, dim=1) * ball.radii[0]
    margin = 9 + float((rows[0] - rows[1]) @ x.flatten())
    exact = margin / float(slopes.sum() if at_most is None else slopes.max())
    assert found.value == pytest.approx(exact, rel=1e-6)


def test_an_estimate_says_so_and_lies_where_it_should() -> None:
    ask = "network = net, input = d, target = random(seed=0), perturbation = { frames = all, norm = 2 }"
    found = answered(f"""rspec 1
network net {{ checkpoint = "{SPECS}/checkpoints/digits_lstm.safetensors" }}
dataset d {{ source = "{SPECS}/data/digits_test.npz", pick = first(6), where = correct }}
radius cert {{ {ask}, engine = {{ method = planes }} }}
attack pgd {{ {ask}, restarts = 4 }}
estimate clever {{ {ask}, samples = 64, batches = 20 }}
""")
    for proved, near, guess in zip(found["cert"].rows, found["pgd"].rows, found["clever"].rows, strict=True):
        assert guess.verdict == "estimate"
        assert guess.estimate is not None
        assert guess.points is not None
        assert guess.fit is not None
        assert proved.radius is not None
        assert near.radius is not None
        assert proved.radius <= guess.estimate <= 1.5 * near.radius
        assert guess.points >= 64 * 20
