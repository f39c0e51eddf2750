"""Conditions of expect and warn: their types, checked before anything is computed, and their values over rows.

A row has fields (radius, certified, ...). Over several rows a bare field has no single value; aggregates make one of many.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Literal

from vlang import diagnostics as d
from vlang import syntax as s
from vlang.constants import Params, describe, fold, shown
from vlang.diagnostics import SpecError
from vlang.report import Row
from vlang.signatures import ROW_FIELDS

Kind = Literal["number", "condition"]
#: A row's fields by name; numbers as floats, conditions as booleans.
Fields = Mapping[str, float | bool]
#: math.inf and nan stay floats; every other number is exact.
Value = Fraction | float | bool


@dataclass(frozen=True)
class Aggregate:
    """takes: the kind of its argument; gives: of its result. usage: how it is called."""

    takes: Kind
    gives: Kind
    usage: str
    of: Callable[[Sequence[Value], Fraction | None], Value]


def _mean(values: Sequence[Value]) -> Value:
    return math.inf if math.inf in values else sum((_exact(v) for v in values), Fraction(0)) / len(values)


def _median(values: Sequence[Value]) -> Value:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else _mean(ordered[middle - 1 : middle + 1])


def _quantile(values: Sequence[Value], q: Fraction | None) -> Value:
    """The smallest value that at least a share q of the rows do not exceed."""
    assert q is not None
    return sorted(values)[max(0, math.ceil(q * len(values)) - 1)]


def _exact(value: Value) -> Fraction:
    return Fraction(value)


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
COMPARE: Mapping[str, Callable[[Value, Value], bool]] = MappingProxyType(
    {
        "<": lambda a, b: a < b,
        "<=": lambda a, b: a <= b,
        ">": lambda a, b: a > b,
        ">=": lambda a, b: a >= b,
        "==": lambda a, b: a == b,
        "!=": lambda a, b: a != b,
    }
)


def check(condition: s.Expr, query: str, many: str | None, params: Params) -> s.Expr:
    """The condition with params put in. `many`: how many rows there are, in words, or None for one. Raises SpecError."""
    bound = _bind(condition, params)
    if _kind(bound, query, many, inside=False) != "condition":
        raise SpecError(d.not_a_condition(condition.span, describe(bound)))
    return bound


def _bind(expr: s.Expr, params: Params) -> s.Expr:
    match expr:
        case s.Binary(span=span, op=op, left=left, right=right):
            a, b = _bind(left, params), _bind(right, params)
            both = s.Binary(span, op, a, b)
            return fold(both, params) if op in "+-*/" and isinstance(a, s.Number) and isinstance(b, s.Number) else both
        case s.Unary(span=span, op=op, operand=operand):
            inner = _bind(operand, params)
            return fold(s.Unary(span, op, inner), params) if op in "+-" and isinstance(inner, s.Number) else s.Unary(span, op, inner)
        case s.Call(span=span, name=name, args=args, keywords=keywords):
            return s.Call(span, name, tuple(_bind(a, params) for a in args), keywords)
    return fold(expr, params)


def _kind(expr: s.Expr, query: str, many: str | None, inside: bool) -> Kind:
    """Type of an expression; `inside` an aggregate, bare fields are allowed."""
    fields = ROW_FIELDS[query]
    match expr:
        case s.Number():
            return "number"
        case s.Name(span=span, name=name):
            if name not in fields:
                raise SpecError(d.unknown_field(span, name, query, fields))
            if many is not None and not inside:
                raise SpecError(d.aggregate_needed(span, name, many))
            return "number" if fields[name] == "number" else "condition"
        case s.Call(span=span, name=name, args=args, keywords=keywords):
            if name not in AGGREGATES:
                raise SpecError(d.unknown_function(span, name, AGGREGATES))
            aggregate = AGGREGATES[name]
            if inside or keywords or len(args) != (2 if name == "quantile" else 1):
                raise SpecError(d.bad_arguments(span, name, aggregate.usage))
            kind = _kind(args[0], query, many, inside=True)
            if kind != aggregate.takes:
                raise SpecError(d.bad_arguments(span, name, aggregate.usage))
            if name == "quantile":
                q = args[1]
                if not isinstance(q, s.Number) or not 0 <= q.value <= 1:
                    raise SpecError(d.bad_arguments(q.span, name, aggregate.usage))
            return aggregate.gives
        case s.Unary(span=span, op=op, operand=operand):
            wanted: Kind = "condition" if op == "not" else "number"
            found = _kind(operand, query, many, inside)
            if found != wanted:
                raise SpecError(d.type_mismatch(span, op, f"a {found}", "nothing else"))
            return wanted
        case s.Binary(span=span, op=op, left=left, right=right):
            wanted = "condition" if op in ("and", "or") else "number"
            a, b = (_kind(x, query, many, inside) for x in (left, right))
            if (a, b) != (wanted, wanted):
                raise SpecError(d.type_mismatch(span, op, f"a {a}", f"a {b}"))
            return "number" if op in "+-*/" else "condition"
    raise SpecError(d.not_a_condition(expr.span, describe(expr)))


def fields_of(row: Row, query: str, *, best_case: bool = False) -> Fields:
    """A row's fields. best_case: an unfinished radius counts as infinite."""
    if query == "radius":
        assert row.radius is not None
        return {"radius": math.inf if best_case and not row.complete else row.radius}
    fields: dict[str, float | bool] = {"margin": math.nan if row.margin is None else row.margin}
    if query == "verify":
        fields |= {v: row.verdict == v for v in ("certified", "falsified", "unknown")}
    return fields


