"""Gradient attacks: one step (FGSM), and projected steps in a ball whose radius follows what is found (PGD)."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import torch
from torch import Tensor

from vlang.runtime.attacks.base import Closest, Question, Randoms, drawn, linear_distance, project, steepest
from vlang.runtime.sets.ball import Ball

#: Radii that FGSM tries, as multiples of where a linear network's boundary would be: this many to each factor of 2, from a quarter to 64.
PER_DOUBLING, LOWEST, HIGHEST = 8, -2, 6
#: Random starts lie on balls between this share of the nearest counterexample's radius and all of it; noise is so large that it ends on their border.
SMALLEST_START, FAR_OUT = 0.1, 1e3
#: Steps start at a whole radius and end at this share of it; the ball shrinks or grows by GROWTH times the same schedule.
LAST_STEP = 0.01
GROWTH = 0.1
#: For the 1-norm steps are the steepest of a norm nearby: those of its own move one number. (11/10 misses no row of 29 where 2 misses three.)
NEARLY_ONE = Fraction(11, 10)


def fgsm(question: Question, steps: int, restarts: int, randoms: Randoms) -> tuple[Tensor, Tensor]:
    """The nearest counterexample straight along the steepest direction at the centre (Goodfellow et al., 2015, arXiv 1412.6572)."""
    margin, gradient = question.slope(torch.zeros_like(question.inputs))
    question = question.on_frames(question.gains(gradient))
    closest = Closest(question)
    direction, guess = steepest(-gradient, question.ball), linear_distance(margin, gradient, question.ball)
    for k in range(LOWEST * PER_DOUBLING, HIGHEST * PER_DOUBLING + 1):
        eps = (guess * 2.0 ** (k / PER_DOUBLING)).clamp(max=question.most)
        delta = question.put(direction * eps[:, None, None], eps)
        closest.offer(delta, question.margins(delta))
    closest.pull()
    return closest.delta, closest.distance


def pgd(question: Question, steps: int, restarts: int, randoms: Randoms) -> tuple[Tensor, Tensor]:
    """Steps along the steepest direction, put back into a ball that shrinks while a counterexample is held and grows while none is.

    Until one is found the ball reaches to where the linearised margin vanishes (Pintor et al., 2021, arXiv 2102.12827, with per-frame balls).
    The first start is the centre; the others look inside the ball that the first found. Where at most k frames move, every start has its own: the
    first those of the largest gradients, the others any.
    """
    whole, gradient = question, question.slope(torch.zeros_like(question.inputs))[1]
    question = whole.on_frames(whole.gains(gradient))
    closest = Closest(question)
    guess = _descend(closest, torch.zeros_like(question.inputs), steps, torch.full_like(closest.distance, question.most))
    if restarts > 1:
        count = restarts - 1
        many = whole.repeat(count)
        many = many.on_frames(drawn(torch.rand, randoms, count, many.inputs.shape[1], like=guess))
        found = closest.distance.isfinite()
        known = torch.where(found, closest.distance, guess.clamp(max=question.most)).repeat_interleave(count)
        most = torch.where(found, closest.distance, torch.full_like(guess, question.most)).repeat_interleave(count)
        noise = drawn(torch.rand, randoms, count, *many.inputs.shape[1:], like=guess)
        share = drawn(torch.rand, randoms, count, like=guess)
        others = Closest(many)
        start = many.put(torch.special.ndtri(noise) * FAR_OUT * known[:, None, None], known * SMALLEST_START**share)
        _descend(others, start, steps, most)
        delta, distance = others.best_of(count)
        better = distance < closest.distance
        return torch.where(better[:, None, None], delta, closest.delta), torch.where(better, distance, closest.distance)
    return closest.delta, closest.distance


def _descend(closest: Closest, delta: Tensor, steps: int, most: Tensor) -> Tensor:
    """Steps in balls no larger than `most`; how large the first one was. shape: most [B] -> [B]."""
    question, eps, first = closest.question, None, most
    for step in range(steps):
        if question.late():
            break
        margin, gradient = question.slope(delta)
        closest.offer(delta, margin)
        rate = LAST_STEP + (1 - LAST_STEP) * (1 + math.cos(math.pi * step / steps)) / 2
        here = question.distance(delta)
        ahead = here + linear_distance(margin, gradient, question.ball)
        ahead = torch.where(ahead.isfinite(), ahead, 2 * here + 1)
        eps = (
            ahead
            if eps is None
            else torch.where(
                closest.distance.isfinite(), torch.where(margin < 0, torch.minimum(eps, here) * (1 - GROWTH * rate), eps * (1 + GROWTH * rate)), ahead
            )
        )
        eps = torch.minimum(eps, most)
        first = eps if step == 0 else first
        ball = question.ball.scaled(eps[:, None])
        delta = project(delta + rate * _step(-gradient, ball), ball)
    closest.offer(delta, question.margins(delta))
    closest.pull()
    return first


def _step(gradient: Tensor, ball: Ball) -> Tensor:
    return steepest(gradient, replace(ball, norm=NEARLY_ONE) if ball.norm == 1 else ball)
