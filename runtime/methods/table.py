"""Methods: lower bounds of a margin on a batch of perturbation sets, at any eps.

`interval`, `lines` and `planes` relax the whole ball at once; `quadratic` adds quadratic bounds. `optimized` moves the planes' slopes along
the margin's gradient. `sliced` cuts the ball into pieces by parallel hyperplanes and bounds each from its own middle: every box is
recomputed, and what relaxations leave out shrinks with the square of the width. Pieces that fail are halved while that can help; a margin
holds on the ball if it holds on every piece of a cover. `auto` climbs a ladder of these, cheapest first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor

from vlang.runtime.bounds.coordinates import Hull
from vlang.runtime.bounds.quadratic import Quadratic
from vlang.runtime.bounds.walk import Nominal, Region, Relaxed
from vlang.runtime.device import batch_bytes, out_of_memory
from vlang.runtime.graph.concrete import logits
from vlang.runtime.methods.slopes import RATE, STEPS, Slopes, improve
from vlang.runtime.relaxations import Rule
from vlang.runtime.sets.ball import Ball
from vlang.runtime.sets.piece import Piece

#: Directions across which balls are cut, and how often a piece that fails is halved.
DIRECTIONS = 1
ROUNDS = 4
#: Balls whose margin is below minus this share of the nominal margin are not cut; pieces are not cut again below this share a round left.
HOPELESS = 0.5
HOPELESS_PIECE = 0.05
#: Quadratic forms take so many times the memory of coefficients.
FORMS = 8
#: An autograd tape holds about so many times what a walk without one does.
TAPE = 12

#: How a graph is bounded on a region.
Bounds = Callable[[Nominal, Region], Relaxed]


@dataclass(frozen=True, eq=False)
class Proved:
    """A relaxation of a batch of sets, the lower bounds of the margin that it gave, and whose sets they are. shape: margins, owners [B]."""

    relaxed: Relaxed
    margins: Tensor
    owners: Tensor


@dataclass(frozen=True, eq=False)
class Asked:
    """A batch of questions. ball: the sets at eps = 1. rows: y_j - y_label for the classes asked about. shape: rows [B, T, classes].

    room: how many sets fit in one pass. proof: where everything that gave a margin is kept, for certificates.
    """

    centre: Nominal
    ball: Ball
    rows: Tensor
    room: int
    proof: list[Proved] | None = None

    def margins(self, relaxed: Relaxed, index: Tensor) -> Tensor:
        """Lower bounds of the margin of rows `index` by a relaxation of their sets. shape: [B]."""
        found = -relaxed.upper(relaxed.nominal.graph.output, self.rows[index]).amax(1)
        if self.proof is not None:
            relaxed.forget()
            self.proof.append(Proved(relaxed, found.detach(), index))
        return found

    @property
    def nominal(self) -> Tensor:
        """The margin at eps = 0. shape: [B]."""
        return -(self.rows @ self.centre.logits[:, :, None])[..., 0].amax(1)

    @property
    def hull(self) -> Hull:
        return Hull(self.centre.graph, self.ball, self.centre.inputs.shape[-1])

    def relax(self, bounds: Bounds, index: Tensor, eps: Tensor, cut: tuple[Tensor, Tensor, Tensor] | None = None) -> Tensor:
        """Lower bounds of the margin of rows `index` at `eps`, on the piece of each ball that a cut (directions, low, high) leaves."""
        done = []
        room = self.room
        if bounds is Quadratic:
            products = self.hull.row_bytes(self.centre.graph)
            room = max(1, min(room // FORMS, batch_bytes(index.device) // max(1, products)))
        parts = list(torch.split(torch.arange(len(index), device=index.device), room))
        while parts:
            part = parts.pop(0)
            i = index[part]
            at = self.centre.rows(i)
            ball = self.ball.rows(i).scaled(eps[part, None])
            region: Region = ball
            if cut is not None:
                region = Piece.between(ball, *(x[part] for x in cut))
                at = at.moved(region.offset)
            try:
                done.append(self.margins(bounds(at, region), i))
            except (RuntimeError, MemoryError) as e:
                if len(part) == 1 or not out_of_memory(e):
                    raise
                parts[:0] = part.chunk(2)
        return torch.cat(done)


#: Lower bounds of the margin. shape: rows of the batch [A], eps [A] -> [A].
Margins = Callable[[Tensor, Tensor], Tensor]


def by_rule(rule: Rule) -> Bounds:
    """Planes, or what stands for them, with slopes by a rule."""
    return lambda nominal, region: Relaxed(nominal, region, rule)


def whole(bounds: Bounds) -> Callable[[Asked], Margins]:
    """The ball as one piece."""
    return lambda asked: lambda index, eps: asked.relax(bounds, index, eps)


PLANES = by_rule("plane")


def sliced(asked: Asked) -> Margins:
    """The ball in pieces, each bounded from its own middle."""
    nominal = asked.nominal
    forms = asked.hull.worthwhile
    bounds: Bounds = Quadratic if forms else PLANES

    def margins(index: Tensor, eps: Tensor) -> Tensor:
        worst = asked.relax(bounds, index, eps)
        worst = torch.where(worst.isnan(), -torch.inf, worst)
        owner = ((worst <= 0) & (worst > -HOPELESS * nominal[index])).nonzero().flatten()
        if owner.numel() == 0:
            return worst
        cuts, weights = cutting_directions(asked, index[owner], eps[owner])
        position = torch.zeros_like(index).scatter(0, owner, torch.arange(len(owner), device=index.device))
        low, high = spanned(asked.ball.rows(index[owner]).scaled(eps[owner, None]), cuts)
        worst[owner] = torch.inf
        for left in range(ROUNDS, 0, -1):
            owner, low, high = halved(owner, low, high, weights[position[owner]])
            values = asked.relax(bounds, index[owner], eps[owner], (cuts[position[owner]], _outward(low, -1), _outward(high, 1)))
            values = torch.where(values.isnan(), -torch.inf, values)
            floor = torch.full_like(worst, torch.inf).scatter_reduce(0, owner, values, "amin")
            again = ~(values > 0) & (floor > -HOPELESS_PIECE * left * nominal[index])[owner] & (left > 1)
            worst = worst.scatter_reduce(0, owner[~again], values[~again], "amin")
            owner, low, high = owner[again], low[again], high[again]
            if owner.numel() == 0:
                break
        return worst

    return margins


def spanned(ball: Ball, directions: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the largest direction . delta on the sets, rounded outward: what a clip cuts off needs no piece. shape: -> [A, K]."""
    low, high = (sign * ball.support({k: sign * directions[:, :, k] for k in ball.frames}) for sign in (-1, 1))
    return low, high


