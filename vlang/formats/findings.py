"""What other tools are told about: gates that do not hold, and errors of specs, each with a place and a name that stays."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from vlang.judge.join import frames_of_row
from vlang.numbers import ROUNDED
from vlang.report import Gate, Outcome, Report, gates_of
from vlang.results import Row
from vlang.words.queries import QUERIES

Level = Literal["error", "warning", "note"]
#: Rows that are named of a gate.
MOST_NAMED = 8
#: Rules of gates: the level and what they say.
RULES: dict[str, tuple[Level, str]] = {
    "gate-failed": ("error", "An expectation does not hold"),
    "gate-undecided": ("error", "An expectation is undecided"),
    "gate-warned": ("warning", "A warning's condition does not hold"),
}
_OF_VERDICT = {"failed": "gate-failed", "unknown": "gate-undecided", "warned": "gate-warned"}


@dataclass(frozen=True)
class Finding:
    """rule: a key of RULES, or an error's code. about: the query or report. fingerprint: the same as long as rule, query and gate are.

    line, column, end_line, end_column: from 1, the end exclusive.
    """

    rule: str
    level: Level
    place: str
    line: int
    column: int
    end_line: int
    end_column: int
    about: str
    title: str
    message: str
    hint: str = ""
    fingerprint: str = ""


def gates(report: Report) -> Iterator[Gate]:
    """Every gate, in the spec's order of what they are about."""
    yield from gates_of(report.queries, report.spectra)
    for page in report.pages:
        yield from (Gate(page.name, g) for g in page.expectations)


def findings(outcomes: Sequence[Outcome]) -> list[Finding]:
    """What does not hold, failed gates first, then in the order of the specs."""
    every = [f for outcome in outcomes for f in (*_problems(outcome), *_failed(outcome))]
    seen: Counter[tuple[str, ...]] = Counter()
    named = []
    for f in every:
        key = (f.place, f.rule, f.about, f.title)
        ordinal = str(seen[key])
        seen[key] += 1
        named.append(replace(f, fingerprint=hashlib.sha256("\0".join([*key, ordinal]).encode("utf-8", "backslashreplace")).hexdigest()[:32]))
    order = {"gate-failed": 0, "gate-undecided": 2, "gate-warned": 3}
    return sorted(named, key=lambda f: order.get(f.rule, 1))


def _problems(outcome: Outcome) -> Iterator[Finding]:
    for x in outcome.problems:
        line, column, length = (1, 1, 1) if x.span is None else (x.span.line, x.span.column, max(1, x.span.length))
        yield Finding(x.code, level_of(x.code), outcome.place, line, column, line, column + length, "", f"{x.code}: {x.message}", x.message, x.hint)


def _failed(outcome: Outcome) -> Iterator[Finding]:
    for gate in gates(outcome.report) if outcome.report is not None else ():
        g = gate.result
        rule = _OF_VERDICT.get(g.verdict)
        if rule is None:
            continue
        message = f"{gate.about}: {g.kind} {g.text}, found {g.actual}"
        message += f" (because {g.because})" if g.because else ""
        named = named_rows(gate)
        message += f"; {named}" if named else ""
        title = f"{g.kind} {g.text}"
        yield Finding(rule, RULES[rule][0], outcome.place, g.line, g.column, g.end_line, g.end_column, gate.about, title, message)


def named_rows(gate: Gate) -> str:
    """The rows that alone would not hold a gate, in words; empty where there are none to name."""
    wrong = [gate.rows[i] for i in gate.result.rows if i < len(gate.rows)]
    if not wrong:
        return ""
    more = f" and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
    rounded = ROUNDED["near" if gate.kind is None else QUERIES[gate.kind].shown]
    return f"{len(wrong)} of {len(gate.rows)} rows do not hold it: " + ", ".join(_row(r, rounded) for r in wrong[:MOST_NAMED]) + more


def _row(row: Row, rounded: Callable[[float], str]) -> str:
    said = [*(f"{k.split('.')[-1]} {v}" for k, v in row.swept), f"sample {row.sample}", *step_of(row), f"frames {frames_of_row(row)}"]
    said += [] if row.target == "any" else [f"target {row.target}"]
    number = "" if row.size is None else f" ({rounded(row.size)})"
    return " ".join(said) + number


def step_of(row: Row) -> list[str]:
    """Which output a row is about, in words, if it has one of several."""
    return [] if row.step is None else [f"step {row.step}"]


def level_of(rule: str) -> Level:
    return RULES[rule][0] if rule in RULES else "warning" if rule.startswith("L") else "error"


def text_of(rule: str) -> str:
    return RULES[rule][1] if rule in RULES else f"{'Warning' if rule.startswith('L') else 'Error'} {rule} of a spec"
