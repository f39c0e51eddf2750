"""No concrete point leaves any bound, intermediate ones included; a mutated relaxation is caught."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers import DTYPE, ascend, points, random_network
from vlang.runtime.ball import Ball
from vlang.runtime.bounds import Nominal, Relaxed
from vlang.runtime.concrete import trajectory
from vlang.runtime.quadratic import Quadratic
from vlang.runtime.relaxations import RELAXATIONS, Plane, Planes, Rule

NORMS = [Fraction(1), Fraction(11, 10), Fraction(2), Fraction(3), Fraction(50), None]


@st.composite
def problems(draw: st.DrawFn) -> tuple[Nominal, Ball, Callable[[Nominal, Ball], Relaxed]]:
    cell = draw(st.sampled_from(["rnn_tanh", "rnn_relu", "lstm", "gru"]))
    frames = draw(st.integers(1, 4))
    head = draw(st.sampled_from([(), ("relu",), ("tanh",), ("sigmoid",)]))
    network = random_network(
        cell,
        layers=draw(st.integers(1, 2)),
        bidirectional=draw(st.booleans()),
        n=draw(st.integers(1, 3)),
        s=draw(st.integers(1, 4)),
        classes=3,
        readout=draw(st.sampled_from(["last", "mean", "max"])),
        head=head,
        scale=draw(st.sampled_from([0.3, 1.0, 3.0])),
        initial=draw(st.booleans()),
        seed=draw(st.integers(0, 10**6)),
    )
    g = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    x = torch.randn(2, frames, network.input_size, generator=g, dtype=DTYPE)
    eps = draw(st.sampled_from([1e-6, 1e-2, 0.1, 0.5, 3.0]))
    moved = draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=frames, max_size=frames).filter(any))
    radii = torch.tensor([moved, moved[::-1]], dtype=DTYPE) * eps
    at_most = draw(st.one_of(st.none(), st.integers(1, frames)))
    room = (torch.rand(x.shape, generator=g, dtype=DTYPE), torch.rand(x.shape, generator=g, dtype=DTYPE)) if draw(st.booleans()) else None
    ball = Ball(radii, draw(st.sampled_from(NORMS)), at_most, room)
    return (
        Nominal.at(network.unroll(frames), x),
        ball,
        draw(st.sampled_from([by_rule("constant"), by_rule("line"), by_rule("plane"), Quadratic, Quadratic])),
    )


def by_rule(rule: Rule) -> Callable[[Nominal, Ball], Relaxed]:
    return lambda nominal, ball: Relaxed(nominal, ball, rule)


def violations(nominal: Nominal, ball: Ball, bounds: Callable[[Nominal, Ball], Relaxed]) -> float:
    """How far any tried point leaves a box or an output row; at most 0 for sound bounds."""
    with torch.no_grad():
        relaxed = bounds(nominal, ball)
        rows = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=DTYPE)
        uppers = relaxed.upper(nominal.graph.output, rows)
        worst = -float("inf")
        for x in points(nominal, ball, 24):
            values = trajectory(nominal.graph, x)
            for value, (lo, hi) in zip(values, relaxed.boxes, strict=True):
                slack = 1e-13 * (1 + value.abs())  # of the concrete evaluation itself
                worst = max(worst, float((value - hi - slack).max()), float((lo - value - slack).max()))
            worst = max(worst, float((values[nominal.graph.output] @ rows.T - uppers - 1e-12).max()))
    for i in range(rows.shape[0]):
        found = ascend(nominal, ball, nominal.graph.output, rows[i])
        worst = max(worst, float((found - uppers[:, i] - 1e-12 * (1 + found.abs())).max()))
    return worst


@given(problems())
@settings(max_examples=110, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_points_never_leave_a_bound(problem: tuple[Nominal, Ball, Callable[[Nominal, Ball], Relaxed]]) -> None:
    assert violations(*problem) <= 0


@pytest.mark.parametrize("op", ["tanh", "relu", "sigmoid_mul", "sigmoid_tanh", "cosigmoid_tanh"])
def test_a_mutated_relaxation_is_caught(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Upper offsets lowered by 1e-3 (of one nonlinearity): the check above must see it."""
    cell = {"tanh": "rnn_tanh", "relu": "rnn_relu", "cosigmoid_tanh": "gru"}.get(op, "lstm")
    true = type(RELAXATIONS[op]).planes_with

    def lowered(self: object, slopes: object, lo: object, hi: object) -> Planes:
        planes = true(self, slopes, lo, hi)  # type: ignore[arg-type]
        if self is not RELAXATIONS[op]:
            return planes
        return Planes(planes.lower, Plane(planes.upper.slopes, planes.upper.offset - 1e-3))

    monkeypatch.setattr(type(RELAXATIONS[op]), "planes_with", lowered)
    caught = False
    for seed in range(6):
        network = random_network(cell, s=3, seed=seed)
        x = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(seed), dtype=DTYPE)
        caught = caught or violations(Nominal.at(network.unroll(2), x), Ball(torch.full((2, 2), 1e-2, dtype=DTYPE), None), by_rule("plane")) > 0
    assert caught


def test_fixed_first_frames_are_exact() -> None:
    """Frames before the first perturbed one: every box there is a point with the concrete value (the trap of a released tool)."""
    for cell in ("rnn_tanh", "rnn_relu", "lstm", "gru"):
        network = random_network(cell, s=4, seed=2)
        x = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(1), dtype=DTYPE)
        nominal = Nominal.at(network.unroll(4), x)
        radii = torch.zeros(2, 4, dtype=DTYPE)
        radii[:, 2] = 0.1
        relaxed = Relaxed(nominal, Ball(radii, Fraction(2)), "plane")
        live = nominal.graph.reached_from(frozenset({2}))
        assert not all(live)
        for i, on in enumerate(live):
            if not on:
                assert torch.equal(relaxed.boxes[i][0], nominal.values[i])
        # A zero radius leaves nothing but rounding.
        still = Relaxed(nominal, Ball(radii * 1e-12, Fraction(2)), "plane")
        lo, hi = still.boxes[nominal.graph.output]
        assert float((hi - lo).max()) < 1e-8


@pytest.mark.parametrize("cell", ["rnn_tanh", "rnn_relu", "lstm", "gru"])
def test_any_k_is_the_union_of_its_subsets(cell: str) -> None:
    """Bounds for any(k) cover every choice of k frames, and any(m) equals all."""
    from itertools import combinations

    network = random_network(cell, seed=4)
    x = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(3), dtype=DTYPE)
    nominal = Nominal.at(network.unroll(4), x)
    ones = torch.full((1, 4), 0.2, dtype=DTYPE)
    eye = torch.eye(3, dtype=DTYPE)
    out = nominal.graph.output
    every = Relaxed(nominal, Ball(ones, Fraction(2)), "plane").upper(out, eye)
    assert torch.equal(Relaxed(nominal, Ball(ones, Fraction(2), 4), "plane").upper(out, eye), every)
    for k in (1, 2, 3):
        some = Ball(ones, Fraction(2), k)
        upper = Relaxed(nominal, some, "plane").upper(out, eye)
        assert bool((upper <= every + 1e-9).all())
        for chosen in combinations(range(4), k):
            radii = torch.zeros_like(ones)
            radii[:, list(chosen)] = 0.2
            subset = Ball(radii, Fraction(2))
            for p in points(nominal, subset, 30):
                assert bool((trajectory(nominal.graph, p)[out] <= upper + 1e-12).all())
