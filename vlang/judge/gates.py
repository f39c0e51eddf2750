"""One expectation over rows: passed, failed, warned or unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vlang.expression import counts, fields
from vlang.judge.values import Answers, evaluate, found
from vlang.plan import Expectation
from vlang.report import GateResult, GateVerdict, JudgedQuery, JudgedSpectrum, Overall
from vlang.words.queries import QUERIES, Rounding


def judge_over(gate: Expectation, rows: Sequence[Answers], shown: Mapping[str, Rounding]) -> GateResult:
    """Over unfinished rows a condition is decided only if it has one value whatever their final radii would be. shown: how fields are rounded."""

    def outcome(verdict: GateVerdict, actual: str, wrong: tuple[int, ...] = ()) -> GateResult:
        return GateResult(gate.kind, gate.text, verdict, actual, gate.because, gate.line, gate.column, gate.end_line, gate.end_column, wrong)

    if not rows:
        return outcome("unknown", "there are no rows")
    names = {f.name for f in fields(gate.condition) if "." in f.name}
    whole = [r for r in rows if names <= r.fields.keys()]
    if not whole or (len(whole) < len(rows) and not gate.partial):
        return outcome("unknown", f"{len(rows) - len(whole)} of {len(rows)} rows lack a counterpart in another query, or a reported figure")
    surely, possibly = evaluate(gate.condition, whole)
    actual = found(gate.condition, whole, shown)
    if surely != possibly:
        return outcome("unknown", f"{actual}; that leaves it undecided")
    if surely:
        return outcome("passed", actual)
    alone = tuple(i for i, row in enumerate(rows) if names <= row.fields.keys() and not evaluate(gate.condition, [row])[1])
    too_few = counts(gate.condition) and len(alone) == len(whole) > 1  # of a count every row alone is too few
    return outcome("warned" if gate.kind == "warn" else "failed", actual, () if too_few else alone)


def overall(queries: Sequence[JudgedQuery], spectra: Sequence[JudgedSpectrum], more: Sequence[GateResult]) -> Overall:
    """What gates of queries, of matrices and of reports (more) come to."""
    if not any(q.result.rows for q in queries) and not any(x.result.rows for x in spectra):
        return "empty"
    judged = [*(q.expectations for q in queries), *(x.expectations for x in spectra), more]
    gates = [g for expectations in judged for g in expectations if g.kind == "expect"]
    if any(g.verdict == "failed" for g in gates):
        return "failed"
    undecided = any(g.verdict == "unknown" for g in gates)
    # Where nothing is expected of verdicts, one that is unknown decides nothing.
    open_ = [q.result for q in queries if "unknown" in QUERIES[q.result.kind].fields and not any(g.kind == "expect" for g in q.expectations)]
    unknown = any(r.verdict == "unknown" for result in open_ for r in result.rows)
    unfinished = any(not r.complete for q in queries for r in q.result.rows) or any(not x.result.complete for x in spectra)
    return "inconclusive" if undecided or unknown or unfinished else "passed"
