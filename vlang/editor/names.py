"""Where a spec declares a name, and where it mentions it: what a definition, a rename or a list of symbols is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from vlang.text import syntax as s
from vlang.text.source import Span
from vlang.typed.matrices import MatrixType
from vlang.typed.signatures import KINDS
from vlang.typed.sources import CellsType, SourcesType
from vlang.typed.types import ListType, LocatedType, ReferenceType, Type

#: What may be run or reported.
ASKED = tuple(kind for kind, signature in KINDS.items() if signature.gated)
PARAM = "param"


@dataclass(frozen=True)
class Mention:
    """A name where it stands. kind: of what it names. declares: whether this is its declaration."""

    span: Span
    kind: str
    name: str
    declares: bool = False


def declarations(tree: s.File) -> list[s.Declaration | s.Param]:
    return [x for x in tree.entries if isinstance(x, s.Declaration | s.Param)]


def mentions(tree: s.File) -> list[Mention]:
    """Every name that means a declaration or a param of the spec."""
    known = {(x.kind if isinstance(x, s.Declaration) else PARAM, x.name) for x in declarations(tree)}
    return list(_Walk(known).file(tree))


def at(found: Sequence[Mention], line: int, column: int) -> Mention | None:
    """The name at a place, or just before it."""
    return next((m for m in found if m.span.line == line and m.span.column <= column <= m.span.column + m.span.length), None)


def same(found: Sequence[Mention], one: Mention) -> list[Mention]:
    return [m for m in found if (m.kind, m.name) == (one.kind, one.name)]


@dataclass(frozen=True)
class _Walk:
    known: set[tuple[str, str]]

    def file(self, tree: s.File) -> Iterator[Mention]:
        for entry in declarations(tree):
            if isinstance(entry, s.Param):
                yield Mention(entry.span, PARAM, entry.name, declares=True)
                yield from self.value(entry.value, ())
            else:
                yield Mention(entry.span, entry.kind, entry.name, declares=True)
                yield from self.entries(entry.kind, entry.entries)

    def entries(self, kind: str, entries: Sequence[s.Entry]) -> Iterator[Mention]:
        signature = KINDS.get(kind)
        sources = [e.value for e in entries if isinstance(e, s.Pair) and e.key == "of" and isinstance(e.value, s.Record)]
        own = {e.key for record in sources for e in record.entries if isinstance(e, s.Pair)}  # names that the report gives
        for entry in entries:
            match entry:
                case s.Pair(key=key, value=value):
                    of = signature.keys[key].type if signature is not None and key in signature.keys else None
                    yield from self.typed(value, of, own)
                case s.Sweep(path=path, values=values):
                    yield from self.typed(values, ListType(swept) if (swept := _type_of(kind, path)) is not None else None, own)
                case s.Gate(condition=condition):
                    yield from self.condition(condition, ASKED if kind == "report" else ("baseline",), own)

    def typed(self, value: s.Expr, of: Type[Any] | None, own: set[str]) -> Iterator[Mention]:
        """What is mentioned in the value of a key of that type."""
        while isinstance(of, ListType | LocatedType):
            of = of.item
        match of:
            case ReferenceType(kinds=kinds):
                yield from self.value(value, kinds)
            case MatrixType():
                yield from self.value(value, ("network", "input", "dataset"))
            case SourcesType():
                yield from self.value(value, ASKED)
            case CellsType():
                yield from self.condition(value, ASKED, own)
            case _:
                yield from self.value(value, ())

    def value(self, value: Any, kinds: Sequence[str]) -> Iterator[Mention]:
        match value:
            case s.Name(span=span, name=name):
                kind = next((k for k in (*kinds, PARAM) if (k, name) in self.known), None)
                if kind is not None:
                    yield Mention(span, kind, name)
            case s.Record(entries=entries) if kinds and kinds != ASKED:
                data = {e.key for e in entries if isinstance(e, s.Pair)} & (set(KINDS["dataset"].keys) - set(KINDS["input"].keys))
                yield from self.entries("dataset" if data and "dataset" in kinds else kinds[0], entries)
            case s.Pair(value=inner):
                yield from self.value(inner, kinds)
            case s.Index(base=base, index=index):
                yield from self.value(base, kinds)
                yield from self.value(index, ())
            case s.Expr():
                for inner in _parts(value):
                    yield from self.value(inner, kinds)

    def condition(self, value: Any, kinds: Sequence[str], own: set[str]) -> Iterator[Mention]:
        match value:
            case s.Field(base=s.Name(span=span, name=name)):
                kind = next((k for k in kinds if (k, name) in self.known), None)
                if kind is not None and name not in own:
                    yield Mention(span, kind, name)
            case s.Name():
                yield from self.value(value, ())
            case s.Pair(value=inner):
                yield from self.condition(inner, kinds, own)
            case s.Expr():
                for inner in _parts(value):
                    yield from self.condition(inner, kinds, own)


def _parts(x: s.Expr) -> Iterator[Any]:
    for f in fields(x):
        value = getattr(x, f.name)
        for inner in value if isinstance(value, tuple) else (value,):
            if is_dataclass(inner) and not isinstance(inner, Span):
                yield inner


def _type_of(kind: str, path: Sequence[str]) -> Type[Any] | None:
    """Of what a sweep sets."""
    kinds = [kind, "dataset"] if len(path) == 1 else [path[0], "dataset"]
    return next((KINDS[k].keys[path[-1]].type for k in kinds if k in KINDS and path[-1] in KINDS[k].keys), None)
