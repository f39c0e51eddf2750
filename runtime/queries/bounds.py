"""bounds: a lower and an upper bound of every output on the set of radius eps."""

from __future__ import annotations

from fractions import Fraction

import torch

from vlang.report import Row
from vlang.runtime.device import batch_rows
from vlang.runtime.methods.table import BOUNDS
from vlang.runtime.queries.base import Context, row, unfinished
from vlang.runtime.queries.batches import Case, Loaded, at_least


def answer(loaded: Loaded, context: Context) -> list[Row]:
    eps = loaded.variant.eps
    assert eps is not None
    found: dict[Case, Row] = {}
    size = batch_rows(loaded.graph, 2 * loaded.network.classes, loaded.network.device)
    for start in range(0, len(loaded.cases), size):
        # Misclassified samples have bounds too, so the groups of other queries do not serve.
        cases = loaded.cases[start : start + size]
        found.update(unfinished(loaded, cases, context, eps=float(eps)) if context.late() else _bound(loaded, cases, eps))
        context.finished(len(cases))
    return [found[c] for c in loaded.cases]


def _bound(loaded: Loaded, cases: tuple[Case, ...], eps: Fraction) -> dict[Case, Row]:
    centre = loaded.centre(cases)
    relaxed = BOUNDS[loaded.variant.engine.method](centre, loaded.ball(cases).scaled(at_least(eps)))
    eye = torch.eye(loaded.network.classes, dtype=centre.inputs.dtype, device=centre.inputs.device)
    # Where bounds overflow there is none: infinity, not NaN.
    upper = relaxed.upper(loaded.graph.output, eye).nan_to_num(nan=torch.inf, posinf=torch.inf)
    lower = -relaxed.upper(loaded.graph.output, -eye).nan_to_num(nan=torch.inf, posinf=torch.inf)
    margin = -relaxed.upper(loaded.graph.output, loaded.rows(cases)).amax(1)
    return {
        case: row(
            loaded,
            case,
            verdict="certified" if bool(margin[i] > 0) else "unknown",
            eps=float(eps),
            margin=float(margin[i]),
            lower=tuple(lower[i].tolist()),
            upper=tuple(upper[i].tolist()),
        )
        for i, case in enumerate(cases)
    }
