"""Pieces of balls: they cover them, nothing bounded on one is below the truth there, and cutting gains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from tests.helpers import DTYPE, attacked_margins, largest_certified, quadratic, random_network
from vlang.runtime import rounding
from vlang.runtime.attacks.base import project
from vlang.runtime.bounds.coordinates import Chart
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.bounds.walk import Walk
from vlang.runtime.graph.concrete import trajectory
from vlang.runtime.methods.pieces import cutting_directions, halved, nearest_boundary, spanned
from vlang.runtime.methods.questions import PLANES, QUADRATIC, Asked, Bounds
from vlang.runtime.methods.table import METHODS
from vlang.runtime.sets.ball import Ball
from vlang.runtime.sets.piece import Piece

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


def random_directions(question: Asked, count: int, seed: int = 0) -> Tensor:
    """The gradient's direction and random ones, each of support at most 1 at eps = 1. shape: [B, count, m, n]."""
    first = nearest_boundary(question)
    g = torch.Generator().manual_seed(seed)
    others = torch.randn(len(first), count - 1, *first.shape[1:], generator=g, dtype=DTYPE) * (question.ball.radii > 0)[:, None, :, None]
    whole = replace(question.ball, clip=None, at_most=None)
    others = others / whole.support({k: others[:, :, k] for k in whole.frames})[..., None, None]
    return torch.cat([first[:, None], others], 1)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("at_most", [None, 2])
@pytest.mark.parametrize("count", [1, 3])
def test_pieces_cover_the_ball(norm: Fraction | None, clip: bool, at_most: int | None, count: int) -> None:
    """Every point of every ball, its corners along the directions included, lies in a piece; at small and at large eps."""
    question = asked("lstm", norm, at_most, clip)
    directions = random_directions(question, count)
    weights = torch.rand(3, count, generator=torch.Generator().manual_seed(3), dtype=DTYPE)
    for eps in (1e-3, 0.3, 1.0, 40.0):
        assert not holes(question, directions, weights, eps, halved)


