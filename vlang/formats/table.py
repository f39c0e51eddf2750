"""The report for people: tables, a line of coloured words, expectations with what was asked and what was found.

One layout for terminals and pipes; off a terminal there is no colour and no box drawing.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from vlang.formats import PAGES
from vlang.formats.findings import named_rows
from vlang.formats.reading import read_as
from vlang.judge.join import frames_of_row
from vlang.numbers import ROUNDED, down, near, up
from vlang.plan import NetworkPlan
from vlang.report import Gate, GateResult, JudgedQuery, JudgedSpectrum, Page, Report
from vlang.results import AttackRow, BoundsRow, CertifiableRow, Row, SpectrumRow, VerifyRow, about_samples
from vlang.text.printable import shown
from vlang.words.matrices import QUANTITIES
from vlang.words.queries import QUERIES

#: Longer tables are shown by their summary and their most fragile rows.
MOST_ROWS = 24
SHOWN_OF_MANY = 8
MARKED = 3
#: From fragile to robust.
COLOURS = ("bold white on red3", "bold black on dark_orange", "black on gold1", "black on dark_olive_green3", "black on chartreuse3")
GATE_STYLE = {"passed": "green", "failed": "bold red", "unknown": "yellow", "warned": "yellow"}
GATE_MARK = {"passed": "✓", "failed": "✗", "unknown": "?", "warned": "!"}
VERDICT_STYLE = {"passed": "bold green", "failed": "bold red", "inconclusive": "bold yellow", "empty": "bold yellow"}
ROW_STYLE = {"certified": "green", "falsified": "red", "unknown": "yellow", "estimate": "cyan"}


class Output(Console):
    """A console whose reader may stop early; the verdict still stands."""

    def on_broken_pipe(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def console(color: str = "auto") -> Console:
    """Standard output: rich on a terminal, plain text in a pipe. color: auto, or always or never whatever it is."""
    if color == "always":
        return Output(highlight=False, markup=False, force_terminal=True)
    output = Output(highlight=False, markup=False, no_color=color == "never" or None)
    return output if output.is_terminal else Output(highlight=False, markup=False, no_color=True, width=160, soft_wrap=True)


def show(report: Report, console: Console) -> None:
    """The whole of a report."""
    begin([n.plan for n in report.networks], console)
    for query in report.queries:
        show_query(query, console)
    end(report, console)


def begin(networks: Sequence[NetworkPlan], console: Console) -> None:
    """How each network was read."""
    for network in networks:
        console.print(Text(read_as(shown(network)), "dim"))
    if networks:
        console.print()


def show_query(query: JudgedQuery, console: Console) -> None:
    """One query's rows and expectations."""
    console.print(_query(shown(query), not console.is_terminal))


def end(report: Report, console: Console) -> None:
    """What comes behind the queries: matrices, reports, the verdict."""
    report, plain = shown(report), not console.is_terminal
    for matrices in report.spectra:
        console.print(_spectrum(matrices, plain))
    for page in report.pages:
        console.print(_page(page, plain))
    seconds = sum(q.result.seconds for q in report.queries) + sum(x.result.seconds for x in report.spectra)
    e = report.engine
    verdict = Text(report.verdict.upper(), VERDICT_STYLE[report.verdict])
    late = [q.result.name for q in report.queries if not all(r.complete for r in q.result.rows)]
    late += [x.result.name for x in report.spectra if not x.result.complete]
    if late:
        verdict.append(f"  (cut short: {', '.join(late)})")
    if report.params:
        console.print(Text("params " + ", ".join(f"{k} = {v}" for k, v in report.params), "dim"))
    console.print(Text.assemble(verdict, f"  {report.path}  ({seconds:.1f} s, {e.device}, {e.dtype}, rspec-verify {e.version}, torch {e.torch})"))


def _quantity(row: SpectrumRow, name: str) -> str:
    """A matrix' quantity as shown; empty for one that it has not."""
    value, digits = getattr(row, name), QUANTITIES[name].digits
    if value is None:
        return ""
    if isinstance(value, tuple):
        text = _between(*value)
        return text + f" (power {row.growth_at})" if name == "growth" and not math.isinf(value[0]) else text
    return near(value, digits)


def _between(low: float, high: float) -> str:
    if high > low:
        return f"{down(low)} or more" if math.isinf(high) else f"{down(low)} to {up(high)}"
    return f"{low:.6g}"


