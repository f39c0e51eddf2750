"""Syntax tree to typed tree: names, kinds, keys and types, by the signature table. Collects every error it can."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from keyword import iskeyword
from typing import Any

from vlang.text import diagnostics as d
from vlang.text import syntax as s
from vlang.text.constants import Params, describe, fold, shown
from vlang.text.diagnostics import Diagnostic, SpecError
from vlang.text.source import Span
from vlang.typed.signatures import AGGREGATES, KINDS, ROW_FIELDS
from vlang.typed.types import DurationType, IntegerType, Located, NormType, NumberType, Reference, TextType, Type, article

#: Types a param may have.
PARAM_TYPES: Mapping[str, Type[Any]] = {
    "number": NumberType(),
    "integer": IntegerType(None),
    "text": TextType(),
    "norm": NormType(),
    "duration": DurationType(),
}
#: So many combinations of swept values are a mistake.
MOST_POINTS = 10_000
#: Names that mean something as values, which a param would hide.
RESERVED = frozenset({"all", "any", "each", "inf", "runner_up", *(f for fields in ROW_FIELDS.values() for f in fields), *AGGREGATES})


@dataclass
class Module:
    """A spec's declarations by name, its params, and the errors found so far."""

    declarations: list[s.Declaration] = field(default_factory=list)
    params: dict[str, s.Expr] = field(default_factory=dict)
    errors: list[Diagnostic] = field(default_factory=list)
    #: Names whose declaration is wrong already: using them is no second error.
    broken: set[str] = field(default_factory=set)

    def report(self, *diagnostics: Diagnostic) -> None:
        """Add errors, each once."""
        self.errors.extend(x for x in dict.fromkeys(diagnostics) if x not in self.errors)

    def names(self, kinds: Iterable[str]) -> list[str]:
        return [x.name for x in self.declarations if x.kind in kinds]

    def find(self, name: str, kinds: Iterable[str]) -> s.Declaration | None:
        """The declaration of that name among these kinds."""
        return next((x for x in self.declarations if x.name == name and x.kind in kinds), None)


def load(file: s.File, overrides: Mapping[str, s.Expr]) -> Module:
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
                    module.declarations.append(entry)
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


def _param(module: Module, entry: s.Param, override: s.Expr | None) -> None:
    if entry.type not in PARAM_TYPES:
        module.broken.add(entry.name)
        module.report(d.unknown_name(entry.type_span, entry.type, "type of param", PARAM_TYPES))
        return
    for value in (entry.value, override):
        if value is None:
            continue
        try:
            folded = fold(value, module.params if value is entry.value else {}, module.broken)
            PARAM_TYPES[entry.type].convert(f"param {entry.name}", folded, module.params)
            module.params[entry.name] = folded
        except SpecError as e:
            module.broken.add(entry.name)
            module.report(*(e.diagnostics if value is entry.value else (d.bad_param(entry.name, x.message) for x in e.diagnostics)))


def typed(module: Module, kind: str, where: Span, entries: tuple[s.Entry, ...]) -> Any:
    """The typed dataclass of a declaration or record, or None after reporting what is wrong with it."""
    signature = KINDS[kind]
    values: dict[str, Any] = dict.fromkeys(signature.keys)
    given: set[str] = set()
    wrong: list[Diagnostic] = []
    failed = False
    for entry in entries:
        match entry:
            case s.Pair(key=key, span=span):
                if key not in signature.keys:
                    meant = d.nearest(key, signature.keys)
                    wrong.append(d.unknown_key(span, key, kind, signature.keys))
                    given |= {meant} if meant is not None and meant not in given else set()
                elif key in given:
                    wrong.append(d.duplicate_key(span, key))
                else:
                    given.add(key)
                    try:
                        folded = entry.value if signature.keys[key].raw else fold(entry.value, module.params, module.broken)
                        values[key] = Located(signature.keys[key].type.convert(key, folded, module.params), entry.value.span)
                    except SpecError as e:
                        failed = True
                        wrong.extend(e.diagnostics)
            case s.Sweep(span=span) if not signature.query:
                wrong.append(d.misplaced(span, "'sweep'", "inside a query"))
            case s.Gate(span=span, kind=word) if not signature.gated:
                wrong.append(d.misplaced(span, f"'{word}'", "inside a query or a report"))
            case s.Declaration(kind=inner, kind_span=span):
                wrong.append(d.misplaced(span, f"a declaration ('{inner}')", "at the top level of the spec"))
            case s.Param(span=span) | s.Header(span=span):
                wrong.append(d.misplaced(span, "this", "at the top level of the spec"))
    for key, spec in signature.keys.items():
        if key in given:
            continue
        if spec.required:
            wrong.append(d.missing_key(where, key, kind, spec.doc))
        elif spec.default is not None:
            values[key] = Located(spec.type.convert(key, spec.default, module.params), where)
    module.report(*wrong)
    return None if wrong or failed else signature.form(span=where, **{f"{k}_" if iskeyword(k) else k: v for k, v in values.items()})


