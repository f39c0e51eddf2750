"""Every row of every query as comma-separated values, numbers in full."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from vlang.formats.csv import inert
from vlang.formats.json import row_as_json
from vlang.report import Outcome

FIRST = ("spec", "query", "kind")


def render(outcomes: Sequence[Outcome], several: bool = False) -> str:
    lines: list[dict[str, Any]] = []
    for outcome in outcomes:
        for query in outcome.report.queries if outcome.report is not None else ():
            for row in query.result.rows:
                held = row_as_json(row)
                held |= held.pop("sweep", {})
                lines.append({"spec": outcome.place, "query": query.result.name, "kind": query.result.kind, **held})
    head = list(dict.fromkeys([*FIRST, *(name for line in lines for name in line)]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(inert, head))
    writer.writerows([_cell(line.get(name)) for name in head] for line in lines)
    return text.getvalue().encode("utf-8", "backslashreplace").decode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False)
    return inert(str(value).lower() if isinstance(value, bool) else str(value) if not isinstance(value, float) else repr(value))
