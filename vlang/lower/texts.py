"""Datasets of texts: a line of a file is a sample, with its label; texts of one length are asked about together."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from vlang.lower import files
from vlang.lower.networks import LoweredNetwork, class_number
from vlang.lower.once import Once, refuse
from vlang.lower.samples import check_words, pick_of, tokens_of
from vlang.plan import TextInput, TextsInput
from vlang.text import diagnostics as d
from vlang.text.diagnostics import Diagnostic, SpecError
from vlang.text.source import Span
from vlang.typed.tree import Dataset, SampleIndex
from vlang.typed.types import Located

#: How the columns of a file are parted, by its ending; a JSON record a line has none.
PARTED: Mapping[str, str | None] = MappingProxyType({".tsv": "\t", ".txt": "\t", ".csv": ",", ".jsonl": None})
#: Names of columns and keys. Without them, a label stands before its text.
TEXT_NAMES, LABEL_NAMES = ("text", "sentence", "question", "utterance", "title"), ("label", "class", "category", "intent", "target")
#: Digits of a class number.
LONGEST_NUMBER = 9
#: Errors of a file that are reported, of each kind the first.
MOST_ERRORS = 5


@dataclass(frozen=True)
class Line:
    """number: in the file, from 1."""

    number: int
    text: str
    label: str | int | None


def is_text(form: Dataset) -> bool:
    return form.source is not None and Path(form.source.value).suffix.lower() in PARTED


def read(source: Located[str], folder: Path) -> tuple[str, tuple[Line, ...]]:
    """The file's path and its samples. Raises SpecError."""
    path, span = files.locate(folder, source.value, source.span), source.span
    try:
        content = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise SpecError(d.damaged(span, source.value, "file of texts", f"it is no UTF-8 ({e.reason} at byte {e.start})")) from None
    apart = PARTED[Path(path).suffix.lower()]
    found = _records(content, source) if apart is None else _columns(content, apart, source)
    if not found:
        raise SpecError(d.no_samples(span, "the file has no lines"))
    labelled = [x for x in found if x.label is not None]
    if labelled and len(labelled) < len(found):
        bare = next(x.number for x in found if x.label is None)
        raise SpecError(d.damaged(span, source.value, "file of texts", f"line {bare} has no label, line {labelled[0].number} has one"))
    return path, tuple(found)


def _columns(content: str, apart: str, source: Located[str]) -> list[Line]:
    """Lines of columns, under a heading or as label and text."""
    # Quotation marks of a text are its own where tabs part it.
    comma = apart == ","
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=apart, quoting=csv.QUOTE_MINIMAL if comma else csv.QUOTE_NONE, strict=comma)
    try:
        rows = [(reader.line_num, row) for row in reader if any(x.strip() for x in row)]
    except csv.Error as e:
        raise SpecError(d.damaged(source.span, source.value, "file of texts", f"line {reader.line_num}: {e}")) from None
    if not rows:
        return []
    heading = [x.strip().lower() for x in rows[0][1]]
    text, label = ([i for i, name in enumerate(heading) if name in names] for names in (TEXT_NAMES, LABEL_NAMES))
    if text and (label or len(heading) == 1):
        if len(text) > 1 or len(label) > 1:
            raise SpecError(d.several_arrays(source.span, source.value, [heading[i] for i in (text if len(text) > 1 else label)], "texts or labels"))
        at, by, rows = text[0], label[0] if label else None, rows[1:]
    else:
        if len(heading) > 1 and (text or label):
            what = f"line 1 of {source.value} looks like a heading ({', '.join(heading)}), but names no {'label' if text else 'text'}"
            raise SpecError(d.shapes_do_not_fit(source.span, what, f"name that column {(LABEL_NAMES if text else TEXT_NAMES)[0]}"))
        widths = {len(row) for _, row in rows}
        if widths not in ({1}, {2}):
            wrong = next(n for n, row in rows if len(row) > 2 or len(row) != len(rows[0][1]))
            cure = f"a heading that names them ({', '.join((TEXT_NAMES[0], LABEL_NAMES[0]))}), or lines of label and text"
            raise SpecError(d.shapes_do_not_fit(source.span, f"line {wrong} of {source.value} has other columns than a label and a text", cure))
        at, by = max(widths) - 1, 0 if widths == {2} else None
    short = next((n for n, row in rows if len(row) <= max(at, by or 0)), None)
    if short is not None:
        raise SpecError(d.damaged(source.span, source.value, "file of texts", f"line {short} has too few columns"))
    return [Line(n, row[at], None if by is None else row[by].strip()) for n, row in rows]


