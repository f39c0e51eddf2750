"""Quadratic bounds: tangents substituted back to the inputs, and what they leave out bounded for all neurons together.

A plane charges every neuron its worst error over its box, as if all neurons could be at their corners at once. With tangents instead, a row is
value + g . delta + sum_j L_j e_j, where e_j is within 1/2 d_j' K_j d_j of zero (`Parabola`) and d_j = J_j delta + residual is itself linear in the
input up to a residual that is known from earlier steps. So the row is at most linear plus one quadratic form of the perturbation, whose largest value
over the ball is an eigenvalue problem (`spectral`). Every box is the intersection with the one by planes; both profit (runtime/README.md, section 9).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from vlang.runtime import rounding
from vlang.runtime.ball import Ball
from vlang.runtime.bounds import Box, Nominal, Reached, Region, Relaxed
from vlang.runtime.graph import Affine, Graph, Input, Nonlinear, Ref
from vlang.runtime.relaxations import RELAXATIONS, Args, Parabola, Plane, Planes
from vlang.runtime.spectral import largest, largest_on_cross_polytopes

#: Matrices larger than this are not worth their eigenvalues.
LARGEST = 256
#: The same for 1-norm balls, which need no eigenvalues.
LARGEST_POLYTOPE = 1024
#: Matrix entries at once.
FORM_ENTRIES = 2**24
#: The share of a neuron's reach at which the cross term of motion and residual is split evenly.
TYPICAL = 0.5
RATIO = 1e6


@dataclass(frozen=True, eq=False)
class Motion:
    """A node's value: centre + linear . z + something within residual. z: the perturbation as the hull sees it, its first coordinates.

    shape: centre, residual [B, width]; linear [B, width, D].
    """

    centre: Tensor
    linear: Tensor
    residual: Tensor

    def of(self, ref: Ref) -> Motion:
        part = slice(ref.start, ref.stop)
        return Motion(self.centre[:, part], self.linear[:, part], self.residual[:, part])


@dataclass(frozen=True, eq=False)
class Chart:
    """Fewer coordinates of a frame: z = basis' (scale delta). shape: basis [n, d] with orthonormal columns, scale [n]."""

    basis: Tensor
    scale: Tensor

    def coefficients(self, a: Tensor) -> tuple[Tensor, Tensor]:
        """Of z, and how far they may be from a, per coordinate of delta. shape: [B, R, n] -> [B, R, d], [B, R, n]."""
        z = (a / self.scale) @ self.basis
        back, size = (z @ self.basis.mT) * self.scale, (z.abs() @ self.basis.mT.abs()) * self.scale
        return z, (a - back).abs() + (a.abs() + size) * rounding.gamma(2 * a.shape[-1] + 16, a.dtype)


