"""Slabs: they cover the ball, their support function is never below the truth, and slicing only gains."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from tests.helpers import DTYPE, largest_certified, points, random_network
from vlang.runtime.attack import counterexamples, project
from vlang.runtime.ball import Ball
from vlang.runtime.bounds import Nominal, Relaxed
from vlang.runtime.certify import BOUNDS, CHEAP, FIRST_SLABS, METHODS, Asked, _outward, nearest_boundary, slabs
from vlang.runtime.concrete import margins, trajectory
from vlang.runtime.slab import Slab
from vlang.signatures import METHODS as NAMES

NORMS = [Fraction(1), Fraction(3, 2), Fraction(2), Fraction(5), None]


def asked(cell: str, norm: Fraction | None, at_most: int | None = None, clip: bool = False, seed: int = 0, frames: int = 3) -> Asked:
    network = random_network(cell, s=4, seed=seed)
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(3, frames, 3, generator=g, dtype=DTYPE)
    nominal = Nominal.at(network.unroll(frames), x)
    radii = torch.rand(3, frames, generator=g, dtype=DTYPE) + 0.2
    radii[0, 0] = 0
    room = (torch.rand(x.shape, generator=g, dtype=DTYPE) * 0.05, torch.rand(x.shape, generator=g, dtype=DTYPE)) if clip else None
    eye = torch.eye(3, dtype=DTYPE)
    label = nominal.logits.argmax(1).tolist()
    rows = torch.stack([torch.stack([eye[j] - eye[y] for j in range(3) if j != y]) for y in label])
    return Asked(nominal, Ball(radii, norm, at_most, room), rows, 64)


def test_every_method_of_the_language_has_an_implementation() -> None:
    assert ("auto", *METHODS) == NAMES
    assert set(BOUNDS) == set(NAMES)
    assert set(CHEAP) == set(METHODS)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("at_most", [None, 2])
def test_slabs_cover_the_ball(norm: Fraction | None, clip: bool, at_most: int | None) -> None:
    """Every point of every ball, its corners along the direction included, lies in some slab; at small and at large eps."""
    question = asked("lstm", norm, at_most, clip)
    direction = nearest_boundary(question)
    g = torch.Generator().manual_seed(1)
    for eps in (1e-3, 0.3, 1.0, 40.0):
        ball = question.ball.scaled(eps)
        low, high = slabs(3, FIRST_SLABS, ball.radii)
        low, high = _outward(low * eps, -1).reshape(3, -1), _outward(high * eps, 1).reshape(3, -1)
        tried = [project(torch.randn(direction.shape, generator=g, dtype=DTYPE) * 10.0 ** (i % 5 - 2), ball) for i in range(40)]
        tried += [project(direction * size, ball) for size in (1e-3, 1.0, 1e3, -1e3, 1e6, -1e6)]
        tried += [project(direction.sign() * 1e6, ball), project(-direction.sign() * 1e6, ball)]
        for delta in tried:
            along = (direction * delta).sum((1, 2))[:, None]
            assert bool(((along >= low) & (along <= high)).any(1).all())


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("at_most", [None, 1])
def test_support_is_never_below_a_point_of_the_slab(norm: Fraction | None, clip: bool, at_most: int | None) -> None:
    question = asked("gru", norm, at_most, clip)
    direction, ball = nearest_boundary(question), question.ball
    g = torch.Generator().manual_seed(2)
    rows = {k: torch.randn(3, 6, 3, generator=g, dtype=DTYPE) for k in range(3)}
    rows[2] = rows[2] * 0 + direction[:, 2:3]  # parallel to the direction: the tightest case
    for low, high in ((-1.0, -0.9), (-0.6, -0.5), (-0.1, 0.2), (0.3, 0.35), (0.8, 1.0)):
        ends = torch.full((3,), low, dtype=DTYPE), torch.full((3,), high, dtype=DTYPE)
        upper = Slab(ball, direction, *ends).support(rows)
        assert bool((upper <= ball.support(rows)).all())
        for i in range(300):
            delta = project(torch.randn(direction.shape, generator=g, dtype=DTYPE) + direction * (i % 30 - 15), ball)
            along = (direction * delta).sum((1, 2))
            value = sum((rows[k] @ delta[:, k, :, None])[..., 0] for k in rows)
            inside = (along >= low) & (along <= high)
            assert bool((value <= upper + 1e-12)[inside].all())


def test_one_frame_l2_is_the_exact_formula() -> None:
    """max of w.d over s1 <= g.d <= s2, |d| <= r: r ((w.g) s + |w_perp| sqrt(1 - s^2)), s = clamp(w.g/|w|, s1, s2), g unit."""
    gen = torch.Generator().manual_seed(0)
    for _ in range(50):
        w, g = torch.randn(1, 5, 4, generator=gen, dtype=DTYPE), torch.randn(1, 1, 4, generator=gen, dtype=DTYPE)
        g = g / g.norm()
        ends = torch.sort(torch.rand(2, generator=gen, dtype=DTYPE) * 2 - 1).values
        r = 0.7
        slab = Slab(Ball(torch.full((1, 1), r, dtype=DTYPE), Fraction(2)), g, ends[:1] * r, ends[1:] * r)
        along = (w * g).sum(-1)
        across = (w - along[..., None] * g).norm(dim=-1)
        s = (along / w.norm(dim=-1)).clamp(float(ends[0]), float(ends[1]))
        exact = r * (along * s + across * (1 - s * s).sqrt())
        upper = slab.support({0: w})
        assert bool((upper >= exact - 1e-13).all())
        assert bool((upper <= exact + 1e-5).all())


def test_squares_that_underflow_are_not_lost() -> None:
    """Coefficients of 1e-170: their squares are 0 in float64, their support is not."""
    for norm in (Fraction(2), Fraction(3)):
        w, g = torch.full((1, 1, 4), 1e-170, dtype=DTYPE), torch.tensor([[[1.0, 0.0, 0.0, 0.0]]], dtype=DTYPE)
        ends = torch.tensor([-0.1], dtype=DTYPE), torch.tensor([0.1], dtype=DTYPE)
        upper = Slab(Ball(torch.ones(1, 1, dtype=DTYPE), norm), g, *ends).support({0: w})
        assert float(upper) >= 1e-170  # delta = e_2


@pytest.mark.parametrize("cell", ["rnn_tanh", "rnn_relu", "lstm", "gru"])
@pytest.mark.parametrize("norm", [Fraction(1), Fraction(2), None])
def test_points_of_a_slab_never_leave_its_boxes(cell: str, norm: Fraction | None) -> None:
    question = asked(cell, norm, seed=3)
    direction, nominal = nearest_boundary(question), question.centre
    for low, high in ((-1.0, -0.5), (-0.2, 0.1), (0.5, 1.0)):
        ends = torch.full((3,), low, dtype=DTYPE), torch.full((3,), high, dtype=DTYPE)
        with torch.no_grad():
            relaxed = Relaxed(nominal, Slab(question.ball, direction, *ends), "plane")
            upper = relaxed.upper(nominal.graph.output, torch.eye(3, dtype=DTYPE))
            for i, x in enumerate(points(nominal, question.ball, 200, seed=1)):
                x = nominal.inputs + project(x - nominal.inputs + direction * (i % 20 - 10) * 0.3, question.ball) * (1 - 1e-12)
                along = (direction * (x - nominal.inputs)).sum((1, 2))
                inside = (along >= low) & (along <= high)
                values = trajectory(nominal.graph, x)
                for value, (lo, hi) in zip(values, relaxed.boxes, strict=True):
                    slack = 1e-13 * (1 + value.abs())
                    assert bool(((value <= hi + slack) & (value >= lo - slack))[inside].all())
                assert bool((values[nominal.graph.output] <= upper + 1e-12)[inside].all())


@pytest.mark.parametrize("cell", ["rnn_tanh", "lstm", "gru"])
@pytest.mark.parametrize("norm", [Fraction(2), None])
def test_sliced_margins_are_sound_and_never_below_planes(cell: str, norm: Fraction | None) -> None:
    question = asked(cell, norm, seed=5)
    planes, sliced = METHODS["planes"](question), METHODS["sliced"](question)
    index = torch.arange(3)
    radius = largest_certified(planes, 3)
    gained = 0
    for factor in (0.5, 1.002, 1.01, 1.05, 2.0):
        size = radius * factor
        with torch.no_grad():
            a, b = planes(index, size), sliced(index, size)
        gained += int(((b > 0) & ~(a > 0)).sum())
        assert bool((b > 0)[a > 0].all())
        worst = counterexamples(question.centre.graph, question.centre.inputs, question.ball.scaled(size[:, None]), question.rows, 0)
        found = margins(trajectory(question.centre.graph, worst)[question.centre.graph.output], question.rows)
        assert bool((b <= found + 1e-9)[b > 0].all())
    assert gained > 0 or cell != "rnn_tanh" or norm is None


def test_a_cover_with_a_hole_is_caught() -> None:
    """Dropping the last slab must make the cover test's condition false somewhere."""
    question = asked("lstm", Fraction(2))
    direction = nearest_boundary(question)
    low, high = slabs(3, FIRST_SLABS, direction)
    low, high = low.reshape(3, -1)[:, :-1], high.reshape(3, -1)[:, :-1]
    delta = project(direction * 1e6, question.ball)
    along = (direction * delta).sum((1, 2))[:, None]
    assert not bool(((along >= low) & (along <= high)).any(1).all())
