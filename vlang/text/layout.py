"""The one layout of a spec: two blanks a level, single blanks between words, line breaks where the user put them.

What may change is white space, and commas that a line break or a bracket makes needless. That nothing else did is checked at every call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from itertools import pairwise
from typing import Any

from lark import Token

from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError
from vlang.text.parser import lexed, parse
from vlang.text.source import Source, Span

INDENT = "  "
OPENERS = {"LBRACE": "RBRACE", "LSQB": "RSQB", "LPAR": "RPAR"}
CLOSERS = frozenset(OPENERS.values())
#: Behind these a bracket opens a call or an index, and a sign stands between two values.
VALUES = frozenset({"NAME", "NUMBER", "PERCENT", "DURATION", "STRING", "RPAR", "RSQB", "RBRACE"})
#: What a tree says of places, and a condition as it was written.
OF_PLACE = frozenset({"span", "kind_span", "type_span", "end", "text"})


class LayoutError(Exception):
    """A fault of this module: the text would not mean the same."""


def laid_out(source: Source) -> str:
    """The text in its one layout. Raises SpecError where it has syntax errors, LayoutError where it would not be the same spec."""
    tree, errors = parse(source)
    if errors:
        raise SpecError(*errors)
    try:
        text = _laid_out(source.text)
        again, errors = parse(Source(source.path, text))
        same = not errors and meaning(tree) == meaning(again) and comments(source.text) == comments(text) and _laid_out(text) == text
    except RecursionError:
        raise SpecError(d.too_deep(Span(1, 1))) from None
    if not same:
        raise LayoutError("the text laid out is not the same spec; nothing was changed")
    return text


def meaning(tree: Any) -> Any:
    """A syntax tree without places."""
    if isinstance(tree, tuple):
        return tuple(map(meaning, tree))
    if not is_dataclass(tree):
        return tree
    return (type(tree).__name__, *(meaning(getattr(tree, x.name)) for x in fields(tree) if x.name not in OF_PLACE))


def comments(text: str) -> list[str]:
    return [str(x).rstrip() for x in lexed(text) if x.type == "COMMENT"]


@dataclass(frozen=True)
class _Line:
    """Words that stand on one line, how far in, and whether a blank line stands above."""

    words: tuple[Token, ...]
    level: int
    apart: bool


def _laid_out(text: str) -> str:
    lines = list(_lines(_without_needless_commas([x for x in lexed(text) if x.type not in ("BLANK", "_NL")])))
    return "".join(("\n" if line.apart else "") + INDENT * line.level + _joined(line.words) + "\n" for line in lines)


def _without_needless_commas(words: Sequence[Token]) -> list[Token]:
    """In blocks a comma beside a line break, a brace or another comma separates nothing; in lists one before the closing bracket on its line."""
    kept: list[Token] = []
    open_: list[str] = []
    behind: list[Token | None] = []  # of each word the next that is no comment, from the last on
    coming = None
    for word in reversed(words):
        behind.append(coming)
        coming = coming if word.type == "COMMENT" else word
    for word, after in zip(words, reversed(behind), strict=True):
        if word.type in OPENERS:
            open_.append(word.type)
        elif word.type in CLOSERS:
            open_.pop()
        if word.type == "COMMA":
            in_block = not open_ or open_[-1] == "LBRACE"
            ends = after is None or after.type in CLOSERS
            if in_block and (ends or after is None or after.line != word.line or after.type == "COMMA" or not kept or kept[-1].type == "LBRACE"):
                continue
            if in_block and kept[-1].line != word.line:
                continue
            if not in_block and ends and after is not None and after.line == word.line:
                continue
        kept.append(word)
    return kept


def _lines(words: Sequence[Token]) -> Iterator[_Line]:
    ends = _partners(words)
    levels = [0]  # of the brackets that are open: how far in what they hold stands
    line: list[Token] = []
    level, first, above, opened = 0, True, 0, True  # opened: whether the line above ends with a bracket that is open

    def finished(next_line: int) -> Iterator[_Line]:
        nonlocal first, above, opened
        if line:
            code = [x for x in line if x.type != "COMMENT"]
            closes = bool(code) and code[0].type in CLOSERS
            apart = not first and not opened and not closes and (line[0].line or 0) - above > 1
            yield _Line(tuple(line), level, apart)
            first, above = False, line[-1].line or 0
            opened = bool(code) and code[-1].type in OPENERS
            line.clear()

    broken = False  # whether the next word begins a line wherever it stood
    for k, word in enumerate(words):
        closes_block = word.type in CLOSERS and _on_its_own(words, ends[k], k)
        if line and (word.line != line[-1].line or (broken and word.type != "COMMENT") or closes_block):
            yield from finished(word.line or 0)
        broken = False
        here = levels.pop() - 1 if word.type in CLOSERS else levels[-1]
        if not line:
            level = here
        line.append(word)
        if word.type in OPENERS:
            levels.append(level + 1)
            broken = _on_its_own(words, k, ends[k])
    yield from finished(0)


def _partners(words: Sequence[Token]) -> dict[int, int]:
    """Of each bracket, the other one, by number."""
    found: dict[int, int] = {}
    open_: list[int] = []
    for k, word in enumerate(words):
        if word.type in OPENERS:
            open_.append(k)
        elif word.type in CLOSERS:
            found[k] = open_.pop()
            found[found[k]] = k
    return found


def _on_its_own(words: Sequence[Token], opener: int, closer: int) -> bool:
    """Whether what brackets hold stands on lines of its own: a block over several lines, a list that begins behind its line."""
    if words[opener].line == words[closer].line:
        return False
    inside = [x for x in words[opener + 1 : closer] if x.type != "COMMENT"]
    return words[opener].type == "LBRACE" or not inside or inside[0].line != words[opener].line


def _joined(words: Sequence[Token]) -> str:
    text, open_ = "", list[str]()
    for k, word in enumerate(words):
        if k:
            text += _between(words, k, open_[-1] if open_ else "")
        if word.type in OPENERS:
            open_.append(word.type)
        elif word.type in CLOSERS and open_:
            open_.pop()
        text += str(word).rstrip() if word.type == "COMMENT" else str(word)
    return text


def _between(words: Sequence[Token], k: int, inside: str) -> str:
    """What stands before a word of a line. inside: the bracket that the line has opened last."""
    left, right = words[k - 1], words[k]
    if right.type == "COMMENT":
        return INDENT
    if (left.type, right.type) == ("LBRACE", "RBRACE"):
        return ""
    if "LBRACE" in (left.type, right.type) or right.type == "RBRACE":
        return "" if left.type in ("LPAR", "LSQB") else " "
    if right.type in ("COMMA", "RPAR", "RSQB", "DOT") or left.type in ("LPAR", "LSQB", "DOT"):
        return ""
    if right.type in ("LPAR", "LSQB"):
        return "" if left.type in VALUES or _is_sign(words, k - 1) else " "
    if right.type == "COLON":
        return ""
    if left.type == "COLON":
        return "" if inside == "LSQB" else " "
    if "EQUAL" in (left.type, right.type) and inside == "LPAR":
        return ""
    return "" if _is_sign(words, k - 1) or _in_number(words, k) or _in_number(words, k - 1) else " "


def _is_sign(words: Sequence[Token], k: int) -> bool:
    """Whether a word is the sign of what follows it."""
    return words[k].type == "SIGN" and (k == 0 or words[k - 1].type not in VALUES)


def _in_number(words: Sequence[Token], k: int) -> bool:
    """Whether a word is the stroke of 8/255, which is one number to who wrote it so."""
    around = words[max(0, k - 1) : k + 2]
    tight = all(a.end_pos == b.start_pos for a, b in pairwise(around))
    return str(words[k]) == "/" and [x.type for x in around] == ["NUMBER", "SCALE", "NUMBER"] and tight
