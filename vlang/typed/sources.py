"""The types of a report's keys: where its rows come from, what tells them apart, what stands in its cells."""

from __future__ import annotations

from dataclasses import dataclass

from vlang.text import diagnostics as d
from vlang.text import syntax as s
from vlang.text.constants import Params
from vlang.text.diagnostics import SpecError
from vlang.typed.types import ListType, Located, LocatedType, Type, each

#: The name under which figures from elsewhere are mentioned.
REPORTED = "reported"


@dataclass(frozen=True)
class Source:
    """Where rows of a report come from: queries whose rows are mentioned by one name, or (path) a file of reported figures."""

    name: str
    queries: tuple[Located[str], ...]
    path: str | None


@dataclass(frozen=True)
class SourceType(Type[Source]):
    wanted: str = 'the name of a query, or reported("figures.csv")'

    def convert(self, key: str, expr: s.Expr, params: Params) -> Source:
        match expr:
            case s.Name(name=name):
                return Source(name, (Located(name, expr.span),), None)
            case s.Call(name="reported", args=(s.Text(value=path),), keywords=()):
                return Source(REPORTED, (), path)
            case s.Call(name="reported"):
                raise SpecError(d.bad_arguments(expr.span, "reported", 'reported("figures.csv")'))
            case s.Call(name=name):
                raise SpecError(d.unknown_function(expr.span, name, ("reported",)))
        raise self.fail(key, expr)


@dataclass(frozen=True)
class SourcesType(Type[tuple[Located[Source], ...]]):
    """A list of sources, or a record of named ones, each of which may be several queries about different questions."""

    wanted: str = 'a list of queries and reported("figures.csv"), or a record such as { certified = [digits, vowels] }'

    def convert(self, key: str, expr: s.Expr, params: Params) -> tuple[Located[Source], ...]:
        some = ListType(LocatedType(SourceType()), self.wanted, lone=True)
        if not isinstance(expr, s.Record):
            return some.convert(key, expr, params)
        pairs = [e for e in expr.entries if isinstance(e, s.Pair)]
        if len(pairs) < len(expr.entries):
            raise self.fail(key, expr)
        if not pairs:
            raise SpecError(d.wrong_type(expr.span, key, self.wanted, "an empty record"))
        hollow = [p for p in pairs if isinstance(p.value, s.Items) and not p.value.items]
        if hollow:
            raise SpecError(*(d.wrong_type(p.value.span, p.key, "a query, or a list of some", "an empty list") for p in hollow))
        members = each(tuple(p.value for p in pairs), lambda value: some.convert(key, value, params))
        return tuple(_named(pair, found) for pair, found in zip(pairs, members, strict=True))


def _named(pair: s.Pair, members: tuple[Located[Source], ...]) -> Located[Source]:
    """The members as one source. Raises SpecError for figures among queries, or under another name than their own."""
    figures = [m for m in members if m.value.path is not None]
    if figures and (len(members) > 1 or pair.key != REPORTED):
        raise SpecError(d.misnamed_figures(figures[0].span, pair.key))
    path = figures[0].value.path if figures else None
    return Located(Source(pair.key, tuple(q for m in members for q in m.value.queries), path), pair.span)


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
