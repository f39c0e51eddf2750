"""bounds: a lower and an upper bound of every output on the set of radius eps."""

from __future__ import annotations

from fractions import Fraction

import torch

from vlang.plan import BoundsVariant
from vlang.results import BoundsRow, Row
from vlang.runtime.device import batch_rows
from vlang.runtime.graph.concrete import of_rows
from vlang.runtime.late import LateError
from vlang.runtime.methods.table import BOUNDS
from vlang.runtime.queries.base import Context, question_of, unfinished
from vlang.runtime.queries.batches import Loaded
from vlang.runtime.queries.cases import Case
from vlang.runtime.rounding import at_least, reported
from vlang.words.methods import METHODS as WORDS
from vlang.words.methods import ladder


def answer(loaded: Loaded[BoundsVariant], context: Context) -> list[Row]:
    eps = loaded.variant.eps
    found: dict[Case, BoundsRow] = {}
    size = batch_rows(loaded.graph, 2 * loaded.network.classes, loaded.network.device)
    # Misclassified samples have bounds too, so the groups of other queries do not serve.
    for cases in loaded.apart(loaded.cases, size):
        if context.late():
            found |= {c: BoundsRow(**question_of(loaded, c), **unfinished(context), eps=float(eps)) for c in cases}
        else:
            try:
                found |= _bound(loaded, cases, eps, context)
            except LateError:
                found |= {c: BoundsRow(**question_of(loaded, c), **unfinished(context), eps=float(eps)) for c in cases}
        context.finished(len(cases))
    return [found[c] for c in loaded.cases]


def _bound(loaded: Loaded[BoundsVariant], cases: tuple[Case, ...], eps: Fraction, context: Context) -> dict[Case, BoundsRow]:
    """Raises LateError."""
    asked = loaded.asked(cases, context.late)
    method = ladder(loaded.variant.engine.method, asked.worthwhile)[-1]
    relaxed = BOUNDS[WORDS[method].outputs].on(asked.centre, asked.ball.scaled(at_least(eps)), asked.chart)
    eye = torch.eye(asked.rows.shape[-1], dtype=asked.rows.dtype, device=asked.rows.device)[: loaded.network.classes]
    # Where bounds overflow there is none: infinity, not NaN.
    output = relaxed.nominal.graph.output
    upper = reported(relaxed.upper(output, eye).nan_to_num(nan=torch.inf, posinf=torch.inf), 1)
    lower = reported(-relaxed.upper(output, -eye).nan_to_num(nan=torch.inf, posinf=torch.inf), -1)
    margin = reported(of_rows(relaxed.upper(output, asked.rows), loaded.some).nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf), -1)
    return {
        case: BoundsRow(
            **question_of(loaded, case),
            verdict="certified" if bool(margin[i] > 0) else "unknown",
            eps=float(eps),
            margin=float(margin[i]),
            lower=tuple(lower[i].tolist()),
            upper=tuple(upper[i].tolist()),
            reason=asked.instead(loaded.variant.engine.method) or asked.spared(loaded.variant.engine.method),
        )
        for i, case in enumerate(cases)
    }
