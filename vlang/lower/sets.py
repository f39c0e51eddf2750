"""Typed perturbation to its plan: frames and weights resolved against a sequence's length."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from vlang.lower.once import Once, refuse
from vlang.plan import FrameSet, PerturbationPlan
from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError
from vlang.typed.tree import Perturbation
from vlang.typed.types import Frames, Located


def perturbation(once: Once, form: Perturbation, frames: int, numbers: int | None) -> PerturbationPlan:
    """The set on sequences of so many frames, of so many numbers each; None for those of a text. Raises SpecError."""
    text = numbers is None
    space: Literal["input", "embedding"] = "embedding" if text else "input"
    if form.space is not None:
        once(_space, form.space, space)
    if form.clip is not None:
        once(refuse, text, d.clip_on_embeddings, form.clip.span)
    if form.weights is not None:
        once(_weights, form.weights, frames)
    frame_set = once(frame_rows, form.frames, frames)
    scale = _units(once, form, frames, numbers)
    weights = None if form.weights is None else form.weights.value
    if weights is not None or scale is not None:  # frames that these fix have no row
        moved = (tuple(k for k in row if (weights is None or weights[k]) and (scale is None or any(scale[k]))) for row in frame_set.rows)
        frame_set = FrameSet(tuple(row for row in moved if row), frame_set.at_most)
        once(refuse, not frame_set.rows, d.no_frames, form.frames.span)
    clip = None if form.clip is None else form.clip.value
    return PerturbationPlan(frame_set, form.norm.value, space, clip, weights, (form.clip or form.frames).span, scale)


def _units(once: Once, form: Perturbation, frames: int, numbers: int | None) -> tuple[tuple[Fraction, ...], ...] | None:
    """Of the numbers of every frame, where they are said. Raises SpecError."""
    if form.scale is None:
        return None
    once(refuse, numbers is None, d.does_not_apply, form.scale.span, "scale", "the numbers of an embedding have no units")
    once(refuse, form.clip is not None, d.does_not_apply, form.scale.span, "scale", "a clip is not known in other units yet")
    return once(_scale, form.scale, frames, numbers or 0)


def _scale(scale: Located[tuple[tuple[Fraction, ...], ...]], frames: int, numbers: int) -> tuple[tuple[Fraction, ...], ...]:
    """Of every frame."""
    found = scale.value * frames if len(scale.value) == 1 else scale.value
    if len(found) != frames or len(found[0]) != numbers:
        what = f"scale has the shape {[len(scale.value), len(found[0])]}, the samples [{frames}, {numbers}]"
        raise SpecError(d.shapes_do_not_fit(scale.span, what, "write one number for each of a frame's, or a list of those for each frame"))
    if not any(map(any, found)):
        raise SpecError(d.no_frames(scale.span))
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