def test_a_cover_with_a_hole_is_caught() -> None:
    question = asked("lstm", Fraction(2))
    directions = random_directions(question, 2)

    def torn(owner: Tensor, low: Tensor, high: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        owner, low, high = halved(owner, low, high, weights)
        return owner, low + 0.01 * (high - low), high

    assert holes(question, directions, torch.ones(3, 2, dtype=DTYPE), 0.3, torn)


Halve = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


def holes(question: Asked, directions: Tensor, weights: Tensor, eps: float, halve: Halve) -> int:
    """How many of many points of the balls are in no piece."""
    ball = question.ball.scaled(eps)
    owner, (low, high) = torch.arange(3), spanned(ball, directions)
    for _ in range(4):
        owner, low, high = halve(owner, low, high, weights[owner])
    low, high = rounding.moved_out(low, -1), rounding.moved_out(high, 1)
    g = torch.Generator().manual_seed(1)
    tried = [project(torch.randn(question.centre.inputs.shape, generator=g, dtype=DTYPE) * 10.0 ** (i % 5 - 2), ball) for i in range(40)]
    for direction in directions.unbind(1):
        tried += [project(direction * size, ball) for size in (1e-3, 1.0, 1e3, -1e3, 1e6, -1e6)]
        tried += [project(direction.sign() * 1e6, ball), project(-direction.sign() * 1e6, ball)]
    missed = 0
    for delta in tried:
        along = (directions[owner] * delta[owner][:, None]).sum((2, 3))
        hit = ((along >= low) & (along <= high)).all(1)
        missed += 3 - len(set(owner[hit].tolist()))
    return missed


ENDS = [((-1.0, -0.9), (-1.0, 1.0)), ((-0.6, -0.5), (-0.2, 0.6)), ((-0.1, 0.2), (-0.3, -0.1)), ((0.3, 0.35), (0.0, 1.0)), ((0.8, 1.0), (-0.5, 0.5))]


def piece(ball: Ball, directions: Tensor, ends: tuple[tuple[float, float], ...]) -> Piece:
    low, high = (torch.tensor([[pair[i] for pair in ends[: directions.shape[1]]]], dtype=DTYPE).expand(3, -1) for i in (0, 1))
    return Piece.between(ball, directions, low, high)


def points_between(part: Piece, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Points of the ball, and whether each lies between the hyperplanes. shape: [count, B, m, n], [count, B]."""
    g = torch.Generator().manual_seed(seed)
    shape = (count, *part.offset.shape)
    size = torch.tensor([0.0, 0.1, 0.3, 1.0], dtype=DTYPE)[torch.arange(count) % 4, None, None, None]
    axis = torch.arange(count) % part.directions.shape[1]
    lean = (
        part.directions[:, axis].transpose(0, 1)
        * (torch.arange(count) % 7 - 3)[:, None, None, None]
        * (torch.arange(count) % 3 == 0)[:, None, None, None]
    )
    rough = part.offset + size * torch.randn(shape, generator=g, dtype=DTYPE) + lean
    delta = torch.stack([project(d, part.ball) for d in rough])
    along = (part.directions * delta[:, :, None]).sum((3, 4))
    return delta, ((along >= part.low) & (along <= part.high)).all(2)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("at_most", [None, 1])
def test_support_is_never_below_a_point_of_the_piece(norm: Fraction | None, clip: bool, at_most: int | None) -> None:
    question = asked("gru", norm, at_most, clip)
    g = torch.Generator().manual_seed(2)
    rows = {k: torch.randn(3, 6, 3, generator=g, dtype=DTYPE) for k in range(3)}
    rows[2] = rows[2] * 0 + nearest_boundary(question)[:, 2:3]  # parallel to a direction: the tightest case
    met = 0
    for count in (1, 2):
        for ends in ENDS if count == 1 and not clip else ENDS[1:4:2]:
            part = piece(question.ball, random_directions(question, count), ends)
            upper = part.support(rows)
            here = torch.stack([(rows[k] @ part.offset[:, k, :, None])[..., 0] for k in rows]).sum(0)
            assert bool((upper <= question.ball.support(rows) - here + 1e-12).all())
            delta, inside = points_between(part, 400, seed=2)
            value = torch.stack([(rows[k] @ (delta - part.offset)[:, :, k, :, None])[..., 0] for k in rows]).sum(0)
            met += int(inside.sum())
            assert bool((value <= upper + 1e-12)[inside].all())
    assert met > 30


def test_one_frame_l2_is_the_exact_formula() -> None:
    """max of w.d over s1 <= g.d <= s2, |d| <= r: r ((w.g) s + |w_perp| sqrt(1 - s^2)), s = clamp(w.g/|w|, s1, s2), g unit."""
    gen = torch.Generator().manual_seed(0)
    for _ in range(50):
        w, g = torch.randn(1, 5, 4, generator=gen, dtype=DTYPE), torch.randn(1, 1, 1, 4, generator=gen, dtype=DTYPE)
        g = g / g.norm()
        ends = torch.sort(torch.rand(2, generator=gen, dtype=DTYPE) * 2 - 1).values
        r = 0.7
        part = Piece.between(Ball(torch.full((1, 1), r, dtype=DTYPE), Fraction(2)), g, ends[None, :1] * r, ends[None, 1:] * r)
        along = (w * g[0]).sum(-1)
        across = (w - along[..., None] * g[0]).norm(dim=-1)
        s = (along / w.norm(dim=-1)).clamp(float(ends[0]), float(ends[1]))
        exact = r * (along * s + across * (1 - s * s).sqrt()) - (w @ part.offset[:, 0, :, None])[..., 0]
        upper = part.support({0: w})
        assert bool((upper >= exact - 1e-13).all())
        assert bool((upper <= exact + 1e-5).all())


def test_squares_that_underflow_are_not_lost() -> None:
    """Coefficients of 1e-170: their squares are 0 in float64, their support is not."""
    for norm in (Fraction(2), Fraction(3)):
        w, g = torch.full((1, 1, 4), 1e-170, dtype=DTYPE), torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]]], dtype=DTYPE)
        ends = torch.tensor([[-0.1]], dtype=DTYPE), torch.tensor([[0.1]], dtype=DTYPE)
        upper = Piece.between(Ball(torch.ones(1, 1, dtype=DTYPE), norm), g, *ends).support({0: w})
        assert float(upper) >= 1e-170  # delta = e_2


@pytest.mark.parametrize("cell", ["rnn_tanh", "rnn_relu", "lstm", "gru"])
@pytest.mark.parametrize("norm", [Fraction(1), Fraction(2), None])
@pytest.mark.parametrize("bounds", [PLANES, QUADRATIC])
def test_points_of_a_piece_never_leave_its_boxes(cell: str, norm: Fraction | None, bounds: Bounds) -> None:
    met = 0
    for count, at_most, clip in ((1, None, False), (2, None, True), (1, 2, False)):
        question = asked(cell, norm, at_most, clip, seed=3 + count, frames=2)
        nominal = question.centre
        for ends in ENDS[2:3] if clip else ENDS[:3:2]:
            part = piece(question.ball, random_directions(question, count), ends)
            with torch.no_grad():
                relaxed = bounds.make(Nominal.at(nominal.graph, nominal.inputs + part.offset), part, question.chart)
                upper = relaxed.upper(nominal.graph.output, torch.eye(3, dtype=DTYPE))
                met += check_points(relaxed, upper, part, nominal)
    assert met > 30


def check_points(relaxed: Walk, upper: Tensor, part: Piece, nominal: Nominal) -> int:
    """No node of a point of the piece outside its box, no output above its bound. Returns the number of points."""
    delta, inside = points_between(part, 80, seed=1)
    values = trajectory(nominal.graph, (nominal.inputs + delta * (1 - 1e-12)).flatten(0, 1))
    for value, (lo, hi) in zip((v.unflatten(0, inside.shape) for v in values), relaxed.boxes, strict=True):
        slack = 1e-13 * (1 + value.abs())
        assert bool(((value <= hi + slack) & (value >= lo - slack))[inside].all())
    assert bool((values[nominal.graph.output].unflatten(0, inside.shape) <= upper + 1e-12)[inside].all())
    return int(inside.sum())


def test_wide_frames_and_single_frames_of_pieces() -> None:
    """Frames wider than the weights that read them (a chart), and rows that move different single frames (slots)."""
    for norm in (Fraction(2), None):
        network = random_network("lstm", n=40, s=3, seed=4)
        g = torch.Generator().manual_seed(0)
        x = torch.randn(3, 3, 40, generator=g, dtype=DTYPE)
        nominal = Nominal.at(network.unroll(3), x)
        question = Asked(nominal, Ball(0.3 * torch.eye(3, dtype=DTYPE), norm), torch.eye(3, dtype=DTYPE)[None, :2].expand(3, -1, -1), 64)
        both = Ball(torch.full((3, 3), 0.1, dtype=DTYPE), norm)
        for ball in (question.ball, both):
            for ends in ENDS[1:3]:
                part = piece(ball, random_directions(replace(question, ball=ball), 2) * 3, ends)
                with torch.no_grad():
                    relaxed = quadratic(Nominal.at(nominal.graph, x + part.offset), part)
                    check_points(relaxed, relaxed.upper(nominal.graph.output, torch.eye(3, dtype=DTYPE)), part, nominal)


@pytest.mark.parametrize(
    ("cell", "norm"), [("rnn_tanh", Fraction(1)), ("rnn_tanh", Fraction(2)), ("rnn_tanh", None), ("lstm", Fraction(2)), ("gru", None)]
)
def test_sliced_margins_are_sound_and_gain(cell: str, norm: Fraction | None) -> None:
    question = asked(cell, norm, seed=5, frames=2)
    whole, sliced = METHODS["quadratic"](question), METHODS["sliced"](question)
    index = torch.arange(3)
    radius = largest_certified(whole, 3)
    gained = 0
    for factor in (0.5, 1.002, 1.03, 2.0):
        size = radius * factor
        with torch.no_grad():
            a, b = whole(index, size), sliced(index, size)
        gained += int(((b > 0) & ~(a > 0)).sum())
        assert bool((b > 0)[a > 0].all())
        assert bool((b <= attacked_margins(question, size) + 1e-9)[b > 0].all())
    assert gained > 0


@pytest.mark.parametrize(("n", "frames", "scale"), [(100, 3, 0.1), (3, 2, 1e40)])
def test_balls_whose_last_form_is_too_large_or_not_finite_are_cut_too(n: int, frames: int, scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The margin's own form is not made (300 rows), or overflows: another direction then, never a crash, and never a certificate."""
    monkeypatch.setattr("vlang.runtime.bounds.quadratic.LARGEST_FORM", 256)
    network = random_network("rnn_tanh" if n > 3 else "lstm", n=n, s=n, scale=scale, seed=1)
    nominal = Nominal.at(network.unroll(frames), torch.randn(2, frames, n, generator=torch.Generator().manual_seed(0), dtype=DTYPE))
    eye = torch.eye(3, dtype=DTYPE)
    label = nominal.logits.argmax(1).tolist()
    question = Asked(nominal, Ball(torch.ones(2, frames, dtype=DTYPE), Fraction(2)), torch.stack([eye[[(y + 1) % 3]] - eye[[y]] for y in label]), 64)
    assert question.worthwhile
    with torch.no_grad():
        found, weights = cutting_directions(question, torch.arange(2), torch.full((2,), 0.1, dtype=DTYPE))
    assert found.shape == (2, 1, frames, n)
    assert weights.shape == (2, 1)
    assert bool(found.isfinite().all())


def test_a_batch_that_does_not_fit_is_halved() -> None:
    """Allocations fail for batches of more than one row: the answer is the same; for a single row the error is told."""
    question = asked("lstm", Fraction(2))
    index, eps = torch.arange(3), torch.full((3,), 0.1, dtype=DTYPE)
    with torch.no_grad():
        want = question.relax(PLANES, index, eps)

        def most(rows: int) -> Bounds:
            def made(nominal: Nominal, region: Ball | Piece, chart: Chart | None) -> Walk:
                if len(nominal.inputs) > rows:
                    raise RuntimeError(
                        "[enforce fail at alloc_cpu.cpp:75] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes."
                    )
                return PLANES.make(nominal, region, chart)

            return Bounds(False, made)

        assert torch.allclose(question.relax(most(1), index, eps), want, rtol=1e-12, atol=0)
        with pytest.raises(RuntimeError, match="allocate"):
            question.relax(most(0), index, eps)
