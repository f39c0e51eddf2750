"""Coarse arithmetic itself (tests/coarse.py), and the error terms of what asks for bounds: attacks, searches, pieces, queries, certificates."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch
from flint import arb
from torch import Tensor

from tests.coarse import RULES, TINY, UNIT, coarse, exact, grid, numbers
from tests.helpers import DTYPE
from vlang.lower.spec import compile_spec
from vlang.plan import DataError
from vlang.results import BoundsRow, VerifyRow
from vlang.runtime import rounding
from vlang.runtime.attacks.base import linear_distance, project, steepest
from vlang.runtime.evidence import certificate
from vlang.runtime.execute import execute
from vlang.runtime.graph.enclosure import distances
from vlang.runtime.methods import pieces
from vlang.runtime.methods.search import _point, certified_radii
from vlang.runtime.network import load
from vlang.runtime.queries import bounds, verify
from vlang.runtime.queries.batches import Loaded, prepare
from vlang.runtime.queries.samples import Samples
from vlang.runtime.sets.ball import Ball
from vlang.text.source import Source


@pytest.mark.parametrize("rule", RULES)
def test_results_are_off_by_less_than_a_unit_and_exact_ones_by_nothing(rule: str) -> None:
    x, y = numbers(0, 200), numbers(1, 200)
    with coarse(rule):
        total, product, root, halves, far = x + y, x * y, x.abs().sqrt(), x / 2, x.tanh()
        assert rounding.unit_roundoff(DTYPE) == UNIT
    for a, b, t, p, r in zip(*map(exact, (x, y, total, product, root)), strict=True):
        assert abs(t - (a + b)) <= Fraction(UNIT) * abs(a + b)
        assert abs(p - a * b) <= Fraction(UNIT) * abs(a * b)
        assert abs(r * r - abs(a)) <= Fraction(2.5 * UNIT) * abs(a)
    assert torch.equal(halves, x / 2)
    off = ((far - x.tanh()) / x.tanh()).abs() / UNIT
    assert bool((off <= rounding.LIBM_ULPS).all())
    assert float(off.max()) > rounding.LIBM_ULPS - 1.5


@pytest.mark.parametrize("rule", RULES)
def test_sums_and_factors_are_built_step_by_step(rule: str) -> None:
    ones = torch.cat([torch.ones(1, dtype=DTYPE), torch.full((100,), UNIT / 4, dtype=DTYPE)])
    a = numbers(2, 3, 3)
    spd = grid(a @ a.mT) + torch.eye(3, dtype=DTYPE)
    with coarse(rule):
        total, by_product = ones.sum(), ones[None] @ torch.ones(101, 1, dtype=DTYPE)
        factor, failed = torch.linalg.cholesky_ex(spd)
        x = numbers(3, 3)
        x += 1.0
        x[1:] *= 3.0
    expected = {"down": 1.0, "inward": 1.0, "up": 1 + 100 * UNIT, "outward": 1 + 100 * UNIT}
    if rule in expected:
        assert float(total) == float(by_product) == expected[rule]
    assert int(failed) == 0
    assert float((factor @ factor.mT - spd).abs().max()) < 20 * UNIT
    assert torch.allclose(x, (numbers(3, 3) + 1) * torch.tensor([1.0, 3, 3], dtype=DTYPE), rtol=1e-8)


def test_what_is_smaller_than_the_smallest_numbers_vanishes() -> None:
    small = torch.tensor([TINY, -TINY], dtype=DTYPE)
    with coarse("inward"):
        assert bool((small * small == 0).all())
        assert bool((small / 2 == small * 0.5).all())
    with coarse("up"):
        assert bool((small.abs() * small.abs() > 0).all())


# -- attacks ----------------------------------------------------------------------------------------------------------------


def test_where_nothing_rises_no_step_is_taken() -> None:
    """A gradient that vanishes on a frame, for every norm; and a perturbation of nothing."""
    for norm in (Fraction(1), Fraction(3, 2), Fraction(2), None):
        ball, zero = Ball(torch.tensor([[0.0, 1.0]], dtype=DTYPE), norm), torch.zeros(1, 2, 3, dtype=DTYPE)
        assert float(steepest(zero, ball).abs().max()) == 0.0
        assert float(project(zero, ball).abs().max()) == 0.0


def few_bits(values: Tensor) -> bool:
    return torch.equal(grid(values, bits=rounding.REPORTED_BITS), values)


def test_guesses_are_made_of_few_bits() -> None:
    found = linear_distance(numbers(0, 9).abs(), torch.randn(9, 2, 3, dtype=DTYPE), Ball(torch.rand(9, 2, dtype=DTYPE), Fraction(2)))
    assert few_bits(found)


# -- what is known of computed values -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_a_number_and_its_distance_computed_hold_the_enclosed_one(rule: str) -> None:
    computed, away = numbers(0, 100), exact(numbers(1, 100))
    true = [c + a * Fraction(1, 1000) ** (k % 5) for k, (c, a) in enumerate(zip(exact(computed), away, strict=True))]
    with coarse(rule):
        found = distances([arb(t.numerator) / arb(t.denominator) for t in true], computed)
        low, high = computed - found, computed + found
    assert all(a <= value <= b for a, value, b in zip(exact(low), true, exact(high), strict=True))


# -- methods --------------------------------------------------------------------------------------------------------------------


def test_every_eps_that_is_tried_is_made_of_few_bits() -> None:
    """Aims inside the bracket, and aims that lie on its lower end."""
    low = torch.rand(50, dtype=DTYPE, generator=torch.Generator().manual_seed(0)) + 0.5
    for aim in (low * 1.3, low):
        for high in (low * 2, low * 1.002):
            eps = _point(aim, low, high, torch.zeros(50, dtype=torch.bool), torch.zeros(50, dtype=DTYPE), 1e-3, 1e9)
            assert torch.equal(grid(eps, bits=rounding.FINER + 10), eps)
            assert bool((eps > low * (1 - 1e-3)).all())


def test_a_search_ends_where_numbers_do() -> None:
    """Nothing is certified, however small: below about 1e-278 nothing is tried any more."""
    tried: list[float] = []

    def never(_index: Tensor, eps: Tensor) -> Tensor:
        tried.extend(eps.tolist())
        return -torch.ones_like(eps)

    found = certified_radii(never, torch.tensor([1e-280], dtype=DTYPE), torch.ones(1, dtype=DTYPE), 1e-3, 1e9)
    assert len(tried) == 1
    assert bool(found.complete.all())


def test_pieces_overlap() -> None:
    """What lies between two pieces is in both, by more than their ends and normals are rounded."""
    seen: list[tuple[Tensor, Tensor]] = []

    def relax(_bounds: Any, index: Tensor, _eps: Tensor, cut: tuple[Tensor, Tensor, Tensor] | None = None) -> Tensor:
        if cut is not None:
            seen.append(cut[1:])
        return torch.full((len(index),), -1e-3 if cut is None else 1.0, dtype=DTYPE)

    ball = Ball(torch.ones(1, 1, dtype=DTYPE), Fraction(2))
    asked: Any = SimpleNamespace(worthwhile=False, nominal=torch.ones(1, dtype=DTYPE), ball=ball, relax=relax)
    direction = torch.tensor([[[[0.6, 0.8]]]], dtype=DTYPE)
    with mock.patch.object(pieces, "cutting_directions", return_value=(direction, torch.ones(1, 1, dtype=DTYPE))):
        pieces.sliced(asked)(torch.tensor([0]), torch.ones(1, dtype=DTYPE) * 0.3)
    low, high = seen[0]
    (whole_low, whole_high) = pieces.spanned(ball.scaled(0.3), direction)
    assert float(low.min()) < float(whole_low) * (1 + 1e-14)
    assert float(high.max()) > float(whole_high) * (1 + 1e-14)


# -- queries ----------------------------------------------------------------------------------------------------------------


def loaded(world: Path, text: str) -> Loaded[Any]:
    variant = compile_spec(Source(str(world / "x.rspec"), text)).queries[0].variants[0]
    return prepare(variant, Samples.load(variant, load.network(variant.network, DTYPE, torch.device("cpu"))))


HEAD = """rspec 1
network n { checkpoint = "lstm.safetensors" }
"""
VALUES = "input i { values = [[0.3, -0.2, 0.1], [0.5, 0.1, -0.7]] }\n"


def test_weights_of_frames_are_rounded_up(world: Path) -> None:
    """0.3 is more than the nearest float."""
    asked = loaded(world, HEAD + VALUES + "radius r { network = n, input = i, perturbation = { frames = all, norm = 2, weights = [0.3, 0.9] } }\n")
    assert all(Fraction(x) >= w for x, w in zip(asked.ball(asked.cases).radii[0].tolist(), (Fraction(3, 10), Fraction(9, 10)), strict=True))


@pytest.mark.parametrize("kind", ["bounds", "verify", "certificate"])
def test_a_stated_eps_is_rounded_up(kind: str, world: Path, tmp_path: Path) -> None:
    word = "bounds" if kind == "bounds" else "verify"
    keys = "eps = 0.3, perturbation = { frames = all, norm = 2 }, engine = { method = planes }"
    text = f"{HEAD}{VALUES}{word} v {{ network = n, input = i, {keys} }}\n"
    asked = loaded(world, text)
    seen: list[float] = []

    def noting(_asked: Any) -> Callable[[Tensor, Tensor], Tensor]:
        def margins(index: Tensor, eps: Tensor) -> Tensor:
            seen.extend(eps.tolist())
            return torch.full_like(eps, -1.0 if kind == "certificate" else 1.0)

        return margins

    context: Any = SimpleNamespace(late=lambda: False)
    every = dict.fromkeys(verify.METHODS, noting)
    if kind == "verify":
        with mock.patch.object(verify, "METHODS", every):
            verify._verify(asked, asked.cases, Fraction(3, 10), context)
    elif kind == "bounds":

        def scaled(self: Ball, eps: float) -> Ball:
            seen.append(eps)
            return self

        with mock.patch.object(Ball, "scaled", scaled):
            bounds._bound(asked, asked.cases, Fraction(3, 10), context)
    else:
        with mock.patch.object(certificate, "METHODS", every):
            sizes = dict.fromkeys(asked.cases, Fraction(3, 10))
            certificate._proofs(mock.Mock(), asked, "v", asked.variant.engine.method, sizes, {}, lambda: False)
    assert seen
    assert all(Fraction(x) >= Fraction(3, 10) for x in seen)


def test_bounds_are_reported_in_few_bits(world: Path) -> None:
    for word in ("bounds", "verify"):
        text = f"{HEAD}{VALUES}{word} v {{ network = n, input = i, eps = 0.01, perturbation = {{ frames = all, norm = 2 }} }}\n"
        row = execute(compile_spec(Source(str(world / "x.rspec"), text)), "test").queries[0].rows[0]
        assert isinstance(row, BoundsRow | VerifyRow)
        assert row.margin is not None
        numbers_ = [row.margin] + ([*(row.lower or ()), *(row.upper or ())] if isinstance(row, BoundsRow) else [])
        assert few_bits(torch.tensor(numbers_, dtype=DTYPE))


def test_data_on_a_clips_ends_lie_in_it(world: Path) -> None:
    """0.3 and 0.55 as floats are beyond the decimal numbers; what attacks make of them is not."""
    for low, high in ((0.1, 0.7), (0.3, 0.55), (-0.7, -0.1)):
        values = f"input i {{ values = [[{low}, {high}, {low}], [{high}, {low}, {high}]] }}\n"
        clip = f"clip = [{low}, {high}]"
        asked = loaded(world, f"{HEAD}{values}radius r {{ network = n, input = i, perturbation = {{ frames = all, norm = inf, {clip} }} }}\n")
        points = asked.clipped(asked.inputs + torch.tensor([[[1.0], [-1.0]]], dtype=DTYPE), asked.inputs)
        assert all(Fraction(str(low)) <= x <= Fraction(str(high)) for x in exact(points))
        down, up = asked.ball(asked.cases).clip or (asked.inputs, asked.inputs)
        for x, d, u in zip(*map(exact, (asked.inputs, down, up)), strict=True):
            assert x - d <= Fraction(str(low))
            assert x + u >= Fraction(str(high))
    rounded = f"input i {{ values = [[{math.nextafter(0.1, 0)}, 0.2, 0.3]] }}\n"
    text = f"{HEAD}{rounded}radius r {{ network = n, input = i, perturbation = {{ frames = all, norm = 2, clip = [0.1, 0.7] }} }}\n"
    loaded(world, text)
    with pytest.raises(DataError):
        loaded(world, text.replace(str(math.nextafter(0.1, 0)), "0.0999999"))
