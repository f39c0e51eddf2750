"""verify and radius where words become others: how many may, whichever they are. Complete: every substitution is tried or ruled out."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from vlang.results import RadiusRow, Row, Verdict, VerifyRow
from vlang.runtime.attacks.witness import misclassifies
from vlang.runtime.queries.base import Context, listed, question_of, unfinished, wrong
from vlang.runtime.queries.batches import Loaded
from vlang.runtime.queries.cases import Case
from vlang.runtime.queries.choices import choices_of
from vlang.runtime.searches.substitutions import Found, Substitutions, Tokens
from vlang.words.methods import COMPLETE

ELSEWHERE = "misclassified, as a class that is not asked about: nothing is claimed"
TOO_MANY = "{} {}s changed at once: after {:,} substitutions and sets of them the search is not done"
FEWER, EVERY = "no {} has an alternative", "all {}s that have alternatives may change"


@dataclass(frozen=True)
class Counted:
    """words: so many may change, whichever: certified. found: of one more, if that was looked at."""

    words: int
    margin: float
    tried: int
    depth: int
    found: Found | None


def answer(loaded: Loaded[Any], context: Context, radius: bool) -> list[Row]:
    """Of `radius`, or of `verify`."""
    rows: list[Row] = []
    for case in loaded.cases:
        asked = question_of(loaded, case)
        if context.late():
            rows.append(RadiusRow(**asked, **unfinished(context), radius=0.0) if radius else _verify(loaded, asked, **unfinished(context)))
        elif not case.correct:
            rows.append(_wrong(loaded, case, asked, radius))
        else:
            counted = _counted(loaded, case, context, loaded.variant.engine.max_radius if radius else None)
            rows.append(_radius(loaded, case, asked, counted, context) if radius else _verified(loaded, case, asked, counted, context))
        context.finished(1)
    return rows


def _wrong(loaded: Loaded[Any], case: Case, asked: dict[str, Any], radius: bool) -> Row:
    if radius:
        return RadiusRow(**asked, verdict="unknown", radius=0.0, reason=wrong(case, False))
    point = loaded.inputs[case.position]
    if misclassifies(loaded.graph, point, loaded.rows((case,), surely_above=True)[0], loaded.some):
        return _verify(loaded, asked, verdict="falsified", reason=wrong(case, True), witness=listed(point))
    return _verify(loaded, asked, verdict="unknown", reason=ELSEWHERE)


def _counted(loaded: Loaded[Any], case: Case, context: Context, largest: Fraction | None) -> Counted:
    """largest: where a radius ends; what is to be verified ends nowhere before all of it is."""
    choices = choices_of(loaded, case)
    most = min(choices.at_most, len(choices.open))
    most = most if largest is None else min(most, int(largest))
    rows, above = (loaded.rows((case,), surely_above=up)[0] for up in (False, True))
    search = Substitutions(loaded.graph, choices, rows, above, loaded.some, context.late)
    margin = float("inf")
    for changes in range(most + 1):
        found = search.decide(changes)
        if found.open or found.counterexample is not None:
            return Counted(changes - 1, margin, found.tried, found.depth, found)
        margin = found.margin
    return Counted(most, margin, search.tried, search.depth, None)


def _verify(loaded: Loaded[Any], asked: dict[str, Any], **answer: Any) -> VerifyRow:
    return VerifyRow(**asked, eps=float(loaded.variant.eps), **answer)


def _verified(loaded: Loaded[Any], case: Case, asked: dict[str, Any], counted: Counted, context: Context) -> VerifyRow:
    effort: dict[str, Any] = {"pieces": counted.tried, "depth": counted.depth}
    found = counted.found
    if found is None:
        reason = f"{len(choices_of(loaded, case).open)} of {len(case.frames)} {_thing(loaded)}s have alternatives"
        return _verify(loaded, asked, verdict="certified", margin=counted.margin, method=COMPLETE, reason=reason, **effort)
    if found.counterexample is not None:
        point, replaced = listed(choices_of(loaded, case).points([found.counterexample])[0]), _replaced(loaded, case, found.counterexample)
        reason = f"not where {_changed(loaded, case, replaced)}"
        return _verify(loaded, asked, verdict="falsified", reason=reason, witness=point, replaced=replaced, **effort)
    if found.late:
        return _verify(loaded, asked, **unfinished(context), **effort)
    return _verify(loaded, asked, verdict="unknown", reason=TOO_MANY.format(counted.words + 1, _thing(loaded), counted.tried), **effort)


def _radius(loaded: Loaded[Any], case: Case, asked: dict[str, Any], counted: Counted, context: Context) -> RadiusRow:
    """Of how many words that may change."""
    found, words, thing = counted.found, max(0, counted.words), _thing(loaded)
    effort: dict[str, Any] = {"pieces": counted.tried, "depth": counted.depth, "radius": float(words)}
    verdict: Verdict = "certified" if words > 0 else "unknown"
    if found is None:
        every = words == len(choices_of(loaded, case).open)
        asked_about = f"so many {thing}{'' if words == 1 else 's'} were asked about: more may change"
        reason = FEWER.format(thing) if not words else EVERY.format(thing) if every else asked_about
        return RadiusRow(**asked, verdict=verdict, capped=True, method=COMPLETE, reason=reason, **effort)
    if found.counterexample is not None:
        reason = f"not {words + 1}: where {_changed(loaded, case, _replaced(loaded, case, found.counterexample))}"
        return RadiusRow(**asked, verdict=verdict, method=COMPLETE, attacked=float(words + 1), reason=reason, **effort)
    reason = context.reason if found.late else TOO_MANY.format(counted.words + 1, thing, counted.tried)
    return RadiusRow(**asked, verdict=verdict, method=COMPLETE, complete=not found.late, reason=reason, **effort)


def _thing(loaded: Loaded[Any]) -> str:
    """What becomes others."""
    return "word" if loaded.variant.perturbation.alternatives.array is None else "frame"


def _changed(loaded: Loaded[Any], case: Case, replaced: tuple[str, ...]) -> str:
    word = loaded.variant.perturbation.alternatives.array is None
    return ", ".join(f"word {k} is '{w}'" if word else f"frame {k} is its {w}" for k, w in zip(case.frames, replaced, strict=True) if w)


def _replaced(loaded: Loaded[Any], case: Case, text: Tokens) -> tuple[str, ...]:
    """The words that stand in, by frame; empty where the own one stays."""
    own, plan, m = choices_of(loaded, case).own, loaded.variant.perturbation.alternatives, loaded.inputs.shape[1]
    if plan.array is not None:
        return tuple(f"alternative {(text[k] - m) % plan.array.shape[-2]}" if text[k] != own[k] else "" for k in case.frames)
    return tuple(plan.words[text[k]] if text[k] != own[k] else "" for k in case.frames)
