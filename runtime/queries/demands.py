"""Properties at one input: what has to hold there, with numbers that bound what the network gives at the centre."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from vlang.property import Inequality
from vlang.runtime.bounds.interval import Interval
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.graph.enclosure import distances, enclosed
from vlang.runtime.graph.nodes import Graph
from vlang.runtime.rounding import at_least, at_most
from vlang.runtime.sets.ball import Ball

#: Outputs that are shown of the centre.
SHOWN = 4


#: Of an inequality, everything that is no output, from below and from above.
Constant = tuple[float, float]


def holding(wanted: Sequence[Inequality], constants: Sequence[Constant], logits: Tensor) -> Tensor:
    """Which inequalities surely hold of outputs. shape: logits [outputs] -> [T]."""
    rows = rows_of(wanted, [high for _, high in constants], len(logits))
    return rows @ torch.cat([logits.to(rows), rows.new_ones(1)]) < 0


def constants_of(wanted: Sequence[Inequality], graph: Graph, x: Tensor, logits: Tensor, deployed: bool) -> tuple[Constant, ...]:
    """Of inequalities at an input. shape: x [m, n], logits [outputs].

    deployed: whether the value at the centre is that of a float32 forward pass, too.
    """
    ends = [(Fraction(v), Fraction(v)) for v in logits.tolist()]
    if any(w.nominal or w.absolute for w in wanted):
        ends = _around(graph, x, logits, deployed)
    return tuple(_constant(w, ends) for w in wanted)


def rows_of(wanted: Sequence[Inequality], constants: Sequence[float], outputs: int) -> Tensor:
    """Rows over the outputs and the number 1 that must stay below 0. shape: [T, outputs + 1]."""
    table = torch.zeros(len(wanted), outputs + 1, dtype=torch.float64)
    for row, inequality, constant in zip(table, wanted, constants, strict=True):
        for i, factor in inequality.outputs:
            row[i] = float(factor)
        row[-1] = constant
    return table


def _around(graph: Graph, x: Tensor, logits: Tensor, deployed: bool) -> list[tuple[Fraction, Fraction]]:
    """The outputs' values at the centre, enclosed."""
    if deployed:
        still = Ball(torch.zeros(1, len(x), dtype=x.dtype, device=x.device), None)
        low, high = Interval(Nominal.at(graph, x[None], deployed=True), still).run().boxes[graph.output]
    else:
        far = distances(enclosed(graph, x)[graph.output], logits)
        low, high = (logits - far)[None], (logits + far)[None]
    return [(Fraction(a), Fraction(b)) for a, b in zip(low[0].tolist(), high[0].tolist(), strict=True)]


def _constant(wanted: Inequality, ends: Sequence[tuple[Fraction, Fraction]]) -> Constant:
    """Everything that is no output, from below and from above."""
    low = high = wanted.constant
    sizes = [(max(Fraction(0), a, -b), max(-a, b)) for a, b in ends]
    for terms, of in ((wanted.nominal, ends), (wanted.absolute, sizes)):
        for i, factor in terms:
            pair = (factor * of[i][0], factor * of[i][1])
            low, high = low + min(pair), high + max(pair)
    return at_most(low), at_least(high)


def outputs_in_words(values: Sequence[float]) -> str:
    """What a network gives, in few digits."""
    return ", ".join(f"{v:.5g}" for v in values[:SHOWN]) + (", ..." if len(values) > SHOWN else "")
