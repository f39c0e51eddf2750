"""Relaxations in coarse arithmetic (tests/coarse.py): ranges, planes, parabolas and ranges of derivatives hold of the functions in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from flint import arb
from torch import Tensor

from tests.coarse import RULES, coarse, grid, numbers
from tests.helpers import DTYPE
from vlang.runtime.relaxations import RELAXATIONS, Args, Nonlinearity, constraint, curvature
from vlang.runtime.relaxations.constraint import Quadratics, highest
from vlang.runtime.relaxations.curves import Curve
from vlang.runtime.relaxations.parabola import offset
from vlang.runtime.relaxations.scalar import Sigmoid
from vlang.vcheck.parabolas import is_under

UNARY = [op for op, f in RELAXATIONS.items() if f.arity == 1]
BINARY = [op for op, f in RELAXATIONS.items() if f.arity == 2]
CURVES = [op for op, f in RELAXATIONS.items() if isinstance(f, Curve)]
COUNT = 40
#: Shares of the way through a box.
SHARES = torch.linspace(0, 1, 33, dtype=DTYPE)


def boxes(op: str, seed: int) -> tuple[Args, Args]:
    """Points, narrow and wide boxes, near 0 and far away. shape: each [COUNT]."""
    lo, hi = [], []
    for k in range(RELAXATIONS[op].arity):
        far = torch.tensor([0.0, 1.0, 4.0, 20.0], dtype=DTYPE).repeat(COUNT // 4)
        wide = torch.tensor([0.0, 1e-7, 0.1, 2.0, 30.0], dtype=DTYPE).repeat(COUNT // 5)
        start = numbers(seed + 10 * k, COUNT) * far
        if op in ("reciprocal", "rsqrt"):
            start = start.abs() + 0.1
        lo.append(grid(start))
        hi.append(grid(start + wide * numbers(seed + 10 * k + 5, COUNT).abs(), "up"))
    return tuple(lo), tuple(hi)


def points(lo: Args, hi: Args) -> Args:
    """A grid in every box, ends and corners among them. shape: each [P, COUNT]."""
    axes = [x + SHARES[:, None] * (h - x) for x, h in zip(lo, hi, strict=True)]
    axes = [torch.minimum(torch.maximum(a, x), h) for a, x, h in zip(axes, lo, hi, strict=True)]
    if len(axes) == 1:
        return (axes[0],)
    first, second = (torch.cartesian_prod(torch.arange(33), torch.arange(33))[:, k] for k in (0, 1))
    return axes[0][first], axes[1][second]


def slopes_of(f: Nonlinearity, lo: Args, hi: Args, seed: int) -> tuple[Args, Args]:
    """Slopes that are f's derivatives at points of the boxes: the gap is smallest there. shape: slopes, points [COUNT] each."""
    share = numbers(seed + 77, COUNT).abs() % 1
    here = tuple(torch.minimum(x + share * (h - x), h) for x, h in zip(lo, hi, strict=True))
    if f is RELAXATIONS["relu"]:  # whose derivatives are exact everywhere
        return (numbers(seed + 78, COUNT),), here
    return tuple(grid(s) for s in f.gradient(*here)), here


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("op", RELAXATIONS)
def test_ranges_hold(op: str, rule: str) -> None:
    f, (lo, hi) = RELAXATIONS[op], boxes(op, 0)
    with coarse(rule):
        low, high = f.range(lo, hi)
    values = f.value(*points(lo, hi))
    assert bool((values >= low).all())
    assert bool((values <= high).all())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("op", RELAXATIONS)
def test_planes_hold(op: str, rule: str) -> None:
    f, (lo, hi) = RELAXATIONS[op], boxes(op, 1)
    above, here = slopes_of(f, lo, hi, 1)
    reflected = tuple(-s if flip else s for s, flip in zip(above, f.flips, strict=True))  # the lower plane then has minus these slopes, flipped back
    both = f.both(lo, hi)
    slopes = tuple(torch.stack([s, s if op in CURVES or op == "relu" else -r]) for s, r in zip(above, reflected, strict=True))
    with coarse(rule), torch.no_grad():
        found = f.planes_with(slopes, *both)
    at = tuple(torch.cat([p, h[None]]) for p, h in zip(points(lo, hi), here, strict=True))
    values = f.value(*at)
    for plane, sign in ((found.upper, 1), (found.lower, -1)):
        height = sum((s * y for s, y in zip(plane.slopes, at, strict=True)), plane.offset)
        assert bool((sign * (height - values) >= 0).all())


