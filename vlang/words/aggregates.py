"""Functions that make one value of many rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from vlang.words.queries import Type


@dataclass(frozen=True)
class Aggregate:
    """takes: the type of its argument; gives: of its result. usage: how it is called. share: whether it takes one as well."""

    takes: Type
    gives: Type
    usage: str
    share: bool = False


AGGREGATES: Mapping[str, Aggregate] = MappingProxyType(
    {
        "min": Aggregate("number", "number", "min(radius)"),
        "max": Aggregate("number", "number", "max(radius)"),
        "mean": Aggregate("number", "number", "mean(radius)"),
        "median": Aggregate("number", "number", "median(radius)"),
        "quantile": Aggregate("number", "number", "quantile(radius, 5%)", share=True),
        "count": Aggregate("condition", "number", "count(radius > 0)"),
        "rate": Aggregate("condition", "number", "rate(radius > 0)"),
        "all": Aggregate("condition", "condition", "all(radius > 0)"),
        "any": Aggregate("condition", "condition", "any(radius > 0)"),
    }
)
