"""Conditions of expect and warn: their types, checked before anything is computed, and their values over rows.

A row has fields (radius, certified, ...). Over several rows a bare field has no single value; aggregates make one of many.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Literal

from vlang.numbers import down
from vlang.report import Row, SpectrumRow
from vlang.text import diagnostics as d
from vlang.text import syntax as s
from vlang.text.constants import Params, describe, fold, shown
from vlang.text.diagnostics import SpecError
from vlang.typed.signatures import ROW_FIELDS
from vlang.typed.types import article

Kind = Literal["number", "condition"]
#: Infinities stay floats; every other number is exact.
Value = Fraction | float | bool
#: What a value may be, both ends included.
Interval = tuple[Value, Value]
#: A row's fields by name.
Fields = Mapping[str, Interval]


@dataclass(frozen=True)
class Aggregate:
    """takes: the kind of its argument; gives: of its result. usage: how it is called."""

    takes: Kind
    gives: Kind
    usage: str
    of: Callable[[Sequence[Value], Fraction | None], Value]


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


AGGREGATES: Mapping[str, Aggregate] = MappingProxyType(
    {
        "min": Aggregate("number", "number", "min(radius)", lambda v, _: min(v)),
        "max": Aggregate("number", "number", "max(radius)", lambda v, _: max(v)),
        "mean": Aggregate("number", "number", "mean(radius)", lambda v, _: _mean(v)),
        "median": Aggregate("number", "number", "median(radius)", lambda v, _: _median(v)),
        "quantile": Aggregate("number", "number", "quantile(radius, 5%)", _quantile),
        "count": Aggregate("condition", "number", "count(radius > 0)", lambda v, _: Fraction(sum(map(bool, v)))),
        "rate": Aggregate("condition", "number", "rate(radius > 0)", lambda v, _: Fraction(sum(map(bool, v)), len(v))),
        "all": Aggregate("condition", "condition", "all(radius > 0)", lambda v, _: all(v)),
        "any": Aggregate("condition", "condition", "any(radius > 0)", lambda v, _: any(v)),
    }
)


@dataclass(frozen=True)
class Scope:
    """What a condition may mention. fields: number or condition, by name; what: whose they are. many: how many rows, in words; None for one."""

    fields: Mapping[str, str]
    what: str
    many: str | None

    @classmethod
    def of_query(cls, kind: str, many: str | None) -> Scope:
        return cls(ROW_FIELDS[kind], f"{article(kind)} query", many)


def check(condition: s.Expr, scope: Scope, params: Params, broken: Collection[str] = ()) -> s.Expr:
    """The condition with params put in. Raises SpecError."""
    bound = check_value(condition, scope, params, broken)
    if _kind(bound, scope, inside=False) != "condition":
        raise SpecError(d.not_a_condition(condition.span, describe(bound)))
    return bound


def check_value(expr: s.Expr, scope: Scope, params: Params, broken: Collection[str] = ()) -> s.Expr:
    """A number or a condition over rows, with params put in. Raises SpecError."""
    bound = _bind(expr, params, broken)
    if not mentioned(bound):
        raise SpecError(d.constant_condition(expr.span))
    _kind(bound, scope, inside=False)
    return bound


def mentioned(expr: s.Expr) -> frozenset[str]:
    """The names and functions that an expression is about."""
    match expr:
        case s.Name(name=name):
            return frozenset({name})
        case s.Call(name=name, args=args):
            return frozenset({name}).union(*(mentioned(a) for a in args))
        case s.Unary(operand=operand):
            return mentioned(operand)
        case s.Binary(left=left, right=right):
            return mentioned(left) | mentioned(right)
    return frozenset()


def _bind(expr: s.Expr, params: Params, broken: Collection[str]) -> s.Expr:
    match expr:
        case s.Binary(span=span, op=op, left=left, right=right):
            a, b = _bind(left, params, broken), _bind(right, params, broken)
            both = s.Binary(span, op, a, b)
            return fold(both, params) if op in "+-*/" and isinstance(a, s.Number) and isinstance(b, s.Number) else both
        case s.Unary(span=span, op=op, operand=operand):
            inner = _bind(operand, params, broken)
            return fold(s.Unary(span, op, inner), params) if op in "+-" and isinstance(inner, s.Number) else s.Unary(span, op, inner)
        case s.Call(span=span, name=name, args=args, keywords=keywords):
            return s.Call(span, name, tuple(_bind(a, params, broken) for a in args), keywords)
        case s.Field(span=span, base=s.Name(name=base), name=name):
            return s.Name(span, f"{base}.{name}")
    return fold(expr, params, broken)


def _kind(expr: s.Expr, scope: Scope, inside: bool) -> Kind:
    """Type of an expression; `inside` an aggregate, bare fields are allowed."""
    fields = scope.fields
    match expr:
        case s.Number(unit="s"):
            raise SpecError(d.wrong_type(expr.span, "a number in a condition", "without a unit", "a duration"))
        case s.Number():
            return "number"
        case s.Name(span=span, name=name):
            if name not in fields:
                raise SpecError(d.unknown_field(span, name, scope.what, fields))
            if scope.many is not None and not inside:
                raise SpecError(d.aggregate_needed(span, name, scope.many))
            return "number" if fields[name] == "number" else "condition"
        case s.Call(span=span, name=name, args=args, keywords=keywords):
            if name not in AGGREGATES:
                raise SpecError(d.unknown_function(span, name, AGGREGATES))
            aggregate = AGGREGATES[name]
            if inside or keywords or len(args) != (2 if name == "quantile" else 1):
                raise SpecError(d.bad_arguments(span, name, aggregate.usage))
            kind = _kind(args[0], scope, inside=True)
            if kind != aggregate.takes:
                raise SpecError(d.bad_arguments(span, name, aggregate.usage))
            if name == "quantile":
                q = args[1]
                if not isinstance(q, s.Number) or not 0 <= q.value <= 1:
                    raise SpecError(d.bad_arguments(q.span, name, aggregate.usage))
            return aggregate.gives
        case s.Unary(span=span, op=op, operand=operand):
            wanted: Kind = "condition" if op == "not" else "number"
            found = _kind(operand, scope, inside)
            if found != wanted:
                raise SpecError(d.type_mismatch(span, op, f"a {found}", "nothing else"))
            return wanted
        case s.Binary(span=span, op=op, left=left, right=right):
            wanted = "condition" if op in ("and", "or") else "number"
            a, b = (_kind(x, scope, inside) for x in (left, right))
            if (a, b) != (wanted, wanted):
                raise SpecError(d.type_mismatch(span, op, f"a {a}", f"a {b}"))
            if op == "/" and isinstance(right, s.Number) and right.value == 0:
                raise SpecError(d.division_by_zero(right.span))
            return "number" if op in "+-*/" else "condition"
    raise SpecError(d.not_a_condition(expr.span, describe(expr)))


def fields_of(row: Row, query: str) -> Fields:
    """A row's fields, each as the interval of what it may be: an unfinished radius may be anything above what was certified."""
    return {**_answered(row, query), "correct": (row.label == row.predicted,) * 2}