def test_planes_of_sigmoid_hold_where_it_is_nearly_one() -> None:
    """1 - sigmoid(-y), of which coarse arithmetic sees the 1 only: by planes and by parabolas."""
    f, lo, hi = RELAXATIONS["sigmoid"], (torch.tensor([24.0], dtype=DTYPE),), (torch.tensor([26.0], dtype=DTYPE),)
    from vlang.runtime.relaxations import Moved, parabolas

    for rule in RULES:
        with coarse(rule), torch.no_grad():
            zero = torch.zeros(2, 1, dtype=DTYPE)
            lower = f.planes_with((zero,), *f.both(lo, hi)).lower
            curved = parabolas(f, lo, hi, Moved(lo, (zero[0],), zero[0])).lower
        for y in (24.0, 25.0, 26.0):
            value, d = float(torch.tensor(y, dtype=DTYPE).sigmoid()), y - 24.0
            assert float(lower.slopes[0]) * y + float(lower.offset) <= value
            assert float(curved.slopes[0]) * y + float(curved.offset) + float(curved.curvature[0]) * d * d / 2 <= value


class _Given(Sigmoid):
    """Whose offsets are given."""

    def __init__(self, given: Tensor) -> None:
        self.given = given

    def upper_offset(self, lo: Args, hi: Args, slopes: Args) -> Tensor:
        return self.given


@pytest.mark.parametrize("rule", RULES)
def test_what_a_function_is_reflected_at_is_added_downwards(rule: str) -> None:
    given = numbers(3, 2, COUNT)
    with coarse(rule), torch.no_grad():
        found = _Given(given).planes_with((torch.zeros_like(given),), (given,), (given,)).lower.offset
    assert bool((found <= 1 - given[1]).all())


@pytest.mark.parametrize("wide", [0.0, 1.0])
def test_sigmoids_that_vanish_are_numbers(wide: float) -> None:
    """sigmoid(v) is computed as 0 there, and times a large z is none."""
    f, far, zero = RELAXATIONS["sigmoid_mul"], 2.0**200, torch.zeros(2, 1, dtype=DTYPE)
    for z in ((far, far * (1 + wide)), (-far * (1 + wide), -far)):
        lo, hi = (torch.tensor([[-208.5], [z[0]]], dtype=DTYPE).unbind(), torch.tensor([[-208.5 + wide / 4], [z[1]]], dtype=DTYPE).unbind())
        with coarse("down"), torch.no_grad():
            low, high = f.range(lo, hi)
            both = f.both(lo, hi)
            tops = offset(f, *both, f.both(lo, lo)[0], (zero, zero), (zero, zero, zero))
        values = f.value(*points(lo, hi))
        assert bool((low <= values).all() & (values <= high).all())
        assert bool((values <= tops[0]).all() & (-values <= tops[1]).all())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("op", RELAXATIONS)
def test_parabolas_hold(op: str, rule: str) -> None:
    """With any slopes and curvature; around centres in the boxes and outside."""
    f, (lo, hi) = RELAXATIONS[op], boxes(op, 2)
    lo, hi = tuple(x[:20] for x in lo), tuple(x[:20] for x in hi)
    both_lo, both_hi = f.both(lo, hi)
    slopes, centre = (tuple(numbers(k + start, 2, 20) for k in range(f.arity)) for start in (30, 40))
    curvature_ = tuple(numbers(50 + k, 2, 20) * (k % 2 - 1.0 if f.arity == 2 else 1.0) for k in range(1 if f.arity == 1 else 3))
    with coarse(rule), torch.no_grad():
        tops = offset(f, both_lo, both_hi, centre, slopes, curvature_)
    for side in (0, 1):
        at = points(tuple(x[side] for x in both_lo), tuple(x[side] for x in both_hi))
        values = f.raised(*(torch.stack([y, y], 1) for y in at))[:, side]
        height = tops[side] + sum(s[side] * y for s, y in zip(slopes, at, strict=True))
        d = [y - c[side] for y, c in zip(at, centre, strict=True)]
        pairs = [(i, j) for i in range(f.arity) for j in range(i, f.arity)]
        for k, (i, j) in zip(curvature_, pairs, strict=True):
            height = height + k[side] * d[i] * d[j] * (0.5 if i == j else 1.0)
        assert bool((values <= height).all())


def _tanh_second(y: Tensor) -> Tensor:
    return -2 * y.tanh() / y.cosh() ** 2


