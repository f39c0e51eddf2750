"""Answers of earlier runs, by question: from JSON reports, journals and baselines.

A baseline is a file of JSON lines, one a question, sorted, so that its changes can be reviewed: `question` (the key), `of` (in words), `queries` (the
names of those that asked), `certified` (the radius is at least that), `attacked` (at most that; absent where no attack was made, or none was found)
and `method`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from vlang.known import Known, collected
from vlang.plan import BaselinePlan
from vlang.results import frames_in_words
from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError
from vlang.text.source import Span
from vlang.typed.tree import Baseline

#: Files of answers up to this size are read.
LARGEST = 2**30


def plan(form: Baseline, folder: Path) -> BaselinePlan:
    """Raises SpecError."""
    path = str(folder / os.path.expanduser(form.file.value))
    return BaselinePlan(form.name, path, MappingProxyType(read(path, form.file.span)))


def read(path: str, span: Span | None = None) -> dict[str, Known]:
    """What is known by question. Raises SpecError."""
    try:
        with open(path, encoding="utf-8") as f:
            text = f.read(LARGEST)
    except (OSError, UnicodeDecodeError) as e:
        raise SpecError(d.no_answers(span, path, (e.strerror or str(e)).lower() if isinstance(e, OSError) else "it is no UTF-8")) from None
    try:
        return collected(_answers(text))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise SpecError(d.no_answers(span, path, f"it is no report, journal or baseline ({type(e).__name__}: {e})")) from None


def _answers(text: str) -> Iterator[Known]:
    try:
        whole = json.loads(text)
    except ValueError:
        whole = None
    if isinstance(whole, dict) and "schema" in whole:
        whole = [whole]
    if isinstance(whole, list):
        for report in whole:
            for query in report.get("queries", ()):
                yield from (x for row in query["rows"] if (x := of_row(query["kind"], row, query["name"])) is not None)
        return
    for line in text.splitlines():
        said = json.loads(line)
        known = _of_line(said) if "row" not in said else of_row(said["kind"], said["row"], said["query"])
        if known is not None:
            yield known


def of_row(kind: str, row: Mapping[str, Any], query: str) -> Known | None:
    """A report's row; None of kinds that say nothing of radii, and of rows of earlier releases, which have no question."""
    if kind not in ("radius", "attack", "verify") or "question" not in row:
        return None
    complete = row.get("complete", True) and not row.get("capped", False)
    certified, attacked = 0.0, math.inf
    if kind == "radius":
        certified = float(row["radius"])
        attacked = 0.0 if row["label"] != row["predicted"] else math.inf
    elif kind == "attack":
        attacked = float(row.get("radius", math.inf))
    elif row["verdict"] == "certified":
        certified = float(row["eps"])
    elif row["verdict"] == "falsified":
        attacked = float(row["eps"])
    method = row.get("method") if kind != "attack" else None
    return Known(row["question"], in_words(row), certified, attacked, method, kind != "attack", complete if kind == "radius" else True, (query,))


def in_words(row: Mapping[str, Any]) -> str:
    """A row's question, for people."""
    where = frames_in_words(row["frames"], row.get("tokens"), row.get("at_most"))
    eps = f", eps {row['eps']:.6g}" if "eps" in row else ""
    target = "" if row["target"] == "any" else f", target {row['target']}"
    return f"sample {row['sample']}, label {row['label']}{target}, frames {where}, norm {row['norm']}{eps}"


def _of_line(said: Mapping[str, Any]) -> Known:
    certified, attacked = said.get("certified"), said.get("attacked")
    for value in (certified, attacked):
        if value is not None and not (type(value) in (int, float) and value >= 0):
            raise ValueError(f"{value!r} is no radius")
    asked = certified is not None
    return Known(
        str(said["question"]),
        str(said.get("of", "")),
        float(certified) if certified is not None else 0.0,
        math.inf if attacked is None else float(attacked),
        said.get("method"),
        asked,
        said.get("complete", True),
        tuple(map(str, said.get("queries", ()))),
    )


def written(answers: Iterable[Known]) -> str:
    """A baseline's text."""
    return "".join(json.dumps(_line(x), ensure_ascii=False) + "\n" for x in sorted(answers, key=lambda x: (x.of, x.question)))


def is_baseline(path: str) -> bool:
    """Whether a file holds nothing, or what `written` makes. Raises OSError."""
    with open(path, "rb") as f:
        begin = f.read(6)
    return begin in (b"", b'{"of":')


def _line(x: Known) -> dict[str, Any]:
    said: dict[str, Any] = {"of": x.of, "question": x.question, "queries": list(x.queries)}
    said |= {"certified": x.certified} if x.asked else {}
    said |= {"attacked": x.attacked} if math.isfinite(x.attacked) else {}
    said |= {"method": x.method} if x.method is not None else {}
    return said | ({} if x.complete else {"complete": False})
