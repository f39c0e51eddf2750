"""Whether a certificate comes from a spec: from these bytes, or from what says the same, laid out and commented otherwise."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

#: Texts whole, comments, line breaks, words, and every other sign; blanks are passed over.
WORDS = re.compile(r'("(?:\\.|[^"\\\n])*")|(#[^\n]*)|(\n)|(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|[^\W\d]\w*)|([^ \t\f])')


def comes_from(said: dict[str, Any], path: str) -> bool:
    """said: a certificate's `spec`. Raises OSError."""
    raw = Path(path).read_bytes()
    if said["sha256"] == hashlib.sha256(raw).hexdigest():
        return True
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        return False
    return "words" in said and bool(said["words"] == hashlib.sha256("\n".join(words(text)).encode()).hexdigest())


def words(text: str) -> list[str]:
    """What a spec says. In blocks line breaks and commas are one thing, and separate nothing beside a brace, an end, or one another."""
    depth, inside, found = [""], {"(": ")", "[": "]", "{": "}"}, list[str]()
    for whole, comment, line, word, sign in WORDS.findall(text):
        block = depth[-1] in ("", "{")
        if comment or (line and not block):
            continue
        said = whole or word or sign or ","
        if said == "," and block and (not found or found[-1] in ("{", ",")):
            continue
        if said in inside.values() and sign:
            if found and found[-1] == ",":
                found.pop()
            depth = depth[:-1] or [""]
        if said in inside and sign:
            depth.append(said)
        found.append(said)
    return found[:-1] if found and found[-1] == "," else found
