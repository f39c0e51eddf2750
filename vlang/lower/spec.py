"""A spec's text to its Plan: parsed, typed, then every file located and every shape resolved. All errors of a file are told in one run.

Everything that can be wrong about a query without computing is reported here, with the place in the spec.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from vlang.lower import baselines, queries, reports, samples, series, texts
from vlang.lower.once import Once
from vlang.plan import Plan, ReportPlan, SpectrumQuery
from vlang.text import diagnostics as d
from vlang.text import syntax as s
from vlang.text.diagnostics import Diagnostic, SpecError
from vlang.text.parser import parse
from vlang.text.source import Source, Span
from vlang.typed.check import check
from vlang.typed.module import Module, load
from vlang.typed.signatures import KINDS
from vlang.typed.tree import Ask, Dataset, Input, Network, Spec
from vlang.typed.types import Located
from vlang.words.formats import PAGES

T = TypeVar("T")
#: A text to its syntax tree, and what is wrong with it.
Parser = Callable[[Source], tuple[s.File, list[Diagnostic]]]
#: Errors that no missing line can cause.
LOCAL_CODES = frozenset({"R201", "R202", "R203", "R204", "R207", "R208", "R209", "R210", "R215", "R217", "R218", "R223", "R405", "R417"})


def compile_spec(source: Source, overrides: Mapping[str, s.Given | s.Expr] | None = None, only: Collection[str] = (), parser: Parser = parse) -> Plan:
    """The plan of a spec, or SpecError with every diagnostic. `only`: the queries and reports to keep; none for all."""
    try:
        return _compile(source, overrides or {}, only, parser)
    except RecursionError:
        raise SpecError(d.too_deep(Span(1, 1))) from None


def _compile(source: Source, overrides: Mapping[str, s.Given | s.Expr], only: Collection[str], parser: Parser) -> Plan:
    tree, errors = parser(source)
    module = load(tree, overrides)
    spec = check(module)
    if errors:
        # What could be parsed is checked too, as far as the lines left out cannot be to blame.
        lost = {e.span.line for e in errors if e.span is not None}
        errors += [e for e in module.errors if e.code in LOCAL_CODES and e.span is not None and e.span.line not in lost]
        raise SpecError(*sorted(errors, key=_place))
    plan = _lowered(source, module, spec)
    asked = [x.name for x in module.declarations if KINDS[x.kind].query]
    names = [*asked, *(x.name for x in plan.reports)]
    module.report(*(d.unknown_query(name, names) for name in only if name not in names))
    if module.errors:
        raise SpecError(*sorted(module.errors, key=_place))
    if not only:
        return plan
    kept = tuple(p for p in plan.reports if p.name in only)
    needed = {*only, *(name for p in kept for name in p.queries)}
    chosen = tuple(q for q in plan.queries if q.name in needed)
    return replace(plan, queries=chosen, reports=kept, spectra=tuple(x for x in plan.spectra if x.name in needed))


def _place(x: Diagnostic) -> tuple[int, int]:
    """What has no place in the spec, a param of the call, comes first: it may be the cause of the others."""
    return (x.span.line, x.span.column) if x.span is not None else (0, 0)


def _lowered(source: Source, module: Module, spec: Spec) -> Plan:
    """The plan of what is right; what is wrong is reported to the module."""
    once, folder = Once(module.report), source.folder
    # Declarations alone first, so that the mistakes of those that no query reaches are seen too.
    for net in spec.networks:
        once.attempt(partial(queries.network, once, net, net.name, folder))
    for data in spec.data:
        if isinstance(data, Dataset) and series.is_series(data):
            once.attempt(partial(once, series.read, data, folder))
            continue
        if isinstance(data, Dataset) and data.source is not None and texts.is_text(data):
            once.attempt(partial(once, texts.read, data.source, folder))
            continue
        once.attempt(partial(once, samples.open_arrays, data, folder) if isinstance(data, Dataset) else partial(once, samples.check_input, data))
    known = tuple(_right(once.attempt(partial(once, baselines.plan, x, folder)) for x in spec.baselines))
    asked = _right(once.attempt(partial(queries.query, once, q, folder, known)) for q in spec.queries)
    matrices = _right(once.attempt(partial(queries.spectrum, once, q, folder)) for q in spec.spectra)
    plans: dict[str, reports.Asked] = {p.name: p for p in asked} | {p.name: p for p in matrices}
    pages = _right(once.attempt(partial(reports.report, once, r, plans, folder)) for r in spec.reports)
    read = {(folder / os.path.expanduser(name)).resolve() for name in set(_named_files(spec))} | {Path(source.path).resolve()}
    _written(module, read, matrices, pages)
    shown = {name for p in pages if p.picture != "none" and any(PAGES[f].pictures for f in p.formats) for name in p.queries}
    drawn = tuple(replace(x, drawn=x.picture is not None or x.name in shown) for x in matrices)
    return Plan(source.path, source.sha256, source.words_sha256, spec.params, tuple(asked), tuple(pages), drawn, frozenset(map(str, read)))


def _right(found: Iterable[T | None]) -> list[T]:
    return [x for x in found if x is not None]


def _named_files(spec: Spec) -> Iterator[str]:
    """The files that a spec reads."""
    forms: list[Network | Input | Dataset] = [*spec.networks, *spec.data]
    for asked in (p.form for q in (*spec.queries, *spec.spectra) for p in q.points):
        if isinstance(asked, Ask):
            forms += [asked.network.value, asked.input.value.form]
            moved = asked.perturbation.value
            yield from (x.value.file for x in (moved.directions, moved.words) if x is not None and x.value.file is not None)
            yield from (x.value for x in (moved.scale,) if x is not None and isinstance(x.value, str))
        else:
            forms += [asked.of.value.network.value, *([] if asked.of.value.input is None else [asked.of.value.input.value.form])]
    for form in forms:
        keys = ("checkpoint", "vocabulary", "reference", "inputs", "labels", "source")
        yield from (x.value for key in keys if isinstance(x := vars(form).get(key), Located) and isinstance(x.value, str))
    yield from (x.file.value for x in spec.baselines)
    yield from (x.value.path for r in spec.reports for x in r.of.value if x.value.path is not None)


def _written(module: Module, read: set[Path], matrices: Sequence[SpectrumQuery], pages: Sequence[ReportPlan]) -> None:
    """Report files that would be written twice, or over one that the spec reads."""
    outputs = [(x.span, Path(x.picture).resolve(), "query") for x in matrices if x.picture is not None]
    outputs += [(p.span, Path(f"{p.path}{PAGES[word].suffix}").resolve(), "report") for p in pages if p.path is not None for word in p.formats]
    met = set[Path]()
    for span, path, by in outputs:
        if path in met or path in read:
            module.report(d.same_output(span, path.name, f"written by another {by}" if path in met else "read by this spec"))
        met.add(path)
