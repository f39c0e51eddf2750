"""Kinds of query: the fields of their rows, what their numbers claim, and how they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

#: A field's type in conditions.
Type = Literal["number", "condition"]
#: How a number is rounded so that it claims no more than is known.
Rounding = Literal["down", "up", "near"]


@dataclass(frozen=True)
class Query:
    """fields: of a row, in conditions. number: the one that a row is about. claim: what the number is, in words. shown: how it is rounded.

    column: its title in a table of rows, where a row is a distance; counts: the verdict that is counted there; missing: the distance where nothing
    was found. certified: whether a certificate may stand behind a row. heat: whether frames may be coloured by it.
    """

    fields: Mapping[str, Type]
    number: str
    claim: str
    shown: Rounding
    column: str | None = None
    counts: str = "certified"
    missing: float = 0.0
    certified: bool = False
    heat: bool = False


#: Fields whose numbers are lower bounds of the truth, and whose conditions are proofs.
PROOFS = frozenset({"radius", "margin", "certified"})
#: Of every row about an input: whether the network's own answer is the label.
CORRECT = "correct"
#: Of a query as a whole: the share of its samples that the network classifies as labelled, the least where it is asked of several networks.
COVERAGE = "coverage"

QUERIES: Mapping[str, Query] = MappingProxyType(
    {
        "radius": Query({"radius": "number", CORRECT: "condition"}, "radius", "certified radius", "down", column="radius", certified=True, heat=True),
        "verify": Query(
            {"certified": "condition", "falsified": "condition", "unknown": "condition", "margin": "number", CORRECT: "condition"},
            "margin",
            "certified margin",
            "down",
            certified=True,
        ),
        "bounds": Query({"margin": "number", CORRECT: "condition"}, "margin", "certified margin", "down"),
        "attack": Query(
            {"radius": "number", "found": "condition", CORRECT: "condition"},
            "radius",
            "nearest attack",
            "up",
            column="nearest attack",
            counts="falsified",
            missing=float("inf"),
            heat=True,
        ),
        "estimate": Query(
            {"estimate": "number", CORRECT: "condition"},
            "estimate",
            "estimate, not proved",
            "near",
            column="estimate, not proved",
            counts="estimate",
            heat=True,
        ),
    }
)
