"""Support functions against the exact maximum: never below it, and tight."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from vlang.runtime.attacks.base import project
from vlang.runtime.sets.ball import Ball

DTYPE = torch.float64
NORMS = [Fraction(1), Fraction(10001, 10000), Fraction(3, 2), Fraction(2), Fraction(7), Fraction(10**6), None]


def _norm(x: torch.Tensor, p: Fraction | None) -> torch.Tensor:
    return torch.linalg.vector_norm(x, ord=math.inf if p is None else float(p), dim=-1)


@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize("scale", [1e-200, 1e-3, 1.0, 1e150])
def test_gain_is_the_dual_norm(p: Fraction | None, scale: float) -> None:
    g = torch.Generator().manual_seed(0)
    c = torch.randn(1, 50, 6, generator=g, dtype=DTYPE) * scale
    ball = Ball(torch.tensor([[0.7]], dtype=DTYPE), p)
    gain = ball.gain(0, c)[0]
    q = math.inf if p == 1 else 1.0 if p is None else float(p / (p - 1))
    # The maximiser of c . d, evaluated exactly enough to be a lower bound.
    unit = c[0] / c[0].abs().amax(-1, keepdim=True)
    if p is None:
        d = unit.sign()
    elif p == 1:
        d = torch.where(unit.abs() == 1, unit.sign(), 0.0)
    else:
        d = unit.sign() * unit.abs() ** (q - 1)
    d = 0.7 * d / _norm(d, p)[:, None] * (1 - 1e-12)
    reached = (d * c[0]).sum(-1)
    assert bool((gain >= reached).all())
    # 2.0**-500 a coordinate stands in for underflow of squares.
    assert bool((gain <= reached * (1 + 1e-9) + 1e-149).all())


@pytest.mark.parametrize("p", [Fraction(1), Fraction(3, 2), Fraction(2), Fraction(4), None])
def test_clipped_gain_is_exact(p: Fraction | None) -> None:
    """lp ball with a box: against scipy's maximum (from below) and the split bound (from above)."""
    g = torch.Generator().manual_seed(1)
    for trial in range(12):
        n = 4
        c = torch.randn(1, 1, n, generator=g, dtype=DTYPE)
        room = (torch.rand(1, 1, n, generator=g, dtype=DTYPE), torch.rand(1, 1, n, generator=g, dtype=DTYPE))
        room[0][0, 0, trial % n] = 0
        radius = float(0.1 + torch.rand((), generator=g))
        ball = Ball(torch.full((1, 1), radius, dtype=DTYPE), p, None, room)
        gain = float(ball.gain(0, c))
        lo, hi = (-room[0][0, 0]).numpy(), room[1][0, 0].numpy()
        if p is None:
            best = float(sum(max(x * max(a, -radius), x * min(b, radius)) for x, a, b in zip(c[0, 0].tolist(), lo, hi, strict=True)))
        elif p == 1:
            order = sorted(range(n), key=lambda i: -abs(float(c[0, 0, i])))
            left, best = radius, 0.0
            for i in order:
                x = float(c[0, 0, i])
                step = min(left, hi[i] if x > 0 else -lo[i])
                best, left = best + abs(x) * step, left - step
        else:
            power = float(p)
            limit = {"type": "ineq", "fun": lambda d, r=radius, k=power: r**k - (np.abs(d) ** k).sum()}
            starts = [project(torch.randn(1, 1, n, generator=g, dtype=DTYPE), ball)[0, 0].numpy() for _ in range(4)]
            runs = [
                minimize(
                    lambda d, c=c: -float(np.dot(d, c[0, 0].numpy())),
                    s,
                    bounds=list(zip(lo, hi, strict=True)),
                    constraints=limit,
                    options={"ftol": 1e-14, "maxiter": 400},
                )
                for s in starts
            ]
            best = max(-r.fun for r in runs if (np.abs(r.x) ** power).sum() <= radius**power * (1 + 1e-7))
        assert gain >= best * (1 - 1e-6)
        assert gain <= best * (1 + 1e-4) + 1e-9
        for _ in range(50):
            d = project(torch.randn(1, 1, n, generator=g, dtype=DTYPE) * 3, ball)
            assert float((d * c).sum()) <= gain


