"""Typed tree to Plan: files located, architectures read, tokens looked up, frames and samples resolved against real shapes.

Everything that can be wrong about a query without computing is reported here, with the place in the spec.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from vlang import check, files
from vlang import diagnostics as d
from vlang import syntax as s
from vlang.architecture import metadata_list
from vlang.architecture import read as read_architecture
from vlang.check import Module
from vlang.conditions import check as check_condition
from vlang.diagnostics import Diagnostic, SpecError, nearest
from vlang.parser import parse
from vlang.plan import (
    ArrayPlan,
    DatasetInput,
    EnginePlan,
    Expectation,
    FrameSet,
    InputPlan,
    NetworkPlan,
    PerturbationPlan,
    Plan,
    QueryPlan,
    Swept,
    TargetPlan,
    TextInput,
    ValuesInput,
    Variant,
)
from vlang.signatures import KINDS, Dataset, Engine, Input, Network, Perturbation, Query
from vlang.source import Source, Span
from vlang.types import Frames, Located, Pick, Reference

T = TypeVar("T")
#: Names that arrays in an .npz may have.
#: Errors that no missing line can cause.
LOCAL_CODES = frozenset({"R201", "R202", "R203", "R204", "R207", "R208", "R209", "R210", "R215", "R217", "R218", "R223", "R405", "R417"})
#: A larger spec file is a mistake.
LARGEST_SPEC = 16 * 2**20
#: Vocabularies up to this size are searched for the word that was meant.
SEARCHED_WORDS = 20_000
INPUT_ARRAYS, LABEL_ARRAYS = ("inputs", "x", "X", "data"), ("labels", "y", "Y", "targets")


def compile_spec(source: Source, overrides: Mapping[str, s.Expr] | None = None, only: str | None = None) -> Plan:
    """The plan of a spec, or SpecError with every diagnostic. `only`: the one query to keep."""
    try:
        return _compile(source, overrides or {}, only)
    except RecursionError:
        raise SpecError(d.too_deep(Span(1, 1))) from None


def _compile(source: Source, overrides: Mapping[str, s.Expr], only: str | None) -> Plan:
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
    queries = [x for x in module.declarations if KINDS[x.kind].query]
    lowering.unused(queries)
    plans = [lowering.query(x) for x in queries]
    if only is not None and only not in [x.name for x in queries]:
        module.report(d.unknown_query(only, [x.name for x in queries]))
    if module.errors:
        raise SpecError(*sorted(module.errors, key=_place))
    return Plan(source.path, source.sha256, tuple(p for p in plans if p is not None and only in (None, p.name)))


def _place(x: Diagnostic) -> tuple[int, int]:
    return (x.span.line, x.span.column) if x.span is not None else (10**9, 0)


class _Network:
    """A lowered network with what only the language needs."""

    def __init__(self, plan: NetworkPlan, vocabulary: dict[str, int] | None) -> None:
        self.plan, self.vocabulary = plan, vocabulary


class _Lowering:
    def __init__(self, source: Source, module: Module) -> None:
        self.source, self.module = source, module
        self._networks: dict[Network, _Network | None] = {}

    def unused(self, queries: list[s.Declaration]) -> None:
        """Check declarations alone, so that the mistakes of those that no query reaches are seen too."""
        for declaration in self.module.declarations:
            if declaration in queries:
                continue
            form = check.typed(self.module, declaration.kind, declaration.span, declaration.entries)
            if isinstance(form, Network):
                self.network(form, declaration.name)
            elif isinstance(form, Dataset):
                self.attempt(partial(self._arrays, form))
            elif isinstance(form, Input):
                self.attempt(partial(self._check_input, form))

    def attempt(self, step: Callable[[], T]) -> T | None:
        """The step's result, or None after reporting what was wrong: the other steps can still be checked."""
        try:
            return step()
        except SpecError as e:
            self.module.report(*e.diagnostics)
            return None

    def query(self, declaration: s.Declaration) -> QueryPlan | None:
        variants, sizes = [], []
        before = len(self.module.errors)
        for swept, entries in check.sweep_points(self.module, declaration):
            form = check.typed(self.module, declaration.kind, declaration.span, entries)
            if form is None:
                continue
            try:
                variant, size = self.variant(declaration.name, swept, form)
            except SpecError as e:
                self.module.report(*e.diagnostics)
                continue
            variants.append(variant)
            sizes.append(size)
        many = None if sizes == [1] else "several rows"
        expectations = []
        for gate in (e for e in declaration.entries if isinstance(e, s.Gate)):
            try:
                condition = check_condition(gate.condition, declaration.kind, many, self.module.params, self.module.broken)
            except SpecError as e:
                # Without variants the number of rows is not known, and its errors would mislead.
                self.module.report(*(x for x in e.diagnostics if variants or x.code != "R213"))
                continue
            expectations.append(Expectation(gate.kind, gate.text, condition, gate.because, gate.span.line, gate.span.column))
        if len(self.module.errors) > before:
            return None
        kind: Literal["radius", "verify", "bounds"] = declaration.kind  # type: ignore[assignment]
        return QueryPlan(declaration.name, kind, tuple(variants), tuple(expectations))

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
        data = self.attempt(lambda: self.input(form, network) if isinstance(form, Input) else self.dataset(form, network, index))
        if data is None:
            raise SpecError()
        frames = len(data.tokens) if isinstance(data, TextInput) else len(data.values) if isinstance(data, ValuesInput) else data.frames
        perturbation = self.perturbation(perturbation_form[1], frames, isinstance(data, TextInput))
        if target is None:
            raise SpecError()
        rows = len(perturbation.frames.rows) * (2 if target.kind == "each" else 1) * (1 if single else 2)
        eps = None if query.eps is None else query.eps.value
        return Variant(swept, network.plan, data, perturbation, target, engine, eps), rows

    def resolve(self, reference: Located[Reference], kinds: tuple[str, ...], form: type[T]) -> tuple[str, T] | None:
        found = check.resolve(self.module, reference, kinds)
        if found is None:
            return None
        assert isinstance(found[2], form)
        return found[1], found[2]

    # -- networks -----------------------------------------------------------------------------------------------------

    def network(self, form: Network, name: str) -> _Network | None:
        if form not in self._networks:
            try:
                self._networks[form] = self._read_network(form, name)
            except SpecError as e:
                self.module.report(*e.diagnostics)
                self._networks[form] = None
        return self._networks[form]

    def _read_network(self, form: Network, name: str) -> _Network:
        path = files.locate(self.source.folder, form.checkpoint.value, form.checkpoint.span)
        checkpoint = files.checkpoint(path, form.checkpoint.span)
        architecture = read_architecture(checkpoint, form)
        if form.labels is not None:
            labels: tuple[str, ...] | None = tuple(map(str, form.labels.value))
        else:
            labels = metadata_list(checkpoint.metadata, "labels")
        label_span = form.labels.span if form.labels else form.checkpoint.span
        if labels is not None and len(labels) != architecture.classes:
            raise SpecError(d.labels_length(label_span, len(labels), architecture.classes))
        if labels is not None and len(set(labels)) != len(labels):
            raise SpecError(d.same_label_twice(label_span, next(x for x in labels if labels.count(x) > 1)))
        if form.activation is not None and not architecture.cell.startswith("rnn"):
            raise SpecError(d.does_not_apply(form.activation.span, "activation", f"the activations of {architecture.cell} are fixed"))
        words = self._vocabulary(form, checkpoint)
        if form.vocabulary is not None and architecture.embedding is None:
            raise SpecError(d.does_not_apply(form.vocabulary.span, "vocabulary", "the checkpoint has no embedding table"))
        span = form.vocabulary.span if form.vocabulary else form.checkpoint.span
        if words is not None and architecture.embedding is not None and len(words) != architecture.tokens:
            raise SpecError(d.vocabulary_length(span, len(words), architecture.tokens))
        vocabulary = None if words is None else {w: i for i, w in reversed(list(enumerate(words)))}
        kind: Literal["safetensors", "torch"] = "torch" if checkpoint.format == "torch" else "safetensors"
        return _Network(NetworkPlan(name, path, kind, architecture, labels or (), form.checkpoint.span), vocabulary)

    def _vocabulary(self, form: Network, checkpoint: files.Checkpoint) -> tuple[str, ...] | None:
        if form.vocabulary is None:
            return metadata_list(checkpoint.metadata, "vocabulary")
        text = files.read_text(files.locate(self.source.folder, form.vocabulary.value, form.vocabulary.span), form.vocabulary.span)
        lines = text.split("\n")
        return tuple(x.rstrip("\r") for x in (lines[:-1] if lines[-1] == "" else lines))

    def label(self, label: Located[str | int], network: NetworkPlan) -> int:
        value = label.value
        if isinstance(value, str):
            if value not in network.labels:
                raise SpecError(d.unknown_label(label.span, value, network.labels or [str(i) for i in range(network.architecture.classes)]))
            return network.labels.index(value)
        if value >= network.architecture.classes:
            raise SpecError(d.label_out_of_range(label.span, value, network.architecture.classes))
        return value

    def target(self, query: Query, network: NetworkPlan) -> TargetPlan:
        target = query.target.value
        if target.kind == "class":
            return TargetPlan("class", query.target.span, self.label(Located(target.label, query.target.span), network))
        return TargetPlan(target.kind, query.target.span, seed=target.seed)

    # -- inputs -------------------------------------------------------------------------------------------------------

    def _check_input(self, form: Input) -> None:
        if form.text is not None and form.values is not None:
            raise SpecError(d.conflicting_keys(form.values.span, "text", "values", "input"))
        if form.text is None and form.values is None:
            raise SpecError(d.one_of_keys(form.span, ("text", "values"), "input"))

    def input(self, form: Input, network: _Network) -> InputPlan:
        self._check_input(form)
        label = None if form.label is None else self.label(form.label, network.plan)
        if form.text is not None:
            tokens, ids = self.tokens(form.text, network)
            return TextInput(tokens, ids, label, form.text.span)
        assert form.values is not None
        if network.plan.architecture.embedding is not None:
            raise SpecError(d.embeds_values(form.values.span, network.plan.name))
        values = form.values.value
        if len(values[0]) != network.plan.architecture.input_size:
            raise SpecError(d.network_input(form.values.span, len(values[0]), network.plan.architecture.input_size))
        return ValuesInput(values, label, form.values.span)

    def tokens(self, text: Located[str], network: _Network) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """A token is looked up as written, then lower-cased; then it is '<unk>', where the vocabulary has that."""
        if network.plan.architecture.embedding is None:
            raise SpecError(d.no_embedding(text.span, network.plan.name))
        vocabulary = network.vocabulary
        if vocabulary is None:
            raise SpecError(d.no_vocabulary(text.span, network.plan.name))
        tokens = tuple(text.value.split())
        if not tokens:
            raise SpecError(d.empty_text(text.span))
        unknown = vocabulary.get("<unk>")
        ids: list[int] = []
        errors: list[Diagnostic] = []
        for position, token in enumerate(tokens):
            number = vocabulary.get(token, vocabulary.get(token.lower(), unknown))
            if number is None:
                near = nearest(token.lower(), vocabulary) if len(vocabulary) <= SEARCHED_WORDS and len(errors) < 3 else None
                errors.append(d.unknown_token(text.span, token, position, near))
            else:
                ids.append(number)
        if errors:
            raise SpecError(*errors)
        return tokens, tuple(ids)

    def dataset(self, form: Dataset, network: _Network, index: Located[int | tuple[int | None, int | None]] | None) -> DatasetInput:
        architecture = network.plan.architecture
        if architecture.embedding is not None:
            raise SpecError(d.embeds_values(form.span, network.plan.name))
        inputs, labels, where = self._arrays(form)
        if len(inputs.shape) < 2:
            cure = "expected [samples, frames, numbers], or flat samples and 'frames'"
            raise SpecError(d.shapes_do_not_fit(where, f"inputs have shape {list(inputs.shape)}", cure))
        count = inputs.shape[0]
        size = 1
        for n in inputs.shape[1:]:
            size *= n
        if form.frames is not None:
            frames = form.frames.value
            if size % frames:
                raise SpecError(d.cuts(form.frames.span, size, frames))
        elif len(inputs.shape) == 3:
            frames = inputs.shape[1]
        else:
            raise SpecError(d.missing_key(form.span, "frames", "dataset", f"samples of shape {list(inputs.shape[1:])} must be cut into frames"))
        if frames < 1 or count < 1:
            raise SpecError(d.no_samples(where, f"the inputs have shape {list(inputs.shape)}"))
        if size // frames != architecture.input_size:
            raise SpecError(d.network_input(form.frames.span if form.frames else where, size // frames, architecture.input_size))
        if labels is not None and labels.shape != (count,):
            span = form.labels.span if form.labels else where
            what = f"labels have shape {list(labels.shape)}, the inputs {count} samples"
            raise SpecError(d.shapes_do_not_fit(span, what, "there must be one label a sample"))
        if form.where is not None and labels is None:
            raise SpecError(d.needs_labels(form.where.span))
        picked = self._pick(form, count)
        if index is not None:
            picked = self._index(index, picked)
        return DatasetInput(inputs, labels, picked, frames, size // frames, form.where is not None)

    def _arrays(self, form: Dataset) -> tuple[ArrayPlan, ArrayPlan | None, Span]:
        folder = self.source.folder
        if form.source is not None:
            other = form.inputs or form.labels
            if other is not None:
                raise SpecError(d.conflicting_keys(other.span, "source", "inputs" if form.inputs else "labels", "dataset"))
            path = files.locate(folder, form.source.value, form.source.span)
            arrays = files.npz(path, form.source.span)
            x, y = (next((n for n in names if n in arrays), None) for names in (INPUT_ARRAYS, LABEL_ARRAYS))
            if x is None:
                raise SpecError(d.missing_array(form.source.span, form.source.value, "inputs", arrays))
            if y is not None and not arrays[y].integral:
                raise SpecError(d.shapes_do_not_fit(form.source.span, f"labels are {arrays[y].dtype}, not whole numbers", "store class numbers"))
            labels = None if y is None else ArrayPlan(path, y, arrays[y].shape, form.source.span)
            return ArrayPlan(path, x, arrays[x].shape, form.source.span), labels, form.source.span
        if form.inputs is None:
            raise SpecError(d.one_of_keys(form.span, ("inputs", "source"), "dataset"))
        path = files.locate(folder, form.inputs.value, form.inputs.span)
        inputs = ArrayPlan(path, None, files.npy(path, form.inputs.span).shape, form.inputs.span)
        if form.labels is None:
            return inputs, None, form.inputs.span
        path = files.locate(folder, form.labels.value, form.labels.span)
        header = files.npy(path, form.labels.span)
        if not header.integral:
            raise SpecError(d.shapes_do_not_fit(form.labels.span, f"labels are {header.dtype}, not whole numbers", "store class numbers"))
        return inputs, ArrayPlan(path, None, header.shape, form.labels.span), form.inputs.span

    def _pick(self, form: Dataset, count: int) -> tuple[int, ...]:
        if form.pick is None:
            return tuple(range(count))
        pick: Pick = form.pick.value
        if pick.kind == "slice":
            if pick.stop is not None and pick.stop > count:
                raise SpecError(d.sample_out_of_range(form.pick.span, pick.stop - 1, count))
            chosen = tuple(range(count)[pick.start : pick.stop])
            if not chosen:
                raise SpecError(d.no_samples(form.pick.span, f"the slice picks none of the {count} samples"))
            return chosen
        if pick.count > count:
            raise SpecError(d.sample_out_of_range(form.pick.span, pick.count - 1, count))
        if pick.kind == "first":
            return tuple(range(pick.count))
        return tuple(sorted(random.Random(pick.seed).sample(range(count), pick.count)))

    def _index(self, index: Located[int | tuple[int | None, int | None]], picked: tuple[int, ...]) -> tuple[int, ...]:
        if isinstance(index.value, int):
            if index.value >= len(picked):
                raise SpecError(d.sample_out_of_range(index.span, index.value, len(picked)))
            return (picked[index.value],)
        if index.value[1] is not None and index.value[1] > len(picked):
            raise SpecError(d.sample_out_of_range(index.span, index.value[1] - 1, len(picked)))
        chosen = picked[index.value[0] : index.value[1]]
        if not chosen:
            raise SpecError(d.no_samples(index.span, f"the slice picks none of the {len(picked)} samples"))
        return chosen

    # -- perturbations ------------------------------------------------------------------------------------------------

    def perturbation(self, form: Perturbation, frames: int, text: bool) -> PerturbationPlan:
        space: Literal["input", "embedding"] = "embedding" if text else "input"
        if form.space is not None and form.space.value != space:
            cure = "a text is perturbed in its embeddings: write space = embedding" if text else "values have no embeddings: write space = input"
            raise SpecError(d.needs_embedding_space(form.space.span, form.space.value, cure))
        if form.clip is not None and text:
            raise SpecError(d.clip_on_embeddings(form.clip.span))
        weights = None if form.weights is None else form.weights.value
        if form.weights is not None:
            if len(form.weights.value) != frames:
                raise SpecError(d.weights_length(form.weights.span, len(form.weights.value), frames))
            if not any(form.weights.value):
                raise SpecError(d.no_frames(form.weights.span))
        frame_set = _frames(form.frames, frames)
        if weights is not None:
            frame_set = FrameSet(tuple(tuple(k for k in row if weights[k]) for row in frame_set.rows), frame_set.at_most)
            if not all(frame_set.rows):
                raise SpecError(d.no_frames(form.frames.span))
        clip = None if form.clip is None else form.clip.value
        return PerturbationPlan(frame_set, form.norm.value, space, clip, weights, (form.clip or form.frames).span)

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
            form.method.value, form.tolerance.value, form.max_radius.value, budget, form.device.value, form.seed.value, form.device.span
        )


def _frames(frames: Located[Frames], count: int) -> FrameSet:
    """The rows of frames that a frame set means on a sequence of `count` frames."""
    value, span = frames.value, frames.span
    everything = tuple(range(count))
    match value.kind:
        case "all":
            return FrameSet((everything,))
        case "each":
            return FrameSet(tuple((k,) for k in everything))
        case "any":
            if value.at_most > count:
                raise SpecError(d.out_of_range(span, "k in any(k)", str(value.at_most), f"at most {count}, the number of frames"))
            return FrameSet((everything,), value.at_most)
        case "slice":
            for end in (value.start, value.stop):
                if end is not None and end > count:
                    raise SpecError(d.frame_out_of_range(span, end, count))
            chosen = everything[value.start : value.stop]
            if not chosen:
                raise SpecError(d.no_frames(span))
            return FrameSet((chosen,))
    errors = [d.frame_out_of_range(x.span, x.value, count) for x in value.items if x.value >= count]
    if errors:
        raise SpecError(*errors)
    return FrameSet((tuple(sorted({x.value for x in value.items})),))


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
        return Source(path, raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n"))
    except FileNotFoundError:
        folder = Path(path).parent
        siblings = [p.name for p in folder.iterdir()] if folder.is_dir() else []
        near = nearest(Path(path).name, siblings)
        raise SpecError(d.missing_file(None, path, None if near is None else str(folder / near))) from None
    except UnicodeDecodeError as e:
        raise SpecError(d.not_text(f"byte {e.start} is not UTF-8")) from None
    except (OSError, ValueError) as e:
        raise SpecError(d.unreadable(None, path, str(getattr(e, "strerror", None) or e))) from None
