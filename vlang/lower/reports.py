"""A report's declaration to its plan: the queries it is about, the attributes that tell their rows apart, its cells and gates."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlang.judge.values import Scope, check, check_value, written
from vlang.lower import files
from vlang.plan import CellPlan, Expectation, QueryPlan, Reported, ReportPlan, SpectrumPlan, SpectrumQuery, Variant
from vlang.text import diagnostics as d
from vlang.text import syntax as s
from vlang.text.diagnostics import Diagnostic, SpecError
from vlang.text.source import Span
from vlang.typed.check import Module
from vlang.typed.signatures import ATTRIBUTES, ROW_FIELDS, Report
from vlang.typed.sources import REPORTED, Source
from vlang.typed.types import article

#: Formats that are files, and the suffix of each.
SUFFIXES: Mapping[str, str] = {"text": ".txt", "markdown": ".md", "latex": ".tex", "csv": ".csv", "html": ".html", "svg": ".svg"}
#: Formats that make no sense on standard output.
FILES_ONLY = ("html", "svg")
#: Formats that hold pictures.
PICTURED = ("html", "svg")
SEVERAL = "several rows"
#: Points of a report's joined sweeps; more are a mistake.
MOST_RECORDS = 10_000
Question = tuple[object, ...]
Asked = QueryPlan | SpectrumQuery


@dataclass(frozen=True)
class Stack:
    """Queries of one kind about different questions, whose rows are mentioned by one name."""

    name: str
    kind: str
    queries: tuple[Asked, ...]

    @property
    def variants(self) -> tuple[Variant | SpectrumPlan, ...]:
        return tuple(v for q in self.queries for v in q.variants)


def question(v: Variant | SpectrumPlan) -> Question:
    """What a variant asks about: rows of variants with one question can stand side by side. A matrix is its network's."""
    return (v.network,) if isinstance(v, SpectrumPlan) else (v.network, v.input, v.perturbation, v.target)


def alike(one: Stack, other: Stack) -> bool:
    """Whether some of their rows can stand side by side."""
    matrices = "spectrum" in (one.kind, other.kind)
    asked = ({question(v)[: 1 if matrices else None] for v in q.variants} for q in (one, other))
    return bool(next(asked) & next(asked))


def lower(module: Module, declaration: s.Declaration, form: Report, plans: Mapping[str, Asked], folder: Path) -> ReportPlan:
    """Raises SpecError."""
    queries, reported, wrong = _sources(module, form, plans, folder)
    if wrong or any(_is_broken(module, q.value, plans) for source in form.of.value for q in source.value.queries):
        raise SpecError(*wrong)
    swept = list(dict.fromkeys(name for q in queries for v in q.variants for name, _ in v.swept))
    known = [*swept, *ATTRIBUTES]
    met: set[str] = set()
    for attribute in [*(form.rows.value if form.rows else ()), *(form.cols.value if form.cols else ())]:
        if attribute.value not in known:
            wrong.append(d.unknown_attribute(attribute.span, attribute.value, known))
        elif attribute.value in met:
            wrong.append(d.named_twice(attribute.span, attribute.value, "an attribute of the table"))
        met.add(attribute.value)
    if reported is not None:
        wrong += _check_figures(reported, known, next(x.span for x in form.of.value if x.value.path is not None))
    points = _joined_points(queries)
    if points > MOST_RECORDS:
        wrong.append(d.too_large(form.of.span, "combinations of what the queries sweep", points, MOST_RECORDS))
    names = [name for name, _ in form.cell.value if name is not None] if form.cell else []
    wrong += [d.named_twice(form.cell.span, n, "a cell") for n in dict.fromkeys(names) if names.count(n) > 1 and form.cell]
    fields = {f"{q.name}.{field}": kind for q in queries for field, kind in ROW_FIELDS[q.kind].items()}
    if reported is not None:
        fields |= {f"{REPORTED}.{name}": "number" for name in reported.columns if name not in known}
    scope = Scope(fields, "this report", SEVERAL)
    cells = (
        [_cell(module, *c, scope, wrong) for c in form.cell.value] if form.cell else [_default(q, field) for q in queries for field in _distances(q)]
    )
    gates = [_gate(module, e, scope, wrong) for e in declaration.entries if isinstance(e, s.Gate)]
    formats, path = _output(form, wrong)
    if wrong:
        raise SpecError(*wrong)
    cols = tuple(x.value for x in form.cols.value) if form.cols else ()
    rows = tuple(x.value for x in form.rows.value) if form.rows else tuple(x for x in swept if x not in cols)
    return ReportPlan(
        declaration.name,
        {q.name: tuple(x.name for x in q.queries) for q in queries},
        reported,
        rows or (("network", "matrix") if all(q.kind == "spectrum" for q in queries) else ("sample", "frames")),
        cols,
        tuple(c for c in cells if c is not None),
        formats,
        None if path is None else str(folder / path),
        form.picture.value,
        None if form.note is None else form.note.value,
        _with_soundness([g for g in gates if g is not None], queries, form.span),
        form.span if form.path is None else form.path.span,
    )