def _spectrum(found: JudgedSpectrum, plain: bool) -> RenderableType:
    """A column a matrix, a line a quantity."""
    result = found.result
    many = f"{len(result.rows)} matri{'x' if len(result.rows) == 1 else 'ces'}"
    parts: list[RenderableType] = [Text.assemble(("spectrum", "dim"), " ", (result.name, "bold"), f"  {many}, {result.seconds:.2f} s, not proved")]
    table = Table(box=None if plain else box.SIMPLE_HEAD, pad_edge=not plain, show_edge=False)
    table.add_column("", no_wrap=True)
    for row in result.rows:
        table.add_column(Text("\n".join([row.of, *(f"{k.split('.')[-1]} = {v}" for k, v in row.swept if k != "of")])), justify="right")
    table.add_row("size", *(str(r.size) for r in result.rows))
    for name, word in QUANTITIES.items():
        cells = [_quantity(r, name) for r in result.rows]
        if word.title is not None and any(cells):
            table.add_row(word.title, *cells)
    found_at = [{p.eps: p for p in r.pseudospectra} for r in result.rows]
    for eps in sorted({e for at in found_at for e in at}):
        for what in ("radius", "abscissa"):
            table.add_row(f"pseudospectral {what}, eps = {eps:g}", *(f"{getattr(at[eps], what):.6g}" if eps in at else "" for at in found_at))
    parts.append(table)
    return Group(*parts, *(_gate(g) for g in found.expectations), Text(""))


def _page(page: Page, plain: bool) -> RenderableType:
    if page.path is None:
        return Text("\n".join(PAGES[word](page) for word in page.formats), no_wrap=True, overflow="ignore")
    table = Table(box=None if plain else box.SIMPLE_HEAD, pad_edge=not plain, show_edge=False)
    for i, name in enumerate(page.table.head):
        table.add_column(Text(name), justify="left" if i < page.table.labels else "right")
    for line in page.table.lines:
        table.add_row(*map(Text, line))
    return Group(Text.assemble(("report", "dim"), " ", (page.name, "bold")), table, *(_gate(g) for g in page.expectations), Text(""))


def _query(query: JudgedQuery, plain: bool) -> RenderableType:
    result = query.result
    many = f"{len(result.rows)} row" + ("" if len(result.rows) == 1 else "s")
    used = Counter(r.method for r in result.rows if isinstance(r, CertifiableRow) and r.method is not None)
    certified_by = f" ({', '.join(f'{m} {n}' for m, n in sorted(used.items()))})" if used else ""
    holds = "" if query.semantics == "real" else f", {query.semantics}"
    title = Text.assemble((result.kind, "dim"), " ", (result.name, "bold"), f"  {query.method}{certified_by}{holds}, {many}, {result.seconds:.2f} s")
    parts: list[RenderableType] = [title]
    words = _words(result.rows)
    if words is not None:
        parts.append(words)
    if result.rows:
        rows = list(result.rows)
        if len(rows) > MOST_ROWS:
            parts.append(_summary(rows, result.kind, plain))
            rows = sorted(rows, key=_fragility)[:SHOWN_OF_MANY]
            parts.append(Text(f"the {len(rows)} most fragile of {len(result.rows)} rows:", "dim"))
        parts.append(_table(rows, _marked(result.rows), result.kind, plain, any(r.sample for r in result.rows)))
    parts += [Text(f"  {x}", "yellow") for x in about_samples(result)]
    for g in query.expectations:
        parts.append(_gate(g))
        named = named_rows(Gate(result.name, g, rows=result.rows, kind=result.kind)) if len(result.rows) > 1 else ""
        parts += [Text(f"      {named}", "dim")] if named else []
    parts.append(Text(""))
    return Group(*parts)


def _fragility(row: Row) -> float:
    return -math.inf if row.size is None else row.size


def _marked(rows: Sequence[Row]) -> frozenset[int]:
    """The rows of the most sensitive words (by identity)."""
    single = [r for r in rows if r.size is not None and r.tokens is not None and len(r.frames) == 1]
    if len(single) <= MARKED:
        return frozenset()
    return frozenset(id(r) for r in sorted(single, key=_fragility)[:MARKED])


