"""What a certificate states of the nodes of one piece of the set, and rows substituted back to the inputs by what is stated.

Everything is taken as it stands here: later nodes use it at once, and each node's part is checked on its own (`proof`), in any order.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from flint import arb, arb_mat, ctx

from .errors import InvalidError
from .functions import value_range
from .network import Node, Ref
from .region import Region
from .vectors import ONE, ZERO, Array, Interval, Vector, column, diagonal, matrix, vector

#: Bits of Arb's arithmetic; more for every frame, as a walk's enclosures widen at each.
BITS, BITS_A_FRAME = 64, 2
#: Bits of values that do not move: their enclosures widen at every step of a long sequence.
STILL_BITS = 512

#: Slopes by argument, then offsets; one entry a unit.
Plane = list[Vector]
#: Halfway between a node's upper and lower planes, and half their gap: a y <= a middle + |a| half for both signs of a.
Halves = tuple[Plane, Plane]
#: Coefficients on the frames or on nonlinear nodes, a row each.
Coefficients = dict[int, arb_mat]


@dataclass(frozen=True)
class Walked:
    """Rows substituted back: constant + inputs . (delta - offset) + what the nonlinear nodes' planes leave out, by their coefficients."""

    constant: Vector
    inputs: Coefficients
    nonlinear: Coefficients


def both_ways(width: int) -> Array:
    """The rows of every unit, and of every unit negated."""
    return np.concatenate([np.eye(width), -np.eye(width)])


def halves(upper: Sequence[Vector], lower: Sequence[Vector]) -> Halves:
    pairs = [list(zip(*rows, strict=True)) for rows in zip(upper, lower, strict=True)]
    return [[(u + v) / 2 for u, v in row] for row in pairs], [[(u - v) / 2 for u, v in row] for row in pairs]


