"""Keys: digests of canonical JSON of all that an answer depends on, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from fractions import Fraction
from typing import Any

from vlang.text.source import Span

#: Hexadecimal digits of a key.
DIGITS = 32


def key_of(said: Any) -> str:
    """Of a value that JSON can say."""
    return hashlib.sha256(json.dumps(said, sort_keys=True, allow_nan=False).encode("utf-8", "backslashreplace")).hexdigest()[:DIGITS]


def canonical(value: Any, digests: Mapping[str, str]) -> Any:
    """A part of a Plan as JSON: places in the spec left out, and in place of files' paths the digests of what they hold."""
    match value:
        case None | bool() | int():
            return value
        case str():
            return f"sha256:{digests[value]}" if value in digests else value
        case float():
            return value.hex()
        case Fraction():
            return {"rational": str(value)}
        case Span():
            return None
        case Mapping():
            return [[canonical(k, digests), canonical(v, digests)] for k, v in sorted(value.items(), key=str)]
        case tuple() | list():
            return [canonical(x, digests) for x in value]
        case frozenset():
            return sorted((canonical(x, digests) for x in value), key=str)
    if not is_dataclass(value):
        raise TypeError(f"a plan holds no {type(value).__name__}")
    said = {f.name: canonical(getattr(value, f.name), digests) for f in fields(value)}
    return {"is": type(value).__name__, **{k: v for k, v in said.items() if v is not None}}
