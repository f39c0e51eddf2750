"""verify: is the class the same on the whole set of radius eps? certified, falsified with a replayed witness, or unknown."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from vlang.cost import afforded
from vlang.plan import VerifyVariant
from vlang.results import Frames, Row, VerifyRow
from vlang.runtime.attacks.gradient import pgd
from vlang.runtime.attacks.witness import misclassifies, replay
from vlang.runtime.late import LateError
from vlang.runtime.methods.table import METHODS
from vlang.runtime.queries import alternatives
from vlang.runtime.queries.base import Context, chunks, listed, question_of, unfinished, wrong
from vlang.runtime.queries.batches import Loaded
from vlang.runtime.queries.cases import Case
from vlang.runtime.rounding import at_least, reported
from vlang.runtime.searches.boxes import Search, boxes_of
from vlang.words.methods import COMPLETE, ladder
from vlang.words.methods import METHODS as WORDS

#: Of the attack on rows that bounds leave open.
STEPS, RESTARTS = 40, 4
ELSEWHERE = "misclassified, as a class that is not asked about: nothing is claimed"


def answer(loaded: Loaded[VerifyVariant], context: Context) -> list[Row]:
    if loaded.variant.perturbation.alternatives is not None:
        return alternatives.answer(loaded, context, radius=False)
    eps = loaded.variant.eps
    found: dict[Case, VerifyRow] = {}
    for case in (c for c in loaded.cases if not c.correct):
        graph, point = loaded.tested(case)
        if misclassifies(graph, point, loaded.rows((case,), surely_above=True)[0], loaded.some):
            found[case] = _row(loaded, case, verdict="falsified", reason=wrong(case, True), witness=listed(point))
        else:
            found[case] = _row(loaded, case, verdict="unknown", reason=ELSEWHERE)
        context.finished(1)
    for group in chunks(loaded):
        try:
            if context.late():
                raise LateError
            found |= _verify(loaded, group, eps, context)
        except LateError:  # before anything was bounded
            found |= {c: _row(loaded, c, **unfinished(context)) for c in group}
        context.finished(len(group))
    return [found[c] for c in loaded.cases]


def _row(loaded: Loaded[VerifyVariant], case: Case, **answer: Any) -> VerifyRow:
    return VerifyRow(**question_of(loaded, case), eps=float(loaded.variant.eps), **answer)


def _verify(loaded: Loaded[VerifyVariant], cases: tuple[Case, ...], eps: Fraction, context: Context) -> dict[Case, VerifyRow]:
    asked = loaded.asked(cases, context.late)
    every = torch.arange(len(cases), device=asked.rows.device)
    bounds = torch.full_like(asked.nominal, -torch.inf)
    methods: list[str | None] = [None] * len(cases)
    word = WORDS[loaded.variant.engine.method]
    late = False

    def tighten(step: str, left: Tensor) -> None:
        nonlocal late
        if not left.numel() or late:
            return
        try:
            found = METHODS[step](asked)(left, torch.full_like(asked.nominal[left], at_least(eps)))
        except LateError:
            late = True
            return
        for j, better in zip(left.tolist(), (found > bounds[left]).tolist(), strict=True):
            methods[j] = step if better else methods[j]
        bounds[left] = torch.where(found > bounds[left], found, bounds[left])

    for step in ladder(loaded.variant.engine.method, asked.worthwhile):
        tighten(step, every[~(bounds > 0)])
    open_ = [i for i, ok in enumerate((bounds > 0).tolist()) if not ok]
    searched: dict[int, Search] = {}
    witnesses = _attack(loaded, cases, open_, eps, context) if open_ and not late else {}
    most = boxes_of(loaded.variant.engine.method, loaded.directed is not None, asked)
    if most and not late and not context.late():
        for i in (j for j in open_ if j not in witnesses):
            search = Search(asked, i, context.late, most)
            if not search.possible:
                continue

            def wrong(delta: Tensor, case: Case = cases[i]) -> bool:
                return _replayed(loaded, case, loaded.moved((case,), delta[None])[0], eps)

            found = search.decide(at_least(eps), wrong)
            searched[i], late = search, late or found.late
            if found.counterexample is not None:
                witnesses[i] = listed(loaded.moved((cases[i],), found.counterexample[None])[0])
            elif found.margin > float(bounds[i]):
                bounds[i], methods[i] = found.margin, COMPLETE
        open_ = [i for i in open_ if not bool(bounds[i] > 0)]
    if word.refinement:
        left = [i for i in open_ if i not in witnesses]
        method = asked.refined_by(word.refinement, 1, afforded(loaded.variant) - (asked.pass_of_forms if asked.worthwhile else 0.0))
        if method is not None and not context.late():
            tighten(method, every[left])
        open_ = [i for i in open_ if not bool(bounds[i] > 0)]
    elif not word.complete:
        methods = [None] * len(cases)
    answers = {}
    for i, (case, margin) in enumerate(zip(cases, reported(bounds, -1).tolist(), strict=True)):
        effort = {"pieces": searched[i].pieces, "depth": searched[i].depth} if i in searched else {}
        if i not in open_:
            reason = asked.instead(loaded.variant.engine.method)
            answers[case] = _row(loaded, case, verdict="certified", margin=margin, method=methods[i], reason=reason, **effort)
        elif i in witnesses:
            answers[case] = _row(loaded, case, verdict="falsified", margin=margin, witness=witnesses[i], **effort)
        elif late or context.late():  # something of it may have been left out
            answers[case] = _row(loaded, case, **unfinished(context), margin=margin if margin > -math.inf else None)
        else:
            reason = f"{methods[i] or loaded.variant.engine.method} bounds the margin by {margin:.4g} only, and the attack found no counterexample"
            reason += f"; the search ended at {searched[i].pieces:,} boxes, undone" if i in searched else ""
            instead = asked.instead(loaded.variant.engine.method) or asked.spared(loaded.variant.engine.method)
            reason = reason if instead is None else f"{reason}; {instead}"
            answers[case] = _row(loaded, case, verdict="unknown", margin=margin, reason=reason, **effort)
    return answers


def _attack(loaded: Loaded[VerifyVariant], cases: tuple[Case, ...], open_: list[int], eps: Fraction, context: Context) -> dict[int, Frames]:
    chosen = tuple(cases[i] for i in open_)
    # A hair inside the set, so that the exact test at replay is not lost to rounding.
    question = loaded.question(chosen, float(eps) * (1 - 1e-9), context.late)
    delta, distance = pgd(question, STEPS, RESTARTS, [c.generator(loaded.variant.engine.seed) for c in chosen])
    points = loaded.moved(chosen, delta)
    return {i: listed(points[j]) for j, i in enumerate(open_) if bool(distance[j].isfinite()) and _replayed(loaded, cases[i], points[j], eps)}


def _replayed(loaded: Loaded[VerifyVariant], case: Case, point: Tensor, eps: Fraction) -> bool:
    graph, centre = loaded.tested(case)
    return replay(graph, centre, point, loaded.rows((case,), surely_above=True)[0], eps, loaded.limits(case), loaded.some)
