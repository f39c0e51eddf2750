"""Syntax tree to typed tree: names, kinds, keys and types, by the signature table. Every declaration is typed once, and every error told once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from keyword import iskeyword
from typing import Any

from vlang.text import diagnostics as d
from vlang.text import syntax as s
from vlang.text.constants import fold
from vlang.text.diagnostics import Diagnostic, SpecError
from vlang.text.source import Span
from vlang.typed import conditions
from vlang.typed.conditions import FIELDS, Scope
from vlang.typed.matrices import MatrixReference
from vlang.typed.module import Module
from vlang.typed.signatures import KINDS
from vlang.typed.sources import REPORTED, Source
from vlang.typed.sweeps import Sweep, combined, put, shown_value, swept
from vlang.typed.tree import Baseline, Cell, Data, Dataset, Gate, Input, Matrix, Network, Point, Query, Report, Spec, Spectrum, Stack
from vlang.typed.types import Located, Reference, article

#: Keys of a record by which a sweep sets something in it, by the outer key; none for one that sets the key itself.
Given = Mapping[str, frozenset[str]]
NOTHING: Given = {}


def check(module: Module) -> Spec:
    """The typed tree of everything that is sound by itself; what is wrong is reported to the module."""
    checker = _Checker(module)
    referred = [checker.declared(x) for x in module.declarations if not KINDS[x.kind].gated]
    asked = [(x, checker.query(x)) for x in module.declarations if KINDS[x.kind].query]
    queries = {x.name: query for x, query in asked}
    reports = [checker.report(x, queries) for x in module.declarations if KINDS[x.kind].gated and not KINDS[x.kind].query]
    sound = [query for query in queries.values() if query is not None]
    return Spec(
        tuple((k, shown_value(v, module.params)) for k, v in module.params.items()),
        tuple(x for x in referred if isinstance(x, Network)),
        tuple(x for x in referred if isinstance(x, Input | Dataset)),
        tuple(q for q in sound if q.kind != "spectrum"),
        tuple(q for q in sound if q.kind == "spectrum"),
        tuple(x for x in reports if x is not None),
        tuple(x for x in referred if isinstance(x, Baseline)),
    )


class _Checker:
    def __init__(self, module: Module) -> None:
        self.module = module
        self._forms: dict[tuple[str, str], Any] = {}
        self._open: list[tuple[str, str]] = []  # declarations that are being typed

    # -- records and references -----------------------------------------------------------------------------------------

    def declared(self, declaration: s.Declaration) -> Any:
        """The form of a declaration, or None where it is wrong (which has been reported)."""
        key = declaration.kind, declaration.name
        if key not in self._forms:
            self._open.append(key)
            self._forms[key] = self.record(declaration.kind, declaration.name, declaration.span, declaration.entries)
            self._open.pop()
        return self._forms[key]

    def record(self, kind: str, name: str, where: Span, entries: tuple[s.Entry, ...], given: Given = NOTHING) -> Any:
        """The form of a declaration or record, or None after reporting what is wrong with it. given: what sweeps set; those keys are left None."""
        signature = KINDS[kind]
        values: dict[str, Any] = dict.fromkeys(signature.keys)
        met = {key for key, inner in given.items() if not inner}
        wrong: list[Diagnostic] = []
        failed = False
        for entry in entries:
            match entry:
                case s.Pair(key=key, span=span):
                    if key not in signature.keys:
                        meant = d.nearest(key, signature.keys)
                        wrong.append(d.unknown_key(span, key, kind, signature.keys))
                        met |= {meant} if meant is not None else set()
                    elif key in met:
                        wrong.append(d.duplicate_key(span, key))
                    else:
                        met.add(key)
                        try:
                            values[key] = self.value(kind, key, entry.value, given.get(key, frozenset()))
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
            if key in met:
                continue
            if given.get(key):
                try:
                    values[key] = self.value(kind, key, s.Record(where, ()), given[key])
                except SpecError as e:
                    failed = True
                    wrong.extend(e.diagnostics)
            elif spec.required and not spec.unless(values, met):
                wrong.append(d.missing_key(where, key, kind, spec.doc))
            elif spec.default is not None:
                values[key] = self.value(kind, key, replace(spec.default, span=where))
        self.module.report(*wrong)
        if wrong or failed:
            return None
        return signature.form(span=where, name=name, **{f"{k}_" if iskeyword(k) else k: v for k, v in values.items()})

    def value(self, kind: str, key: str, expr: s.Expr, given: frozenset[str] = frozenset()) -> Located[Any]:
        """A key's value, references resolved. given: keys of the record that it refers to which sweeps set. Raises SpecError."""
        spec = KINDS[kind].keys[key]
        folded = expr if spec.raw or given else fold(expr, self.module.params, self.module.broken)
        value = spec.type.convert(key, folded, self.module.params)
        match value:
            case Reference():
                value = self.referred(value, expr.span, given)
            case MatrixReference(network=network, gate=gate, input=data, frame=frame):
                net = Located(self.referred(network.value, network.span), network.span)
                sample = None if data is None else Located(self.referred(data.value, data.span), data.span)
                value = Matrix(net, gate, sample, frame)
        return Located(value, expr.span)

    def referred(self, reference: Reference, span: Span, given: frozenset[str] = frozenset()) -> Any:
        """The form that a reference means. Raises SpecError."""
        kinds = reference.kinds
        if reference.record is not None:
            entries = tuple(e for e in reference.record.entries if not (isinstance(e, s.Pair) and e.key in given))
            keys = {e.key for e in reference.record.entries if isinstance(e, s.Pair)} | given
            data_only = set(KINDS["dataset"].keys) - set(KINDS["input"].keys)
            kind = "dataset" if "dataset" in kinds and keys & data_only else kinds[0]
            form = self.record(kind, "", span, entries, dict.fromkeys(given, frozenset()))
        else:
            declaration = self._declaration(str(reference.name), span, kinds)
            if (declaration.kind, declaration.name) in self._open:
                raise SpecError(d.derived_from_itself(span, self._open[-1][1]))
            form = self.declared(declaration)
            form = replace(form, name="") if given and form is not None else form
        if form is None:  # which has been reported
            raise SpecError()
        return Data(form, reference.index) if isinstance(form, Input | Dataset) else form

    def _declaration(self, name: str, span: Span, kinds: tuple[str, ...]) -> s.Declaration:
        found = self.module.find(name, kinds)
        if found is not None:
            return found
        if name in self.module.broken:
            raise SpecError()
        other = self.module.find(name, KINDS)
        if other is not None:
            wanted = " or ".join(article(k) for k in kinds)
            raise SpecError(d.wrong_type(span, "the reference", f"the name of {wanted}", f"'{name}', which is {article(other.kind)}"))
        raise SpecError(d.unknown_name(span, name, " or ".join(kinds), self.module.names(kinds)))

    # -- queries --------------------------------------------------------------------------------------------------------

    def query(self, declaration: s.Declaration) -> Query | None:
        """The query at every point of the sweeps that are right, with the conditions that are; None where it has no point. All else is reported."""
        sweeps = swept(self.module, declaration)
        given: dict[str, frozenset[str]] = {}
        for sweep in sweeps:
            given[sweep.path[0]] = given.get(sweep.path[0], frozenset()) | set(sweep.path[1:])
        written = {e.key for e in declaration.entries if isinstance(e, s.Pair)} | set(given)
        meant = {e.path[0] for e in declaration.entries if isinstance(e, s.Sweep) and len(e.path) == 1} - written
        given |= dict.fromkeys(meant & set(KINDS[declaration.kind].keys), frozenset())  # set by a sweep that is wrong: no second error
        entries = tuple(e for e in declaration.entries if not (isinstance(e, s.Pair) and given.get(e.key) == frozenset()))
        form = self.record(declaration.kind, declaration.name, declaration.span, entries, given)
        typed = [(sweep, self._swept(declaration.kind, form, sweep)) for sweep in sweeps]
        points: list[Point] = []
        if form is not None and not meant and all(len(values) == len(sweep.values) for sweep, values in typed):
            points = [Point(at, put(form, values)) for at, values in combined(typed)]
        scope = Scope.of_query(declaration.kind, self.module.names(("baseline",)))
        if any(isinstance(p.form, Spectrum) and p.form.of.value.frame is None for p in points):  # a weight has no trajectory
            scope = replace(scope, fields={k: v for k, v in scope.fields.items() if k != "product_growth"})
        gates = self._gates(declaration, scope)
        if not points:
            return None
        return Query(declaration.kind, declaration.name, declaration.span, tuple(points), gates)

    def _swept(self, kind: str, form: Any, sweep: Sweep) -> list[Located[Any]]:
        """A sweep's values, typed; those that are wrong are reported and left out."""
        if len(sweep.path) > 1:
            base = None if form is None else getattr(form, sweep.path[0]).value
            kind = sweep.path[0]
            if kind == "input" and (isinstance(base.form, Dataset) if isinstance(base, Data) else sweep.path[1] not in KINDS[kind].keys):
                kind = "dataset"
            if sweep.path[1] not in KINDS[kind].keys:
                self.module.report(d.unknown_sweep(sweep.span, ".".join(sweep.path), [f"input.{k}" for k in KINDS[kind].keys]))
                return []
        found = []
        for value in sweep.values:
            try:
                found.append(self.value(kind, sweep.path[-1], value))
            except SpecError as e:
                self.module.report(*e.diagnostics)
        return found

    def _gates(self, declaration: s.Declaration, scope: Scope, many: str | None = None) -> tuple[Gate, ...]:
        """What is expected of a declaration's rows. many: how many they are, in words, where that is known to be more than one."""
        found = []
        for gate in (e for e in declaration.entries if isinstance(e, s.Gate)):
            try:
                condition = conditions.check(gate.condition, scope, self.module.params, self.module.broken)
            except SpecError as e:
                self.module.report(*e.diagnostics)
                continue
            self.module.report(*(conditions.single(condition, many) if many else ()))
            found.append(Gate(gate.kind, gate.text, condition, gate.because, gate.span, gate.end))
        return tuple(found)

    # -- reports --------------------------------------------------------------------------------------------------------

    def report(self, declaration: s.Declaration, queries: Mapping[str, Query | None]) -> Report | None:
        """None after reporting what is wrong, and in silence where a query that it is about is."""
        before = len(self.module.errors)
        form = self.record(declaration.kind, declaration.name, declaration.span, declaration.entries)
        if form is None:
            return None
        stacks = self._stacks(form, queries)
        if stacks is None or len(self.module.errors) > before:
            return None
        fields = {f"{x.value.name}.{field}": of for x in stacks if x.value.path is None for field, of in FIELDS[x.value.kind].items()}
        scope = Scope(fields, "this report", REPORTED if any(x.value.path is not None for x in stacks) else None)
        cells = None if form.cell is None else Located(self._cells(form.cell, scope), form.cell.span)
        gates = self._gates(declaration, scope, conditions.SEVERAL)
        if len(self.module.errors) > before:
            return None
        typed: Report = replace(form, of=Located(tuple(stacks), form.of.span), cell=cells, gates=gates)
        return typed

    def _cells(self, written: Located[Any], scope: Scope) -> tuple[Cell, ...]:
        names = [name for name, _ in written.value if name is not None]
        self.module.report(*(d.named_twice(written.span, n, "a cell") for n in dict.fromkeys(names) if names.count(n) > 1))
        found = []
        for name, expr in written.value:
            try:
                value = conditions.check_value(expr, scope, self.module.params, self.module.broken)
                self.module.report(*conditions.single(value))
                found.append(Cell(name, value))
            except SpecError as e:
                self.module.report(*e.diagnostics)
        return tuple(found)

    def _stacks(self, form: Any, queries: Mapping[str, Query | None]) -> list[Located[Stack]] | None:
        """A report's sources; None where some query is wrong."""
        stacks: list[Located[Stack]] = []
        sources: tuple[Located[Source], ...] = form.of.value
        sound, met = True, set[str]()
        for source in sources:
            name, path = source.value.name, source.value.path
            if name in met:
                self.module.report(d.named_twice(source.span, name, "a source of the report"))
                continue
            met.add(name)
            found = [query for located in source.value.queries if (query := self._source(name, located, queries)) is not None]
            sound = sound and len(found) == len(source.value.queries)
            other = next((i for i, q in enumerate(found) if q.kind != found[0].kind), None)
            if other is not None:
                span = source.value.queries[other].span
                self.module.report(d.different_kinds(span, name, article(found[0].kind), article(found[other].kind)))
            elif found or path is not None:
                stacks.append(Located(Stack(name, found[0].kind if found else "", source.value.queries, path), source.span))
        if not sources:
            self.module.report(d.out_of_range(form.of.span, "of", "[]", "a list of at least one query"))
        elif all(x.value.path is not None for x in sources):
            self.module.report(d.not_a_query(form.of.span, REPORTED, "a file", queries))
        return stacks if sound else None

    def _source(self, name: str, located: Located[str], queries: Mapping[str, Query | None]) -> Query | None:
        if located.value not in queries and located.value not in self.module.broken:
            other = self.module.find(located.value, KINDS)
            known: Collection[str] = [q for q, query in queries.items() if query is not None]
            self.module.report(d.not_a_query(located.span, located.value, None if other is None else article(other.kind), known))
        return queries.get(located.value)
