"""Ritz values close in on a matrix's spectrum, their quadrature on its resolvent; what proves nothing is only a proposal."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch

from tests.helpers import random_network
from vlang.cost import cost
from vlang.lower.spec import compile_spec
from vlang.results import RadiusRow
from vlang.runtime.bounds.coordinates import Coordinates
from vlang.runtime.bounds.krylov import ritz
from vlang.runtime.bounds.multipliers import Room, largest
from vlang.runtime.execute import execute
from vlang.runtime.sets.ball import Ball
from vlang.text.source import Source

DTYPE = torch.float64


def symmetric(d: int, rank: int, seed: int, rows: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(1, rows, d, rank, generator=generator, dtype=DTYPE)
    sign = torch.randn(1, rows, 1, rank, generator=generator, dtype=DTYPE).sign()
    return (a * sign) @ a.mT / d


@pytest.mark.parametrize(("d", "rank", "dtype"), [(6, 6, DTYPE), (40, 3, DTYPE), (40, 40, DTYPE), (120, 120, torch.float32), (120, 9, torch.float32)])
def test_ends_of_the_spectrum_and_the_resolvent(d: int, rank: int, dtype: torch.dtype) -> None:
    for seed in range(3):
        less = symmetric(d, rank, seed)
        generator = torch.Generator().manual_seed(seed + 10)
        start = torch.randn(1, 5, d, generator=generator, dtype=DTYPE)
        diagonal = torch.rand(1, 5, d, generator=generator, dtype=DTYPE)
        a = torch.diag_embed(diagonal) - less
        values, vectors = torch.linalg.eigh(a)
        found = ritz(diagonal, less.to(dtype), start, 16)
        size, few = values.abs().amax(-1, keepdim=True), 1e-5 if dtype == torch.float32 else 1e-9
        low = found.values[..., :1]
        assert bool((low >= values[..., :1] - few * size).all())  # never beyond the end
        assert bool((low - found.doubt <= values[..., :1] + 0.05 * size).all())
        shift = 0.1 * size - values[..., :1]
        true = ((vectors.mT @ start[..., None])[..., 0] ** 2 / (values + shift)).sum(-1, keepdim=True)
        assert bool(((found.resolvent(shift) - true).abs() <= 0.02 * true).all())
        assert bool(found.resolvent(-low - 0.01 * size).isinf().all())


def test_an_exhausted_space_says_nothing_false() -> None:
    """Zero forms, forms of rank one and starts that are eigenvectors leave nothing to go on with."""
    eye = torch.eye(50, dtype=DTYPE)
    for less, start in (
        (torch.zeros(1, 1, 50, 50, dtype=DTYPE), torch.ones(1, 1, 50, dtype=DTYPE)),
        ((3 * eye[0, :, None] * eye[0])[None, None], eye[None, :1]),
    ):
        found = ritz(torch.ones(1, 1, 50, dtype=DTYPE), less, start, 16)
        assert bool(found.values.isfinite().all())
        assert float(found.values.min()) >= -2 - 1e-9
        assert float(found.resolvent(torch.full((1, 1, 1), 4.0, dtype=DTYPE))) == pytest.approx(50 / 5 if less.abs().max() == 0 else 1 / 2)


@pytest.mark.parametrize("d", [8, 48, 130])
def test_a_wrong_proposal_costs_tightness_alone(d: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the spectrum's end is told too high, what is proved holds still, or nothing is."""
    form, linear = symmetric(d, d, 3), torch.randn(1, 5, d, generator=torch.Generator().manual_seed(1), dtype=DTYPE)
    room, none = Room(torch.tensor([[0.7, 0.3]], dtype=DTYPE)), torch.zeros(1, 5, dtype=DTYPE)
    ((right, _),) = largest(form, none, room, [linear])

    def optimistic(*args: object) -> object:
        found = ritz(*args)  # type: ignore[arg-type]
        return type(found)(found.values + found.values.abs().amax(-1, keepdim=True), found.weights, found.doubt)

    monkeypatch.setattr("vlang.runtime.bounds.multipliers.ritz", optimistic)
    ((wrong, _),) = largest(form, none, room, [linear])
    z = torch.randn(20_000, 2, d // 2, generator=torch.Generator().manual_seed(2), dtype=DTYPE)
    z = (z / torch.linalg.vector_norm(z, dim=-1, keepdim=True) * torch.tensor([[0.7], [0.3]], dtype=DTYPE)).flatten(1)
    reached = ((z @ linear[0].mT) + ((z @ form[0]) * z).sum(-1).mT / 2).amax(0)
    for found in (right, wrong):
        assert bool((found[0] >= reached).all())
    assert bool(right.isfinite().all())


def test_forms_are_made_by_name_whatever_they_cost(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a ladder spends on forms is bounded by their seconds, which it says; asked for by name they are made, and for a budget that pays them."""

    def rows(method: str, more: str = "") -> list[RadiusRow]:
        text = f"""rspec 1
network net {{ checkpoint = "rnn.safetensors" }}
dataset data {{ source = "data.npz", pick = first(4), where = correct }}
radius q {{ network = net, input = data, perturbation = {{ frames = all, norm = 2 }}, engine = {{ method = {method}, tolerance = 0.05{more} }} }}
"""
        plan = compile_spec(Source(str(world / "x.rspec"), text))
        planned.append(cost(plan.queries[0]).flop)
        return [r for r in execute(plan, "0").queries[0].rows if isinstance(r, RadiusRow)]

    planned: list[float] = []
    planes, auto, named = rows("planes"), rows("auto"), rows("quadratic")
    assert {r.method for r in auto} == {"quadratic"}
    monkeypatch.setattr("vlang.cost.AFFORDED", 1e-9)
    dear = rows("auto")
    assert {r.method for r in dear} == {"planes"}
    assert {r.reason for r in dear} == {"by planes: a pass of quadratic forms would take about 1 s of a core (a larger budget pays it)"}
    assert {r.method for r in rows("auto", ", budget = 1000 s")} <= {"quadratic", "joint"}
    assert [r.radius for r in dear] == pytest.approx([r.radius for r in planes], rel=0.06)
    assert [r.radius for r in rows("quadratic")] == [r.radius for r in named]
    assert all(a.radius > b.radius for a, b in zip(named, dear, strict=True))
    without, climbed, by_name, spared, paid, again = planned
    assert without == spared < climbed == by_name == again == paid


@pytest.mark.parametrize("kind", ["radius", "verify", "bounds"])
def test_no_forms_where_they_were_asked_for_are_told(kind: str, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    eps = "" if kind == "radius" else ", eps = 0.001"
    text = f"""rspec 1
network net {{ checkpoint = "rnn.safetensors" }}
dataset data {{ source = "data.npz", pick = first(4), where = correct }}
{kind} q {{ network = net, input = data, perturbation = {{ frames = all, norm = 2 }}{eps}, engine = {{ method = quadratic, tolerance = 0.1 }} }}
"""
    plan = compile_spec(Source(str(world / "x.rspec"), text))
    assert {r.reason for r in execute(plan, "0").queries[0].rows} == {None}
    monkeypatch.setattr("vlang.runtime.methods.questions.LARGEST_FORM", 5)
    told = "by planes: the quadratic forms would have more than 5 coordinates"
    assert {r.reason for r in execute(plan, "0").queries[0].rows} == {told}


def test_the_flop_of_a_pass_grow_as_its_forms_do() -> None:
    def flop(frames: int, hidden: int) -> float:
        network = random_network("rnn_tanh", n=hidden, s=hidden)
        graph = network.unroll(frames)
        ball = Ball(torch.ones(1, frames, dtype=DTYPE), Fraction(2))
        return Coordinates(ball, hidden, None).pass_flop(graph)

    assert 7 < flop(6, 8) / flop(3, 8) < 30  # about the fourth power of the frames
    assert 10 < flop(4, 16) / flop(4, 8) < 20  # and of the units
    assert flop(1, 8) < flop(2, 8) / 3  # of one frame only the outputs are forms: nothing that bends stands below a box
