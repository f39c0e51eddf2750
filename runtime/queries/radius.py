"""radius: the largest certified eps of every row."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vlang.cost import PASSES_OF_JOINT
from vlang.plan import EnginePlan, RadiusVariant
from vlang.results import RadiusRow, Row
from vlang.runtime.attacks.gradient import pgd
from vlang.runtime.graph.concrete import logits, margins
from vlang.runtime.late import LateError
from vlang.runtime.methods.questions import Asked
from vlang.runtime.methods.search import NEAR, Radii, certified_radii
from vlang.runtime.methods.table import METHODS
from vlang.runtime.queries import alternatives
from vlang.runtime.queries.attack import replayed
from vlang.runtime.queries.base import Context, chunks, question_of, unfinished, wrong
from vlang.runtime.queries.batches import Loaded
from vlang.runtime.queries.cases import Case
from vlang.runtime.rounding import reported, tried
from vlang.runtime.searches.boxes import Search, boxes_of
from vlang.words.methods import COMPLETE, ladder
from vlang.words.methods import METHODS as WORDS

#: First eps to try, as a share of the radius that a linear network with this gradient would have (found: 0.1 to 0.3 by planes, mostly).
LINEAR_SHARE = 0.2
#: By how much a ladder's next method usually goes farther than the one before; and joint bounds, of which a pass that fails costs one row's search,
#: and one that holds all of theirs.
GAIN, GAIN_JOINT = 1.35, 1.6
#: Relative tolerance of a method whose radius another one will improve.
COARSE = 0.1
CAPPED = "max_radius reached"
MORE_BOXES = "the search ended at {:,} boxes, undone: a larger radius may be certified"
#: Of the attack whose distance a complete search starts from.
STEPS, RESTARTS = 40, 4
CUT_SHORT = "the search was cut short: the radius is certified, a larger one may be too"


def answer(loaded: Loaded[RadiusVariant], context: Context) -> list[Row]:
    if loaded.variant.perturbation.alternatives is not None:
        return alternatives.answer(loaded, context, radius=True)
    found: dict[Case, RadiusRow] = {}
    outside = [c for c in loaded.cases if not c.correct]
    for case in outside:
        found[case] = RadiusRow(**question_of(loaded, case), verdict="unknown", radius=0.0, reason=wrong(case, False))
    if outside:
        context.finished(len(outside))
    for group in chunks(loaded):
        try:
            if context.late():
                raise LateError
            found.update(_search(loaded, group, context))
        except LateError:  # before anything was bounded
            found |= {c: RadiusRow(**question_of(loaded, c), **unfinished(context), radius=0.0) for c in group}
            context.finished(len(group))
    refinement = WORDS[loaded.variant.engine.method].refinement
    if refinement and context.deadline is not None:
        found.update(_refined(loaded, found, context, context.deadline, refinement))
    return [found[c] for c in loaded.cases]


def _refined(
    loaded: Loaded[RadiusVariant], found: dict[Case, RadiusRow], context: Context, deadline: float, words: tuple[str, ...]
) -> dict[Case, RadiusRow]:
    """The rows that a further method improves in what is left of the budget, an equal share of it for each, the smallest radius first."""
    engine = loaded.variant.engine
    open_ = [c for c, r in found.items() if r.complete and r.radius and r.radius < float(engine.max_radius)]
    open_.sort(key=lambda c: found[c].radius)
    better = {}
    for left, case in zip(range(len(open_), 0, -1), open_, strict=True):
        if context.late():
            break
        now = time.monotonic()
        late = context.until(now + (deadline - now) / left).late
        try:
            asked = loaded.asked((case,), late)
        except LateError:
            continue
        method = asked.refined_by(words, PASSES_OF_JOINT, (deadline - now) / left)
        if method is None:
            continue
        known = asked.nominal.new_tensor([found[case].radius])
        margins_, tolerance, most, joint = METHODS[method](asked), float(engine.tolerance), float(engine.max_radius), WORDS[method].joint
        result = certified_radii(margins_, known * (GAIN_JOINT if joint else NEAR), asked.nominal, tolerance, most, late, None, known, joint)
        if float(result.radius) > float(known):
            capped = bool(result.capped)
            reason = CAPPED if capped else found[case].reason
            better[case] = replace(found[case], radius=float(result.radius), method=method, capped=capped, reason=reason)
    return better


def _search(loaded: Loaded[RadiusVariant], cases: tuple[Case, ...], context: Context) -> dict[Case, RadiusRow]:
    engine = loaded.variant.engine
    asked = loaded.asked(cases, context.late)
    if engine.method == COMPLETE or (loaded.directed is not None and WORDS[engine.method].complete):  # of so few rows, from nothing
        none = torch.zeros_like(asked.nominal)
        methods: list[str | None] = [None] * len(cases)
        result = Radii(none, none == 0, none != 0)
    else:
        result, methods = _climb(asked, engine, context)
    searched = _searched(loaded, cases, asked, result, methods, context)
    answers = {}
    for i, case in enumerate(cases):
        if i in searched:
            answers[case] = RadiusRow(**question_of(loaded, case), **searched[i])
            continue
        radius, complete = float(result.radius[i]), bool(result.complete[i])
        reason = asked.instead(engine.method) or asked.spared(engine.method)
        if not complete:
            reason = CUT_SHORT if radius > 0 else "the search was cut short before any eps was certified"
        elif bool(result.capped[i]):
            reason = CAPPED
        elif radius == 0:
            reason = "no eps above 0 could be certified"
        answers[case] = RadiusRow(
            **question_of(loaded, case),
            verdict="certified" if radius > 0 else "unknown",
            radius=radius,
            reason=reason,
            complete=complete,
            capped=bool(result.capped[i]),
            method=methods[i],
        )
    return answers


def _searched(
    loaded: Loaded[RadiusVariant], cases: tuple[Case, ...], asked: Asked, known: Radii, methods: list[str | None], context: Context
) -> dict[int, dict[str, Any]]:
    """What a complete search says of the rows that it can take, as keywords of their type: from where the methods before it stopped."""
    engine = loaded.variant.engine
    most_boxes = boxes_of(loaded.variant.engine.method, loaded.directed is not None, asked)
    if most_boxes == 0:
        return {}
    searches = {i: Search(asked, i, context.late, most_boxes) for i in range(len(cases))}
    searches = {i: s for i, s in searches.items() if s.possible and bool(known.complete[i]) and not bool(known.capped[i])}
    if not searches or context.late():
        return {}
    most, tolerance = float(engine.max_radius), float(engine.tolerance)
    chosen = tuple(cases[i] for i in searches)
    delta, far = pgd(loaded.question(chosen, most, context.late), STEPS, RESTARTS, [c.generator(engine.seed) for c in chosen])
    answers, guess, far = {}, linear_guess(asked), reported(far, 1)
    for k, (i, search) in enumerate(searches.items()):
        before = float(known.radius[i])
        found = search.nearest(before, float(far[k]), most, tolerance, float(guess[i]) / LINEAR_SHARE)
        radius = max(before, float(tried(asked.nominal.new_tensor(found.radius), tolerance)))
        nearest = [delta[k]] if found.attacked is None else [found.attacked, delta[k]]
        seen = (replayed(loaded, cases[i], loaded.moved((cases[i],), x[None])[0], float(_distance(loaded, cases[i], x))) for x in nearest)
        attacked = next((x for x in seen if x is not None), None)
        capped = found.complete and attacked is None and found.radius >= most * (1 - tolerance)
        reason = CAPPED if capped else None
        if not found.complete:
            reason = CUT_SHORT if context.late() else MORE_BOXES.format(search.pieces)
        elif radius == 0:
            reason = "no eps above 0 could be certified"
        answers[i] = {
            "verdict": "certified" if radius > 0 else "unknown",
            "radius": radius,
            "reason": reason,
            "complete": found.complete or not context.late(),
            "capped": capped,
            "method": COMPLETE if radius > before else methods[i],
            "pieces": search.pieces,
            "depth": search.depth,
            "attacked": attacked,
        }
    return answers


def _distance(loaded: Loaded[RadiusVariant], case: Case, delta: Tensor) -> Tensor:
    return loaded.question((case,), 1.0).distance(delta[None])[0]


def _climb(asked: Asked, engine: EnginePlan, context: Context) -> tuple[Radii, list[str | None]]:
    """The radii of the ladder's last method, each from where the one before it stopped; for `auto`, which one certified each row."""
    steps = ladder(engine.method, asked.worthwhile)
    guess, known = linear_guess(asked), None
    methods: list[str | None] = [None] * len(guess)
    for step in steps:
        last = step == steps[-1]
        if known is not None:
            guess = torch.where(known > 0, known * (GAIN_JOINT if WORDS[step].joint else GAIN), guess)
        result = certified_radii(
            METHODS[step](asked),
            guess,
            asked.nominal,
            float(engine.tolerance) if last else max(COARSE, float(engine.tolerance)),
            float(engine.max_radius),
            context.late,
            context.finished if last else None,
            known,
            WORDS[step].joint,
        )
        better = result.radius > (0 if known is None else known)
        methods = [step if b else m for b, m in zip(better.tolist(), methods, strict=True)]
        known = result.radius
    return result, methods if WORDS[engine.method].ladder else [None] * len(methods)


def linear_guess(asked: Asked) -> Tensor:
    """margin / (dual norm of its gradient), scaled down: a first eps to try. shape: [B]."""
    centre, ball = asked.centre, asked.ball
    with torch.enable_grad():
        inputs = centre.inputs.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(margins(logits(centre.graph, inputs, block=1), asked.rows, asked.some).sum(), inputs)
    gain = ball.support({k: gradient[:, k : k + 1] for k in ball.frames})[:, 0]
    guess = LINEAR_SHARE * asked.nominal / gain
    return torch.where(guess.isfinite() & (guess > 0), guess, torch.ones_like(guess))
