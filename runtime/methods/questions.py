"""A batch of questions about margins, and how they are bounded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from vlang.runtime.bounds.coordinates import Chart, Coordinates, chart_of
from vlang.runtime.bounds.interval import Interval
from vlang.runtime.bounds.linear import Linear, by_rule
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.bounds.quadratic import Quadratic
from vlang.runtime.bounds.walk import Walk
from vlang.runtime.device import batch_bytes, out_of_memory
from vlang.runtime.sets.ball import Ball
from vlang.runtime.sets.piece import Piece

#: Quadratic forms take so many times the memory of coefficients.
FORMS = 8


@dataclass(frozen=True)
class Bounds:
    """How a graph is bounded on a region. forms: whether quadratic forms are made; they see frames through a chart, which `make` takes."""

    forms: bool
    make: Callable[[Nominal, Ball | Piece, Chart | None], Walk]


INTERVAL = Bounds(False, lambda nominal, region, _: Interval(nominal, region).run())
LINES = Bounds(False, lambda nominal, region, _: Linear(nominal, region, by_rule("line")).run())
PLANES = Bounds(False, lambda nominal, region, _: Linear(nominal, region, by_rule("plane")).run())
QUADRATIC = Bounds(True, lambda nominal, region, chart: Quadratic(nominal, region, chart).run())


@dataclass(frozen=True, eq=False)
class Proved:
    """A walk over a batch of sets, the lower bounds of the margin that it gave, and whose sets they are. shape: margins, owners [B]."""

    walk: Walk
    margins: Tensor
    owners: Tensor


@dataclass(frozen=True, eq=False)
class Asked:
    """A batch of questions. ball: the sets at eps = 1. rows: y_j - y_label for the classes asked about. shape: rows [B, T, classes].

    at_once: how many sets fit in one pass. proof: where everything that gave a margin is kept, for certificates.
    """

    centre: Nominal
    ball: Ball
    rows: Tensor
    at_once: int
    proof: list[Proved] | None = None

    def margins(self, walk: Walk, index: Tensor) -> Tensor:
        """Lower bounds of the margin of rows `index` by a walk over their sets. shape: [B]."""
        found = -walk.upper(walk.nominal.graph.output, self.rows[index]).amax(1)
        if self.proof is not None:
            walk.forget()
            self.proof.append(Proved(walk, found.detach(), index))
        return found

    @cached_property
    def nominal(self) -> Tensor:
        """The margin at eps = 0. shape: [B]."""
        return -(self.rows @ self.centre.logits[:, :, None])[..., 0].amax(1)

    @cached_property
    def chart(self) -> Chart | None:
        return chart_of(self.centre.graph, self.ball, self.centre.inputs.shape[-1])

    @cached_property
    def coordinates(self) -> Coordinates:
        """Of the sets at eps = 1."""
        return Coordinates(self.ball, self.centre.inputs.shape[-1], self.chart)

    def relax(self, bounds: Bounds, index: Tensor, eps: Tensor, cut: tuple[Tensor, Tensor, Tensor] | None = None) -> Tensor:
        """Lower bounds of the margin of rows `index` at `eps`, on the piece of each ball that a cut (directions, low, high) leaves."""
        if cut is None and self.ball.clip is not None:
            return self._clipped_or_not(bounds, index, eps)
        return self._relaxed(bounds, index, eps, cut)

    @cached_property
    def unclipped(self) -> Asked:
        """The same about the larger sets that a clip cuts from."""
        return replace(self, ball=replace(self.ball, clip=None))

    def _clipped_or_not(self, bounds: Bounds, index: Tensor, eps: Tensor) -> Tensor:
        """A clip makes for other relaxations and constraints, which are not always the better ones: what holds of the larger set holds too."""
        assert self.ball.clip is not None
        reach = (self.ball.radii[index] * eps[:, None])[:, :, None]
        binds = ((self.ball.clip[0][index] < reach) | (self.ball.clip[1][index] < reach)).flatten(1).any(1)
        found = torch.full_like(eps, -torch.inf)
        if bool(binds.any()):
            found[binds] = self._relaxed(bounds, index[binds], eps[binds], None).nan_to_num(nan=-torch.inf)
        left = ~(found > 0)
        if bool(left.any()):
            whole = self.unclipped.relax(bounds, index[left], eps[left])
            found[left] = torch.where(whole > found[left], whole, found[left])
        return found

    def _relaxed(self, bounds: Bounds, index: Tensor, eps: Tensor, cut: tuple[Tensor, Tensor, Tensor] | None) -> Tensor:
        done = []
        at_once = self.at_once
        if bounds.forms:
            products = self.coordinates.row_bytes(self.centre.graph)
            at_once = max(1, min(at_once // FORMS, batch_bytes(index.device) // max(1, products)))
        parts = list(torch.split(torch.arange(len(index), device=index.device), at_once))
        while parts:
            part = parts.pop(0)
            i = index[part]
            at = self.centre.rows(i)
            ball = self.ball.rows(i).scaled(eps[part, None])
            region: Ball | Piece = ball
            if cut is not None:
                region = Piece.between(ball, *(x[part] for x in cut))
                at = at.moved(region.offset)
            try:
                done.append(self.margins(bounds.make(at, region, self.chart), i))
            except (RuntimeError, MemoryError) as e:
                if len(part) == 1 or not out_of_memory(e):
                    raise
                parts[:0] = part.chunk(2)
        return torch.cat(done)


#: Lower bounds of the margin. shape: rows of the batch [A], eps [A] -> [A].
Margins = Callable[[Tensor, Tensor], Tensor]
