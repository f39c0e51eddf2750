"""A report's declaration to its plan: the queries it is about, the attributes that tell their rows apart, its cells and gates."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlang.expression import Aggregated, Binary, Expression, Field, written
from vlang.lower import files
from vlang.lower.once import Once
from vlang.lower.queries import expectations
from vlang.plan import CellPlan, Expectation, QueryPlan, Reported, ReportPlan, SpectrumPlan, SpectrumQuery, Variant
from vlang.text import diagnostics as d
from vlang.text.diagnostics import Diagnostic, SpecError
from vlang.text.source import Span
from vlang.typed.conditions import FIELDS, Scope, missing
from vlang.typed.signatures import ATTRIBUTES
from vlang.typed.sources import REPORTED
from vlang.typed.tree import Report
from vlang.words.formats import PAGES
from vlang.words.queries import QUERIES

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


def report(once: Once, form: Report, plans: Mapping[str, Asked], folder: Path) -> ReportPlan:
    """Raises SpecError: in silence where a query that it is about is wrong."""
    queries, wrong = _stacks(form, plans)
    reported = None
    for source in form.of.value:
        if source.value.path is not None:
            reported = once(_figures, folder, source.value.path, source.span)
    if wrong or any(q.value not in plans for source in form.of.value for q in source.value.queries):
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
        columns = {f"{REPORTED}.{name}": "number" for name in reported.columns if name not in known}
        scope = Scope({**_fields(queries), **columns}, "this report")  # type: ignore[dict-item]
        values = [c.value for c in form.cell.value] if form.cell else []
        wrong += [x for value in (*values, *(g.condition for g in form.gates)) for x in missing(value, scope)]
    points = _joined_points(queries)
    if points > MOST_RECORDS:
        wrong.append(d.too_large(form.of.span, "combinations of what the queries sweep", points, MOST_RECORDS))
    formats, path = _output(form, wrong)
    if wrong:
        raise SpecError(*wrong)
    cols = tuple(x.value for x in form.cols.value) if form.cols else ()
    rows = tuple(x.value for x in form.rows.value) if form.rows else tuple(x for x in swept if x not in cols)
    return ReportPlan(
        form.name,
        {q.name: tuple(x.name for x in q.queries) for q in queries},
        reported,
        rows or (("network", "matrix") if all(q.kind == "spectrum" for q in queries) else ("sample", "frames")),
        cols,
        tuple(CellPlan(c.name or written(c.value), c.value) for c in form.cell.value) if form.cell else tuple(map(_default, queries)),
        formats,
        None if path is None else str(folder / path),
        form.picture.value,
        None if form.note is None else form.note.value,
        _with_soundness(expectations(form.gates), queries, form.span),
        form.span if form.path is None else form.path.span,
    )


def _fields(queries: Sequence[Stack]) -> dict[str, str]:
    return {f"{q.name}.{field}": kind for q in queries for field, kind in FIELDS[q.kind].items()}


def _stacks(form: Report, plans: Mapping[str, Asked]) -> tuple[list[Stack], list[Diagnostic]]:
    """A report's queries under the names of its sources, as far as their rows can stand side by side; and what is wrong with the others."""
    stacks: list[Stack] = []
    wrong: list[Diagnostic] = []
    for source in (x for x in form.of.value if x.value.path is None):
        found: list[Asked] = []
        for query in (q for q in source.value.queries if q.value in plans):
            plan = plans[query.value]
            twin = next((q for q in found if _asked_by(q) & _asked_by(plan)), None)
            if twin is not None:
                wrong.append(d.same_rows(query.span, source.value.name, twin.name, plan.name))
            else:
                found.append(plan)
        if not found:
            continue
        stack = Stack(source.value.name, source.value.kind, tuple(found))
        if stacks and not alike(stacks[0], stack):
            wrong.append(d.different_rows(source.span, stacks[0].name, stack.name))
        stacks.append(stack)
    return stacks, wrong


def _asked_by(query: Asked) -> set[Question]:
    """What tells a query's rows from another's, beside what it sweeps."""
    return {(*question(v), v.of) if isinstance(v, SpectrumPlan) else question(v) for v in query.variants}


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


def _default(query: Stack) -> CellPlan:
    """What stands in a table unless it says otherwise: the mean of the number that rows are about."""
    number = QUERIES[query.kind].number if query.kind in QUERIES else "spectral_radius"
    name = f"{query.name}.{number}"
    return CellPlan(name, Aggregated("mean", Field(name, Span(1, 1))))


def _with_soundness(gates: Sequence[Expectation], queries: Sequence[Stack], span: Span) -> tuple[Expectation, ...]:
    """No certified radius may be above an attack: asked in every report that holds both, whether or not it says so."""
    found = list(gates)
    for certified in (q for q in queries if q.kind == "radius"):
        for attack in (q for q in queries if q.kind == "attack"):
            one, other = (Field(f"{q.name}.radius", span) for q in (certified, attack))
            condition: Expression = Aggregated("all", Binary("<=", one, other))
            if not any(g.kind == "expect" and g.condition == condition for g in gates):
                because, place = "a certificate above an attack is wrong", (span.line, span.column, span.line, span.column + span.length)
                found.append(Expectation("expect", written(condition), condition, because, *place, True))
    return tuple(found)


def _output(form: Report, wrong: list[Diagnostic]) -> tuple[tuple[str, ...], str | None]:
    path = None if form.path is None else form.path.value
    suffixes = [page.suffix for page in PAGES.values()]
    by_suffix = next((f for f, page in PAGES.items() if path is not None and path.endswith(page.suffix)), None)
    formats = form.format.value if form.format else (by_suffix or "text",)
    if path is None:
        wrong += [d.needs_path(form.format.span, f) for f in formats if not PAGES[f].prints and form.format]
    elif not path.strip():
        wrong.append(d.empty_path(form.path.span if form.path else None))
    elif form.path is not None and (path.endswith(("/", "\\")) or Path(path).name in ("", "..", *suffixes)):
        wrong.append(d.no_file_name(form.path.span, path))
    elif form.path is not None and by_suffix is None and form.format is None and Path(path).suffix:
        wrong.append(d.odd_suffix(form.path.span, Path(path).suffix, "of no format", f"end it in one of {', '.join(suffixes)}, or say format = text"))
    elif form.path is not None and form.format is not None and by_suffix is not None and by_suffix not in formats:
        wrong.append(
            d.odd_suffix(
                form.path.span, PAGES[by_suffix].suffix, f"that of format = {by_suffix}", f"end it in {PAGES[formats[0]].suffix}, or leave format out"
            )
        )
    stem = path if path is None or by_suffix is None else path[: -len(PAGES[by_suffix].suffix)]
    return formats, stem
