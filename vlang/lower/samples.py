"""Typed inputs and datasets to their plans: tokens looked up, arrays opened, samples picked."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vlang.array import ArrayPlan
from vlang.cost import frames_of, width_of
from vlang.lower import files
from vlang.lower.files import ArrayHeader
from vlang.lower.networks import LoweredNetwork, Words, class_number, read_reference
from vlang.lower.once import Once, refuse
from vlang.plan import Architecture, DatasetInput, InputPlan, TextInput, ValuesInput
from vlang.text import diagnostics as d
from vlang.text.diagnostics import Diagnostic, SpecError, nearest
from vlang.text.source import Span
from vlang.typed.tree import Data, Dataset, Input, SampleIndex
from vlang.typed.types import Located
from vlang.words.layers import JOINED

#: Vocabularies up to this size are searched for the word that was meant.
SEARCHED_WORDS = 20_000
#: Of one dataset.
MOST_SAMPLES = 1_000_000
#: Names that arrays in an .npz may have.
INPUT_ARRAYS, LABEL_ARRAYS = ("inputs", "x", "X", "data"), ("labels", "label", "y", "Y", "targets", "target")
#: Where each sequence begins, where sequences have their own lengths, and the last ends.
OFFSETS = "offsets"
#: How many of a sample's frames are its own, where others fill it up.
LENGTH_ARRAYS = ("lengths", "length", "seq_lengths", "seq_lens", "lens")


@dataclass(frozen=True)
class Arrays:
    """where: where the inputs are named. offsets: in an array of the frames of all samples, one after the other. lengths: of padded samples."""

    inputs: ArrayPlan
    labels: ArrayPlan | None
    where: Span
    offsets: tuple[int, ...] | None = None
    lengths: tuple[int, ...] | None = None


def data(once: Once, asked: Data, network: LoweredNetwork, folder: Path, stepwise: bool = False, classes: bool = True) -> tuple[InputPlan, ...]:
    """Samples of one length each. stepwise: whether a query asks about outputs of several steps, and labels are theirs. Raises SpecError.

    classes: whether it asks about classes; if not, labels may be what the network forecasts, and are not looked at.
    """
    found: Sequence[InputPlan]
    if isinstance(asked.form, Input):
        found = [_input(once, asked.form, network)]
    else:
        found = _dataset(once, asked.form, asked.index, network, folder, stepwise, classes)
    for x in found:
        once(fit_frames, asked.form.span, network.plan.architecture, frames_of(x), width_of(x))
    return tuple(found)


def one(once: Once, asked: Data, network: LoweredNetwork, folder: Path) -> InputPlan:
    """Samples that must have one length. Raises SpecError."""
    found = data(once, asked, network, folder)
    lengths = [frames_of(x) for x in found]
    what, cure = f"these sequences have from {min(lengths)} to {max(lengths)} frames", "pick one, as in d[3]"
    once(refuse, len(found) > 1, d.shapes_do_not_fit, asked.form.span if asked.index is None else asked.index.span, what, cure)
    return found[0]


def fit_frames(where: Span, network: Architecture, frames: int, numbers: int | None) -> None:
    """Refuse samples of so many frames, of so many numbers each, that the network does not read. Raises SpecError."""
    counts = network.frames(frames)
    joined = network.behind_all_frames()
    for layer, gives in zip(network.layers, counts, strict=True):
        below = layer.of[0]
        read, width = (frames, network.input_size) if below < 0 else (counts[below], network.layers[below].width)
        width = numbers if network.input_size == 0 and numbers is not None and below not in joined else width
        if gives < 1:
            cure = f"samples of more frames; the {layer.word} reads windows of {layer.window} frames, and is given {read}"
            raise SpecError(d.frames_do_not_fit(where, frames, f"no window of {layer.word} fits into them", cure))
        if layer.word in JOINED and read * width != layer.width:
            cure = f"samples of {layer.width // width} frames at that layer" if layer.width % width == 0 else "the layers of another network"
            raise SpecError(d.frames_do_not_fit(where, frames, f"{layer.word} gives {read} times {width} numbers, {layer.width} are read", cure))
        if len({frames if k < 0 else counts[k] for k in layer.of}) > 1:
            raise SpecError(d.frames_do_not_fit(where, frames, f"what {layer.word} joins has different numbers of frames", "padding that keeps them"))


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
        check_words(once, network, form.text.span)
        tokens, ids, unknown, parts = once(tokens_of, form.text, network.words)
        once(refuse, bool(unknown) and network.strict, d.unknown_words, form.text.span, unknown, len(ids))
        return TextInput(tokens, ids, label, form.text.span, unknown, parts)
    assert form.values is not None
    once(refuse, architecture.embedding is not None, d.embeds_values, form.values.span, plan.name)
    width = len(form.values.value[0])
    once(refuse, architecture.input_size not in (0, width), d.network_input, form.values.span, width, architecture.input_size)
    return ValuesInput(form.values.value, label, form.values.span)


def check_words(once: Once, network: LoweredNetwork, span: Span) -> None:
    """Whether a network reads texts. Raises SpecError."""
    once(refuse, network.plan.architecture.embedding is None, d.no_embedding, span, network.plan.name)
    once(refuse, network.words is None, d.no_vocabulary, span, network.plan.name)


def tokens_of(text: Located[str], words: Words) -> tuple[tuple[str, ...], tuple[int, ...], tuple[str, ...], frozenset[int]]:
    """Tokens as they are shown and numbered, those that are unknown, and the places of those that are less than a word.

    A token is looked up as written, then lower-cased; then it is the unknown one, where the vocabulary has that, and shown as such.
    """
    if words.tokenizer is not None:
        return words.tokenizer.split(text)
    written = tuple(text.value.split())
    if not written:
        raise SpecError(d.empty_text(text.span))
    numbers = words.numbers
    ids: list[int] = []
    shown: list[str] = []
    unknown: list[str] = []
    errors: list[Diagnostic] = []
    for position, token in enumerate(written):
        number = numbers.get(token, numbers.get(token.lower()))
        if number is None:
            unknown.append(token)
            number = numbers.get(words.unknown)
        if number is None:
            near = nearest(token.lower(), numbers) if len(numbers) <= SEARCHED_WORDS and len(errors) < 3 else None
            errors.append(d.unknown_token(text.span, token, position, near))
        else:
            ids.append(number)
            shown.append(f"{token} -> {words.unknown}" if token in unknown else token)
    if errors:
        raise SpecError(*errors)
    return tuple(shown), tuple(ids), tuple(unknown), frozenset()


def _dataset(
    once: Once, form: Dataset, index: SampleIndex | None, network: LoweredNetwork, folder: Path, stepwise: bool, classes: bool
) -> list[DatasetInput]:
    """classes: whether a query is about the classes that labels are."""
    arrays = once(open_arrays, form, folder)
    if arrays.labels is None or classes or not (arrays.labels.real or network.plan.architecture.classes == 1):
        if arrays.labels is not None:
            once(_class_labels, arrays.labels)
        return _cut_up(once, form, arrays, index, network, folder, stepwise)
    once(refuse, form.where is not None, d.does_not_apply, form.span if form.where is None else form.where.span, "where", "labels are no classes")
    found = _cut_up(once, form, replace(arrays, labels=None), index, network, folder, stepwise)
    return [replace(x, unused=True) for x in found]


def _cut_up(
    once: Once, form: Dataset, arrays: Arrays, index: SampleIndex | None, network: LoweredNetwork, folder: Path, stepwise: bool
) -> list[DatasetInput]:
    architecture = network.plan.architecture
    once(refuse, arrays.labels is not None and arrays.labels.texts and not network.plan.labels, d.texts_need_labels, arrays.where)
    once(refuse, architecture.embedding is not None, d.embeds_values, form.span, network.plan.name)
    correct, where = form.where is not None, index.span if index is not None else (form.pick.span if form.pick else arrays.where)
    if arrays.offsets is not None:
        once(_ragged, form, arrays, architecture.input_size)
        at = arrays.offsets
        picked = _picked(once, form, arrays, len(at) - 1, index, None)
        reference, groups = once(read_reference, form, folder), once(_by_length, picked, tuple(b - a for a, b in itertools.pairwise(at)), where)
        once(refuse, reference is not None and len(groups) > 1, d.does_not_apply, where, "reference", "these sequences have several lengths")
        whole = DatasetInput(arrays.inputs, arrays.labels, picked, 0, arrays.inputs.shape[1], correct, len(at) - 1, reference=reference)
        return [replace(part, starts=tuple(at[i] for i in part.indices)) for part in _parts(whole, groups)]
    if arrays.lengths is not None:
        of, padded, size = once(_padded, form, arrays, architecture.input_size)
        picked = _picked(once, form, arrays, of, index, padded if stepwise else None)
        groups = once(_by_length, picked, arrays.lengths, where)
        once(refuse, form.reference is not None, d.does_not_apply, where, "reference", "outputs of padded samples may be those of the padding")
        framed = not stepwise or arrays.labels is None or all(_steps(architecture, frames) in (None, frames) for frames, _ in groups)
        once(
            refuse,
            not framed,
            d.does_not_apply,
            where,
            "lengths",
            "the network gives no output a frame: which labels are padding is not clear",
        )
        return _parts(DatasetInput(arrays.inputs, arrays.labels, picked, 0, size, correct, of, padded=padded), groups)
    frames, size = once(_cut, form, arrays, architecture)
    picked = _picked(once, form, arrays, arrays.inputs.shape[0], index, _steps(architecture, frames) if stepwise else None)
    reference = once(read_reference, form, folder)
    return [DatasetInput(arrays.inputs, arrays.labels, picked, frames, size, correct, arrays.inputs.shape[0], (), reference)]


def _parts(whole: DatasetInput, groups: tuple[tuple[int, tuple[int, ...]], ...]) -> list[DatasetInput]:
    """By length."""
    return [replace(whole, indices=some, frames=frames, parts=len(groups) > 1) for frames, some in groups]


def _steps(architecture: Architecture, frames: int) -> int | None:
    """How many outputs a network gives that gives several."""
    count = architecture.frames(frames)[-1]
    return count if count > 1 else None


def _cut(form: Dataset, arrays: Arrays, architecture: Architecture) -> tuple[int, int]:
    """How many frames a sample has, and how many numbers each: a picture is one, unless its rows stand in the array as frames."""
    shape, where, wanted, picture = arrays.inputs.shape, arrays.where, architecture.input_size, architecture.picture
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
    elif picture is not None and size == picture.size:
        alike = [(picture.channels, picture.height, picture.width), (picture.height, picture.width, 1)]
        if len(shape) == 4 and shape[1:] not in alike[: 1 + (picture.channels == 1)]:
            cure = "channels come first, as in torch: x.transpose(0, 3, 1, 2) of pictures whose channels come last"
            raise SpecError(d.shapes_do_not_fit(where, f"samples have shape {list(shape[1:])}, the network reads pictures of {picture}", cure))
        frames = 1
    else:
        raise SpecError(d.missing_key(form.span, "frames", "dataset", f"samples of shape {list(shape[1:])} must be cut into frames"))
    if frames < 1 or shape[0] < 1:
        raise SpecError(d.no_samples(where, f"the inputs have shape {list(shape)}"))
    if wanted not in (0, size // frames):
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
    if wanted not in (0, shape[1]):
        raise SpecError(d.network_input(where, shape[1], wanted))


def _padded(form: Dataset, arrays: Arrays, wanted: int) -> tuple[int, int, int]:
    """Of samples that are filled up to one length: how many there are, that length, and the numbers of a frame."""
    shape, where, lengths = arrays.inputs.shape, arrays.where, arrays.lengths or ()
    if form.frames is not None:
        raise SpecError(d.does_not_apply(form.frames.span, "frames", "the file's lengths say how many each sample has"))
    if len(shape) != 3 or len(lengths) != shape[0] or not all(0 < n <= shape[1] for n in lengths):
        what = f"lengths do not fit inputs of the shape {list(shape)}"
        raise SpecError(d.shapes_do_not_fit(where, what, "there is one for each sample [samples, frames, numbers], from 1 to its frames"))
    if wanted not in (0, shape[2]):
        raise SpecError(d.network_input(where, shape[2], wanted))
    return shape[0], shape[1], shape[2]


def _by_length(picked: tuple[int, ...], lengths: tuple[int, ...], span: Span) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """The sequences that are picked, those of one length together. Raises SpecError."""
    found: dict[int, list[int]] = {}
    for i in picked:
        found.setdefault(lengths[i], []).append(i)
    if 0 in found:
        raise SpecError(d.no_samples(span, f"sequence {found[0][0]} has no frames"))
    return tuple((frames, tuple(some)) for frames, some in sorted(found.items()))


def open_arrays(form: Dataset, folder: Path) -> Arrays:
    """The inputs, the labels, and where the inputs are named. Every array of a file is used, or an error. Raises SpecError."""
    if form.source is not None:
        other = form.inputs or form.labels
        if other is not None:
            raise SpecError(d.conflicting_keys(other.span, "source", "inputs" if form.inputs else "labels", "dataset"))
        return _source(form.source, folder)
    if form.inputs is None:
        raise SpecError(d.one_of_keys(form.span, ("inputs", "source"), "dataset"))
    path = files.locate(folder, form.inputs.value, form.inputs.span)
    inputs = _plain(path, None, files.npy(path, form.inputs.span), form.inputs.span)
    if form.labels is None:
        return Arrays(inputs, None, form.inputs.span)
    path = files.locate(folder, form.labels.value, form.labels.span)
    return Arrays(inputs, _labels(path, None, files.npy(path, form.labels.span), form.labels.span), form.inputs.span)


def _source(source: Located[str], folder: Path) -> Arrays:
    path = files.locate(folder, source.value, source.span)
    arrays = files.npz(path, source.span)
    x, y = (_named(arrays, names, source, role) for names, role in ((INPUT_ARRAYS, "inputs"), (LABEL_ARRAYS, "labels")))
    if x is None:
        raise SpecError(d.missing_array(source.span, source.value, "inputs", arrays))
    inputs = _plain(path, x, arrays[x], source.span)
    labels = None if y is None else _labels(path, y, arrays[y], source.span)
    long = _named(arrays, LENGTH_ARRAYS, source, "lengths")
    if long is not None and OFFSETS in arrays:
        raise SpecError(d.several_arrays(source.span, source.value, [long, OFFSETS], "lengths"))
    offsets = files.whole_numbers(path, OFFSETS, source.span) if OFFSETS in arrays else None
    lengths = None if long is None else files.whole_numbers(path, long, source.span)
    unused = sorted(arrays.keys() - {x, y, long, OFFSETS})
    if unused:
        raise SpecError(d.unused_arrays(source.span, source.value, unused, "leave them out of the file: np.savez(FILE, inputs=x, labels=y)"))
    return Arrays(inputs, labels, source.span, offsets, lengths)


def _named(arrays: Mapping[str, ArrayHeader], names: tuple[str, ...], source: Located[str], role: str) -> str | None:
    """The array of a role."""
    found = [n for n in names if n in arrays]
    if len(found) > 1:
        raise SpecError(d.several_arrays(source.span, source.value, found, role))
    return found[0] if found else None


def _plain(path: str, key: str | None, header: ArrayHeader, span: Span) -> ArrayPlan:
    if not header.plain:
        raise SpecError(d.unread_array(span, Path(path).name, key or "inputs", header.what))
    return ArrayPlan(path, key, header.shape, span)


def _labels(path: str, key: str | None, header: ArrayHeader, span: Span) -> ArrayPlan:
    """Class numbers, or names; real numbers are those that a network forecasts."""
    if not (header.integral or header.texts or header.plain):
        raise SpecError(d.unread_array(span, Path(path).name, key or "labels", header.what))
    return ArrayPlan(path, key, header.shape, span, texts=header.texts, real=not (header.integral or header.texts))


def _class_labels(labels: ArrayPlan) -> None:
    """Raises SpecError where they are no classes."""
    if labels.real:
        rows = len(labels.shape) == 2 and labels.shape[1] > 1
        cure = "one-hot rows or scores become class numbers by labels.argmax(1)" if rows else "store class numbers: labels.astype(int)"
        cure += "; what a network forecasts is asked about with a property"
        raise SpecError(d.shapes_do_not_fit(labels.span, "labels are no whole numbers", cure))


def _picked(once: Once, form: Dataset, arrays: Arrays, count: int, index: SampleIndex | None, steps: int | None) -> tuple[int, ...]:
    """The samples asked about, of so many; the labels, of so many steps, are checked too."""
    once(_check_labels, form, arrays, count, steps)
    return pick_of(once, form, index, count)


def pick_of(once: Once, form: Dataset, index: SampleIndex | None, count: int) -> tuple[int, ...]:
    """The samples asked about, of so many. Raises SpecError."""
    picked = once(_pick, form, count)
    return picked if index is None else once(_index, index, picked)


def _check_labels(form: Dataset, arrays: Arrays, count: int, steps: int | None) -> None:
    if arrays.labels is not None and arrays.labels.shape != ((count,) if steps is None else (count, steps)):
        shape = arrays.labels.shape
        one_hot = len(shape) == 2 and shape[0] == count and shape[1] > 1
        what = f"labels have shape {list(shape)}, the inputs {count} samples"
        cure = "one-hot rows become class numbers by labels.argmax(1)" if one_hot else "there must be one label a sample"
        cure = cure if steps is None else f"there must be a label for each of {steps} steps of every sample: [{count}, {steps}]"
        raise SpecError(d.shapes_do_not_fit(form.labels.span if form.labels else arrays.where, what, cure))
    if form.where is not None and arrays.labels is None:
        raise SpecError(d.needs_labels(form.where.span))


def _pick(form: Dataset, count: int) -> tuple[int, ...]:
    if form.pick is None:
        if count > MOST_SAMPLES:
            raise SpecError(d.too_large(form.span, "samples", count, MOST_SAMPLES))
        return tuple(range(count))
    pick = form.pick.value
    if pick.kind == "slice":
        return _slice(form.pick.span, range(count), pick.start, pick.stop)
    if pick.count > min(count, MOST_SAMPLES):
        most = count if count <= MOST_SAMPLES else MOST_SAMPLES
        raise SpecError(d.sample_out_of_range(form.pick.span, pick.count - 1, most))
    if pick.kind == "first":
        return tuple(range(pick.count))
    return tuple(sorted(random.Random(pick.seed).sample(range(count), pick.count)))


def _index(index: SampleIndex, picked: tuple[int, ...]) -> tuple[int, ...]:
    if isinstance(index.value, int):
        if index.value >= len(picked):
            raise SpecError(d.sample_out_of_range(index.span, index.value, len(picked)))
        return (picked[index.value],)
    return _slice(index.span, picked, *index.value)


def _slice(span: Span, samples: Sequence[int], start: int | None, stop: int | None) -> tuple[int, ...]:
    if stop is not None and stop > len(samples):
        raise SpecError(d.sample_out_of_range(span, stop - 1, len(samples)))
    chosen = samples[start:stop]
    if not chosen:
        raise SpecError(d.no_samples(span, f"the slice picks none of the {len(samples)} samples"))
    if len(chosen) > MOST_SAMPLES:
        raise SpecError(d.too_large(span, "samples", len(chosen), MOST_SAMPLES))
    return tuple(chosen)
