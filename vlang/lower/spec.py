"""Typed tree to Plan: files located, architectures read, tokens looked up, frames and samples resolved against real shapes.

Everything that can be wrong about a query without computing is reported here, with the place in the spec.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from vlang.cost import frames_of
from vlang.judge.values import Scope
from vlang.judge.values import check as check_condition
from vlang.lower import matrices as spectra
from vlang.lower import networks, reports, samples
from vlang.lower.matrices import picture_path
from vlang.lower.networks import LoweredNetwork, class_number
from vlang.lower.samples import Arrays, SampleIndex
from vlang.lower.sets import lower_perturbation
from vlang.plan import (
    AttackPlan,
    EnginePlan,
    EstimatePlan,
    Expectation,
    InputPlan,
    NetworkPlan,
    Plan,
    QueryKind,
    QueryPlan,
    ReportPlan,
    SpectrumPlan,
    SpectrumQuery,
    Swept,
    TargetPlan,
    TextInput,
    Variant,
)
from vlang.text import diagnostics as d
from vlang.text import syntax as s
from vlang.text.diagnostics import Diagnostic, SpecError, nearest
from vlang.text.parser import parse
from vlang.text.source import Source, Span
from vlang.typed import check
from vlang.typed.check import Module
from vlang.typed.signatures import KINDS, Dataset, Engine, Input, Network, Perturbation, Query, Report, Spectrum
from vlang.typed.types import Located, Reference

T = TypeVar("T")
#: Errors that no missing line can cause.
LOCAL_CODES = frozenset({"R201", "R202", "R203", "R204", "R207", "R208", "R209", "R210", "R215", "R217", "R218", "R223", "R405", "R417"})
SEVERAL = reports.SEVERAL
#: A larger spec file is a mistake.
LARGEST_SPEC = 16 * 2**20


def compile_spec(source: Source, overrides: Mapping[str, s.Expr] | None = None, only: Collection[str] = ()) -> Plan:
    """The plan of a spec, or SpecError with every diagnostic. `only`: the queries and reports to keep; none for all."""
    try:
        return _compile(source, overrides or {}, only)
    except RecursionError:
        raise SpecError(d.too_deep(Span(1, 1))) from None


def _compile(source: Source, overrides: Mapping[str, s.Expr], only: Collection[str]) -> Plan:
    tree, errors = parse(source)
    module = check.load(tree, overrides)
    if errors:
        # What could be parsed is checked too, as far as the lines left out cannot be to blame.
        for x in module.declarations:
            check.typed(module, x.kind, x.span, x.entries)
        lost = {e.span.line for e in errors if e.span is not None}
        errors += [e for e in module.errors if e.code in LOCAL_CODES and e.span is not None and e.span.line not in lost]
        raise SpecError(*sorted(errors, key=_place))
    lowering = _Lowering(source, module)
    asked = [x for x in module.declarations if KINDS[x.kind].query]
    queries, spectra = [x for x in asked if x.kind != "spectrum"], [x for x in asked if x.kind == "spectrum"]
    lowering.unused(asked)
    plans = [lowering.query(x) for x in queries]
    matrices = [x for x in map(lowering.spectrum, spectra) if x is not None]
    pages = lowering.reports({p.name: p for p in (*plans, *matrices) if p is not None}, matrices)
    shown = {name for p in pages if p.picture != "none" and set(p.formats) & set(reports.PICTURED) for name in p.queries}
    matrices = [replace(x, drawn=x.picture is not None or x.name in shown) for x in matrices]
    names = [*(x.name for x in asked), *(x.name for x in pages)]
    module.report(*(d.unknown_query(name, names) for name in only if name not in names))
    if module.errors:
        raise SpecError(*sorted(module.errors, key=_place))
    params = tuple((k, check.shown_value(v, module.params)) for k, v in module.params.items())
    kept = tuple(p for p in pages if not only or p.name in only)
    needed = {*only, *(name for p in kept for name in p.queries)} if only else set(names)
    chosen = tuple(p for p in plans if p is not None and p.name in needed)
    return Plan(source.path, source.sha256, params, chosen, kept, tuple(x for x in matrices if x.name in needed))


def _place(x: Diagnostic) -> tuple[int, int]:
    """What has no place in the spec, a param of the call, comes first: it may be the cause of the others."""
    return (x.span.line, x.span.column) if x.span is not None else (0, 0)


class _Lowering:
    def __init__(self, source: Source, module: Module) -> None:
        self.source, self.module = source, module
        self._networks: dict[Network, LoweredNetwork | None] = {}
        self._deriving: set[Network] = set()
        self._opened: dict[Dataset, Arrays] = {}

    def unused(self, queries: list[s.Declaration]) -> None:
        """Check declarations alone, so that the mistakes of those that no query reaches are seen too."""
        for declaration in self.module.declarations:
            if declaration in queries:
                continue
            form = check.typed(self.module, declaration.kind, declaration.span, declaration.entries)
            if isinstance(form, Network):
                self.network(form, declaration.name)
            elif isinstance(form, Dataset):
                self.attempt(partial(self.arrays, form))
            elif isinstance(form, Input):
                self.attempt(partial(samples.check_input, form))

    def attempt(self, step: Callable[[], T]) -> T | None:
        """The step's result, or None after reporting what was wrong: the other steps can still be checked."""
        try:
            return step()
        except SpecError as e:
            self.module.report(*e.diagnostics)
            return None

    def query(self, declaration: s.Declaration) -> QueryPlan | None:
        variants, sizes = [], []
        before, broken = len(self.module.errors), False
        for swept, entries in check.sweep_points(self.module, declaration):
            form = check.typed(self.module, declaration.kind, declaration.span, entries)
            if form is None:
                broken = True
                continue
            try:
                variant, size = self.variant(declaration.name, swept, form)
            except SpecError as e:  # which may have been said already, of another query
                self.module.report(*e.diagnostics)
                broken = True
                continue
            variants.append(variant)
            sizes.append(size)
        expectations = self.gates(declaration, Scope.of_query(declaration.kind, None if sizes == [1] else SEVERAL), bool(variants))
        if broken or len(self.module.errors) > before:
            return None
        kind: QueryKind = declaration.kind  # type: ignore[assignment]
        return QueryPlan(declaration.name, kind, tuple(variants), expectations)

    def gates(self, declaration: s.Declaration, scope: Scope, known: bool) -> tuple[Expectation, ...]:
        """What is expected of a query's rows. known: whether it has any; without, their number is not known, and its errors would mislead."""
        expectations = []
        for gate in (e for e in declaration.entries if isinstance(e, s.Gate)):
            try:
                condition = check_condition(gate.condition, scope, self.module.params, self.module.broken)
            except SpecError as e:
                self.module.report(*(x for x in e.diagnostics if known or x.code != "R213"))
                continue
            expectations.append(Expectation(gate.kind, gate.text, condition, gate.because, gate.span.line, gate.span.column))
        return tuple(expectations)

    def spectrum(self, declaration: s.Declaration) -> SpectrumQuery | None:
        before, broken, variants, picture, span = len(self.module.errors), False, [], None, declaration.span
        for sweep in (e for e in declaration.entries if isinstance(e, s.Sweep) and e.path[0] in ("picture", "points")):
            self.module.report(d.unknown_sweep(sweep.span, ".".join(sweep.path), ["of", "eps", "layer", "direction"]))
        for swept, entries in check.sweep_points(self.module, declaration):
            form = check.typed(self.module, declaration.kind, declaration.span, entries)
            if not isinstance(form, Spectrum):
                broken = True
                continue
            try:
                variants.append(self.matrix(declaration.name, swept, form))
                if form.picture is not None:
                    picture, span = picture_path(form.picture, self.source.folder), form.picture.span
            except SpecError as e:
                self.module.report(*e.diagnostics)
                broken = True
        scope = Scope.of_query(declaration.kind, None if len(variants) == 1 else SEVERAL)
        if any(v.frame is None for v in variants):  # a weight has no trajectory
            scope = replace(scope, fields={k: v for k, v in scope.fields.items() if k != "product_growth"})
        expectations = self.gates(declaration, scope, bool(variants))
        if broken or len(self.module.errors) > before:
            return None
        return SpectrumQuery(declaration.name, tuple(variants), expectations, picture, span)

    def matrix(self, name: str, swept: Swept, form: Spectrum) -> SpectrumPlan:
        """Raises SpecError."""
        of = form.of.value
        found = self.resolve(of.network, ("network",), Network)
        network = None if found is None else self.network(found[1], found[0] or f"{name}.network")
        if network is None:
            raise SpecError()
        gate = spectra.check_matrix(form, network.plan.architecture)
        data = None
        if of.input is not None and of.frame is not None:
            index = of.input.value.index
            held = check.resolve(self.module, of.input, ("input", "dataset"))
            if held is None:
                raise SpecError()
            if not (isinstance(held[2], Input) or (index is not None and isinstance(index.value, int))):
                raise SpecError(d.one_sample_needed(of.input.span, "a dataset"))
            data = self.data(held[2], network, index)
            if of.frame.value >= frames_of(data):
                raise SpecError(d.out_of_range(of.frame.span, "the frame", str(of.frame.value), f"below {frames_of(data)}, the input's frames"))
        frame = None if of.frame is None else of.frame.value
        layer, reverse = form.layer.value, form.direction.value == "backward"
        shown = spectra.written(of, network.plan)
        return SpectrumPlan(
            swept, shown, network.plan, gate, data, frame, layer, reverse, tuple(dict.fromkeys(form.eps.value)), form.points.value, form.of.span
        )

    def reports(self, plans: Mapping[str, QueryPlan | SpectrumQuery], matrices: Sequence[SpectrumQuery]) -> list[ReportPlan]:
        typed = [(x, check.typed(self.module, x.kind, x.span, x.entries)) for x in self.module.declarations if x.kind == "report"]
        forms = [(x, form) for x, form in typed if isinstance(form, Report)]
        # What a report may not overwrite, besides other reports: the text files that the spec reads.
        named = [n.vocabulary.value for n in self._networks if n.vocabulary is not None]
        named += [y.value.path for _, form in forms for y in form.of.value if y.value.path is not None]
        read, written = {(self.source.folder / name).resolve() for name in named}, set[Path]()
        for query in (q for q in matrices if q.picture is not None):
            path = Path(str(query.picture)).resolve()
            if path in written or path in read:
                self.module.report(d.same_output(query.span, path.name, "written by another query" if path in written else "read by this spec"))
            written.add(path)
        found: list[ReportPlan] = []
        for x, form in forms:
            plan = self.attempt(partial(reports.lower, self.module, x, form, plans, self.source.folder))
            if plan is None:
                continue
            found.append(plan)
            for path in (Path(f"{plan.path}{reports.SUFFIXES[word]}").resolve() for word in plan.formats if plan.path is not None):
                if path in written or path in read:
                    self.module.report(d.same_output(plan.span, path.name, "written by another report" if path in written else "read by this spec"))
                written.add(path)
        return found

    def variant(self, name: str, swept: Swept, query: Query) -> tuple[Variant, int]:
        """One point of the sweeps, and how many rows it has (2 for 'not known to be 1')."""
        engine = self.engine(query)
        network_form = self.resolve(query.network, ("network",), Network)
        perturbation_form = self.resolve(query.perturbation, ("perturbation",), Perturbation)
        input_kind = check.resolve(self.module, query.input, ("input", "dataset"))
        if network_form is None or perturbation_form is None or input_kind is None or engine is None:
            raise SpecError()
        network = self.network(network_form[1], network_form[0] or f"{name}.network")
        if network is None:
            raise SpecError()
        plan = network.plan
        form = input_kind[2]
        index = query.input.value.index
        single = isinstance(form, Input) or (index is not None and isinstance(index.value, int))
        target = self.attempt(lambda: self.target(query, plan))
        data = self.attempt(lambda: self.data(form, network, index))
        if data is None:
            raise SpecError()
        perturbation = lower_perturbation(perturbation_form[1], frames_of(data), isinstance(data, TextInput))
        if target is None:
            raise SpecError()
        rows = len(perturbation.frames.rows) * (2 if target.kind == "each" else 1) * (1 if single else 2)
        eps = None if query.eps is None else query.eps.value
        attack = self.attempt(lambda: _attack(query, network, data))
        estimate = None if query.samples is None or query.batches is None else EstimatePlan(query.samples.value, query.batches.value)
        return Variant(swept, network.plan, data, perturbation, target, engine, eps, attack, estimate), rows

    def resolve(self, reference: Located[Reference], kinds: tuple[str, ...], form: type[T]) -> tuple[str, T] | None:
        found = check.resolve(self.module, reference, kinds)
        if found is None:
            return None
        assert isinstance(found[2], form)
        return found[1], found[2]

    # -- networks -----------------------------------------------------------------------------------------------------

    def network(self, form: Network, name: str) -> LoweredNetwork | None:
        if form not in self._networks:
            self._networks[form] = None  # while it is looked for
            try:
                self._networks[form] = self._derived(form, name) if form.from_ is not None else networks.read(form, name, self.source.folder)
            except SpecError as e:
                self.module.report(*e.diagnostics)
            finally:
                self._deriving.discard(form)
        return self._networks[form]

    def _derived(self, form: Network, name: str) -> LoweredNetwork | None:
        assert form.from_ is not None
        self._deriving.add(form)
        found = self.resolve(form.from_, ("network",), Network)
        if found is None:
            return None
        if found[1] in self._deriving:
            raise SpecError(d.derived_from_itself(form.from_.span, name))
        base = self.network(found[1], found[0] or f"{name}.from")
        return None if base is None else networks.derive(form, name, base)

    def target(self, query: Query, network: NetworkPlan) -> TargetPlan:
        target = query.target.value
        if target.kind == "class":
            return TargetPlan("class", query.target.span, class_number(Located(target.label, query.target.span), network))
        return TargetPlan(target.kind, query.target.span, seed=target.seed)

    def data(self, form: Input | Dataset, network: LoweredNetwork, index: SampleIndex | None) -> InputPlan:
        if isinstance(form, Input):
            return samples.lower_input(form, network)
        return samples.lower_dataset(form, self.arrays(form), network, index)

    def arrays(self, form: Dataset) -> Arrays:
        if form not in self._opened:
            self._opened[form] = samples.open_arrays(form, self.source.folder)
        return self._opened[form]

    def engine(self, query: Query) -> EnginePlan | None:
        if query.engine is None:
            form = check.typed(self.module, "engine", query.span, ())
        else:
            found = self.resolve(query.engine, ("engine",), Engine)
            form = None if found is None else found[1]
        if form is None:
            return None
        assert isinstance(form, Engine)
        budget = None if form.budget is None else form.budget.value
        return EnginePlan(
            form.method.value,
            form.tolerance.value,
            form.max_radius.value,
            budget,
            form.device.value,
            form.seed.value,
            form.semantics.value,
            form.semantics.span,
        )


