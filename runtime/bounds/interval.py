"""Interval arithmetic alone."""

from __future__ import annotations

from typing import final

from torch import Tensor

from vlang.runtime import rounding
from vlang.runtime.bounds.walk import Arguments, Box, Walk, batched, dense, inner
from vlang.runtime.graph.nodes import Affine, Input, Nonlinear
from vlang.runtime.products import through


@final
class Interval(Walk):
    """Every node's box from its parents' boxes."""

    def upper(self, node: int, rows: Tensor) -> Tensor:
        """Rows fused into the node's own affine map, so that differences of outputs are bounded directly."""
        rows, target = batched(rows), self.nominal.graph.nodes[node]
        if not self.live[node] or not isinstance(target, Affine):
            lo, hi = self.boxes[node]
            return _rows(rows, lo, hi)
        total = (rows @ self._centre[node][:, :, None])[..., 0]
        total = total + (rows.abs() @ (2 * self._error[node] + rounding.pad(self._centre[node].abs()))[:, :, None])[..., 0]
        for term in target.terms:
            if not self.live[term.ref.node]:
                continue
            fused = through(rows, dense(term.weight, term.ref.width, total))
            source = self.nominal.graph.nodes[term.ref.node]
            moved = self.region.unlifted({source.frame: fused}) if isinstance(source, Input) else _rows(fused, *self._box(term.ref))
            total = self._where_moves(term.ref, total + moved, total)  # what rests is in the centre
        return total

    def forget(self) -> None:
        pass

    def _relax(self, i: int, node: Nonlinear, box: Arguments) -> None:
        pass

    def _narrowed(self, i: int) -> Box:
        return self.boxes[i]


def _rows(rows: Tensor, lo: Tensor, hi: Tensor) -> Tensor:
    """rows @ [lo, hi], upper end, rounded up. shape: rows [B or 1, R, w] -> [B, R]."""
    total = inner(rows.clamp(min=0), hi) + inner(rows.clamp(max=0), lo)
    size = inner(rows.abs(), lo.abs().maximum(hi.abs()))
    return total + size * rounding.gamma(2 * rows.shape[-1] + 8, rows.dtype)
