"""The checker's parts, each against what is known otherwise: float64 balls, clipped balls, parabolas, quadratic forms."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from flint import arb, fmpq

from vlang import vcheck


@pytest.mark.parametrize("p", [1.0, 1.25, 2.0, 4.0])
def test_what_a_clip_leaves_of_a_ball_is_bounded(p: float) -> None:
    """The checker's largest value of a . delta: above that of every point of the set, and reached by one."""
    rng = np.random.default_rng(int(4 * p))
    for radius in (0.05, 0.3, 1.0, 5.0) * 5:
        x, a = rng.random((1, 4)), rng.normal(size=4) * rng.integers(0, 3, 4)
        x[0, 0] = rng.integers(0, 2)  # a number at an end of the clip moves one way only
        whole = vcheck.Region(x, {0: vcheck.arb(radius)}, Fraction(p), 1, (vcheck.ZERO, vcheck.ONE), None, None, 0 * x, (0.0, 0.0))
        found = float(whole.gain(0, vcheck.vector(a)))
        most = np.where(a > 0, 1 - x[0], np.where(a < 0, x[0], 0.0)).clip(max=radius)
        points = [np.minimum((np.abs(a) / lam) ** (1 / (p - 1)), most) for lam in np.geomspace(1e-6, 1e9, 8000)] if p > 1 else []
        order = np.argsort(-np.abs(a))  # for p = 1 the largest coefficients first
        points.append(np.diff(np.cumsum(most[order]).clip(max=radius), prepend=0.0)[np.argsort(order)])
        points += list(rng.random((200, 4)) * most)
        best = max(float(np.abs(a) @ d) * min(1.0, radius / max(float((d**p).sum() ** (1 / p)), 1e-300)) for d in points)
        assert best * (1 - 1e-12) <= found <= best * (1.01 if p > 1 else 1 + 1e-12)


@pytest.mark.parametrize("p", [Fraction(1), Fraction(1001, 1000), Fraction(101, 100), Fraction(5, 4), Fraction(2), Fraction(50)])
def test_the_checker_splits_clipped_balls_as_well_as_the_runtime(p: Fraction) -> None:
    """So that what one proves the other does."""
    import torch

    from vlang.runtime.ball import Ball

    rng = np.random.default_rng(0)
    for radius in (0.05, 0.3, 1.0, 5.0) * 5:
        x, a = rng.random((1, 6)).round(1), rng.normal(size=6) * 10.0 ** rng.integers(-5, 1, 6)
        room = (torch.tensor(x[None]), torch.tensor(1 - x[None]))
        ours = float(Ball(torch.full((1, 1), radius, dtype=torch.float64), p, None, room).gain(0, torch.tensor(a[None, None])))
        whole = vcheck.Region(x, {0: vcheck.arb(radius)}, p, 1, (vcheck.ZERO, vcheck.ONE), None, None, 0 * x, (0.0, 0.0))
        assert float(whole.gain(0, vcheck.vector(a))) == pytest.approx(ours, rel=1e-9)


def hard(rng: np.random.Generator, *shape: int) -> vcheck.Balls:
    """Numbers of very different sizes, zeros among them, and radii from none to large."""
    sizes = 10.0 ** rng.integers(-12, 4, shape)
    radii = np.where(rng.random(shape) < 0.5, 0.0, 10.0 ** rng.integers(-20, 1, shape))
    return vcheck.Balls(rng.normal(size=shape) * sizes * rng.integers(0, 2, shape), radii * np.abs(rng.normal(size=shape)) * sizes)


def inside(rng: np.random.Generator, balls: vcheck.Balls) -> np.ndarray[Any, Any]:
    """An exact number of every ball, most of them at an end."""
    where = rng.choice([-1, -1, 1, 1, 0], balls.mid.shape)
    exact = [Fraction(m) + Fraction(r) * int(w) for m, r, w in zip(balls.mid.ravel(), balls.rad.ravel(), where.ravel(), strict=True)]
    return np.array(exact, dtype=object).reshape(balls.mid.shape)


def holds(balls: vcheck.Balls, exact: np.ndarray[Any, Any]) -> bool:
    assert balls.mid.shape == exact.shape
    return all(abs(Fraction(m) - x) <= Fraction(r) for m, r, x in zip(balls.mid.ravel(), balls.rad.ravel(), exact.ravel(), strict=True))


