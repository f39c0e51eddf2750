"""Complete search: a set of few dimensions is cut into boxes until each is certified or holds a counterexample (branch and bound).

Boxes are bounded by planes from their own middles, whose error shrinks with the square of their width. `decide` takes the worst box first, `nearest`
the one nearest to the centre, so that what it has certified stays certified as eps grows (runtime/README.md, section 4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction

import torch
from torch import Tensor

from vlang.runtime import rounding
from vlang.runtime.attacks.base import EVALUATION
from vlang.runtime.graph.concrete import logits, margins
from vlang.runtime.late import LateError
from vlang.runtime.methods.questions import PLANES, Asked, Proved
from vlang.runtime.sets.ball import Ball, p_norm
from vlang.words.methods import COMPLETE, METHODS
from vlang.words.sets import MOST_DIMENSIONS

#: Boxes that are bounded at once, and in a search that nobody asked for by name, altogether; and in one that was.
AT_ONCE, MOST_PIECES, MOST_PIECES_BY_NAME = 256, 2_000, 50_000
#: Balls of frames, which other methods bound too, are searched by nobody's name on graphs of so many numbers alone with so many; on larger ones,
#: whose boxes cost by this power more, with fewer.
LIGHT, DEARER = 1000, 1.4
#: So few boxes cost hardly less than as many: of graphs of so many numbers, and of larger ones.
FEW, SMALL, FEW_LARGE = 64, 4000, 16
#: By how much a search goes farther at once where no counterexample is known.
GROWN = 4.0
#: Of the gradient of the margin: what an axis counts along which it does not change at the middle.
LEAST_SHARE = 0.1
#: A counterexample's replay.
Replay = Callable[[Tensor], bool]


@dataclass(frozen=True, eq=False)
class Axes:
    """Along which coordinates a set extends. unit: of their frames' balls, the radius at eps = 1; room: how far a clip lets them go, down and up.

    shape: frames, numbers, unit [D], room each [D].
    """

    frames: Tensor
    numbers: Tensor
    unit: Tensor
    room: tuple[Tensor, Tensor]
    norm: Fraction | None
    like: Tensor

    @classmethod
    def of(cls, asked: Asked, row: int) -> Axes:
        ball, x = asked.ball, asked.centre.inputs[row]
        moves = (ball.radii[row] > 0)[:, None].expand_as(x)
        ends = tuple(torch.full_like(x, torch.inf) if ball.clip is None else end[row] for end in (ball.clip or (x, x)))
        moves = moves & ((ends[0] > 0) | (ends[1] > 0))
        frames, numbers = moves.nonzero().unbind(1)
        down, up = (end[frames, numbers] for end in ends)
        return cls(frames, numbers, ball.radii[row, frames], (down, up), ball.norm, x)

    def root(self, eps: float) -> tuple[Tensor, Tensor]:
        """The box around the set of radius eps. shape: each [1, D]."""
        far = rounding.product_up(self.unit, eps)
        return -torch.minimum(far, self.room[0])[None], torch.minimum(far, self.room[1])[None]

    def put(self, values: Tensor) -> Tensor:
        """shape: [P, D] -> [P, m, n]."""
        found = self.like.new_zeros(len(values), *self.like.shape)
        found[:, self.frames, self.numbers] = values
        return found

    def distance(self, low: Tensor, high: Tensor) -> Tensor:
        """At most the eps of the nearest point of every box. shape: [P, D] -> [P]."""
        return self._norm(torch.maximum(torch.maximum(low, -high), torch.zeros_like(low))) * (1 - rounding.ROOM)

    def reach(self, low: Tensor, high: Tensor) -> Tensor:
        """At least the eps of the farthest point. shape: [P]."""
        return self._norm(torch.maximum(low.abs(), high.abs())) * (1 + rounding.ROOM)

    def _norm(self, size: Tensor) -> Tensor:
        p = float("inf") if self.norm is None else float(self.norm)
        return p_norm(self.put(size / self.unit), p).amax(-1)


@dataclass
class Tree:
    """How a box was cut: nodes by number, the first one the whole. A cut is (axis, place, left, right); a leaf is bounded, or outside the set."""

    cuts: dict[int, tuple[int, float, int, int]] = field(default_factory=dict)
    proved: dict[int, tuple[Proved, int]] = field(default_factory=dict)
    count: int = 1

    def halve(self, nodes: Tensor, axis: Tensor, at: Tensor) -> Tensor:
        """The numbers of the halves: of the lower ones, then of the upper ones. shape: [P] each -> [2 P]."""
        first = self.count
        for k, (node, a, place) in enumerate(zip(nodes.tolist(), axis.tolist(), at.tolist(), strict=True)):
            self.cuts[node] = a, place, first + k, first + len(nodes) + k
        self.count += 2 * len(nodes)
        return torch.arange(first, self.count, device=nodes.device)

    def numbers(self) -> dict[int, int]:
        """The nodes that the whole was cut into, by their places in a list: each before its halves."""
        found: dict[int, int] = {}
        pending = [0]
        while pending:
            node = pending.pop()
            found[node] = len(found)
            pending += self.cuts[node][2:][::-1] if node in self.cuts else ()
        return found


@dataclass(frozen=True, eq=False)
class Boxes:
    """shape: low, high [P, D]; value [P], a bound of the margin on what they were cut from; nodes, depth [P], of the tree."""

    low: Tensor
    high: Tensor
    value: Tensor
    nodes: Tensor
    depth: Tensor

    @classmethod
    def whole(cls, root: tuple[Tensor, Tensor]) -> Boxes:
        number = torch.zeros(1, dtype=torch.long, device=root[0].device)
        return cls(*root, torch.full_like(root[0][:, 0], -torch.inf), number, number)

    def __len__(self) -> int:
        return len(self.low)

    def __getitem__(self, index: Tensor) -> Boxes:
        return Boxes(self.low[index], self.high[index], self.value[index], self.nodes[index], self.depth[index])

    def of(self, value: Tensor) -> Boxes:
        return replace(self, value=value)

    def and_(self, other: Boxes) -> Boxes:
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Boxes(*(torch.cat(pair) for pair in pairs))

    def first(self, order: Tensor, count: int) -> tuple[Boxes, Boxes]:
        """Those of the smallest numbers, and the others."""
        taken = torch.zeros_like(self.nodes, dtype=torch.bool)
        taken[order.argsort(stable=True)[:count]] = True
        return self[taken], self[~taken]


@dataclass(frozen=True, eq=False)
class Bounded:
    """Of boxes: what is certified of the margin on each, and the margin, its middle, and its slopes there. shape: [P], [P], [P, D], [P, D]."""

    values: Tensor
    here: Tensor
    middle: Tensor
    slope: Tensor


def boxes_of(method: str, directed: bool, asked: Asked) -> int:
    """How many boxes a search of a row may bound; 0 where its method does not search. directed: of a set that is made for it."""
    if method == COMPLETE:
        return MOST_PIECES_BY_NAME
    if not METHODS[method].complete:
        return 0
    numbers = sum(n.width for n in asked.centre.graph.nodes)
    return MOST_PIECES if directed or numbers <= LIGHT else int(MOST_PIECES * (LIGHT / numbers) ** DEARER)


class Search:
    """Of one row's set."""

    def __init__(self, asked: Asked, row: int, late: Callable[[], bool], most: int = MOST_PIECES, keep: bool = False) -> None:
        self.asked, self.row, self.late, self.most, self.keep = asked, row, late, most, keep
        self.axes, self.tree = Axes.of(asked, row), Tree()
        self.pieces = self.depth = 0
        self.few = 1 if keep else FEW if sum(n.width for n in asked.centre.graph.nodes) <= SMALL else FEW_LARGE  # of a proof, no more than it needs

    @property
    def possible(self) -> bool:
        """Whether the set has few dimensions, all of which may move at once."""
        return 0 < len(self.axes.unit) <= MOST_DIMENSIONS and self.asked.ball.at_most is None

    def bound(self, boxes: Boxes) -> Bounded:
        """Raises LateError."""
        asked, axes = self.asked, self.axes
        index = torch.full_like(boxes.nodes, self.row)
        middle = torch.minimum(torch.maximum((boxes.low + boxes.high) / 2, boxes.low), boxes.high)
        offset = axes.put(middle)
        half = rounding.enlarged(torch.maximum(boxes.high - middle, middle - boxes.low), rounding.LITTLE_ROOM) + rounding.tiny(middle)
        lost = 2 * rounding.gamma(1, middle.dtype) * (axes.like + offset).abs()[:, axes.frames, axes.numbers]
        halves = axes.put(half + lost)
        region = Ball(halves.amax(-1), None, None, (halves, halves))
        at = asked.centre.rows(index).moved(offset)
        walk = PLANES.make(at, region, None)
        values = asked.margins(walk, index).detach().nan_to_num(nan=-torch.inf)
        if self.keep:
            walk.forget()
            part = Proved(walk, values, index)
            self.tree.proved |= {node: (part, b) for b, node in enumerate(boxes.nodes.tolist()) if values[b] > 0}
        self.pieces += len(boxes)
        self.depth = max(self.depth, int(boxes.depth.max()))
        here = margins(at.logits, asked.rows[index], asked.some) + EVALUATION * (1 + at.logits.abs().amax(-1))
        return Bounded(values, here, middle, self._slope(at.inputs, index))

    def _slope(self, points: Tensor, index: Tensor) -> Tensor:
        """Of the margin at some points, along the axes. shape: [P, D]."""
        with torch.enable_grad():
            x = points.detach().clone().requires_grad_()
            found = margins(logits(self.asked.centre.graph, x), self.asked.rows[index], self.asked.some)
            (gradient,) = torch.autograd.grad(found.sum(), x)
        return gradient[:, self.axes.frames, self.axes.numbers].abs().nan_to_num(0.0, 0.0, 0.0)

    def grid(self, eps: float) -> Boxes:
        """The set of radius eps in some boxes, before anything is known of it."""
        index = torch.full((1,), self.row, device=self.axes.like.device)
        return self.cut(Boxes.whole(self.axes.root(eps)), self._slope(self.asked.centre.inputs[index], index))

    def cut(self, boxes: Boxes, slope: Tensor) -> Boxes:
        """Boxes that failed, halved; again where so few are left that bounding them costs what bounding more would."""
        while True:
            boxes, slope = self.halved(boxes, slope), torch.cat([slope] * 2)
            if not 0 < len(boxes) <= self.few // 2:
                return boxes

    def halved(self, boxes: Boxes, slope: Tensor) -> Boxes:
        """Every box in two, across the axis along which the margin changes most."""
        share = slope + LEAST_SHARE * slope.amax(-1, keepdim=True) + rounding.tiny(boxes.low)
        axis = ((boxes.high - boxes.low) * share).argmax(-1, keepdim=True)
        at = ((boxes.low + boxes.high) / 2).gather(-1, axis)
        lower, upper = boxes.high.scatter(-1, axis, at), boxes.low.scatter(-1, axis, at)
        nodes = self.tree.halve(boxes.nodes, axis[:, 0], at[:, 0])
        depth, value = torch.cat([boxes.depth + 1] * 2), torch.cat([boxes.value] * 2)
        return Boxes(torch.cat([boxes.low, upper]), torch.cat([lower, boxes.high]), value, nodes, depth)

    def decide(self, eps: float, replay: Replay = lambda _: False) -> Decided:
        """Whether the margin is above 0 on the set of radius eps."""
        left, worst = self.grid(eps), torch.inf
        spent = False
        while len(left):
            if self.pieces >= self.most or not self.possible:
                spent = True
                break
            now, left = left.first(left.value, min(AT_ONCE, self.asked.at_once, self.most - self.pieces))
            try:
                if self.late():
                    raise LateError
                found = self.bound(now)
            except LateError:
                return Decided(float(left.and_(now).value.min()), self, late=True)
            inside = self.axes._norm(found.middle.abs()) <= eps
            for b in (inside & (found.here < 0)).nonzero().flatten().tolist():
                delta = self.axes.put(found.middle[b : b + 1])[0]
                if replay(delta):
                    return Decided(float(found.values[b]), self, delta)
            ok = found.values > 0
            worst = min(worst, float(found.values[ok].min()) if bool(ok.any()) else torch.inf)
            narrow = ((now.high - now.low) <= 0).all(-1)  # nothing left to cut
            if bool((narrow & ~ok).any()):
                return Decided(float(found.values[narrow & ~ok].min()), self)
            halves = self.cut(now.of(found.values)[~ok], found.slope[~ok])
            left = left.and_(halves[self.axes.distance(halves.low, halves.high) <= eps])
        return Decided(float(left.value.min()) if spent else worst, self)

    def nearest(self, known: float, attack: float, most: float, tolerance: float, guess: float) -> Nearest:
        """The largest eps below which nothing is left to decide. known: certified before. attack: the distance of one, infinite where none was found.

        most: the largest eps that counts. guess: where to look first, if there is no attack.
        """
        upper = min(attack, most, max(attack if attack <= most else 0.0, GROWN * (known or guess)))
        while True:
            found = self._nearest(known, max(known, upper), tolerance)
            if not found.complete or found.attacked is not None or upper >= min(attack, most) or found.radius < upper * (1 - tolerance):
                return found
            known, upper = found.radius, min(most, GROWN * upper)

    def _nearest(self, known: float, upper: float, tolerance: float) -> Nearest:
        left = self.grid(upper)
        radius, attacked, complete = known, None, True
        while True:
            distance = self.axes.distance(left.low, left.high)
            radius = max(radius, min(upper, float(distance.min()) if len(left) else upper))
            if not len(left) or radius >= upper * (1 - tolerance):
                break
            if self.pieces >= self.most or not self.possible:
                complete = False
                break
            now, left = left.first(distance, min(AT_ONCE, self.asked.at_once, self.most - self.pieces))
            try:
                if self.late():
                    raise LateError
                found = self.bound(now)
            except LateError:
                return Nearest(radius, attacked, False, self)
            wrong = found.here < 0
            if bool(wrong.any()):
                there = self.axes._norm(found.middle[wrong].abs())
                if float(there.min()) < upper:
                    upper, attacked = float(there.min()), self.axes.put(found.middle[wrong][there.argmin()][None])[0]
            ok = found.values > 0
            narrow = ((now.high - now.low) <= 0).all(-1) & ~ok
            if bool(narrow.any()):
                upper = min(upper, float(self.axes.distance(now.low, now.high)[narrow].min()))
            halves = self.cut(now.of(found.values)[~ok], found.slope[~ok])
            open_ = (self.axes.distance(halves.low, halves.high) < upper) & (self.axes.reach(halves.low, halves.high) > known)
            left = left.and_(halves[open_])
        return Nearest(radius, attacked, complete, self)


@dataclass(frozen=True, eq=False)
class Decided:
    """margin: certified on the whole set, if it is above 0. counterexample: one that was replayed. late: whether it was cut short. shape: [m, n]."""

    margin: float
    search: Search
    counterexample: Tensor | None = None
    late: bool = False


@dataclass(frozen=True, eq=False)
class Nearest:
    """radius: certified. attacked: a point that seems to be a counterexample, nearer than all known before. complete: to the tolerance."""

    radius: float
    attacked: Tensor | None
    complete: bool
    search: Search
