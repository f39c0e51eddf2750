"""The table of queries. To add one: write runtime/queries/x.py, add its line here and its word to vlang/words/queries.py (see CONTRIBUTING.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from vlang.results import Row
from vlang.runtime.queries import attack, bounds, estimate, radius, verify
from vlang.runtime.queries.base import Context
from vlang.runtime.queries.batches import Loaded

#: Answers the cases of a loaded variant: one row per case, in their order.
QueryKind = Callable[[Loaded[Any], Context], list[Row]]
QUERIES: Mapping[str, QueryKind] = MappingProxyType(
    {"radius": radius.answer, "verify": verify.answer, "bounds": bounds.answer, "attack": attack.answer, "estimate": estimate.answer}
)

__all__ = ["QUERIES", "Context", "QueryKind"]