def resolve(module: Module, reference: Located[Reference], kinds: tuple[str, ...]) -> tuple[str, str, Any] | None:
    """The kind, name and typed form that a reference means, or None after reporting."""
    ref = reference.value
    if ref.record is not None:
        kind = kinds[0]
        data_only = set(KINDS["dataset"].keys) - set(KINDS["input"].keys)
        if "dataset" in kinds and any(isinstance(e, s.Pair) and e.key in data_only for e in ref.record.entries):
            kind = "dataset"
        form = typed(module, kind, reference.span, ref.record.entries)
        return None if form is None else (kind, "", form)
    assert ref.name is not None
    if ref.index is not None:
        kinds = ("dataset",)
    declaration = module.find(ref.name, kinds)
    if declaration is None:
        other = module.find(ref.name, KINDS)
        if ref.name in module.broken:
            pass
        elif other is not None:
            wanted = " or ".join(article(k) for k in kinds)
            module.report(d.wrong_type(reference.span, "the reference", f"the name of {wanted}", f"'{ref.name}', which is {article(other.kind)}"))
        else:
            module.report(d.unknown_name(reference.span, ref.name, " or ".join(kinds), module.names(kinds)))
        return None
    form = typed(module, declaration.kind, declaration.span, declaration.entries)
    return None if form is None else (declaration.kind, ref.name, form)


def sweep_points(module: Module, query: s.Declaration) -> list[tuple[tuple[tuple[str, str], ...], tuple[s.Entry, ...]]]:
    """Every combination of swept values: how it is shown, and the query's entries with the values put in."""
    points: list[tuple[tuple[tuple[str, str], ...], tuple[s.Entry, ...]]] = [((), query.entries)]
    swept: list[tuple[str, ...]] = []
    for sweep in (e for e in query.entries if isinstance(e, s.Sweep)):
        values = sweep.values.items if isinstance(sweep.values, s.Items) else ()
        if not values:
            module.report(d.nothing_to_sweep(sweep.values.span))
            continue
        if any(path[: len(sweep.path)] == sweep.path[: len(path)] for path in swept):
            module.report(d.swept_twice(sweep.span, ".".join(sweep.path)))
            continue
        swept.append(sweep.path)
        if len(points) * len(values) > MOST_POINTS:
            module.report(d.too_large(sweep.span, "points of the sweeps", len(points) * len(values), MOST_POINTS))
            continue
        shown_as = [shown_value(v, module.params) for v in values] if not module.broken else []
        again = next((v for i, v in enumerate(shown_as) if v in shown_as[:i]), None)
        if again is not None:
            module.report(d.same_point(sweep.span, ".".join(sweep.path), again))
            continue
        try:
            name = ".".join(sweep.path)
            points = [
                ((*shown, (name, shown_value(value, module.params))), _substitute(module, query, entries, sweep, value))
                for shown, entries in points
                for value in values
            ]
        except SpecError as e:
            module.report(*e.diagnostics)
    return points


def shown_value(value: s.Expr, params: Params) -> str:
    """A value as text, for tables and reports."""
    match fold(value, params):
        case s.Number(value=v):
            return shown(v)
        case s.Name(name=n):
            return n
        case s.Text(value=t):
            return t
        case s.Items(items=items):
            return "[" + ", ".join(shown_value(x, params) for x in items) + "]"
        case s.Slice(start=a, stop=b):
            return f"[{'' if a is None else shown_value(a, params)}:{'' if b is None else shown_value(b, params)}]"
        case s.Call(name=n, args=args, keywords=keywords):
            inner = [shown_value(x, params) for x in args] + [f"{k.key}={shown_value(k.value, params)}" for k in keywords]
            return f"{n}({', '.join(inner)})"
        case s.Field(base=base, name=n):
            return f"{shown_value(base, params)}.{n}"
        case s.Method(base=base, name=n, args=args):
            return f"{shown_value(base, params)}.{n}({', '.join(shown_value(x, params) for x in args)})"
        case s.Index(base=s.Name(name=n), index=s.Slice() as ends):
            return n + shown_value(ends, params)
        case s.Index(base=s.Name(name=n), index=index):
            return f"{n}[{shown_value(index, params)}]"
        case s.Record(entries=entries):
            return "{" + ", ".join(f"{e.key} = {shown_value(e.value, params)}" for e in entries if isinstance(e, s.Pair)) + "}"
    return describe(value)


def _substitute(module: Module, query: s.Declaration, entries: tuple[s.Entry, ...], sweep: s.Sweep, value: s.Expr) -> tuple[s.Entry, ...]:
    """The entries with the swept key set: a key of the query, or a key of a record it refers to."""
    keys = KINDS[query.kind].keys
    known = list(keys) + [f"{k}.{x}" for k in keys if k in KINDS for x in KINDS[k].keys]
    name = ".".join(sweep.path)
    if name not in known and not (sweep.path[0] == "input" and len(sweep.path) == 2):
        raise SpecError(d.unknown_sweep(sweep.span, name, known))
    if len(sweep.path) == 1:
        return _set(entries, s.Pair(sweep.span, sweep.path[0], value))
    outer, inner = sweep.path
    pair = next((e for e in entries if isinstance(e, s.Pair) and e.key == outer), None)
    match None if pair is None else pair.value:
        case s.Record(entries=held):
            pass
        case s.Name(name=ref) if (declared := module.find(ref, ("input", "dataset") if outer == "input" else (outer,))) is not None:
            held = declared.entries
        case None:
            held = ()
        case _:
            raise SpecError(d.unknown_sweep(sweep.span, name, keys))
    record = s.Record(value.span if pair is None else pair.value.span, _set(held, s.Pair(sweep.span, inner, value)))
    return _set(entries, s.Pair(sweep.span, outer, record))


def _set(entries: tuple[s.Entry, ...], pair: s.Pair) -> tuple[s.Entry, ...]:
    kept = tuple(e for e in entries if not (isinstance(e, s.Pair) and e.key == pair.key))
    return (*kept, pair)
