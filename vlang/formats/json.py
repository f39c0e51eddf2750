"""The report as JSON, schema rspec-report/1. A field that does not apply is absent."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from vlang.report import GateResult, JudgedQuery, JudgedSpectrum, Page, Report, Row, SpectrumRow

SCHEMA = "rspec-report/1"


def render(reports: Sequence[Report], several: bool = False) -> str:
    """One report, or a list where several specs were given."""
    values = [as_json(r) for r in reports]
    return json.dumps(values if several else values[0], indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_json(report: Report) -> dict[str, Any]:
    e = report.engine
    path = report.path.encode("utf-8", "backslashreplace").decode()
    methods = ", ".join(dict.fromkeys(q.method for q in report.queries))
    return {
        "schema": SCHEMA,
        "verdict": report.verdict,
        "spec": _present(path=path, sha256=report.sha256, params=dict(report.params) or None),
        "engine": {"version": e.version, "torch": e.torch, "device": e.device, "dtype": e.dtype, "method": methods},
        "queries": [_query(q) for q in report.queries],
        **({"spectra": [_spectrum(x) for x in report.spectra]} if report.spectra else {}),
        **({"reports": [_page(p) for p in report.pages]} if report.pages else {}),
    }


def _gates(gates: Sequence[GateResult]) -> list[dict[str, Any]]:
    return [_present(kind=g.kind, text=g.text, verdict=g.verdict, actual=g.actual, because=g.because, line=g.line, column=g.column) for g in gates]


def _page(page: Page) -> dict[str, Any]:
    return {"name": page.name, "head": list(page.table.head), "lines": [list(x) for x in page.table.lines], "expectations": _gates(page.expectations)}


def _query(query: JudgedQuery) -> dict[str, Any]:
    result = query.result
    return {
        "name": result.name,
        "kind": result.kind,
        "method": query.method,
        "semantics": query.semantics,
        "seconds": round(result.seconds, 3),
        "rows": [_row(r, result.kind) for r in result.rows],
        **({"left_out": [{"network": x.network, "samples": x.samples, "of": x.of} for x in result.left_out]} if result.left_out else {}),
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
    return _present(
        of=row.of,
        size=row.size,
        eigenvalues=[[v.real, v.imag] for v in row.eigenvalues],
        spectral_radius=row.spectral_radius,
        power_radius=row.power_radius,
        spectral_norm=row.spectral_norm,
        numerical_radius=row.numerical_radius,
        henrici=row.henrici,
        eigenvalue_condition=row.eigenvalue_condition,
        eigenvalue_conditions=_finite(row.eigenvalue_conditions),
        eigenvector_condition=row.eigenvector_condition,
        pseudospectra=[{"eps": p.eps, "radius": p.radius, "abscissa": p.abscissa} for p in row.pseudospectra],
        kreiss=_finite(row.kreiss),
        growth=_finite(row.growth),
        growth_at=row.growth_at,
        product_growth=row.product_growth,
        defective=row.defective,
        sweep=dict(row.swept) or None,
    )


def _row(row: Row, kind: str) -> dict[str, Any]:
    return _present(
        sample=row.sample,
        label=row.label,
        predicted=row.predicted,
        target=row.target,
        frames=list(row.frames),
        at_most=row.at_most,
        tokens=None if row.tokens is None else list(row.tokens),
        norm=row.norm,
        radius=row.radius,
        verdict=row.verdict,
        method=row.method,
        certificate=row.certificate,
        eps=row.eps,
        margin=row.margin,
        estimate=row.estimate,
        fit=row.fit,
        points=row.points,
        replaced=None if row.replaced is None else list(row.replaced),
        witness_file=row.witness_file,
        reason=row.reason,
        lower=_finite(row.lower),
        upper=_finite(row.upper),
        witness=None if row.witness is None or kind == "attack" else [list(f) for f in row.witness],
        complete=None if row.complete else False,
        capped=row.capped or None,
        sweep=dict(row.swept) or None,
    )


def _finite(values: Sequence[float] | None) -> list[float | None] | None:
    """JSON knows no infinity: null, for an output without a bound."""
    return None if values is None else [v if math.isfinite(v) else None for v in values]


def _present(**fields: Any) -> dict[str, Any]:
    return {k: v for k, v in fields.items() if v is not None and not (isinstance(v, float) and not math.isfinite(v))}