@pytest.mark.parametrize("p", [Fraction(100001, 100000), Fraction(1001, 1000), Fraction(101, 100)])
def test_clipped_gain_for_p_near_1_is_near_that_of_1(p: Fraction) -> None:
    """Whose gain is exact: |d|_1 <= n^(1 - 1/p) |d|_p."""
    g = torch.Generator().manual_seed(3)
    n = 5
    c = torch.randn(1, 200, n, generator=g, dtype=DTYPE) * 10 ** (-4 * torch.rand(1, 200, n, generator=g, dtype=DTYPE))
    room = (torch.rand(1, 1, n, generator=g, dtype=DTYPE), torch.rand(1, 1, n, generator=g, dtype=DTYPE) * 1e-3)
    for radius in (0.1, 0.7, 2.0):
        radii = torch.full((1, 1), radius, dtype=DTYPE)
        near, one = Ball(radii, p, None, room).gain(0, c), Ball(radii, Fraction(1), None, room).gain(0, c)
        assert bool((near >= one * (1 - 1e-12)).all())
        assert bool((near <= one * n ** float(1 - 1 / p) * (1 + 1e-9)).all())


@pytest.mark.parametrize("p", [Fraction(1), Fraction(3, 2), Fraction(2), Fraction(4)])
def test_clipped_gain_has_a_gradient_where_coefficients_vanish(p: Fraction) -> None:
    """The maximiser, which slopes are moved by."""
    c = torch.tensor([[[0.0, 1.0, -0.5]]], dtype=DTYPE, requires_grad=True)
    room = (torch.full((1, 1, 3), 0.3, dtype=DTYPE), torch.full((1, 1, 3), 0.9, dtype=DTYPE))
    gain = Ball(torch.ones(1, 1, dtype=DTYPE), p, None, room).gain(0, c)
    (gradient,) = torch.autograd.grad(gain.sum(), c)
    assert bool(gradient.isfinite().all())
    if p > 1:
        assert float((gradient * c.detach()).sum()) == pytest.approx(float(gain.detach()))


def test_at_most_sums_the_largest() -> None:
    gains = [torch.tensor([[1.0, 5.0]]), torch.tensor([[3.0, 0.0]]), torch.tensor([[2.0, 1.0]])]
    radii = torch.ones(1, 3, dtype=DTYPE)
    assert torch.allclose(Ball(radii, None, 2).total(gains), torch.tensor([[5.0, 6.0]]))
    assert torch.allclose(Ball(radii, None, 1).total(gains), torch.tensor([[3.0, 5.0]]))
    assert torch.allclose(Ball(radii, None, None).total(gains), torch.tensor([[6.0, 6.0]]))
    assert torch.equal(Ball(radii, None, 3).total(gains), Ball(radii, None).total(gains))


@pytest.mark.parametrize("p", NORMS)
def test_projection_stays_in_the_set(p: Fraction | None) -> None:
    g = torch.Generator().manual_seed(2)
    radii = torch.tensor([[0.0, 0.5, 1.0, 2.0]], dtype=DTYPE)
    room = (torch.rand(1, 4, 3, generator=g, dtype=DTYPE), torch.rand(1, 4, 3, generator=g, dtype=DTYPE))
    ball = Ball(radii, p, 2, room)
    for _ in range(50):
        d = project(torch.randn(1, 4, 3, generator=g, dtype=DTYPE) * 5, ball)
        assert bool((_norm(d, p) <= radii * (1 + 1e-9)).all())
        assert int((d != 0).any(-1).sum()) <= 2
        assert bool((d >= -room[0]).all())
        assert bool((d <= room[1]).all())


def test_boxes_seen_from_their_middles_hold_every_corner() -> None:
    """In rational numbers, of whatever size the input is beside them."""
    g = torch.Generator().manual_seed(0)
    size = 10.0 ** torch.randint(-8, 4, (2, 3, 500), generator=g, dtype=DTYPE)
    x = torch.randn(2, 3, 500, generator=g, dtype=DTYPE) * size
    clip = tuple(torch.rand(x.shape, generator=g, dtype=DTYPE) * torch.randint(0, 2, x.shape, generator=g) for _ in range(2))
    ball = Ball(torch.tensor([[0.3, 0.0, 2.0], [1e-7, 1.0, 0.5]], dtype=DTYPE), None, None, (clip[0], clip[1]))
    found, middle = ball.centred(x)
    assert found.clip is not None
    there = x + middle
    assert torch.equal(there[0, 1], x[0, 1])
    radii = ball.radii[..., None].expand_as(x)
    for at, down, up, r, now, below, above, most in zip(
        *(t.flatten().tolist() for t in (x, *clip, radii, there, *found.clip, found.radii[..., None].expand_as(x))), strict=True
    ):
        low, high = Fraction(at) - min(Fraction(down), Fraction(r)), Fraction(at) + min(Fraction(up), Fraction(r))
        assert Fraction(now) - Fraction(below) <= low <= high <= Fraction(now) + Fraction(above)
        assert max(below, above) <= most
