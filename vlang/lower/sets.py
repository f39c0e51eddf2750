"""Typed perturbation to its plan: frames and weights resolved against a sequence's length."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Literal

from vlang.array import ArrayPlan
from vlang.lower import alternatives, files
from vlang.lower.networks import LoweredNetwork
from vlang.lower.once import Once, refuse
from vlang.perturbation import AlternativesPlan, DirectionsPlan, FrameSet, PerturbationPlan
from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError
from vlang.text.source import Span
from vlang.typed.sets import Alternatives, Directions
from vlang.typed.tree import Perturbation
from vlang.typed.types import Frames, Located

#: What says how balls are made of numbers, and is nothing to other sets.
OF_BALLS = ("norm", "space", "clip", "weights", "scale")


def perturbation(once: Once, form: Perturbation, frames: int, numbers: int | None, network: LoweredNetwork, folder: Path) -> PerturbationPlan:
    """The set on sequences of so many frames, of so many numbers each; None for those of a text. Raises SpecError."""
    if form.words is not None:
        return _words(once, form, form.words, frames, numbers, network, folder)
    if form.alternatives is not None:
        return _alternatives(once, form, form.alternatives, frames, numbers, folder)
    if form.directions is not None:
        return _directions(once, form, form.directions, frames, numbers, folder)
    assert form.frames is not None
    assert form.norm is not None
    text = numbers is None
    space: Literal["input", "embedding"] = "embedding" if text else "input"
    if form.space is not None:
        once(_space, form.space, space)
    if form.clip is not None:
        once(refuse, text, d.clip_on_embeddings, form.clip.span)
    if form.weights is not None:
        once(_weights, form.weights, frames)
    frame_set = once(frame_rows, form.frames, frames)
    scale = _units(once, form, frames, numbers, folder)
    weights = None if form.weights is None else form.weights.value
    if weights is not None or scale is not None:  # frames that these fix have no row
        moved = (tuple(k for k in row if (weights is None or weights[k]) and (scale is None or any(scale[k]))) for row in frame_set.rows)
        frame_set = FrameSet(tuple(row for row in moved if row), frame_set.at_most)
        once(refuse, not frame_set.rows, d.no_frames, form.frames.span)
    clip = None if form.clip is None else form.clip.value
    if clip is not None and form.clip is not None and numbers is not None:
        channels = f"{len(clip)} ranges, for {numbers} numbers of a frame"
        once(refuse, len(clip) not in (1, numbers), d.shapes_do_not_fit, form.clip.span, channels, "write one range for all of them, or one for each")
    return PerturbationPlan(frame_set, form.norm.value, space, clip, weights, (form.clip or form.frames).span, scale)


def _words(
    once: Once, form: Perturbation, words: Located[Alternatives], frames: int, numbers: int | None, network: LoweredNetwork, folder: Path
) -> PerturbationPlan:
    """Raises SpecError."""
    for key in (*OF_BALLS, "directions", "alternatives"):
        given: Located[object] | None = getattr(form, key)
        once(refuse, given is not None, d.does_not_apply, words.span if given is None else given.span, key, "words become others, by no distance")
    assert form.frames is not None
    once(refuse, numbers is not None, d.does_not_apply, words.span, "words", "the input is not a text")
    found = once(frame_rows, form.frames, frames)
    return PerturbationPlan(found, None, "embedding", None, None, form.frames.span, alternatives=alternatives.plan(once, words, network, folder))


def _alternatives(once: Once, form: Perturbation, given: Located[str], frames: int, numbers: int | None, folder: Path) -> PerturbationPlan:
    """Raises SpecError."""
    for key in (*OF_BALLS, "directions"):
        other: Located[object] | None = getattr(form, key)
        once(refuse, other is not None, d.does_not_apply, given.span if other is None else other.span, key, "frames become others, by no distance")
    assert form.frames is not None
    if numbers is None:
        raise SpecError(d.does_not_apply(given.span, "alternatives", "what words of a text become is said by words"))
    found = once(frame_rows, form.frames, frames)
    array = once(_array, given.value, given.span, "alternatives", folder)
    if not 3 <= len(array.shape) <= 4 or 0 in array.shape or (array.shape[-3], array.shape[-1]) != (frames, numbers):
        what = f"alternatives have the shape {list(array.shape)}"
        cure = f"store an array [{frames}, k, {numbers}], k others for every frame, or one of those for each sample"
        raise SpecError(d.shapes_do_not_fit(given.span, what, cure))
    return PerturbationPlan(found, None, "input", None, None, given.span, alternatives=AlternativesPlan(array=array))


def _directions(once: Once, form: Perturbation, given: Located[Directions], frames: int, numbers: int | None, folder: Path) -> PerturbationPlan:
    """Raises SpecError."""
    assert form.norm is not None
    for key in ("frames", *OF_BALLS[1:]):
        other: Located[object] | None = getattr(form, key)
        once(refuse, other is not None, d.does_not_apply, given.span if other is None else other.span, key, "directions move a sample as a whole")
    if numbers is None:
        raise SpecError(d.does_not_apply(given.span, "directions", "a text has no numbers that could drift"))
    array = None if given.value.file is None else once(_array, given.value.file, given.span, "directions", folder)
    if array is not None and (len(array.shape) != 3 or array.shape[1:] != (frames, numbers) or not array.shape[0]):
        what, cure = f"directions have the shape {list(array.shape)}", f"store an array of [directions, {frames}, {numbers}], as the samples are"
        raise SpecError(d.shapes_do_not_fit(given.span, what, cure))
    for word, channel in given.value.named:
        channels = f"below {numbers}, the numbers of a frame"
        once(refuse, channel is not None and channel >= numbers, d.out_of_range, given.span, f"the channel of {word}", str(channel), channels)
    everything = FrameSet((tuple(range(frames)),))
    return PerturbationPlan(everything, form.norm.value, "input", None, None, given.span, directions=DirectionsPlan(given.value.named, array))


def _array(file: str, span: Span, what: str, folder: Path) -> ArrayPlan:
    """A file that a set is made of. Raises SpecError."""
    path = files.locate(folder, file, span)
    header = files.npy(path, span)
    if not header.plain:
        raise SpecError(d.unread_array(span, Path(path).name, what, header.what))
    return ArrayPlan(path, None, header.shape, span)


#: Of the numbers of every frame, their units.
Units = tuple[tuple[Fraction, ...], ...]


def _units(once: Once, form: Perturbation, frames: int, numbers: int | None, folder: Path) -> Units | None:
    """Of the numbers of every frame, where they are said. Raises SpecError."""
    if form.scale is None:
        return None
    once(refuse, numbers is None, d.does_not_apply, form.scale.span, "scale", "the numbers of an embedding have no units")
    said = form.scale.value
    return once(_scale, once(_read_scale, said, form.scale.span, folder) if isinstance(said, str) else said, form.scale.span, frames, numbers or 0)


def _read_scale(file: str, span: Span, folder: Path) -> Units:
    """Of a file [numbers] or [frames, numbers]. Raises SpecError."""
    path = files.locate(folder, file, span)
    found = files.reals(path, span)
    if found is None or not 1 <= len(found[1]) <= 2 or 0 in found[1]:
        what = f"{file} is no array [numbers] or [frames, numbers]"
        raise SpecError(d.shapes_do_not_fit(span, what, "store it as a .npy file of float32 or float64"))
    flat, shape = found
    if not all(math.isfinite(x) and x >= 0 for x in flat):
        raise SpecError(d.out_of_range(span, "a unit", str(next(x for x in flat if not (math.isfinite(x) and x >= 0))), "at least 0"))
    return tuple(tuple(map(Fraction, flat[k : k + shape[-1]])) for k in range(0, len(flat), shape[-1]))


def _scale(scale: Units, span: Span, frames: int, numbers: int) -> Units:
    """Of every frame."""
    found = scale * frames if len(scale) == 1 else scale
    if len(found) != frames or len(found[0]) != numbers:
        what = f"scale has the shape {[len(scale), len(found[0])]}, the samples [{frames}, {numbers}]"
        raise SpecError(d.shapes_do_not_fit(span, what, "write one number for each of a frame's, or a list of those for each frame"))
    if not any(map(any, found)):
        raise SpecError(d.no_frames(span))
    return found


def _space(stated: Located[str], space: str) -> None:
    if stated.value != space:
        cure = "a text is perturbed in its embeddings: write space = embedding"
        if space == "input":
            cure = "values have no embeddings: write space = input"
        raise SpecError(d.needs_embedding_space(stated.span, stated.value, cure))


def _weights(weights: Located[tuple[Fraction, ...]], frames: int) -> None:
    if len(weights.value) != frames:
        raise SpecError(d.weights_length(weights.span, len(weights.value), frames))
    if not any(weights.value):
        raise SpecError(d.no_frames(weights.span))


def frame_rows(frames: Located[Frames], count: int) -> FrameSet:
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
    met = [x.value for x in value.items]
    errors += [d.named_twice(x.span, str(x.value), "a frame") for i, x in enumerate(value.items) if x.value in met[:i]]
    if errors:
        raise SpecError(*errors)
    return FrameSet((tuple(sorted({x.value for x in value.items})),))