def _words(rows: Sequence[Row]) -> Text | None:
    """The text itself, each word coloured by its radius, where every row is one word of it."""
    if len(rows) < 2 or any(isinstance(r, VerifyRow | BoundsRow) or r.size is None or r.tokens is None or len(r.frames) != 1 for r in rows):
        return None
    if [r.frames[0] for r in rows] != list(range(len(rows))):
        return None
    marked = _marked(rows)
    order = sorted(range(len(rows)), key=lambda i: _fragility(rows[i]))
    rank = {i: r for r, i in enumerate(order)}
    line = Text("  ")
    for i, row in enumerate(rows):
        assert row.tokens is not None
        colour = COLOURS[min(len(COLOURS) - 1, rank[i] * len(COLOURS) // len(rows))]
        star = "*" if id(row) in marked else ""
        line.append(f" {row.tokens[0]}{star} ", colour)
        line.append(" ")
    return line


def _table(rows: Sequence[Row], marked: frozenset[int], kind: str, plain: bool, samples: bool) -> Table:
    table = Table(box=None if plain else box.SIMPLE_HEAD, pad_edge=not plain, show_edge=False)
    swept = [name for name, _ in rows[0].swept]
    for name in swept:
        table.add_column(name.split(".")[-1], justify="right")
    if samples:
        table.add_column("sample", justify="right")
    steps = any(r.step is not None for r in rows)
    if steps:
        table.add_column("step", justify="right")
    table.add_column("label")
    table.add_column("target")
    table.add_column("frames")
    if "perturbation.norm" not in swept:
        table.add_column("norm", justify="right")
    column = QUERIES[kind].column
    most = max((r.size or 0.0 for r in rows), default=0.0)
    if column is not None:
        table.add_column(column, justify="right")
        table.add_column("")
    else:
        if "eps" not in swept:
            table.add_column("eps", justify="right")
        table.add_column("margin", justify="right")
        table.add_column("verdict" if kind == "verify" else "outputs")
    for row in rows:
        cells: list[RenderableType] = [Text(value) for _, value in row.swept]
        if samples:
            cells.append(str(row.sample))
        if steps:
            cells.append("" if row.step is None else str(row.step))
        cells += [_label(row), Text(str(row.target)), _frames(row, id(row) in marked)]
        if "perturbation.norm" not in swept:
            cells.append(_number(row.norm))
        if isinstance(row, VerifyRow | BoundsRow):
            if "eps" not in swept:
                cells.append(near(row.eps))
            cells += ["" if row.margin is None else down(row.margin), _outputs(row) if isinstance(row, BoundsRow) else _verdict(row)]
        else:
            style = COLOURS[0] if id(row) in marked else "bold"
            cells.append(Text("" if row.size is None else ROUNDED[QUERIES[kind].shown](row.size), style))
            cells.append(_remark(row, row.size, most))
        table.add_row(*cells)
    return table


def _label(row: Row) -> Text:
    if row.correct:
        return Text(str(row.label))
    return Text.assemble(str(row.label), (f" (predicted {row.predicted})", "red"))


def _frames(row: Row, marked: bool) -> Text:
    return Text(frames_of_row(row) + (" *" if marked else ""), "bold" if marked else "")


def _number(value: float | str | None) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.6g}"


def _outputs(row: BoundsRow) -> Text:
    if row.lower is None or row.upper is None:
        return Text(row.reason or "", "yellow")
    return Text("  ".join(f"[{down(lo, 4)}, {up(hi, 4)}]" for lo, hi in zip(row.lower, row.upper, strict=True)))


def _verdict(row: Row) -> Text:
    text = Text(row.verdict, ROW_STYLE[row.verdict])
    return text if row.reason is None else Text.assemble(text, (f"  {row.reason}", "dim"))


def _bar(value: float, most: float, width: int = 24) -> Text:
    return Text("█" * round(width * value / most) if most else "", "cyan")


def _remark(row: Row, size: float | None, most: float) -> Text:
    """What stands beside a distance."""
    if row.reason is not None or size is None:
        return Text(row.reason or "", "yellow")
    if isinstance(row, AttackRow) and row.replaced is not None and row.tokens is not None:
        return Text(", ".join(f"{a} -> {b}" for a, b in zip(row.tokens, row.replaced, strict=True) if b), "red")
    return _bar(size, most)


def _summary(rows: Sequence[Row], kind: str, plain: bool) -> Table:
    """One line per sweep point."""
    table = Table(box=None if plain else box.SIMPLE_HEAD, pad_edge=not plain, show_edge=False)
    groups: dict[tuple[tuple[str, str], ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(row.swept, []).append(row)
    for name, _ in rows[0].swept:
        table.add_column(name.split(".")[-1], justify="right")
    word = QUERIES[kind]
    columns: tuple[str, ...] = ("certified", "falsified", "unknown")
    if word.column is not None:
        columns = ("min", "median", "mean", "max", word.counts)
    for name in ("rows", *columns):
        table.add_column(name, justify="right")
    for swept, group in groups.items():
        cells: list[RenderableType] = [*(Text(v) for _, v in swept), str(len(group))]
        if word.column is not None:
            sizes = [word.missing if r.size is None else r.size for r in group]
            cells += [ROUNDED[word.shown](f(sizes)) for f in (min, statistics.median, statistics.fmean, max)]
            cells.append(f"{sum(r.verdict == word.counts and r.correct for r in group) / len(group):.0%}")
        else:
            cells += [f"{sum(r.verdict == c for r in group)}" for c in columns]
        table.add_row(*cells)
    return table


def _gate(gate: GateResult) -> Text:
    style = GATE_STYLE[gate.verdict]
    text = Text.assemble("  ", (f"{GATE_MARK[gate.verdict]} {gate.kind} {gate.text}", style), f"  found {gate.actual}")
    if gate.verdict in ("failed", "unknown"):
        text.append(f"  [{gate.verdict}, line {gate.line}]", style)
    if gate.because:
        text.append(f"\n      because {gate.because}", "dim")
    return text
