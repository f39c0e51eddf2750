"""What a query is: it answers the cases of a loaded variant, in groups, and reports rows in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from vlang.results import Frames
from vlang.runtime.device import batch_rows
from vlang.runtime.queries.batches import Case, Loaded, tokens


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


def chunks(loaded: Loaded[Any]) -> Iterator[tuple[Case, ...]]:
    """The groups of a variant, cut to what fits in memory."""
    for group in loaded.groups():
        size = batch_rows(loaded.graph, len(group[0].classes), loaded.network.device)
        for start in range(0, len(group), size):
            yield group[start : start + size]


def question_of(loaded: Loaded[Any], case: Case) -> dict[str, Any]:
    """What every row of the report says of its question, as keywords of its type."""
    variant = loaded.variant
    name = variant.network.label_name
    return {
        "sample": case.sample,
        "label": name(case.label),
        "predicted": name(case.predicted),
        "target": case.target,
        "frames": case.frames,
        "at_most": variant.perturbation.frames.at_most,
        "tokens": tokens(variant, case.frames),
        "norm": variant.perturbation.norm_value,
        "swept": variant.swept,
        "values": listed(loaded.inputs[case.position]) if len(variant.perturbation.frames.rows) > 1 else None,
    }


def unfinished(context: Context) -> dict[str, Any]:
    """What a row says that a budget or an interruption left undone, as keywords of its type."""
    return {"verdict": "unknown", "reason": context.reason, "complete": False}


def listed(point: Tensor) -> Frames:
    """A sample's frames as numbers. shape: [m, n]."""
    return tuple(tuple(frame) for frame in point.tolist())
