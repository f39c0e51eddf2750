"""The command line: vrun [run | check | plan | replay | describe] FILE... Results on stdout, diagnostics and progress on stderr.

Exit codes (if several: 3, then 2, 1, 4, 5): 0 every expectation held; 1 one failed; 2 the spec, a file or the call is wrong; 3 an
internal error; 4 inconclusive; 5 nothing was evaluated.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from vlang import __version__
from vlang.report import Report
from vlang.shell import commands, output
from vlang.shell.arguments import COMMANDS, USAGE, CallError, override, parser
from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError
from vlang.words.formats import RUNS

#: If several specs end differently, the first of these is the exit code.
PRECEDENCE = (3, 2, 1, 4, 5, 0)


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
    if command == "replay":
        return commands.replay(args)
    if command == "describe":
        from vlang.shell.describe import describe

        return describe(args)
    _check_files(args.files)
    overrides = dict(override(x) for x in args.param)
    if command != "run":
        of_spec = commands.check if command == "check" else commands.plan
        codes = [commands.told(path, lambda source: of_spec(source, overrides, args.query)) for path in args.files]
        return next(c for c in PRECEDENCE if c in codes)
    whole = {word: path for word in RUNS if (path := getattr(args, word)) is not None}
    for path in whole.values():
        output.probe(path)
    for option in ("certificates", "witnesses"):
        folder = getattr(args, option)
        if folder is not None:
            if len(args.files) > 1:  # queries of two specs may have one name
                raise CallError(f"--{option} takes one spec at a time, so that no file overwrites another")
            output.folder(folder)
    if args.journal is not None:
        output.folder(args.journal)
    reports: list[Report] = []

    def keep(report: Report) -> None:
        """After every spec, so that what ends the run later does not take with it what was computed."""
        from vlang.formats import FORMATS

        reports.append(report)
        for word, path in whole.items():
            if path != "-":
                output.write(path, FORMATS[word](reports, len(args.files) > 1))

    codes = [commands.told(path, lambda source: commands.run(source, overrides, args, keep)) for path in args.files]
    if reports and "-" in whole.values():
        from vlang.formats import FORMATS

        for word in (w for w, path in whole.items() if path == "-"):
            output.write("-", FORMATS[word](reports, len(args.files) > 1))
    return next(c for c in PRECEDENCE if c in codes)


def _check_files(paths: Sequence[str]) -> None:
    """A path that is a mistyped or a late command: said before hours go into the other files."""
    for path in (x for x in paths if not Path(x).suffix and not Path(x).exists()):
        meant = d.nearest(path, COMMANDS)
        if meant is not None:
            raise CallError(f"there is no file '{path}'; did you mean vrun {meant} FILE...?")


if __name__ == "__main__":
    sys.exit(main())