def _answered(row: Row, query: str) -> Fields:
    if query == "radius":
        assert row.radius is not None
        return {"radius": (row.radius, row.radius if row.complete and not row.capped else math.inf)}
    if query == "attack":
        # What an unfinished attack finds can only be nearer.
        radius = math.inf if row.radius is None else row.radius
        return {"radius": (radius if row.complete else 0.0, radius), "found": (row.radius is not None, row.radius is not None or not row.complete)}
    if query == "estimate":
        return {"estimate": (0.0, math.inf) if row.estimate is None else (row.estimate, row.estimate)}
    margin = -math.inf if row.margin is None or math.isnan(row.margin) else row.margin
    fields: dict[str, Interval] = {"margin": (margin, margin if row.complete else math.inf)}
    if query == "verify":
        fields |= {v: (row.complete and row.verdict == v, not row.complete or row.verdict == v) for v in ("certified", "falsified", "unknown")}
    return fields


def fields_of_spectrum(row: SpectrumRow) -> Fields:
    """The pseudospectral numbers are those of the largest eps; what was only bounded is an interval; weights have no trajectory to grow along."""
    widest = max(row.pseudospectra, key=lambda p: p.eps)
    exact = {
        "spectral_radius": row.spectral_radius,
        "spectral_norm": row.spectral_norm,
        "numerical_radius": row.numerical_radius,
        "henrici": row.henrici,
        "eigenvalue_condition": row.eigenvalue_condition,
        "eigenvector_condition": row.eigenvector_condition,
        "pseudospectral_radius": widest.radius,
        "pseudospectral_abscissa": widest.abscissa,
    }
    along = {} if row.product_growth is None else {"product_growth": (row.product_growth, row.product_growth)}
    return {k: (v, v) for k, v in exact.items()} | {
        "kreiss": row.kreiss,
        "growth": row.growth,
        "defective": (0.0, row.defective),
        **along,
    }


