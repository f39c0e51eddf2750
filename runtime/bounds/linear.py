"""Linear bounds: every nonlinearity between two planes, whatever slopes they have."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.bounds.walk import Arguments, Box, Substitution, Walk, batched
from vlang.runtime.graph.nodes import Nonlinear
from vlang.runtime.relaxations import RELAXATIONS, Args, Nonlinearity, Rule
from vlang.runtime.sets.region import Region

#: Chooses a node's slopes: (node, nonlinearity, both boxes) -> slopes. Any are sound.
Slopes = Callable[[int, Nonlinearity, tuple[Args, Args]], Args]


def by_rule(rule: Rule) -> Slopes:
    """Slopes that depend on the box alone."""

    def chosen(_node: int, nonlinearity: Nonlinearity, box: tuple[Args, Args]) -> Args:
        with torch.no_grad():
            return nonlinearity.upper_slopes(rule, *box)

    return chosen


class Planar(Walk, ABC):
    """What walks with planes have in common."""

    def __init__(self, nominal: Nominal, region: Region, slopes: Slopes) -> None:
        super().__init__(nominal, region)
        self._slopes = slopes

    def _relax_by_planes(self, i: int, node: Nonlinear, box: Arguments) -> None:
        nonlinearity = RELAXATIONS[node.op]
        both = nonlinearity.both(*box)
        self.planes[i] = nonlinearity.planes_with(self._slopes(i, nonlinearity, both), *both)
        self._error[i] = self._rounding_of(i, node, self.planes[i])
        self._by[i] = Substitution.by_planes(self.planes[i], self._error[i])

    def _box_by_planes(self, i: int) -> Box:
        """The box of node i by linear bounds, intersected with the one it has."""
        lo, hi = self.boxes[i]
        eye = torch.eye(lo.shape[1], dtype=lo.dtype, device=lo.device)
        both = self._upper_by_planes(i, torch.cat([eye, -eye])[None])
        high, low = both[:, : lo.shape[1]], both[:, lo.shape[1] :]
        return torch.maximum(lo, -low), torch.minimum(hi, high)

    def _upper_by_planes(self, top: int, rows: Tensor) -> Tensor:
        """Upper bounds of rows @ value(top). shape: rows [B or 1, R, width] -> [B, R]."""
        reached = self._walk(top, rows, self._by)
        support, lifts = self.region.lifted(reached.inputs)
        if lifts is not None:
            self.lifts[top] = lifts
        return reached.centre + reached.slack + support


@final
class Linear(Planar):
    """Planes alone."""

    def upper(self, node: int, rows: Tensor) -> Tensor:
        return self._upper_by_planes(node, batched(rows))

    def forget(self) -> None:
        pass

    def _relax(self, i: int, node: Nonlinear, box: Arguments) -> None:
        self._relax_by_planes(i, node, box)

    def _narrowed(self, i: int) -> Box:
        return self._box_by_planes(i)
