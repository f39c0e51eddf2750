"""Sets that hold those asked about, on which their bounds may rest."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers import DTYPE, random_network
from vlang.runtime.attacks.base import frame_norms
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.methods.questions import PLANES, QUADRATIC, Asked, supersets
from vlang.runtime.sets.ball import Ball


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.fractions(1, 60, max_denominator=1000), st.integers(1, 200))
def test_larger_norms_hold_the_ball(p: Fraction, width: int) -> None:
    """At the points where they are tightest: one number, and all of one size. |x|_q <= factor |x|_p, by 60 digits."""
    from mpmath import mp, mpf

    mp.dps = 60
    for q, factor in supersets(p, width):
        for count in {1, width}:
            ours = mpf(1) if q is None else mpf(count) ** (1 / (mpf(q.numerator) / q.denominator))
            its = mpf(count) ** (1 / (mpf(p.numerator) / p.denominator))
            assert ours <= its * factor.numerator / factor.denominator
        assert factor == 1 or factor > 1
    assert (supersets(p, width) == []) == (p in (1, 2))


def asked(norm: Fraction | None, clip: float | None) -> Asked:
    network = random_network("gru", seed=5)
    x = torch.randn(1, 2, 3, generator=torch.Generator().manual_seed(1), dtype=DTYPE)
    room = None if clip is None else (torch.full_like(x, clip), torch.full_like(x, clip))
    nominal = Nominal.at(network.unroll(2), x)
    label = int(nominal.logits.argmax())
    eye = torch.eye(3, dtype=DTYPE)
    rows = torch.stack([eye[j] - eye[label] for j in range(3) if j != label])[None]
    return Asked(nominal, Ball(torch.ones(1, 2, dtype=DTYPE), norm, None, room), rows, 16)


@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("norm", [Fraction(101, 100), Fraction(9, 4), None])
@pytest.mark.parametrize("bounds", [PLANES, QUADRATIC])
def test_larger_sets_hold_every_point_of_the_set(bounds: object, norm: Fraction | None, clip: float | None) -> None:
    """Each larger ball holds points of the border, and the margin is below that of every one of them."""
    question, eps = asked(norm, clip), torch.tensor([0.4], dtype=DTYPE)
    index = torch.tensor([0])
    bound = float(question.relax(bounds, index, eps))  # type: ignore[arg-type]
    alone = float(question._relaxed(bounds, index, eps, None))  # type: ignore[arg-type]
    assert bound >= alone or bound > 0
    g = torch.Generator().manual_seed(2)
    ball = question.ball.scaled(eps[:, None])
    for _ in range(40):
        delta = torch.randn(1, 2, 3, generator=g, dtype=DTYPE) * 10 ** float(torch.rand(1, generator=g) * 4 - 2)
        delta = delta * (ball.radii / frame_norms(delta, ball))[..., None] * (1 - 1e-12)
        for larger in question.larger:
            held = larger.ball.scaled(eps[:, None])
            assert bool((frame_norms(delta, held) <= held.radii * (1 + 1e-12)).all())
        if clip is not None:
            delta = delta.clamp(-clip, clip)
        moved = Nominal.at(question.centre.graph, question.centre.inputs + delta)
        assert bound <= float(-(question.rows @ moved.logits[:, :, None]).amax()) + 1e-12