class Statement:
    """planes, bases and ranges: by node, those stated, those of the parabolas, and constant ones. claimed: the nodes whose boxes are stated."""

    def __init__(self, nodes: list[Node], region: Region, arrays: dict[str, Array]) -> None:
        self.nodes, self.region, self.arrays = nodes, region, arrays
        self.live: list[bool] = []
        self.boxes: list[list[Interval]] = []
        self.claimed: set[int] = set()
        self.planes: dict[int, Halves] = {}
        self.bases: dict[int, Halves] = {}
        self.ranges: dict[int, Halves] = {}
        asked, bits = {r[0] for n in nodes for r in n.args}, BITS + BITS_A_FRAME * len(region.x)
        for i, node in enumerate(nodes):
            self.live.append(node.frame in region.radii or any(self.live[r[0]] for r in [*node.args, *(r for r, _ in node.terms)]))
            self.boxes.append([])
            ctx.prec = bits if self.live[i] else STILL_BITS
            self.boxes[i] = self._box(i, node)
            if self.live[i] and node.op:
                self._read_planes(i, node)
            if self.live[i] and i in asked:
                self._read_box(i, node)
        ctx.prec = bits

    def array(self, name: str, *shape: int) -> Array:
        if name not in self.arrays or self.arrays[name].shape != shape:
            raise InvalidError(f"array {name!r} of the shape {list(shape)} is missing")
        return self.arrays[name]

    def parabola(self, i: int, node: Node, side: str) -> Array:
        """Stated of each unit: slopes, offset, curvature."""
        arity = len(node.args)
        return self.array(f"{i}.{side}", arity + 1 + arity * (arity + 1) // 2, node.width)

    def arguments(self, node: Node) -> list[list[Interval]]:
        """Per unit, the boxes of its arguments."""
        return [list(c) for c in zip(*(self.boxes[i][start:stop] for i, start, stop in node.args), strict=True)]

    def _box(self, i: int, node: Node) -> list[Interval]:
        """What follows from earlier boxes alone; nothing for an affine map that moves."""
        if node.frame is not None:
            r = self.region.radii.get(node.frame, ZERO)
            return [(v - r, v + r) for v in vector(self.region.x[node.frame])]
        if node.op:
            found = [value_range(node.op, box) for box in self.arguments(node)]
            self.ranges[i] = halves([[hi for _, hi in found]], [[lo for lo, _ in found]])
            return found
        if self.live[i]:
            return []
        value = self.walk(i, diagonal([ONE] * node.width), self.ranges)
        return [(v, v) for v in value.constant] if value else []

    def _read_planes(self, i: int, node: Node) -> None:
        count = len(node.args) + 1
        if f"{i}.upper" in self.arrays:
            upper, lower = (matrix(self.array(f"{i}.{side}", count, node.width)).table() for side in ("upper", "lower"))
            self.planes[i] = halves(upper, lower)
        if f"{i}.above" in self.arrays:
            above, below = (self.parabola(i, node, side)[:count] for side in ("above", "below"))
            self.bases[i] = halves(matrix(above).table(), matrix(below).table())

    def _read_box(self, i: int, node: Node) -> None:
        self.claimed.add(i)
        box = self.array(f"{i}.box", 2, node.width)
        self.boxes[i] = list(zip(vector(box[0]), vector(box[1]), strict=True))
        if not node.op:  # a walk from later nodes may end here; one from this node goes on
            self.ranges[i] = halves([vector(box[1])], [vector(box[0])])

    def walk(self, top: int, rows: arb_mat, planes: Mapping[int, Halves]) -> Walked | None:
        """Substitute rows @ value(top) back to the inputs, through upper planes where a coefficient is positive, else through lower ones.

        None where a plane is missing.
        """
        pending: dict[int, dict[tuple[int, int], arb_mat]] = {top: {(0, rows.ncols()): rows}}
        constant = arb_mat(rows.nrows(), 1)
        inputs: Coefficients = {}
        nonlinear: Coefficients = {}

        def add(ref: Ref, a: arb_mat) -> None:
            parts, key = pending.setdefault(ref[0], {}), ref[1:]
            parts[key] = parts[key] + a if key in parts else a

        for i in range(top, -1, -1):
            parts, node = pending.pop(i, {}), self.nodes[i]
            if not parts:
                continue
            a = gathered(parts, node.width)
            if node.frame is not None:
                x, offset = vector(self.region.x[node.frame]), vector(self.region.offset[node.frame])
                constant += a * column(list(map(operator.add, x, offset)))
                if self.live[i]:
                    inputs[node.frame] = a
            elif not self.live[i] and self.boxes[i]:
                constant += a * column([lo.union(hi) for lo, hi in self.boxes[i]])
            elif not node.op and (i == top or i not in planes):
                constant += a * column(node.bias)
                for ref, weight in node.terms:
                    add(ref, a if weight is None else a * weight)
            elif i not in planes:
                return None
            else:
                nonlinear[i] = a
                for part, plane in zip((a, arb_mat(a.nrows(), a.ncols(), list(map(abs, a.entries())))), planes[i], strict=True):
                    constant += part * column(plane[-1])
                    for ref, slope in zip(node.args, plane[:-1], strict=len(plane) > 1):
                        add(ref, part * diagonal(slope))
        return Walked(constant.entries(), inputs, nonlinear)

    def supports(self, inputs: Mapping[int, list[Vector]], constant: Vector, lifts: str, rows: Sequence[int]) -> Vector:
        """Upper bounds of constant + inputs . (delta - offset), a row each. rows: which of those they are for which there may be lifts."""
        lift = self.arrays[lifts].ravel()[rows].tolist() if lifts in self.arrays else [0.0] * len(constant)
        return [c + self.region.support({k: a[n] for k, a in inputs.items()}, lift[n]) for n, c in enumerate(constant)]


def gathered(parts: dict[tuple[int, int], arb_mat], width: int) -> arb_mat:
    """Coefficients on parts start..stop of a node as coefficients on all of it."""
    if len(parts) == 1 and (0, width) in parts:
        return parts[0, width]
    table: list[list[arb]] = [[ZERO] * width for _ in range(next(iter(parts.values())).nrows())]
    for (start, stop), part in parts.items():
        for row, new in zip(table, part.table(), strict=True):
            row[start:stop] = map(operator.add, row[start:stop], new)
    return arb_mat(table)
