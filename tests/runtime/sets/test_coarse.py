"""Support functions in coarse arithmetic (tests/coarse.py), against rationals: each error term alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from tests.coarse import RULES, coarse, exact, grid, numbers
from tests.helpers import DTYPE
from vlang.runtime.sets.ball import Ball
from vlang.runtime.sets.piece import Piece, _Slab

SEEDS = range(6)
NORMS = [Fraction(1), Fraction(3, 2), Fraction(2), Fraction(5), None]


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=DTYPE)


@dataclass(frozen=True, eq=False)
class Tight(Ball):
    """A ball whose gains have no room at all: the rationals, rounded up."""

    def gain(self, frame: int, coefficient: Tensor) -> Tensor:
        assert self.norm is None
        assert self.clip is None
        found = [
            [sum(map(abs, exact(row)), Fraction(0)) * radius for row in rows]
            for rows, radius in zip(coefficient.expand(len(self.radii), -1, -1), exact(self.radii[:, frame]), strict=True)
        ]
        return grid(tensor(*(float(v) for row in found for v in row)), "outward").reshape(len(found), -1)


def dual_norm(values: Tensor, p: Fraction | None) -> Fraction:
    """At most 1e-13 below the real one, and not above it."""
    sizes = [abs(v) for v in exact(values)]
    if p is None:
        return sum(sizes, Fraction(0))
    if p == 1:
        return max(sizes)
    q, top = p / (p - 1), max(sizes)
    found = math.fsum(float(v / top) ** float(q) for v in sizes) ** float(1 / q)
    return Fraction(found * (1 - 1e-13)) * top


@pytest.mark.parametrize("p", [Fraction(k, 97) for k in range(98, 300, 7)])
def test_a_dual_exponent_is_rounded_down(p: Fraction) -> None:
    assert Fraction(Ball(torch.ones(1, 1, dtype=DTYPE), p).dual) <= p / (p - 1)


@pytest.mark.parametrize("rule", RULES)
def test_scaled_radii_are_not_below_their_product(rule: str) -> None:
    for seed in SEEDS:
        radii, eps = numbers(seed, 1, 5).abs(), numbers(seed + 50, 1, 1).abs()
        for factor in (1.0, 2.0**-160):
            with coarse(rule):
                found = Ball(radii * factor, None).scaled(eps * factor).radii
            true = [r * Fraction(factor) ** 2 * Fraction(float(eps)) for r in exact(radii)]
            assert all(f >= t for f, t in zip(exact(found), true, strict=True))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("wide", "small"), [(1.0, 1.0), (2.0**100, 2.0**-230), (2.0**-160, 2.0**-170)])
def test_a_gain_is_not_below_the_support(rule: str, norm: Fraction | None, wide: float, small: float) -> None:
    """Of numbers in the middle of the range, of those whose squares vanish, and of those whose products do."""
    for seed in SEEDS:
        a, radius = numbers(seed, 1, 1, 6) * small, numbers(seed + 50, 1, 1).abs() * wide
        with coarse(rule):
            found = Ball(radius, norm).gain(0, a)
        assert exact(found)[0] >= exact(radius)[0] * dual_norm(a, norm)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("norm", [None, Fraction(1)])
@pytest.mark.parametrize("small", [1.0, 2.0**-160])
def test_a_clipped_gain_is_not_below_the_support(rule: str, norm: Fraction | None, small: float) -> None:
    for seed in SEEDS:
        a, ways = numbers(seed, 1, 1, 6) * small, [numbers(seed + k, 1, 1, 6).abs() * small for k in (20, 40)]
        radius = tensor(2.0)[:, None] * small
        with coarse(rule):
            found = Ball(radius, norm, clip=(ways[0], ways[1])).gain(0, a)
        limits = [min(u if v > 0 else d, exact(radius)[0]) for v, d, u in zip(exact(a), *map(exact, ways), strict=True)]
        left, true = exact(radius)[0], Fraction(0)
        for size, limit in sorted(zip(map(abs, exact(a)), limits, strict=True), reverse=True):  # for p = 1 the largest first, as far as the norm goes
            way = limit if norm is None else min(limit, left)
            true, left = true + size * way, left - way
        assert exact(found)[0] >= true


def test_a_gain_of_a_fixed_frame_has_a_gradient() -> None:
    """Nothing is divided by its radius, 0."""
    for norm in NORMS:
        a = numbers(0, 1, 1, 4).requires_grad_()
        room = torch.ones(2, 1, 4, dtype=DTYPE) / 4
        gain = Ball(tensor(0.0, 1.0)[:, None], norm, clip=(room, room)).gain(0, a)
        (gradient,) = torch.autograd.grad(gain.sum(), a)
        assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("at_most", [None, 9])
def test_a_total_is_not_below_the_sum(rule: str, at_most: int | None) -> None:
    for seed in SEEDS:
        gains = [x[None] for x in numbers(seed, 12, 1).abs()]
        with coarse(rule):
            found = Ball(torch.ones(1, 12, dtype=DTYPE), None, at_most).total(gains)
        assert exact(found)[0] >= sum(sorted((exact(g)[0] for g in gains), reverse=True)[:at_most])


def test_a_piece_around_the_centre_is_seen_from_there() -> None:
    for norm in NORMS:
        g = torch.ones(1, 1, 2, 3, dtype=DTYPE)
        piece = Piece.between(Ball(tensor(0.0, 1.0)[None], norm), g, tensor(-0.1)[:, None], tensor(0.1)[:, None])
        assert float(piece.offset.abs().max()) == 0.0


@pytest.mark.parametrize("rule", RULES)
def test_supports_from_an_offset_are_not_below_the_truth(rule: str) -> None:
    for seed in SEEDS:
        a, offset = numbers(seed, 1, 2, 5), numbers(seed + 50, 1, 1, 5, size=1e3)
        here = tensor(1.0, 2.0)[None]
        piece = Piece(Ball(torch.ones(1, 1, dtype=DTYPE), None), offset[:, None], here[:, :1], here[:, 1:], offset)
        with coarse(rule):
            found = piece._from_offset(here, {0: a})
        for value, row, support in zip(exact(found), a[0], exact(here), strict=True):
            assert value >= support - sum(x * y for x, y in zip(exact(row), exact(offset), strict=True))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("unit", "end"), [(1.0, 0.0), (1e-6, 1e3)])
def test_an_edge_pays_for_its_product_and_for_the_subtraction(rule: str, unit: float, end: float) -> None:
    """A . delta <= support(fl(A - lam g)) + edge, in rationals: where A and lam g nearly cancel, and where the ends are what is large."""
    for seed in SEEDS:
        ball = Tight(torch.ones(1, 1, dtype=DTYPE), None)
        normal, lam = numbers(seed, 1, 1, 5, size=unit), numbers(seed + 50, 1, 1)
        a = grid(normal * lam[..., None] + numbers(seed + 99, 1, 1, 5, size=unit * 1e-6))
        low, high = (grid(x) for x in (end * (1 + numbers(seed + 7, 1, 1).abs()), end * (3 + numbers(seed + 8, 1, 1).abs())))
        with coarse(rule):
            slab = _Slab(ball, {0: normal}, low, high)
            shifted = slab.shifted({0: a}, lam)
            edge = slab.edge(shifted, lam)
        factor = exact(lam)[0]
        left = sum(abs(x - factor * y) for x, y in zip(exact(a), exact(normal), strict=True))
        true = left + max(factor * exact(low)[0], factor * exact(high)[0])
        assert sum(map(abs, exact(shifted[0]))) + exact(edge)[0] >= true


def test_hyperplanes_without_a_direction_tell_nothing() -> None:
    """0 . delta <= 0: whatever multiplier is found, the support is a number and that of the ball."""
    for norm in NORMS:
        ball = Ball(torch.ones(1, 1, dtype=DTYPE), norm)
        zero, a = torch.zeros(1, 1, 1, 3, dtype=DTYPE), numbers(0, 1, 1, 3)
        piece = Piece.between(ball, zero, zero[..., 0, 0], zero[..., 0, 0])
        assert float(piece.support({0: a})) == float(ball.support({0: a}))
