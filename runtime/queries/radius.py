"""radius: the largest certified eps of every row."""

from __future__ import annotations

import torch
from torch import Tensor

from vlang.report import Row
from vlang.runtime.cases import Case, Loaded
from vlang.runtime.certify import METHODS, Asked
from vlang.runtime.concrete import logits, margins
from vlang.runtime.queries.base import OUT_OF_TIME, Context, chunks, row
from vlang.runtime.search import certified_radii

#: First eps to try, as a share of the radius that a linear network with this gradient would have.
LINEAR_SHARE = 0.5
MISCLASSIFIED = "misclassified: the network predicts another class at eps = 0"


def answer(loaded: Loaded, context: Context) -> list[Row]:
    found: dict[Case, Row] = {}
    wrong = [c for c in loaded.cases if not c.correct]
    for case in wrong:
        found[case] = row(loaded, case, verdict="unknown", radius=0.0, reason=MISCLASSIFIED)
    if wrong:
        context.finished(len(wrong))
    for group in chunks(loaded):
        if context.late:
            left = {c: row(loaded, c, verdict="unknown", radius=0.0, reason=OUT_OF_TIME, complete=False) for c in group}
            found.update(left)
            context.finished(len(group))
        else:
            found.update(_search(loaded, group, context))
    return [found[c] for c in loaded.cases]


def _search(loaded: Loaded, cases: tuple[Case, ...], context: Context) -> dict[Case, Row]:
    engine = loaded.variant.engine
    asked = loaded.asked(cases)
    result = certified_radii(
        METHODS[engine.method](asked),
        linear_guess(asked),
        asked.nominal,
        float(engine.tolerance),
        float(engine.max_radius),
        context.deadline,
        context.finished,
    )
    answers = {}
    for i, case in enumerate(cases):
        radius, complete = float(result.radius[i]), bool(result.complete[i])
        reason = None
        if not complete:
            reason = "the search was cut short: the radius is certified, a larger one may be too"
        elif bool(result.capped[i]):
            reason = "max_radius reached"
        elif radius == 0:
            reason = "no eps above 0 could be certified"
        answers[case] = row(loaded, case, verdict="certified" if radius > 0 else "unknown", radius=radius, reason=reason, complete=complete)
    return answers


def linear_guess(asked: Asked) -> Tensor:
    """margin / (dual norm of its gradient), scaled down: a first eps to try. shape: [B]."""
    centre, ball = asked.centre, asked.ball
    with torch.enable_grad():
        inputs = centre.inputs.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(margins(logits(centre.graph, inputs), asked.rows).sum(), inputs)
    gain = ball.support({k: gradient[:, k : k + 1] for k in ball.frames})[:, 0]
    guess = LINEAR_SHARE * asked.nominal / gain
    return torch.where(guess.isfinite() & (guess > 0), guess, torch.ones_like(guess))
