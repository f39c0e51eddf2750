"""What is stated of all operations' graphs at once: every value of an operation is an unknown beside the frames' coordinates.

For quadratics q_j of an operation's arguments and value, M_j the largest value of q_j on its graph over the arguments' box, and multipliers lam >= 0,

    row . value  <=  sum_j M_j + sum_g lam_g radius_g^2 / 2 + max over xi of (row . xi - sum_j q_j(Y_j) - sum_g lam_g |xi_g|^2 / 2),

where Y_j, what an operation reads and gives as a distance from a centre, is affine in the unknowns xi. Any q_j and any centre are sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from flint import arb

from .balls import Balls, joined, widened
from .concave import Peak
from .constraints import Axis, axes_of, highest
from .errors import InvalidError
from .functions import VALUES
from .network import Node, Ref
from .statement import Statement
from .vectors import NEVER, ZERO, Array, Vector, total, vector

#: Problems of more unknowns are not looked at: who writes certificates makes none, and they would take much memory.
MOST_UNKNOWNS = 4096
#: Where the numbers of a constraint stand in its matrix.
ROWS, COLUMNS = np.triu_indices(3)


@dataclass(frozen=True)
class Affine:
    """A node's value: constant + sum over frames of inputs . delta + values . v. shape: [w]; [w, n] each; [w, V]."""

    constant: Balls
    inputs: dict[int, Balls]
    values: Balls

    def part(self, ref: Ref) -> Affine:
        cut = slice(ref[1], ref[2])
        return Affine(self.constant[cut], {k: a[cut] for k, a in self.inputs.items()}, self.values[cut])

    def through(self, weight: Balls) -> Affine:
        return Affine(weight @ self.constant, {k: weight @ a for k, a in self.inputs.items()}, weight @ self.values)

    def plus(self, other: Affine) -> Affine:
        inputs = {**self.inputs, **other.inputs} | {k: self.inputs[k] + other.inputs[k] for k in self.inputs.keys() & other.inputs.keys()}
        return Affine(self.constant + other.constant, inputs, self.values + other.values)


@dataclass(frozen=True)
class Graph:
    """A node's operations: their values' centres; Y of (1, unknowns); their factors on their boxes, by unit, once they are asked for.

    shape: centre [3, w], seen [w, 3, N].
    """

    node: Node
    centre: Array
    seen: Balls
    axes: dict[int, tuple[Axis, Axis]]


