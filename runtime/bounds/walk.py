"""Bound propagation: boxes and linear bounds of a graph on a batch of perturbation sets.

A walk visits the graph once from the inputs. Every node gets a box by interval arithmetic from its parents' boxes. How a nonlinearity is relaxed, and
how the box of a node is narrowed that some nonlinearity takes as an argument, are a subclass's matter. Then rows over any node can be bounded
(`upper`) by substituting them back to the inputs.

Soundness in floating point: every product and sum of the backward walk is covered by an a-priori error term. The computed coefficient
A' = fl(A W) differs from A W by at most gamma |A||W|, which moves the bound by at most gamma |A| (|W| mag(parent)): one more
inner product per node, with a vector known before the walk.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from vlang.runtime import rounding
from vlang.runtime.bounds.motion import Moving
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.graph.nodes import Affine, Input, Node, Nonlinear, Ref
from vlang.runtime.late import LateError
from vlang.runtime.products import by_row, through
from vlang.runtime.relaxations import RELAXATIONS, Planes
from vlang.runtime.sets.region import Region

Box = tuple[Tensor, Tensor]
#: The box of a nonlinearity's arguments: lower and upper ends, one of each an argument.
Arguments = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]


class Walk(ABC):
    """A graph bounded on a batch of sets. Nothing is bounded before `run`.

    boxes, planes, lifts: what proves the bounds, by node; lifts are the multipliers of a piece's hyperplanes for a bounded node's rows.
    blur: of nodes that are fixed in a row, how far their computed values may be from the real ones.
    """

    def __init__(self, nominal: Nominal, region: Region) -> None:
        self.nominal, self.region = nominal, region
        self.moving = Moving.of(nominal.graph, region.moved)
        self.live = self.moving.live
        # An input frame that moves in some rows only has a ball of radius 0 in the others.
        self.some = {i: moves for i, moves in self.moving.some.items() if not isinstance(nominal.graph.nodes[i], Input)}
        if nominal.deployed:  # rounding moves everything that is computed
            self.live = tuple(alive or isinstance(n, Affine | Nonlinear) for alive, n in zip(self.live, nominal.graph.nodes, strict=True))
            self.some = {}
        self.boxes: list[Box] = []
        self.planes: dict[int, Planes] = {}
        self.lifts: dict[int, Tensor] = {}
        self._arguments = nominal.graph.relaxed_arguments()
        self._centre: dict[int, Tensor] = {}  # per live affine node: bias plus everything fixed. shape: [B, width]
        self.blur: dict[int, Tensor] = {}  # shape: [B, width]
        self._error: dict[int, Tensor] = {}  # per live node: rounding per unit of |coefficient|. shape: [B, width]
        self._by: dict[int, Substitution] = {}  # per live node, where rows are substituted back
        self._roundings = 2 * len(nominal.graph.nodes) + 64  # two additions to a running total per node, and elementary functions

    def run(self) -> Self:
        """Visit every node in order. Raises LateError."""
        for i, node in enumerate(self.nominal.graph.nodes):
            if self.nominal.late():
                raise LateError
            if not self.live[i] or i in self.some:
                self.blur[i] = self._fixed_blur(i, node)
            if not self.live[i]:
                self.boxes.append(self._fixed_box(i))
                continue
            match node:
                case Input(frame=frame):
                    x, r = self.nominal.inputs[:, frame], self.region.reach(frame)
                    self.boxes.append((rounding.down(x - r, x.abs() + r, 4), rounding.up(x + r, x.abs() + r, 4)))
                    self.blur[i] = torch.zeros_like(x)
                    continue
                case Affine():
                    self._fix_affine(i, node)
                    self._add_box(i, self._affine_box(i, node))
                case Nonlinear():
                    lo, hi = self._argument_box(node)
                    low, high = RELAXATIONS[node.op].range(lo, hi)
                    if self.nominal.deployed:
                        error = self._deployed(node, (lo, hi), (low, high))
                        low, high = low - 2 * error, high + 2 * error
                    self._add_box(i, (low, high))
                    self._relax(i, node, (lo, hi))
            if i in self._arguments:
                self.boxes[i] = self._at_rest(i, self._narrowed(i))
        return self

    @abstractmethod
    def upper(self, node: int, rows: Tensor) -> Tensor:
        """An upper bound of rows @ value(node) over the set. shape: rows [R, width] or [B, R, width] -> [B, R]."""

    @abstractmethod
    def forget(self) -> None:
        """Give back what only further bounds need; what proves the bounds so far stays."""

    @abstractmethod
    def _relax(self, i: int, node: Nonlinear, box: Arguments) -> None:
        """Whatever stands for nonlinear node i in further bounds, valid on the box of its arguments."""

    @abstractmethod
    def _narrowed(self, i: int) -> Box:
        """The box of a node that has one, intersected with whatever else bounds it."""

    # -- nodes ------------------------------------------------------------------------------------------------------

    def _box(self, ref: Ref) -> Box:
        lo, hi = self.boxes[ref.node]
        return lo[:, ref.start : ref.stop], hi[:, ref.start : ref.stop]

    def _magnitude(self, ref: Ref) -> Tensor:
        lo, hi = self._box(ref)
        return torch.maximum(lo.abs(), hi.abs())

    def _argument_box(self, node: Nonlinear) -> Arguments:
        boxes = [self._box(r) for r in node.args]
        return tuple(b[0] for b in boxes), tuple(b[1] for b in boxes)

    def _fixed_box(self, i: int) -> Box:
        value, blur = self.nominal.values[i], self.blur[i]
        return value - blur, value + blur

    def _add_box(self, i: int, box: Box) -> None:
        self.boxes.append(self._at_rest(i, box))

    def _at_rest(self, i: int, box: Box) -> Box:
        """The box of a node, in the rows in which it does not move that of its value: what others of the batch move is none of theirs."""
        if i not in self.some:
            return box
        moves = self.some[i][:, None]
        low, high = (torch.where(moves, end, rest) for end, rest in zip(box, self._fixed_box(i), strict=True))
        return low, high

    def _where_rests(self, ref: Ref, then: Tensor, otherwise: Tensor) -> Tensor:
        """Row by row, `then` where a node that does not move in all rows rests. shape: [B, width]."""
        return torch.where(self.some[ref.node][:, None], otherwise, then) if ref.node in self.some else then

    def _where_moves(self, ref: Ref, then: Tensor, otherwise: Tensor) -> Tensor:
        return torch.where(self.some[ref.node][:, None], then, otherwise) if ref.node in self.some else then

    def _masked(self, ref: Ref, coefficient: Tensor) -> Tensor:
        """Nothing in the rows in which a node rests: its value is in the bias there. shape: [B or 1, R, width]."""
        return torch.where(self.some[ref.node][:, None, None], coefficient, 0.0) if ref.node in self.some else coefficient

    def _fixed_blur(self, i: int, node: Node) -> Tensor:
        """How far the computed value of a node that does not move may be from the real one; its parents' are known."""
        if i in self.nominal.blur:
            return self.nominal.blur[i]
        value = self.nominal.values[i]
        match node:
            case Affine():
                size, spread, width = node.bias.abs() + torch.zeros_like(value), torch.zeros_like(value), len(node.terms) + 1 + node.roundings
                for term in node.terms:
                    x = self.nominal.values[term.ref.node][:, term.ref.start : term.ref.stop].abs()
                    width += term.ref.width
                    size = size + (x if term.weight is None else by_row(x, term.weight.abs()))
                    if term.ref.node in self.blur:  # else it moves in every row, and so does this node
                        blur = self.blur[term.ref.node][:, term.ref.start : term.ref.stop]
                        spread = spread + (blur if term.weight is None else by_row(blur, term.weight.abs()))
                return rounding.up(spread, spread + size, width + 8)
            case Nonlinear():
                low, high = RELAXATIONS[node.op].range(*self._argument_box(node))
                return rounding.up(torch.maximum(high - value, value - low).clamp(min=0), value.abs() + low.abs() + high.abs(), 8)
        return torch.zeros_like(value)

    def _fix_affine(self, i: int, node: Affine) -> None:
        """Fold the bias, the fixed parents and the inputs' centres into one vector."""
        centre = node.bias.expand(self.nominal.inputs.shape[0], -1)
        size, spread, fixed, width = centre.abs(), torch.zeros_like(centre), torch.zeros_like(centre), node.width + 1 + node.roundings
        for term in node.terms:
            ref, weight = term.ref, term.weight
            source = self.nominal.graph.nodes[ref.node]
            width += 1 if weight is None else ref.width
            if not self.live[ref.node] or ref.node in self.some or isinstance(source, Input):
                x = self.nominal.values[ref.node][:, ref.start : ref.stop]
                centre = self._where_rests(ref, centre + (x if weight is None else by_row(x, weight)), centre)
                size = self._where_rests(ref, size + (x.abs() if weight is None else by_row(x.abs(), weight.abs())), size)
                if not isinstance(source, Input):
                    blur = self.blur[ref.node][:, ref.start : ref.stop]
                    fixed = self._where_rests(ref, fixed + (blur if weight is None else by_row(blur, weight.abs())), fixed)
            if self.live[ref.node]:
                mag = self.region.reach(source.frame).expand(-1, ref.width) if isinstance(source, Input) else self._magnitude(ref)
                spread = self._where_moves(ref, spread + (mag if weight is None else by_row(mag, weight.abs())), spread)
        self._centre[i] = centre
        self._error[i] = (spread + 2 * size) * rounding.gamma(2 * width + self._roundings, centre.dtype) + rounding.enlarged(fixed)
        if self.nominal.deployed:
            beside = node.size + sum((self._magnitude(ref) for ref in node.beside), torch.zeros_like(node.size))
            self._error[i] = self._error[i] + rounding.deployed(rounding.enlarged(spread + size + beside), width + 8)
        self._by[i] = Substitution.of_affine(centre, self._error[i])

    def _rounding_of(self, i: int, node: Nonlinear, planes: Planes) -> Tensor:
        """What a unit of |coefficient| on a nonlinear node loses in the walk."""
        tiny = rounding.tiny(planes.lower.offset)  # halves of planes may underflow
        size = torch.maximum(planes.lower.offset.abs(), planes.upper.offset.abs()) + tiny
        for k, ref in enumerate(node.args):
            slope = torch.maximum(planes.lower.slopes[k].abs(), planes.upper.slopes[k].abs())
            size = size + (slope + tiny) * self._magnitude(ref)
        error = size * rounding.gamma(2 * node.width + self._roundings, size.dtype)
        if not self.nominal.deployed:
            return error
        return error + self.deployed_error(i, node)

    def deployed_error(self, i: int, node: Nonlinear) -> Tensor:
        """How far float32 values of nonlinear node i may be from the real ones of the same arguments. shape: [B, width]."""
        return self._deployed(node, self._argument_box(node), self.boxes[i])

    @staticmethod
    def _deployed(node: Nonlinear, arguments: Arguments, box: Box) -> Tensor:
        """How far a float32 value may be from the real one of the same arguments."""
        size = RELAXATIONS[node.op].deployed(*arguments, torch.maximum(box[0].abs(), box[1].abs()))
        return rounding.deployed(size, rounding.DEPLOYED_ROUNDINGS)

    # -- interval bounds --------------------------------------------------------------------------------------------

    def _affine_box(self, i: int, node: Affine) -> Box:
        lo = hi = self._centre[i]
        for term in node.terms:
            if not self.live[term.ref.node]:
                continue
            source = self.nominal.graph.nodes[term.ref.node]
            if isinstance(source, Input):
                weight = dense(term.weight, term.ref.width, lo)
                lo = lo - self.region.unlifted({source.frame: -weight[None]})
                hi = hi + self.region.unlifted({source.frame: weight[None]})
            else:
                low, high = self._box(term.ref)
                if term.weight is not None:
                    mid, half = (low + high) / 2, (high - low) / 2
                    middle, radius = by_row(mid, term.weight), by_row(half, term.weight.abs())
                    low, high = middle - radius, middle + radius
                lo, hi = self._where_moves(term.ref, lo + low, lo), self._where_moves(term.ref, hi + high, hi)
        return lo - 2 * self._error[i], hi + 2 * self._error[i]

    # -- linear bounds ----------------------------------------------------------------------------------------------

    def _walk(self, top: int, rows: Tensor, by: Mapping[int, Substitution]) -> Reached:
        """Substitute rows @ value(top) back to the inputs (POPQORN, section 3). by: of each live node. shape: rows [B or 1, R, width]."""
        graph, values = self.nominal.graph, self.nominal.values
        pending: dict[int, Tensor] = {top: rows}
        assembling: dict[int, Tensor] = {}  # coefficients that arrive slice by slice, in tensors of our own
        inputs: dict[int, Tensor] = {}
        nonlinear: dict[int, Tensor] = {}
        total = rows.new_zeros(len(self.nominal.inputs), 2, rows.shape[1])  # centre and slack

        def add(ref: Ref, coefficient: Tensor) -> None:
            width = graph.nodes[ref.node].width
            if ref.width < width:
                parts = assembling.get(ref.node)
                if parts is None or parts.shape[0] < coefficient.shape[0]:
                    whole = coefficient.new_zeros(*coefficient.shape[:-1], width)
                    assembling[ref.node] = parts = whole if parts is None else whole + parts
                parts[..., ref.start : ref.stop] += coefficient
            else:
                old = pending.get(ref.node)
                pending[ref.node] = coefficient if old is None else old + coefficient

        for i in range(top, -1, -1):
            arrived = [x for x in (pending.pop(i, None), assembling.pop(i, None)) if x is not None]
            if not arrived:
                continue
            a = arrived[0] if len(arrived) == 1 else arrived[0] + arrived[1]
            node = graph.nodes[i]
            if not self.live[i] or i in self.some:
                resting = a
                if i in self.some:  # the rows in which it rests end here, the others go on
                    resting, a = torch.where(self.some[i][:, None, None], 0.0, a), self._masked(Ref(i, 0, node.width), a)
                known = rounding.pad(values[i].abs(), 2 * node.width + self._roundings) + self.blur[i]
                none = torch.zeros_like(known)
                total = added(total, torch.stack([values[i], none], 1), resting)
                total = added(total, torch.stack([none, known], 1), resting.abs())
                if not self.live[i]:
                    continue
            match node:
                case Input(frame=frame):
                    inputs[frame] = a
                case Affine(terms=terms):
                    total = added(added(total, by[i].signed, a), by[i].sizes, a.abs())
                    for term in terms:
                        if self.live[term.ref.node]:
                            add(term.ref, self._masked(term.ref, a if term.weight is None else through(a, term.weight)))
                case Nonlinear(args=args):
                    size = a.abs()
                    nonlinear[i] = a
                    total = added(added(total, by[i].signed, a), by[i].sizes, size)
                    for ref, middle, gap in zip(args, by[i].middle, by[i].gap, strict=True):
                        add(ref, (a * middle).addcmul_(size, gap))
        return Reached(total[:, 0], total[:, 1], inputs, nonlinear)


