"""The types of a report's keys: where its rows come from, what tells them apart, what stands in its cells."""

from __future__ import annotations

from dataclasses import dataclass

from vlang import diagnostics as d
from vlang import syntax as s
from vlang.constants import Params
from vlang.diagnostics import SpecError
from vlang.types import Type


@dataclass(frozen=True)
class Source:
    """Where a report's rows come from: a query, or a file of reported figures."""

    query: str | None
    path: str | None


@dataclass(frozen=True)
class SourceType(Type[Source]):
    wanted: str = 'the name of a query, or reported("figures.csv")'

    def convert(self, key: str, expr: s.Expr, params: Params) -> Source:
        match expr:
            case s.Name(name=name):
                return Source(name, None)
            case s.Call(name="reported", args=(s.Text(value=path),), keywords=()):
                return Source(None, path)
            case s.Call(name="reported"):
                raise SpecError(d.bad_arguments(expr.span, "reported", 'reported("figures.csv")'))
            case s.Call(name=name):
                raise SpecError(d.unknown_function(expr.span, name, ("reported",)))
        raise self.fail(key, expr)


@dataclass(frozen=True)
class AttributeType(Type[str]):
    """What tells rows apart: a field of every row, or a swept key."""

    wanted: str = "an attribute of the rows, such as sample, network or perturbation.norm"

    def convert(self, key: str, expr: s.Expr, params: Params) -> str:
        match expr:
            case s.Name(name=name):
                return name
            case s.Field(base=s.Name(name=base), name=name):
                return f"{base}.{name}"
        raise self.fail(key, expr)


@dataclass(frozen=True)
class CellsType(Type[tuple[tuple[str | None, s.Expr], ...]]):
    """Expressions over rows, checked later: one, a list, or a record of named ones."""

    wanted: str = "an expression such as median(q.radius), or a record of named ones"

    def convert(self, key: str, expr: s.Expr, params: Params) -> tuple[tuple[str | None, s.Expr], ...]:
        match expr:
            case s.Record(entries=entries):
                if not entries or not all(isinstance(e, s.Pair) for e in entries):
                    raise self.fail(key, expr)
                return tuple((e.key, e.value) for e in entries if isinstance(e, s.Pair))
            case s.Items(items=items) if items:
                return tuple((None, x) for x in items)
            case s.Items():
                raise self.fail(key, expr)
        return ((None, expr),)
