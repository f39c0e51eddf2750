"""The attack of Carlini and Wagner (2017, arXiv 1608.04644) as POPQORN's appendix B.3 adapts it: the largest frame norm is minimised."""

from __future__ import annotations

import torch
from torch import Tensor

from vlang.runtime.attacks.base import Closest, Question, Randoms, drawn, frame_norms, linear_distance

#: The weight on the margin grows by FACTOR until a counterexample is found, then it is bisected (geometrically): so many rounds in all.
ROUNDS, FACTOR = 8, 10.0
#: How far one of Adam's first and last steps goes, and where it starts, in units of the distance at which a linear network's boundary would be.
FIRST_STEP, LAST_STEP, START = 0.1, 0.001, 0.1


def carlini_wagner(question: Question, steps: int, restarts: int, randoms: Randoms) -> tuple[Tensor, Tensor]:
    """Minimise max_k ||delta_k|| / w_k + c max(margin, 0), both in the units of the linear guess, by Adam, for several weights c."""
    many = question.repeat(restarts)
    closest = Closest(many)
    margin, gradient = many.slope(torch.zeros_like(many.inputs))
    guess = linear_distance(margin, gradient, many.ball)
    guess = torch.where(guess.isfinite() & (guess > 0), guess, torch.ones_like(guess))
    low, high, weight = torch.zeros_like(guess), torch.full_like(guess, torch.inf), torch.ones_like(guess)
    for _ in range(ROUNDS):
        noise = drawn(torch.randn, randoms, restarts, *many.inputs.shape[1:], like=many.inputs)
        hit = _minimise(closest, many.put(noise * guess[:, None, None], START * guess), weight, guess, margin, steps)
        low, high = torch.where(hit, low, weight), torch.where(hit, weight, high)
        weight = torch.where(high.isfinite(), (torch.where(low > 0, low, high / FACTOR) * high).sqrt(), weight * FACTOR)
    closest.pull()
    return closest.best_of(restarts)


def _minimise(closest: Closest, delta: Tensor, weight: Tensor, guess: Tensor, scale: Tensor, steps: int) -> Tensor:
    """Adam from delta; whether a counterexample was met, a row. shape: [B]."""
    question, hit = closest.question, torch.zeros_like(guess, dtype=torch.bool)
    moved = delta.clone().requires_grad_()
    radii = torch.where(question.ball.radii > 0, question.ball.radii, 1.0)
    unit = (guess / question.distance(torch.ones_like(moved)))[:, None, None]
    optimizer = torch.optim.Adam([moved], lr=1.0)
    for step in range(steps):
        if question.late():
            break
        rate = FIRST_STEP * (LAST_STEP / FIRST_STEP) ** (step / steps)
        with torch.enable_grad():
            margin = question.margins(moved)
            size = (frame_norms(moved, question.ball) / radii).amax(1) / guess
            loss = size + weight * (margin / scale).clamp(min=0)
            (gradient,) = torch.autograd.grad(loss.sum(), moved)
        now = moved.detach().clone()  # Adam writes in place
        closest.offer(now, margin.detach())
        hit |= margin.detach() < 0
        moved.grad = torch.where(question.ball.radii[:, :, None] > 0, gradient, 0.0)
        optimizer.step()
        # Adam moves every number by about lr; a step here is rate * unit, and stays in the clip and in the frames that may move.
        moved.data = question.put(now + (moved.detach() - now) * (rate * unit), torch.full_like(guess, question.most))
    with torch.no_grad():
        margin = question.margins(moved)
        closest.offer(moved.detach(), margin)
    return hit | (margin < 0)
