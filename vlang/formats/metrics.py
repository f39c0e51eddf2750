"""The numbers of a run, flat and finite, as tools that follow metrics over commits read them."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from vlang.formats.findings import gates
from vlang.report import Outcome


def render(outcomes: Sequence[Outcome], several: bool = False) -> str:
    found: dict[str, float] = {}
    for outcome in outcomes:
        spec = PurePosixPath(outcome.place).name.removesuffix(".rspec")
        stem = spec if f"{spec}.gates" not in found else outcome.place.removesuffix(".rspec")
        found |= {f"{stem}.{name}": value for name, value in _of(outcome)}
    kept = {k.encode("utf-8", "backslashreplace").decode(): v for k, v in found.items() if math.isfinite(v)}
    return json.dumps(kept, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _of(outcome: Outcome) -> Iterator[tuple[str, float]]:
    report = outcome.report
    if report is None:
        return
    verdicts = [g.result.verdict for g in gates(report) if g.result.kind == "expect"]
    yield "gates", len(verdicts)
    yield "gates_passed", verdicts.count("passed")
    for query in report.queries:
        name, rows = query.result.name, query.result.rows
        yield f"{name}.rows", len(rows)
        for verdict in ("certified", "falsified", "unknown"):
            yield f"{name}.{verdict}", sum(r.verdict == verdict for r in rows)
        sizes = [r.size for r in rows if r.size is not None and math.isfinite(r.size)]
        if sizes:
            yield f"{name}.min", min(sizes)
            yield f"{name}.median", statistics.median(sizes)
            yield f"{name}.mean", statistics.fmean(sizes)
        yield f"{name}.seconds", round(query.result.seconds, 3)
