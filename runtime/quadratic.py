"""Quadratic bounds: tangents substituted back to the inputs, and what they leave out bounded for all neurons together.

A plane charges every neuron its worst error over its box, as if all neurons could be at their corners at once. With tangents instead, a row is
value + g . delta + sum_j L_j e_j, where e_j is within 1/2 d_j' K_j d_j of zero (`Parabola`) and d_j = J_j delta + residual is itself linear in the
input up to a residual that is known from earlier steps. So the row is at most linear plus one quadratic form of the perturbation, and its largest
value over the set is an eigenvalue problem (`spectral`). Every box is the intersection with the one by planes (runtime/README.md, section 10).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vlang.runtime import rounding
from vlang.runtime.bent import Bent, Motion
from vlang.runtime.bounds import Box, Nominal, Reached, Region, Relaxed
from vlang.runtime.graph import Nonlinear, Ref
from vlang.runtime.hull import LARGEST, LARGEST_POLYTOPE, Hull
from vlang.runtime.relaxations import RELAXATIONS, Args, Parabola, Plane, Planes
from vlang.runtime.spectral import FEW_STEPS, Top, largest, largest_on_cross_polytopes

#: Matrix entries at once.
FORM_ENTRIES = 2**24


class Quadratic(Relaxed):
    """Planes and quadratic bounds, intersected at every node."""

    def __init__(self, nominal: Nominal, region: Region) -> None:
        self.hull = Hull(nominal.graph, region, nominal.inputs.shape[-1])
        self.motions: dict[int, Motion] = {}
        self._bent: dict[int, Bent] = {}
        self.contacts: dict[int, Contact] = {}
        self.multipliers: dict[int, Multipliers] = {}
        self._tangents: dict[int, Planes] = {}
        self._tangent_error: dict[int, Tensor] = {}
        super().__init__(nominal, region, "plane")

    def upper(self, node: int, rows: Tensor) -> Tensor:
        rows = rows if rows.dim() == 3 else rows[None]
        by_planes = super().upper(node, rows)
        reached = self._tangent_walk(node, rows)
        _, most = self._remainders(node, reached.nonlinear, reached.inputs, rows.shape[1], FEW_STEPS)
        found = reached.centre + reached.slack + most
        return torch.where(found < by_planes, found, by_planes)

    def forget(self) -> None:
        self._bent.clear()

    def _relax(self, i: int, node: Nonlinear, planes: Planes) -> None:
        super()._relax(i, node, planes)
        lo, hi = self._argument_box(node)
        centre = tuple(self._motion(r).centre for r in node.args)
        low = tuple(torch.minimum(x, c) for x, c in zip(lo, centre, strict=True))
        high = tuple(torch.maximum(h, c) for h, c in zip(hi, centre, strict=True))
        found = RELAXATIONS[node.op].parabola(centre, low, high)
        steps = tuple(torch.maximum(h - c, c - x) for c, x, h in zip(centre, low, high, strict=True))
        self.contacts[i] = Contact(centre, found)
        self._bent[i] = Bent.of(found.curvature, [self._motion(r) for r in node.args], steps)
        self._tangents[i] = Planes(Plane(found.slopes, found.offset), Plane(found.slopes, found.offset))
        self._tangent_error[i] = self._rounding_of(i, node, self._tangents[i]) + found.slack

    def _linear_box(self, i: int) -> Box:
        lo, hi = super()._linear_box(i)
        self.boxes[i] = (lo, hi)
        width = lo.shape[1]
        eye = torch.eye(width, dtype=lo.dtype, device=lo.device)
        reached = self._tangent_walk(i, eye[None])
        pure, most = self._remainders(i, _twice(reached.nonlinear), _twice(reached.inputs), 2 * width)
        slack = reached.slack.expand(lo.shape)
        if not reached.inputs:  # moved by rounding alone
            return lo, hi
        high, low = reached.centre + slack + most[:, :width], reached.centre - slack - most[:, width:]
        self.motions[i] = self._settled(reached, pure[:, :width] + slack, pure[:, width:] + slack)
        return torch.where(low > lo, low, lo), torch.where(high < hi, high, hi)

    # -- what a node does when the input moves ------------------------------------------------------------------------

    def _settled(self, reached: Reached, above: Tensor, below: Tensor) -> Motion:
        """centre + linear . z + [-below, above], its middle taken as the centre."""
        linear, lost = self.hull.place({k: a.expand(len(above), -1, -1) for k, a in reached.inputs.items()})
        lean = (above - below) / 2
        middle = reached.centre + torch.where(lean.isfinite(), lean, 0.0)
        residual = torch.maximum(reached.centre + above - middle, middle - reached.centre + below) + lost
        return Motion(middle, linear, rounding.up(residual, residual + reached.centre.abs() + middle.abs(), 8))

    def _motion(self, ref: Ref) -> Motion:
        if ref.node in self.motions:
            return self.motions[ref.node].of(ref)
        lo, hi = self._box(ref)
        middle = (lo + hi) / 2
        return Motion(middle, middle.new_zeros(*middle.shape, 0), rounding.up(torch.maximum(hi - middle, middle - lo), middle.abs() * (hi > lo), 4))

    def _tangent_walk(self, top: int, rows: Tensor) -> Reached:
        return self._walk(top, rows, self._tangents, {**self._error, **self._tangent_error})

    # -- what tangents leave out --------------------------------------------------------------------------------------

    def _remainders(self, top: int, reached: Mapping[int, Tensor], inputs: Mapping[int, Tensor], count: int, steps: int = 0) -> tuple[Tensor, Tensor]:
        """Upper bounds of sum_j L_j e_j, and of that plus the inputs' linear part, over the set. shape: reached L_j [B, R, width] -> [B, R].

        top: the node whose rows these are. steps: see `spectral.largest`.
        """
        inputs = self._for_all(inputs)
        plain, lifts = self.region.lifted(inputs)
        plain = plain.expand(self._batch, count)
        form = self._weigh(reached, count)
        constant = form.constant
        self.multipliers[top] = Multipliers(lifts, None, None)
        if form.dimension == 0:
            return constant, plain + constant
        (pure, by_pure), (joint, by_joint) = self._form(form, inputs, steps)
        self.multipliers[top] = Multipliers(lifts, by_pure, by_joint)
        found = torch.where(plain + pure < joint, plain + pure, joint)
        return rounding.up(pure + constant, pure + constant, 8), rounding.up(found + constant, found.abs() + constant, 8)

    @property
    def _batch(self) -> int:
        return self.nominal.inputs.shape[0]

    def _for_all(self, inputs: Mapping[int, Tensor]) -> dict[int, Tensor]:
        return {k: a.expand(self._batch, -1, -1) for k, a in inputs.items()}

    def _weigh(self, reached: Mapping[int, Tensor], count: int) -> Form:
        """What tangents leave out of rows, as a form of the neurons' linear motions."""
        constant = absolute = self.nominal.inputs.new_zeros(self._batch, count)
        weights: dict[int, tuple[Tensor, ...]] = {}
        terms = 64
        for i, a in reached.items():
            bent = self._bent[i]
            signed = a.clamp(min=0).expand(self._batch, -1, -1), (-a).clamp(min=0).expand(self._batch, -1, -1)
            weights[i] = tuple((signed[0] * w[0][:, None]).addcmul_(signed[1], w[1][:, None]) for w in bent.weights)
            for side, x in enumerate(signed):
                constant = torch.baddbmm(constant[..., None], x, bent.constant[side][..., None])[..., 0]
                absolute = torch.baddbmm(absolute[..., None], x, bent.size[side][..., None])[..., 0]
            terms += 2 * a.shape[-1] * len(bent.weights)
        dimension = max((self._bent[i].dimension for i in weights), default=0)
        return Form(weights, absolute * (2 * rounding.gamma(terms, absolute.dtype)), rounding.up(constant, constant, terms), dimension)

    def _matrices(self, form: Form, rows: slice) -> Tensor:
        """The form as matrices over z. shape: [B, rows, D, D]."""
        d = form.dimension
        some = form.error[:, rows]
        packed = some.new_zeros(*some.shape, d * (d + 1) // 2)
        for i, entries in form.weights.items():
            for w, products in zip(entries, self._bent[i].products, strict=True):
                packed[..., : products.shape[-1]] += w[:, rows] @ products
        return packed[..., _unpacking(d, some.device)]

    def _form(self, form: Form, inputs: Mapping[int, Tensor], steps: int) -> tuple[tuple[Tensor, Tensor | None], tuple[Tensor, Tensor | None]]:
        """The largest value of a form, alone and with the linear part, and what proves it; infinite where it is not attempted. shape: [B, R]."""
        hull, d = self.hull, form.dimension
        never = torch.full_like(form.error, torch.inf)
        if d > (LARGEST_POLYTOPE if hull.vertices else LARGEST):
            return (never, None), (never, None)
        slots = d // hull.width
        room = hull.room(slots)
        slopes, rest = None, never
        if hull.exact and inputs:
            z, lost = hull.place(inputs)
            slopes = torch.nn.functional.pad(z, (0, max(0, d - z.shape[-1])))[..., :d]
            rest = hull.beyond(inputs, slots) + lost
        step = max(1, FORM_ENTRIES // (d * d * len(never)))
        alone: list[Top] = []
        together: list[Top] = []
        for rows in (slice(i, i + step) for i in range(0, never.shape[1], step)):
            matrices, linear, error = self._matrices(form, rows), None if slopes is None else slopes[:, rows], form.error[:, rows]
            if hull.vertices:
                pure, joint = largest_on_cross_polytopes(matrices, error, room.radii, linear)
            else:
                pure, joint = largest(matrices, error, room, linear, steps)
            alone.append(pure)
            together += [] if joint is None else [joint]
        if not together:
            return _joined(alone), (never, None)
        most, by = _joined(together)
        return _joined(alone), (most + rest, by)

    def principal(self, node: int, rows: Tensor, most: int) -> tuple[Tensor, Tensor]:
        """Directions of the input along which what tangents leave out of the rows is largest, in falling order, and how large it is there.

        Of each batch row's highest row; for cutting, not for bounds. shape: rows [B, R, width] -> directions [B, K, m, n] of any length,
        weights [B, K]; K is 0 where no forms are made.
        """
        hull = self.hull
        reached = self._tangent_walk(node, rows)
        form = self._weigh(reached.nonlinear, rows.shape[1])
        d, blank = form.dimension, self.nominal.inputs.new_zeros(self._batch, 0)
        if d == 0 or hull.vertices or d > LARGEST:
            return blank[..., None, None], blank
        worst = (reached.centre + self.region.support(self._for_all(reached.inputs))).argmax(1)
        matrix = self._matrices(form, slice(None))[torch.arange(self._batch, device=worst.device), worst]
        radii = hull.group_radii(d // hull.width).repeat_interleave(hull.grouped, -1)
        values, vectors = torch.linalg.eigh((matrix * radii[:, :, None] * radii[:, None]).nan_to_num(0.0, 0.0, 0.0))
        normals = vectors.mT.flip(-2)[:, :most] * torch.where(radii > 0, 1 / radii, 0.0)[:, None]
        return hull.directions(normals), values.flip(-1)[:, :most]


@dataclass(frozen=True, eq=False)
class Contact:
    """Where a nonlinear node's tangent touches it, and what it leaves out. shape: point, one an argument, each [B, width]."""

    point: Args
    parabola: Parabola


@dataclass(frozen=True, eq=False)
class Multipliers:
    """What proves the bounds of a node's rows, for whoever checks them: of a piece's hyperplanes with the linear part alone, and of the
    constraints (`Room`) with the form alone and with both; none where nothing was needed or attempted. shape: [B, R, K], [B, R, G + K]."""

    lifts: Tensor | None
    pure: Tensor | None
    joint: Tensor | None


@dataclass(frozen=True, eq=False)
class Form:
    """1/2 sum_j u_j' weights_j u_j + constant, u the nodes' linear motions. error: its rounding, as a spectral norm over z; dimension: of z.

    shape: weights per node, of its products, [B, R, width]; error, constant [B, R].
    """

    weights: Mapping[int, tuple[Tensor, ...]]
    error: Tensor
    constant: Tensor
    dimension: int


def _joined(parts: list[Top]) -> Top:
    return torch.cat([x for x, _ in parts], 1), torch.cat([m for _, m in parts], 1)


def _twice(rows: Mapping[int, Tensor]) -> dict[int, Tensor]:
    """Rows, then the same rows negated."""
    return {k: torch.cat([a, -a], 1) for k, a in rows.items()}


def _unpacking(d: int, device: torch.device) -> Tensor:
    """Where each entry of a symmetric matrix lies in its packed lower triangle, row after row. shape: [d, d]."""
    i = torch.arange(d, device=device)
    low, high = torch.minimum(i[:, None], i), torch.maximum(i[:, None], i)
    return high * (high + 1) // 2 + low