@pytest.mark.parametrize("seed", range(40))
def test_balls_of_float64_hold_what_exact_arithmetic_gives(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    a, b, c = hard(rng, 4, 9), hard(rng, 9, 3), hard(rng, 4, 9)
    x, y, z = (inside(rng, v) for v in (a, b, c))
    assert holds(a @ b, x @ y)
    assert holds(a * c, x * z)
    tiny, large = (vcheck.Balls.exactly(np.array([[2.0**-1030 * 3, 2.0**-1074]]) * rng.random()), vcheck.Balls.exactly(np.array([[1e290], [1e300]])))
    assert holds(large.mT @ tiny.mT, inside(rng, large).T @ inside(rng, tiny).T)
    assert holds(a + c, x + z)
    assert holds(a - c, x - z)
    assert holds(abs(a), abs(x))
    assert holds(a.positive(), np.maximum(x, Fraction(0)))
    assert holds(vcheck.sum_of_products([(c, b[:, :2]), (a, b)]), z @ np.where([[True, True, False]], y, Fraction(0)) + x @ y)
    assert all(Fraction(m) >= v for m, v in zip(a.most().ravel(), x.ravel(), strict=True))
    ends, others = (vcheck.Balls(v.mid[:2], 0 * v.mid[:2]) for v in (a, c))
    lowest = vcheck.least(ends, others, -1)
    for i, j in np.ndindex(lowest.mid.shape):
        assert Fraction(lowest.mid[i, j]) <= min(-Fraction(p) * Fraction(q) for p in a.mid[:2, i] for q in c.mid[:2, j])
    monkeypatch.setattr(vcheck.ctx, "prec", 128)
    balls = [vcheck.exact(v) for v in (x.ravel() / 3)]
    assert holds(vcheck.Balls.around(balls, *x.shape), x / 3)
    for ball, v in zip(a.arbs(), x.ravel(), strict=True):
        assert abs(ball.mid().fmpq() - fmpq(v.numerator, v.denominator)) <= ball.rad().fmpq()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_overflows_is_no_number() -> None:
    huge = vcheck.Balls.exactly(np.array([[1e200, -1e200]]))
    one_way = huge[:, :1] @ (huge[:, 1:] * vcheck.Balls.exactly(np.array(1e-90)))
    assert not (one_way.positive().most() <= 0).any()
    assert one_way.positive().rad.max() == np.inf
    for overflown in (one_way, huge @ huge.mT, huge * huge, -(huge * huge), (huge + huge) * huge, abs(huge) @ (-huge).mT):
        for v in overflown.arbs():
            assert not v <= 0
            assert not v >= 0
        assert not (overflown.most() <= 0).any()


def sigmoid(v: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return 1 / (1 + np.exp(-v))


FUNCTIONS: dict[str, Callable[..., np.ndarray[Any, Any]]] = {
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "relu": lambda y: np.maximum(y, 0),
    "sigmoid_mul": lambda v, z: sigmoid(v) * z,
    "sigmoid_tanh": lambda v, z: sigmoid(v) * np.tanh(z),
    "cosigmoid_tanh": lambda v, z: sigmoid(-v) * np.tanh(z),
}


@pytest.mark.parametrize("op", FUNCTIONS)
def test_a_parabola_that_a_point_contradicts_is_refused(op: str) -> None:
    """Above or below all corners of the cells that the checker looks at, but not between them; and well above or below everywhere."""
    rng = np.random.default_rng(1)
    between = 0
    for _ in range(60):
        arity = 2 if "_" in op else 1
        lo = rng.normal(size=arity) * 2
        hi = lo + rng.random(arity) * 8
        cells = vcheck.CELLS[arity]
        axes = [np.linspace(a, b, 8 * cells + 1) for a, b in zip(lo, hi, strict=True)]
        y = np.meshgrid(*axes, indexing="ij")
        centre, slopes, k = lo + (hi - lo) * rng.random(arity), rng.normal(size=arity) / 2, rng.normal(size=(arity, arity)) / 4
        box = [(vcheck.arb(a), vcheck.arb(b)) for a, b in zip(lo, hi, strict=True)]
        d, k = [v - c for v, c in zip(y, centre, strict=True)], k + k.T
        rest = FUNCTIONS[op](*y) - sum(a * v for a, v in zip(slopes, y, strict=True))
        rest = rest - sum(k[i, j] * d[i] * d[j] for i in range(arity) for j in range(arity)) / 2
        for sign in (1, -1):
            excess = sign * rest
            corners = excess[(slice(None, None, 8),) * arity].max()
            between += excess.max() > corners + 1e-9
            for offset, holds in ((excess.max() - min(1e-9, (excess.max() - corners) / 2) - 1e-12, False), (excess.max() + 2, True)):
                stated = map(vcheck.arb, [*slopes, sign * offset, *k[np.triu_indices(arity)]])
                assert vcheck.is_under(op, box, list(map(vcheck.arb, centre)), list(stated), sign) == holds
    assert between > 5 or op == "relu"


@pytest.mark.parametrize("norm", [Fraction(2), None])
@pytest.mark.parametrize("cut", [False, True])
def test_forms_are_bounded_where_the_best_point_is_known(norm: Fraction | None, cut: bool) -> None:
    """Linear parts for which a chosen point of the set is the best: the bound is its value, and never less."""
    rng = np.random.default_rng(4 + cut)
    for _ in range(25):
        frames, n = 2, 3
        d = frames * n
        offset = rng.normal(size=(frames, n)) * 0.1 * cut
        point = rng.normal(size=(frames, n))
        point /= np.linalg.norm(point, axis=1, keepdims=True) if norm else np.abs(point)
        best = (point - offset).ravel() * (1 - 1e-13)
        direction = rng.normal(size=(frames, n))
        along = float(direction.ravel() @ point.ravel())
        ends = (along - rng.random(), along + 1e-12)
        region = vcheck.Region(
            offset * 0, dict.fromkeys(range(frames), vcheck.arb(1)), norm, frames, None, None, direction if cut else None, offset, ends
        )
        form = rng.normal(size=(d, d))
        form = form + form.T
        lam = rng.random(frames if norm else d) + 2 * np.abs(np.linalg.eigvalsh(form)).max()
        mu = rng.random(int(cut))
        spread = np.repeat(lam, n) if norm else lam
        middle = (ends[0] + ends[1]) / 2 - float(direction.ravel() @ offset.ravel())
        linear = (np.diag(spread) - form) @ best + spread * offset.ravel()
        for m in mu:
            linear += m * direction.ravel() * (direction.ravel() @ best - middle)
        value = float(linear @ best + best @ form @ best / 2)
        found = region.top(vcheck.Balls.exactly(form), vcheck.Balls.exactly(linear), np.concatenate([lam, mu]))
        assert found >= value
        assert found <= value + 1e-9
        points = rng.normal(size=(500, frames, n))
        points /= np.linalg.norm(points, axis=2, keepdims=True) if norm else np.abs(points).max(2, keepdims=True)
        for z in (points * rng.random((500, 1, 1)) - offset).reshape(500, d):
            if not cut or ends[0] <= direction.ravel() @ (z + offset.ravel()) <= ends[1]:
                assert found >= float(linear @ z + z @ form @ z / 2)


def test_forms_on_cross_polytopes_are_bounded() -> None:
    rng = np.random.default_rng(0)
    for _ in range(25):
        form, linear = rng.normal(size=(6, 6)), rng.normal(size=6)
        form = form + form.T
        region = vcheck.Region(np.zeros((2, 3)), {0: vcheck.arb(1), 1: vcheck.arb(2)}, Fraction(1), 2, None, None, None, np.zeros((2, 3)), (0.0, 0.0))
        found = region.top(vcheck.Balls.exactly(form), vcheck.Balls.exactly(linear), np.zeros(0))
        for i, j in np.ndindex(6, 6):
            z = np.eye(6)[i % 3] * rng.choice([-1, 1]) + 2 * np.eye(6)[3 + j % 3] * rng.choice([-1, 1])
            assert found >= float(linear @ z + z @ form @ z / 2)


def test_tiny_forms_do_not_underflow() -> None:
    """Forms whose entries are denormal, on a ball that makes them large: the factor's error must not round to zero."""
    d = 50
    chart = (np.eye(d), np.full(d, 2.0**500))
    region = vcheck.Region(np.zeros((1, d)), {0: arb(1)}, Fraction(2), 1, None, chart, None, np.zeros((1, d)), (0.0, 0.0))
    entry = arb(2.4) * arb(10) ** -324
    true = d * entry * arb(2) ** 1000 / 2  # all coordinates equal
    assert region.top(vcheck.Balls.around([entry] * d * d, d, d), vcheck.Balls.exactly(np.zeros(d)), np.array([5e-324])).upper() >= true
