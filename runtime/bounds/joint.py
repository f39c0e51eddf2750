"""Joint bounds: quadratic constraints on the graphs of all operations at once, for the rows of an answer.

Planes and parabolas bound an operation's value and pay what they leave out again at every step. Here the values stay variables: xi holds the moved
frames' coordinates z and every operation's value v_j, as a distance from one at the centre; the arguments of an operation are affine in xi. For any
quadratics q_j of an operation's arguments and value, M_j the largest value of q_j on its graph over the arguments' box, and multipliers d >= 0,

    row . xi  <=  sum_j M_j + sum_g d_g radius_g^2 / 2 + max over xi of (row . xi - sum_j q_j - sum_g d_g |xi_g|^2 / 2),

the last of a concave quadratic where its matrix is definite (runtime/README.md, section 10). The constraints are proposed by an interior point method
that sees points of the graphs (`semidefinite`). The bound that they give is then proved: M_j on whole boxes (`relaxations.constraint`), the rest by
a factorisation (`multipliers.proved`). Boxes are those of `Quadratic`, or of planes where forms would cost more than all of this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import final

import torch
from torch import Tensor

from vlang.runtime import rounding
from vlang.runtime.bounds.coordinates import Chart
from vlang.runtime.bounds.multipliers import Room, proved
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.bounds.quadratic import Quadratic
from vlang.runtime.bounds.semidefinite import Constraints, Problem, constraints
from vlang.runtime.bounds.trace import RESTING, Operations, Trace, three
from vlang.runtime.bounds.walk import Arguments, Box, batched
from vlang.runtime.graph.nodes import Nonlinear
from vlang.runtime.late import LateError
from vlang.runtime.relaxations import RELAXATIONS
from vlang.runtime.relaxations.constraint import Quadratics, highest
from vlang.runtime.relaxations.parabola import vertices
from vlang.runtime.sets.ball import Ball
from vlang.runtime.sets.piece import Piece
from vlang.words.methods import CONSTRAINED, LARGEST_JOINT

#: Points of a graph that the search sees: along the only argument that moves, and along each of two.
ALONE, ALONG = 33, 17
#: Where the numbers of a symmetric matrix that are kept stand in it, and where each of its numbers stands among those.
UPPER, FULL = [0, 1, 2, 4, 5, 8], [0, 1, 2, 1, 3, 4, 2, 4, 5]
#: How near a bound comes to the best of its kind, as a share of it; what the points of graphs that the search did not see may add to it; and how
#: much of the margin at the centre is to be left for a larger eps, for which the same constraints may do, while a step still falls by this share.
NEAR, UNSEEN, LEFT, SLOW = 0.02, 0.12, 0.15, 0.05


@dataclass(frozen=True, eq=False)
class Graphs:
    """Constraints on operations' graphs, q(Y) = linear . Y + 1/2 Y' matrix Y with Y = (arguments, value) as distances from the centre, and
    multipliers of the balls, in the network's own units: what proves a row, and perhaps the same row of another eps.

    by_node: by unit, linear (a, b, v), then the matrix (aa, ab, av, bb, bv, vv), all 0 where there is none. shape: each [9, w]; multipliers [G].
    """

    by_node: Mapping[int, Tensor]
    multipliers: Tensor


@dataclass(eq=False)
class Known:
    """Of the rows of an answer at other eps: constraints that proved them, and which one could not be proved last."""

    graphs: dict[int, Graphs] = field(default_factory=dict)
    hardest: int | None = None


@final
class Joint(Quadratic):
    """Planes and, where they are `wanted`, quadratic bounds at every node, and joint bounds of the rows that are asked for.

    known: for every row of the batch, what proved its rows elsewhere; what proves them here is put there.
    """

    def __init__(self, nominal: Nominal, region: Ball | Piece, chart: Chart | None, wanted: bool = True) -> None:
        super().__init__(nominal, region, chart)
        self.wanted = wanted
        self.known: Sequence[Known] = [Known() for _ in range(len(nominal.inputs))]
        #: What proves rows of the last node that was asked about, by batch row.
        self.graphs: list[dict[int, Graphs]] = [{} for _ in self.known]
        self.asked_about = 0

    def upper(self, node: int, rows: Tensor) -> Tensor:
        rows = batched(rows)
        self.asked_about = rows.shape[1]
        found = (super().upper(node, rows) if self.wanted else self._upper_by_planes(node, rows)).clone()
        if isinstance(self.region, Ball):
            for b in range(found.shape[0]):
                if bool((found[b] > 0).any()):
                    found[b] = self._joint(b, node, rows[b % rows.shape[0]], found[b])
        return found

    def _relax(self, i: int, node: Nonlinear, box: Arguments) -> None:
        if self.wanted:
            super()._relax(i, node, box)
        else:
            self._relax_by_planes(i, node, box)

    def _narrowed(self, i: int) -> Box:
        return super()._narrowed(i) if self.wanted else self._box_by_planes(i)

    def stated(self, b: int) -> Iterator[tuple[str, Tensor]]:
        """What proves rows of the graph's output, of one row of the batch, as certificates name it: nothing where no joint bound was needed."""
        graph, found = self.nominal.graph, self.graphs[b]
        if not found:
            return
        some, count = next(iter(found.values())), self.asked_about
        for i in some.by_node:
            yield f"{i}.joint", torch.stack([found[r].by_node[i] if r in found else torch.zeros_like(some.by_node[i]) for r in range(count)])
        none = torch.zeros_like(some.multipliers)
        yield f"{graph.output}.balls", torch.stack([found[r].multipliers if r in found else none for r in range(count)])

    def _joint(self, b: int, node: int, rows: Tensor, most: Tensor) -> Tensor:
        """Upper bounds of one batch row's rows, no larger than `most`: the hardest first, until one stays above 0. shape: [R, w], [R] -> [R]."""
        form, known = Form.of(Trace(self, b, node)), self.known[b]
        self.graphs[b] = {}
        if form is None:
            return most
        for r in sorted((most > 0).nonzero()[:, 0].tolist(), key=lambda r: (r != known.hardest, -float(most[r]))):
            for graphs in [known.graphs[r], None] if r in known.graphs else [None]:
                tried = form.search(rows[r]) if graphs is None else graphs
                found = most[r] if tried is None else form.upper(rows[r], tried)
                if tried is not None and float(found) < float(most[r]):
                    most[r], self.graphs[b][r] = found, tried
                if float(most[r]) < 0:
                    known.graphs[r] = self.graphs[b][r]
                    break
            if not float(most[r]) < 0:
                known.hardest = r
                break
        return most


