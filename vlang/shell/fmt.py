"""`vrun fmt FILE...`: specs in their one layout, written back, or shown."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from functools import partial
from pathlib import Path

from vlang.shell import output
from vlang.shell.commands import told
from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError
from vlang.text.layout import laid_out
from vlang.text.printable import printable
from vlang.text.read import STDIN
from vlang.text.source import Source


def fmt(args: argparse.Namespace) -> int:
    """0, or with --check 1 where a spec is laid out otherwise; 2 where one has syntax errors."""
    return max(told(path, partial(_one, args=args))[0] for path in args.files)


def _one(source: Source, args: argparse.Namespace) -> int:
    text, path = laid_out(source), printable(source.path)
    if args.diff:
        pieces = list(difflib.unified_diff(source.text.split("\n"), text.split("\n"), source.path, source.path, lineterm=""))
        raw = "".join(f"{x}\n" for x in pieces)  # a patch; to a terminal without what would move its cursor
        print("".join(f"{printable(x)}\n" for x in pieces) if sys.stdout.isatty() else raw, end="")
    elif source.path == STDIN and not args.check:
        print(text, end="")
    same = text == source.text
    if args.check:
        if not same and not args.diff:
            print(f"{path}: would be laid out otherwise")
        return int(not same)
    if not same and not args.diff and source.path != STDIN:
        _replace(Path(source.path).resolve(), text)  # what a link leads to
        print(f"{path}: laid out")
    return 0


def _replace(path: Path, text: str) -> None:
    mode = path.stat().st_mode
    if not mode & 0o222:
        raise SpecError(d.cannot_write(str(path), "permission denied"))
    output.write(str(path), text)
    os.chmod(path, mode)
