"""Tokenizers of Hugging Face (tokenizer.json, extra `tokenizers`): texts become tokens by the file's own rules, which that library applies."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlang.lower import files
from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError
from vlang.text.source import Span
from vlang.typed.tree import Network
from vlang.typed.types import Located

#: A tokenizer of more bytes is none.
LARGEST = 200 * 2**20
FILE = "tokenizer.json"


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """tokens: in the order of the embedding's rows. unknown: its token for what it does not know, if it has one. special: whether it adds tokens of
    its own to a text."""

    rules: Any
    tokens: tuple[str, ...]
    unknown: str | None
    special: bool

    def split(self, text: Located[str]) -> tuple[tuple[str, ...], tuple[int, ...], tuple[str, ...], frozenset[int]]:
        """Tokens as they are shown and numbered, what is unknown, and the places of tokens that are less than a word. Raises SpecError."""
        try:
            found = self.rules.encode(text.value, add_special_tokens=self.special)
        except Exception as e:  # the library raises bare exceptions
            cure = "write the text without what it does not know, or give it a token for that"
            raise SpecError(d.shapes_do_not_fit(text.span, f"the tokenizer fails at this text: {str(e)[:200]}", cure)) from None
        if not found.ids or not text.value.strip():
            raise SpecError(d.empty_text(text.span))
        kept, shown, unknown = [False] * len(text.value), [], []
        for token, (start, stop) in zip(found.tokens, found.offsets, strict=True):
            kept[start:stop] = [True] * (stop - start)
            piece = text.value[start:stop]
            lost = token == self.unknown and bool(piece)
            unknown += [piece] if lost else []
            shown.append(f"{piece} -> {token}" if lost else token)
        dropped = "".join(c for c, used in zip(text.value, kept, strict=True) if c.isalnum() and not used)
        if dropped:
            cure = "write the text without it, or give the tokenizer a token for what it does not know"
            raise SpecError(d.shapes_do_not_fit(text.span, f"the tokenizer leaves out {dropped[:20]!r}, for which it has no token", cure))
        words = Counter(found.word_ids)
        parts = frozenset(k for k, word in enumerate(found.word_ids) if word is None or words[word] > 1)
        return tuple(shown), tuple(found.ids), tuple(unknown), parts

    def alone(self, word: str) -> int | None:
        """The number of the token that a word is, wherever it stands in a text; None where it is several, an unknown one, or not always the same."""
        try:
            first = self.rules.encode(word, add_special_tokens=False)
            before = self.rules.encode(f"{word} {word}", add_special_tokens=False)
        except Exception:  # the library raises bare exceptions
            return None
        same = len(first.ids) == 1 and before.ids == first.ids * 2 and first.tokens[0] != self.unknown
        return int(first.ids[0]) if same else None


def read(form: Network, folder: Path) -> Tokenizer | None:
    """The tokenizer that a network's vocabulary is; None where it is a plain one. Raises SpecError."""
    said, special = form.vocabulary, form.special_tokens
    held = None if said is None else _json(folder, said)
    if said is None or held is None:
        if special is not None:
            raise SpecError(d.does_not_apply(special.span, "special_tokens", f"the vocabulary is no {FILE}"))
        return None
    if form.unknown is not None and form.unknown.value is not None:
        raise SpecError(d.does_not_apply(form.unknown.span, "unknown", "a tokenizer says itself what stands for what it does not know"))
    rules, name, span = _rules(folder, said), os.path.basename(said.value), said.span
    for what, cure in (("padding", "no_padding"), ("truncation", "no_truncation")):
        if getattr(rules, what) is not None:
            why = f"{'fills up' if what == 'padding' else 'cuts'} texts ({what}), which changes what is asked about"
            raise SpecError(d.vocabulary_format(span, why, f"save it without: tokenizer.{cure}(); tokenizer.save('{name}')"))
    model = held["model"]
    if model.get("dropout"):
        raise SpecError(d.vocabulary_format(span, "splits words at random (dropout)", "save it with tokenizer.model.dropout = None"))
    try:
        marks = " ".join(rules.encode("", add_special_tokens=True).tokens)
    except Exception as e:  # the library raises bare exceptions
        raise SpecError(d.damaged(span, said.value, "tokenizer", str(e).split("\n")[0][:200])) from None
    if marks and special is None:
        raise SpecError(d.must_be_said(span, f"{name} adds tokens to a text ({marks}), or not, as it is called", "special_tokens = add, or none"))
    vocabulary = {number: token for token, number in rules.get_vocab(with_added_tokens=True).items()}
    tokens = tuple(vocabulary.get(k, "") for k in range(max(vocabulary, default=-1) + 1))
    number = model.get("unk_id")
    unknown = model.get("unk_token") if number is None else vocabulary.get(number)
    return Tokenizer(rules, tokens, unknown, special is not None and special.value == "add")


def _json(folder: Path, said: Located[str]) -> dict[str, Any] | None:
    """A tokenizer's file; None where it is something else. Raises SpecError."""
    if not said.value.lower().endswith(".json"):
        return None
    path = files.locate(folder, said.value, said.span)
    if os.path.getsize(path) > LARGEST:
        raise SpecError(d.too_large(said.span, "bytes of a tokenizer", os.path.getsize(path), LARGEST))
    try:
        held = files.strictly(files.read_text(path, said.span))
    except (ValueError, RecursionError):
        return None
    return held if isinstance(held, dict) and isinstance(held.get("model"), dict) and "vocab" in held["model"] else None


def _rules(folder: Path, said: Located[str]) -> Any:
    """Raises SpecError."""
    span: Span = said.span
    try:
        from tokenizers import Tokenizer as Rules
    except ImportError:
        raise SpecError(d.missing_library(span, said.value, "tokenizers", "tokenizers")) from None
    try:
        return Rules.from_file(files.locate(folder, said.value, span))
    except Exception as e:  # the library raises bare exceptions
        raise SpecError(d.damaged(span, said.value, "tokenizer", str(e).split("\n")[0][:200])) from None
