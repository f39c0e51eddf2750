"""The list of layers that a network's metadata may hold, as the language writes it: [linear("fc1"), relu, conv1d(stride = 2), residual([linear])]."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import Any

#: What is meant where a list does not say it; of pooling, a stride as long as the window.
UNSAID: Mapping[str, Any] = MappingProxyType(
    {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "eps": 1e-5, "slope": 0.01, "order": "frames"},
)
BRANCHING = ("residual", "attention", "concat")
_TOKEN = re.compile(r'\s*(?:("[^"]*")|([A-Za-z_][A-Za-z0-9_]*)|([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?(?:\s*/\s*[0-9.]+|%)?)|([\[\](),=]))')
#: A layer's word, the name of its tensors if it is said, and its settings.
Said = tuple[str, str | None, dict[str, Any]]


def said(text: str) -> list[Said]:
    """The layers that are listed, branches one after the other, without an embedding and what joins branches. Raises ValueError."""
    tokens: list[str] = []
    at = 0
    while at < len(text.rstrip()):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"{text[at : at + 20]!r} is no part of a list of layers")
        tokens.append(found[found.lastindex or 0])
        at = found.end()
    layers, rest = _list(tokens)
    if rest:
        raise ValueError("there is something behind the list")
    return [x for x in layers if x[0] != "embedding"]


def _list(tokens: list[str]) -> tuple[list[Said], list[str]]:
    found: list[Said] = []
    rest = _after(tokens, "[")
    while rest[:1] != ["]"]:
        word, rest = rest[0], rest[1:]
        name: str | None = None
        settings: dict[str, Any] = {}
        if rest[:1] == ["("]:
            rest = rest[1:]
            while rest[:1] != [")"]:
                if rest[0] == "[":
                    inner, rest = _list(rest)
                    found += inner
                elif rest[0].startswith('"'):
                    name, rest = rest[0][1:-1], rest[1:]
                else:
                    settings[rest[0]], rest = _value(_after(rest[1:], "="))
                rest = rest[1:] if rest[:1] == [","] else rest
            rest = rest[1:]
        if word not in BRANCHING:
            found.append((word, name, settings))
        rest = rest[1:] if rest[:1] == [","] else rest
        if not rest:
            raise ValueError("the list does not end")
    return found, rest[1:]


def _value(tokens: list[str]) -> tuple[Any, list[str]]:
    if tokens[0] != "[":
        return _number(tokens[0]), tokens[1:]
    end = tokens.index("]")
    return [_number(x) for x in tokens[1:end] if x != ","], tokens[end + 1 :]


def _number(token: str) -> Any:
    if not re.match(r"[-+0-9.]", token):
        return token
    return float(Fraction(token.removesuffix("%").replace(" ", "")) / (100 if token.endswith("%") else 1))


def _after(tokens: list[str], wanted: str) -> list[str]:
    if tokens[:1] != [wanted]:
        raise ValueError(f"{wanted!r} is missing")
    return tokens[1:]


def same(text: str, layers: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a list names these layers of a claim, with these tensors and settings."""
    read = [x for x in layers if x["layer"] not in ("add", "attention", "concat")]
    try:
        listed = said(text)
    except (ValueError, IndexError, ZeroDivisionError):
        return False
    return len(listed) == len(read) and all(_is(x, y) for x, y in zip(listed, read, strict=True))


def _is(listed: Said, read: Mapping[str, Any]) -> bool:
    word, name, settings = listed
    cell = "directions" in read  # of which shapes say everything, but for what tells cells of one family apart
    if read["layer"] != word and not (cell and read["layer"].startswith(f"{word}_")):
        return False
    if name is not None and read.get("prefix") not in (name, f"{name}."):
        return False
    if cell:
        return not settings
    unsaid = {**UNSAID, "stride": 0} if "pool" in read["layer"] else UNSAID
    own = [key for key in read if key not in ("layer", "of", "prefix")]
    return set(settings) <= set(own) and all(_alike(settings.get(key, unsaid.get(key)), read[key]) for key in own)


def _alike(one: Any, other: Any) -> bool:
    """Whether these are the same numbers or words; what is read as JSON holds whole numbers as such."""
    if isinstance(one, list) or isinstance(other, list):
        return isinstance(one, list) and isinstance(other, list) and len(one) == len(other) and all(map(_alike, one, other))
    return bool(one == other)
