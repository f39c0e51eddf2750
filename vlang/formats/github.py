"""What does not hold as annotations of GitHub's workflow commands, failed gates first: of a step only the first ten are shown."""

from __future__ import annotations

from collections.abc import Sequence

from vlang.formats.findings import Finding, findings
from vlang.report import Outcome
from vlang.text.printable import printable

COMMANDS = {"error": "error", "warning": "warning", "note": "notice"}
#: Shown of a step; more are hidden without a word.
MOST = 10


def render(outcomes: Sequence[Outcome], several: bool = False) -> str:
    found = findings(outcomes)
    lines = [_command(f) for f in (found if len(found) <= MOST else found[: MOST - 1])]
    if len(found) > MOST:
        lines.append(f"::error title=rspec-verify::{len(found) - MOST + 1} more do not hold: see the job's summary, or the report")
    return "".join(f"{line}\n" for line in lines)


def _command(f: Finding) -> str:
    said = {"file": f.place, "line": str(f.line), "endLine": str(f.end_line)}
    if f.line == f.end_line:
        said |= {"col": str(f.column), "endColumn": str(f.end_column)}
    said["title"] = f.title
    return f"::{COMMANDS[f.level]} {','.join(f'{k}={_property(v)}' for k, v in said.items())}::{_data(f.message)}"


def _data(text: str) -> str:
    return printable(text.replace("\n", " ")).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
