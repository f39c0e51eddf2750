"""Typed inputs and datasets to their plans: tokens looked up, arrays opened, samples picked."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path

from vlang.lower import files
from vlang.lower.networks import LoweredNetwork, Words, class_number, reference_array
from vlang.lower.once import Once, refuse
from vlang.plan import ArrayPlan, DatasetInput, InputPlan, TextInput, ValuesInput
from vlang.text import diagnostics as d
from vlang.text.diagnostics import Diagnostic, SpecError, nearest
from vlang.text.source import Span
from vlang.typed.tree import Data, Dataset, Input, SampleIndex
from vlang.typed.types import Located

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


def data(once: Once, asked: Data, network: LoweredNetwork, folder: Path) -> InputPlan:
    """Raises SpecError."""
    if isinstance(asked.form, Input):
        return _input(once, asked.form, network)
    return _dataset(once, asked.form, asked.index, network, folder)


def check_input(form: Input) -> None:
    if form.text is not None and form.values is not None:
        raise SpecError(d.conflicting_keys(form.values.span, "text", "values", "input"))
    if form.text is None and form.values is None:
        raise SpecError(d.one_of_keys(form.span, ("text", "values"), "input"))


def _input(once: Once, form: Input, network: LoweredNetwork) -> InputPlan:
    once(check_input, form)
    plan, architecture = network.plan, network.plan.architecture
    label = None if form.label is None else once(class_number, form.label, plan.labels, architecture.classes)
    if form.text is not None:
        once(refuse, architecture.embedding is None, d.no_embedding, form.text.span, plan.name)
        once(refuse, network.words is None, d.no_vocabulary, form.text.span, plan.name)
        tokens, ids = once(_tokens, form.text, network.words)
        return TextInput(tokens, ids, label, form.text.span)
    assert form.values is not None
    once(refuse, architecture.embedding is not None, d.embeds_values, form.values.span, plan.name)
    width = len(form.values.value[0])
    once(refuse, width != architecture.input_size, d.network_input, form.values.span, width, architecture.input_size)
    return ValuesInput(form.values.value, label, form.values.span)


def _tokens(text: Located[str], words: Words) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """A token is looked up as written, then lower-cased; then it is '<unk>', where the vocabulary has that."""
    tokens = tuple(text.value.split())
    if not tokens:
        raise SpecError(d.empty_text(text.span))
    numbers = words.numbers
    unknown = numbers.get("<unk>")
    ids: list[int] = []
    errors: list[Diagnostic] = []
    for position, token in enumerate(tokens):
        number = numbers.get(token, numbers.get(token.lower(), unknown))
        if number is None:
            near = nearest(token.lower(), numbers) if len(numbers) <= SEARCHED_WORDS and len(errors) < 3 else None
            errors.append(d.unknown_token(text.span, token, position, near))
        else:
            ids.append(number)
    if errors:
        raise SpecError(*errors)
    return tokens, tuple(ids)


def _dataset(once: Once, form: Dataset, index: SampleIndex | None, network: LoweredNetwork, folder: Path) -> DatasetInput:
    architecture = network.plan.architecture
    arrays = once(open_arrays, form, folder)
    once(refuse, architecture.embedding is not None, d.embeds_values, form.span, network.plan.name)
    if arrays.offsets is not None:
        once(_ragged, form, arrays, architecture.input_size)
        picked = _picked(once, form, arrays, len(arrays.offsets) - 1, index)
        frames = once(_one_length, picked, arrays.offsets, index.span if index is not None else (form.pick.span if form.pick else arrays.where))
        starts = tuple(arrays.offsets[i] for i in picked)
        reference = None if form.reference is None else once(reference_array, form.reference, folder)
        return DatasetInput(
            arrays.inputs, arrays.labels, picked, frames, architecture.input_size, form.where is not None, len(arrays.offsets) - 1, starts, reference
        )
    frames, size = once(_cut, form, arrays, architecture.input_size)
    picked = _picked(once, form, arrays, arrays.inputs.shape[0], index)
    reference = None if form.reference is None else once(reference_array, form.reference, folder)
    return DatasetInput(arrays.inputs, arrays.labels, picked, frames, size, form.where is not None, arrays.inputs.shape[0], (), reference)


def _cut(form: Dataset, arrays: Arrays, wanted: int) -> tuple[int, int]:
    """How many frames a sample has, and how many numbers each."""
    shape, where = arrays.inputs.shape, arrays.where
    if len(shape) < 2:
        cure = "expected [samples, frames, numbers], or flat samples and 'frames'"
        raise SpecError(d.shapes_do_not_fit(where, f"inputs have shape {list(shape)}", cure))
    size = math.prod(shape[1:])
    if form.frames is not None:
        frames = form.frames.value
        if size % frames:
            raise SpecError(d.cuts(form.frames.span, size, frames))
    elif len(shape) == 3:
        frames = shape[1]
    else:
        raise SpecError(d.missing_key(form.span, "frames", "dataset", f"samples of shape {list(shape[1:])} must be cut into frames"))
    if frames < 1 or shape[0] < 1:
        raise SpecError(d.no_samples(where, f"the inputs have shape {list(shape)}"))
    if size // frames != wanted:
        raise SpecError(d.network_input(form.frames.span if form.frames else where, size // frames, wanted))
    return frames, size // frames


def _ragged(form: Dataset, arrays: Arrays, wanted: int) -> None:
    """Samples of their own lengths, one after the other."""
    shape, where, offsets = arrays.inputs.shape, arrays.where, arrays.offsets or ()
    if form.frames is not None:
        raise SpecError(d.does_not_apply(form.frames.span, "frames", "the file's offsets say where every sequence ends"))
    if len(shape) != 2 or list(offsets) != sorted(offsets) or len(offsets) < 2 or (offsets[0], offsets[-1]) != (0, shape[0]):
        what = f"offsets do not cut the {shape[0] if shape else 0} frames of the inputs into sequences"
        raise SpecError(d.shapes_do_not_fit(where, what, "they begin with 0, never fall, and end with the number of frames"))
    if shape[1] != wanted:
        raise SpecError(d.network_input(where, shape[1], wanted))


def _one_length(picked: tuple[int, ...], offsets: tuple[int, ...], span: Span) -> int:
    """The frames of sequences of which all that are picked must have the same number."""
    lengths = {offsets[i + 1] - offsets[i] for i in picked}
    if lengths == {0}:
        raise SpecError(d.no_samples(span, "the sequence has no frames"))
    if len(lengths) > 1:
        what = f"these {len(picked)} sequences have from {min(lengths)} to {max(lengths)} frames"
        raise SpecError(d.shapes_do_not_fit(span, what, "pick one, as in d[3], or sweep over several: sweep input in [d[3], d[7]]"))
    return lengths.pop()


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


def _picked(once: Once, form: Dataset, arrays: Arrays, count: int, index: SampleIndex | None) -> tuple[int, ...]:
    """The samples asked about, of so many; the labels are checked too."""
    once(_check_labels, form, arrays, count)
    picked = once(_pick, form, count)
    return picked if index is None else once(_index, index, picked)


def _check_labels(form: Dataset, arrays: Arrays, count: int) -> None:
    if arrays.labels is not None and arrays.labels.shape != (count,):
        span = form.labels.span if form.labels else arrays.where
        what = f"labels have shape {list(arrays.labels.shape)}, the inputs {count} samples"
        raise SpecError(d.shapes_do_not_fit(span, what, "there must be one label a sample"))
    if form.where is not None and arrays.labels is None:
        raise SpecError(d.needs_labels(form.where.span))


def _pick(form: Dataset, count: int) -> tuple[int, ...]:
    if form.pick is None:
        return tuple(range(count))
    pick = form.pick.value
    if pick.kind == "slice":
        return _slice(form.pick.span, tuple(range(count)), pick.start, pick.stop)
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
    return _slice(index.span, picked, *index.value)


def _slice(span: Span, samples: tuple[int, ...], start: int | None, stop: int | None) -> tuple[int, ...]:
    if stop is not None and stop > len(samples):
        raise SpecError(d.sample_out_of_range(span, stop - 1, len(samples)))
    chosen = samples[start:stop]
    if not chosen:
        raise SpecError(d.no_samples(span, f"the slice picks none of the {len(samples)} samples"))
    return chosen
