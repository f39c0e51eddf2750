"""Arrays of token numbers: texts as a program has looked them up."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from vlang.array import ArrayPlan
from vlang.lower import files
from vlang.lower.networks import LoweredNetwork
from vlang.lower.once import Once, refuse
from vlang.lower.samples import Arrays, open_arrays, pick_of
from vlang.plan import TextInput, TextsInput
from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError
from vlang.text.source import Span
from vlang.typed.tree import Dataset, SampleIndex
from vlang.typed.types import Located

Numbers = tuple[int, ...]


def data(once: Once, form: Dataset, index: SampleIndex | None, network: LoweredNetwork, folder: Path) -> tuple[TextsInput, ...]:
    """The samples asked about, those of one length together. Raises SpecError."""
    for key in ("frames", "reference", "reference_tolerance"):
        given: Located[object] | None = getattr(form, key)
        once(refuse, given is not None, d.does_not_apply, form.span if given is None else given.span, key, "the samples are token numbers")
    arrays = once(open_arrays, form, folder)
    rows, labels = once(_rows, arrays, network), once(_labels, arrays, network)
    once(refuse, form.where is not None and labels is None, d.needs_labels, form.span if form.where is None else form.where.span)
    by_length: dict[int, list[int]] = {}
    for i in pick_of(once, form, index, len(rows)):
        by_length.setdefault(len(rows[i]), []).append(i)
    words, span = network.words, arrays.where

    def text(i: int) -> TextInput:
        shown = tuple(f"#{k}" if words is None else words.tokens[k] for k in rows[i])
        return TextInput(shown, rows[i], None if labels is None else labels[i], span)

    path, correct = arrays.inputs.path, form.where is not None
    return tuple(TextsInput(tuple(map(text, some)), tuple(some), path, len(rows), correct, span) for _, some in sorted(by_length.items()))


def _rows(arrays: Arrays, network: LoweredNetwork) -> tuple[Numbers, ...]:
    """Raises SpecError."""
    plan, where, tokens = arrays.inputs, arrays.where, network.plan.architecture.tokens
    flat, shape = _whole(plan, where, network.plan.name)
    if arrays.offsets is not None:
        ends = arrays.offsets
        if len(shape) != 1 or list(ends) != sorted(ends) or len(ends) < 2 or (ends[0], ends[-1]) != (0, len(flat)):
            raise SpecError(d.shapes_do_not_fit(where, "offsets do not cut the tokens", "they begin with 0, never fall, and end with their count"))
        rows = [flat[a:b] for a, b in itertools.pairwise(ends)]
    elif len(shape) != 2 or 0 in shape:
        raise SpecError(d.shapes_do_not_fit(where, f"inputs have the shape {list(shape)}", "token numbers are an array [samples, tokens]"))
    else:
        rows = [flat[k * shape[1] : (k + 1) * shape[1]] for k in range(shape[0])]
        if arrays.lengths is None:
            _padding(rows, where)
        elif len(arrays.lengths) != len(rows) or not all(0 < n <= shape[1] for n in arrays.lengths):
            what = f"lengths do not fit inputs of the shape {list(shape)}"
            raise SpecError(d.shapes_do_not_fit(where, what, "there is one for each sample, from 1 to its tokens"))
        else:
            rows = [row[:n] for row, n in zip(rows, arrays.lengths, strict=True)]
    empty = next((i for i, row in enumerate(rows) if not row), None)
    if empty is not None:
        raise SpecError(d.no_samples(where, f"text {empty} has no tokens"))
    wrong = next(((i, k) for i, row in enumerate(rows) for k in row if not 0 <= k < tokens), None)
    if wrong is not None:
        raise SpecError(d.out_of_range(where, f"a token of text {wrong[0]}", str(wrong[1]), f"from 0 to {tokens - 1}, the rows of the embedding"))
    return tuple(rows)


def _padding(rows: Sequence[Numbers], where: Span) -> None:
    """Ask where texts of one length end in runs of one token, of several lengths: they may be filled up, or not."""
    last = [row[-1] for row in rows if len(row) > 1 and row[-1] == row[-2]]
    if last and len(set(last)) == 1:
        what = f"{len(last)} of {len(rows)} texts end in runs of token {last[0]}: padding, or a part of them?"
        raise SpecError(d.shapes_do_not_fit(where, what, "say how many tokens each has: np.savez(FILE, inputs=ids, lengths=n, labels=y)"))


def _labels(arrays: Arrays, network: LoweredNetwork) -> Numbers | None:
    """Raises SpecError."""
    plan, classes = arrays.labels, network.plan.architecture.classes
    if plan is None:
        return None
    if plan.texts:
        raise SpecError(d.shapes_do_not_fit(plan.span, "labels are texts", "store class numbers beside token numbers"))
    flat, shape = _whole(plan, plan.span, network.plan.name)
    count = len(arrays.offsets) - 1 if arrays.offsets is not None else arrays.inputs.shape[0]
    if shape != (count,):
        what = f"labels have the shape {list(shape)}, the inputs {count} samples"
        raise SpecError(d.shapes_do_not_fit(plan.span, what, "there must be one label a sample"))
    wrong = next(((i, y) for i, y in enumerate(flat) if not 0 <= y < classes), None)
    if wrong is not None:
        raise SpecError(d.out_of_range(plan.span, f"the label of sample {wrong[0]}", str(wrong[1]), f"from 0 to {classes - 1}, the classes"))
    return flat


def _whole(plan: ArrayPlan, span: Span, network: str) -> tuple[Numbers, tuple[int, ...]]:
    """Whole numbers of an array, and its shape. Raises SpecError."""
    found = files.integers(plan.path, plan.key, span)
    if found is None:
        raise SpecError(d.embeds_values(span, network))
    return found
