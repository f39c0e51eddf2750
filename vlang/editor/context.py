"""Where in a spec the cursor stands, told from the words before it: a text that is being typed seldom has a tree."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from vlang.typed.signatures import KINDS
from vlang.typed.types import ListType, LocatedType, ReferenceType, Type

_WORDS = re.compile(r'"(?:\\.|[^"\\\n])*"?|#[^\n]*|\n|[^\W\d]\w*|\d[\w.]*|<=|>=|==|!=|[^ \t\f]')
UNKNOWN = "?"
_NAME = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True)
class Context:
    """kind: of the declaration or record around the cursor, "" outside of all, UNKNOWN of one that the language has not.

    given: keys that it has already. words: of the entry so far, without the one that is being typed. inside: the open brackets of the entry.
    quoted: the text so far, where the cursor is in one. typed: the word that is being typed. comment: whether the cursor is in one.
    """

    kind: str
    given: tuple[str, ...]
    words: tuple[str, ...]
    inside: str
    quoted: str | None
    typed: str
    comment: bool = False

    @property
    def key(self) -> str | None:
        """The key whose value is being typed."""
        return self.words[0] if len(self.words) > 1 and self.words[1] == "=" else None

    @property
    def type(self) -> Type[Any] | None:
        """Of the value that is being typed, or of what a list of them holds."""
        if self.key is None or self.kind not in KINDS or self.key not in KINDS[self.kind].keys:
            return None
        of = KINDS[self.kind].keys[self.key].type
        while isinstance(of, ListType | LocatedType):
            of = of.item
        return of


@dataclass
class _Block:
    kind: str
    given: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    inside: list[str] = field(default_factory=list)


def context(text: str) -> Context:
    """Of the end of a text."""
    blocks = [_Block("")]
    for word in _WORDS.findall(text):
        block = blocks[-1]
        if word == "{":
            blocks.append(_Block(_opened(block)))
        elif word == "}" and len(blocks) > 1:
            blocks.pop()
            blocks[-1].words.append("}")
        elif (word == "\n" and not block.inside) or (word == "," and not block.inside):
            block.words.clear()
        elif word == "\n" or word.startswith("#"):
            continue
        else:
            if word in "([":
                block.inside.append(word)
            elif word in ")]" and block.inside:
                block.inside.pop()
            elif word == "=" and len(block.words) == 1:
                block.given.append(block.words[0])
            block.words.append(word)
    block = blocks[-1]
    line = text.rpartition("\n")[2]
    last = [m[0] for m in _WORDS.finditer(line)][-1:] or [""]
    comment = last[0].startswith("#")
    quoted = last[0][1:] if last[0].startswith('"') and not _closed(last[0]) else None
    ends = bool(_NAME.fullmatch(last[0])) and line.endswith(last[0])
    typed = last[0] if ends and not comment and quoted is None else ""
    words = block.words[:-1] if (typed or quoted is not None) and block.words else block.words
    return Context(block.kind, tuple(block.given), tuple(words), "".join(block.inside), quoted, typed, comment)


def _opened(block: _Block) -> str:
    """The kind of the block that begins behind an entry's words so far."""
    words = block.words
    if block.kind == "":
        return words[-2] if len(words) >= 2 and words[-2] in KINDS else UNKNOWN
    if block.kind not in KINDS or len(words) < 2 or words[1] != "=":
        return UNKNOWN
    key = KINDS[block.kind].keys.get(words[0])
    return key.type.kinds[0] if key is not None and isinstance(key.type, ReferenceType) else UNKNOWN


def _closed(text: str) -> bool:
    return re.fullmatch(r'"(?:\\.|[^"\\\n])*"', text) is not None


def word_at(line: str, column: int) -> tuple[int, str]:
    """The word around a column (from 1), and the column where it begins."""
    found = next((m for m in _NAME.finditer(line) if m.start() < column <= m.end() + 1), None)
    return (column, "") if found is None else (found.start() + 1, found[0])


def before(lines: Sequence[str], line: int, column: int) -> str:
    """The text before a place (from 1)."""
    return "\n".join([*lines[: line - 1], lines[line - 1][: column - 1] if line <= len(lines) else ""])
