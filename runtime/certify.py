"""Methods: lower bounds of a margin on a batch of perturbation sets, at any eps.

`interval`, `lines` and `planes` relax the whole ball at once; `quadratic` adds quadratic bounds. `optimized` moves the planes' slopes along
the margin's gradient. `sliced` cuts the ball into slabs along the direction of the nearest decision boundary and certifies each with planes of
its own: inside a slab the strongest linear term is known, and every box is recomputed. Slabs that fail are bisected while that can help; a
margin holds on the ball if it holds on every slab of a cover. `auto` climbs a ladder of these, cheapest first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor

from vlang.runtime.ball import Ball
from vlang.runtime.bounds import Nominal, Region, Relaxed
from vlang.runtime.concrete import logits
from vlang.runtime.device import batch_bytes
from vlang.runtime.optimize import RATE, STEPS, Slopes, improve
from vlang.runtime.quadratic import Hull, Quadratic
from vlang.runtime.relaxations import Rule
from vlang.runtime.slab import Slab

#: Slabs after the first cut, and how often those that fail are halved.
FIRST_SLABS = 8
BISECTIONS = 3
#: A slab whose margin is below minus this share of the nominal margin is not worth halving.
HOPELESS = 1.0
#: Quadratic forms take so many times the memory of coefficients.
FORMS = 8
#: An autograd tape holds about so many times what a walk without one does.
TAPE = 12

#: How a graph is bounded on a region.
Bounds = Callable[[Nominal, Region], Relaxed]


@dataclass(frozen=True, eq=False)
class Asked:
    """A batch of questions. ball: the sets at eps = 1. rows: y_j - y_label for the classes asked about. shape: rows [B, T, classes].

    room: how many sets fit in one pass.
    """

    centre: Nominal
    ball: Ball
    rows: Tensor
    room: int

    @property
    def nominal(self) -> Tensor:
        """The margin at eps = 0. shape: [B]."""
        return -(self.rows @ self.centre.logits[:, :, None])[..., 0].amax(1)

    @property
    def hull(self) -> Hull:
        return Hull(self.centre.graph, self.ball, self.centre.inputs.shape[-1])

    def relax(self, bounds: Bounds, index: Tensor, eps: Tensor, slab: tuple[Tensor, Tensor, Tensor] | None = None) -> Tensor:
        """Lower bounds of the margin of rows `index` at `eps`, on the part of each ball in a slab (direction, low, high)."""
        done = []
        room = self.room
        if bounds is Quadratic:
            products = self.hull.row_bytes(self.centre.graph)
            room = max(1, min(room // FORMS, batch_bytes(index.device) // max(1, products)))
        for part in torch.split(torch.arange(len(index), device=index.device), room):
            i = index[part]
            at = self.centre.rows(i)
            ball = self.ball.rows(i).scaled(eps[part, None])
            region: Region = ball if slab is None else Slab(ball, *(x[part] for x in slab))
            done.append(-bounds(at, region).upper(at.graph.output, self.rows[i]).amax(1))
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
    """The ball in slabs, planes in each."""
    direction = nearest_boundary(asked)
    nominal = asked.nominal

    def margins(index: Tensor, eps: Tensor) -> Tensor:
        worst = asked.relax(PLANES, index, eps)
        owner = (~(worst > 0)).nonzero().flatten()
        # In units of eps: the direction's support on the unit ball is at most 1, so [-1, 1] covers every ball.
        low, high = slabs(len(owner), FIRST_SLABS, eps)
        owner = owner.repeat_interleave(FIRST_SLABS)
        worst[owner] = torch.inf
        for left in range(BISECTIONS, -1, -1):
            if owner.numel() == 0:
                break
            size = eps[owner]
            values = asked.relax(PLANES, index[owner], size, (direction[index[owner]], _outward(low * size, -1), _outward(high * size, 1)))
            values = torch.where(values.isnan(), -torch.inf, values)
            floor = torch.full_like(worst, torch.inf).scatter_reduce(0, owner, values, "amin")
            again = ~(values > 0) & (floor >= -HOPELESS * nominal[index])[owner] & (left > 0)
            worst = worst.scatter_reduce(0, owner[~again], values[~again], "amin")
            middle = (low[again] + high[again]) / 2
            low, high = torch.cat([low[again], middle]), torch.cat([middle, high[again]])
            owner = owner[again].repeat(2)
        return worst

    return margins


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
            adjustment = slopes.adjustment(i - part[0], len(part))
            centre, region, rows = asked.centre.rows(i), asked.ball.rows(i).scaled(eps[chosen, None]), asked.rows[i]
            descent: torch.optim.Adam | None = None
            for _ in range(STEPS):
                with torch.enable_grad():
                    found = improve(Relaxed(centre, region, "plane", adjustment), centre.graph.output, rows)
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


def slabs(count: int, pieces: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """`count` copies of a cover of [-1, 1] by `pieces` intervals. shape: low, high [count pieces]."""
    edges = torch.linspace(-1, 1, pieces + 1, dtype=like.dtype, device=like.device)
    return edges[:-1].repeat(count), edges[1:].repeat(count)


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
        "sliced": PLANES,
        "optimized": PLANES,
    }
)


#: Rows times eps in one pass up to which more eps cost almost nothing: launches dominate, but for quadratic forms.
CHEAP: Mapping[str, int] = MappingProxyType({name: 1 if name == "quadratic" else 16 for name in METHODS})


def ladder(method: str, asked: Asked) -> tuple[str, ...]:
    """The methods that a question goes through: one, or for `auto` each that may certify what those before it could not."""
    if method != "auto":
        return (method,)
    return ("planes", "quadratic") if asked.hull.worthwhile else ("planes",)
