"""Text from files, made safe to show: names in checkpoints, vocabularies, labels and file names may hold anything."""

from __future__ import annotations

import unicodedata
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

T = TypeVar("T")
#: Unicode's categories of what moves a cursor, changes a line's direction or has no picture: controls, formats, surrogates, line and paragraph ends.
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def printable(text: str) -> str:
    """The text with everything escaped that could forge a line, an escape sequence or an order of characters."""
    if text.isprintable():
        return text
    return "".join(c.encode("unicode_escape").decode() if unicodedata.category(c) in HIDDEN else c for c in text)


def shown(value: T) -> T:
    """A frozen value with every text in it made printable."""
    return _shown(value)  # type: ignore[no-any-return]


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, tuple):
        return value if all(type(x) in (float, int, bool) for x in value) else tuple(map(_shown, value))
    if is_dataclass(value) and not isinstance(value, type):
        held = {f.name: getattr(value, f.name) for f in fields(value) if f.init}
        made = {name: _shown(x) for name, x in held.items()}
        return replace(value, **made) if any(made[name] is not held[name] for name in held) else value
    return value
