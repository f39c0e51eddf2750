"""What conditions of a query may say of an earlier run's answer to the same question, as BASELINE.WORD."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from vlang.words.queries import Type

#: The earlier certificate's radius, and the nearest attack.
RADIUS, ATTACK = "radius", "attack"
#: A new certificate above the old attack; a new attack below the old certificate.
BETTER, WORSE = "proved_better", "proved_worse"
#: By kind of query: only a certificate can prove that something is better, and only an attack that it is worse.
FIELDS: Mapping[str, Mapping[str, Type]] = MappingProxyType(
    {
        "radius": {RADIUS: "number", ATTACK: "number", BETTER: "condition"},
        "attack": {RADIUS: "number", ATTACK: "number", WORSE: "condition"},
    }
)
#: Words that need no name of a baseline, where a spec has one.
BARE = (BETTER, WORSE)
