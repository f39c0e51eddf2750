"""What nodes do when the input moves, and what parabolas add to their planes, as quadratic forms of the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from flint import arb_mat

from .balls import Balls, joined, rows_of, sum_of_products, widened
from .errors import InvalidError
from .network import Node, Ref
from .parabolas import cushion
from .statement import Statement, both_ways
from .vectors import NEVER, Array, Vector, matrix, vector


@dataclass(frozen=True)
class Followed:
    """Rows substituted back by parabolas' planes, as `Walked`, in balls that may be sent from a process to another."""

    constant: Balls
    inputs: dict[int, Balls]
    nonlinear: dict[int, Balls]


@dataclass(frozen=True)
class Bent:
    """What parabolas add to their planes: 1/2 z' form z + constant; above for every unit, then, negated, below. Of forms the lower triangle."""

    forms: Balls
    constant: Balls
    size: int


@dataclass(frozen=True)
class Motion:
    """What a node's units are: centre + linear . z +- residual where known, else centre +- residual. lost: by the chart; left: of its rows."""

    centre: Vector
    residual: Vector
    linear: Balls
    known: list[bool]
    lost: Vector
    left: dict[int, Balls]


@dataclass(frozen=True)
class Curved:
    """Rows are at most constant + inputs . (delta - offset) + 1/2 z' form z. size: of z. forms: lower triangles, unless size is too large."""

    constant: Balls
    inputs: dict[int, Balls]
    forms: Balls
    size: int


