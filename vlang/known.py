"""Answers to the same questions by two networks, or one network twice: what is better or worse, and what of that is proved.

A certificate of the one above an attack on the other is a proof: the true radius of the one is at least what is certified, that of the other at most
what the attack found. No tolerance is in that, and no luck. All else is told with both brackets.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["proved worse", "worse", "the same", "better", "proved better", "appeared", "vanished", "undecided"]
#: By how much certified radii of two searches for the same one may differ, relatively.
SEARCHED = 0.01
#: In the order in which they are shown.
VERDICTS: tuple[Verdict, ...] = ("proved worse", "worse", "vanished", "undecided", "appeared", "better", "proved better", "the same")


@dataclass(frozen=True)
class Known:
    """What is known of a question. of: the question in words; certified: its radius is at least that; attacked: at most that (infinite: not known).

    method: which certified it. asked: whether a certificate was asked for; complete: whether its search came to its end. queries: those that asked.
    """

    question: str
    of: str
    certified: float = 0.0
    attacked: float = math.inf
    method: str | None = None
    asked: bool = False
    complete: bool = True
    queries: tuple[str, ...] = ()

    def joined(self, other: Known) -> Known:
        """Both answers to the one question."""
        best = self if self.certified >= other.certified else other
        attacked, asked, complete = min(self.attacked, other.attacked), self.asked or other.asked, self.complete and other.complete
        queries = tuple(dict.fromkeys([*self.queries, *other.queries]))
        return Known(self.question, self.of, best.certified, attacked, best.method, asked, complete, queries)


@dataclass(frozen=True)
class Compared:
    verdict: Verdict
    old: Known | None
    new: Known | None


def collected(answers: Iterable[Known]) -> dict[str, Known]:
    """By question, in their order."""
    found: dict[str, Known] = {}
    for x in answers:
        found[x.question] = found[x.question].joined(x) if x.question in found else x
    return found


def compared(old: Mapping[str, Known], new: Mapping[str, Known]) -> list[Compared]:
    """Every question of either, those that matter most first."""
    every = [_compared(old.get(q), new.get(q)) for q in dict.fromkeys([*old, *new])]
    return sorted(every, key=lambda x: VERDICTS.index(x.verdict))


def _compared(old: Known | None, new: Known | None) -> Compared:
    if old is None or new is None:
        return Compared("appeared" if old is None else "vanished", old, new)
    return Compared(verdict(old, new), old, new)


def verdict(old: Known, new: Known) -> Verdict:
    """Of one question, what the new answer is beside the old one."""
    if old.certified > new.attacked:
        return "proved worse"
    if new.certified > old.attacked:
        return "proved better"
    if not (old.asked and new.asked and old.complete and new.complete):
        return "undecided"
    if new.certified < old.certified * (1 - SEARCHED):
        return "worse"
    return "better" if new.certified * (1 - SEARCHED) > old.certified else "the same"
