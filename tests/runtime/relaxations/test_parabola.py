"""Parabolas: they hold on their boxes, proved in ball arithmetic and met on grids; mutated ones are caught; their programs are solved."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import flint
import pytest
import torch
from flint import arb
from scipy.optimize import linprog
from torch import Tensor

from tests.helpers import DTYPE
from tests.runtime.relaxations.test_offsets import POSITIVE, domain, enclosed, prove
from vlang.runtime.relaxations import RELAXATIONS, Args, Moved, Parabola, Parabolas, curvature, parabola, parabolas
from vlang.runtime.relaxations.interior import least

OPS = sorted(RELAXATIONS)
SCALES = [1e-12, 1e-9, 1e-3, 0.3, 2.0, 12.0, 60.0]


def cases(arity: int, scale: float, count: int, seed: int) -> tuple[Args, Args, Moved]:
    """Boxes, and how their arguments move: centres inside, at an end and outside, residuals from nothing to all; boxes that are points."""
    g = torch.Generator().manual_seed(seed)
    lo, hi, centre, residual = [], [], [], []
    for _ in range(arity):
        mid = torch.randn(count, generator=g, dtype=DTYPE) * torch.tensor([0.1, 1.0, 4.0, 20.0], dtype=DTYPE).repeat(count // 4)
        width = torch.rand(count, generator=g, dtype=DTYPE) * scale
        width[::11] = 0
        share = torch.rand(count, generator=g, dtype=DTYPE)
        share[::3], share[1::7] = 0.0, 1.2
        lo.append(mid - width / 2)
        hi.append(torch.maximum(mid + width / 2, lo[-1]))
        centre.append(lo[-1] + share * (hi[-1] - lo[-1]))
        residual.append(torch.rand(count, generator=g, dtype=DTYPE).round(decimals=1) * width)
    return tuple(lo), tuple(hi), Moved(tuple(centre), tuple(residual), torch.rand(count, generator=g, dtype=DTYPE) * 2 - 1)


def found(op: str, scale: float, count: int = 400, seed: int = 3) -> tuple[Args, Args, Parabolas]:
    lo, hi, moved = cases(RELAXATIONS[op].arity, scale, count, seed)
    (low, high), (centre, _) = domain(op, lo, hi), domain(op, moved.centre, moved.centre)
    if op in POSITIVE:
        moved = replace(moved, centre=centre, residual=tuple(torch.minimum(r, h - x) for r, x, h in zip(moved.residual, low, high, strict=True)))
    return low, high, parabolas(RELAXATIONS[op], low, high, moved)


def excess(op: str, lo: Args, hi: Args, relaxed: Parabolas) -> float:
    """How far f on a grid leaves what its parabolas promise; at most 0 for valid ones."""
    arity = len(lo)
    worst = -1.0
    for share in itertools.product(torch.linspace(0, 1, 13 if arity == 2 else 101, dtype=DTYPE).tolist(), repeat=arity):
        y = [torch.minimum(x + t * (h - x), h) for t, x, h in zip(share, lo, hi, strict=True)]
        d = [a - c for a, c in zip(y, relaxed.centre, strict=True)]
        for sign, p in ((1, relaxed.upper), (-1, relaxed.lower)):
            terms = [p.offset, *(s * a for s, a in zip(p.slopes, y, strict=True))]
            terms += [k * d[i] * d[j] * (0.5 if i == j else 1.0) for k, (i, j) in zip(p.curvature, parabola._pairs(arity), strict=True)]
            f = RELAXATIONS[op].value(*y)
            own = 1e-15 * (f.abs() + torch.stack([t.abs() for t in terms]).sum(0))  # of this evaluation
            worst = max(worst, float((sign * (f - torch.stack(terms).sum(0)) - own).max()))
    return worst


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("scale", SCALES)
def test_no_point_leaves_its_parabolas(op: str, scale: float) -> None:
    lo, hi, relaxed = found(op, scale)
    assert excess(op, lo, hi, relaxed) <= 0
    for p in (relaxed.upper, relaxed.lower):
        assert all(bool(x.isfinite().all()) for x in (*p.slopes, *p.curvature, p.offset))


@pytest.mark.parametrize("scale", [1e-150, 1e-160, 1e-170, 1e-250])
def test_boxes_whose_width_squared_is_no_number(scale: float) -> None:
    """Of relu, in exact rational numbers: where the square of a width underflows, a curvature times it need not."""
    g = torch.Generator().manual_seed(0)
    (lo,), (hi,), (centre,), (residual,) = ((torch.rand(200, generator=g, dtype=DTYPE) * scale * sign,) for sign in (-1, 1, 0.3, 0))
    relaxed = parabolas(RELAXATIONS["relu"], (lo,), (hi,), Moved((centre,), (residual,), torch.ones(200, dtype=DTYPE)))
    for i in range(200):
        c = Fraction(float(relaxed.centre[0][i]))
        for t in range(98):  # between the vertices of the grid
            y = Fraction(float(lo[i])) + (Fraction(float(hi[i])) - Fraction(float(lo[i]))) * Fraction(t, 97)
            for sign, p in ((1, relaxed.upper), (-1, relaxed.lower)):
                slope, k, offset = (Fraction(float(x[i])) for x in (p.slopes[0], p.curvature[0], p.offset))
                assert sign * (max(y, Fraction(0)) - slope * y - offset - k * (y - c) ** 2 / 2) <= 0


def proved(op: str, scale: float, change: float = 0.0) -> None:
    """Branch and bound in ball arithmetic on whole boxes, with no tolerance at all. change: how much is taken off the offsets."""
    flint.ctx.prec = 100
    lo, hi, relaxed = found(op, scale, 24)
    for i in range(24):
        box = [(float(x[i]), float(h[i])) for x, h in zip(lo, hi, strict=True)]
        centre = [float(c[i]) for c in relaxed.centre]
        for sign, p in ((1, relaxed.upper), (-1, relaxed.lower)):
            a, k = [float(s[i]) for s in p.slopes], [float(c[i]) for c in p.curvature]
            prove(op, box, a, float(p.offset[i]) - sign * change, sign, centre, k)


@pytest.mark.parametrize("op", [op for op in OPS if op != "relu"])
@pytest.mark.parametrize("scale", [1e-6, 0.3, 3.0, 12.0])
def test_parabolas_are_proved_in_ball_arithmetic(op: str, scale: float) -> None:
    proved(op, scale)


@pytest.mark.parametrize("op", [op for op in OPS if op != "relu"])
def test_a_lowered_offset_is_caught(op: str) -> None:
    with pytest.raises(AssertionError, match="crossed"):
        proved(op, 3.0, 3e-3)


def without_cells(f: object, lo: Args, hi: Args) -> tuple[tuple[Tensor, Tensor], ...]:
    """Second derivatives that call for no correction."""
    far = torch.full_like(torch.broadcast_tensors(*lo)[0], 1e9)
    return ((far, far),) * len(lo)


@pytest.mark.parametrize("what", ["offset", "curvature", "slope", "cells", "centre"])
@pytest.mark.parametrize("op", OPS)
def test_a_mutated_parabola_is_caught(op: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An offset or a curvature lowered by 1 %, a slope by 2 %, another centre; unpaid cells, which leave points between vertices uncovered."""
    if what == "cells":
        if op in ("relu", "sigmoid_mul"):  # between kinks, and along z, no cell needs anything where the parabola is flat
            pytest.skip("nothing to pay for on some boxes")
        monkeypatch.setattr(type(RELAXATIONS[op]), "second", without_cells)
    worst = -1.0
    for scale in (2.0, 12.0):
        lo, hi, relaxed = found(op, scale)
        size = relaxed.upper.offset.abs().clamp(min=1)
        p = relaxed.upper
        upper = {
            "offset": replace(p, offset=p.offset - 0.01 * size),
            "curvature": Parabola(p.slopes, tuple(k - 0.01 * k.abs() for k in p.curvature), p.offset),
            "slope": Parabola(tuple(0.98 * s for s in p.slopes), p.curvature, p.offset),
        }.get(what, p)
        centre = tuple(c + 0.02 for c in relaxed.centre) if what == "centre" else relaxed.centre
        worst = max(worst, excess(op, lo, hi, Parabolas(relaxed.lower, upper, centre)))
    assert worst > 0


