"""The syntax tree: what the user wrote, with the place of everything. No meaning yet."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from vlang.text.source import Span


@dataclass(frozen=True)
class Expr:
    span: Span


@dataclass(frozen=True)
class Number(Expr):
    """An exact literal. `unit`: '%' for a percentage (already divided by 100), 's' for a duration in seconds."""

    value: Fraction
    unit: Literal["", "%", "s"] = ""
    integer: bool = False


@dataclass(frozen=True)
class Given:
    """A param's value from the command line: as written, what it is as an expression, and why it is none."""

    span: Span
    text: str
    value: Expr | None
    reason: str


@dataclass(frozen=True)
class Text(Expr):
    value: str


@dataclass(frozen=True)
class Name(Expr):
    name: str


@dataclass(frozen=True)
class Items(Expr):
    """A list."""

    items: tuple[Expr, ...]


@dataclass(frozen=True)
class Slice(Expr):
    start: Expr | None
    stop: Expr | None


@dataclass(frozen=True)
class Record(Expr):
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Call(Expr):
    name: str
    args: tuple[Expr, ...]
    keywords: tuple[Pair, ...]


@dataclass(frozen=True)
class Field(Expr):
    base: Expr
    name: str


@dataclass(frozen=True)
class Method(Expr):
    """base.name(args)."""

    base: Expr
    name: str
    args: tuple[Expr, ...]
    keywords: tuple[Pair, ...]


@dataclass(frozen=True)
class Index(Expr):
    base: Expr
    index: Expr  # a Slice for d[0:10]


@dataclass(frozen=True)
class Unary(Expr):
    op: str  # + - not
    operand: Expr


@dataclass(frozen=True)
class Binary(Expr):
    op: str  # + - * / < <= > >= == != and or
    left: Expr
    right: Expr


@dataclass(frozen=True)
class Header:
    span: Span
    version: str


@dataclass(frozen=True)
class Param:
    span: Span
    name: str
    type: str
    type_span: Span
    value: Expr


@dataclass(frozen=True)
class Declaration:
    """kind name { ... }; `span` covers the name, `kind_span` the kind."""

    span: Span
    kind: str
    kind_span: Span
    name: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Pair:
    span: Span
    key: str
    value: Expr


@dataclass(frozen=True)
class Sweep:
    span: Span
    path: tuple[str, ...]
    values: Expr


@dataclass(frozen=True)
class Gate:
    """expect or warn; `text` is the condition as written. end: line and column behind it."""

    span: Span
    end: tuple[int, int]
    kind: Literal["expect", "warn"]
    condition: Expr
    text: str
    because: str | None


Entry = Header | Param | Declaration | Pair | Sweep | Gate


@dataclass(frozen=True)
class File:
    entries: tuple[Entry, ...]
