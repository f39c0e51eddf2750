"""A run as Markdown for the page of a pull request or a job: the verdict, what does not hold, a line a query."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from vlang.formats.findings import findings, gates, named_rows
from vlang.formats.markdown import escape
from vlang.numbers import ROUNDED
from vlang.report import JudgedQuery, Outcome
from vlang.text.printable import shown
from vlang.words.queries import QUERIES

MARKS = {"passed": "✅", "failed": "❌", "unknown": "❔", "warned": "⚠️", "inconclusive": "❔", "empty": "❔"}
#: What GitHub takes of a step's summary is 1 MiB; what is behind this many characters is left out, and said.
MOST = 900_000


def render(outcomes: Sequence[Outcome], several: bool = False) -> str:
    parts = [part for outcome in outcomes for part in _spec(outcome)]
    text = "\n\n".join(parts) + "\n"
    if len(text) <= MOST:
        return text
    return text[:MOST].rsplit("\n", 1)[0] + f"\n\n{len(findings(outcomes))} findings in all; the rest is in the report\n"


def _spec(outcome: Outcome) -> list[str]:
    outcome = shown(outcome)
    report = outcome.report
    verdict = "error" if report is None else report.verdict
    parts = [f"## {MARKS.get(verdict, '❌')} {escape(outcome.place)}: {verdict}"]
    if outcome.problems:
        parts.append("\n".join(_problem(outcome, k) for k in range(len(outcome.problems))))
    if report is None:
        return parts
    lines = []
    for gate in gates(report):
        g = gate.result
        rows = named_rows(gate) if g.verdict != "passed" else ""
        because = f"<br>because {escape(g.because)}" if g.because else ""
        lines.append(f"| {MARKS[g.verdict]} | {escape(gate.about)} | {escape(f'{g.kind} {g.text}')}{because} | {escape(g.actual)} | {escape(rows)} |")
    if lines:
        parts.append("\n".join(["| | query | gate | found | rows |", "| --- | --- | --- | --- | --- |", *lines]))
    if report.queries:
        head = ["| query | method | rows | verdicts | least | seconds |", "| --- | --- | ---: | --- | ---: | ---: |"]
        parts.append("\n".join([*head, *(_query(q) for q in report.queries)]))
    return parts


def _problem(outcome: Outcome, k: int) -> str:
    x = outcome.problems[k]
    where = "" if x.span is None else f"{x.span.line}:{x.span.column} "
    return f"* {where}**{x.code}** {escape(x.message)}" + (f" ({escape(x.hint)})" if x.hint else "")


def _query(query: JudgedQuery) -> str:
    result, word = query.result, QUERIES[query.result.kind]
    counts = ", ".join(f"{n} {verdict}" for verdict, n in sorted(Counter(r.verdict for r in result.rows).items()))
    sizes = [r.size for r in result.rows if r.size is not None]
    least = ROUNDED[word.shown](min(sizes)) if sizes else ""
    return f"| {escape(result.name)} | {escape(query.method)} | {len(result.rows)} | {counts} | {least} | {result.seconds:.1f} |"
