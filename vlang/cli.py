"""The command line: vrun [run | check | plan | replay] FILE... Results on stdout, diagnostics and progress on stderr.

Exit codes (if several: 3, then 2, 1, 4, 5): 0 every expectation held; 1 one failed; 2 the spec, a file or the call is wrong; 3 an
internal error; 4 inconclusive; 5 nothing was evaluated.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from vlang import __version__
from vlang.cost import cost
from vlang.lower import spec as lower
from vlang.lower.reports import SUFFIXES
from vlang.plan import Plan, Problem
from vlang.report import EngineInfo, Report
from vlang.shell import output
from vlang.text import diagnostics as d
from vlang.text import parser
from vlang.text import syntax as s
from vlang.text.diagnostics import Diagnostic, SpecError
from vlang.text.source import Source

COMMANDS = {
    "run": "compute, and judge every expectation (vrun FILE... is vrun run FILE...)",
    "check": "check the spec against the files' headers; computes nothing",
    "plan": "print what would be computed, and what it costs",
    "replay": "test counterexamples that a run has saved once more",
}
USAGE = (
    "usage: vrun [COMMAND] FILE... [options]\n\n"
    + "".join(f"  vrun {k:6} {v}\n" for k, v in COMMANDS.items())
    + "\nvrun COMMAND --help lists the options."
)
#: If several specs end differently, the first of these is the exit code.
PRECEDENCE = (3, 2, 1, 4, 5, 0)


class _CallError(Exception):
    pass


class _Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _CallError(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `vrun`; returns the exit code."""
    args_list = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in args_list
    try:
        return _main(args_list)
    except _CallError as e:
        _say(d.bad_call(str(e)), None)
        return 2
    except SpecError as e:
        for x in e.diagnostics:
            _say(x, None)
        return 2
    except BrokenPipeError:  # the reader of check or plan stopped early
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as e:
        if debug:
            raise
        _say(d.cannot_write(str(e.filename or "the output"), e.strerror or str(e)), None)
        return 2
    except KeyboardInterrupt:
        print("vrun: interrupted; nothing was decided", file=sys.stderr)
        return 4
    except Exception as e:
        if debug:
            raise
        print(f"vrun: internal error: {type(e).__name__}: {e}\n  hint: run again with --debug and report the traceback", file=sys.stderr)
        return 3


