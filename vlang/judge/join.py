"""Rows of several queries about one question, side by side; what a report's cells and gates are about."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from vlang.expression import fields
from vlang.judge.values import Answers, Interval, as_float, evaluate, of_matrix, of_row
from vlang.lower.reports import Question, number, question
from vlang.numbers import ROUNDED, down, near, up
from vlang.plan import CellPlan, QueryPlan, Reported, ReportPlan, SpectrumQuery
from vlang.report import Table
from vlang.results import AttackRow, QueryResult, Row, SpectrumResult, SpectrumRow, frames_in_words
from vlang.typed.signatures import ATTRIBUTES
from vlang.typed.sources import REPORTED
from vlang.words.queries import CORRECT, QUERIES

#: Queries by name, with what they found.
Answered = Mapping[str, tuple[QueryPlan | SpectrumQuery, QueryResult | SpectrumResult]]


@dataclass(frozen=True)
class Record:
    """One question and what each query answered. attributes: as shown. kinds: of the queries, by name. matrices: of the question's network.

    numbers: which row of each query stands here: joined with several of another query it counts once.
    """

    question: Question
    attributes: Mapping[str, str]
    swept: Mapping[str, str]
    rows: Mapping[str, Row]
    kinds: Mapping[str, str]
    numbers: Mapping[str, int]
    reported: Mapping[str, float] = field(default_factory=dict)
    matrices: Mapping[str, SpectrumRow] = field(default_factory=dict)

    @property
    def answers(self) -> Answers:
        found: dict[str, Interval] = {}
        for name, matrix in self.matrices.items():
            found |= {f"{name}.{quantity}": value for quantity, value in of_matrix(matrix).items()}
        for name, row in self.rows.items():
            found |= {f"{name}.{field}": value for field, value in of_row(row).items()}
        return Answers(found | {f"{REPORTED}.{name}": (value, value) for name, value in self.reported.items()}, self.numbers)


def records(plan: ReportPlan, queries: Answered) -> list[Record]:
    """The natural join of the queries' rows on what they ask and on what they sweep alike; a row without a counterpart stands alone.

    Matrices come last, each beside every row about its network.
    """
    joined: list[Record] = []
    for name, sources in sorted(plan.sources.items(), key=lambda x: isinstance(queries[x[1][0]][0], SpectrumQuery)):
        new: list[Record] = []
        matrices: list[Record] = []
        for query, result in (queries[x] for x in sources):
            first = len(new) + len(matrices)
            if isinstance(query, SpectrumQuery) and isinstance(result, SpectrumResult):
                matrices += _of_spectrum(name, query, result, first)
            elif isinstance(query, QueryPlan) and isinstance(result, QueryResult):
                new += _of_query(name, query, result, first)
        if matrices:
            joined = _beside(joined, matrices)
            continue
        shared = {k for r in joined for k in r.swept} & {k for r in new for k in r.swept}
        waiting: dict[tuple[object, ...], list[Record]] = {}
        for record in new:
            waiting.setdefault(_key(record, shared), []).append(record)
        met: set[tuple[object, ...]] = set()
        merged: list[Record] = []
        for record in joined:
            partners = waiting.get(_key(record, shared), [])
            met |= {_key(record, shared)} if partners else set()
            merged += [_merged(record, other) for other in partners] or [record]
        joined = merged + [r for key, group in waiting.items() if key not in met for r in group]
    return [replace(r, reported=_figures(plan.reported, r)) for r in joined] if plan.reported else joined


def _beside(joined: list[Record], matrices: list[Record]) -> list[Record]:
    """Every record with each matrix of its network that agrees with what both sweep; matrices of other networks alone."""
    found: list[Record] = []
    met: set[int] = set()
    for record in joined:
        partners = [
            m for m in matrices if m.question[0] == record.question[0] and all(record.swept.get(k, v) == v for k, v in m.swept.items())
        ]  # fmt: skip
        met |= {id(m) for m in partners}
        found += [
            replace(
                record,
                attributes={**m.attributes, **record.attributes},
                swept={**record.swept, **m.swept},
                kinds={**record.kinds, **m.kinds},
                numbers={**record.numbers, **m.numbers},
                matrices={**record.matrices, **m.matrices},
            )
            for m in partners
        ] or [record]
    return found + [m for m in matrices if id(m) not in met]


def _of_spectrum(name: str, plan: SpectrumQuery, result: SpectrumResult, first: int) -> Iterator[Record]:
    """first: the number of the first row."""
    for i, (variant, row) in enumerate(zip(plan.variants, result.rows, strict=False), first):  # an interrupted run has fewer rows
        attributes = {"network": variant.network.name, "matrix": variant.of}
        yield Record(question(variant), attributes, dict(row.swept), {}, {name: plan.kind}, {name: i}, matrices={name: row})


def _of_query(name: str, plan: QueryPlan, result: QueryResult, first: int) -> Iterator[Record]:
    """first: the number of the first row."""
    variants = {v.swept: v for v in plan.variants}
    for i, row in enumerate(result.rows, first):
        variant = variants[row.swept]
        attributes = {
            "network": variant.network.name,
            "sample": str(row.sample),
            "step": "" if row.step is None else str(row.step),
            "label": str(row.label),
            "target": str(row.target),
            "frames": frames_of_row(row),
            "norm": str(row.norm),
        }
        asked = (*question(variant), row.sample, row.step, row.target, row.frames)
        yield Record(asked, attributes, dict(row.swept), {name: row}, {name: plan.kind}, {name: i})


def _key(record: Record, shared: Iterable[str]) -> tuple[object, ...]:
    return (record.question, *(record.swept.get(k) for k in sorted(shared)))


def _merged(a: Record, b: Record) -> Record:
    swept = {**a.swept, **b.swept}
    return Record(a.question, a.attributes, swept, {**a.rows, **b.rows}, {**a.kinds, **b.kinds}, {**a.numbers, **b.numbers})


def frames_of_row(row: Row) -> str:
    return frames_in_words(row.frames, row.tokens, row.at_most)


def value_of(record: Record, attribute: str) -> str:
    return record.swept[attribute] if attribute in record.swept else record.attributes.get(attribute, "")


def _figures(reported: Reported, record: Record) -> dict[str, float]:
    """The numbers of the first line whose attributes are all those of the record."""
    attributes = {i: value_of(record, name) for i, name in enumerate(reported.columns) if name in record.swept or name in record.attributes}
    line = next((x for x in reported.rows if all(_same(x[i], value) for i, value in attributes.items())), None)
    if line is None or not attributes:
        return {}
    numbers = {name: number(x) for i, (name, x) in enumerate(zip(reported.columns, line, strict=True)) if i not in attributes}
    return {name: x for name, x in numbers.items() if x is not None}


def _same(a: str, b: str) -> bool:
    """One text, or one number written twice."""
    return a == b or (number(a) is not None and number(a) == number(b))


def pivot(plan: ReportPlan, found: Sequence[Record]) -> Table:
    """A line for each combination of the row attributes, the cells for each of the column attributes."""
    lines: dict[tuple[str, ...], dict[tuple[str, ...], list[Record]]] = {}
    columns: dict[tuple[str, ...], None] = {}
    for record in found:
        line, column = (tuple(value_of(record, a) for a in names) for names in (plan.rows, plan.cols))
        lines.setdefault(line, {}).setdefault(column, []).append(record)
        columns[column] = None
    heads = [" ".join([*(f"{a.split('.')[-1]} {v}" for a, v in zip(plan.cols, c, strict=True)), cell.text]) for c in columns for cell in plan.cells]
    body = tuple((*line, *(shown(cell, groups.get(c, ())) for c in columns for cell in plan.cells)) for line, groups in lines.items())
    return Table((*(a.split(".")[-1] for a in plan.rows), *heads), body, len(plan.rows))


def shown(cell: CellPlan, group: Sequence[Record]) -> str:
    """A cell's value over the records that have all it mentions, rounded so that it claims no more than is known."""
    names = {f.name for f in fields(cell.value) if "." in f.name}
    whole = [a for a in (r.answers for r in group) if names <= a.fields.keys()]
    if not whole:
        return ""
    low, high = evaluate(cell.value, whole)
    if isinstance(low, bool) or isinstance(high, bool):
        return str(low).lower() if low == high else "unknown"
    # A number made of lower bounds alone is rounded down, of upper ones alone up; whether an answer is correct is neither.
    about_ = {n.split(".")[0] for n in names if not n.endswith(f".{CORRECT}")}
    kinds = {r.kinds.get(n, REPORTED) for r in group for n in about_}
    ways = {QUERIES[k].shown if k in QUERIES else "near" for k in kinds}
    text = (ROUNDED[ways.pop()] if len(ways) == 1 else near)(as_float(low), 4)
    if low == high:
        return text
    least, most = down(as_float(low), 4), up(as_float(high), 4)
    return "undecided" if low == -math.inf else f"{least} or more" if high == math.inf else f"{least} to {most}"


