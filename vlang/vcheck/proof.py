"""The proof of one piece of the set: every node's part of what is stated, checked on its own."""

from __future__ import annotations

import multiprocessing
import operator
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
from flint import arb, ctx

from .balls import joined
from .errors import InvalidError
from .forms import Curved, Forms
from .joint import Joint
from .network import Node
from .parabolas import is_under
from .planes import is_below
from .property import Demands
from .region import Region
from .statement import Statement, both_ways
from .vectors import Array, Vector, matrix, vector

#: Bits of planes' stationary points, which are ill-conditioned where two of them meet.
FINE_BITS = 192
#: The same where a slope is so small that 1 minus it is 1 to those: the smallest float64 is 2 ** -1074.
FINEST_BITS = 2400


class Proof:
    """demands: of the last node. split: see `cushion`."""

    def __init__(self, nodes: list[Node], region: Region, arrays: dict[str, Array], demands: Demands, split: tuple[float, float]) -> None:
        self.stated, self.rows, self.demands = Statement(nodes, region, arrays), demands.rows, demands
        self.forms, self.joint = Forms(self.stated, self.rows, split), Joint(self.stated, self.rows)

    def prove(self, processes: int) -> None:
        """Follow the rows that motions and the margin need, make forms of them, and check every node. Raises InvalidError."""
        last_first = sorted(self.forms.followed, reverse=True)  # what takes longest
        self.forms.walked.update(zip(last_first, each(self.forms.follow, last_first, processes), strict=True))
        self.forms.bend()
        # All of them: what a certificate leaves out must not hide what it states.
        each(self.check, reversed(range(len(self.stated.nodes))), processes)

    def check(self, i: int) -> None:
        """Raises InvalidError unless all that is stated of node i holds, and of the last one every margin."""
        node, curved = self.stated.nodes[i], self.forms.curved(i)
        self._check_planes(i, node)
        self._check_parabolas(i, node)
        if i in self.forms.motions:
            self._check_motion(i, node, curved)
        if i in self.stated.claimed:
            claimed = [hi for _, hi in self.stated.boxes[i]] + [-lo for lo, _ in self.stated.boxes[i]]
            for row in self._unproved(i, both_ways(node.width), claimed, operator.le, curved):
                raise InvalidError(f"{node.name}, unit {row % node.width}: its {'upper' if row < node.width else 'lower'} bound is not proved")
        if i == len(self.stated.nodes) - 1:
            left = self._unproved(i, self.rows, self.demands.most, operator.lt, curved)
            if left and not (self.demands.some and len(left) < len(self.rows)):
                raise InvalidError("the margin is not proved")

    def _check_planes(self, i: int, node: Node) -> None:
        if i not in self.stated.planes:
            return
        before = ctx.prec
        for sign, name in ((1, "upper"), (-1, "lower")):
            for u, (box, column) in enumerate(zip(self.stated.arguments(node), self.stated.arrays[f"{i}.{name}"].T, strict=True)):
                *slopes, offset = vector(column)
                for bits in (FINE_BITS, FINEST_BITS):
                    ctx.prec = max(bits, before)
                    if is_below(node.op, box, slopes, sign * offset, sign):
                        break
                else:
                    raise InvalidError(f"{node.name}, unit {u}: the {name} plane does not hold on its box")
        ctx.prec = before

    def _check_parabolas(self, i: int, node: Node) -> None:
        if i not in self.forms.parabolas:
            return
        for u, (box, centre, *sides) in enumerate(zip(self.stated.arguments(node), *self.forms.parabolas[i], strict=True)):
            for sign, name, stated in zip((1, -1), ("upper", "lower"), sides, strict=True):
                if not is_under(node.op, box, centre, stated, sign):
                    raise InvalidError(f"{node.name}, unit {u}: the {name} parabola does not hold on its box")

    def _check_motion(self, i: int, node: Node, curved: Curved | None) -> None:
        """Units that are not known are in their boxes; of the others, what is left of their rows and their forms is within the residual."""
        m, width = self.forms.motions[i], node.width
        for u, (known, c, r, (lo, hi)) in enumerate(zip(m.known, m.centre, m.residual, self.stated.boxes[i], strict=True)):
            if not known and not (c - r <= lo and hi <= c + r):
                raise InvalidError(f"{node.name}, unit {u}: its motion does not hold its box")
        rows = [row for row in range(2 * width) if m.known[row % width]]
        if not rows:
            return
        if curved is None:
            raise InvalidError(f"{node.name}: nothing proves its motion")
        left = {k: joined([a, a], 0) for k, a in m.left.items()}
        for row, value in zip(rows, self.forms.tops(i, curved, "rest", left, rows), strict=True):
            u, sign = row % width, 1 if row < width else -1
            if not value + m.lost[u] <= sign * m.centre[u] + m.residual[u]:
                raise InvalidError(f"{node.name}, unit {u}: its motion is not proved")

    def _unproved(self, i: int, rows: Array, claimed: Vector, proved: Callable[[arb, arb], bool], curved: Curved | None) -> list[int]:
        """The rows over node i of which nothing proves what is claimed: parabolas first, of those left joint bounds, then planes, then ranges."""
        left = list(range(len(rows)))
        if curved is not None:
            values = self.forms.tops(i, curved, "multipliers", curved.inputs, left)
            left = [r for r, v in zip(left, values, strict=True) if not proved(v, claimed[r])]
        if left and rows is self.rows and self.joint.stands():
            values = self.joint.tops(left)
            left = [r for r, v in zip(left, values, strict=True) if not proved(v, claimed[r])]
        for planes, lifts in ((self.stated.planes, f"{i}.lifts"), (self.stated.ranges, "")):
            walked = self.stated.walk(i, matrix(rows[left]), planes) if left else None
            if walked is not None:
                values = self.stated.supports({k: a.table() for k, a in walked.inputs.items()}, walked.constant, lifts, left)
                left = [r for r, v in zip(left, values, strict=True) if not proved(v, claimed[r])]
        return left


_METHOD: list[Callable[[int], Any]] = []  # in a worker process alone: balls of Arb cannot be sent to it, but it inherits them


def _of(i: int) -> Any:
    with np.errstate(all="ignore"):
        return _METHOD[0](i)


def each(method: Callable[[int], Any], nodes: Iterable[int], processes: int) -> list[Any]:
    """A method of nodes, in so many processes where they can be forked; raises what one of them raised, or that one died."""
    if processes < 2 or "fork" not in multiprocessing.get_all_start_methods():
        return list(map(method, nodes))
    with ProcessPoolExecutor(processes, multiprocessing.get_context("fork"), _METHOD.append, (method,)) as pool:
        return list(pool.map(_of, nodes))
