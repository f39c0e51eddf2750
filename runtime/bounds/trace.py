"""Every node below one, in one row of a batch, as an affine function of the frames and of the values of operations (`joint`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vlang.runtime import rounding
from vlang.runtime.bounds.quadratic import Quadratic
from vlang.runtime.graph.nodes import Affine, Input, Nonlinear, Ref, parents
from vlang.runtime.products import by_row
from vlang.runtime.relaxations import RELAXATIONS
from vlang.runtime.sets.ball import Ball
from vlang.words.methods import LARGEST_NAMED_FLAT

#: What moves by less than this share of what is around it is taken to rest.
RESTING = 1e-9


@dataclass(frozen=True, eq=False)
class Linear:
    """A node's value: centre + sum over frames of inputs[k] . delta_k + values . v, up to error; no partial sum of it is larger than size.

    shape: centre, error, size [w]; inputs each [w, n]; values [w, V].
    """

    centre: Tensor
    inputs: Mapping[int, Tensor]
    values: Tensor
    error: Tensor
    size: Tensor

    def part(self, ref: Ref) -> Linear:
        cut = slice(ref.start, ref.stop)
        return Linear(self.centre[cut], {k: a[cut] for k, a in self.inputs.items()}, self.values[cut], self.error[cut], self.size[cut])

    def through(self, weight: Tensor) -> Linear:
        """weight @ this, its own roundings not counted."""
        error, size = (by_row(x[None], weight.abs())[0] for x in (self.error, self.size))
        return Linear(by_row(self.centre[None], weight)[0], {k: weight @ a for k, a in self.inputs.items()}, weight @ self.values, error, size)

    def plus(self, other: Linear) -> Linear:
        inputs = {**self.inputs, **other.inputs} | {k: self.inputs[k] + other.inputs[k] for k in self.inputs.keys() & other.inputs.keys()}
        return Linear(self.centre + other.centre, inputs, self.values + other.values, self.error + other.error, self.size + other.size)

    def rounded(self, roundings: int) -> Linear:
        """With room for so many roundings."""
        return replace(self, error=rounding.up(self.error, self.error + self.size, roundings))


@dataclass(frozen=True, eq=False)
class Operations:
    """Units of a nonlinear node whose values move. Of two arguments (the second of one-argument functions is 0) and the value: what they are at the
    centre, how far from there they may be, what they are of xi, and by how much that may be wrong. low, high: the arguments' box. kept: which units.

    shape: kept [w], low, high [K, w]; centre, reach, error [3, w]; rows [3, w, D].
    """

    node: int
    op: str
    kept: Tensor
    low: Tensor
    high: Tensor
    centre: Tensor
    reach: Tensor
    error: Tensor
    rows: Tensor


@dataclass(frozen=True, eq=False)
class Boxes:
    """Balls of the infinity norm, cut by a clip, coordinate by coordinate: delta_k is middle[k] + z within half[k]. shape: [n] a frame."""

    middle: Mapping[int, Tensor]
    half: Mapping[int, Tensor]

    @classmethod
    def of(cls, walk: Quadratic, b: int) -> Boxes | None:
        """None for other norms, and where there are too many coordinates."""
        region = walk.region
        frames = region.moved[b].nonzero().flatten().tolist()
        if not isinstance(region, Ball) or region.norm is not None or len(frames) * walk.nominal.inputs.shape[-1] > LARGEST_NAMED_FLAT:
            return None
        middle, half = {}, {}
        for k in frames:
            high = region.radii[b, k].expand_as(walk.nominal.inputs[b, k])
            low = -high
            if region.clip is not None:
                low, high = torch.maximum(low, -region.clip[0][b, k]), torch.minimum(high, region.clip[1][b, k])
            middle[k] = (low + high) / 2
            half[k] = rounding.enlarged(torch.maximum(high - middle[k], middle[k] - low), rounding.LITTLE_ROOM)
        return cls(middle, half)


class Trace:
    """Every node below one, in one row of the batch, as an affine function of the frames and of the operations' values."""

    def __init__(self, walk: Quadratic, b: int, top: int) -> None:
        self.walk, self.b, self.top = walk, b, top
        self.boxes = Boxes.of(walk, b)
        nodes = walk.nominal.graph.nodes
        needed = {top}
        for i in range(top, -1, -1):
            if i in needed:
                needed |= {r.node for r in parents(nodes[i])}
        self.count = sum(nodes[i].width for i in needed if isinstance(nodes[i], Nonlinear))
        self.operations: list[Operations] = []
        self.columns: list[Tensor] = []  # of the values, those of units that move
        self.linear: dict[int, Linear] = {}
        first = 0
        for i in sorted(needed):
            node = nodes[i]
            if not self._moves(i):
                self.linear[i] = self._resting(i)
            elif isinstance(node, Input):
                self.linear[i] = self._input(i, node)
            elif isinstance(node, Affine):
                self.linear[i] = self._affine(node)
            elif isinstance(node, Nonlinear):
                self.linear[i] = self._operations(i, node, first)
            if isinstance(node, Nonlinear):
                first += node.width

    def _moves(self, i: int) -> bool:
        return self.walk.live[i] and (i not in self.walk.some or bool(self.walk.some[i][self.b]))

    def _blank(self, width: int) -> Tensor:
        return self.walk.nominal.inputs.new_zeros(width, self.count)

    def _resting(self, i: int) -> Linear:
        value = self.walk.nominal.values[i][self.b]
        blur = self.walk.blur[i][self.b] if i in self.walk.blur else torch.zeros_like(value)
        return Linear(value, {}, self._blank(len(value)), blur, value.abs() + blur)

    def _input(self, i: int, node: Input) -> Linear:
        x = self.walk.nominal.inputs[self.b, node.frame]
        eye = torch.eye(node.width, dtype=x.dtype, device=x.device)
        size = x.abs() + self.walk.region.reach(node.frame)[self.b]
        if self.boxes is None or node.frame not in self.boxes.middle:
            return Linear(x, {node.frame: eye}, self._blank(node.width), torch.zeros_like(x), size)
        return Linear(x + self.boxes.middle[node.frame], {node.frame: eye}, self._blank(node.width), rounding.pad(size, 4), size)

    def _affine(self, node: Affine) -> Linear:
        total = Linear(node.bias, {}, self._blank(node.width), torch.zeros_like(node.bias), node.bias.abs())
        roundings = node.roundings + 8
        for term in node.terms:
            part = self.linear[term.ref.node].part(term.ref)
            roundings += term.ref.width + 2
            total = total.plus(part if term.weight is None else part.through(term.weight))
        total = total.rounded(2 * roundings)
        if self.walk.nominal.deployed:
            beside = node.size + sum((self.linear[r.node].part(r).size for r in node.beside), torch.zeros_like(node.size))
            total = replace(total, error=total.error + rounding.deployed(rounding.enlarged(total.size + total.error + beside), roundings))
        return total

    def _operations(self, i: int, node: Nonlinear, first: int) -> Linear:
        f, b = RELAXATIONS[node.op], self.b
        arguments = [self.linear[r.node].part(r) for r in node.args]
        boxes = [self.walk.boxes[r.node] for r in node.args]
        low = torch.stack([lo[b, r.start : r.stop] for (lo, _), r in zip(boxes, node.args, strict=True)])
        high = torch.stack([hi[b, r.start : r.stop] for (_, hi), r in zip(boxes, node.args, strict=True)])
        value = f.value(*(a.centre for a in arguments))
        lowest, highest_ = (end[b] for end in self.walk.boxes[i])
        rows, lost = zip(*(self.placed(a) for a in arguments), strict=True)
        own = value.new_zeros(node.width, rows[0].shape[1])
        own[:, own.shape[1] - self.count + first + torch.arange(node.width, device=own.device)] += torch.eye(node.width, dtype=own.dtype).to(own)
        wrong = torch.zeros_like(value)
        if self.walk.nominal.deployed:
            wrong = self.walk.deployed_error(i, node)[b]
        centre = torch.stack([*(a.centre for a in arguments), value])
        reach = torch.maximum((torch.cat([high, highest_[None]]) - centre).abs(), (torch.cat([low, lowest[None]]) - centre).abs())
        reach = rounding.enlarged(reach + rounding.pad(centre.abs(), 4), rounding.LITTLE_ROOM)
        error = torch.stack([*(a.error + x for a, x in zip(arguments, lost, strict=True)), wrong])
        moving = (highest_ - lowest) > RESTING * (1 + value.abs())
        kept = moving.nonzero()[:, 0]
        if len(kept):
            triples = [three(x[:, kept]) for x in (centre, reach, error, torch.stack([*rows, own]))]
            self.operations.append(Operations(i, node.op, kept, low[:, kept], high[:, kept], *triples))
            self.columns.append(first + kept)
        values = self._blank(node.width)
        values[kept, first + kept] = 1.0
        return Linear(value, {}, values, torch.where(moving, 0.0, reach[-1]), value.abs() + reach[-1])

    def placed(self, a: Linear) -> tuple[Tensor, Tensor]:
        """Coefficients of xi: of z, then of all values; and the most that those of z may be wrong by. shape: [w, D], [w]."""
        coordinates, b = self.walk.coordinates, self.b
        if self.boxes is not None:
            blank = a.values.new_zeros(len(a.values), self.walk.nominal.inputs.shape[-1])
            flat = [a.inputs.get(k, blank) for k in self.boxes.half]
            return torch.cat([*flat, a.values], 1), torch.zeros_like(a.centre)
        z = a.values.new_zeros(len(a.values), coordinates.width * coordinates.radii.shape[1])
        lost = torch.zeros_like(a.centre)
        if a.inputs:
            batch = len(coordinates.radii)
            placed, error = coordinates.place({k: x.expand(batch, -1, -1) for k, x in a.inputs.items()})
            z[:, : placed.shape[-1]] = placed[b]
            lost = lost + (error[b] if isinstance(error, Tensor) else error)
        return torch.cat([z, a.values], 1), lost


def three(x: Tensor) -> Tensor:
    """Of one argument and the value: a second argument that is 0 between them. shape: [2 or 3, ...] -> [3, ...]."""
    return x if len(x) == 3 else torch.stack([x[0], torch.zeros_like(x[0]), x[1]])
