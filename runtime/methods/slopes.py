"""Slopes as variables: every node's slopes moved along the gradient of the margin's lower bound.

Any slopes are sound (their offsets are exact), so every bound met on the way counts and the best is kept. A slope is the rule's slope plus a
variable times how much the function's derivative varies over the box, so that one step size fits every box and a warm start fits every eps.
Gradients go through offsets and boxes by the envelope theorem (runtime/README.md, section 5).
"""

from __future__ import annotations

import torch
from torch import Tensor

from vlang.runtime.bounds import linear
from vlang.runtime.bounds.linear import Linear
from vlang.runtime.methods.questions import PLANES, Asked, Margins
from vlang.runtime.relaxations import Args, Nonlinearity

RATE = 0.01
STEPS = 20
#: An autograd tape holds about so many times what a walk without one does.
TAPE = 12


class Slopes:
    """The variables of a batch of rows, by node. shape: per argument [2, B, width]."""

    def __init__(self) -> None:
        self.moves: dict[int, list[Tensor]] = {}
        self._before: dict[int, list[Tensor]] = {}

    def choice(self, rows: Tensor, total: int) -> linear.Slopes:
        """For the rows of a batch of `total`, at one eps: the rule's slopes, moved. Makes a node's variables (zero) when it is first met.

        The rule is asked once, on the first boxes: asking again on those that the variables narrow takes half the time and changes radii by
        less than a hundredth, either way.
        """
        by_rule: dict[int, Args] = {}

        def choose(node: int, nonlinearity: Nonlinearity, box: tuple[Args, Args]) -> Args:
            with torch.no_grad():
                unit = nonlinearity.slope_range(*box)
                if node not in by_rule:
                    by_rule[node] = nonlinearity.upper_slopes("plane", *box)
            slopes = by_rule[node]
            if node not in self.moves:
                self.moves[node] = [s.new_zeros(s.shape[0], total, s.shape[2]).requires_grad_() for s in slopes]
            return tuple(s + m[:, rows] * u for s, m, u in zip(slopes, self.moves[node], unit, strict=True))

        return choose

    def keep(self, rows: Tensor) -> None:
        """Take the last step back for some rows, which have no need of it: how far they go must not depend on others of the batch."""
        with torch.no_grad():
            for node, moves in self.moves.items():
                for move, before in zip(moves, self._before[node], strict=True):
                    move[:, rows] = before[:, rows]
        self.remember()

    def remember(self) -> None:
        self._before = {node: [m.detach().clone() for m in moves] for node, moves in self.moves.items()}

    def parameters(self) -> list[Tensor]:
        return [m for moves in self.moves.values() for m in moves]


def improve(margins: Tensor) -> Tensor:
    """The margins of a relaxation, with the gradient of their sum put into its slopes' variables. shape: [B]."""
    loss = -torch.where(margins.isfinite(), margins, 0.0).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    return margins.detach()


def optimized(asked: Asked) -> Margins:
    """Planes whose slopes are moved along the margin's gradient, as long as rows are open."""
    count = len(asked.nominal)
    # An autograd tape keeps every tensor of a walk.
    parts = torch.split(torch.arange(count, device=asked.nominal.device), max(1, asked.at_once // TAPE))
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
            for p in slopes.parameters():
                p.grad = None  # of a step that an earlier call did not need
            for _ in range(STEPS):
                with torch.enable_grad():
                    found = improve(asked.margins(Linear(centre, region, choice).run(), i))
                worst[chosen] = torch.where(found > worst[chosen], found, worst[chosen])
                if bool((worst[chosen] > 0).all()):
                    break
                if descent is None:
                    descent = torch.optim.Adam(slopes.parameters(), lr=RATE)
                    slopes.remember()
                for p in slopes.parameters():
                    if p.grad is not None:
                        p.grad.nan_to_num_(0.0, 0.0, 0.0)
                descent.step()
                slopes.keep(i[worst[chosen] > 0] - part[0])
                descent.zero_grad()
        return worst

    return margins
