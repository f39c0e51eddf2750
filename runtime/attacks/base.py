"""What an attack is: it looks for the nearest input that changes the class, so the true radius is at most the distance of what it finds.

Attacks move in delta-space with two tools: `steepest` (where on the set a linear margin falls most) and `project` (a point of the set nearby).
Nothing that they find counts before runtime/witness.py has replayed it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vlang.runtime import rounding
from vlang.runtime.graph.concrete import logits, margins
from vlang.runtime.graph.nodes import Graph
from vlang.runtime.late import never
from vlang.runtime.sets.ball import Ball, p_norm

#: A counterexample must be ahead by this much, relative to the logits: far above the error of a float64 forward pass.
EVALUATION = 1e-10
#: Points on the border of the largest set may come out as much further, by rounding.
AT_THE_END = 1e-12
#: Bisection steps along the segment from the centre to a counterexample.
SEGMENT_STEPS = 30


@dataclass(frozen=True, eq=False)
class Question:
    """Rows to attack. ball: the sets at eps = 1. rows: y_j - y_label. most: the largest eps that counts.

    some: whether a row below 0 is enough for what is asked, so that a counterexample has all of them above.
    late: asked before every step whether to leave it at what was found.
    starts: so many consecutive rows are one row's starts; what is found for a row does not depend on the others beside it.
    shape: inputs [B, m, n], rows [B, T, classes].
    """

    graph: Graph
    inputs: Tensor
    ball: Ball
    rows: Tensor
    most: float
    starts: int = 1
    late: Callable[[], bool] = never
    some: bool = False

    def margins(self, delta: Tensor) -> Tensor:
        """The margin at x + delta plus what evaluating it may be wrong by: below 0 it is a counterexample. shape: [B, m, n] -> [B]."""
        return careful_margins(self.graph, self.inputs + delta, self.rows, self.starts, self.some)

    def slope(self, delta: Tensor) -> tuple[Tensor, Tensor]:
        """The margins and their gradient. shape: [B], [B, m, n]."""
        with torch.enable_grad():
            moved = delta.detach().clone().requires_grad_()
            found = self.margins(moved)
            (gradient,) = torch.autograd.grad(found.sum(), moved)
        return found.detach(), torch.where(self.ball.radii[:, :, None] > 0, gradient, 0.0)

    def distance(self, delta: Tensor) -> Tensor:
        """The smallest eps whose balls hold delta. shape: [B]."""
        radii = self.ball.radii
        ratio = frame_norms(delta, self.ball) / torch.where(radii > 0, radii, 1.0)
        return ratio.amax(1)

    def put(self, delta: Tensor, eps: Tensor) -> Tensor:
        """A point of the sets of radius eps near x + delta. shape: eps [B]."""
        return project(delta, self.ball.scaled(eps[:, None]))

    def on_frames(self, scores: Tensor) -> Question:
        """Where only some frames may move at once: only those of the highest scores, for every row. shape: scores [B, m]."""
        ball = self.ball
        if ball.at_most is None or ball.at_most >= len(ball.frames):
            return self
        top = torch.where(ball.radii > 0, scores, -torch.inf).topk(ball.at_most, 1).indices
        radii = torch.zeros_like(ball.radii).scatter(1, top, ball.radii.gather(1, top))
        return replace(self, ball=replace(ball, radii=radii, at_most=None))

    def gains(self, gradient: Tensor) -> Tensor:
        """How much each frame alone could change a linear margin at eps = 1. shape: [B, m]."""
        return p_norm(gradient, self.ball.dual) * self.ball.radii

    def against(self, rows: Tensor) -> Question:
        """The same with other classes to be confused with. shape: [B, T', classes]."""
        return replace(self, rows=rows)

    def repeat(self, times: int) -> Question:
        """Every row so many times, one after the other."""
        ball = self.ball
        clip = None if ball.clip is None else (ball.clip[0].repeat_interleave(times, 0), ball.clip[1].repeat_interleave(times, 0))
        ball = replace(ball, radii=ball.radii.repeat_interleave(times, 0), clip=clip)
        inputs, rows = (x.repeat_interleave(times, 0) for x in (self.inputs, self.rows))
        return replace(self, inputs=inputs, ball=ball, rows=rows, starts=self.starts * times)


class Closest:
    """The nearest counterexample met so far to every row. shape: delta [B, m, n], distance [B] (infinite where there is none)."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.delta = torch.zeros_like(question.inputs)
        self.distance = torch.full_like(question.inputs[:, 0, 0], torch.inf)

    def offer(self, delta: Tensor, margin: Tensor) -> None:
        """Take the points that are counterexamples and nearer."""
        distance = self.question.distance(delta)
        better = (margin < 0) & (distance < self.distance) & (distance <= self.question.most * (1 + AT_THE_END))
        self.delta = torch.where(better[:, None, None], delta, self.delta)
        self.distance = torch.where(better, distance, self.distance)

    def pull(self) -> None:
        """Bisect the segments from the centres to the counterexamples for nearer ones."""
        whole, low, high = self.delta, torch.zeros_like(self.distance), torch.ones_like(self.distance)
        for _ in range(SEGMENT_STEPS):
            share = (low + high) / 2
            margin = self.question.margins(whole * share[:, None, None])
            self.offer(whole * share[:, None, None], margin)
            low, high = torch.where(margin < 0, low, share), torch.where(margin < 0, share, high)

    def best_of(self, times: int) -> tuple[Tensor, Tensor]:
        """Of a question repeated so many times: the nearest of every row, and how far it is. shape: [B, m, n], [B]."""
        distance, which = self.distance.reshape(-1, times).min(1)
        delta = self.delta.reshape(-1, times, *self.delta.shape[1:])
        return delta[torch.arange(len(delta), device=which.device), which], distance


#: A generator for every row.
Randoms = Sequence[torch.Generator]
#: An attack with so many steps and restarts: the nearest points found, and their distances. shape: [B, m, n], [B].
Attack = Callable[[Question, int, int, Randoms], tuple[Tensor, Tensor]]


def drawn(draw: Callable[..., Tensor], randoms: Randoms, *shape: int, like: Tensor) -> Tensor:
    """Random numbers of every row's own, one row after the other. shape: -> [B shape[0], *shape[1:]]."""
    return torch.cat([draw(shape, generator=g, dtype=like.dtype) for g in randoms]).to(like.device)


def careful_margins(graph: Graph, points: Tensor, rows: Tensor, block: int | None = None, some: bool = False) -> Tensor:
    """The margins at some inputs plus what evaluating them may be wrong by. block: see `trajectory`. shape: [P, m, n], [P, T, classes] -> [P]."""
    values = logits(graph, points, block=block)
    return margins(values, rows, some) + EVALUATION * (1 + values.abs().amax(-1))


def frame_norms(delta: Tensor, ball: Ball) -> Tensor:
    """shape: [B, m, n] -> [B, m]."""
    return p_norm(delta, math.inf if ball.norm is None else float(ball.norm))


def linear_distance(margin: Tensor, gradient: Tensor, ball: Ball) -> Tensor:
    """How far the boundary would be were the margin linear. shape: [B]."""
    gain = ball.support({k: gradient[:, k : k + 1] for k in ball.frames})[:, 0]
    found = torch.where(gain > 0, margin.clamp(min=0) / gain, torch.inf)
    return rounding.reported(found, 1)  # a support's last bits depend on the frames of others in the batch


def steepest(gradient: Tensor, ball: Ball) -> Tensor:
    """The point of every frame's ball that is furthest along the gradient. shape: [B, m, n]."""
    radii = ball.radii[:, :, None]
    if ball.norm is None:
        return radii * gradient.sign()
    if ball.norm == 1:
        top = gradient.abs().argmax(-1, keepdim=True)
        return radii * torch.zeros_like(gradient).scatter(-1, top, gradient.gather(-1, top).sign())
    tiny = rounding.tiny(gradient)
    scale = gradient.abs().amax(-1, keepdim=True).clamp(min=tiny)
    direction = gradient.sign() * (gradient.abs() / scale) ** (ball.dual - 1)
    return radii * direction / frame_norms(direction, ball)[..., None].clamp(min=tiny)


def project(delta: Tensor, ball: Ball) -> Tensor:
    """A point of the set near x + delta: the furthest frames kept, each put into its ball, then clipped. shape: [B, m, n].

    The nearest point for p = 1, 2 and infinity without a clip; otherwise shrunk towards the centre.
    """
    radii = ball.radii[:, :, None]
    delta = torch.where(radii > 0, delta, 0.0)
    if ball.at_most is not None and ball.at_most < delta.shape[1]:
        size = frame_norms(delta, ball)
        kept = torch.zeros_like(size).scatter(1, size.topk(ball.at_most, 1).indices, 1.0)
        delta = delta * kept[:, :, None]
    if ball.norm is None:
        delta = torch.minimum(torch.maximum(delta, -radii), radii)
    else:
        if ball.norm == 1:
            delta = _soften(delta, radii)
        norm = frame_norms(delta, ball)[..., None]
        delta = delta * torch.where(norm > radii, radii / norm, torch.ones_like(norm))
    if ball.clip is not None:
        delta = torch.minimum(torch.maximum(delta, -ball.clip[0]), ball.clip[1])
    return delta


def _soften(delta: Tensor, radii: Tensor) -> Tensor:
    """The nearest point of a cross-polytope: every coordinate loses as much as brings the sum down to the radius (by sorting)."""
    size = delta.abs().sort(-1, descending=True).values
    rank = torch.arange(1, delta.shape[-1] + 1, device=delta.device, dtype=delta.dtype)
    excess = (size.cumsum(-1) - radii) / rank
    last = ((size > excess) * rank).amax(-1, keepdim=True).clamp(min=1).long() - 1
    loss = excess.gather(-1, last).clamp(min=0)
    return delta.sign() * (delta.abs() - loss).clamp(min=0)
