"""Slices: the ball cut into pieces by parallel hyperplanes, each bounded from its own middle.

Every box is recomputed for a piece, and what relaxations leave out shrinks with the square of its width. Pieces that fail are halved while that can
help; a margin holds on the ball if it holds on every piece of a cover (runtime/README.md, section 4).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from vlang.runtime import rounding
from vlang.runtime.bounds.quadratic import Quadratic
from vlang.runtime.graph.concrete import logits
from vlang.runtime.methods.questions import PLANES, QUADRATIC, Asked, Margins
from vlang.runtime.sets.ball import Ball

#: Directions across which balls are cut, and how often a piece that fails is halved.
DIRECTIONS = 1
ROUNDS = 4
#: Balls whose margin is below minus this share of the nominal margin are not cut; pieces are not cut again below this share a round left.
HOPELESS = 0.5
HOPELESS_PIECE = 0.05


def sliced(asked: Asked) -> Margins:
    """The ball in pieces, each bounded from its own middle."""
    nominal = asked.nominal
    bounds = QUADRATIC if asked.worthwhile else PLANES

    def margins(index: Tensor, eps: Tensor) -> Tensor:
        worst = asked.relax(bounds, index, eps)
        worst = torch.where(worst.isnan(), -torch.inf, worst)
        owner = ((worst <= 0) & (worst > -HOPELESS * nominal[index])).nonzero().flatten()
        if owner.numel() == 0:
            return worst
        cuts, weights = cutting_directions(asked, index[owner], eps[owner])
        position = torch.zeros_like(index).scatter(0, owner, torch.arange(len(owner), device=index.device))
        low, high = spanned(asked.ball.rows(index[owner]).scaled(eps[owner, None]), cuts)
        worst[owner] = torch.inf
        for left in range(ROUNDS, 0, -1):
            owner, low, high = halved(owner, low, high, weights[position[owner]])
            values = asked.relax(bounds, index[owner], eps[owner], (cuts[position[owner]], rounding.moved_out(low, -1), rounding.moved_out(high, 1)))
            values = torch.where(values.isnan(), -torch.inf, values)
            floor = torch.full_like(worst, torch.inf).scatter_reduce(0, owner, values, "amin")
            again = ~(values > 0) & (floor > -HOPELESS_PIECE * left * nominal[index])[owner] & (left > 1)
            worst = worst.scatter_reduce(0, owner[~again], values[~again], "amin")
            owner, low, high = owner[again], low[again], high[again]
            if owner.numel() == 0:
                break
        return worst

    return margins


def spanned(ball: Ball, directions: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the largest direction . delta on the sets, rounded outward: what a clip cuts off needs no piece. shape: -> [A, K]."""
    low, high = (sign * ball.support({k: sign * directions[:, :, k] for k in ball.frames}) for sign in (-1, 1))
    return low, high


def halved(owner: Tensor, low: Tensor, high: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every piece in two, across the direction along which the most is left. shape: owner [C], low, high, weights [C, K] -> 2 C pieces."""
    axis = ((weights * (high - low)) ** 2).argmax(-1, keepdim=True)
    middle = ((low + high) / 2).gather(-1, axis)
    return torch.cat([owner, owner]), torch.cat([low, low.scatter(-1, axis, middle)]), torch.cat([high.scatter(-1, axis, middle), high])


def cutting_directions(asked: Asked, index: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
    """Directions across which to cut the balls of some rows, of support at most 1 at eps = 1, with a weight each. shape: [A, K, m, n], [A, K]."""
    if asked.worthwhile and not asked.coordinates.vertices:
        centre, ball = asked.centre.rows(index), asked.ball.rows(index).scaled(eps[:, None])
        found, weights = Quadratic(centre, ball, asked.chart).run().principal(centre.graph.output, asked.rows[index], DIRECTIONS)
        if found.shape[1]:
            unit = replace(asked.ball.rows(index), clip=None, at_most=None)
            reach = unit.support({k: found[:, :, k] for k in asked.ball.frames})
            return found / reach[..., None, None].clamp(min=1e-300), weights
    found = nearest_boundary(asked)[index, None]
    return found, torch.ones_like(found[:, :, 0, 0])


def nearest_boundary(asked: Asked) -> Tensor:
    """Per row, minus the gradient of the margin to the class with the nearest linearised boundary, scaled to support 1 at eps = 1.

    Any direction is sound; this one cuts towards the attack. shape: [B, m, n].
    """
    # Without the clip: a clipped ball does not scale with eps, and the cover must hold at every eps.
    centre, ball, rows = asked.centre, replace(asked.ball, clip=None), asked.rows
    moving = (ball.radii > 0)[:, :, None]
    best = torch.zeros_like(centre.inputs)
    nearest = torch.full_like(centre.inputs[:, 0, 0], torch.inf)
    for t in range(rows.shape[1]):
        with torch.enable_grad():
            x = centre.inputs.detach().clone().requires_grad_()
            ahead = (rows[:, t : t + 1] @ logits(centre.graph, x, block=1)[:, :, None])[:, 0, 0]
            (gradient,) = torch.autograd.grad(ahead.sum(), x)
        gradient = torch.where(moving, gradient, 0.0)
        support = ball.support({k: gradient[:, k : k + 1] for k in ball.frames})[:, 0]
        distance = -ahead.detach() / support
        closer = (distance < nearest) & (support > 0)
        best = torch.where(closer[:, None, None], gradient / support[:, None, None], best)
        nearest = torch.where(closer, distance, nearest)
    return best
