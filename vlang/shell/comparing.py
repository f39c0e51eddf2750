"""Two runs beside each other, and baselines: vrun diff, vrun baseline."""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from vlang.formats.markdown import escape
from vlang.known import VERDICTS, Compared, Known, collected, compared
from vlang.lower import baselines
from vlang.numbers import down, up
from vlang.shell import output
from vlang.shell.arguments import CallError
from vlang.text.printable import printable

#: What --fail-on fails on: a row that is missing on either side never passes.
FAILS = {
    "worse": frozenset({"worse", "proved worse", "vanished", "appeared"}),
    "proved-worse": frozenset({"proved worse", "vanished", "appeared"}),
}
#: Lines of a table on a terminal; a Markdown comment holds all that are not the same.
MOST_LINES = 60


def diff(args: argparse.Namespace) -> int:
    """0, or 1 where --fail-on says so. Raises SpecError or CallError."""
    if len(args.files) != 2:
        raise CallError("vrun diff takes two files: reports, journals or baselines")
    if args.markdown is not None:
        output.probe(args.markdown)
        output.reported(args.markdown)
    found = compared(*(baselines.read(path) for path in args.files))
    head = f"{printable(args.files[0])} -> {printable(args.files[1])}: {_counted(found)}"
    print(head)
    changed = [x for x in found if x.verdict != "the same"]
    for line in _aligned([_cells(x) for x in changed[:MOST_LINES]]):
        print(f"  {printable(line)}")
    if len(changed) > MOST_LINES:
        print(f"  ... and {len(changed) - MOST_LINES} more")
    if args.markdown is not None:
        output.write(args.markdown, _markdown(args.files, found, changed))
    failing = FAILS[args.fail_on] if args.fail_on is not None else frozenset()
    return int(any(x.verdict in failing for x in found))


def baseline(args: argparse.Namespace) -> int:
    """vrun baseline update FILE REPORT..., or vrun baseline show FILE. Raises SpecError or CallError."""
    action, *files = args.files
    if action == "show" and len(files) == 1:
        known = baselines.read(files[0])
        print(f"{printable(files[0])}: {len(known)} question{'s' * (len(known) != 1)}")
        for line in _aligned([(x.of, bracket(x), x.method or "") for x in known.values()]):
            print(f"  {printable(line)}")
        return 0
    if action != "update" or len(files) < 2:
        raise CallError("write vrun baseline update FILE REPORT..., or vrun baseline show FILE")
    path, *reports = files
    output.probe(path)
    if Path(path).exists() and not baselines.is_baseline(path):
        raise CallError(f"{path} is there already, and is no baseline; the file that is written comes first, then the reports")
    old = baselines.read(path) if Path(path).exists() else {}
    new = collected(x for report in reports for x in baselines.read(report).values())
    if not new:
        raise CallError(f"{', '.join(reports)}: there are no rows with a question; run the spec again with this release")
    output.write(path, baselines.written(new.values()))
    print(f"{printable(path)}: {len(new)} question{'s' * (len(new) != 1)}" + (f"; {_counted(compared(old, new))}" if old else ""))
    return 0


def bracket(x: Known | None) -> str:
    """What is known of a radius, rounded so that it claims no more."""
    if x is None:
        return "-"
    low = down(x.certified) if x.asked else "?"
    return f"[{low}, {'?' if math.isinf(x.attacked) else up(x.attacked)}]"


def _counted(found: Sequence[Compared]) -> str:
    counts = Counter(x.verdict for x in found)
    return ", ".join(f"{counts[v]} {v}" for v in VERDICTS if counts[v]) or "no rows"


def _cells(x: Compared) -> tuple[str, ...]:
    of = x.new or x.old
    assert of is not None
    return x.verdict, of.of, bracket(x.old), "->", bracket(x.new)


def _aligned(lines: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _markdown(files: Sequence[str], found: Sequence[Compared], changed: Sequence[Compared]) -> str:
    parts = [f"## {escape(files[0])} → {escape(files[1])}", _counted(found)]
    if changed:
        lines = [f"| {' | '.join(escape(printable(c)) for c in (x.verdict, (x.new or x.old).of, bracket(x.old), bracket(x.new)))} |" for x in changed]  # type: ignore[union-attr]
        parts.append("\n".join(["| | question | before | after |", "| --- | --- | --- | --- |", *lines]))
        parts.append("Brackets: certified, nearest attack. *Proved*: a certificate of one above an attack on the other.")
    return "\n\n".join(parts) + "\n"