class Joint:
    """Constraints on the graphs below the last node, whose rows these are."""

    def __init__(self, stated: Statement, rows: Array) -> None:
        self.stated, self.rows, self.region = stated, rows, stated.region
        self.top = len(stated.nodes) - 1
        self.graphs: dict[int, Graph] = {}

    def stands(self) -> bool:
        """Whether anything is stated, of a set that these bounds are for."""
        return f"{self.top}.balls" in self.stated.arrays and self.region.direction is None

    def tops(self, rows: Sequence[int]) -> Vector:
        """Upper bounds of some of the rows."""
        output = self._trace()
        return [self._top(r, output) for r in rows]

    # -- every node as an affine function of the unknowns ---------------------------------------------------------------

    def _trace(self) -> Balls:
        """Of the last node, (1, unknowns). shape: [w, N]."""
        stated, region = self.stated, self.region
        live = [i for i, node in enumerate(stated.nodes) if stated.live[i]]
        self.count = sum(stated.nodes[i].width for i in live if stated.nodes[i].op)
        multipliers = stated.arrays[f"{self.top}.balls"]
        self.multipliers = stated.array(f"{self.top}.balls", len(self.rows), *multipliers.shape[1:2])
        #: Coordinate by coordinate, where a ball of the infinity norm has so many multipliers; else by slots.
        self.flat = region.norm is None and multipliers.shape[-1] == len(region.frames) * region.x.shape[1]
        size = len(region.frames) * (region.x.shape[1] if self.flat else region.width)
        if 1 + size + self.count > MOST_UNKNOWNS:
            raise InvalidError("its joint bounds have too many unknowns")
        self.middle: dict[int, Balls] = {}
        if self.flat:
            ends = [region.ends(k) for k in region.frames]
            self.middle = {k: Balls.exactly(np.array([float((lo + hi) / 2) for lo, hi in e])) for k, e in zip(region.frames, ends, strict=True)}
            middles = [vector(self.middle[k].mid) for k in region.frames]
            self.radii = Balls.around(
                [(hi - m).max(m - lo) for e, row in zip(ends, middles, strict=True) for (lo, hi), m in zip(e, row, strict=True)]
            )
            self.group = 1
        else:
            self.radii, self.group = region.room(size).radii, region.group
            self.middle = {k: Balls.exactly(region.middle(k)) for k in region.frames}  # which those balls are about
        self.size = size
        self.reach = [self.radii.each(lambda a: a.repeat(self.group)).most()]
        self.affine: dict[int, Affine] = {}
        for i, node in enumerate(stated.nodes):
            self.affine[i] = self._affine(i, node)
        return self._placed(self.affine[self.top])

    def _affine(self, i: int, node: Node) -> Affine:
        blank = Balls.exactly(np.zeros((node.width, self.count)))
        if not self.stated.live[i]:
            return Affine(Balls.around([lo.union(hi) for lo, hi in self.stated.boxes[i]]), {}, blank)
        if node.frame is not None:
            eye, x = Balls.exactly(np.eye(node.width)), Balls.exactly(self.region.x[node.frame])
            return Affine(x + self.middle[node.frame], {node.frame: eye}, blank)
        if node.op:
            return self._graph(i, node)
        found = Affine(Balls.around(node.bias), {}, blank)
        for ref, weight in node.terms:
            part = self.affine[ref[0]].part(ref)
            found = found.plus(part if weight is None else part.through(Balls.around(weight.entries(), weight.nrows(), weight.ncols())))
        return found

    def _graph(self, i: int, node: Node) -> Affine:
        """An operation's value, which is an unknown of its own; what constraints see of it is kept."""
        arguments = [self.affine[r[0]].part(r) for r in node.args]
        centres = [a.constant.mid for a in arguments]
        value = np.array([float(VALUES[node.op](*map(arb, at))) for at in zip(*(c.tolist() for c in centres), strict=True)])
        done = sum(len(g.centre[0]) for g in self.graphs.values())
        own = Affine(Balls.exactly(value), {}, Balls.exactly(np.eye(node.width, self.count, done)))
        three = [*(replace(a, constant=a.constant - Balls.exactly(c)) for a, c in zip(arguments, centres, strict=True))]
        blank = np.zeros((node.width, 1 + self.size + self.count))
        seen = [*map(self._placed, three), *[Balls.exactly(blank)] * (2 - len(three)), self._placed(replace(own, constant=Balls.exactly(0 * value)))]
        centres += [np.zeros(node.width)] * (2 - len(three))
        self.graphs[i] = Graph(node, np.stack([*centres, value]), joined([s[:, None] for s in seen], 1), {})
        ends = self.stated.boxes[i]
        self.reach.append(Balls.around([(hi - c).max(c - lo) for (lo, hi), c in zip(ends, vector(value), strict=True)]).most())
        return own

    def _placed(self, a: Affine) -> Balls:
        """Coefficients of (1, unknowns). shape: [w, N]."""
        width = len(a.constant)
        if self.flat:
            none = Balls.exactly(np.zeros((width, self.region.x.shape[1])))
            z, constant = joined([a.inputs.get(k, none) for k in self.region.frames], 1), a.constant
        else:
            z, lost = self.region.slots(a.inputs, width)
            z, constant = widened(z, self.size), a.constant + within(lost.most())
        return joined([constant[:, None], z, a.values], 1)

    # -- one row --------------------------------------------------------------------------------------------------------

    def _top(self, r: int, output: Balls) -> arb:
        """An upper bound of a row: unknowns without a constraint of their own are anywhere in their boxes."""
        lam = self.multipliers[r]
        if lam.shape != self.radii.mid.shape or (lam < 0).any():
            return NEVER
        most, linear, matrix, seen, used = ZERO, [], [], [], [(lam > 0).repeat(self.group)]
        for i, graph in self.graphs.items():
            name, shape = f"{i}.joint", (len(self.rows), 9, graph.node.width)
            numbers = (self.stated.array(name, *shape) if name in self.stated.arrays else np.zeros(shape))[r]
            stated = numbers.any(0)
            used.append(stated)
            for u in stated.nonzero()[0].tolist():
                q = np.zeros((3, 3))
                q[ROWS, COLUMNS] = q[COLUMNS, ROWS] = numbers[3:, u]
                most += self._highest(i, u, numbers[:3, u], q)
                linear.append(numbers[:3, u])
                matrix.append(q)
            seen.append(graph.seen[stated])
        kept, reach = np.concatenate(used), np.concatenate(self.reach)
        if not linear or not kept.any():
            return NEVER
        row = self._kept(Balls.exactly(self.rows[r : r + 1]) @ output, kept, reach)[0]
        y = self._kept(joined(seen, 0), kept, reach)
        flat = y.each(lambda a: a.reshape(-1, a.shape[-1]))
        bent = (Balls.exactly(np.stack(matrix)) @ y).each(lambda a: a.reshape(-1, a.shape[-1]))
        form, slope = flat.mT @ bent, row - (Balls.exactly(np.concatenate(linear)[None]) @ flat)[0]
        weights = np.concatenate([lam.repeat(self.group), np.zeros(self.count)])[kept]
        peak = Peak.guessed(Balls.exactly(np.diag(weights)) + form[1:, 1:], slope[1:] - form[0, 1:])
        if peak is None:
            return NEVER
        far = Balls.exactly(reach[kept])
        beside, off = abs(peak.beside) @ far, (abs(peak.off) @ far)[None] @ far
        balls = total(w * radius * radius for w, radius in zip(vector(lam), self.radii.arbs(), strict=True))
        (fixed,), (bend,), (square,), (left,), (lost,) = (x.each(np.atleast_1d).arbs() for x in (slope[0], form[0, 0], peak.square, beside, off))
        return most + fixed - bend / 2 + (balls + square + lost) / 2 + left

    def _kept(self, a: Balls, kept: Array, reach: Array) -> Balls:
        """Coefficients of 1 and of the unknowns that are kept; what the others add is part of the constant's. shape: [.., N] -> [.., 1 + K]."""
        rest = (abs(a[..., 1:][..., ~kept]) @ Balls.exactly(reach[~kept])).most()
        return joined([(a[..., 0] + within(rest))[..., None], a[..., 1:][..., kept]], -1)

    def _highest(self, i: int, u: int, linear: Array, matrix: Array) -> arb:
        graph = self.graphs[i]
        if u not in graph.axes:
            graph.axes[u] = axes_of(graph.node.op, self.stated.arguments(graph.node)[u])
        return highest(graph.node.op, graph.axes[u], graph.centre[:, u], linear, matrix)


def within(most: Array) -> Balls:
    """Around 0."""
    return Balls(np.zeros_like(most), most)