def _sources(module: Module, form: Report, plans: Mapping[str, Asked], folder: Path) -> tuple[list[Stack], Reported | None, list[Diagnostic]]:
    stacks: list[Stack] = []
    wrong: list[Diagnostic] = []
    reported = None
    met: set[str] = set()
    for source in form.of.value:
        name, path = source.value.name, source.value.path
        if name in met:
            wrong.append(d.named_twice(source.span, name, "a source of the report"))
            continue
        met.add(name)
        if path is not None:
            try:
                reported = _figures(folder, path, source.span)
            except SpecError as e:
                wrong += e.diagnostics
            continue
        queries = _queries(module, source.value, plans, wrong)
        if queries:
            stack = Stack(name, queries[0].kind, tuple(queries))
            if stacks and not alike(stacks[0], stack):
                wrong.append(d.different_rows(source.span, stacks[0].name, name))
            stacks.append(stack)
    if all(x.value.path is not None for x in form.of.value) and not wrong:
        wrong = [
            d.not_a_query(form.of.span, REPORTED, "a file", plans)
            if form.of.value
            else d.out_of_range(form.of.span, "of", "[]", "a list of at least one query")
        ]
    return stacks, reported, wrong


def _queries(module: Module, source: Source, plans: Mapping[str, Asked], wrong: list[Diagnostic]) -> list[Asked]:
    """The plans of a source's queries, as far as they can be rows of one name; what is wrong with the others is added."""
    found: list[Asked] = []
    for query in source.queries:
        plan = plans.get(query.value)
        if plan is None:
            if not _is_broken(module, query.value, plans):
                other = next((x for x in module.declarations if x.name == query.value), None)
                wrong.append(d.not_a_query(query.span, query.value, None if other is None else article(other.kind), plans))
        elif found and plan.kind != found[0].kind:
            wrong.append(d.different_kinds(query.span, source.name, article(found[0].kind), article(plan.kind)))
        elif (twin := next((q for q in found if _asked_by(q) & _asked_by(plan)), None)) is not None:
            wrong.append(d.same_rows(query.span, source.name, twin.name, plan.name))
        else:
            found.append(plan)
    return found


def _asked_by(query: Asked) -> set[Question]:
    """What tells a query's rows from another's, beside what it sweeps."""
    return {(*question(v), v.of) if isinstance(v, SpectrumPlan) else question(v) for v in query.variants}


def _is_broken(module: Module, name: str, plans: Mapping[str, Asked]) -> bool:
    """Whether a query of that name has errors of its own, so that there is no plan of it."""
    return name not in plans and (name in module.broken or any(x.name == name and x.kind in ROW_FIELDS for x in module.declarations))


def _figures(folder: Path, path: str, span: Span) -> Reported:
    text = files.read_text(files.locate(folder, path, span), span).removeprefix("\ufeff")
    try:
        lines = [line for line in csv.reader(io.StringIO(text), strict=True) if line and not line[0].startswith("#")]
    except csv.Error as e:
        raise SpecError(d.bad_table(span, path, str(e))) from None
    if len(lines) < 2:
        raise SpecError(d.bad_table(span, path, "it needs a header and at least one line"))
    head = tuple(x.strip() for x in lines[0])
    if len(set(head)) < len(head) or any(len(line) != len(head) for line in lines):
        raise SpecError(d.bad_table(span, path, "its lines have not all the header's columns"))
    return Reported(Path(path).name, head, tuple(tuple(x.strip() for x in line) for line in lines[1:]))


def _check_figures(reported: Reported, known: Sequence[str], span: Span) -> list[Diagnostic]:
    """Some column must say which rows a line is about, once each; all others must be numbers."""
    attributes = [i for i, name in enumerate(reported.columns) if name in known]
    if not attributes:
        return [d.bad_table(span, reported.name, f"no column is an attribute of the rows ({', '.join(known)})")]
    for i, name in enumerate(reported.columns):
        odd = next((line[i] for line in reported.rows if line[i] and number(line[i]) is None), None) if i not in attributes else None
        if odd is not None:
            return [d.bad_table(span, reported.name, f"column '{name}' is no attribute of the rows, and holds {odd[:40]!r}, which is no number")]
    lines = [tuple(line[i] for i in attributes) for line in reported.rows]
    again = next((x for i, x in enumerate(lines) if x in lines[:i]), None)
    return [] if again is None else [d.bad_table(span, reported.name, f"two lines are about {', '.join(again)}")]


