"""Typed inputs and datasets to their plans: tokens looked up, arrays opened, samples picked."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from vlang.lower import files
from vlang.lower.networks import LoweredNetwork, class_number
from vlang.plan import ArrayPlan, DatasetInput, InputPlan, TextInput, ValuesInput
from vlang.text import diagnostics as d
from vlang.text.diagnostics import Diagnostic, SpecError, nearest
from vlang.text.source import Span
from vlang.typed.signatures import Dataset, Input
from vlang.typed.types import Located, Pick

#: Vocabularies up to this size are searched for the word that was meant.
SEARCHED_WORDS = 20_000
#: Names that arrays in an .npz may have.
INPUT_ARRAYS, LABEL_ARRAYS = ("inputs", "x", "X", "data"), ("labels", "y", "Y", "targets")
#: Where each sequence begins, where sequences have their own lengths, and the last ends.
OFFSETS = "offsets"


@dataclass(frozen=True)
class Arrays:
    """where: where the inputs are named. offsets: in an array of the frames of all samples, one after the other."""

    inputs: ArrayPlan
    labels: ArrayPlan | None
    where: Span
    offsets: tuple[int, ...] | None = None


#: d[3] or d[0:10].
SampleIndex = Located[int | tuple[int | None, int | None]]


def check_input(form: Input) -> None:
    if form.text is not None and form.values is not None:
        raise SpecError(d.conflicting_keys(form.values.span, "text", "values", "input"))
    if form.text is None and form.values is None:
        raise SpecError(d.one_of_keys(form.span, ("text", "values"), "input"))


def lower_input(form: Input, network: LoweredNetwork) -> InputPlan:
    check_input(form)
    label = None if form.label is None else class_number(form.label, network.plan)
    if form.text is not None:
        tokens, ids = _tokens(form.text, network)
        return TextInput(tokens, ids, label, form.text.span)
    assert form.values is not None
    if network.plan.architecture.embedding is not None:
        raise SpecError(d.embeds_values(form.values.span, network.plan.name))
    values = form.values.value
    if len(values[0]) != network.plan.architecture.input_size:
        raise SpecError(d.network_input(form.values.span, len(values[0]), network.plan.architecture.input_size))
    return ValuesInput(values, label, form.values.span)


def _tokens(text: Located[str], network: LoweredNetwork) -> tuple[tuple[str, ...], tuple[int, ...]]:
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


def lower_dataset(form: Dataset, arrays: Arrays, network: LoweredNetwork, index: SampleIndex | None) -> DatasetInput:
    architecture = network.plan.architecture
    if architecture.embedding is not None:
        raise SpecError(d.embeds_values(form.span, network.plan.name))
    inputs, labels, where = arrays.inputs, arrays.labels, arrays.where
    if arrays.offsets is not None:
        return _sequences(form, arrays, arrays.offsets, architecture.input_size, index)
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
    return DatasetInput(inputs, labels, _picked(form, arrays, count, index), frames, size // frames, form.where is not None)


def _picked(form: Dataset, arrays: Arrays, count: int, index: SampleIndex | None) -> tuple[int, ...]:
    """The samples asked about, of so many; the labels are checked too."""
    if arrays.labels is not None and arrays.labels.shape != (count,):
        span = form.labels.span if form.labels else arrays.where
        what = f"labels have shape {list(arrays.labels.shape)}, the inputs {count} samples"
        raise SpecError(d.shapes_do_not_fit(span, what, "there must be one label a sample"))
    if form.where is not None and arrays.labels is None:
        raise SpecError(d.needs_labels(form.where.span))
    picked = _pick(form, count)
    return picked if index is None else _index(index, picked)


def _sequences(form: Dataset, arrays: Arrays, offsets: tuple[int, ...], size: int, index: SampleIndex | None) -> DatasetInput:
    """Samples of their own lengths: those that are picked must have one."""
    shape, where = arrays.inputs.shape, arrays.where
    if form.frames is not None:
        raise SpecError(d.does_not_apply(form.frames.span, "frames", "the file's offsets say where every sequence ends"))
    if len(shape) != 2 or list(offsets) != sorted(offsets) or len(offsets) < 2 or (offsets[0], offsets[-1]) != (0, shape[0]):
        what = f"offsets do not cut the {shape[0] if shape else 0} frames of the inputs into sequences"
        raise SpecError(d.shapes_do_not_fit(where, what, "they begin with 0, never fall, and end with the number of frames"))
    if shape[1] != size:
        raise SpecError(d.network_input(where, shape[1], size))
    picked = _picked(form, arrays, len(offsets) - 1, index)
    lengths = {offsets[i + 1] - offsets[i] for i in picked}
    span = index.span if index is not None else (form.pick.span if form.pick else where)
    if lengths == {0}:
        raise SpecError(d.no_samples(span, "the sequence has no frames"))
    if len(lengths) > 1:
        what = f"these {len(picked)} sequences have from {min(lengths)} to {max(lengths)} frames"
        raise SpecError(d.shapes_do_not_fit(span, what, "pick one, as in d[3], or sweep over several: sweep input in [d[3], d[7]]"))
    return DatasetInput(arrays.inputs, arrays.labels, picked, lengths.pop(), size, form.where is not None, tuple(offsets[i] for i in picked))


def open_arrays(form: Dataset, folder: Path) -> Arrays:
    """The inputs, the labels, and where the inputs are named. Raises SpecError."""
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
        offsets = files.whole_numbers(path, OFFSETS, form.source.span) if OFFSETS in arrays else None
        return Arrays(ArrayPlan(path, x, arrays[x].shape, form.source.span), labels, form.source.span, offsets)
    if form.inputs is None:
        raise SpecError(d.one_of_keys(form.span, ("inputs", "source"), "dataset"))
    path = files.locate(folder, form.inputs.value, form.inputs.span)
    inputs = ArrayPlan(path, None, files.npy(path, form.inputs.span).shape, form.inputs.span)
    if form.labels is None:
        return Arrays(inputs, None, form.inputs.span)
    path = files.locate(folder, form.labels.value, form.labels.span)
    header = files.npy(path, form.labels.span)
    if not header.integral:
        raise SpecError(d.shapes_do_not_fit(form.labels.span, f"labels are {header.dtype}, not whole numbers", "store class numbers"))
    return Arrays(inputs, ArrayPlan(path, None, header.shape, form.labels.span), form.inputs.span)


def _pick(form: Dataset, count: int) -> tuple[int, ...]:
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


def _index(index: SampleIndex, picked: tuple[int, ...]) -> tuple[int, ...]:
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
