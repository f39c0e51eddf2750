"""The command line: vrun [COMMAND] FILE... Results on stdout, diagnostics and progress on stderr.

Exit codes (if several: 3, then 2, 1, 4, 5): 0 every expectation held; 1 one failed; 2 the spec, a file or the call is wrong; 3 an
internal error; 4 inconclusive; 5 nothing was evaluated.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from vlang import __version__
from vlang.report import Outcome, Report
from vlang.shell import commands, output
from vlang.shell.arguments import COMMANDS, USAGE, CallError, override, parser, reports
from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError

#: If several specs end differently, the first of these is the exit code.
PRECEDENCE = (3, 2, 1, 4, 5, 0)
#: Libraries that only computing needs: those of the extra `run`.
COMPUTING = frozenset({"flint", "jinja2", "markupsafe", "matplotlib", "numpy", "rich", "safetensors", "scipy", "torch"})
#: Commands that are about no spec's plan: where they are, imported when they are called.
OTHERS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "explain": ("vlang.shell.explain", "explain"),
        "replay": ("vlang.shell.commands", "replay"),
        "describe": ("vlang.shell.describe", "describe"),
        "init": ("vlang.shell.init", "init"),
        "diff": ("vlang.shell.comparing", "diff"),
        "baseline": ("vlang.shell.comparing", "baseline"),
        "completion": ("vlang.shell.completion", "completion"),
        "lsp": ("vlang.editor", "lsp"),
    }
)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `vrun`; returns the exit code."""
    args_list = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in args_list
    try:
        return _main(args_list)
    except CallError as e:
        commands.say(d.bad_call(str(e)), None)
        return 2
    except SpecError as e:
        for x in e.diagnostics:
            commands.say(x, None)
        return 2
    except BrokenPipeError:  # the reader of check or plan stopped early
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as e:
        if debug:
            raise
        commands.say(d.cannot_write(str(e.filename or "the output"), e.strerror or str(e)), None)
        return 2
    except ModuleNotFoundError as e:
        if debug or e.name not in COMPUTING:
            raise
        commands.say(d.not_installed(e.name), None)
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
        raise CallError("no spec given; try: vrun FILE, vrun check FILE, vrun plan FILE, or vrun --help")
    if argv[0] in ("-h", "--help", "--version"):
        print(f"rspec-verify {__version__}" if argv[0] == "--version" else USAGE)
        return 0
    command = argv[0] if argv[0] in COMMANDS else "run"
    args = parser(command).parse_intermixed_args(argv[argv[0] in COMMANDS :])
    if command in OTHERS:
        module, name = OTHERS[command]
        handle: Callable[[argparse.Namespace], int] = getattr(importlib.import_module(module), name)
        return handle(args)
    args.merge = []
    if command == "merge":
        command, args.merge, args.files = "run", args.files, [args.spec]
        for folder in args.merge:
            if not (Path(folder) / "rows.jsonl").is_file():
                raise CallError(f"there is no journal in {folder}")
    _check_files(args.files)
    args.files = [x for path in args.files for x in _specs(path)]
    if command == "fmt":
        from vlang.shell.fmt import fmt

        return fmt(args)
    overrides = dict(override(x) for x in args.param)
    if command == "watch":
        from vlang.shell.watch import watch

        return watch(args.files, overrides, argv[1:])
    if command == "plan":
        codes = [commands.told(path, lambda source: commands.plan(source, overrides, args.query, args.json, args.journal))[0] for path in args.files]
        return next(c for c in PRECEDENCE if c in codes)
    whole = reports(args)
    for path in whole:
        output.probe(path)
        output.reported(path)
    if command == "run":
        _folders(args)
    outcomes: list[Outcome] = []
    read: set[str] = set()

    def write() -> None:
        if not whole:
            return
        from vlang.formats import FORMATS

        ran = any(o.report is not None for o in outcomes)
        for path, word in whole.items():
            if path != "-" and not output.is_kept(path, read) and (ran or path != getattr(args, "json", None)):
                output.write(path, FORMATS[word](outcomes, len(args.files) > 1))

    def one(path: str) -> int:
        place, before = output.place(path), len(outcomes)

        def keep(report: Report) -> None:
            """After every spec, so that what ends the run later does not take with it what was computed."""
            outcomes.append(Outcome(place, report))
            write()

        if command in ("check", "lint"):
            of_spec = commands.check if command == "check" else commands.lint
            code, problems = commands.told(path, lambda source: of_spec(source, overrides, args.query, whole, read))
        else:
            code, problems = commands.told(path, lambda source: commands.run(source, overrides, args, whole, read, keep))
        if len(outcomes) == before:
            if problems:  # which files it reads is not known: all that it mentions
                read.update(str(Path(x).resolve()) for x in output.mentioned(path, whole))
            outcomes.append(Outcome(place, None, problems))
            write()
        return code

    codes = [one(path) for path in args.files]
    _told(outcomes, whole, len(args.files) > 1)
    return next(c for c in PRECEDENCE if c in codes)


def _folders(args: argparse.Namespace) -> None:
    """Make the folders of what is written beside reports."""
    for option in ("certificates", "witnesses"):
        folder = getattr(args, option)
        if folder is not None:
            if len(args.files) > 1:  # queries of two specs may have one name
                raise CallError(f"--{option} takes one spec at a time, so that no file overwrites another")
            output.folder(folder)


def _told(outcomes: Sequence[Outcome], whole: Mapping[str, str], several: bool) -> None:
    """What standard output is asked for, and what a job of GitHub's actions is told by itself."""
    word, by_itself = whole.get("-"), os.environ.get("GITHUB_ACTIONS") == "true"
    if word is None and not by_itself:
        return
    from vlang.formats import FORMATS

    if word is not None and (word != "json" or any(o.report is not None or not o.problems for o in outcomes)):
        output.write("-", FORMATS[word](outcomes, several))
    if by_itself:
        if word is None:
            output.write("-", FORMATS["github"](outcomes, several))
        summary = os.environ.get("GITHUB_STEP_SUMMARY")
        if summary:
            output.append(summary, FORMATS["summary"](outcomes, several))


def _specs(path: str) -> list[str]:
    """The specs in a folder, at any depth; a file is itself."""
    if not Path(path).is_dir():
        return [path]
    found = sorted(str(x) for x in Path(path).rglob("*.rspec") if x.name != ".rspec" and x.is_file())
    if not found:
        raise CallError(f"there is no .rspec file in the folder '{path}'")
    return found


def _check_files(paths: Sequence[str]) -> None:
    """A path that is a mistyped or a late command: said before hours go into the other files."""
    for path in (x for x in paths if not Path(x).suffix and not Path(x).exists()):
        meant = d.nearest(path, COMMANDS)
        if meant is not None:
            raise CallError(f"there is no file '{path}'; did you mean vrun {meant} FILE...?")


if __name__ == "__main__":
    sys.exit(main())