@dataclass(frozen=True, eq=False)
class Substitution:
    """What stands for a node in rows that are substituted back. A coefficient a of it adds signed a + sizes |a| to a row's centre and slack, in one
    product each, and middle a + gap |a| to the coefficients of its arguments. slack: of rounding. shape: signed, sizes [B, 2, width], the others,
    of each argument, [B, 1, width].
    """

    signed: Tensor
    sizes: Tensor
    middle: tuple[Tensor, ...] = ()
    gap: tuple[Tensor, ...] = ()

    @classmethod
    def of_affine(cls, centre: Tensor, error: Tensor) -> Substitution:
        """error: per unit of |coefficient|. shape: each [B, width]."""
        none = torch.zeros_like(centre)
        return cls(torch.stack([centre, none], 1), torch.stack([none, error], 1))

    @classmethod
    def by_planes(cls, planes: Planes, error: Tensor) -> Substitution:
        """A coefficient a of a function, whatever its sign, is at most a on half the sum of its planes and |a| on half of their difference."""

        def half(one: Tensor, other: Tensor, sign: int) -> Tensor:
            return (one + sign * other) / 2

        upper, lower, none = planes.upper, planes.lower, torch.zeros_like(error)
        slopes = list(zip(upper.slopes, lower.slopes, strict=True))
        return cls(
            torch.stack([half(upper.offset, lower.offset, 1), none], 1),
            torch.stack([half(upper.offset, lower.offset, -1), error], 1),
            tuple(half(x, y, 1)[:, None] for x, y in slopes),
            tuple(half(x, y, -1)[:, None] for x, y in slopes),
        )


