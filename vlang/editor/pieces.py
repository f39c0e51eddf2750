"""A spec parsed declaration by declaration, so that a keystroke costs one of them and not the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from vlang.text import parser
from vlang.text import syntax as s
from vlang.text.diagnostics import Diagnostic
from vlang.text.source import Source, Span

_MARKS = re.compile(r'"(?:\\.|[^"\\\n])*"|#[^\n]*|[\[\]{}()]')
#: A declaration at the margin begins a piece, though a bracket above it is not closed yet.
_DECLARATION = re.compile(r"[^\W\d]\w*[ \t]+[^\W\d]\w*[ \t]*\{")

Parsed = tuple[tuple[s.Entry, ...], tuple[Diagnostic, ...]]


@dataclass
class Pieces:
    """Remembers the pieces of the last text that it parsed, as they stood at the first line, and where they stood."""

    _first: dict[str, Parsed] = field(default_factory=dict)
    _placed: dict[tuple[str, int], Parsed] = field(default_factory=dict)

    def parse(self, source: Source) -> tuple[s.File, list[Diagnostic]]:
        """As vlang.text.parser.parse, but that brackets left open in one declaration say nothing of the next."""
        first: dict[str, Parsed] = {}
        placed: dict[tuple[str, int], Parsed] = {}
        for line, text in pieces(source.text):
            if (text, line) not in placed:
                first[text] = self._first.get(text) or first.get(text) or _parsed(source.path, text)
                placed[text, line] = self._placed.get((text, line)) or _moved(first[text], line)
        self._first, self._placed = first, placed
        found = [placed[text, line] for line, text in pieces(source.text)]
        return s.File(tuple(x for entries, _ in found for x in entries)), [x for _, errors in found for x in errors]


def pieces(text: str) -> Iterator[tuple[int, str]]:
    """The lines above each piece, and the piece: lines up to the one where every bracket is closed."""
    held: list[str] = []
    depth = begin = 0
    for number, line in enumerate(re.findall(r"[^\n]*\n|[^\n]+", text)):
        if depth and _DECLARATION.match(line):
            yield begin, "".join(held)
            held, depth = [], 0
        if not held:
            begin = number
        held.append(line)
        depth += sum(1 if m[0] in "{[(" else -1 if m[0] in ")]}" else 0 for m in _MARKS.finditer(line))
        if depth <= 0:
            if not all(map(str.isspace, held)):
                yield begin, "".join(held)
            held, depth = [], 0
    if held:
        yield begin, "".join(held)


def _parsed(path: str, text: str) -> Parsed:
    tree, errors = parser.parse(Source(path, text))
    return tree.entries, tuple(errors)


def _moved(x: Any, by: int) -> Any:
    """With every place so many lines further down. Copies are filled in by hand: `dataclasses.replace` is too slow for a whole file."""
    if by == 0 or isinstance(x, str | int | Fraction) or x is None:
        return x
    if isinstance(x, Span):
        return Span(x.line + by, x.column, x.length)
    if isinstance(x, tuple):
        return tuple([_moved(y, by) for y in x])
    made = object.__new__(type(x))
    made.__dict__.update({k: _moved(v, by) for k, v in x.__dict__.items()})
    if isinstance(x, s.Gate):
        made.__dict__["end"] = (x.end[0] + by, x.end[1])
    return made
