"""A spec's text, and places in it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Span:
    """A place in a source: 1-based line and column, and how many characters on that line."""

    line: int
    column: int
    length: int = 1


@dataclass(frozen=True)
class Source:
    """The text of one spec and the path it came from."""

    path: str
    text: str
    digest: str = ""  # of the bytes read; without it, of the text

    @cached_property
    def lines(self) -> tuple[str, ...]:
        return tuple(self.text.split("\n"))

    @property
    def folder(self) -> Path:
        """Paths in the spec are relative to this folder."""
        return Path(self.path).resolve().parent

    @cached_property
    def words_sha256(self) -> str:
        """Of what a spec says: the same however it is laid out and commented."""
        return hashlib.sha256("\n".join(_words(self.text)).encode()).hexdigest()

    @property
    def sha256(self) -> str:
        return self.digest or hashlib.sha256(self.text.encode()).hexdigest()


_PIECES = re.compile(r'"(?:\\.|[^"\\\n])*"|#[^\n]*|\n|[ \t\f]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|[^\W\d]\w*|.')


def _words(text: str) -> list[str]:
    """Texts, words and signs. A line break outside of ( ) and [ ] is a comma; beside another comma, a brace or an end there is none."""
    words: list[str] = []
    open_: list[str] = []
    for piece in _PIECES.findall(text):
        if piece[0] in " \t\f#":
            continue
        if piece in ("(", "[", "{"):
            open_.append(piece)
        elif piece in (")", "]", "}"):
            if words[-1:] == [","]:
                words.pop()
            open_ = open_[:-1]
        in_block = open_[-1:] in ([], ["{"])
        word = "," if piece == "\n" else piece
        if (piece == "\n" and not in_block) or (word == "," and in_block and words[-1:] in ([], ["{"], [","])):
            continue
        words.append(word)
    return words[:-1] if words[-1:] == [","] else words
