"""Results to Report: every expectation's verdict, and the whole spec's."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from vlang.expression import fields
from vlang.judge.gates import judge_over, overall
from vlang.judge.pages import make
from vlang.judge.values import Answers, Fields, Interval, beside, of_matrix, of_row
from vlang.plan import DatasetInput, Expectation, Plan, QueryPlan, SpectrumPlan, SpectrumQuery, Variant
from vlang.report import GateResult, JudgedQuery, JudgedSpectrum, Overall, ReadNetwork, Report
from vlang.results import QueryResult, Results, Row, SpectrumResult
from vlang.words.queries import COVERAGE, QUERIES

#: The overall verdict's exit code.
EXIT_CODES: dict[Overall, int] = {"passed": 0, "failed": 1, "inconclusive": 4, "empty": 5}


def judge(plan: Plan, results: Results) -> Report:
    queries = tuple(judge_query(q, r) for q, r in zip(plan.queries, results.queries, strict=True))
    spectra = tuple(_judge_spectrum(q, r) for q, r in zip(plan.spectra, results.spectra, strict=True))
    pages = make(plan, results, queries, spectra)
    variants: list[Variant | SpectrumPlan] = [*(v for q in plan.queries for v in q.variants), *(v for q in plan.spectra for v in q.variants)]
    files = dict(results.files)
    networks = tuple(ReadNetwork(n, files.get(n.checkpoint, "")) for n in dict.fromkeys(v.network for v in variants))
    held = [x for v in variants if isinstance(v.input, DatasetInput) for x in (v.input.inputs, v.input.labels) if x is not None]
    given = [x for v in variants for x in (v.network.reference, v.input.reference if isinstance(v.input, DatasetInput) else None)]
    held += [x.array for x in given if x is not None]
    beside = [path for v in variants for path in v.network.beside]
    data = tuple((path, files.get(path, "")) for path in dict.fromkeys([*beside, *(x.path for x in held)]))
    verdict = overall(queries, spectra, [g for p in pages for g in p.expectations])
    return Report(plan.path, plan.sha256, plan.params, results.engine, verdict, queries, pages, spectra, networks, data)


def _judge_spectrum(plan: SpectrumQuery, result: SpectrumResult) -> JudgedSpectrum:
    rows = [Answers(of_matrix(r)) for r in result.rows]
    return JudgedSpectrum(result, tuple(judge_over(e, rows, {}) for e in plan.expectations), plan.picture)


def judge_query(plan: QueryPlan, result: QueryResult) -> JudgedQuery:
    """One query, judged alone."""
    methods = ", ".join(dict.fromkeys(v.method for v in plan.variants))
    semantics = ", ".join(dict.fromkeys(v.engine.semantics for v in plan.variants))
    word = QUERIES[plan.kind]
    coverage = min((x.share for x in result.coverage), default=Fraction(1))
    rows = [
        Answers({**of_row(r), COVERAGE: (coverage, coverage), **_earlier(plan, r)}, {b.name: i for b in plan.baselines})  # each beside its own
        for i, r in enumerate(result.rows)
    ]
    gates = (judge_over(e, rows, {word.number: word.shown}) for e in plan.expectations)
    return JudgedQuery(result, methods, semantics, tuple(_whole(g, e, plan, result) for g, e in zip(gates, plan.expectations, strict=True)))


def _whole(gate: GateResult, asked: Expectation, plan: QueryPlan, result: QueryResult) -> GateResult:
    """A gate about earlier answers passes only where all of them are answered again: what is misclassified now, and left out, is not better."""
    if gate.verdict != "passed":
        return gate
    here = {row.question for row in result.rows}
    mentioned = {f.name.partition(".")[0] for f in fields(asked.condition)}
    for baseline in (b for b in plan.baselines if b.name in mentioned):
        lacking = [x.of for x in baseline.answers.values() if result.name in x.queries and x.question not in here]
        if lacking:
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            said = f"{gate.actual}; of {baseline.name} there is no answer now to: {lacking[0]}{more}"
            return replace(gate, verdict="unknown", actual=said)
    return gate


def _earlier(plan: QueryPlan, row: Row) -> Fields:
    """What conditions see of earlier answers to a row's question; nothing where there are none."""
    found: dict[str, Interval] = {}
    for baseline in plan.baselines:
        old = baseline.answers.get(row.question)
        if old is not None:
            found |= {f"{baseline.name}.{word}": value for word, value in beside(row, old).items()}
    return found
