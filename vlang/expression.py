"""Typed expressions over rows: what conditions and cells of reports are made of once their types are known. Values, without syntax.

A row has fields (radius, certified, ...); an aggregate makes one value of many rows'. Evaluated in vlang/judge/values.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from vlang.numbers import exactly
from vlang.text.source import Span
from vlang.words.queries import COVERAGE


@dataclass(frozen=True)
class Constant:
    """An exact number. percent: whether it was written as a percentage (its value is divided by 100 already)."""

    value: Fraction
    percent: bool = False


@dataclass(frozen=True)
class Field:
    """A row's field: `radius`, or in a report `cert.radius`."""

    name: str
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True)
class Aggregated:
    """An aggregate (a key of AGGREGATES) of a number or condition over rows. share: of a quantile."""

    name: str
    of: Expression
    share: Constant | None = None


@dataclass(frozen=True)
class Unary:
    """op: '+', '-' or 'not'."""

    op: str
    operand: Expression


@dataclass(frozen=True)
class Binary:
    op: str
    left: Expression
    right: Expression


Expression = Constant | Field | Aggregated | Unary | Binary


def parts(expr: Expression) -> tuple[Expression, ...]:
    """What an expression is made of."""
    match expr:
        case Aggregated(of=of):
            return (of,)
        case Unary(operand=operand):
            return (operand,)
        case Binary(left=left, right=right):
            return left, right
    return ()


def fields(expr: Expression) -> Iterator[Field]:
    """The fields that an expression is about."""
    if isinstance(expr, Field):
        yield expr
    for part in parts(expr):
        yield from fields(part)


def counts(expr: Expression) -> bool:
    """Whether it counts rows, so that a row more or less changes it."""
    return (isinstance(expr, Aggregated) and expr.name == "count") or any(map(counts, parts(expr)))


def bare(expr: Expression) -> Iterator[Field]:
    """The fields that have a value a row, and that no aggregate makes one value of."""
    if isinstance(expr, Field) and expr.name != COVERAGE:
        yield expr
    if not isinstance(expr, Aggregated):
        for part in parts(expr):
            yield from bare(part)


def wanted(expr: Expression) -> Iterator[tuple[Constant, Expression]]:
    """Numbers that something is wanted to be above, and that something."""
    match expr:
        case Binary(op=">" | ">=", left=left, right=Constant() as number) | Binary(op="<" | "<=", left=Constant() as number, right=left):
            yield number, left
    for part in parts(expr):
        yield from wanted(part)


def is_radius(expr: Expression) -> bool:
    """Whether it is a radius of a row, or one made of those of several."""
    of = expr.of if isinstance(expr, Aggregated) else expr
    return isinstance(of, Field) and of.name.rpartition(".")[2] == "radius"


def grows(expr: Expression, certified: Collection[str]) -> int | None:
    """How an expression changes with fields that are lower bounds of the truth: 1 it can only grow (become true), -1 only fall, 0 not at all.

    None: either way. What holds of lower bounds and can only become truer is true of what they bound.
    """
    match expr:
        case Constant():
            return 0
        case Field(name=name):
            return 1 if name in certified else 0 if "." in name else None
        case Aggregated(of=of):
            return grows(of, certified)
        case Unary(op=op, operand=operand):
            of_operand = grows(operand, certified)
            return of_operand if of_operand is None or op == "+" else -of_operand
        case Binary(op="==" | "!="):
            return None
        case Binary(op="*" | "/" as op, left=left, right=Constant(value=value)):
            of_left = grows(left, certified)
            return of_left if of_left is None or value > 0 else -of_left
        case Binary(op="*", left=Constant(value=value), right=right):
            of_right = grows(right, certified)
            return of_right if of_right is None or value > 0 else -of_right
        case Binary(op="*" | "/", left=left, right=right):
            return 0 if grows(left, certified) == 0 and grows(right, certified) == 0 else None
        case Binary(op=op, left=left, right=right):
            one, other = grows(left, certified), grows(right, certified)
            if one is None or other is None:
                return None
            one, other = (-one, other) if op in ("<", "<=") else (one, -other) if op in (">", ">=", "-") else (one, other)
            return one if other in (0, one) else other if one == 0 else None
    return None


def is_share(expr: Expression) -> bool:
    """Whether an expression lies between 0 and 1."""
    return (isinstance(expr, Aggregated) and expr.name == "rate") or (isinstance(expr, Field) and expr.name == COVERAGE)


def about(expr: Expression) -> frozenset[str]:
    """The queries whose rows an expression in a report is about."""
    return frozenset(f.name.partition(".")[0] for f in fields(expr) if "." in f.name)


#: How tightly operators bind; names, numbers and calls most of all.
BINDING = {"or": 1, "and": 2, "not": 3, "<": 4, "<=": 4, ">": 4, ">=": 4, "==": 4, "!=": 4, "+": 5, "-": 5, "*": 6, "/": 6}
SIGN, ATOM = 7, 8


def written(expr: Expression) -> str:
    """The expression as text."""
    return _written(expr)[0]


def _written(expr: Expression) -> tuple[str, int]:
    """The text, and how tightly its outermost operator binds."""

    def inside(part: Expression, least: int) -> str:
        text, binding = _written(part)
        return text if binding >= least else f"({text})"

    match expr:
        case Constant(value=value, percent=percent):
            return (f"{exactly(value * 100)}%" if percent else exactly(value)), (ATOM if value >= 0 and value.denominator == 1 else SIGN)
        case Field(name=name):
            return name, ATOM
        case Aggregated(name=name, of=of, share=share):
            return f"{name}({', '.join([written(of), *([] if share is None else [written(share)])])})", ATOM
        case Unary(op=op, operand=operand):
            binding = BINDING["not"] if op == "not" else SIGN
            return (f"not {inside(operand, binding)}" if op == "not" else f"{op}{inside(operand, binding)}"), binding
        case Binary(op=op, left=left, right=right):
            binding = BINDING[op]
            compares, chains = binding == BINDING["<"], binding < BINDING["<"]  # only `and` and `or` need no brackets on their right
            return f"{inside(left, binding + compares)} {op} {inside(right, binding + (not chains))}", binding