def evaluate(expr: s.Expr, rows: Sequence[Fields]) -> Value:
    """The value of a checked expression over at least one row."""
    match expr:
        case s.Number(value=value):
            return value
        case s.Name(name=name):
            value_ = rows[0][name]
            return value_ if isinstance(value_, bool) or not math.isfinite(value_) else Fraction(value_)
        case s.Call(name=name, args=args):
            values = [evaluate(args[0], [row]) for row in rows]
            q = args[1].value if len(args) > 1 and isinstance(args[1], s.Number) else None
            return AGGREGATES[name].of(values, q)
        case s.Unary(op=op, operand=operand):
            inner = evaluate(operand, rows)
            return not inner if op == "not" else -inner if op == "-" else inner
        case s.Binary(op=op, left=left, right=right):
            a = evaluate(left, rows)
            if op in ("and", "or"):
                return bool(evaluate(right, rows)) if bool(a) == (op == "and") else bool(a)
            b = evaluate(right, rows)
            if op in COMPARE:
                return COMPARE[op](a, b)
            match op:
                case "+":
                    return a + b
                case "-":
                    return a - b
                case "*":
                    return a * b
            return math.nan if b == 0 else a / b
    raise AssertionError(f"an unchecked expression: {expr}")


def found(expr: s.Expr, rows: Sequence[Fields]) -> str:
    """What was found for the parts of a condition that are not constants, e.g. 'min(radius) = 0.0834'."""
    parts: dict[str, str] = {}

    def visit(e: s.Expr) -> None:
        match e:
            case s.Name() | s.Call():
                value = evaluate(e, rows)
                parts[written(e)] = str(value).lower() if isinstance(value, bool) else f"{float(value):.6g}"
            case s.Unary(operand=operand):
                visit(operand)
            case s.Binary(left=left, right=right):
                visit(left)
                visit(right)

    visit(expr)
    return ", ".join(f"{k} = {v}" for k, v in parts.items())


def written(expr: s.Expr) -> str:
    """The expression as text."""
    match expr:
        case s.Number(value=value, unit=unit):
            return f"{shown(value * 100)}%" if unit == "%" else shown(value)
        case s.Name(name=name):
            return name
        case s.Call(name=name, args=args):
            return f"{name}({', '.join(written(a) for a in args)})"
        case s.Unary(op=op, operand=operand):
            return f"{op} {written(operand)}" if op == "not" else f"{op}{written(operand)}"
        case s.Binary(op=op, left=left, right=right):
            return f"{written(left)} {op} {written(right)}"
    return "..."
