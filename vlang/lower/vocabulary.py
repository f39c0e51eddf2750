"""Vocabularies: a text file with a token a line, JSON (a list, or words with their numbers), or either in a checkpoint's metadata."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from vlang.lower import files
from vlang.lower.files import Checkpoint
from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError
from vlang.text.source import Span
from vlang.typed.tree import Network

#: A vocabulary file of more bytes is none.
LARGEST = 200 * 2**20


def read(form: Network, checkpoint: Checkpoint, folder: Path) -> tuple[str, ...] | None:
    """Every token, in the order of the embedding's rows; None where there is none. Raises SpecError."""
    if form.vocabulary is None:
        text = checkpoint.metadata.get("vocabulary")
        return None if text is None else tokens(text, form.source.span)
    path, span = files.locate(folder, form.vocabulary.value, form.vocabulary.span), form.vocabulary.span
    size = os.path.getsize(path)
    if size > LARGEST:
        raise SpecError(d.too_large(span, "bytes of a vocabulary", size, LARGEST))
    return tokens(files.read_text(path, span), span)


def tokens(text: str, span: Span) -> tuple[str, ...]:
    """White space around a token is no part of it. Raises SpecError."""
    text = text.removeprefix("\ufeff")
    if text[:1] in ("{", "["):
        try:
            held = json.loads(text)
        except (ValueError, RecursionError):
            held = None  # a list of tokens that begins with a bracket
        if held is not None:
            return _json(held, span)
    lines = text.split("\n")
    found = tuple(x.strip() for x in (lines[:-1] if lines[-1] == "" else lines))
    split = [x for x in found if len(x.split()) > 1]
    if 2 * len(split) > len(found):
        what = f"has {split[0][:40]!r} on a line, where a single token is wanted"
        raise SpecError(d.vocabulary_format(span, what, "keep the first column (of word vectors or counts): one token a line"))
    first: dict[str, int] = {}
    for i, token in enumerate(found):
        if token and first.setdefault(token, i) != i:
            what = f"has '{token}' on lines {first[token] + 1} and {i + 1}"
            raise SpecError(d.vocabulary_format(span, what, "a token has one row: keep the line that your program looks up, and rename the other"))
    return found


def _json(held: Any, span: Span) -> tuple[str, ...]:
    if isinstance(held, list) and all(isinstance(x, str) for x in held):
        return tokens("\n".join(held) + "\n", span)
    if isinstance(held, dict) and all(type(v) is int for v in held.values()) and sorted(held.values()) == list(range(len(held))):
        return tokens("\n".join(sorted(held, key=held.__getitem__)) + "\n", span)
    if isinstance(held, dict) and all(isinstance(v, str) for v in held.values()) and sorted(held) == sorted(map(str, range(len(held)))):
        return tokens("\n".join(held[str(i)] for i in range(len(held))) + "\n", span)
    what = "is JSON, but neither a list of texts nor words with their numbers 0, 1, 2, ..."
    raise SpecError(d.vocabulary_format(span, what, "write one token a line"))
