"""Cures that an editor can apply: what a diagnostic's hint says to write in place of what stands there."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vlang.text.diagnostics import Diagnostic
from vlang.text.source import Source, Span

_MEANT = re.compile(r"did you mean '([^']+)'\?")
_WRITE = re.compile(r"^write (\w+) = ([\w.]+)(?:$|,)")


@dataclass(frozen=True)
class Fix:
    """title: for a menu. span: what is replaced, nothing where its length is 0."""

    title: str
    span: Span
    text: str


def fixes(diagnostic: Diagnostic, source: Source) -> list[Fix]:
    """None where the hint is for people alone."""
    span = diagnostic.span
    if diagnostic.code == "R107":
        return [Fix("begin with 'rspec 1'", Span(1, 1, 0), "rspec 1\n\n")]
    if span is None or span.line > len(source.lines):
        return []
    line = source.lines[span.line - 1]
    written = line[span.column - 1 : span.column - 1 + span.length]
    meant = _MEANT.search(diagnostic.hint)
    if meant is not None and diagnostic.code == "R101":  # the word that the line begins with
        first = re.match(r"\s*(\S+)", line)
        return [] if first is None else [Fix(f"write '{meant[1]}'", Span(span.line, first.start(1) + 1, len(first[1])), meant[1])]
    if meant is not None:
        quoted = written.startswith('"') and written.endswith('"') and len(written) > 1
        name = _wrong(written[1:-1], diagnostic) if quoted else None
        text = meant[1] if not quoted else '"' + (meant[1] if name is None else written[1:-1].replace(name, meant[1])) + '"'
        return [Fix(f"write {text}", span, text)]
    write = _WRITE.match(diagnostic.hint)
    if write is not None and re.fullmatch(r"[\w.]+", written):
        return [Fix(f"write {write[2]}", span, write[2])]
    return []


def _wrong(written: str, diagnostic: Diagnostic) -> str | None:
    """The part of a text that is wrong, where it is one word of it: a token of an input."""
    named = re.search(r"'([^']+)'", diagnostic.message)
    return named[1] if named is not None and named[1] != written and written.count(named[1]) == 1 and diagnostic.code == "R408" else None