def halved(owner: Tensor, low: Tensor, high: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every piece in two, across the direction along which the most is left. shape: owner [C], low, high, weights [C, K] -> 2 C pieces."""
    axis = ((weights * (high - low)) ** 2).argmax(-1, keepdim=True)
    middle = ((low + high) / 2).gather(-1, axis)
    return torch.cat([owner, owner]), torch.cat([low, low.scatter(-1, axis, middle)]), torch.cat([high.scatter(-1, axis, middle), high])


def cutting_directions(asked: Asked, index: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
    """Directions across which to cut the balls of some rows, of support at most 1 at eps = 1, with a weight each. shape: [A, K, m, n], [A, K]."""
    if asked.hull.worthwhile and not asked.hull.vertices:
        centre, ball = asked.centre.rows(index), asked.ball.rows(index).scaled(eps[:, None])
        found, weights = Quadratic(centre, ball).principal(centre.graph.output, asked.rows[index], DIRECTIONS)
        if found.shape[1]:
            unit = replace(asked.ball.rows(index), room=None, at_most=None)
            reach = unit.support({k: found[:, :, k] for k in asked.ball.frames})
            return found / reach[..., None, None].clamp(min=1e-300), weights
    found = nearest_boundary(asked)[index, None]
    return found, torch.ones_like(found[:, :, 0, 0])


def optimized(asked: Asked) -> Margins:
    """Planes whose slopes are moved along the margin's gradient, as long as rows are open."""
    count = len(asked.nominal)
    # An autograd tape keeps every tensor of a walk.
    parts = torch.split(torch.arange(count, device=asked.nominal.device), max(1, asked.room // TAPE))
    variables = [Slopes() for _ in parts]

    def margins(index: Tensor, eps: Tensor) -> Tensor:
        worst = asked.relax(PLANES, index, eps)
        for part, slopes in zip(parts, variables, strict=True):
            chosen = (~(worst > 0) & torch.isin(index, part)).nonzero().flatten()
            if chosen.numel() == 0:
                continue
            i = index[chosen]
            choice = slopes.choice(i - part[0], len(part))
            centre, region = asked.centre.rows(i), asked.ball.rows(i).scaled(eps[chosen, None])
            descent: torch.optim.Adam | None = None
            for _ in range(STEPS):
                with torch.enable_grad():
                    found = improve(asked.margins(Relaxed(centre, region, "plane", choice), i))
                worst[chosen] = torch.where(found > worst[chosen], found, worst[chosen])
                if bool((worst[chosen] > 0).all()):
                    break
                descent = descent or torch.optim.Adam(slopes.parameters(), lr=RATE)
                for p in slopes.parameters():
                    if p.grad is not None:
                        p.grad.nan_to_num_(0.0, 0.0, 0.0)
                descent.step()
                descent.zero_grad()
        return worst

    return margins


def _outward(x: Tensor, sign: int) -> Tensor:
    """A slab's end, moved outward by more than the rounding of the ends and of the direction's scale."""
    return x + sign * 1e-12 * x.abs()


def nearest_boundary(asked: Asked) -> Tensor:
    """Per row, minus the gradient of the margin to the class with the nearest linearised boundary, scaled to support 1 at eps = 1.

    Any direction is sound; this one cuts towards the attack. shape: [B, m, n].
    """
    # Without the clip: a clipped ball does not scale with eps, and the cover must hold at every eps.
    centre, ball, rows = asked.centre, replace(asked.ball, room=None), asked.rows
    moving = (ball.radii > 0)[:, :, None]
    best = torch.zeros_like(centre.inputs)
    nearest = torch.full_like(centre.inputs[:, 0, 0], torch.inf)
    for t in range(rows.shape[1]):
        with torch.enable_grad():
            x = centre.inputs.detach().clone().requires_grad_()
            ahead = (rows[:, t : t + 1] @ logits(centre.graph, x)[:, :, None])[:, 0, 0]
            (gradient,) = torch.autograd.grad(ahead.sum(), x)
        gradient = torch.where(moving, gradient, 0.0)
        support = ball.support({k: gradient[:, k : k + 1] for k in ball.frames})[:, 0]
        distance = -ahead.detach() / support
        closer = (distance < nearest) & (support > 0)
        best = torch.where(closer[:, None, None], gradient / support[:, None, None], best)
        nearest = torch.where(closer, distance, nearest)
    return best


#: Method by name: what to do with a batch of questions, and the bounds that `bounds` uses for single outputs.
METHODS: Mapping[str, Callable[[Asked], Margins]] = MappingProxyType(
    {
        "interval": whole(by_rule("constant")),
        "lines": whole(by_rule("line")),
        "planes": whole(PLANES),
        "quadratic": whole(Quadratic),
        "sliced": sliced,
        "optimized": optimized,
    }
)
BOUNDS: Mapping[str, Bounds] = MappingProxyType(
    {
        "auto": Quadratic,
        "interval": by_rule("constant"),
        "lines": by_rule("line"),
        "planes": PLANES,
        "quadratic": Quadratic,
        "sliced": Quadratic,
        "optimized": PLANES,
    }
)


#: Rows times eps in one pass up to which more eps cost almost nothing: launches dominate, but for quadratic forms.
CHEAP: Mapping[str, int] = MappingProxyType({name: 1 if name in ("quadratic", "sliced") else 16 for name in METHODS})


#: What `auto` tries last, where there is a budget to spend or nothing else has decided.
REFINEMENT = "sliced"


def ladder(method: str, asked: Asked) -> tuple[str, ...]:
    """The methods that a question goes through: one, or for `auto` each that may certify what those before it could not."""
    if method != "auto":
        return (method,)
    return ("planes", "quadratic") if asked.hull.worthwhile else ("planes",)