@pytest.mark.parametrize("op", OPS)
def test_parabolas_are_lower_on_average_than_planes(op: str) -> None:
    """What they are chosen for: under a normal distribution that the box truncates at two standard deviations, with no residual."""
    lo, hi, moved = cases(RELAXATIONS[op].arity, 3.0, 400, seed=5)
    lo, hi = domain(op, lo, hi)
    middle = tuple((x + h) / 2 for x, h in zip(lo, hi, strict=True))
    still = Moved(middle, tuple(torch.zeros_like(r) for r in moved.residual), torch.zeros_like(moved.correlation))
    relaxed = parabolas(RELAXATIONS[op], lo, hi, still).upper
    plane = RELAXATIONS[op].planes("plane", lo, hi).upper
    variance = [(parabola.SPREAD * (h - x) / 2) ** 2 for x, h in zip(lo, hi, strict=True)]
    square = [k for k, (i, j) in zip(relaxed.curvature, parabola._pairs(len(lo)), strict=True) if i == j]
    mean = relaxed.offset + sum(s * m for s, m in zip(relaxed.slopes, middle, strict=True))
    mean = mean + sum(k * v / 2 for k, v in zip(square, variance, strict=True))
    flat = plane.offset + sum(s * m for s, m in zip(plane.slopes, middle, strict=True))
    assert float((flat - mean).mean()) > (0 if RELAXATIONS[op].kinks else 0.003)
    assert float((mean - flat).max()) < 0.02


