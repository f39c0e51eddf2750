"""A spec's text, and places in it."""

from __future__ import annotations

import hashlib
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

    @property
    def sha256(self) -> str:
        return self.digest or hashlib.sha256(self.text.encode()).hexdigest()