def evaluate(expr: s.Expr, rows: Sequence[Fields]) -> Interval:
    """The interval of what a checked expression may be over at least one row; for conditions False < True (Kleene's logic)."""
    match expr:
        case s.Number(value=value):
            return value, value
        case s.Name(name=name):
            low, high = rows[0][name]
            return _exact(low), _exact(high)
        case s.Call(name=name, args=args):
            values = [evaluate(args[0], [row]) for row in _distinct(args[0], rows)]
            q = args[1].value if len(args) > 1 and isinstance(args[1], s.Number) else None
            of = AGGREGATES[name].of  # every aggregate grows with its arguments
            return of([v[0] for v in values], q), of([v[1] for v in values], q)
        case s.Unary(op=op, operand=operand):
            low, high = evaluate(operand, rows)
            return (low, high) if op == "+" else (not high, not low) if op == "not" else (-high, -low)
        case s.Binary(op=op, left=left, right=right):
            return OPERATORS[op](evaluate(left, rows), evaluate(right, rows))
    raise AssertionError(f"an unchecked expression: {expr}")


def _distinct(expr: s.Expr, rows: Sequence[Fields]) -> Sequence[Fields]:
    """Rows joined with several of another query stand for themselves once: an aggregate counts the rows of the queries that it mentions."""
    queries = sorted({n.partition(".")[0] + "." for n in mentioned(expr) if "." in n})
    return list({tuple(row.get(q) for q in queries): row for row in rows}.values()) if queries else rows


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


def found(expr: s.Expr, rows: Sequence[Fields]) -> str:
    """What was found for the parts of a condition that are not constants, e.g. 'min(radius) = 0.0834'."""
    parts: dict[str, str] = {}

    def visit(e: s.Expr) -> None:
        match e:
            case s.Name() | s.Call():
                low, high = evaluate(e, rows)
                parts[written(e)] = _shown(low) if low == high else f"{_shown(low)} or more"
            case s.Unary(operand=operand):
                visit(operand)
            case s.Binary(left=left, right=right):
                visit(left)
                visit(right)

    visit(expr)
    return ", ".join(f"{k} = {v}" for k, v in parts.items())


def _shown(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else down(as_float(value))


#: How tightly operators bind; names, numbers and calls most of all.
BINDING = {"or": 1, "and": 2, "not": 3, "<": 4, "<=": 4, ">": 4, ">=": 4, "==": 4, "!=": 4, "+": 5, "-": 5, "*": 6, "/": 6}
SIGN, ATOM = 7, 8


def written(expr: s.Expr) -> str:
    """The expression as text."""
    return _written(expr)[0]


def _written(expr: s.Expr) -> tuple[str, int]:
    """The text, and how tightly its outermost operator binds."""

    def inside(part: s.Expr, least: int) -> str:
        text, binding = _written(part)
        return text if binding >= least else f"({text})"

    match expr:
        case s.Number(value=value, unit=unit):
            return (f"{shown(value * 100)}%" if unit == "%" else shown(value)), (ATOM if value >= 0 and value.denominator == 1 else SIGN)
        case s.Name(name=name):
            return name, ATOM
        case s.Call(name=name, args=args):
            return f"{name}({', '.join(written(a) for a in args)})", ATOM
        case s.Unary(op=op, operand=operand):
            binding = BINDING["not"] if op == "not" else SIGN
            return (f"not {inside(operand, binding)}" if op == "not" else f"{op}{inside(operand, binding)}"), binding
        case s.Binary(op=op, left=left, right=right):
            binding = BINDING[op]
            compares, chains = binding == BINDING["<"], binding < BINDING["<"]  # only `and` and `or` need no brackets on their right
            return f"{inside(left, binding + compares)} {op} {inside(right, binding + (not chains))}", binding
    return "...", ATOM