def test_programs_are_nearly_solved() -> None:
    """Beside scipy's simplex-quality optimum: the programs of a gated product on 40 boxes."""
    t = torch.linspace(-1, 1, 9, dtype=DTYPE)
    table = parabola._table(t, 2)
    grid = table[:81, 1:3]
    g = torch.Generator().manual_seed(0)
    scale, shift = torch.rand(40, 2, generator=g, dtype=DTYPE) * 3, torch.randn(40, 2, generator=g, dtype=DTYPE)
    y = shift[:, None] + scale[:, None] * grid
    values = torch.sigmoid(y[..., 0]) * torch.tanh(y[..., 1])
    values = (values - values.mean(1, keepdim=True)) / (values.amax(1) - values.amin(1))[:, None]
    floor = torch.cat([values, torch.zeros(40, 6, dtype=DTYPE)], 1)
    cost = torch.tensor([[1, 0, 0, 0.1, -0.1, 0.0, 0.0, 0.1, -0.1]], dtype=DTYPE).expand(40, -1) + 1e-3 * (torch.arange(9) > 2)
    x = least(cost, table, floor)
    for i in range(40):
        best = linprog(cost[i].numpy(), A_ub=-table.numpy(), b_ub=-floor[i].numpy(), bounds=(None, None))
        assert best.status == 0
        missing = (floor[i] - table @ x[i]).amax().clamp(min=0)  # what the offset makes good
        assert float(cost[i] @ x[i] + missing) <= best.fun + 5e-3
        assert float(missing) < 5e-3
    assert bool(x.isfinite().all())


def test_hopeless_programs_do_no_harm() -> None:
    """Whatever comes back for values that are not finite, the parabola is finite or says nothing, and the others are as they were."""
    table = parabola._table(torch.linspace(-1, 1, 9, dtype=DTYPE), 1)
    floor = torch.zeros(3, len(table), dtype=DTYPE)
    floor[1, 2] = torch.nan
    cost = torch.tensor([[1.0, 0, 0.1, -0.1]], dtype=DTYPE).expand(3, -1) + torch.tensor([0, 0, 1e-3, 1e-3], dtype=DTYPE)
    x = least(cost, table, floor)
    assert bool(x[[0, 2]].isfinite().all())
    assert bool(torch.allclose(x[0], x[2]))


