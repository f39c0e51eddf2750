"""Planted counterexamples: networks of which an input just outside the class is known, at a known distance. No method may certify up to there."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from tests.helpers import DTYPE, random_network
from vlang.runtime.attacks.base import project
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.methods.table import METHODS, Asked
from vlang.runtime.network.layers import Linear
from vlang.runtime.network.unroll import Network
from vlang.runtime.sets.ball import Ball

NORMS = [Fraction(1), Fraction(3, 2), Fraction(2), Fraction(4), None]
COUNT = 50
#: Methods that are slow get so many rows, of these only.
#: How many of joint bounds, half a second each.
JOINT = 2
SLOW, FEW, THEIRS = ("sliced", "optimized"), 4, (("rnn_tanh", Fraction(2)), ("lstm", None), ("gru", Fraction(2)))


def with_states_as_logits(network: Network, s: int) -> Network:
    """The hidden state as logits, and a last one that is always 1: rows over it are affine functions of the state."""
    weight = torch.cat([torch.eye(s, dtype=DTYPE), torch.zeros(1, s, dtype=DTYPE)])
    bias = torch.zeros(s + 1, dtype=DTYPE)
    bias[-1] = 1
    return replace(network, layers=(*network.layers[:-1], Linear(weight, bias)), classes=s + 1)


def planted(cell: str, norm: Fraction | None, seed: int) -> tuple[Asked, Tensor]:
    """Questions whose margin is below 0, by 1e-12 to 1e-1 of the nominal one, at a point of the ball of eps = 1; and the margins there."""
    g = torch.Generator().manual_seed(seed)
    s, n, frames = 4, 3, 3
    network = with_states_as_logits(random_network(cell, n=n, s=s, scale=0.7, seed=seed), s)
    graph = network.unroll(frames)
    x = torch.randn(COUNT, frames, n, generator=g, dtype=DTYPE)
    radii = 10.0 ** (torch.rand(COUNT, 1, generator=g, dtype=DTYPE) * 6 - 5) * (torch.rand(COUNT, frames, generator=g, dtype=DTYPE) < 0.7)
    radii[:, 1] = torch.where(radii.amax(1) == 0, 0.1, radii[:, 1])
    ball = Ball(radii, norm)
    far = project(1e3 * torch.randn(x.shape, generator=g, dtype=DTYPE), ball.scaled(1 - 1e-9))
    here, there = Nominal.at(graph, x), Nominal.at(graph, x + far)
    difference = here.logits - there.logits
    direction = difference + difference.norm(dim=1, keepdim=True) * 0.5 * torch.randn(difference.shape, generator=g, dtype=DTYPE)
    direction[:, -1] = 0
    at_here, at_there = ((direction * v.logits).sum(1) for v in (here, there))
    beyond = 10.0 ** -(torch.rand(COUNT, generator=g, dtype=DTYPE) * 11 + 1)  # of the way from there to here
    threshold = at_there + (at_here - at_there) * beyond
    row = direction / (at_here - at_there)[:, None]
    row[:, -1] = -threshold / (at_here - at_there)
    margin = -row[:, None]  # the margin is minus the row, so its sign turns
    return Asked(here, ball, margin, 1024), -(margin @ there.logits[:, :, None])[:, 0, 0]


@pytest.mark.parametrize("cell", ["rnn_tanh", "rnn_relu", "lstm", "gru"])
@pytest.mark.parametrize("norm", NORMS)
def test_no_ball_that_holds_a_counterexample_is_certified(cell: str, norm: Fraction | None) -> None:
    """4 cells x 5 norms x 50 constructions = 1,000; every method at the counterexample's own distance."""
    question, there = planted(cell, norm, seed=7)
    clear = there < -1e-14  # elsewhere the construction is lost in its own rounding
    assert int(clear.sum()) > 0.8 * COUNT
    assert bool((question.nominal[clear] > 0).all())
    for name, method in METHODS.items():
        if name in SLOW and (cell, norm) not in THEIRS:
            continue
        index = clear.nonzero().flatten()[: JOINT if name == "joint" else FEW if name in SLOW else None]
        with torch.no_grad():
            margins = method(question)(index, torch.ones(len(index), dtype=DTYPE))
            near = method(question)(index, torch.full((len(index),), 1e-9, dtype=DTYPE))
        assert not bool((margins > 0).any()), name
        assert not bool((margins > there[index] + 1e-13).any()), name
        assert bool((near > 0).any()), name  # the construction is not hopeless either