def _attack(query: Query, network: LoweredNetwork, data: InputPlan) -> AttackPlan | None:
    if query.method is None or query.steps is None or query.restarts is None:
        return None
    words: tuple[str, ...] = ()
    if query.method.value == "words":
        if not isinstance(data, TextInput) or network.vocabulary is None:
            raise SpecError(d.does_not_apply(query.method.span, "method = words", "it substitutes words, and the input is not a text"))
        named = {i: w for w, i in network.vocabulary.items()}
        words = tuple(named.get(i, "") for i in range(network.plan.architecture.tokens))
    return AttackPlan(query.method.value, query.steps.value, query.restarts.value, words)


def read_source(path: str) -> Source:
    """The text of a spec. Raises SpecError."""
    try:
        if not path:
            raise SpecError(d.empty_path(None))
        if os.path.isdir(path):
            raise SpecError(d.is_directory(None, path))
        with open(path, "rb") as f:
            raw = f.read(LARGEST_SPEC + 1)
        if len(raw) > LARGEST_SPEC:
            raise SpecError(d.not_text(f"it is larger than {LARGEST_SPEC >> 20} MiB"))
        return Source(path, raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n"), hashlib.sha256(raw).hexdigest())
    except FileNotFoundError:
        folder = Path(path).parent
        siblings = [p.name for p in folder.iterdir()] if folder.is_dir() else []
        near = nearest(Path(path).name, siblings)
        raise SpecError(d.missing_file(None, path, None if near is None else str(folder / near))) from None
    except UnicodeDecodeError as e:
        raise SpecError(d.not_text(f"byte {e.start} is not UTF-8")) from None
    except (OSError, ValueError) as e:
        raise SpecError(d.unreadable(None, path, str(getattr(e, "strerror", None) or e))) from None
