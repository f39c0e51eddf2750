"""Quadratic bounds: parabolas substituted back to the inputs, what they add to their planes bounded for all neurons together.

A plane charges every neuron its worst error over its box, as if all neurons could be at their corners at once. With parabolas that are low on average
instead (`relaxations.parabola`), a row is at most constant + g . delta + sum_j L_j 1/2 d_j' K_j d_j, where a neuron's distance from its centre
d_j = J_j delta + residual is itself linear in the input up to a residual that is known from earlier steps. So the row is at most linear plus one
quadratic form of the perturbation, and its largest value over the set is an eigenvalue problem (`multipliers`). Every box is the intersection with
the one by planes (runtime/README.md, section 10).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vlang.runtime import rounding
from vlang.runtime.bounds.coordinates import Chart, Coordinates
from vlang.runtime.bounds.cushions import Cushion, Motion
from vlang.runtime.bounds.linear import Planar, by_rule
from vlang.runtime.bounds.multipliers import FEW_STEPS, Top, largest, largest_on_cross_polytopes
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.bounds.walk import Arguments, Box, Reached, Substitution, batched
from vlang.runtime.graph.nodes import Nonlinear, Ref
from vlang.runtime.relaxations import RELAXATIONS, Moved, Parabolas, Plane, Planes, parabolas
from vlang.runtime.sets.ball import Ball
from vlang.runtime.sets.piece import Piece
from vlang.words.methods import LARGEST_FORM, LARGEST_POLYTOPE

#: Matrix entries at once.
FORM_ENTRIES = 2**24

#: Coefficients on the frames, by frame. shape: each [B, R, n].
Inputs = Mapping[int, Tensor]
#: Bounds of rows, and what proves them (`Multipliers`).
Bounded = tuple[Tensor, Tensor | None, Tensor | None]


class Quadratic(Planar):
    """Planes and quadratic bounds, intersected at every node."""

    def __init__(self, nominal: Nominal, region: Ball | Piece, chart: Chart | None) -> None:
        super().__init__(nominal, region, by_rule("plane"))
        self.coordinates = Coordinates(region, nominal.inputs.shape[-1], chart)
        self.motions: dict[int, Motion] = {}
        self.parabolas: dict[int, Parabolas] = {}
        self.multipliers: dict[int, list[Multipliers]] = {}
        self._cushions: dict[int, Cushion] = {}
        self._by_bases: dict[int, Substitution] = {}  # of nonlinear nodes, by the linear parts of their parabolas

    def upper(self, node: int, rows: Tensor) -> Tensor:
        rows = batched(rows)
        by_planes = self._upper_by_planes(node, rows)
        reached = self._base_walk(node, rows)
        (found,) = self._bounds(node, reached, rows.shape[1], [reached.inputs], FEW_STEPS)
        return torch.where(found < by_planes, found, by_planes)

    def forget(self) -> None:
        self._cushions.clear()

    def _relax(self, i: int, node: Nonlinear, box: Arguments) -> None:
        self._relax_by_planes(i, node, box)
        lo, hi = box
        motions = [self._motion(r) for r in node.args]
        centre = tuple(m.centre for m in motions)
        moved = Moved(centre, tuple(m.residual for m in motions), _correlation(motions))
        found = parabolas(RELAXATIONS[node.op], lo, hi, moved)
        steps = tuple(torch.maximum((h - c).abs(), (c - x).abs()) for c, x, h in zip(centre, lo, hi, strict=True))
        self.parabolas[i] = found
        self._cushions[i] = Cushion.of(found, motions, steps)
        bases = Planes(Plane(found.lower.slopes, found.lower.offset), Plane(found.upper.slopes, found.upper.offset))
        self._by_bases[i] = Substitution.by_planes(bases, self._rounding_of(i, node, bases))

    def _narrowed(self, i: int) -> Box:
        lo, hi = self.boxes[i] = self._box_by_planes(i)
        width = lo.shape[1]
        eye = torch.eye(width, dtype=lo.dtype, device=lo.device)
        reached = self._base_walk(i, torch.cat([eye, -eye])[None])
        if not reached.inputs:  # moved by rounding alone
            return lo, hi
        linear, rest, lost = self._split(reached.inputs, width)
        both, beside = self._bounds(i, reached, 2 * width, [reached.inputs, rest])
        self._settle(i, linear, beside + lost)
        low, high = -both[:, width:], both[:, :width]
        return torch.where(low > lo, low, lo), torch.where(high < hi, high, hi)

    # -- what a node does when the input moves ------------------------------------------------------------------------

    def _split(self, inputs: Inputs, width: int) -> tuple[dict[int, Tensor], dict[int, Tensor], Tensor]:
        """The linear motion of a node's units, of which there are bounds from above and, negated, from below; what is left of the bounds' linear
        parts; and the most that rounding loses. shape: inputs [B or 1, 2 width, n] -> [B, width, n], [B, 2 width, n], [B, 2 width].
        """
        linear, rest, error = {}, {}, {}
        for k, a in self._for_all(inputs).items():
            above, below = a[:, :width], a[:, width:]
            linear[k] = (above - below) / 2
            rest[k] = torch.cat([above - linear[k], below + linear[k]], 1)
            # Far more than both roundings: a checker's balls are wide beside what is left of motions that cancel.
            error[k] = 16 * rounding.LITTLE_ROOM * (a.abs() + torch.cat([linear[k], linear[k]], 1).abs())
        return linear, rest, self.coordinates.either_way(error)

    def _settle(self, i: int, linear: Inputs, beside: Tensor) -> None:
        """Node i is linear . delta + [-below, above]; its middle is taken as the centre. Where that tells no more than the box, the box is kept.

        shape: beside [B, 2 width], above and then below.
        """
        lo, hi = self.boxes[i]
        above, below = beside.chunk(2, 1)
        z, lost = self.coordinates.place(linear)
        centre = (above - below) / 2
        residual = torch.maximum(above - centre, centre + below) + lost
        residual = rounding.up(residual, residual + above.abs() + below.abs(), 8)
        middle, half = _middle(lo, hi)
        known = (residual < half) & (z != 0).any(-1)
        self.motions[i] = Motion(torch.where(known, centre, middle), torch.where(known[..., None], z, 0.0), torch.where(known, residual, half))

    def _motion(self, ref: Ref) -> Motion:
        if ref.node in self.motions:
            return self.motions[ref.node].of(ref)
        lo, hi = self._box(ref)
        middle, half = _middle(lo, hi)
        return Motion(middle, middle.new_zeros(*middle.shape, 0), half)

    def _base_walk(self, top: int, rows: Tensor) -> Reached:
        return self._walk(top, rows, self._by | self._by_bases)

    # -- what parabolas add -------------------------------------------------------------------------------------------

    @property
    def _batch(self) -> int:
        return self.nominal.inputs.shape[0]

    def _for_all(self, inputs: Inputs) -> dict[int, Tensor]:
        return {k: a.expand(self._batch, -1, -1) for k, a in inputs.items()}

    def _bounds(self, top: int, reached: Reached, count: int, parts: list[Inputs], steps: int = 0) -> list[Tensor]:
        """Upper bounds over the set of rows that were substituted back, with each of some linear parts in place of their own.

        top: the node whose rows these are. steps: see `multipliers.largest`. shape: [B, R] each.
        """
        form = self._weigh(reached.nonlinear, count)
        fixed = reached.centre + reached.slack + form.constant
        size = reached.centre.abs() + reached.slack + form.constant.abs()
        inputs = [self._for_all(part) for part in parts]
        if form.dimension == 0:
            found: list[Bounded] = [(*self.region.lifted(part), None) for part in inputs]
        elif self.coordinates.exact:
            found = self._together(form, inputs, steps)
        else:
            ((most, by),) = self._form(form, [None], steps)
            found = [(value + most, lifts, by) for value, lifts in (self.region.lifted(part) for part in inputs)]
        self.multipliers[top] = [Multipliers(lifts, by) for _, lifts, by in found]
        ends = [(value + fixed, value.abs() + size) for value, _, _ in found]
        return [rounding.up(end, magnitude, 8) + rounding.CHECKED * magnitude for end, magnitude in ends]

    def _together(self, form: Form, parts: list[dict[int, Tensor]], steps: int) -> list[Bounded]:
        """The largest of each linear part plus the form, maximised together. shape: [B, R]."""
        d, coordinates = form.dimension, self.coordinates
        slopes, rests = [], []
        for part in parts:
            z, lost = coordinates.place(part)
            slopes.append(torch.nn.functional.pad(z, (0, max(0, d - z.shape[-1])))[..., :d])
            rests.append(coordinates.beyond(part, d // coordinates.width) + lost)
        return [(most + rest, None, by) for (most, by), rest in zip(self._form(form, slopes, steps), rests, strict=True)]

    def _weigh(self, reached: Mapping[int, Tensor], count: int) -> Form:
        """What parabolas add to rows, as a form of the neurons' linear motions. shape: reached, coefficients L_j [B or 1, R, width]."""
        constant = absolute = self.nominal.inputs.new_zeros(self._batch, count)
        weights: dict[int, tuple[Tensor, ...]] = {}
        # Of all that could be met: how much a batch's other rows meet must not matter.
        terms = 64 + 6 * sum(n.width for n in self.nominal.graph.nodes if isinstance(n, Nonlinear))
        for i, a in reached.items():
            cushion = self._cushions[i]
            signed = a.clamp(min=0).expand(self._batch, -1, -1), (-a).clamp(min=0).expand(self._batch, -1, -1)
            weights[i] = tuple((signed[0] * w[0][:, None]).addcmul_(signed[1], w[1][:, None]) for w in cushion.weights)
            for side, x in enumerate(signed):
                constant = torch.baddbmm(constant[..., None], x, cushion.constant[side][..., None])[..., 0]
                absolute = torch.baddbmm(absolute[..., None], x, cushion.size[side][..., None])[..., 0]
        dimension = max((self._cushions[i].dimension for i in weights), default=0)
        error = absolute * (2 * rounding.gamma(terms, absolute.dtype))
        for i in weights:
            error = error + self._cushions[i].lost[:, None]
        return Form(weights, error, rounding.up(constant, constant, terms), dimension)

    def _matrices(self, form: Form, rows: slice, batch: slice = slice(None)) -> Tensor:
        """The form as symmetric matrices over z. shape: [batch, rows, D, D]."""
        some = form.error[batch, rows]
        total = some.new_zeros(*some.shape, form.dimension, form.dimension)
        by_dimension: dict[int, list[tuple[Tensor, Tensor]]] = {}  # one product for all of a size: half the time of one after the other
        for i, entries in form.weights.items():
            cushion = self._cushions[i]
            by_dimension.setdefault(cushion.dimension, []).extend(cushion.factors(tuple(w[batch, rows] for w in entries), batch))
        for d, factors in by_dimension.items():
            left, right = torch.cat([a for a, _ in factors], -1), torch.cat([x for _, x in factors], 1)
            total[..., :d, :d] += torch.bmm(left.flatten(1, 2), right).view(*left.shape[:3], d)
        return (total + total.mT) / 2

    def _form(self, form: Form, linears: list[Tensor] | list[None], steps: int) -> list[Top]:
        """The largest value of a form with each of some linear parts, and what proves it; infinite where it is not attempted. shape: [B, R].

        Cut to what fits: rows by a constant, because products of other sizes round differently, the batch by what there is of it.
        """
        coordinates, d = self.coordinates, form.dimension
        if d > (LARGEST_POLYTOPE if coordinates.vertices else LARGEST_FORM):
            return [(torch.full_like(form.error, torch.inf), form.error[..., None][..., :0]) for _ in linears]
        room = coordinates.room(d // coordinates.width)
        step = max(1, min(form.error.shape[1], FORM_ENTRIES // (8 * d * d)))
        at_once = max(1, FORM_ENTRIES // (8 * d * d * step))
        found: list[list[Top]] = []
        for batch in (slice(i, i + at_once) for i in range(0, self._batch, at_once)):
            parts = []
            for rows in (slice(i, i + step) for i in range(0, form.error.shape[1], step)):
                matrices, error = self._matrices(form, rows, batch), form.error[batch, rows]
                some = [None if linear is None else linear[batch, rows] for linear in linears]
                if coordinates.vertices:
                    parts.append(largest_on_cross_polytopes(matrices, error, room.part(batch).radii, some))
                else:
                    parts.append(largest(matrices, error, room.part(batch), some, steps))
            found.append([(torch.cat([v for v, _ in part], 1), torch.cat([by for _, by in part], 1)) for part in zip(*parts, strict=True)])
        return [(torch.cat([v for v, _ in part]), torch.cat([by for _, by in part])) for part in zip(*found, strict=True)]

    def principal(self, node: int, rows: Tensor, most: int) -> tuple[Tensor, Tensor]:
        """Directions of the input along which the rows' form is largest, in falling order, and how large it is there.

        Of each batch row's highest row; for cutting, not for bounds. shape: rows [B, R, width] -> directions [B, K, m, n] of any length,
        weights [B, K]; K is 0 where no forms are made.
        """
        coordinates = self.coordinates
        reached = self._base_walk(node, rows)
        form = self._weigh(reached.nonlinear, rows.shape[1])
        d, blank = form.dimension, self.nominal.inputs.new_zeros(self._batch, 0)
        if d == 0 or coordinates.vertices or d > LARGEST_FORM:
            return blank[..., None, None], blank
        worst = (reached.centre + self.region.support(self._for_all(reached.inputs))).argmax(1)
        matrix = self._matrices(form, slice(None))[torch.arange(self._batch, device=worst.device), worst]
        radii = coordinates.group_radii(d // coordinates.width).repeat_interleave(coordinates.grouped, -1)
        values, vectors = torch.linalg.eigh((matrix * radii[:, :, None] * radii[:, None]).nan_to_num(0.0, 0.0, 0.0))
        normals = vectors.mT.flip(-2)[:, :most] * torch.where(radii > 0, 1 / radii, 0.0)[:, None]
        return coordinates.directions(normals), values.flip(-1)[:, :most]


@dataclass(frozen=True, eq=False)
class Multipliers:
    """What proves the bounds of a node's rows, for whoever checks them: multipliers of a piece's hyperplanes where the linear part is bounded apart
    from the form, and those of the form's constraints (`Room`); none where nothing was needed. shape: [B, R, K], [B, R, G + K]."""

    lifts: Tensor | None
    constraints: Tensor | None


@dataclass(frozen=True, eq=False)
class Form:
    """1/2 sum_j u_j' weights_j u_j + constant, u the nodes' linear motions. error: its rounding, as a spectral norm over z; dimension: of z.

    shape: weights per node, of its products, [B, R, width]; error, constant [B, R].
    """

    weights: Mapping[int, tuple[Tensor, ...]]
    error: Tensor
    constant: Tensor
    dimension: int


def _middle(lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
    """A box' centre, and how far its ends are from there, rounded up."""
    middle = (lo + hi) / 2
    half = torch.maximum(hi - middle, middle - lo)
    return middle, rounding.up(half, (half + middle.abs()) * (hi > lo), 4)


def _correlation(motions: list[Motion]) -> Tensor:
    """Of two arguments' linear motions; of no consequence for one."""
    one, other = motions[0].linear, motions[-1].linear
    d = min(one.shape[-1], other.shape[-1])
    norms = torch.linalg.vector_norm(one, dim=-1) * torch.linalg.vector_norm(other, dim=-1)
    cosine: Tensor = (one[..., :d] * other[..., :d]).sum(-1) / norms
    return cosine.nan_to_num(0.0, 0.0, 0.0).clamp(-1, 1)  # no number where one of them does not move
