"""The values of conditions and cells over rows, each as the interval of what it may be.

Over unfinished rows a condition is decided only if it has one value whatever their final answers would be (Kleene's logic, False < True).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType

from vlang.expression import Aggregated, Binary, Constant, Expression, Field, Unary, about, fields, written
from vlang.known import Known
from vlang.numbers import ROUNDED
from vlang.results import AttackRow, BoundsRow, EstimateRow, RadiusRow, Row, SpectrumRow, VerifyRow
from vlang.words.baselines import ATTACK, BETTER, RADIUS, WORSE
from vlang.words.matrices import QUANTITIES
from vlang.words.queries import CORRECT, Rounding

#: Infinities stay floats; every other number is exact.
Value = Fraction | float | bool
#: What a value may be, both ends included.
Interval = tuple[Value, Value]
#: A row's fields by name.
Fields = Mapping[str, Interval]


@dataclass(frozen=True)
class Answers:
    """What conditions see of a row, or in a report of several queries' rows about one question. rows: which row of each query that is, by number."""

    fields: Fields
    rows: Mapping[str, int] = field(default_factory=dict)


def _mean(values: Sequence[Value]) -> Value:
    infinite = [v for v in values if isinstance(v, float) and math.isinf(v)]
    return sum(infinite) if infinite else sum((Fraction(v) for v in values), Fraction(0)) / len(values)


def _median(values: Sequence[Value]) -> Value:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else _mean(ordered[middle - 1 : middle + 1])


def _quantile(values: Sequence[Value], q: Fraction | None) -> Value:
    """The smallest value that at least a share q of the rows do not exceed."""
    assert q is not None
    return sorted(values)[max(0, math.ceil(q * len(values)) - 1)]


#: What an aggregate makes of its values; the second argument is a quantile's share. Every one grows with its values.
AGGREGATES: Mapping[str, Callable[[Sequence[Value], Fraction | None], Value]] = MappingProxyType(
    {
        "min": lambda v, _: min(v),
        "max": lambda v, _: max(v),
        "mean": lambda v, _: _mean(v),
        "median": lambda v, _: _median(v),
        "quantile": _quantile,
        "count": lambda v, _: Fraction(sum(map(bool, v))),
        "rate": lambda v, _: Fraction(sum(map(bool, v)), len(v)),
        "all": lambda v, _: all(v),
        "any": lambda v, _: any(v),
    }
)


def of_row(row: Row) -> Fields:
    """A row's fields, each as the interval of what it may be: an unfinished radius may be anything above what was certified."""
    return {**_answered(row), CORRECT: (row.correct,) * 2}


def _answered(row: Row) -> Fields:
    match row:
        case RadiusRow():
            return {"radius": (row.radius, row.radius if row.complete and not row.capped else math.inf)}
        case AttackRow():
            # What an unfinished attack finds can only be nearer.
            radius = math.inf if row.radius is None else row.radius
            found = row.radius is not None
            return {"radius": (radius if row.complete else 0.0, radius), "found": (found, found or not row.complete)}
        case EstimateRow():
            return {"estimate": (0.0, math.inf) if row.estimate is None else (row.estimate, row.estimate)}
        case VerifyRow() | BoundsRow():
            margin = -math.inf if row.margin is None or math.isnan(row.margin) else row.margin
            fields: dict[str, Interval] = {"margin": (margin, margin if row.complete else math.inf)}
            if isinstance(row, VerifyRow):
                verdicts = ("certified", "falsified", "unknown")
                fields |= {v: (row.complete and row.verdict == v, not row.complete or row.verdict == v) for v in verdicts}
            return fields
    raise AssertionError(f"a row of no kind: {row}")


def beside(row: Row, old: Known) -> Fields:
    """An earlier answer to a row's question, and what the two prove. An earlier radius that nobody asked for is missing, as one in no baseline is."""
    fields: dict[str, Interval] = {RADIUS: (old.certified, old.certified)} if old.asked else {}
    if not math.isinf(old.attacked):
        fields[ATTACK] = old.attacked, old.attacked
    if isinstance(row, RadiusRow):
        proved = row.radius > old.attacked
        fields[BETTER] = proved, proved or not row.complete or row.capped
    if isinstance(row, AttackRow):
        proved = row.radius is not None and row.radius < old.certified
        fields[WORSE] = proved, proved or not row.complete
    return fields


def of_matrix(row: SpectrumRow) -> Fields:
    """The pseudospectral numbers are those of the largest eps; what was only bounded is an interval; weights have no trajectory to grow along."""
    values = {name: getattr(row, name) for name in QUANTITIES}
    values["defective"] = (0.0, row.defective)
    return {name: v if isinstance(v, tuple) else (v, v) for name, v in values.items() if v is not None}


