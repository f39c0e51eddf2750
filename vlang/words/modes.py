"""What a run does with the answers of earlier ones."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

#: Names as Frama-C has them.
MODES: Mapping[str, str] = MappingProxyType(
    {
        "update": "take what is there, compute and keep the rest",
        "replay": "take what is there and compute nothing: what is missing is an error",
        "rebuild": "compute everything again, and keep it",
        "offline": "take what is there, compute the rest and keep nothing",
        "cleanup": "update, and drop what this run did not ask for",
    }
)