@dataclass(frozen=True, eq=False)
class Reached:
    """Rows substituted back: row <= centre + slack + sum over frames of inputs[k] . delta_k, up to what the planes leave out.

    slack covers rounding. inputs, nonlinear: the coefficients on the frames and on the nonlinear nodes that were met.
    shape: centre, slack [B, R]; each coefficient [B or 1, R, width].
    """

    centre: Tensor
    slack: Tensor
    inputs: Mapping[int, Tensor]
    nonlinear: Mapping[int, Tensor]


def batched(rows: Tensor) -> Tensor:
    """shape: [R, width] or [B, R, width] -> [B or 1, R, width]."""
    return rows if rows.dim() == 3 else rows[None]


def added(total: Tensor, v: Tensor, a: Tensor) -> Tensor:
    """shape: [B, 2, R] + [B, 2, w] . [B or 1, R, w]."""
    return torch.baddbmm(total, v, a.mT.expand(len(v), -1, -1))


def inner(a: Tensor, v: Tensor) -> Tensor:
    """shape: [B or 1, R, w] . [B, w] -> [B, R]."""
    return torch.bmm(v[:, None], a.mT.expand(len(v), -1, -1))[:, 0]  # twice as fast as the other way round


def dense(weight: Tensor | None, width: int, like: Tensor) -> Tensor:
    return torch.eye(width, dtype=like.dtype, device=like.device) if weight is None else weight