def _records(content: str, source: Located[str]) -> list[Line]:
    """A JSON record a line."""
    found = []
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = files.strictly(line)
            if not isinstance(record, dict):
                raise TypeError("it is no record")
            keys = {k.lower(): v for k, v in record.items()}
            if len(keys) < len(record):
                raise TypeError("two of its keys differ in capitals alone")
            texts, labels = ([keys[k] for k in names if k in keys] for names in (TEXT_NAMES, LABEL_NAMES))
            if texts and not labels and len(keys) > 1:
                raise TypeError(f"it has the keys {', '.join(record)}, of which none is a label's: name that label, or leave out all but the text")
            plain = isinstance((labels or [""])[0], str | int) and not isinstance((labels or [""])[0], bool)
            if len(texts) != 1 or len(labels) > 1 or not isinstance(texts[0], str) or not plain:
                raise TypeError(f"it needs one of {', '.join(TEXT_NAMES)}, and at most one of {', '.join(LABEL_NAMES)}")
        except (ValueError, TypeError, RecursionError) as e:
            raise SpecError(d.damaged(source.span, source.value, "file of texts", f"line {number}: {e}")) from None
        if any("\ud800" <= c <= "\udfff" for c in texts[0] + str((labels or [""])[0])):
            raise SpecError(d.damaged(source.span, source.value, "file of texts", f"line {number}: half of a surrogate pair is no character"))
        found.append(Line(number, texts[0], labels[0] if labels else None))
    return found


def data(once: Once, form: Dataset, index: SampleIndex | None, network: LoweredNetwork, folder: Path) -> tuple[TextsInput, ...]:
    """The samples asked about, those of one length together. Raises SpecError."""
    assert form.source is not None
    span = form.source.span
    for key in ("inputs", "labels", "frames", "reference", "reference_tolerance"):
        given: Located[object] | None = getattr(form, key)
        once(refuse, given is not None, d.does_not_apply, span if given is None else given.span, key, "the source is a file of texts")
    check_words(once, network, span)
    path, lines = once(read, form.source, folder)
    once(refuse, form.where is not None and lines[0].label is None, d.needs_labels, span if form.where is None else form.where.span)
    picked = pick_of(once, form, index, len(lines))
    texts = dict(zip(picked, once(_looked_up, network, lines, picked, span), strict=True))
    by_length: dict[int, list[int]] = {}
    for i, text in texts.items():
        by_length.setdefault(len(text.ids), []).append(i)
    correct = form.where is not None
    return tuple(TextsInput(tuple(texts[i] for i in some), tuple(some), path, len(lines), correct, span) for _, some in sorted(by_length.items()))


def _looked_up(network: LoweredNetwork, lines: tuple[Line, ...], picked: tuple[int, ...], span: Span) -> tuple[TextInput, ...]:
    """Raises SpecError with what is wrong in the first lines."""
    found, errors = [], list[Diagnostic]()
    for i in picked:
        try:
            found.append(_text(network, lines[i], span))
        except SpecError as e:
            errors += e.diagnostics
    if errors:
        raise SpecError(*errors[:MOST_ERRORS])
    return tuple(found)


def _text(network: LoweredNetwork, line: Line, span: Span) -> TextInput:
    """Raises SpecError, with the line's number."""
    plan, label = network.plan, line.label
    assert network.words is not None
    try:
        if any(name.isdecimal() for name in plan.labels):  # then a number is a name, and no place among them
            label = None if label is None else str(label)
        elif isinstance(label, str) and label not in plan.labels and label.isascii() and label.isdecimal() and len(label) <= LONGEST_NUMBER:
            label = int(label) if str(int(label)) == label else label
        number = None if label is None else class_number(Located(label, span), plan.labels, plan.architecture.classes)
        shown, ids, unknown, parts = tokens_of(Located(line.text, span), network.words)
        refuse(bool(unknown) and network.strict, d.unknown_words, span, unknown, len(ids))
    except SpecError as e:
        raise SpecError(*(replace(x, message=f"line {line.number}: {x.message}") for x in e.diagnostics)) from None
    return TextInput(shown, ids, number, span, unknown, parts)