class Forms:
    """parabolas: by node, a unit each, the centre and what is stated above and below. followed: the rows that motions and margins need, by node.

    First the rows are substituted back (`follow`, in any order), then `bend` makes motions and forms of them, node by node.
    """

    def __init__(self, stated: Statement, rows: Array, split: tuple[float, float]) -> None:
        self.stated, self.split = stated, split
        self.parabolas: dict[int, tuple[list[Vector], list[Vector], list[Vector]]] = {}
        self.followed = {i: both_ways(stated.nodes[i].width) for i in stated.claimed if f"{i}.motion" in stated.arrays}
        self.moving = set(self.followed)
        if stated.bases:
            self.followed[len(stated.nodes) - 1] = rows
        self.walked: dict[int, Followed | None] = {}
        self.motions: dict[int, Motion] = {}
        self.bent: dict[int, Bent] = {}

    def follow(self, i: int) -> Followed | None:
        """Rows of node i substituted back by parabolas, where all are known."""
        found = self.stated.walk(i, matrix(self.followed[i]), self.stated.bases)
        if found is None:
            return None
        inputs, nonlinear = (
            {k: Balls.around(a.entries(), a.nrows(), a.ncols()) for k, a in part.items()} for part in (found.inputs, found.nonlinear)
        )
        return Followed(Balls.around(found.constant), inputs, nonlinear)

    def bend(self) -> None:
        for i, node in enumerate(self.stated.nodes):
            if i in self.stated.bases:
                self.bent[i] = self._bent(i, node)
            if i in self.moving:
                self.motions[i] = self._motion(i, self.stated.array(f"{i}.motion", 3, node.width))

    def _motion(self, i: int, stated: Array) -> Motion:
        """stated: centre, residual, and whether a unit is linear but for the residual or anywhere in its box."""
        width, half = stated.shape[1], Balls.exactly(np.array(0.5))
        linear: dict[int, Balls] = {}
        left: dict[int, Balls] = {}
        walked = self.walked[i]
        if walked is not None and not stated[2].any():  # none is linear, of as many coordinates
            linear = {k: Balls.exactly(np.zeros((width, a.mid.shape[1]))) for k, a in walked.inputs.items()}
        elif stated[2].any():
            if walked is None:
                raise InvalidError(f"{self.stated.nodes[i].name}: parabolas of what its motion follows from are missing")
            for k, a in walked.inputs.items():
                above, below = a[:width] * half, a[width:] * half
                linear[k], left[k] = above - below, above + below
        z, lost = self.stated.region.slots(linear, width)
        known = stated[2] != 0
        return Motion(vector(stated[0]), vector(stated[1]), z.each(lambda a: np.where(known[:, None], a, 0.0)), known.tolist(), lost.arbs(), left)

    def _moves(self, ref: Ref) -> tuple[Vector, Vector, Balls]:
        """Centre, residual and linear motion of part of a node."""
        i, part = ref[0], slice(ref[1], ref[2])
        if self.stated.live[i]:
            motion = self.motions[i]
            return motion.centre[part], motion.residual[part], motion.linear[part]
        ends = [lo.union(hi) for lo, hi in self.stated.boxes[i][part]]
        return [v.mid() for v in ends], [v.rad() for v in ends], Balls.exactly(np.zeros((len(ends), 0)))

    def _bent(self, i: int, node: Node) -> Bent:
        """The forms of one node's parabolas, which are kept for its check."""
        motions = [self._moves(r) for r in node.args]
        size, arity = max(m[2].mid.shape[1] for m in motions), len(motions)
        seen = self._seen(size)
        jacobian, (rows, columns) = joined([widened(m[2], size)[:, None, :seen] for m in motions], 1), np.tril_indices(seen)
        centres, residuals = ([list(c) for c in zip(*(m[k] for m in motions), strict=True)] for k in (0, 1))
        steps = [
            [abs(hi - c).max(abs(c - lo)) for c, (lo, hi) in zip(centre, box, strict=True)]
            for centre, box in zip(centres, self.stated.arguments(node), strict=True)
        ]
        sides, forms, constants = [], [], []
        for name, sign in (("above", 1), ("below", -1)):
            sides.append(list(map(vector, self.stated.parabola(i, node, name).T)))
            bends = [[sign * k for k in row[arity + 1 :]] for row in sides[-1]]
            cushions = [
                cushion(arb_mat([k] if arity == 1 else [k[:2], k[1:]]), r, t, self.split) for k, r, t in zip(bends, residuals, steps, strict=True)
            ]
            weights = Balls.around([v for w, _ in cushions for v in w.entries()], node.width, arity, arity)
            forms.append((jacobian.mT @ (weights @ jacobian))[:, rows, columns])
            constants.append(Balls.around([c for _, c in cushions]))
        self.parabolas[i] = centres, sides[0], sides[1]
        return Bent(joined(forms, 0), joined(constants, 0), size)

    def _seen(self, size: int) -> int:
        """Of how many coordinates forms are made: all or none."""
        return size if size <= self.stated.region.most else 0

    def curved(self, i: int) -> Curved | None:
        """The rows that were followed from node i, with what parabolas add; None where a parabola is missing."""
        walked = self.walked.get(i)
        if walked is None:
            return None
        size = max((self.bent[j].size for j in walked.nonlinear), default=0)
        signs = {j: joined([a.positive(), (-a).positive()], 1) for j, a in walked.nonlinear.items()}
        constant = walked.constant
        for j, a in signs.items():
            constant += a @ self.bent[j].constant
        forms = sum_of_products([(a, self.bent[j].forms) for j, a in signs.items()]) if self._seen(size) else constant[:, None]
        return Curved(constant, walked.inputs, forms, size)

    def tops(self, i: int, found: Curved, name: str, inputs: Mapping[int, Balls], rows: Sequence[int]) -> Vector:
        """Upper bounds of some rows over the set, with other linear parts perhaps, by the multipliers of that name."""
        region, size, count = self.stated.region, found.size, len(found.constant)
        seen = self._seen(size)
        if size and not seen:
            return [NEVER] * len(rows)
        together = region.joint and size > 0
        linear, lost = region.slots(dict(inputs) if together else {}, count)
        beside = {k: a for k, a in inputs.items() if not together or region.frames.index(k) >= size // region.width}
        plain = self.stated.supports(rows_of(beside), (found.constant + lost).arbs(), f"{i}.{name}_lifts", range(count))
        if not size:
            return [plain[r] for r in rows]
        row, column = np.indices((seen, seen))
        places = np.maximum(row, column) * (np.maximum(row, column) + 1) // 2 + np.minimum(row, column)
        linear, multipliers = widened(linear[:, :size], size), self.stated.arrays[f"{i}.{name}"]
        return [plain[r] + region.top(found.forms[r][places], linear[r], multipliers[r]) for r in rows]
