"""Balls of float64 against exact rationals."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from flint import ctx, fmpq

from vlang.vcheck.balls import Balls, sum_of_products
from vlang.vcheck.parabolas import least
from vlang.vcheck.vectors import exact


def hard(rng: np.random.Generator, *shape: int) -> Balls:
    """Numbers of very different sizes, zeros among them, and radii from none to large."""
    sizes = 10.0 ** rng.integers(-12, 4, shape)
    radii = np.where(rng.random(shape) < 0.5, 0.0, 10.0 ** rng.integers(-20, 1, shape))
    return Balls(rng.normal(size=shape) * sizes * rng.integers(0, 2, shape), radii * np.abs(rng.normal(size=shape)) * sizes)


def inside(rng: np.random.Generator, balls: Balls) -> np.ndarray[Any, Any]:
    """An exact number of every ball, most of them at an end."""
    where = rng.choice([-1, -1, 1, 1, 0], balls.mid.shape)
    exact = [Fraction(m) + Fraction(r) * int(w) for m, r, w in zip(balls.mid.ravel(), balls.rad.ravel(), where.ravel(), strict=True)]
    return np.array(exact, dtype=object).reshape(balls.mid.shape)


def holds(balls: Balls, exact: np.ndarray[Any, Any]) -> bool:
    assert balls.mid.shape == exact.shape
    return all(abs(Fraction(m) - x) <= Fraction(r) for m, r, x in zip(balls.mid.ravel(), balls.rad.ravel(), exact.ravel(), strict=True))


@pytest.mark.parametrize("seed", range(40))
def test_balls_of_float64_hold_what_exact_arithmetic_gives(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    a, b, c = hard(rng, 4, 9), hard(rng, 9, 3), hard(rng, 4, 9)
    x, y, z = (inside(rng, v) for v in (a, b, c))
    assert holds(a @ b, x @ y)
    assert holds(a * c, x * z)
    tiny, large = (Balls.exactly(np.array([[2.0**-1030 * 3, 2.0**-1074]]) * rng.random()), Balls.exactly(np.array([[1e290], [1e300]])))
    assert holds(large.mT @ tiny.mT, inside(rng, large).T @ inside(rng, tiny).T)
    assert holds(a + c, x + z)
    assert holds(a - c, x - z)
    assert holds(abs(a), abs(x))
    assert holds(a.positive(), np.maximum(x, Fraction(0)))
    assert holds(sum_of_products([(c, b[:, :2]), (a, b)]), z @ np.where([[True, True, False]], y, Fraction(0)) + x @ y)
    assert all(Fraction(m) >= v for m, v in zip(a.most().ravel(), x.ravel(), strict=True))
    ends, others = (Balls(v.mid[:2], 0 * v.mid[:2]) for v in (a, c))
    lowest = least(ends, others, -1)
    for i, j in np.ndindex(lowest.mid.shape):
        assert Fraction(lowest.mid[i, j]) <= min(-Fraction(p) * Fraction(q) for p in a.mid[:2, i] for q in c.mid[:2, j])
    monkeypatch.setattr(ctx, "prec", 128)
    balls = [exact(v) for v in (x.ravel() / 3)]
    assert holds(Balls.around(balls, *x.shape), x / 3)
    for ball, v in zip(a.arbs(), x.ravel(), strict=True):
        assert abs(ball.mid().fmpq() - fmpq(v.numerator, v.denominator)) <= ball.rad().fmpq()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_overflows_is_no_number() -> None:
    huge = Balls.exactly(np.array([[1e200, -1e200]]))
    one_way = huge[:, :1] @ (huge[:, 1:] * Balls.exactly(np.array(1e-90)))
    assert not (one_way.positive().most() <= 0).any()
    assert one_way.positive().rad.max() == np.inf
    for overflown in (one_way, huge @ huge.mT, huge * huge, -(huge * huge), (huge + huge) * huge, abs(huge) @ (-huge).mT):
        for v in overflown.arbs():
            assert not v <= 0
            assert not v >= 0
        assert not (overflown.most() <= 0).any()
