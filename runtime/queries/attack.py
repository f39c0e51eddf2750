"""attack: the nearest counterexample found, an upper bound of the true radius. Each is replayed before it counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vlang.plan import AttackPlan, AttackVariant
from vlang.results import AttackRow, Row
from vlang.runtime.attacks import ATTACKS
from vlang.runtime.attacks.witness import distance, misclassifies
from vlang.runtime.attacks.words import substitute
from vlang.runtime.device import batch_bytes
from vlang.runtime.queries.base import Context, chunks, listed, question_of, unfinished, wrong
from vlang.runtime.queries.batches import Loaded
from vlang.runtime.queries.cases import Case
from vlang.words.attacks import ATTACKS as WORDS

ELSEWHERE = "misclassified, as a class that is not asked about"
#: Live tensors of a node's width while gradients are computed.
TAPE = 4


def answer(loaded: Loaded[AttackVariant], context: Context) -> list[Row]:
    plan = loaded.variant.attack
    found: dict[Case, AttackRow] = {}
    for case in (c for c in loaded.cases if not c.correct):
        graph, point = loaded.tested(case)
        if misclassifies(graph, point, loaded.rows((case,), surely_above=True)[0], loaded.some):
            found[case] = AttackRow(**question_of(loaded, case), verdict="falsified", radius=0.0, reason=wrong(case, True), witness=listed(point))
        else:
            found[case] = AttackRow(**question_of(loaded, case), verdict="unknown", reason=ELSEWHERE)
        context.finished(1)
    for cases in _batches(loaded, plan):
        if context.late():
            found |= {c: AttackRow(**question_of(loaded, c), **unfinished(context)) for c in cases}
        else:
            found |= _attack(loaded, cases, plan, context)
        context.finished(len(cases))
    return [found[c] for c in loaded.cases]


def _batches(loaded: Loaded[AttackVariant], plan: AttackPlan) -> Iterator[tuple[Case, ...]]:
    """The groups, cut so that all starts of a batch fit in memory."""
    per_row = plan.restarts * TAPE * 8 * sum(n.width for n in loaded.graph.nodes)
    size = max(1, batch_bytes(loaded.network.device) // per_row)
    for group in chunks(loaded):
        for start in range(0, len(group), size):
            yield group[start : start + size]


def _attack(loaded: Loaded[AttackVariant], cases: tuple[Case, ...], plan: AttackPlan, context: Context) -> dict[Case, AttackRow]:
    question = loaded.question(cases, float(loaded.variant.engine.max_radius), context.late)
    randoms = [c.generator(loaded.variant.engine.seed) for c in cases]
    words = None
    if WORDS[plan.method].substitutes:
        table = loaded.network.embedding
        assert table is not None
        allowed = torch.tensor([bool(w) and not (w.startswith("<") and w.endswith(">")) for w in plan.words], device=table.device)
        words, far = substitute(question, table, allowed, plan.restarts, randoms)
        points = torch.where(words[:, :, None] >= 0, table[words.clamp(min=0)], question.inputs)
    else:
        delta, far = ATTACKS[plan.method](question, plan.steps, plan.restarts, randoms)
        points = loaded.moved(cases, delta)
    ended = not context.late()
    rows = [_row(loaded, c, points[i], float(far[i]), None if words is None else words[i]) for i, c in enumerate(cases)]
    return {c: row if ended else replace(row, complete=False) for c, row in zip(cases, rows, strict=True)}


def replayed(loaded: Loaded[Any], case: Case, point: Tensor, far: float) -> float | None:
    """The distance of a counterexample that is about so far, once it has been tested exactly; None where it is none."""
    graph, centre = loaded.tested(case)
    eps = distance(loaded.limits(case), centre, point, far) if far < torch.inf else None
    wrong = eps is not None and misclassifies(graph, point, loaded.rows((case,), surely_above=True)[0], loaded.some)
    return eps if wrong and eps is not None and eps <= loaded.variant.engine.max_radius else None


def _row(loaded: Loaded[AttackVariant], case: Case, point: Tensor, far: float, words: Tensor | None) -> AttackRow:
    plan, most = loaded.variant.attack, loaded.variant.engine.max_radius
    eps = replayed(loaded, case, point, far)
    if eps is None:
        return AttackRow(
            **question_of(loaded, case), verdict="unknown", reason=f"{plan.method} found no counterexample up to {float(most):g}; there may be one"
        )
    replaced = None if words is None else tuple(plan.words[int(words[k])] if words[k] >= 0 else "" for k in case.frames)
    return AttackRow(**question_of(loaded, case), verdict="falsified", radius=eps, witness=listed(point), replaced=replaced)
