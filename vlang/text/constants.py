"""Constant folding: exact arithmetic on literals and params."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fractions import Fraction

from vlang.numbers import exactly
from vlang.text import diagnostics as d
from vlang.text import syntax as s
from vlang.text.diagnostics import SpecError
from vlang.text.source import Span

#: Values of the params, already folded to literals.
Params = Mapping[str, s.Expr]


def describe(expr: s.Expr) -> str:
    """What an expression is, in words, for error messages."""
    match expr:
        case s.Number(unit="%"):
            return "a percentage"
        case s.Number(unit="s"):
            return "a duration"
        case s.Number(value=v):
            return f"the number {exactly(v)}"
        case s.Text():
            return "a text"
        case s.Name(name=n):
            return f"the name '{n}'"
        case s.Items():
            return "a list"
        case s.Slice():
            return "a slice"
        case s.Record():
            return "a record"
        case s.Call(name=n):
            return f"a call of '{n}'"
        case s.Index() | s.Field() | s.Method():
            return "a reference"
        case s.Binary(op=op) if op in ("<", "<=", ">", ">=", "==", "!=", "and", "or"):
            return "a condition"
    return "an expression"


def fold(expr: s.Expr, params: Params, broken: Collection[str] = ()) -> s.Expr:
    """The expression with params replaced and arithmetic on numbers done; other expressions as they are.

    A param in `broken` has been reported already: using it raises a SpecError without diagnostics.
    """
    match expr:
        case s.Name(name=name) if name in broken:
            raise SpecError()
        case s.Name(name=name) if name in params:
            value = params[name]
            return value if not isinstance(value, s.Number) else s.Number(expr.span, value.value, value.unit, value.integer)
        case s.Unary(op="-" | "+" as op, operand=operand):
            inner = fold(operand, params, broken)
            if isinstance(inner, s.Number):
                return s.Number(expr.span, -inner.value if op == "-" else inner.value, inner.unit, inner.integer)
            raise SpecError(d.wrong_type(operand.span, f"the operand of '{op}'", "a number", describe(inner)))
        case s.Binary(op="+" | "-" | "*" | "/" as op, left=left, right=right):
            a, b = fold(left, params, broken), fold(right, params, broken)
            for side in (a, b):
                if not isinstance(side, s.Number) or side.unit == "s":
                    raise SpecError(d.wrong_type(side.span, f"the operand of '{op}'", "a number", describe(side)))
            assert isinstance(a, s.Number)
            assert isinstance(b, s.Number)
            return s.Number(expr.span, in_range(_arithmetic(op, a, b), expr.span), a.unit or b.unit, op != "/" and a.integer and b.integer)
    return expr


def in_range(value: Fraction, span: Span) -> Fraction:
    """The value, if float64 can hold it."""
    if value and not Fraction(2) ** -1000 < abs(value) < Fraction(2) ** 1000:
        raise SpecError(d.number_too_long(span))
    return value


def _arithmetic(op: str, a: s.Number, b: s.Number) -> Fraction:
    match op:
        case "+":
            return a.value + b.value
        case "-":
            return a.value - b.value
        case "*":
            return a.value * b.value
    if b.value == 0:
        raise SpecError(d.division_by_zero(b.span))
    return a.value / b.value
