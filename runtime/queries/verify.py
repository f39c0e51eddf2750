"""verify: is the class the same on the whole set of radius eps? certified, falsified with a replayed witness, or unknown."""

from __future__ import annotations

from fractions import Fraction

import torch

from vlang.report import Row
from vlang.runtime.attacks.gradient import pgd
from vlang.runtime.attacks.witness import misclassifies, replay
from vlang.runtime.methods.table import METHODS, REFINEMENT, ladder
from vlang.runtime.queries.base import Context, chunks, listed, row, unfinished
from vlang.runtime.queries.batches import Case, Loaded, at_least

#: Of the attack on rows that bounds leave open.
STEPS, RESTARTS = 40, 4
MISCLASSIFIED = "misclassified: the input itself is a counterexample"
ELSEWHERE = "misclassified, as a class that is not asked about: nothing is claimed"


def answer(loaded: Loaded, context: Context) -> list[Row]:
    eps = loaded.variant.eps
    assert eps is not None
    found: dict[Case, Row] = {}
    for case in (c for c in loaded.cases if not c.correct):
        point = loaded.inputs[case.position]
        if misclassifies(loaded.graph, point, loaded.rows((case,))[0]):
            found[case] = row(loaded, case, verdict="falsified", eps=float(eps), reason=MISCLASSIFIED, witness=listed(point))
        else:
            found[case] = row(loaded, case, verdict="unknown", eps=float(eps), reason=ELSEWHERE)
        context.finished(1)
    for group in chunks(loaded):
        found.update(unfinished(loaded, group, context, eps=float(eps)) if context.late() else _verify(loaded, group, eps, context))
        context.finished(len(group))
    return [found[c] for c in loaded.cases]


def _verify(loaded: Loaded, cases: tuple[Case, ...], eps: Fraction, context: Context) -> dict[Case, Row]:
    asked = loaded.asked(cases)
    every = torch.arange(len(cases), device=asked.rows.device)
    bounds = torch.full_like(asked.nominal, -torch.inf)
    methods: list[str | None] = [None] * len(cases)
    for step in ladder(loaded.variant.engine.method, asked):
        left = every[~(bounds > 0)]
        if left.numel():
            found = METHODS[step](asked)(left, torch.full_like(asked.nominal[left], at_least(eps)))
            bounds[left] = torch.where(found > bounds[left], found, bounds[left])
            for j in left.tolist():
                methods[j] = step
    open_ = [i for i, ok in enumerate((bounds > 0).tolist()) if not ok]
    witnesses = _attack(loaded, cases, open_, eps) if open_ else {}
    if loaded.variant.engine.method == "auto":
        left = every[[i for i in open_ if i not in witnesses]]
        if left.numel() and asked.hull.worthwhile and not context.late():
            found = METHODS[REFINEMENT](asked)(left, torch.full_like(asked.nominal[left], at_least(eps)))
            for j, better in zip(left.tolist(), (found > bounds[left]).tolist(), strict=True):
                methods[j] = REFINEMENT if better else methods[j]
            bounds[left] = torch.where(found > bounds[left], found, bounds[left])
        open_ = [i for i in open_ if not bool(bounds[i] > 0)]
    else:
        methods = [None] * len(cases)
    answers = {}
    for i, (case, margin) in enumerate(zip(cases, bounds.tolist(), strict=True)):
        if i not in open_:
            answers[case] = row(loaded, case, verdict="certified", eps=float(eps), margin=margin, method=methods[i])
        elif i in witnesses:
            answers[case] = row(loaded, case, verdict="falsified", eps=float(eps), margin=margin, witness=witnesses[i])
        else:
            reason = f"{methods[i] or loaded.variant.engine.method} bounds the margin by {margin:.4g} only, and the attack found no counterexample"
            answers[case] = row(loaded, case, verdict="unknown", eps=float(eps), margin=margin, reason=reason)
    return answers


def _attack(loaded: Loaded, cases: tuple[Case, ...], open_: list[int], eps: Fraction) -> dict[int, tuple[tuple[float, ...], ...]]:
    chosen = tuple(cases[i] for i in open_)
    # A hair inside the set, so that the exact test at replay is not lost to rounding.
    question = loaded.question(chosen, float(eps) * (1 - 1e-9))
    delta, distance = pgd(question, STEPS, RESTARTS, torch.Generator().manual_seed(loaded.variant.engine.seed))
    points = loaded.clipped(question.inputs + delta, question.inputs)
    found = {}
    for j, i in enumerate(open_):
        centre, rows = question.inputs[j], question.rows[j]
        if bool(distance[j].isfinite()) and replay(loaded.graph, centre, points[j], rows, eps, loaded.limits(cases[i])):
            found[i] = listed(points[j])
    return found