def _main(argv: list[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that has no block characters still gets its table
    if not argv:
        raise _CallError("no spec given; try: vrun FILE, vrun check FILE, vrun plan FILE, or vrun --help")
    if argv[0] in ("-h", "--help", "--version"):
        return _help(argv[0])
    command = argv[0] if argv[0] in COMMANDS else "run"
    if command == "replay":
        return _replay(argv[1:])
    args = _parser(command).parse_intermixed_args(argv[argv[0] in COMMANDS :])
    args.command = command
    _check_files(args.files)
    overrides = dict(_override(x) for x in args.param)
    if command == "run" and args.json is not None:
        output.probe(args.json)
    for option in ("certificates", "witnesses") if command == "run" else ():
        folder = getattr(args, option)
        if folder is not None:
            if len(args.files) > 1:  # queries of two specs may have one name
                raise _CallError(f"--{option} takes one spec at a time, so that no file overwrites another")
            output.folder(folder)
    codes, reports = [], []
    for path in args.files:
        code, report = _one(path, overrides, args)
        codes.append(code)
        if report is not None:
            reports.append(report)
    if command == "run" and args.json is not None and reports:
        from vlang.formats import FORMATS

        output.write(args.json, FORMATS["json"](reports, len(args.files) > 1))
    return next(c for c in PRECEDENCE if c in codes)


def _check_files(paths: Sequence[str]) -> None:
    """A path that is a mistyped or a late command: said before hours go into the other files."""
    for path in (x for x in paths if not Path(x).suffix and not Path(x).exists()):
        meant = d.nearest(path, COMMANDS)
        if meant is not None:
            raise _CallError(f"there is no file '{path}'; did you mean vrun {meant} FILE...?")


def _help(option: str) -> int:
    print(f"rspec-verify {__version__}" if option == "--version" else USAGE)
    return 0


def _parser(command: str) -> argparse.ArgumentParser:
    top = _Arguments(prog=f"vrun {command}", description=COMMANDS[command])
    top.add_argument("files", nargs="+", metavar="FILE")
    top.add_argument("-p", "--param", action="append", default=[], metavar="NAME=VALUE", help="set a param of the spec")
    top.add_argument(
        "-q", "--query", action="append", default=[], metavar="NAME", help="only this query, or report and its queries (several times: only these)"
    )
    top.add_argument("--debug", action="store_true", help="show a traceback on internal errors")
    if command == "run":
        top.add_argument("--json", metavar="FILE", help="also write the report as JSON ('-' for stdout instead of tables)")
        top.add_argument("--certificates", metavar="DIR", help="also write a certificate of every certified row, for vcheck")
        top.add_argument("--witnesses", metavar="DIR", help="also write every counterexample, for vrun replay")
        top.add_argument("--device", metavar="DEVICE", choices=("auto", "cpu", "cuda"), help="where to compute: auto, cpu or cuda")
        top.add_argument("--no-progress", action="store_true", help="no live progress")
    return top


def _replay(argv: list[str]) -> int:
    """Each file's verdict on its own line; 0 if every witness holds, 1 if one does not, 2 if one cannot be read."""
    top = _Arguments(prog="vrun replay", description=COMMANDS["replay"])
    top.add_argument("files", nargs="+", metavar="WITNESS")
    top.add_argument("--network", action="append", default=[], metavar="FILE", help="a checkpoint that is not where it was (may be given again)")
    top.add_argument("--debug", action="store_true", help="show a traceback on internal errors")
    args = top.parse_intermixed_args(argv)
    from vlang.runtime.evidence.witness_files import RefutedError, UnreadableError, replay

    codes = [0]
    for path in args.files:
        try:
            said, code = f"holds: {replay(path, args.network)}", 0
        except RefutedError as e:
            said, code = f"REFUTED: {e}", 1
        except UnreadableError as e:
            said, code = f"cannot be read: {e}", 2
        print(f"{path}: {ascii(said)[1:-1]}")
        codes.append(code)
    return max(codes)


def _override(text: str) -> tuple[str, s.Expr]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise _CallError(f"-p {text}: write -p NAME=VALUE")
    try:
        return name.strip(), parser.parse_expression(value)
    except ValueError as e:
        raise SpecError(d.bad_param(name.strip(), str(e))) from None


def _one(path: str, overrides: dict[str, s.Expr], args: argparse.Namespace) -> tuple[int, Report | None]:
    source: Source | None = None
    try:
        source = lower.read_source(path)
        plan = lower.compile_spec(source, overrides, args.query)
        if args.command == "check":
            queries = len(plan.queries) + len(plan.spectra)
            rows = sum(cost(q).rows for q in plan.queries) + sum(len(x.variants) for x in plan.spectra)
            print(f"{path}: ok, {queries} quer{'y' if queries == 1 else 'ies'}, {rows} row{'' if rows == 1 else 's'}")
            return 0, None
        if args.command == "plan":
            from vlang.formats.plan import show_plan

            show_plan(plan)
            return 0, None
        return _run(plan, source, args)
    except SpecError as e:
        for x in e.diagnostics:
            _say(x, source or Source(path, ""))
        return 2, None


def _run(plan: Plan, source: Source, args: argparse.Namespace) -> tuple[int, Report | None]:
    from vlang.judge.verdict import EXIT_CODES, judge
    from vlang.plan import DataError
    from vlang.shell.interrupt import interruptible
    from vlang.shell.progress import live

    if not plan.queries and not plan.spectra:
        print(f"{plan.path}: the spec has no query; nothing was evaluated", file=sys.stderr)
        return 5, Report(plan.path, plan.sha256, plan.params, EngineInfo(__version__, "", "", ""), "empty", ())
    written = [(x.span, f"{x.path}{SUFFIXES[word]}") for x in plan.reports if x.path is not None for word in x.formats]
    written += [(x.span, x.picture) for x in plan.spectra if x.picture is not None]
    for span, path in written:
        try:
            output.folder(str(Path(path).parent))
            output.probe(path)
        except SpecError as e:  # here a place in the spec is to blame
            raise SpecError(*(replace(x, span=span) for x in e.diagnostics)) from None
    with live(enabled=sys.stderr.isatty() and not args.no_progress) as progress, interruptible() as stopped:
        from vlang.runtime.execute import execute

        saved: set[Path] = set()

        def saver(folder: str | None) -> Callable[[str, bytes], None] | None:
            if folder is None:
                return None
            home = Path(folder)

            def save(name: str, content: bytes) -> None:
                saved.add(home / name)
                output.write(str(home / name), content)

            return save

        try:
            results = execute(plan, __version__, args.device, progress, stopped, saver(args.certificates), saver(args.witnesses))
        except DataError as e:
            raise SpecError(*(_data_problem(p) for p in e.problems)) from None
    for folder, suffix in ((args.certificates, "cert"), (args.witnesses, "witness")):
        older = [] if folder is None else sorted(x.name for x in set(Path(folder).glob(f"*.{suffix}")) - saved)
        if older:
            print(f"{folder}: {len(older)} other .{suffix} files lie there, of an earlier run: {older[0]} ...", file=sys.stderr)
    report = judge(plan, results)
    if args.json == "-":
        _write_pages(report)
        return EXIT_CODES[report.verdict], report
    from vlang.formats.table import console, show

    show(report, console())
    _write_pages(report)
    return EXIT_CODES[report.verdict], report


def _write_pages(report: Report) -> None:
    """The pictures and the pages that have a path."""
    from vlang.formats import PAGES

    for spectrum in (x for x in report.spectra if x.picture is not None and x.result.rows):
        from vlang.formats.pictures import pseudospectra

        path = str(spectrum.picture)
        output.write(path, pseudospectra(spectrum.result, Path(path).suffix))
        print(f"spectrum {spectrum.result.name}: wrote {path}", file=sys.stderr)
    for page in report.pages:
        for path, word in ((page.path + SUFFIXES[word], word) for word in page.formats if page.path is not None):
            output.write(path, PAGES[word](page))
            print(f"report {page.name}: wrote {path}", file=sys.stderr)


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
}


def _data_problem(problem: Problem) -> Diagnostic:
    constructor = DATA_PROBLEMS[problem.kind]
    diagnostic: Diagnostic = constructor(problem.span, *problem.details)  # type: ignore[operator]
    return diagnostic


def _say(diagnostic: Diagnostic, source: Source | None) -> None:
    print(d.render(diagnostic, source), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
