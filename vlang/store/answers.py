"""Rows as JSON and back, bit for bit: what a question says apart from what was found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from vlang.results import ROWS, BoundsRow, RadiusRow, Row, VerifyRow

#: Fields that say what is asked: of the spec and its data, not of the answer.
ASKED = ("sample", "label", "predicted", "target", "frames", "norm", "tokens", "at_most", "values", "swept", "step", "question")


def question_as_json(row: Row) -> dict[str, Any]:
    return {name: _encoded(value) for name in ASKED if (value := getattr(row, name)) is not None}


def answer_as_json(row: Row) -> dict[str, Any]:
    return {f.name: _encoded(value) for f in fields(row) if f.name not in ASKED and (value := getattr(row, f.name)) is not None}


def row_of(kind: str, question: Mapping[str, Any], answer: Mapping[str, Any], known: Mapping[str, Any] | None = None) -> Row:
    """known: what is asked, of rows themselves. Raises KeyError, TypeError or ValueError where it is none."""
    made = ROWS[kind](**{name: _decoded(value) for name, value in {**question, **answer}.items()}, **(known or {}))
    if not made.complete or not isinstance(made.sample, int):
        raise ValueError("it is no finished row")
    if not all(value is None or (type(value) in (int, float) and not math.isnan(value)) for value in (made.size, *_numbers(made))):
        raise ValueError("it has no numbers where there should be some")
    if isinstance(made, RadiusRow) and not 0 <= made.radius < math.inf:
        raise ValueError("its radius is none")
    return made


def _numbers(row: Row) -> tuple[Any, ...]:
    if isinstance(row, RadiusRow):
        return (row.attacked,)
    return (row.eps,) if isinstance(row, VerifyRow | BoundsRow) else ()


def _encoded(value: Any) -> Any:
    """JSON knows no infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    return [_encoded(x) for x in value] if isinstance(value, tuple) else value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        return float(value["float"])
    return tuple(_decoded(x) for x in value) if isinstance(value, list) else value