def listing(plan: ReportPlan, found: Sequence[Record], rounded: bool = False) -> Table:
    """Every record: its attributes, and every query's numbers as they are; or rounded, under names for people."""
    swept = list(dict.fromkeys(k for r in found for k in r.swept))
    fixed = [a for a in ATTRIBUTES if a not in swept and f"perturbation.{a}" not in swept and any(value_of(r, a) for r in found)]
    answers = [r.answers.fields for r in found]
    names = list(dict.fromkeys(k for known in answers for k in known))
    kinds = {name: kind for r in found for name, kind in r.kinds.items()}
    body = []
    for record, known in zip(found, answers, strict=True):
        numbers = []
        for name in names:
            low, high = known.get(name, ("", ""))
            text = _rounded(name, low, kinds) if rounded else _plain(low)
            numbers.append(text if low == high else f"{text} or more")
        body.append((*(value_of(record, a) for a in (*swept, *fixed)), *numbers, *(_remarks(record))))
    if not rounded:
        return Table((*swept, *fixed, *names, "remarks"), tuple(body), len(swept) + len(fixed))
    heads = (*(a.rpartition(".")[2] for a in swept), *fixed, *_titled(names, kinds), "remarks")
    remarked = any(line[-1] for line in body)
    return Table(heads if remarked else heads[:-1], tuple(line if remarked else line[:-1] for line in body), len(swept) + len(fixed))


