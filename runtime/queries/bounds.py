"""bounds: a lower and an upper bound of every output on the set of radius eps."""

from __future__ import annotations

import torch

from vlang.report import Row
from vlang.runtime.bounds import Relaxed
from vlang.runtime.cases import Case, Loaded, at_least
from vlang.runtime.device import batch_rows
from vlang.runtime.queries.base import Context, row


def answer(loaded: Loaded, context: Context) -> list[Row]:
    eps = loaded.variant.eps
    assert eps is not None
    return [x for case in _chunks(loaded) for x in _bound(loaded, case, context)]


def _chunks(loaded: Loaded) -> list[tuple[Case, ...]]:
    """Misclassified samples have bounds too, so the groups of other queries do not serve."""
    size = batch_rows(loaded.graph, 2 * loaded.network.classes, loaded.network.device)
    return [loaded.cases[i : i + size] for i in range(0, len(loaded.cases), size)]


def _bound(loaded: Loaded, cases: tuple[Case, ...], context: Context) -> list[Row]:
    eps, centre = loaded.variant.eps, loaded.centre(cases)
    assert eps is not None
    relaxed = Relaxed(centre, loaded.ball(cases).scaled(at_least(eps)), loaded.variant.engine.method)  # type: ignore[arg-type]
    t = loaded.network.classes
    eye = torch.eye(t, dtype=centre.inputs.dtype, device=centre.inputs.device)
    upper = relaxed.upper(loaded.graph.output, eye)
    lower = -relaxed.upper(loaded.graph.output, -eye)
    differences = torch.stack([torch.cat([eye[: c.label], eye[c.label + 1 :]]) - eye[c.label] for c in cases])
    margin = -relaxed.upper(loaded.graph.output, differences).amax(1)
    context.finished(len(cases))
    return [
        row(
            loaded,
            case,
            verdict="certified" if bool(margin[i] > 0) else "unknown",
            eps=float(eps),
            margin=float(margin[i]),
            lower=tuple(lower[i].tolist()),
            upper=tuple(upper[i].tolist()),
        )
        for i, case in enumerate(cases)
    ]
