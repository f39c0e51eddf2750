"""The report as JSON, schema rspec-report/1. A field that does not apply is absent."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from vlang.report import GateResult, JudgedQuery, JudgedSpectrum, Outcome, Page, ReadNetwork, Report
from vlang.results import AttackRow, Row, SpectrumRow
from vlang.text.diagnostics import Diagnostic
from vlang.words.matrices import QUANTITIES

SCHEMA = "rspec-report/1"


def render(outcomes: Sequence[Outcome], several: bool = False) -> str:
    """One report, or a list where several specs were given; of specs that were not run, what is wrong with them."""
    values = [_unrun(o) if o.report is None else as_json(o.report) for o in outcomes]
    return json.dumps(values if several else values[0], indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_json(report: Report) -> dict[str, Any]:
    e = report.engine
    methods = ", ".join(dict.fromkeys(q.method for q in report.queries))
    return {
        "schema": SCHEMA,
        "verdict": report.verdict,
        "spec": _present(path=_text(report.path), sha256=report.sha256, params=dict(report.params) or None),
        "engine": {"version": e.version, "torch": e.torch, "device": e.device, "dtype": e.dtype, "method": methods},
        "networks": [_network(n) for n in report.networks],
        "data": [{"path": _text(path), "sha256": sha256} for path, sha256 in report.data],
        "queries": [_query(q) for q in report.queries],
        **({"spectra": [_spectrum(x) for x in report.spectra]} if report.spectra else {}),
        **({"reports": [_page(p) for p in report.pages]} if report.pages else {}),
    }


def _unrun(outcome: Outcome) -> dict[str, Any]:
    errors, warnings = ([_problem(x) for x in outcome.problems if x.warns == warns] for warns in (False, True))
    said = {"schema": SCHEMA, "verdict": "error" if errors else "checked", "spec": {"path": _text(outcome.place)}, "errors": errors}
    return said | ({"warnings": warnings} if warnings else {})


def _problem(x: Diagnostic) -> dict[str, Any]:
    return _present(code=x.code, message=x.message, hint=x.hint or None, line=x.span and x.span.line, column=x.span and x.span.column)


def _text(path: str) -> str:
    """A path that may not be UTF-8."""
    return path.encode("utf-8", "backslashreplace").decode()


def _network(network: ReadNetwork) -> dict[str, Any]:
    plan = network.plan
    normalize = None if plan.normalize is None else float(plan.normalize)
    return _present(name=plan.name, checkpoint=_text(plan.checkpoint), sha256=network.sha256, normalize=normalize, reading=dict(network.reading))


def _gates(gates: Sequence[GateResult]) -> list[dict[str, Any]]:
    names = ("kind", "text", "verdict", "actual", "because", "line", "column", "end_line", "end_column")
    return [_present(**{name: getattr(g, name) for name in names}, rows=list(g.rows) or None) for g in gates]


def _page(page: Page) -> dict[str, Any]:
    return {"name": page.name, "head": list(page.table.head), "lines": [list(x) for x in page.table.lines], "expectations": _gates(page.expectations)}


def _query(query: JudgedQuery) -> dict[str, Any]:
    result = query.result
    left_out = [{"network": x.network, "samples": x.of - x.correct, "of": x.of} for x in result.coverage if x.only and x.correct < x.of]
    return {
        "name": result.name,
        "kind": result.kind,
        "method": query.method,
        "semantics": query.semantics,
        "seconds": round(result.seconds, 3),
        "rows": [row_as_json(r) for r in result.rows],
        **({"left_out": left_out} if left_out else {}),
        "coverage": [{"network": x.network, "correct": x.correct, "of": x.of} for x in result.coverage],
        "expectations": _gates(query.expectations),
    }


def _spectrum(found: JudgedSpectrum) -> dict[str, Any]:
    result = found.result
    return {
        "name": result.name,
        "seconds": round(result.seconds, 3),
        "rows": [_matrix(r) for r in result.rows],
        "expectations": _gates(found.expectations),
        **({} if result.complete else {"complete": False}),
    }


def _matrix(row: SpectrumRow) -> dict[str, Any]:
    """Infinite numbers are absent: no Kreiss constant, no bound of growth."""
    quantities = {
        name: _finite(v) if isinstance(v := getattr(row, name), tuple) else v for name, word in QUANTITIES.items() if word.title is not None
    }
    return _present(
        of=row.of,
        size=row.size,
        eigenvalues=[[v.real, v.imag] for v in row.eigenvalues],
        power_radius=row.power_radius,
        **quantities,
        eigenvalue_conditions=_finite(row.eigenvalue_conditions),
        pseudospectra=[{"eps": p.eps, "radius": p.radius, "abscissa": p.abscissa} for p in row.pseudospectra],
        growth_at=row.growth_at,
        sweep=dict(row.swept) or None,
    )


def row_as_json(row: Row) -> dict[str, Any]:
    """Every field that the row's kind has; `values` and an attack's witness are large, and for pictures and files."""
    held = {f.name: getattr(row, f.name) for f in fields(row)}
    del held["values"]
    if isinstance(row, AttackRow):
        del held["witness"]
    held |= {"complete": None if row.complete else False, "capped": held.get("capped") or None, "question": row.question or None}
    held |= {name: _finite(held[name]) for name in ("lower", "upper") if held.get(name) is not None}
    sweep = dict(held.pop("swept")) or None
    return _present(**held, sweep=sweep)


def _finite(values: Sequence[float] | None) -> list[float | None] | None:
    """JSON knows no infinity: null, for an output without a bound."""
    return None if values is None else [v if math.isfinite(v) else None for v in values]


def _present(**fields: Any) -> dict[str, Any]:
    return {k: v for k, v in fields.items() if v is not None and not (isinstance(v, float) and not math.isfinite(v))}
