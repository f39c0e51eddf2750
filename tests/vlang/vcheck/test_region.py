"""Clipped balls and quadratic forms, against points that are known to be best."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from flint import arb

from vlang.vcheck.balls import Balls
from vlang.vcheck.region import Region
from vlang.vcheck.vectors import ONE, ZERO, vector


@pytest.mark.parametrize("p", [1.0, 1.25, 2.0, 4.0])
def test_what_a_clip_leaves_of_a_ball_is_bounded(p: float) -> None:
    """The checker's largest value of a . delta: above that of every point of the set, and reached by one."""
    rng = np.random.default_rng(int(4 * p))
    for radius in (0.05, 0.3, 1.0, 5.0) * 5:
        x, a = rng.random((1, 4)), rng.normal(size=4) * rng.integers(0, 3, 4)
        x[0, 0] = rng.integers(0, 2)  # a number at an end of the clip moves one way only
        whole = Region(x, {0: arb(radius)}, Fraction(p), 1, {0: ([ZERO] * x.shape[1], [ONE] * x.shape[1])}, None, None, 0 * x, (0.0, 0.0))
        found = float(whole.gain(0, vector(a)))
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

    from vlang.runtime.sets.ball import Ball

    rng = np.random.default_rng(0)
    for radius in (0.05, 0.3, 1.0, 5.0) * 5:
        x, a = rng.random((1, 6)).round(1), rng.normal(size=6) * 10.0 ** rng.integers(-5, 1, 6)
        room = (torch.tensor(x[None]), torch.tensor(1 - x[None]))
        ours = float(Ball(torch.full((1, 1), radius, dtype=torch.float64), p, None, room).gain(0, torch.tensor(a[None, None])))
        whole = Region(x, {0: arb(radius)}, p, 1, {0: ([ZERO] * x.shape[1], [ONE] * x.shape[1])}, None, None, 0 * x, (0.0, 0.0))
        assert float(whole.gain(0, vector(a))) == pytest.approx(ours, rel=1e-9)


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
        region = Region(offset * 0, dict.fromkeys(range(frames), arb(1)), norm, frames, None, None, direction if cut else None, offset, ends)
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
        found = region.top(Balls.exactly(form), Balls.exactly(linear), np.concatenate([lam, mu]))
        assert found >= value
        assert found <= value + 1e-9
        points = rng.normal(size=(500, frames, n))
        points /= np.linalg.norm(points, axis=2, keepdims=True) if norm else np.abs(points).max(2, keepdims=True)
        for z in (points * rng.random((500, 1, 1)) - offset).reshape(500, d):
            if not cut or ends[0] <= direction.ravel() @ (z + offset.ravel()) <= ends[1]:
                assert found >= float(linear @ z + z @ form @ z / 2)


@pytest.mark.parametrize("norm", [None, Fraction(4), Fraction(2)])
@pytest.mark.parametrize("charted", [False, True])
def test_forms_of_clipped_sets_are_bounded_wherever_they_are_seen_from(norm: Fraction | None, charted: bool) -> None:
    """For points of the set, most of them at its corners, and offsets in its middle or anywhere."""
    rng = np.random.default_rng(7 + charted)
    basis, scale = np.linalg.qr(rng.normal(size=(3, 2)))[0], np.array([1.0, 1.5, 0.5])
    for i in range(30):
        x, radius, chart = rng.random((2, 3)), rng.random() * 0.6, (basis, scale) if charted else None
        low, high = np.maximum(-x, -radius), np.minimum(1 - x, radius)
        offset = (low + high) / 2 if i % 2 else rng.normal(size=(2, 3)) * 0.3
        region = Region(
            x,
            dict.fromkeys(range(2), arb(radius)),
            norm,
            2,
            dict.fromkeys(range(2), ([ZERO] * x.shape[1], [ONE] * x.shape[1])),
            chart,
            None,
            offset,
            (0.0, 0.0),
        )
        d, groups = 4 if charted else 6, 2 if charted or norm == 2 else 6
        form, linear = rng.normal(size=(d, d)), rng.normal(size=d) if region.joint or norm == 2 else np.zeros(d)
        form = form + form.T
        lam = rng.random(groups) + 1.01 * max(float(np.linalg.eigvalsh(form).max()), 0.0)
        found = region.top(Balls.exactly(form), Balls.exactly(linear), lam)
        delta = np.where(rng.random((2000, 2, 3)) < 0.5, low, high) * np.where(rng.random((2000, 2, 3)) < 0.2, rng.random((2000, 2, 3)), 1.0)
        if norm is not None:
            delta *= np.minimum(1, radius / np.linalg.norm(delta, float(norm), axis=2, keepdims=True))
        z = delta - offset
        z = ((z * scale) @ basis if charted else z).reshape(2000, d)
        assert found >= float((z @ linear + ((z @ form) * z).sum(1) / 2).max())


def test_forms_on_cross_polytopes_are_bounded() -> None:
    rng = np.random.default_rng(0)
    for _ in range(25):
        form, linear = rng.normal(size=(6, 6)), rng.normal(size=6)
        form = form + form.T
        region = Region(np.zeros((2, 3)), {0: arb(1), 1: arb(2)}, Fraction(1), 2, None, None, None, np.zeros((2, 3)), (0.0, 0.0))
        found = region.top(Balls.exactly(form), Balls.exactly(linear), np.zeros(0))
        for i, j in np.ndindex(6, 6):
            z = np.eye(6)[i % 3] * rng.choice([-1, 1]) + 2 * np.eye(6)[3 + j % 3] * rng.choice([-1, 1])
            assert found >= float(linear @ z + z @ form @ z / 2)


@pytest.mark.parametrize("norm", [Fraction(2), Fraction(3, 2), None])
def test_charts_need_not_be_orthogonal(norm: Fraction | None) -> None:
    """A form of what a chart sees is bounded for every point of the balls, whatever the chart."""
    rng, angle = np.random.default_rng(2), 0.2
    basis = np.array([[1.0, -np.cos(angle)], [0.0, np.sin(angle)], [0.1, 0.0]])  # columns that nearly cancel
    scale = np.array([1.0, 1.5, 0.5])
    region = Region(np.zeros((1, 3)), {0: arb(2)}, norm, 1, None, (basis, scale), None, np.zeros((1, 3)), (0.0, 0.0))
    for _ in range(20):
        form, linear = rng.normal(size=(2, 2)), rng.normal(size=2)
        form = form + form.T
        multiplier = 1.01 * max(float(np.linalg.eigvalsh(form).max()), 0.0) + 0.1
        found = region.top(Balls.exactly(form), Balls.exactly(linear), np.array([multiplier]))
        delta = rng.normal(size=(4000, 3))
        p = np.inf if norm is None else float(norm)
        delta *= 2 / np.linalg.norm(delta, p, axis=1, keepdims=True)
        z = (delta * scale) @ basis
        assert found >= float((z @ linear + ((z @ form) * z).sum(1) / 2).max())


def test_tiny_forms_do_not_underflow() -> None:
    """Forms whose entries are denormal, on a ball that makes them large: the factor's error must not round to zero."""
    d = 50
    chart = (np.eye(d), np.full(d, 2.0**500))
    region = Region(np.zeros((1, d)), {0: arb(1)}, Fraction(2), 1, None, chart, None, np.zeros((1, d)), (0.0, 0.0))
    entry = arb(2.4) * arb(10) ** -324
    true = d * entry * arb(2) ** 1000 / 2  # all coordinates equal
    assert region.top(Balls.around([entry] * d * d, d, d), Balls.exactly(np.zeros(d)), np.array([5e-324])).upper() >= true
