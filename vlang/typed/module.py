"""A spec's declarations by name and its params: what can be checked of names alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vlang.text import diagnostics as d
from vlang.text import syntax as s
from vlang.text.constants import fold
from vlang.text.diagnostics import Diagnostic, SpecError
from vlang.text.source import Span
from vlang.typed.signatures import KINDS
from vlang.typed.types import DurationType, IntegerType, NormType, NumberType, TextType, Type
from vlang.words.aggregates import AGGREGATES
from vlang.words.baselines import BARE
from vlang.words.matrices import QUANTITIES
from vlang.words.queries import QUERIES

#: Types a param may have.
PARAM_TYPES: Mapping[str, Type[Any]] = {
    "number": NumberType(),
    "integer": IntegerType(None),
    "text": TextType(),
    "norm": NormType(),
    "duration": DurationType(),
}
#: Names that mean something as values, which a param would hide.
RESERVED = frozenset({"all", "any", "each", "inf", "runner_up", *(f for q in QUERIES.values() for f in q.fields), *BARE, *QUANTITIES, *AGGREGATES})


@dataclass
class Module:
    """A spec's declarations by name, its params, and the errors found so far (of every pass up to the plan)."""

    declarations: list[s.Declaration] = field(default_factory=list)
    named: dict[str, list[s.Declaration]] = field(default_factory=dict)
    params: dict[str, s.Expr] = field(default_factory=dict)
    errors: list[Diagnostic] = field(default_factory=list)
    #: Names whose declaration is wrong already: using them is no second error.
    broken: set[str] = field(default_factory=set)

    def report(self, *diagnostics: Diagnostic) -> None:
        self.errors.extend(diagnostics)

    def names(self, kinds: Iterable[str]) -> list[str]:
        return [x.name for x in self.declarations if x.kind in kinds]

    def find(self, name: str, kinds: Iterable[str]) -> s.Declaration | None:
        """The declaration of that name among these kinds."""
        return next((x for x in self.named.get(name, ()) if x.kind in kinds), None)

    def declare(self, declaration: s.Declaration) -> None:
        self.declarations.append(declaration)
        self.named.setdefault(declaration.name, []).append(declaration)


def load(file: s.File, overrides: Mapping[str, s.Given | s.Expr]) -> Module:
    """Collect declarations and params; check what can be checked of each declaration alone."""
    module = Module()
    headers = [e for e in file.entries if isinstance(e, s.Header)]
    if not headers:
        module.report(d.version_missing())
    for header in headers:
        if header is not file.entries[0]:
            module.report(d.misplaced(header.span, "'rspec'", "once, on the first line"))
        elif header.version != "1":
            module.report(d.version_unknown(header.span, header.version))
    seen: dict[tuple[str, str], Span] = {}
    for entry in file.entries:
        match entry:
            case s.Param() | s.Declaration():
                if entry.name in RESERVED and isinstance(entry, s.Param):
                    module.report(d.reserved_name(entry.span, entry.name))
                first = [seen[key] for key in ((space, entry.name) for space in _spaces(entry)) if key in seen]
                if first:
                    module.report(d.duplicate_name(entry.span, entry.name, first[0]))
                    continue
                seen |= {(space, entry.name): entry.span for space in _spaces(entry)}
                if isinstance(entry, s.Param):
                    _param(module, entry, overrides.get(entry.name))
                elif entry.kind not in KINDS:
                    module.broken.add(entry.name)
                    module.report(d.unknown_kind(entry.kind_span, entry.kind, KINDS))
                else:
                    module.declare(entry)
            case s.Pair():
                module.report(d.misplaced(entry.span, f"'{entry.key} = ...'", "inside a declaration: kind name { key = value }"))
            case s.Sweep():
                module.report(d.misplaced(entry.span, "'sweep'", "inside a query"))
            case s.Gate():
                module.report(d.misplaced(entry.span, f"'{entry.kind}'", "inside a query"))
    for name in overrides:
        if name not in module.params and name not in module.broken:
            module.report(d.unknown_param(name, module.params))
    return module


def _spaces(entry: s.Param | s.Declaration) -> tuple[str, ...]:
    """Where a name must be the only one: among the queries, or among what a key may refer to. A param may stand for any value."""
    referred = tuple(k for k, signature in KINDS.items() if not signature.gated and k != "dataset")
    if isinstance(entry, s.Param):
        return ("param", *referred)
    if entry.kind in KINDS and KINDS[entry.kind].gated:
        return ("query",)
    return ("input",) if entry.kind == "dataset" else (entry.kind,)


def _given(entry: s.Param, given: s.Given | s.Expr) -> s.Expr:
    """The expression that stands for a param. Raises SpecError."""
    if not isinstance(given, s.Given):
        return given
    if entry.type == "text" and not isinstance(given.value, s.Text):
        return s.Text(given.span, given.text)
    if given.value is None:
        raise SpecError(d.bad_param(entry.name, given.reason))
    return given.value


def _param(module: Module, entry: s.Param, override: s.Given | s.Expr | None) -> None:
    if entry.type not in PARAM_TYPES:
        module.broken.add(entry.name)
        module.report(d.unknown_name(entry.type_span, entry.type, "type of param", PARAM_TYPES))
        return
    given: s.Expr | None = None
    if override is not None:
        try:
            given = _given(entry, override)
        except SpecError as e:
            module.broken.add(entry.name)
            module.report(*e.diagnostics)
            return
    for value in (entry.value, given):
        if value is None:
            continue
        try:
            folded = fold(value, module.params if value is entry.value else {}, module.broken)
            PARAM_TYPES[entry.type].convert(f"param {entry.name}", folded, module.params)
            module.params[entry.name] = folded
        except SpecError as e:
            module.broken.add(entry.name)
            module.report(*(e.diagnostics if value is entry.value else (d.bad_param(entry.name, x.message) for x in e.diagnostics)))