def evaluate(expr: Expression, rows: Sequence[Answers]) -> Interval:
    """The interval of what an expression may be over at least one row."""
    match expr:
        case Constant(value=value):
            return value, value
        case Field(name=name):
            low, high = rows[0].fields[name]
            return _exact(low), _exact(high)
        case Aggregated(name=name, of=of, share=share):
            values = [evaluate(of, [row]) for row in _distinct(of, rows)]
            q = None if share is None else share.value
            return AGGREGATES[name]([v[0] for v in values], q), AGGREGATES[name]([v[1] for v in values], q)
        case Unary(op=op, operand=operand):
            low, high = evaluate(operand, rows)
            return (low, high) if op == "+" else (not high, not low) if op == "not" else (-high, -low)
        case Binary(op=op, left=left, right=right):
            return OPERATORS[op](evaluate(left, rows), evaluate(right, rows))


def _distinct(expr: Expression, rows: Sequence[Answers]) -> Sequence[Answers]:
    """Rows joined with several of another query stand for themselves once: an aggregate counts the rows of the queries that it mentions."""
    queries = sorted(about(expr))
    return list({tuple(row.rows.get(q) for q in queries): row for row in rows}.values()) if queries else rows


def _exact(value: Value) -> Value:
    return value if isinstance(value, bool | Fraction) or not math.isfinite(value) else Fraction(value)


def as_float(value: Value) -> float:
    """The float64 at or next to a value; beyond its range, an infinity."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _corners(of: Callable[[Value, Value], Value]) -> Operator:
    """An operation that is monotone in each argument on either side of 0; anything where infinities meet."""

    def apply(a: Interval, b: Interval) -> Interval:
        values = [of(x, y) for x in a for y in b]
        return (-math.inf, math.inf) if any(isinstance(v, float) and math.isnan(v) for v in values) else (min(values), max(values))

    return apply


def _times(a: Value, b: Value) -> Value:
    if a == 0 or b == 0:
        return Fraction(0)
    if isinstance(a, float) or isinstance(b, float):  # an infinity
        return math.inf if (a > 0) == (b > 0) else -math.inf
    return a * b


def _over(a: Interval, b: Interval) -> Interval:
    return (-math.inf, math.inf) if b[0] <= 0 <= b[1] else _corners(_quotient)(a, b)


def _quotient(x: Value, y: Value) -> Value:
    if isinstance(y, float):
        return math.nan if isinstance(x, float) else Fraction(0)
    if isinstance(x, float):
        return x if y > 0 else -x
    return Fraction(x) / y


def _equal(a: Interval, b: Interval) -> Interval:
    return a[0] == a[1] == b[0] == b[1], a[0] <= b[1] and b[0] <= a[1]


Operator = Callable[[Interval, Interval], Interval]
OPERATORS: Mapping[str, Operator] = MappingProxyType(
    {
        "<": lambda a, b: (a[1] < b[0], a[0] < b[1]),
        "<=": lambda a, b: (a[1] <= b[0], a[0] <= b[1]),
        ">": lambda a, b: (a[0] > b[1], a[1] > b[0]),
        ">=": lambda a, b: (a[0] >= b[1], a[1] >= b[0]),
        "==": _equal,
        "!=": lambda a, b: (not _equal(a, b)[1], not _equal(a, b)[0]),
        "and": lambda a, b: (bool(a[0] and b[0]), bool(a[1] and b[1])),
        "or": lambda a, b: (bool(a[0] or b[0]), bool(a[1] or b[1])),
        "+": _corners(lambda x, y: x + y),
        "-": _corners(lambda x, y: x - y),
        "*": _corners(_times),
        "/": _over,
    }
)


def found(expr: Expression, rows: Sequence[Answers], shown: Mapping[str, Rounding]) -> str:
    """What was found for the parts of a condition that are not constants, e.g. 'min(radius) = 0.0834'.

    shown: how a field's numbers are rounded so that they claim no more than is known; those of others, and counts of any, to the nearest.
    """
    parts: dict[str, str] = {}

    def text(e: Expression, value: Value) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        counts = isinstance(e, Aggregated) and e.name in ("count", "rate")
        ways = {shown.get(f.name, "near") for f in fields(e)}
        return ROUNDED["near" if counts or len(ways) != 1 else ways.pop()](value)

    def visit(e: Expression) -> None:
        match e:
            case Field() | Aggregated():
                low, high = evaluate(e, rows)
                parts[written(e)] = text(e, low) if low == high else f"{text(e, low)} or more"
            case Unary(operand=operand):
                visit(operand)
            case Binary(left=left, right=right):
                visit(left)
                visit(right)

    visit(expr)
    return ", ".join(f"{k} = {v}" for k, v in parts.items())
