"""Answers to the pages that a spec's reports ask for: tables, brackets, heat maps, and what produced them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from vlang.expression import is_radius, wanted, written
from vlang.judge.gates import judge_over, overall
from vlang.judge.join import Answered, Record, listing, pivot, records, value_of
from vlang.plan import DatasetInput, Plan, QueryPlan, ReportPlan, SpectrumQuery
from vlang.report import Bracket, Gate, Heat, JudgedQuery, JudgedSpectrum, Page, gates_of
from vlang.results import QueryResult, Results, Row, SpectrumResult, about_samples
from vlang.words.queries import QUERIES

#: A pen's move: dx, dy, end of stroke, end of digit.
PEN = 4


def make(plan: Plan, results: Results, queries: Sequence[JudgedQuery], spectra: Sequence[JudgedSpectrum]) -> tuple[Page, ...]:
    """queries, spectra: judged, in the plan's order."""
    answered: dict[str, tuple[QueryPlan | SpectrumQuery, QueryResult | SpectrumResult]] = {}
    answered |= {q.name: (q, r) for q, r in zip(plan.queries, results.queries, strict=True)}
    answered |= {q.name: (q, r) for q, r in zip(plan.spectra, results.spectra, strict=True)}
    return tuple(_page(plan, report, answered, results, queries, spectra) for report in plan.reports)


def _page(
    plan: Plan, report: ReportPlan, answered: Answered, results: Results, queries: Sequence[JudgedQuery], spectra: Sequence[JudgedSpectrum]
) -> Page:
    found = records(report, answered)
    kinds = {source: answered[names[0]][0].kind for source, names in report.sources.items()}
    shown = {f"{source}.{QUERIES[kind].number}": QUERIES[kind].shown for source, kind in kinds.items() if kind in QUERIES}
    own = tuple(judge_over(g, [r.answers for r in found], shown) for g in report.expectations)
    about = [q for q in queries if q.result.name in report.queries], [x for x in spectra if x.result.name in report.queries]
    asked = [*report.expectations, *(e for name in report.queries for e in answered[name][0].expectations)]
    wants = [(float(number.value), written(side)) for e in asked for number, side in wanted(e.condition) if is_radius(side)]
    floors = tuple(dict.fromkeys((value, f"{side} from {value:.6g}") for value, side in wants))
    return Page(
        report.name,
        Path(plan.path).name,
        overall(about[0], about[1], own),
        pivot(report, found),
        listing(report, found),
        listing(report, found, rounded=True),
        (*(Gate(report.name, g) for g in own), *gates_of(*about)),
        floors,
        tuple(_brackets(found)),
        tuple(_heats(report, answered)),
        own,
        tuple(_provenance(plan, report, answered, results)),
        report.formats,
        report.path,
        report.note,
        tuple(x for name in report.queries if isinstance(x := answered[name][1], SpectrumResult) and report.picture != "none"),
    )


def _brackets(found: Sequence[Record]) -> Iterator[Bracket]:
    for record in (r for r in found if r.rows):
        sizes: dict[str, list[float]] = {kind: [] for kind in ("radius", "estimate", "attack")}
        for name, row in record.rows.items():
            if record.kinds[name] in sizes and row.size is not None:
                sizes[record.kinds[name]].append(row.size)
        told = [f"{k.split('.')[-1]} {v}" for k, v in record.swept.items()]
        target = record.attributes["target"]
        about = f"class {record.attributes['label']}" + ("" if target == "any" else f", target {target}")
        title = ", ".join([*told, f"sample {value_of(record, 'sample')}", f"frames {value_of(record, 'frames')}", about])
        certified, estimate = max(sizes["radius"], default=None), next(iter(sizes["estimate"]), None)
        if any(sizes.values()):
            yield Bracket(title, value_of(record, "norm"), certified, estimate, min(sizes["attack"], default=None))


def _heats(report: ReportPlan, answered: Answered) -> Iterator[Heat]:
    """Of every query and sweep point of which every frame was asked about alone: a picture a sample, or one of all where frames are but numbers."""
    if report.picture == "none":
        return
    for name in report.queries:
        plan, result = answered[name]
        if not isinstance(plan, QueryPlan) or not isinstance(result, QueryResult) or not QUERIES[plan.kind].heat:
            continue
        points: dict[tuple[object, ...], dict[tuple[object, ...], list[Row]]] = {}
        for row in result.rows:
            points.setdefault(row.swept, {}).setdefault((row.sample, row.step, row.target), []).append(row)
        for groups in points.values():
            whole = [rows for rows in groups.values() if _whole(rows)]
            heats = [_heat(report.picture, plan, rows, _titled(name, rows[0])) for rows in whole]
            yield from (heat for heat in heats if heat is not None)
            plain = [rows for rows, heat in zip(whole, heats, strict=True) if heat is None]
            if plain and report.picture in ("auto", "frames"):
                yield _table(plan, name, plain)


