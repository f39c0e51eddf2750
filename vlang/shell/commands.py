"""The commands of vrun on one spec, and replay. Each returns an exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vlang import __version__
from vlang.cost import cost
from vlang.lower.spec import compile_spec
from vlang.plan import DataError, DatasetInput, Plan, Problem, TextInput, TextsInput
from vlang.report import JudgedSpectrum, Page, Report
from vlang.results import EngineInfo, QueryResult, Results
from vlang.shell import output
from vlang.text import diagnostics as d
from vlang.text import syntax as s
from vlang.text.diagnostics import Diagnostic, SpecError
from vlang.text.printable import printable, shown
from vlang.text.read import read_source
from vlang.text.source import Source
from vlang.words.formats import PAGES

if TYPE_CHECKING:
    from rich.console import Console

Overrides = Mapping[str, s.Given | s.Expr]


def say(diagnostic: Diagnostic, source: Source | None) -> None:
    print(d.render(diagnostic, source), file=sys.stderr)


def told(path: str, command: Callable[[Source], int]) -> tuple[int, tuple[Diagnostic, ...]]:
    """The command's exit code on a spec, 2 after telling every error, 1 where there are warnings alone; and what was told."""
    source: Source | None = None
    try:
        source = read_source(path)
        return command(source), ()
    except SpecError as e:
        for x in e.diagnostics:
            say(x, source or Source(path, ""))
        return 1 if e.diagnostics and all(x.warns for x in e.diagnostics) else 2, e.diagnostics


def check(source: Source, overrides: Overrides, only: Collection[str], whole: Collection[str], read: set[str]) -> int:
    """whole: files for what is wrong with all specs; read: to which the files that this one reads are added."""
    found = compile_spec(source, overrides, only)
    read |= found.reads
    for path in whole:
        output.clear(path, found.reads)
    queries = len(found.queries) + len(found.spectra)
    rows = sum(cost(q).rows for q in found.queries) + sum(len(x.variants) for x in found.spectra)
    print(f"{printable(source.path)}: ok, {queries} quer{'y' if queries == 1 else 'ies'}, {rows} row{'' if rows == 1 else 's'}")
    return 0


def lint(source: Source, overrides: Overrides, only: Collection[str], whole: Collection[str], read: set[str]) -> int:
    """Raises SpecError with what is surely not meant. whole, read: as of `check`."""
    from vlang.shell.lint import found

    plan = compile_spec(source, overrides, only)
    read |= plan.reads
    for path in whole:
        output.clear(path, plan.reads)
    told = tuple(found(plan))
    if told:
        raise SpecError(*told)
    print(f"{printable(source.path)}: ok")
    return 0


def plan(source: Source, overrides: Overrides, only: Collection[str], in_json: bool = False, journal: str | None = None) -> int:
    found = compile_spec(source, overrides, only)
    if in_json:
        from vlang.formats.plan_json import render
        from vlang.runtime.execute import asked
        from vlang.runtime.pace import measured

        try:
            print(render(found, asked(found), measured()))
        except DataError as e:
            raise SpecError(*map(data_problem, e.problems)) from None
        return 0
    from vlang.formats.plan import show_plan
    from vlang.shell.ranges import ranges
    from vlang.shell.remembered import pace_of

    show_plan(found, ranges(found), pace_of(found.queries))
    if journal is not None:
        from vlang.shell.remembered import left

        try:
            print("\n" + printable(left(found, Path(journal))))
        except DataError as e:
            raise SpecError(*map(data_problem, e.problems)) from None
    return 0


def run(
    source: Source, overrides: Overrides, args: argparse.Namespace, whole: Collection[str], read: set[str], keep: Callable[[Report], None]
) -> int:
    """whole: files for the whole run; read: to which the files that this spec reads are added.

    keep: takes the report and writes those; called before any page is drawn.
    """
    found = compile_spec(source, overrides, args.query)
    read |= found.reads
    for path in whole:
        output.clear(path, found.reads)
    if not found.queries and not found.spectra:
        print(f"{printable(found.path)}: the spec has no query; nothing was evaluated", file=sys.stderr)
        keep(Report(found.path, found.sha256, found.params, EngineInfo(__version__, "", "", ""), "empty", ()))
        return 5
    for text in (*_unknown_words(found), *_unused_labels(found)):
        print(printable(f"{found.path}: {text}"), file=sys.stderr)
    _probe(found)
    from vlang.formats.table import console, end
    from vlang.judge.verdict import EXIT_CODES, judge
    from vlang.shell.interrupt import interruptible

    quiet = "-" in whole or args.quiet or args.shard is not None
    screen, saver = None if quiet else console(args.color), Saver()
    with interruptible() as stopped:  # until everything is written
        results = _executed(found, args, saver, screen, stopped)
        if args.shard is not None:
            return _part(found, results, args, saver)
        report = judge(found, results)
        if screen is not None:
            end(report, screen)
        saver.attempt(lambda: keep(report))
        for write in _pages(report):
            saver.attempt(write)
    for folder, suffix in ((args.certificates, "cert"), (args.witnesses, "witness")):
        older = [] if folder is None else sorted(x.name for x in set(Path(folder).glob(f"*.{suffix}")) - saver.saved)
        if older:
            print(printable(f"{folder}: {len(older)} other .{suffix} files lie there, of an earlier run: {older[0]} ..."), file=sys.stderr)
    for problem in saver.problems:
        say(problem, source if problem.span is not None else None)
    return 2 if saver.problems else EXIT_CODES[report.verdict]


