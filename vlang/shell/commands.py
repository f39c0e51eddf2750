"""The commands of vrun on one spec, and replay. Each returns an exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

from vlang import __version__
from vlang.cost import cost
from vlang.lower.spec import compile_spec
from vlang.plan import DataError, Plan, Problem, TextInput
from vlang.report import Report
from vlang.results import EngineInfo, Results
from vlang.shell import output
from vlang.text import diagnostics as d
from vlang.text import syntax as s
from vlang.text.diagnostics import Diagnostic, SpecError
from vlang.text.read import read_source
from vlang.text.source import Source
from vlang.words.formats import PAGES, RUNS

Overrides = Mapping[str, s.Expr]


def say(diagnostic: Diagnostic, source: Source | None) -> None:
    print(d.render(diagnostic, source), file=sys.stderr)


def told(path: str, command: Callable[[Source], int]) -> int:
    """The command's exit code on a spec; 2 after telling every error."""
    source: Source | None = None
    try:
        source = read_source(path)
        return command(source)
    except SpecError as e:
        for x in e.diagnostics:
            say(x, source or Source(path, ""))
        return 2


def check(source: Source, overrides: Overrides, only: Collection[str]) -> int:
    found = compile_spec(source, overrides, only)
    queries = len(found.queries) + len(found.spectra)
    rows = sum(cost(q).rows for q in found.queries) + sum(len(x.variants) for x in found.spectra)
    print(f"{source.path}: ok, {queries} quer{'y' if queries == 1 else 'ies'}, {rows} row{'' if rows == 1 else 's'}")
    return 0


def plan(source: Source, overrides: Overrides, only: Collection[str]) -> int:
    from vlang.formats.plan import show_plan

    show_plan(compile_spec(source, overrides, only))
    return 0


def run(source: Source, overrides: Overrides, args: argparse.Namespace, reports: list[Report]) -> int:
    """The report is added to `reports`."""
    found = compile_spec(source, overrides, args.query)
    if not found.queries and not found.spectra:
        print(f"{found.path}: the spec has no query; nothing was evaluated", file=sys.stderr)
        reports.append(Report(found.path, found.sha256, found.params, EngineInfo(__version__, "", "", ""), "empty", ()))
        return 5
    for text in _unknown_words(found):
        print(f"{found.path}: {text}", file=sys.stderr)
    _probe(found)
    from vlang.judge.verdict import EXIT_CODES, judge

    saved: set[Path] = set()
    results = _executed(found, args, saved)
    for folder, suffix in ((args.certificates, "cert"), (args.witnesses, "witness")):
        older = [] if folder is None else sorted(x.name for x in set(Path(folder).glob(f"*.{suffix}")) - saved)
        if older:
            print(f"{folder}: {len(older)} other .{suffix} files lie there, of an earlier run: {older[0]} ...", file=sys.stderr)
    report = judge(found, results)
    if not any(getattr(args, word) == "-" for word in RUNS):
        from vlang.formats.table import console, show

        show(report, console())
    _write_pages(report)
    reports.append(report)
    return EXIT_CODES[report.verdict]


def _unknown_words(plan: Plan) -> list[str]:
    texts = [v.input for q in plan.queries for v in q.variants if isinstance(v.input, TextInput) and v.input.unknown]
    many = ((x, len(x.unknown), len(x.ids)) for x in dict.fromkeys(texts))
    return [f"warning: {n} of {of} words of the text on line {x.span.line} read as <unk>: {', '.join(x.unknown)}" for x, n, of in many]


def _probe(plan: Plan) -> None:
    """Refuse what cannot be written before hours of work; here a place in the spec is to blame."""
    written = [(x.span, f"{x.path}{PAGES[word].suffix}") for x in plan.reports if x.path is not None for word in x.formats]
    written += [(x.span, x.picture) for x in plan.spectra if x.picture is not None]
    for span, path in written:
        try:
            output.folder(str(Path(path).parent))
            output.probe(path)
        except SpecError as e:
            raise SpecError(*(replace(x, span=span) for x in e.diagnostics)) from None


def _executed(plan: Plan, args: argparse.Namespace, saved: set[Path]) -> Results:
    """saved: collects the certificates and witnesses that are written."""
    from vlang.shell.interrupt import interruptible
    from vlang.shell.progress import live

    with live(enabled=sys.stderr.isatty() and not args.no_progress) as progress, interruptible() as stopped:
        from vlang.runtime.execute import execute

        def saver(folder: str | None) -> Callable[[str, bytes], None] | None:
            if folder is None:
                return None
            home = Path(folder)

            def save(name: str, content: bytes) -> None:
                saved.add(home / name)
                output.write(str(home / name), content)

            return save

        try:
            return execute(plan, __version__, args.device, progress, stopped, saver(args.certificates), saver(args.witnesses))
        except DataError as e:
            raise SpecError(*(_data_problem(p) for p in e.problems)) from None


def _write_pages(report: Report) -> None:
    """The pictures and the pages that have a path."""
    from vlang.formats import PAGES as WRITERS

    for spectrum in (x for x in report.spectra if x.picture is not None and x.result.rows):
        from vlang.formats.pictures import pseudospectra

        path = str(spectrum.picture)
        output.write(path, pseudospectra(spectrum.result, Path(path).suffix))
        print(f"spectrum {spectrum.result.name}: wrote {path}", file=sys.stderr)
    for page in report.pages:
        for path, word in ((page.path + PAGES[word].suffix, word) for word in page.formats if page.path is not None):
            output.write(path, WRITERS[word](page))
            print(f"report {page.name}: wrote {path}", file=sys.stderr)


def replay(args: argparse.Namespace) -> int:
    """Each file's verdict on its own line; 0 if every witness holds, 1 if one does not, 2 if one cannot be read."""
    from vlang.runtime.evidence.witness_files import RefutedError, UnreadableError, examine

    codes = [0]
    for path in args.files:
        try:
            said, code = f"holds: {examine(path, args.network)}", 0
        except RefutedError as e:
            said, code = f"REFUTED: {e}", 1
        except UnreadableError as e:
            said, code = f"cannot be read: {e}", 2
        print(f"{path}: {ascii(said)[1:-1]}")
        codes.append(code)
    return max(codes)


#: What the runtime may find wrong with the data, as the language says it.
DATA_PROBLEMS = {
    "not_finite": d.not_finite,
    "label_out_of_range": d.label_out_of_range,
    "outside_clip": d.outside_clip,
    "target_is_label": d.target_is_label,
    "device": d.unknown_device,
    "damaged": d.damaged,
    "no_certificate": d.no_certificate,
    "not_float32": d.not_float32,
    "reference_differs": d.reference_differs,
    "reference_shape": d.reference_shape,
    "label_not_found": d.label_not_found,
}


def _data_problem(problem: Problem) -> Diagnostic:
    constructor = DATA_PROBLEMS[problem.kind]
    diagnostic: Diagnostic = constructor(problem.span, *problem.details)  # type: ignore[operator]
    return diagnostic
