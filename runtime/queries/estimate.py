"""estimate: CLEVER's guess of the radius. It proves nothing, and every row says that it is an estimate."""

from __future__ import annotations

import math

import torch

from vlang.plan import EstimateVariant
from vlang.results import EstimateRow, Row
from vlang.runtime.attacks.base import linear_distance
from vlang.runtime.attacks.clever import Estimate, clever
from vlang.runtime.late import LateError
from vlang.runtime.queries.base import Context, question_of, unfinished, wrong
from vlang.runtime.queries.batches import Loaded
from vlang.runtime.queries.cases import Case


def answer(loaded: Loaded[EstimateVariant], context: Context) -> list[Row]:
    found: list[Row] = []
    for case in loaded.cases:
        if not case.correct:
            found.append(EstimateRow(**question_of(loaded, case), verdict="estimate", estimate=0.0, reason=wrong(case, False)))
        elif context.late():
            found.append(EstimateRow(**question_of(loaded, case), **unfinished(context)))
        else:
            try:
                found.append(_estimated(loaded, case, context))
            except LateError:
                found.append(EstimateRow(**question_of(loaded, case), **unfinished(context)))
        context.finished(1)
    return found


def _estimated(loaded: Loaded[EstimateVariant], case: Case, context: Context) -> EstimateRow:
    """The least estimate over the classes asked about. Raises LateError."""
    plan, engine = loaded.variant.estimate, loaded.variant.engine
    question = loaded.question((case,), float(engine.max_radius))
    each: list[Estimate] = []
    for j in range(question.rows.shape[1]):
        row_ = question.rows[:, j : j + 1]
        margin, gradient = question.against(row_).slope(torch.zeros_like(question.inputs))
        guess = float(linear_distance(margin, gradient, question.ball))
        start = guess if 0 < guess < question.most else 1.0
        least = math.inf if loaded.some else min((e.value for e in each), default=math.inf)
        each.append(
            clever(question.graph, question.inputs, question.ball, row_[0, 0], start, plan.samples, plan.batches, engine.seed, least, context.late)
        )
    best = (max if loaded.some else min)(each, key=lambda e: e.value)
    reason = "max_radius reached" if best.value >= question.most else None
    points = sum(e.points for e in each)
    return EstimateRow(
        **question_of(loaded, case), verdict="estimate", estimate=min(best.value, question.most), fit=best.fit, points=points, reason=reason
    )
