"""Joint bounds: no point leaves them, each part of their proof is needed, and they are tighter than what they begin with."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers import DTYPE, ascend, points, random_network
from vlang.runtime.bounds import joint as module
from vlang.runtime.bounds.coordinates import chart_of
from vlang.runtime.bounds.joint import Form, Joint, Known, Trace
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.graph.concrete import trajectory
from vlang.runtime.network.unroll import Network
from vlang.runtime.sets.ball import Ball
from vlang.words.cells import CELLS


def walk(nominal: Nominal, ball: Ball) -> Joint:
    return Joint(nominal, ball, chart_of(nominal.graph, ball, nominal.inputs.shape[-1])).run()


def bounds(relaxed: Joint, rows: Tensor) -> Tensor:
    """Of every row, whatever its sign. shape: rows [R, w] -> [B, R]."""
    top = relaxed.nominal.graph.output
    forms = [Form.of(Trace(relaxed, b, top)) for b in range(relaxed.nominal.inputs.shape[0])]
    return torch.stack([torch.stack([proposed(form, row) for row in rows]) for form in forms])


def proposed(form: Form | None, row: Tensor) -> Tensor:
    graphs = None if form is None else form.search(row, sign=False)
    return torch.tensor(torch.inf, dtype=DTYPE) if form is None or graphs is None else form.upper(row, graphs)


def excess(nominal: Nominal, ball: Ball, rows: Tensor, uppers: Tensor) -> float:
    """How far any tried point is above its bound."""
    worst = -float("inf")
    with torch.no_grad():
        for x in points(nominal, ball, 24):
            worst = max(worst, float((trajectory(nominal.graph, x)[nominal.graph.output] @ rows.T - uppers - 1e-12).max()))
    for i in range(rows.shape[0]):
        found = ascend(nominal, ball, nominal.graph.output, rows[i])
        worst = max(worst, float((found - uppers[:, i] - 1e-12 * (1 + found.abs())).max()))
    return worst


def asked(network: Network, frames: int, eps: float, norm: Fraction | None, seed: int = 0, batch: int = 1) -> tuple[Nominal, Ball, Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, frames, 3, generator=g, dtype=DTYPE)
    radii = torch.full((batch, frames), eps, dtype=DTYPE)
    rows = torch.randn(2, 3, generator=g, dtype=DTYPE)
    return Nominal.at(network.unroll(frames), x), Ball(radii, norm), rows


@pytest.mark.parametrize("cell", list(CELLS))
@pytest.mark.parametrize("norm", [Fraction(2), None])
def test_points_never_leave_a_joint_bound(cell: str, norm: Fraction | None) -> None:
    for seed, eps in ((0, 0.05), (1, 0.4)):
        network = random_network(cell, s=3, seed=seed)
        nominal, ball, rows = asked(network, 3, eps, norm, seed)
        relaxed = walk(nominal, ball)
        uppers = bounds(relaxed, rows)
        assert bool(uppers.isfinite().all())
        assert excess(nominal, ball, rows, uppers) <= 0
        assert bool((uppers < super(Joint, relaxed).upper(nominal.graph.output, rows)).all()) or eps < 0.1


@pytest.mark.parametrize(
    ("norm", "at_most", "clip", "extra"),
    [
        (Fraction(1), None, False, {"layers": 2}),
        (Fraction(3, 2), None, False, {"bidirectional": True}),
        (Fraction(2), 1, False, {"head": ("relu", "none"), "readout": "mean"}),
        (None, None, True, {"head": ("relu", "none"), "readout": "mean"}),
        (None, None, True, {"layers": 2}),
    ],
)
def test_other_sets(norm: Fraction | None, at_most: int | None, clip: bool, extra: dict[str, Any]) -> None:
    """Balls that hold the set are sound, tight or not; a stack of layers, two directions, a head; frames that rest in some rows."""
    network = random_network("gru" if "layers" in extra else "lstm", s=2, seed=3, **extra)
    nominal, ball, rows = asked(network, 3, 0.3, norm, 5, batch=2)
    radii = ball.radii.clone()
    radii[0, 1], radii[1, 0] = 0, 0
    room = (torch.full_like(nominal.inputs, 0.2), torch.full_like(nominal.inputs, 0.25)) if clip else None
    ball = Ball(radii, norm, at_most, room)
    assert excess(nominal, ball, rows, bounds(walk(nominal, ball), rows)) <= 0


def test_deployed_semantics_are_wider() -> None:
    nominal, ball, rows = asked(random_network("lstm", s=3), 2, 0.2, Fraction(2))
    exact, deployed = bounds(walk(nominal, ball), rows), bounds(walk(replace(nominal, deployed=True), ball), rows)
    assert bool((deployed > exact).all())
    assert bool((deployed < exact + 1e-2).all())


def test_a_constraint_that_is_not_paid_for_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """M is what the whole graph needs; without it bounds fall below what points reach. So do they where the matrix or the balls are mutated."""
    network = random_network("lstm", s=3, seed=1)
    nominal, ball, rows = asked(network, 3, 0.4, Fraction(2), 1)
    relaxed = walk(nominal, ball)
    assert excess(nominal, ball, rows, bounds(relaxed, rows)) <= 0
    with monkeypatch.context() as mutated:
        mutated.setattr(module, "highest", lambda f, lo, hi, q: -1.0 - 0 * lo[0])
        assert excess(nominal, ball, rows, bounds(relaxed, rows)) > 0
    proved = module.proved
    with monkeypatch.context() as mutated:
        mutated.setattr(module, "proved", lambda form, *rest: proved(form - 10 * torch.eye(form.shape[-1], dtype=DTYPE), *rest))
        assert excess(nominal, ball, rows, bounds(relaxed, rows)) > 0
    with monkeypatch.context() as mutated:
        mutated.setattr(
            module, "proved", lambda form, error, room, lam, linear: proved(form, error, replace(room, radii=room.radii / 3), lam, linear)
        )
        assert excess(nominal, ball, rows, bounds(relaxed, rows)) > 0


def test_decisions_are_those_of_the_bound() -> None:
    """`upper` goes on until a row stays above 0 and never loosens what it begins with."""
    nominal, ball, _ = asked(random_network("lstm", s=3, seed=2), 3, 0.1, Fraction(2), 2, batch=2)
    relaxed = walk(nominal, ball)
    logits = nominal.logits
    best = int(logits[0].argmax())
    margins = torch.stack([torch.eye(3, dtype=DTYPE)[j] - torch.eye(3, dtype=DTYPE)[best] for j in range(3) if j != best])
    before = super(Joint, relaxed).upper(nominal.graph.output, margins)
    after = relaxed.upper(nominal.graph.output, margins)
    assert bool((after <= before).all())
    assert excess(nominal, ball, margins, after) <= 0


def test_constraints_of_one_eps_hold_at_another() -> None:
    """Whatever they prove there: of a smaller set, a larger one, and one in which what moves now was at rest."""
    network = random_network("lstm", s=3, seed=1)
    nominal, ball, rows = asked(network, 3, 0.2, Fraction(2), 1)
    top = nominal.graph.output
    graphs = Form.of(Trace(walk(nominal, ball), 0, top)).search(rows[0], sign=False)
    rested = replace(graphs, by_node=dict(list(graphs.by_node.items())[1:]))
    for scale in (0.01, 0.5, 1.0, 1.5, 4.0):
        there = walk(nominal, ball.scaled(scale))
        form = Form.of(Trace(there, 0, top))
        assert excess(nominal, ball.scaled(scale), rows[:1], form.upper(rows[0], graphs).view(1, 1)) <= 0
        assert bool(form.upper(rows[0], rested).isinf()) or scale < 0.1
    relaxed = walk(nominal, ball)
    relaxed.known = [Known({0: rested}, hardest=1)]
    assert excess(nominal, ball, rows, relaxed.upper(top, rows)) <= 0


def test_constraints_depend_on_nothing_that_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """What moves by less than a share is taken to rest, in constraints that were found where it moved, too."""
    network = random_network("lstm", s=3, seed=1)
    nominal, ball, rows = asked(network, 3, 0.2, Fraction(2), 1)
    relaxed = walk(nominal, ball)
    form = Form.of(Trace(relaxed, 0, nominal.graph.output))
    assert form is not None
    graphs = form.search(rows[0], sign=False)
    assert graphs is not None
    monkeypatch.setattr(module, "RESTING", float((form.reach * form.unit)[:2].median()))
    resting = Form.of(Trace(relaxed, 0, nominal.graph.output))
    assert resting is not None
    held = resting._in_units(graphs)
    still = ~resting.moving.mT
    assert bool(still[:, :2].any())
    assert not bool(held.linear[still].any() | held.quadratic[still].any() | held.quadratic.mT[still].any())


def test_what_rests_has_no_form() -> None:
    nominal, ball, rows = asked(random_network("gru", s=3), 3, 0.0, Fraction(2))
    assert Form.of(Trace(walk(nominal, ball), 0, nominal.graph.output)) is None
    assert bool(bounds(walk(nominal, ball), rows).isinf().all())