def number(text: str) -> float | None:
    """The finite number that a text is, if it is one."""
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def _joined_points(queries: Sequence[Stack]) -> int:
    """How many points the queries' sweeps have together, of one question and one sample: at most as many as this, counted without joining rows."""
    sizes: dict[Question, int] = {}
    seen: set[str] = set()
    for q in queries:
        own: dict[Question, set[tuple[str, ...]]] = {}
        for v in q.variants:
            own.setdefault(question(v), set()).add(tuple(f"{k}={x}" for k, x in v.swept if k not in seen))
        for asked, points in own.items():
            sizes[asked] = sizes.get(asked, 1) * len(points)
        seen |= {k for v in q.variants for k, _ in v.swept}
    return max(sizes.values(), default=0)


def _cell(module: Module, name: str | None, cell: s.Expr, scope: Scope, wrong: list[Diagnostic]) -> CellPlan | None:
    try:
        value = check_value(cell, scope, module.params, module.broken)
        return CellPlan(name or written(value), value)
    except SpecError as e:
        wrong += e.diagnostics
        return None


def _distances(query: Stack) -> list[str]:
    """The fields that stand in a table unless it says otherwise."""
    return [f for f in ("radius", "estimate", "margin", "spectral_radius") if f in ROW_FIELDS[query.kind]][:1]


def _default(query: Stack, field: str) -> CellPlan:
    name = f"{query.name}.{field}"
    here = Span(1, 1)
    return CellPlan(name, s.Call(here, "mean", (s.Name(here, name),), ()))


def _gate(module: Module, gate: s.Gate, scope: Scope, wrong: list[Diagnostic]) -> Expectation | None:
    try:
        condition = check(gate.condition, scope, module.params, module.broken)
    except SpecError as e:
        wrong += e.diagnostics
        return None
    return Expectation(gate.kind, gate.text, condition, gate.because, gate.span.line, gate.span.column)


def _with_soundness(gates: list[Expectation], queries: Sequence[Stack], span: Span) -> tuple[Expectation, ...]:
    """No certified radius may be above an attack: asked in every report that holds both, whether or not it says so."""
    found = list(gates)
    for certified in (q for q in queries if q.kind == "radius"):
        for attack in (q for q in queries if q.kind == "attack"):
            names = [s.Name(span, f"{q.name}.radius") for q in (certified, attack)]
            condition = s.Call(span, "all", (s.Binary(span, "<=", *names),), ())
            if not any(g.kind == "expect" and written(g.condition) == written(condition) for g in gates):
                because = "a certificate above an attack is wrong"
                found.append(Expectation("expect", written(condition), condition, because, span.line, span.column, True))
    return tuple(found)


def _output(form: Report, wrong: list[Diagnostic]) -> tuple[tuple[str, ...], str | None]:
    path = None if form.path is None else form.path.value
    by_suffix = next((f for f, suffix in SUFFIXES.items() if path is not None and path.endswith(suffix)), None)
    formats = form.format.value if form.format else (by_suffix or "text",)
    if path is None:
        wrong += [d.needs_path(form.format.span, f) for f in formats if f in FILES_ONLY and form.format]
    elif not path.strip():
        wrong.append(d.empty_path(form.path.span if form.path else None))
    elif form.path is not None and (path.endswith(("/", "\\")) or Path(path).name in ("", "..", *SUFFIXES.values())):
        wrong.append(d.no_file_name(form.path.span, path))
    elif form.path is not None and by_suffix is None and form.format is None and Path(path).suffix:
        wrong.append(
            d.odd_suffix(form.path.span, Path(path).suffix, "of no format", f"end it in one of {', '.join(SUFFIXES.values())}, or say format = text")
        )
    elif form.path is not None and form.format is not None and by_suffix is not None and by_suffix not in formats:
        wrong.append(
            d.odd_suffix(
                form.path.span, SUFFIXES[by_suffix], f"that of format = {by_suffix}", f"end it in {SUFFIXES[formats[0]]}, or leave format out"
            )
        )
    stem = path if path is None or by_suffix is None else path[: -len(SUFFIXES[by_suffix])]
    return formats, stem
