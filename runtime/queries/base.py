"""What a query is: it answers the cases of a loaded variant, in groups, and reports rows in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from vlang.plan import Variant
from vlang.report import Row
from vlang.runtime import cases as c
from vlang.runtime.cases import Case, Loaded
from vlang.runtime.device import batch_rows


@dataclass(frozen=True)
class Context:
    """finished: called with the number of rows just decided. deadline: in time.monotonic's seconds."""

    finished: Callable[[int], None]
    deadline: float | None = None

    @property
    def late(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline


class QueryKind(Protocol):
    def __call__(self, loaded: Loaded, context: Context) -> list[Row]:
        """One row per case, in the order of loaded.cases."""
        ...


def chunks(loaded: Loaded) -> Iterator[tuple[Case, ...]]:
    """The groups of a variant, cut to what fits in memory."""
    for group in loaded.groups():
        size = batch_rows(loaded.graph, len(group[0].classes), loaded.network.device)
        for start in range(0, len(group), size):
            yield group[start : start + size]


OUT_OF_TIME = "the budget ran out before this row"


def unfinished(loaded: Loaded, cases: tuple[Case, ...], eps: Fraction) -> dict[Case, Row]:
    """The rows that a budget left undone."""
    return {c: row(loaded, c, verdict="unknown", eps=float(eps), reason=OUT_OF_TIME, complete=False) for c in cases}


def row(loaded: Loaded, case: Case, **answer: object) -> Row:
    """A row of the report with everything that does not depend on the query."""
    variant: Variant = loaded.variant
    name = variant.network.label_name
    return Row(
        sample=case.sample,
        label=name(case.label),
        predicted=name(case.predicted),
        target=case.target,
        frames=case.frames,
        at_most=variant.perturbation.frames.at_most,
        tokens=c.tokens(variant, case.frames),
        norm=variant.perturbation.norm_value,
        swept=variant.swept,
        **answer,  # type: ignore[arg-type]
    )
