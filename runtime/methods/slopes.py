"""Slopes as variables: every node's slopes moved along the gradient of the margin's lower bound.

Any slopes are sound (their offsets are exact), so every bound met on the way counts and the best is kept. A slope is the rule's slope plus a
variable times how much the function's derivative varies over the box, so that one step size fits every box and a warm start fits every eps.
Gradients go through offsets and boxes by the envelope theorem (runtime/README.md, section 5).
"""

from __future__ import annotations

import torch
from torch import Tensor

from vlang.runtime.bounds.walk import Choice
from vlang.runtime.relaxations import Args, Nonlinearity

RATE = 0.01
STEPS = 20


class Slopes:
    """The variables of a batch of rows, by node. shape: per argument [2, B, width]."""

    def __init__(self) -> None:
        self.moves: dict[int, list[Tensor]] = {}

    def choice(self, rows: Tensor, total: int) -> Choice:
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

    def parameters(self) -> list[Tensor]:
        return [m for moves in self.moves.values() for m in moves]


def improve(margins: Tensor) -> Tensor:
    """The margins of a relaxation, with the gradient of their sum put into its slopes' variables. shape: [B]."""
    loss = -torch.where(margins.isfinite(), margins, 0.0).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    return margins.detach()