@pytest.mark.parametrize("name", ["tanh_second", "sigmoid_second"])
def test_derivative_ranges_hold_in_ball_arithmetic(name: str) -> None:
    """The interval holds the derivative at the ends, the middle and the peaks, computed with 400 bits."""
    base = name.split("_")[0]
    (lo,), (hi,), _ = cases(1, 3.0, 120, seed=1)
    peaks = torch.tensor([0.0, curvature.TANH_PEAK, -curvature.TANH_PEAK, curvature.SIGMOID_PEAK, -curvature.SIGMOID_PEAK], dtype=DTYPE)
    low, high = getattr(curvature, name)(lo, hi)
    flint.ctx.prec = 400
    try:
        for i in range(len(lo)):
            tried = [float(lo[i]), float(hi[i]), float((lo[i] + hi[i]) / 2), *(float(p) for p in peaks if lo[i] <= p <= hi[i])]
            for y in tried:
                t = (arb(y) / (1 if base == "tanh" else 2)).tanh()
                derivative = (1 - t * t) * t * (-2 if base == "tanh" else -1) / (1 if base == "tanh" else 4)
                assert derivative >= arb(float(low[i]))
                assert derivative <= arb(float(high[i]))
    finally:
        flint.ctx.default()


@pytest.mark.parametrize("op", [op for op in OPS if op != "relu"])
def test_second_derivatives_hold_on_boxes(op: str) -> None:
    """Of whole nonlinearities, against central differences of exact values on a grid of each box."""
    f = RELAXATIONS[op]
    lo, hi, _ = cases(f.arity, 4.0, 40, seed=2)
    lo, hi = domain(op, lo, hi)
    low_high = f.second(*f.both(lo, hi))
    ranges = [(low[0], high[0]) for low, high in low_high]
    step, arity = arb(2) ** -40, len(lo)
    flint.ctx.prec = 300
    try:
        for i, share in itertools.product(range(40), itertools.product((0.1, 0.5, 0.9), repeat=arity)):
            if any(float(lo[0][i]) <= kink <= float(hi[0][i]) for kink in f.kinks):
                continue
            y = [arb(float(x[i])) + arb(t) * (arb(float(h[i])) - arb(float(x[i]))) for t, x, h in zip(share, lo, hi, strict=True)]
            for k, (low, high) in enumerate(ranges):
                around = [enclosed(op, [v + s * step if j == k else v for j, v in enumerate(y)]) for s in (-1, 0, 1)]
                second = (around[0] - 2 * around[1] + around[2]) / step**2
                assert second.upper() >= arb(float(low[i])) - arb("1e-9")
                assert second.lower() <= arb(float(high[i])) + arb("1e-9")
    finally:
        flint.ctx.default()


@pytest.mark.parametrize("op", [op for op in OPS if op not in POSITIVE])
def test_boxes_of_hardly_any_width_have_finite_parabolas(op: str) -> None:
    """Curvature is divided by the width twice."""
    arity = RELAXATIONS[op].arity
    for width in (0.0, 5e-324, 4.45e-308, 1e-200, 1e-100, 1e-30):
        lo, hi = (tuple(torch.full((1, 3), s * width, dtype=DTYPE) for _ in range(arity)) for s in (-1, 1))
        zero = torch.zeros(1, 3, dtype=DTYPE)
        found = parabolas(RELAXATIONS[op], lo, hi, Moved((zero,) * arity, (zero,) * arity, zero))
        for side in (found.lower, found.upper):
            assert all(bool(x.isfinite().all()) for x in (*side.slopes, side.offset, *side.curvature)), width
            assert all(bool((x.abs() < 1e150).all()) for x in side.curvature)