class Hull:
    """The perturbation set as seen by the quadratic forms: groups of coordinates in balls that hold it.

    Every row of the batch has a slot for each frame that it moves, in order, and z lists the slots. A slot's coordinates are in one ball for the
    2-norm and smaller p, and bounded one by one for larger p; where that is too many, in one ball after scaling by the weights' columns. Frames
    wider than the weights that read them are turned into the space those weights see (`Chart`).
    """

    def __init__(self, graph: Graph, ball: Ball, width: int) -> None:
        self.ball, self.frames = ball, sorted(ball.frames)
        radii = ball.radii[:, self.frames]
        moves = radii > 0
        count = int(moves.sum(1).max()) if self.frames else 0
        order = (~moves).to(torch.int8).argsort(dim=1, stable=True)[:, :count]
        #: Per row and slot, which of `frames` it is, and its radius (0 for a slot that the row does not need). shape: [B, slots].
        self.slots, self.radii = order, radii.gather(1, order)
        self.vertices = ball.norm == Fraction(1)
        round_ = ball.norm is not None and ball.norm <= 2
        self.chart = None
        if self.frames and not self.vertices and (round_ or width * (count - 1) > LARGEST):
            self.chart = _chart(graph, self.frames[0], width, flat=not round_)
        #: Coordinates of a slot, and how many of them share a ball.
        self.width = width if self.chart is None else self.chart.basis.shape[1]
        self.grouped = self.width if round_ or self.chart is not None else 1
        if self.chart is not None:
            reach = 1.0 if round_ else float(self.chart.scale.square().sum().sqrt())
            self.radii = self.radii * (reach * (1 + 1e-12))
        #: Whether linear and quadratic terms may be maximised together: the balls are then the set itself.
        self.exact = ball.room is None and ball.at_most is None and (ball.norm in (1, 2) or (ball.norm is None and self.chart is None))

    def group_radii(self, slots: int) -> Tensor:
        """shape: [B, groups]."""
        return self.radii[:, :slots].repeat_interleave(1 if self.vertices else self.width // self.grouped, -1)

    def place(self, inputs: Mapping[int, Tensor]) -> tuple[Tensor, Tensor | float]:
        """Coefficients of the frames as coefficients of z, and the most that is lost. shape: each [B, R, n] -> [B, R, D], [B, R]."""
        columns: list[Tensor | None] = []
        lost: Tensor | float = 0.0
        for k in self.frames:
            if k not in inputs or self.chart is None:
                columns.append(inputs.get(k))
            else:
                z, error = self.chart.coefficients(inputs[k])
                columns.append(z)
                lost = lost + self.ball.gain(k, error)
        blank = torch.zeros_like(next(c for c in columns if c is not None))
        every = torch.stack([blank if c is None else c for c in columns], 2)  # [B, R, frames, d]
        present = torch.tensor([k in inputs for k in self.frames], device=every.device)
        used = (present[self.slots] & (self.radii > 0)).any(0).nonzero()
        last = int(used.amax()) + 1 if len(used) else 1
        index = self.slots[:, None, :last, None].expand(-1, every.shape[1], -1, every.shape[3])
        z = every.gather(2, index) * (self.radii[:, None, :last, None] > 0)
        return z.flatten(2), lost

    def beyond(self, inputs: Mapping[int, Tensor], slots: int) -> Tensor:
        """The linear terms of frames that are in none of the first slots. shape: each [B, R, n] -> [B, R]."""
        gains = []
        for i, k in enumerate(self.frames):
            if k in inputs:
                within = ((self.slots[:, :slots] == i) & (self.radii[:, :slots] > 0)).any(1)
                gains.append(torch.where(within[:, None], 0.0, self.ball.gain(k, inputs[k])))
        return self.ball.total(gains)


def _chart(graph: Graph, frame: int, width: int, flat: bool) -> Chart | None:
    """The space of a frame that the weights see; none where it has as many coordinates as the frame.

    flat: for sets whose coordinates are bounded one by one; the scale then lets the 2-norm ball in it hug the set where the weights look.
    """
    weights = [
        t.weight
        for node in graph.nodes
        if isinstance(node, Affine)
        for t in node.terms
        if t.weight is not None and isinstance(source := graph.nodes[t.ref.node], Input) and source.frame == frame
    ]
    if not weights or sum(len(w) for w in weights) >= width:
        return None
    rows = torch.cat(weights)
    scale = torch.ones_like(rows[0])
    if flat:
        norms = torch.linalg.vector_norm(rows, dim=0)
        scale = norms.clamp(min=1e-3 * norms.amax()).clamp(min=1e-30).sqrt()
    basis = torch.linalg.qr((rows / scale).mT).Q
    eye = torch.eye(basis.shape[1], dtype=basis.dtype, device=basis.device)
    # |basis' x| <= (1 + 1e-12) |x| is used; a computed Q is orthonormal far better than that.
    good = float(torch.linalg.matrix_norm(basis.mT @ basis - eye)) < 1e-13 * basis.shape[0]
    return Chart(basis, scale) if good and basis.shape[0] < 5000 else None


class Quadratic(Relaxed):
    """Planes and quadratic bounds, intersected at every node."""

    def __init__(self, nominal: Nominal, region: Region) -> None:
        ball = region if isinstance(region, Ball) else region.ball
        self._hull = Hull(nominal.graph, ball, nominal.inputs.shape[-1])
        self._motions: dict[int, Motion] = {}
        self._parabolas: dict[int, Parabola] = {}
        self._tangents: dict[int, Planes] = {}
        self._tangent_error: dict[int, Tensor] = {}
        super().__init__(nominal, region, "plane")

    def upper(self, node: int, rows: Tensor) -> Tensor:
        rows = rows if rows.dim() == 3 else rows[None]
        by_planes = super().upper(node, rows)
        reached = self._tangent_walk(node, rows)
        _, most = self._remainders(reached.nonlinear, reached.inputs)
        found = reached.centre + reached.slack + most
        return torch.where(found < by_planes, found, by_planes)

    def _relax(self, i: int, node: Nonlinear, planes: Planes) -> None:
        super()._relax(i, node, planes)
        lo, hi = self._argument_box(node)
        centre = tuple(self._motion(r).centre for r in node.args)
        low = tuple(torch.minimum(x, c) for x, c in zip(lo, centre, strict=True))
        high = tuple(torch.maximum(h, c) for h, c in zip(hi, centre, strict=True))
        found = RELAXATIONS[node.op].parabola(centre, low, high)
        self._parabolas[i] = found
        self._tangents[i] = Planes(Plane(found.slopes, found.offset), Plane(found.slopes, found.offset))
        self._tangent_error[i] = self._rounding_of(node, self._tangents[i]) + found.slack

    def _linear_box(self, i: int) -> Box:
        lo, hi = super()._linear_box(i)
        self.boxes[i] = (lo, hi)
        width = lo.shape[1]
        eye = torch.eye(width, dtype=lo.dtype, device=lo.device)
        reached = self._tangent_walk(i, eye[None])
        pure, most = self._remainders(_twice(reached.nonlinear), _twice(reached.inputs))
        slack = reached.slack.expand(lo.shape)
        high, low = reached.centre + slack + most[:, :width], reached.centre - slack - most[:, width:]
        self._motions[i] = self._settled(reached, pure[:, :width] + slack, pure[:, width:] + slack)
        return torch.where(low > lo, low, lo), torch.where(high < hi, high, hi)

    # -- what a node does when the input moves ------------------------------------------------------------------------

    def _settled(self, reached: Reached, above: Tensor, below: Tensor) -> Motion:
        """centre + linear . z + [-below, above], its middle taken as the centre."""
        linear, lost = self._hull.place({k: a.expand(len(above), -1, -1) for k, a in reached.inputs.items()})
        lean = (above - below) / 2
        middle = reached.centre + torch.where(lean.isfinite(), lean, 0.0)
        residual = torch.maximum(reached.centre + above - middle, middle - reached.centre + below) + lost
        return Motion(middle, linear, rounding.up(residual, residual + reached.centre.abs() + middle.abs(), 8))

    def _motion(self, ref: Ref) -> Motion:
        if ref.node in self._motions:
            return self._motions[ref.node].of(ref)
        lo, hi = self._box(ref)
        middle = (lo + hi) / 2
        return Motion(middle, middle.new_zeros(*middle.shape, 0), rounding.up(torch.maximum(hi - middle, middle - lo), middle.abs() * (hi > lo), 4))

    def _tangent_walk(self, top: int, rows: Tensor) -> Reached:
        return self._walk(top, rows, self._tangents, {**self._error, **self._tangent_error})

    # -- what tangents leave out --------------------------------------------------------------------------------------

    def _remainders(self, coefficients: Mapping[int, Tensor], inputs: Mapping[int, Tensor]) -> tuple[Tensor, Tensor]:
        """Upper bounds of sum_j L_j e_j, and of that plus the inputs' linear part, over the set. shape: coefficients L_j [B, R, width] -> [B, R]."""
        batch, count = self.nominal.inputs.shape[0], next(iter([*coefficients.values(), *inputs.values()])).shape[1]
        inputs = {k: a.expand(batch, -1, -1) for k, a in inputs.items()}
        plain = self.region.support(inputs).expand(batch, count)
        zero = torch.zeros_like(plain)
        units = [self._unit(i, a.expand(batch, -1, -1)) for i, a in coefficients.items()]
        constant = torch.stack([zero, *(u.constant for u in units)]).sum(0)
        constant = rounding.up(constant, constant, len(units) + 16)
        dimension = max((u.dimension for u in units), default=0)
        if dimension == 0:
            return constant, plain + constant
        pure, joint = self._form(units, dimension, inputs, zero)
        found = torch.where(plain + pure < joint, plain + pure, joint)
        return rounding.up(pure + constant, constant, 8), rounding.up(found + constant, found.abs() + constant, 8)

    def _form(self, units: list[Unit], d: int, inputs: Mapping[int, Tensor], zero: Tensor) -> tuple[Tensor, Tensor]:
        """The largest value of the units' quadratic form, alone and with the linear part; infinite where it is not attempted."""
        hull, never = self._hull, torch.full_like(zero, torch.inf)
        if d > (LARGEST_POLYTOPE if hull.vertices else LARGEST):
            return never, never
        slots = d // hull.width
        radii = hull.group_radii(slots)
        slopes, rest = None, never
        if hull.exact and isinstance(self.region, Ball) and inputs:
            z, lost = hull.place(inputs)
            slopes = torch.nn.functional.pad(z, (0, max(0, d - z.shape[-1])))[..., :d]
            rest = hull.beyond(inputs, slots) + lost
        pure, joint = [], []
        rows = max(1, FORM_ENTRIES // (d * d * len(zero)))
        for part in torch.split(torch.arange(zero.shape[1], device=zero.device), rows):
            form = zero.new_zeros(len(zero), d, len(part), d)
            absolute = torch.stack([u.rows(part).add_to(form) for u in units]).sum(0)
            form = form.transpose(1, 2)
            form = (form + form.mT) / 2
            error = absolute * rounding.gamma(64 + 2 * sum(u.width for u in units), form.dtype)
            bound = largest_on_cross_polytopes if hull.vertices else largest
            alone, together = bound(form, error, radii, None if slopes is None else slopes[:, part])
            pure.append(alone)
            joint.append(never[:, part] if together is None else together)
        return torch.cat(pure, 1), torch.cat(joint, 1) + rest

    def _unit(self, i: int, a: Tensor) -> Unit:
        """The quadratic terms of nonlinear node i with coefficients a."""
        node = self.nominal.graph.nodes[i]
        assert isinstance(node, Nonlinear)
        motions = [self._motion(r) for r in node.args]
        lo, hi = self._argument_box(node)
        steps = tuple(torch.maximum(h - m.centre, m.centre - x).clamp(min=0) for m, x, h in zip(motions, lo, hi, strict=True))
        return Unit.of(a, self._parabolas[i], motions, steps)


def _twice(rows: Mapping[int, Tensor]) -> dict[int, Tensor]:
    """Rows, then the same rows negated."""
    return {k: torch.cat([a, -a], 1) for k, a in rows.items()}


@dataclass(frozen=True, eq=False)
class Unit:
    """One nonlinear node's remainders, sum_j L_j e_j <= 1/2 u' weights u + constant with u = J z, the arguments' linear motion.

    shape: weights[a][b] [B, R, width], constant [B, R].
    """

    weights: list[list[Tensor]]
    motions: list[Motion]
    constant: Tensor

    @property
    def dimension(self) -> int:
        """How many coordinates of z it depends on."""
        return max(m.linear.shape[-1] for m in self.motions)

    @property
    def width(self) -> int:
        return len(self.motions) * self.motions[0].centre.shape[1]

    @classmethod
    def of(cls, a: Tensor, parabola: Parabola, motions: list[Motion], steps: Args) -> Unit:
        """d = u + r, |r_k| <= R_k:  d' K d <= u' K u + 2 sum_k |(K u)_k| R_k + r' K r, and 2 |x| R <= tau x^2 + R^2 / tau for any tau > 0."""
        above, below, size = a.clamp(min=0), a.clamp(max=0), a.abs()
        diagonal = [above * high[:, None] + below * low[:, None] for low, high in (parabola.curvature[0], parabola.curvature[-1])]
        residual = [m.residual[:, None] for m in motions]
        tiny = 1e-30
        if len(motions) == 1:
            k = [[diagonal[0] + size * rounding.gamma(8, a.dtype) * _largest(parabola.curvature[0])[:, None]]]
        else:
            low, high = parabola.curvature[1]
            middle, half = (low + high) / 2, (high - low) / 2
            # The part of the mixed derivative that is not known, split between the squares.
            ratio = (steps[1] / steps[0].clamp(min=tiny)).clamp(1 / RATIO, RATIO)
            half = rounding.up(half, _largest((low, high)), 4)
            k = [[diagonal[0], a * middle[:, None]], [a * middle[:, None], diagonal[1]]]
            for j, r in enumerate((ratio, 1 / ratio)):
                rounded = _largest(parabola.curvature[2 * j]) + _largest((low, high)) * r
                k[j][j] = k[j][j] + size * (half * r + rounded * rounding.gamma(16, a.dtype))[:, None]
        order = range(len(motions))
        constant = torch.zeros_like(a)
        taus = []
        for i in order:
            typical = torch.stack([(k[i][j] * steps[j][:, None]) ** 2 for j in order]).sum(0).sqrt()
            typical = (TYPICAL * typical).clamp(min=tiny)
            taus.append(residual[i] / typical)
            constant = constant + residual[i] * typical / 2 + k[i][i].clamp(min=0) * residual[i] ** 2 / 2
        if len(motions) == 2:
            constant = constant + k[0][1].abs() * residual[0] * residual[1]
        weights = [[k[i][j] + sum(taus[q] * k[q][i] * k[q][j] for q in order) for j in order] for i in order]
        total = constant.sum(-1)
        return cls(weights, motions, rounding.up(total, total, a.shape[-1] + 64))

    def rows(self, part: Tensor) -> Unit:
        return Unit([[w[:, part] for w in row] for row in self.weights], self.motions, self.constant[:, part])

    def add_to(self, form: Tensor) -> Tensor:
        """Add J' weights J to a form [B, D, R, D]; return a bound of the spectral norm of its terms' absolute values. shape: -> [B, R]."""
        norms = [torch.linalg.vector_norm(m.linear, dim=-1)[:, None] for m in self.motions]
        absolute = torch.zeros_like(self.constant)
        for i, left in enumerate(m.linear for m in self.motions):
            for j, right in enumerate(m.linear for m in self.motions):
                image = self.weights[i][j].mT[..., None] * right[:, :, None]  # [B, width, R, D]
                batch, width, rows, d = image.shape
                added = left.mT @ image.reshape(batch, width, rows * d)
                form[:, : left.shape[-1], :, :d] += added.reshape(batch, left.shape[-1], rows, d)
                absolute = absolute + (self.weights[i][j].abs() * norms[i] * norms[j]).sum(-1)
        return absolute


def _largest(interval: tuple[Tensor, Tensor]) -> Tensor:
    return torch.maximum(interval[0].abs(), interval[1].abs())
