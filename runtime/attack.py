"""Projected gradient search for a counterexample, for `verify`'s verdict "falsified".

Every step moves along the steepest direction of the p-norm and is put back into the set by shrinking, so each point tried is
in the ball by construction; `replay` tests that again, exactly, before anything is claimed.
"""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor

from vlang.runtime.ball import Ball, p_norm
from vlang.runtime.concrete import logits, margins
from vlang.runtime.graph import Graph

STEPS = 40
RESTARTS = 2
#: A witness must be ahead by this much, relative to the logits: far above the error of a float64 forward pass.
EVALUATION = 1e-10


def counterexamples(graph: Graph, inputs: Tensor, ball: Ball, rows: Tensor, seed: int) -> Tensor:
    """The best inputs found. shape: inputs [B, m, n], rows [B, T, classes] (margin = -rows @ logits) -> [B, m, n]."""
    generator = torch.Generator(device="cpu").manual_seed(seed)
    best, best_margin = inputs.clone(), margins(logits(graph, inputs), rows)
    for restart in range(RESTARTS):
        delta = torch.zeros_like(inputs)
        if restart:
            noise = torch.randn(inputs.shape, generator=generator, dtype=inputs.dtype).to(inputs.device)
            delta = project(noise, ball)
        for step in range(STEPS):
            point = (inputs + delta).requires_grad_()
            with torch.enable_grad():
                margin = margins(logits(graph, point), rows)
                (gradient,) = torch.autograd.grad(margin.sum(), point)
            margin = margin.detach()
            better = margin < best_margin
            best = torch.where(better[:, None, None], point.detach(), best)
            best_margin = torch.where(better, margin, best_margin)
            size = 1.0 if step < STEPS // 2 else 0.3
            delta = project(delta + size * _steepest(-gradient, ball), ball)
        point = inputs + delta
        margin = margins(logits(graph, point), rows)
        better = margin < best_margin
        best = torch.where(better[:, None, None], point, best)
        best_margin = torch.where(better, margin, best_margin)
    return best


def _steepest(gradient: Tensor, ball: Ball) -> Tensor:
    """The point of every frame's ball that is furthest along the gradient. shape: [B, m, n]."""
    radii = ball.radii[:, :, None]
    if ball.norm is None:
        return radii * gradient.sign()
    if ball.norm == 1:
        top = gradient.abs().argmax(-1, keepdim=True)
        return radii * torch.zeros_like(gradient).scatter(-1, top, gradient.gather(-1, top).sign())
    q = ball.dual
    scale = gradient.abs().amax(-1, keepdim=True).clamp(min=torch.finfo(gradient.dtype).tiny)
    direction = gradient.sign() * (gradient.abs() / scale) ** (q - 1)
    return radii * direction / _norm(direction, ball).clamp(min=torch.finfo(gradient.dtype).tiny)


def _norm(delta: Tensor, ball: Ball) -> Tensor:
    return p_norm(delta, math.inf if ball.norm is None else float(ball.norm))[..., None]


def project(delta: Tensor, ball: Ball) -> Tensor:
    """A point of the set near x + delta: the furthest frames kept, each shrunk into its ball, then clipped. shape: [B, m, n]."""
    radii = ball.radii[:, :, None]
    delta = torch.where(radii > 0, delta, 0.0)
    if ball.at_most is not None and ball.at_most < delta.shape[1]:
        size = _norm(delta, ball)[..., 0]
        kept = torch.zeros_like(size).scatter(1, size.topk(ball.at_most, 1).indices, 1.0)
        delta = delta * kept[:, :, None]
    if ball.norm is None:
        delta = torch.minimum(torch.maximum(delta, -radii), radii)
    else:
        norm = _norm(delta, ball)
        delta = delta * torch.where(norm > radii, radii / norm.clamp(min=torch.finfo(delta.dtype).tiny), torch.ones_like(norm))
    if ball.room is not None:
        delta = torch.minimum(torch.maximum(delta, -ball.room[0]), ball.room[1])
    return delta


def replay(
    graph: Graph,
    centre: Tensor,
    point: Tensor,
    rows: Tensor,
    eps: Fraction,
    weights: tuple[Fraction, ...],
    norm: Fraction | None,
    at_most: int | None,
    clip: tuple[Fraction, Fraction] | None,
) -> bool:
    """Whether `point` is in the set, tested in exact rational arithmetic, and some margin is below 0 in the concrete network.

    shape: centre, point [m, n]; rows [T, classes]. weights: one a frame, 0 for a frame that is fixed. For a norm that is not rational
    to evaluate (p other than 1, 2, inf) the test is float64 on ratios to the radius, with a safety larger than its rounding.
    """
    moved = 0
    for k in range(centre.shape[0]):
        delta = [abs(Fraction(b) - Fraction(a)) for a, b in zip(centre[k].tolist(), point[k].tolist(), strict=True)]
        moved += any(delta)
        if not _within(delta, weights[k] * eps, norm):
            return False
    if at_most is not None and moved > at_most:
        return False
    still = (point == centre).flatten().tolist()
    if clip is not None and not all(same or clip[0] <= Fraction(v) <= clip[1] for v, same in zip(point.flatten().tolist(), still, strict=True)):
        return False
    return misclassifies(graph, point, rows)


def misclassifies(graph: Graph, point: Tensor, rows: Tensor) -> bool:
    """Whether some class asked about is ahead at this point, by more than float64 evaluation can be wrong. shape: [m, n], [T, classes]."""
    values = logits(graph, point[None])
    return bool(margins(values, rows[None])[0] < -EVALUATION * (1 + values.abs().max()))


def _within(delta: list[Fraction], radius: Fraction, norm: Fraction | None) -> bool:
    if norm is None:
        return max(delta) <= radius
    if norm == 1:
        return sum(delta) <= radius
    if norm == 2:
        return sum(x * x for x in delta) <= radius * radius
    if radius == 0:
        return not any(delta)
    ratios = [x / radius for x in delta]
    if max(ratios) > 1:
        return False
    p = float(norm)
    size: float = sum(float(x) ** p for x in ratios)
    return size <= 1 - 1e-12 - (4 * p + len(ratios)) * 2.0**-53
