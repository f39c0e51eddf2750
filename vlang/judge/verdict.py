"""Results to Report: every expectation's verdict, and the whole spec's."""

from __future__ import annotations

from vlang.judge.gates import judge_over
from vlang.judge.pages import make
from vlang.judge.values import fields_of, fields_of_spectrum
from vlang.plan import Expectation, Plan, QueryPlan, SpectrumQuery
from vlang.report import GateResult, JudgedQuery, JudgedSpectrum, Overall, Page, QueryResult, Report, Results, SpectrumResult

#: The overall verdict's exit code.
EXIT_CODES: dict[Overall, int] = {"passed": 0, "failed": 1, "inconclusive": 4, "empty": 5}


def judge(plan: Plan, results: Results) -> Report:
    queries = tuple(_judge_query(q, r) for q, r in zip(plan.queries, results.queries, strict=True))
    spectra = tuple(_judge_spectrum(q, r) for q, r in zip(plan.spectra, results.spectra, strict=True))
    pages = make(plan, results)
    return Report(plan.path, plan.sha256, plan.params, results.engine, _overall(queries, spectra, pages), queries, pages, spectra)


def _judge_spectrum(plan: SpectrumQuery, result: SpectrumResult) -> JudgedSpectrum:
    rows = [fields_of_spectrum(r) for r in result.rows]
    return JudgedSpectrum(result, tuple(judge_over(e, rows) for e in plan.expectations), plan.picture)


def _judge_query(plan: QueryPlan, result: QueryResult) -> JudgedQuery:
    methods = ", ".join(dict.fromkeys(v.method for v in plan.variants))
    semantics = ", ".join(dict.fromkeys(v.engine.semantics for v in plan.variants))
    return JudgedQuery(result, methods, semantics, tuple(_judge_gate(e, result) for e in plan.expectations))


def _judge_gate(gate: Expectation, result: QueryResult) -> GateResult:
    return judge_over(gate, [fields_of(r, result.kind) for r in result.rows])


def _overall(queries: tuple[JudgedQuery, ...], spectra: tuple[JudgedSpectrum, ...], pages: tuple[Page, ...]) -> Overall:
    if not any(q.result.rows for q in queries) and not any(x.result.rows for x in spectra):
        return "empty"
    judged = [*(q.expectations for q in queries), *(x.expectations for x in spectra), *(p.expectations for p in pages)]
    gates = [g for expectations in judged for g in expectations if g.kind == "expect"]
    if any(g.verdict == "failed" for g in gates):
        return "failed"
    undecided = any(g.verdict == "unknown" for g in gates)
    open_ = [q.result for q in queries if q.result.kind == "verify" and not any(g.kind == "expect" for g in q.expectations)]
    unknown = any(r.verdict == "unknown" for result in open_ for r in result.rows)
    unfinished = any(not r.complete for q in queries for r in q.result.rows) or any(not x.result.complete for x in spectra)
    return "inconclusive" if undecided or unknown or unfinished else "passed"