def _whole(rows: Sequence[Row]) -> bool:
    """Whether they are about every frame, one by one, and have a number each."""
    return len(rows) > 1 and all(r.size is not None for r in rows) and [r.frames for r in rows] == [(k,) for k in range(len(rows))]


def _titled(name: str, row: Row) -> str:
    return f"{name}: sample {row.sample}, {_step(row)}{row.label}, target {row.target}" + _point(row)


def _point(row: Row) -> str:
    return "".join(f", {k.split('.')[-1]} {v}" for k, v in row.swept)


def _heat(picture: str, plan: QueryPlan, rows: Sequence[Row], title: str) -> Heat | None:
    sizes = tuple(r.size for r in rows if r.size is not None)
    if picture in ("auto", "words") and rows[0].tokens is not None:
        return Heat("words", title, QUERIES[plan.kind].claim, tuple(r.tokens[0] for r in rows if r.tokens), (), sizes)
    values = rows[0].values
    if picture == "strokes" and values is not None and len(values[0]) == PEN:
        return Heat("strokes", title, QUERIES[plan.kind].claim, (), values, sizes)
    return None


def _table(plan: QueryPlan, name: str, samples: Sequence[Sequence[Row]]) -> Heat:
    """A line a sample, a column a frame."""
    marks = tuple(f"sample {rows[0].sample}, {_step(rows[0])}{rows[0].label}" + _against(rows[0]) for rows in samples)
    values = tuple(tuple(r.size for r in rows if r.size is not None) for rows in samples)
    title = f"{name}: frame by frame{_point(samples[0][0])}"
    return Heat("frames", title, QUERIES[plan.kind].claim, marks, values, tuple(x for line in values for x in line))


def _step(row: Row) -> str:
    return "" if row.step is None else f"step {row.step}, "


def _against(row: Row) -> str:
    return "" if row.target == "any" else f", target {row.target}"


def _provenance(plan: Plan, report: ReportPlan, answered: Answered, results: Results) -> Iterator[tuple[str, str]]:
    e, files = results.engine, dict(results.files)
    yield "spec", f"{Path(plan.path).name}, sha256 {plan.sha256}"
    if plan.params:
        yield "params", ", ".join(f"{k} = {v}" for k, v in plan.params)
    yield "computed by", f"rspec-verify {e.version}, torch {e.torch}, {e.device}, {e.dtype}"
    variants = [v for name in report.queries for v in answered[name][0].variants]
    for network in dict.fromkeys(v.network for v in variants):
        scaled = "" if network.normalize is None else f", recurrent matrices scaled to a spectral radius of {float(network.normalize):g}"
        yield f"network {network.name}", f"{Path(network.checkpoint).name}, sha256 {files[network.checkpoint]}{scaled}"
    for path in dict.fromkeys(v.input.inputs.path for v in variants if isinstance(v.input, DatasetInput)):
        yield "data", f"{Path(path).name}, sha256 {files[path]}"
    for name in report.queries:
        query, result = answered[name]
        if isinstance(query, SpectrumQuery):
            yield f"spectrum {name}", f"{len(result.rows)} matrices, {result.seconds:.1f} s; ordinary floating point, not proved"
            continue
        methods, seeds, semantics = (
            ", ".join(dict.fromkeys(str(x) for x in values))
            for values in ([v.method for v in query.variants], [v.engine.seed for v in query.variants], [v.engine.semantics for v in query.variants])
        )
        word = QUERIES[query.kind]
        proof = (
            f"holds of {'the real-arithmetic network' if semantics == 'real' else semantics}" if word.certified else word.claim if word.heat else ""
        )
        many = f"{len(result.rows)} row{'' if len(result.rows) == 1 else 's'} by {methods} in {result.seconds:.1f} s, seed {seeds}"
        yield f"{query.kind} {name}", f"{many}; {proof}".rstrip("; ")
        if isinstance(result, QueryResult):
            yield from ((f"{query.kind} {name}", text) for text in about_samples(result))
    if report.reported is not None:
        yield "reported", f"{report.reported.name}: figures from elsewhere, not computed here"
