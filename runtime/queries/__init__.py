"""The table of queries. To add one: write runtime/queries/x.py, add its line, and its kind to vlang/signatures.py."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from vlang.runtime.queries import attack, bounds, estimate, radius, verify
from vlang.runtime.queries.base import Context, QueryKind

QUERIES: Mapping[str, QueryKind] = MappingProxyType(
    {"radius": radius.answer, "verify": verify.answer, "bounds": bounds.answer, "attack": attack.answer, "estimate": estimate.answer}
)

__all__ = ["QUERIES", "Context", "QueryKind"]