def _part(found: Plan, results: Results, args: argparse.Namespace, saver: Saver) -> int:
    """A part of a run is kept, and not judged."""
    rows = [row for query in results.queries for row in query.rows]
    undone, (which, of) = sum(not row.complete for row in rows), args.shard
    print(
        printable(f"{found.path}: part {which + 1} of {of}: {len(rows) - undone} rows are kept" + (f", {undone} are not finished" if undone else ""))
    )
    for problem in saver.problems:
        say(problem, None)
    return 2 if saver.problems else 4 if undone else 0


@dataclass
class Saver:
    """Writes what a run makes, and goes on where something cannot be written. saved: the files of evidence; problems: what could not be."""

    saved: set[Path] = field(default_factory=set)
    problems: list[Diagnostic] = field(default_factory=list)

    def attempt(self, write: Callable[[], None]) -> str | None:
        """Why it failed, in words; None where it did not."""
        try:
            write()
        except SpecError as e:
            known = {x.message for x in self.problems}
            self.problems += [x for x in e.diagnostics if x.message not in known]
            return str(e)
        return None

    def into(self, folder: str | None) -> Callable[[str, bytes], str | None] | None:
        """What saves files of evidence in a folder."""
        if folder is None:
            return None
        home = Path(folder)

        def save(name: str, content: bytes) -> str | None:
            problem = self.attempt(lambda: output.write(str(home / name), content))
            if problem is None:
                self.saved.add(home / name)
            return problem

        return save


#: Of those that are unknown, so many are named.
MOST_WORDS = 12


def _unknown_words(plan: Plan) -> list[str]:
    inputs = dict.fromkeys(v.input for q in plan.queries for v in q.variants)
    texts = [x for x in inputs if isinstance(x, TextInput) and x.unknown]
    files: dict[str, list[TextInput]] = {}
    for x in inputs:
        if isinstance(x, TextsInput):
            files.setdefault(x.path, []).extend(x.texts)
    told = [
        f"warning: {len(x.unknown)} of {len(x.ids)} words of the text on line {x.span.line} read as unknown: {', '.join(x.unknown)}" for x in texts
    ]
    for path, held in files.items():
        unknown = [w for x in held for w in x.unknown]
        shown = ", ".join(list(dict.fromkeys(unknown))[:MOST_WORDS]) + (", ..." if len(set(unknown)) > MOST_WORDS else "")
        told += [f"warning: {len(unknown)} of {sum(len(x.ids) for x in held)} words of {Path(path).name} read as unknown: {shown}"] if unknown else []
    sets = (v.perturbation.alternatives for q in plan.queries for v in q.variants)
    listed = dict.fromkeys(x for x in sets if x is not None and x.unknown)
    for set_ in listed:
        shown = ", ".join(set_.unknown[:MOST_WORDS]) + (", ..." if len(set_.unknown) > MOST_WORDS else "")
        told.append(f"warning: {len(set_.unknown)} alternatives of {Path(set_.path or '').name} read as unknown: {shown}")
    return told


def _unused_labels(plan: Plan) -> list[str]:
    paths = dict.fromkeys(v.input.inputs.path for q in plan.queries for v in q.variants if isinstance(v.input, DatasetInput) and v.input.unused)
    return [f"warning: the labels beside {Path(path).name} are not looked at: a property is about the network's outputs" for path in paths]


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


def _executed(plan: Plan, args: argparse.Namespace, saver: Saver, screen: Console | None, stopped: Callable[[], bool]) -> Results:
    """Every query's table is shown as soon as the query is answered."""
    from vlang.formats.table import begin, show_query
    from vlang.judge.verdict import judge_query
    from vlang.shell.progress import live
    from vlang.shell.remembered import answers, store_of

    plans = {q.name: q for q in plan.queries}
    networks = [*(v.network for q in plan.queries for v in q.variants), *(v.network for q in plan.spectra for v in q.variants)]
    store = store_of(args, plan)
    with live(not args.no_progress, sys.stderr.isatty()) as (progress, between):
        first = True

        def answered(result: QueryResult) -> None:
            nonlocal first
            if screen is None:
                return
            if first:
                begin(list(dict.fromkeys(networks)), screen)
            first = False
            between(lambda: show_query(judge_query(plans[result.name], result), screen))

        try:
            results = answers(plan, args, store, saver, progress, stopped, answered)
        except DataError as e:
            raise SpecError(*(data_problem(p) for p in e.problems)) from None
    if first and screen is not None:
        begin(list(dict.fromkeys(networks)), screen)
    return results


def _pages(report: Report) -> Iterator[Callable[[], None]]:
    """What writes each picture, and each page that has a path."""
    from vlang.formats import PAGES as WRITERS

    def picture(spectrum: JudgedSpectrum, path: str) -> None:
        from vlang.formats.pictures import pseudospectra

        output.write(path, pseudospectra(shown(spectrum.result), Path(path).suffix))
        print(printable(f"spectrum {spectrum.result.name}: wrote {path}"), file=sys.stderr)

    def page(written: Page, path: str, word: str) -> None:
        output.write(path, WRITERS[word](written))
        print(printable(f"report {written.name}: wrote {path}"), file=sys.stderr)

    for spectrum in (x for x in report.spectra if x.picture is not None and x.result.rows):
        yield partial(picture, spectrum, str(spectrum.picture))
    for written in (x for x in report.pages if x.path is not None):
        for word in written.formats:
            yield partial(page, written, f"{written.path}{PAGES[word].suffix}", word)


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
        print(f"{printable(path)}: {ascii(said)[1:-1]}")
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


def data_problem(problem: Problem) -> Diagnostic:
    constructor = DATA_PROBLEMS[problem.kind]
    diagnostic: Diagnostic = constructor(problem.span, *problem.details)  # type: ignore[operator]
    return diagnostic