def _sigmoid_second(y: Tensor) -> Tensor:
    return -y.sigmoid() * (-y).sigmoid() * (y / 2).tanh()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("found", "true"),
    [
        (curvature.tanh, torch.tanh),
        (curvature.sigmoid, torch.sigmoid),
        (curvature.tanh_second, _tanh_second),
        (curvature.sigmoid_second, _sigmoid_second),
        *((RELAXATIONS[op].bend, None) for op in CURVES),  # type: ignore[attr-defined]
    ],
)
def test_ranges_of_derivatives_hold(
    found: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], true: Callable[[Tensor], Tensor] | None, rule: str
) -> None:
    curve = getattr(found, "__self__", None)
    (lo,), (hi,) = boxes("rsqrt" if true is None else "tanh", 3)
    if true is None:
        kinks = [k for k in curve.kinks if k != 0] if curve is not None else []
        inside = sum((((lo < k) & (hi > k)).to(DTYPE) for k in kinks), torch.zeros_like(lo)) == 0
        lo, hi = lo[inside], hi[inside]
    with coarse(rule):
        low, high = found(lo, hi)
    (at,) = points((lo,), (hi,))
    values = true(at) if true is not None else curve.bends(at, ((lo + hi) / 2).expand_as(at))
    assert bool((low <= values).all())
    assert bool((values <= high).all())


@pytest.mark.parametrize("rule", RULES)
def test_products_of_intervals_hold(rule: str) -> None:
    (a, b), (c, d) = boxes("product", 4)
    with coarse(rule):
        low, high = curvature.product((a, c), (b, d))
    for x in (a, c):
        for y in (b, d):
            assert bool((low <= x * y).all())
            assert bool((x * y <= high).all())


@pytest.mark.parametrize("rule", RULES)
def test_a_checker_finds_the_same_of_wide_boxes(rule: str) -> None:
    """Cells so wide that what a parabola may miss inside them is far more than the function itself: a checker with the same cells sees no more."""
    lo, hi, zero = (torch.tensor([x], dtype=DTYPE) for x in (-1e5, 1e5, 0.0))
    f = RELAXATIONS["tanh"]
    with coarse(rule), torch.no_grad():
        (lower, upper) = f.both((lo,), (hi,))
        (top,) = offset(f, lower, upper, (torch.stack([zero, zero]),), (torch.zeros(2, 1, dtype=DTYPE),), (torch.zeros(2, 1, dtype=DTYPE),))[
            0
        ].tolist()
    assert is_under("tanh", [(arb(-1e5), arb(1e5))], [arb(0)], [arb(0), arb(top), arb(0)], 1)
    assert not is_under("tanh", [(arb(-1e5), arb(1e5))], [arb(0)], [arb(0), arb(top) * 0.99, arb(0)], 1)


@pytest.mark.parametrize("rule", ["outward", "mixed 1"])
@pytest.mark.parametrize("op", list(RELAXATIONS))
def test_constraints_hold_of_graphs(op: str, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quadratics of arguments and value, in units of the box and in any, around points of it and far from it."""
    monkeypatch.setattr(constraint, "CELLS", {1: 17, 2: 5})
    f, count = RELAXATIONS[op], RELAXATIONS[op].arity + 1
    lo, hi = boxes(op, 0)
    inside = tuple((x + h) / 2 for x, h in zip(lo, hi, strict=True))
    for seed in range(3):
        centre = grid(torch.stack([*inside, f.value(*inside)]).mT + (numbers(seed, COUNT, count) if seed == 2 else 0.0))
        unit = torch.stack([*(h - x + 1e-6 for x, h in zip(lo, hi, strict=True)), torch.ones(COUNT, dtype=DTYPE)]).mT ** min(seed, 1)
        raw = numbers(seed + 1, COUNT, count, count)
        matrix = grid((raw + raw.mT) / unit[:, :, None] / unit[:, None])
        q = Quadratics(grid(numbers(seed + 2, COUNT, count) / unit), torch.tril(matrix) + torch.tril(matrix, -1).mT, centre)
        with coarse(rule):
            top = highest(f, lo, hi, q)
        y = points(lo, hi)
        d = torch.stack([*y, f.value(*y)], -1) - q.centre
        values = (d * q.linear).sum(-1) + torch.einsum("pnk,nkj,pnj->pn", d, q.matrix, d) / 2
        size = (d.abs() * q.linear.abs()).sum(-1) + torch.einsum("pnk,nkj,pnj->pn", d.abs(), q.matrix.abs(), d.abs())
        assert bool((values <= top + 1e-13 * size).all())
