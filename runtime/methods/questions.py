"""A batch of questions about margins, and how they are bounded."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import torch
from torch import Tensor

from vlang.cost import AFFORDED, CORE, PASSES_OF_SLICES, in_words, joint_pass, pass_of_forms
from vlang.runtime.bounds.coordinates import Chart, Coordinates, chart_of
from vlang.runtime.bounds.interval import Interval
from vlang.runtime.bounds.joint import Joint, Known
from vlang.runtime.bounds.linear import Linear, by_rule
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.bounds.quadratic import Quadratic
from vlang.runtime.bounds.walk import Walk
from vlang.runtime.device import batch_bytes, out_of_memory
from vlang.runtime.graph.concrete import margins, of_rows
from vlang.runtime.graph.nodes import Nonlinear
from vlang.runtime.sets.ball import Ball
from vlang.runtime.sets.piece import Piece
from vlang.words.methods import CONSTRAINED, LARGEST_FORM, LARGEST_JOINT, LARGEST_NAMED_FLAT, LARGEST_POLYTOPE, METHODS

#: Quadratic forms take so many times the memory of coefficients.
FORMS = 8


#: By how much, at most, a ball is enlarged for another norm's.
ENLARGED = Fraction(5, 4)


def supersets(norm: Fraction | None, width: int) -> list[tuple[Fraction | None, Fraction]]:
    """Norms that forms bound best (1, 2, infinity), with radii as multiples of its own, whose balls in so many dimensions hold a p-ball.

    |x|_q <= |x|_p for q >= p, and |x|_q <= width^(1/q - 1/p) |x|_p for q <= p.
    """
    if norm is None or norm in (1, 2):
        return []
    outer, inner = (None, Fraction(2)) if norm > 2 else (Fraction(2), Fraction(1))
    factor = Fraction(math.ceil(width ** float(1 / inner - 1 / norm) * (1 + 2.0**-40) * 2**40), 2**40)
    return [(inner, factor)] * (factor <= ENLARGED) + [(outer, Fraction(1))]


@dataclass(frozen=True)
class Bounds:
    """How a graph is bounded on a region. forms: whether quadratic forms are made; they see frames through a chart, which `make` takes. larger:
    whether sets that hold a region are tried too."""

    forms: bool
    make: Callable[[Nominal, Ball | Piece, Chart | None], Walk]
    larger: bool = True

    def on(self, at: Nominal, ball: Ball, chart: Chart | None) -> Walk:
        """A walk over whole sets: forms see boxes from their middles, where they are smallest."""
        if self.forms and ball.lopsided:
            ball, middle = ball.centred(at.inputs)
            at = at.moved(middle)
        return self.make(at, ball, chart)


INTERVAL = Bounds(False, lambda nominal, region, _: Interval(nominal, region).run())
LINES = Bounds(False, lambda nominal, region, _: Linear(nominal, region, by_rule("line")).run())
PLANES = Bounds(False, lambda nominal, region, _: Linear(nominal, region, by_rule("plane")).run())
QUADRATIC = Bounds(True, lambda nominal, region, chart: Quadratic(nominal, region, chart).run())


def joint(wanted: bool) -> Bounds:
    """See `Joint`. Its boxes are those of the set itself, and its balls hold it: larger sets would add nothing."""
    return Bounds(True, lambda nominal, region, chart: Joint(nominal, region, chart, wanted).run(), larger=False)


@dataclass(frozen=True, eq=False)
class Proved:
    """A walk over a batch of sets, the lower bounds of the margin that it gave, and whose sets they are. shape: margins, owners [B]."""

    walk: Walk
    margins: Tensor
    owners: Tensor


@dataclass(frozen=True, eq=False)
class Asked:
    """A batch of questions. ball: the sets at eps = 1. rows: y_j - y_label for the classes asked about. shape: rows [B, T, classes].

    at_once: how many sets fit in one pass. proof: where everything that gave a margin is kept, for certificates. affords: seconds of a core that
    a row's pass of quadratic forms may take; infinite where their method was asked for by name. known: by row, if kept, what joint bounds found at
    other eps. some: whether one of the rows of a question is enough.
    """

    centre: Nominal
    ball: Ball
    rows: Tensor
    at_once: int
    proof: list[Proved] | None = None
    affords: float = AFFORDED
    known: Sequence[Known] = ()
    some: bool = False

    def margins(self, walk: Walk, index: Tensor) -> Tensor:
        """Lower bounds of the margin of rows `index` by a walk over their sets. shape: [B]."""
        if isinstance(walk, Joint) and self.known:
            walk.known = [self.known[i] for i in index.tolist()]
        found = of_rows(walk.upper(walk.nominal.graph.output, self.rows[index]), self.some)
        if self.proof is not None:
            walk.forget()
            self.proof.append(Proved(walk, found.detach(), index))
        return found

    @cached_property
    def nominal(self) -> Tensor:
        """The margin at eps = 0. shape: [B]."""
        return margins(self.centre.logits, self.rows, self.some)

    @cached_property
    def chart(self) -> Chart | None:
        return chart_of(self.centre.graph, self.ball, self.width, dear=LARGEST_NAMED_FLAT if math.isinf(self.affords) else 0)

    @cached_property
    def coordinates(self) -> Coordinates:
        """Of the sets at eps = 1."""
        return Coordinates(self.ball, self.centre.inputs.shape[-1], self.chart)

    @cached_property
    def worthwhile(self) -> bool:
        """Whether quadratic forms are made: up to a size, and where they do not cost too much."""
        return self.possible and self.pass_of_forms <= self.affords

    @property
    def possible(self) -> bool:
        c = self.coordinates
        needed = c.width * max(1, c.radii.shape[1] - 1)  # the last moved frame is mostly seen by planes
        return needed <= (LARGEST_POLYTOPE if c.vertices else LARGEST_FORM)

    @cached_property
    def pass_of_forms(self) -> float:
        """Seconds of a core that a row's pass takes: of no machine in particular, as answers must not depend on where they are computed."""
        moving = self.centre.graph.reached_from(frozenset(self.ball.frames))
        return pass_of_forms(self.coordinates.pass_flop(self.centre.graph), sum(moving), CORE)

    @cached_property
    def unknowns(self) -> int:
        """Of a joint bound of the row that moves most: coefficients of a constraint on every unit that is not linear, and the balls' multipliers."""
        graph, patterns = self.centre.graph, torch.unique(self.ball.moved, dim=0)
        moved = [graph.reached_from(frozenset(p.nonzero().flatten().tolist())) for p in patterns]
        units = max(sum(n.width for n, alive in zip(graph.nodes, hit, strict=True) if alive and isinstance(n, Nonlinear)) for hit in moved)
        return units * CONSTRAINED + self.coordinates.group_radii(self.coordinates.radii.shape[1]).shape[1]

    def instead(self, method: str) -> str | None:
        """What a row of a method that was asked for by name says, where no quadratic forms can be made."""
        if METHODS[method].joint:
            used = "quadratic bounds" if self.worthwhile else "planes"
            if self.unknowns > LARGEST_JOINT:
                return f"by {used}: joint bounds would have {self.unknowns:,} unknowns, more than {LARGEST_JOINT:,}"
            return None if self.worthwhile else "on the boxes of planes: quadratic forms would cost more than joint bounds"
        if not METHODS[method].forms or METHODS[method].ladder or self.worthwhile:
            return None
        most = LARGEST_POLYTOPE if self.coordinates.vertices else LARGEST_FORM
        return f"by planes: the quadratic forms would have more than {most:,} coordinates"

    def spared(self, method: str) -> str | None:
        """What a row says that a method which chooses has left at less than it might have: forms that would take a row longer than it may."""
        if not METHODS[method].ladder or not METHODS[method].forms or self.worthwhile or not self.possible:
            return None
        return f"by planes: a pass of quadratic forms would take about {in_words(self.pass_of_forms)} of a core (a larger budget pays it)"

    def refined_by(self, words: Sequence[str], passes: int, seconds: float) -> str | None:
        """The first of these methods that so many seconds of a core pay for one row."""
        for word in words:
            if METHODS[word].joint:
                rows = self.rows.shape[1]
                if self.unknowns <= LARGEST_JOINT and passes * joint_pass(self.unknowns, rows, CORE) <= seconds:
                    return word
            elif self.worthwhile and PASSES_OF_SLICES * self.pass_of_forms <= seconds:
                return word
        return None

    def relax(self, bounds: Bounds, index: Tensor, eps: Tensor, cut: tuple[Tensor, Tensor, Tensor] | None = None) -> Tensor:
        """Lower bounds of the margin of rows `index` at `eps`, on the piece of each ball that a cut (directions, low, high) leaves."""
        if cut is not None or not bounds.larger or (self.ball.clip is None and not (bounds.forms and supersets(self.ball.norm, self.width))):
            return self._relaxed(bounds, index, eps, cut)
        found = torch.full_like(eps, -torch.inf)
        binds = self._clip_binds(index, eps)
        if bool(binds.any()):
            found[binds] = self._relaxed(bounds, index[binds], eps[binds], None).nan_to_num(nan=-torch.inf)
        for larger in self.larger if bounds.forms else self.larger[:1]:
            left = ~(found > 0)
            if bool(left.any()):
                whole = larger._relaxed(bounds, index[left], eps[left], None)
                found[left] = torch.where(whole > found[left], whole, found[left])
        return found

    @property
    def width(self) -> int:
        """Numbers of a frame."""
        return self.centre.inputs.shape[-1]

    @cached_property
    def larger(self) -> tuple[Asked, ...]:
        """The same about sets that hold these: without the clip, and of norms that are bounded better.

        Other constraints make for other relaxations, not always for better ones: what holds of a larger set holds too.
        """
        open_ = replace(self.ball, clip=None)
        balls = [open_] if self.ball.clip is not None else []
        for norm, factor in supersets(self.ball.norm, self.width):
            balls.append(replace(open_.scaled(float(factor)), norm=norm))
        return tuple(replace(self, ball=ball) for ball in balls)

    def _clip_binds(self, index: Tensor, eps: Tensor) -> Tensor:
        """The rows whose balls a clip cuts something from; all where there is none. shape: [A]."""
        if self.ball.clip is None:
            return torch.ones_like(eps, dtype=torch.bool)
        reach = (self.ball.radii[index] * eps[:, None])[:, :, None]
        below, above = self.ball.clip
        return ((below[index] < reach) | (above[index] < reach)).flatten(1).any(1)

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
            try:
                if cut is None:
                    walk = bounds.on(at, ball, self.chart)
                else:
                    piece = Piece.between(ball, *(x[part] for x in cut))
                    walk = bounds.make(at.moved(piece.offset), piece, self.chart)
                done.append(self.margins(walk, i))
            except (RuntimeError, MemoryError) as e:
                if len(part) == 1 or not out_of_memory(e):
                    raise
                parts[:0] = part.chunk(2)
        return torch.cat(done)


#: Lower bounds of the margin. shape: rows of the batch [A], eps [A] -> [A].
Margins = Callable[[Tensor, Tensor], Tensor]