def _titled(names: Sequence[str], kinds: Mapping[str, str]) -> list[str]:
    """Fields for people: what a query's number claims, and whose a field is where several have it."""
    told = []
    for source, _, name in (x.partition(".") for x in names):
        word = QUERIES.get(kinds.get(source, ""))
        told.append((word.claim if word is not None and name == word.number else name.replace("_", " "), source))
    titles = [title for title, _ in told]
    return [title if titles.count(title) == 1 else f"{title} ({source})" for title, source in told]


def _rounded(name: str, value: object, kinds: Mapping[str, str]) -> str:
    source, _, what = name.partition(".")
    word = QUERIES.get(kinds.get(source, ""))
    if not isinstance(value, float):
        return _plain(value)
    return ROUNDED[word.shown if word is not None and what == word.number else "near"](value)


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, float) else str(value)


def _remarks(record: Record) -> tuple[str]:
    parts = []
    for name, row in record.rows.items():
        if row.reason:
            parts.append(f"{name}: {row.reason}")
        if isinstance(row, AttackRow) and row.replaced is not None and row.tokens is not None:
            parts.append(f"{name}: " + ", ".join(f"{a} -> {b}" for a, b in zip(row.tokens, row.replaced, strict=True) if b))
    return ("; ".join(dict.fromkeys(parts)),)
