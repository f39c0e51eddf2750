"""What a query is: it answers the cases of a loaded variant, in groups, and reports rows in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from vlang.plan import Variant
from vlang.report import Row
from vlang.runtime.device import batch_rows
from vlang.runtime.queries import batches as c
from vlang.runtime.queries.batches import Case, Loaded


@dataclass(frozen=True)
class Context:
    """finished: called with the number of rows just decided. deadline: in time.monotonic's seconds. stopped: whether somebody wants an end."""

    finished: Callable[[int], None]
    deadline: float | None = None
    stopped: Callable[[], bool] = lambda: False

    def late(self) -> bool:
        """Whether to leave it at what has been certified by now."""
        return self.stopped() or (self.deadline is not None and time.monotonic() > self.deadline)

    def until(self, deadline: float) -> Context:
        """The same with another deadline."""
        return replace(self, deadline=deadline)

    @property
    def reason(self) -> str:
        """Why a row was left undone."""
        return "the run was interrupted before this row" if self.stopped() else "the budget ran out before this row"


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


def unfinished(loaded: Loaded, cases: tuple[Case, ...], context: Context, **answer: object) -> dict[Case, Row]:
    """The rows that a budget or an interruption left undone."""
    return {c: row(loaded, c, verdict="unknown", reason=context.reason, complete=False, **answer) for c in cases}


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
        values=listed(loaded.inputs[case.position]) if len(variant.perturbation.frames.rows) > 1 else None,
        **answer,  # type: ignore[arg-type]
    )


def listed(point: Tensor) -> tuple[tuple[float, ...], ...]:
    """A sample's frames as numbers. shape: [m, n]."""
    return tuple(tuple(frame) for frame in point.tolist())