class Form:
    """What the joint bounds of one batch row's rows have in common, with xi and the operations' triples in units of about their reach, powers of two.

    radii: of balls of z; moves: which of them are more than points, G. members [D', G]: which coordinates of z those hold. columns [D]: which
    coordinates of all are kept.
    """

    def __init__(
        self, trace: Trace, operations: tuple[Operations, ...], radii: Tensor, moves: Tensor, members: Tensor, columns: Tensor, scale: Tensor
    ) -> None:
        self.trace, self.operations, self.moves, self.columns, self.scale = trace, operations, moves, columns, scale
        own = scale[: len(members)]
        #: Of each ball, its coordinates' scale, and its radius in units of that.
        self.own = (members.mT @ own) / members.sum(0)
        self.radii = radii[moves] / self.own
        #: As a radius a coordinate, whose squares add up to the ball's.
        each = rounding.enlarged((members @ (self.radii / members.sum(0).sqrt())), rounding.LITTLE_ROOM)
        self.members = torch.cat([members, members.new_zeros(len(scale) - len(members), members.shape[1])])
        reach, error = (torch.cat([getattr(o, name) for o in operations], 1) for name in ("reach", "error"))
        #: Which arguments and values move: constraints may depend on no others, whose rows are 0 here. shape: [3, n].
        self.moving = moves = reach > RESTING * (1 + torch.cat([o.centre for o in operations], 1).abs())
        self.unit = torch.where(moves, _power(reach), 1.0)
        self.reach, self.error = reach / self.unit, error / self.unit
        values = reach[-1] / scale[len(members) :]
        self.each = torch.cat([each, values])
        #: How far a coordinate alone may be from 0: all of its ball's radius.
        self.alone = torch.cat([rounding.enlarged(members @ self.radii, rounding.LITTLE_ROOM), values])
        rows = torch.cat([o.rows for o in operations], 1) / self.unit[..., None]
        points = torch.cat([_points(o, max(len(x.low) for x in operations)) for o in operations], 1) / self.unit[..., None]
        self.rows, self.points = (torch.where(moves[..., None], x, 0.0).transpose(0, 1).contiguous() for x in (rows, points))  # [n, 3, ..]

    @classmethod
    def of(cls, trace: Trace) -> Form | None:
        """None where nothing moves, or the search would take too much memory."""
        coordinates = trace.walk.coordinates
        slots = int((coordinates.radii[trace.b] > 0).sum())  # the first: those of other rows are behind
        radii = coordinates.group_radii(slots)[trace.b]
        width, before = coordinates.width * slots, coordinates.width * coordinates.radii.shape[1]
        if trace.boxes is not None:
            radii = torch.cat(list(trace.boxes.half.values())) if trace.boxes.half else radii[:0]
            width = before = len(radii)
        units = sum(o.low.shape[1] for o in trace.operations)
        moves = radii > 0
        if not units or not bool(moves.any()) or units * CONSTRAINED + len(radii) > LARGEST_JOINT:
            return None
        group = torch.arange(len(radii), device=radii.device).repeat_interleave(width // len(radii))
        kept = moves[group].nonzero()[:, 0]
        columns = torch.cat([kept, torch.cat(trace.columns) + before])
        scale = _power(torch.cat([radii[group[kept]], *(o.reach[-1] for o in trace.operations)]))
        members = torch.nn.functional.one_hot(group[kept], len(radii)).to(radii)[:, moves]
        operations = tuple(replace(o, rows=o.rows[..., columns] * scale) for o in trace.operations)
        return cls(trace, operations, radii, moves, members, columns, scale)

    def _objective(self, row: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """row . value of the node: of xi, at the centre (rounded up), and a size for roundings. shape: [w] -> [D], [], []."""
        top = self.trace.linear[self.trace.top].through(row[None]).rounded(2 * len(row) + 16)
        placed, lost = self.trace.placed(top)
        return placed[0, self.columns] * self.scale, top.centre[0] + top.error[0] + lost[0], top.size[0]

    def search(self, row: Tensor, sign: bool = True) -> Graphs | None:
        """Constraints that make the row's bound small; None where none were found. sign: whether no more is wanted than the bound's. shape: [w]."""
        objective, fixed, _ = self._objective(row)
        base, late, before = float(fixed), self.trace.walk.nominal.late, [torch.inf]

        def enough(least: float, most: float) -> bool:
            if late():
                raise LateError
            slow, shown = least > (1 - SLOW) * before[0], (1 + UNSEEN) * least
            before[0] = least
            return (sign and (base + most > 0 or shown < (LEFT - 1) * base or (slow and shown < -base))) or least - most < NEAR * least

        found = constraints(Problem(objective, self.rows, self.points, self.members, self.radii**2), enough)
        return None if found is None else self._in_own_units(found)

    def upper(self, row: Tensor, graphs: Graphs) -> Tensor:
        """An upper bound of row . value of the node, by any constraints: infinite where they bound nothing. shape: [w] -> []."""
        objective, fixed, largest = self._objective(row)
        above, size = self.proved_by(self._in_units(graphs), objective)
        return rounding.up(fixed + above, fixed.abs() + size, 16) + rounding.CHECKED * (size + largest)

    def _in_own_units(self, found: Constraints) -> Graphs:
        """Units are powers of two: nothing is rounded."""
        unit = self.unit.mT
        linear, matrix = found.linear / unit, (found.quadratic / unit[:, :, None] / unit[:, None]).flatten(1)
        numbers, start, by_node = torch.cat([linear, matrix[:, UPPER]], 1).mT, 0, {}
        for o in self.operations:
            by_node[o.node] = numbers.new_zeros(9, self.trace.walk.nominal.graph.nodes[o.node].width)
            by_node[o.node][:, o.kept] = numbers[:, start : start + len(o.kept)]
            start += len(o.kept)
        multipliers = torch.zeros_like(self.moves, dtype=numbers.dtype)
        multipliers[self.moves] = found.multipliers / self.own**2
        return Graphs(by_node, multipliers)

    def _in_units(self, graphs: Graphs) -> Constraints:
        none = graphs.multipliers.new_zeros(9, max(node.width for node in self.trace.walk.nominal.graph.nodes))
        numbers = torch.cat([graphs.by_node.get(o.node, none)[:, o.kept] for o in self.operations], 1)  # what rested there may move here
        # Those found where more moves are others without what rests: any constraints will do, but not their bound with a part left out.
        unit, multipliers = torch.where(self.moving, self.unit, 0.0).mT, graphs.multipliers[self.moves] * self.own**2
        matrix = numbers[3:].mT[:, FULL].view(-1, 3, 3)
        return Constraints(numbers[:3].mT * unit, matrix * unit[:, :, None] * unit[:, None], multipliers)

    def proved_by(self, found: Constraints, objective: Tensor) -> tuple[Tensor, Tensor]:
        """An upper bound of objective . xi by these constraints, and the size of what it adds up."""
        linear, matrix, (n, _, d) = found.linear, found.quadratic, self.rows.shape
        tops, start = [], 0
        for o in self.operations:
            which = slice(start, start + o.low.shape[1])
            start = which.stop
            own = [0, 2] if len(o.low) == 1 else [0, 1, 2]
            unit = self.unit[own, which].mT
            q = Quadratics(linear[which][:, own] / unit, matrix[which][:, own][:, :, own] / unit[:, :, None] / unit[:, None], o.centre[own].mT)
            tops.append(highest(RELAXATIONS[o.op], tuple(o.low), tuple(o.high), q))
        # Arguments and values are not exactly what the rows say.
        pull = linear.abs() + (matrix.abs() @ (self.reach + self.error).mT[..., None])[..., 0]
        every = torch.cat(tops)
        wrong = rounding.enlarged((pull * self.error.mT).sum())
        flat = self.rows.reshape(-1, d)
        form = -(flat.mT @ torch.bmm(matrix, self.rows).reshape(-1, d))
        form = (form + form.mT) / 2
        absolute = flat.abs().mT @ torch.bmm(matrix.abs(), self.rows.abs()).reshape(-1, d)
        error = torch.linalg.matrix_norm(absolute) * (2 * rounding.gamma(9 * n + 64, form.dtype)) + rounding.vanished(d * d)
        slope = objective - linear.reshape(-1) @ flat
        lost = ((objective.abs() + linear.abs().reshape(-1) @ flat.abs()) * self.alone).sum() * (2 * rounding.gamma(3 * n + 64, form.dtype))
        multipliers = self.members @ found.multipliers
        bound = proved(form[None, None], error[None, None], Room(self.each[None]), multipliers[None, None], slope[None, None])[0, 0]
        total, size = every.sum() + wrong + lost + bound, every.abs().sum() + wrong + lost + bound.abs()
        return rounding.up(total, size, n + 16), size


def _power(x: Tensor) -> Tensor:
    """The powers of two next above numbers; 1 for 0."""
    return torch.where(x > 0, torch.ldexp(torch.ones_like(x), torch.frexp(x)[1]), 1.0)


def _points(o: Operations, arity: int) -> Tensor:
    """Points of the operations' graphs as distances from the centre, as many as others of so many arguments have. shape: [3, w, P]."""
    f, count = RELAXATIONS[o.op], ALONE if arity == 1 else ALONG**2
    if len(o.low) == 1:
        y = [vertices(o.low[0][None], o.high[0][None], f.kinks, count)[:, 0]]
    else:
        moves = o.reach[:2] > RESTING * (1 + o.centre[:2].abs())
        steps = torch.linspace(0, 1, count, dtype=o.low.dtype, device=o.low.device)
        along = torch.linspace(0, 1, ALONG, dtype=o.low.dtype, device=o.low.device)
        grid = torch.cartesian_prod(along, along).mT
        share = torch.where(moves.all(0), grid[..., None], steps[:, None])  # [2, P, w]
        y = [lo + s * (hi - lo) for lo, hi, s in zip(o.low, o.high, share, strict=True)]
    return (three(torch.stack([*y, f.value(*y)])) - o.centre[:, None]).transpose(1, 2)
