"""Lower bounds of margins, differentiable by the weights: the verifier's own walks, in the weights' own precision, on a tape.

Gradients go through boxes, offsets (by the envelope theorem, runtime/README.md, section 5) and the slopes that fit the boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import final

import torch
from torch import Tensor

from vlang.runtime.bounds.interval import Interval
from vlang.runtime.bounds.linear import Linear, Planar
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.bounds.walk import Arguments, Box, Walk, batched
from vlang.runtime.graph.concrete import trajectory
from vlang.runtime.graph.nodes import Graph, Nonlinear
from vlang.runtime.relaxations import Args, Nonlinearity
from vlang.runtime.sets.ball import Ball


@final
class OnIntervals(Planar):
    """Planes on the boxes of intervals: one substitution a margin, where `Linear` makes one a node (Zhang et al., 2020, arXiv 1906.06316)."""

    def upper(self, node: int, rows: Tensor) -> Tensor:
        return self._upper_by_planes(node, batched(rows))

    def forget(self) -> None:
        pass

    def _relax(self, i: int, node: Nonlinear, box: Arguments) -> None:
        self._relax_by_planes(i, node, box)

    def _narrowed(self, i: int) -> Box:
        return self.boxes[i]


def _differentiable(_node: int, nonlinearity: Nonlinearity, box: tuple[Args, Args]) -> Args:
    return nonlinearity.upper_slopes("plane", *box)


#: How a graph is bounded on a batch of balls, by word.
WALKS: Mapping[str, Callable[[Nominal, Ball], Walk]] = MappingProxyType(
    {
        "interval": lambda nominal, ball: Interval(nominal, ball).run(),
        "mixed": lambda nominal, ball: OnIntervals(nominal, ball, _differentiable).run(),
        "planes": lambda nominal, ball: Linear(nominal, ball, _differentiable).run(),
    }
)


def certified(graph: Graph, inputs: Tensor, rows: Tensor, ball: Ball, method: str) -> Tensor:
    """Lower bounds of -rows @ output over balls about the inputs. shape: inputs [B, m, n], rows [B, R, classes] -> [B, R]."""
    nominal = Nominal(graph, inputs, tuple(trajectory(graph, inputs)))
    return -WALKS[method](nominal, ball).upper(graph.output, rows)


def against(labels: Tensor, classes: int, like: Tensor) -> Tensor:
    """y_j - y_label of every other class. shape: labels [B] -> [B, classes - 1, classes]."""
    others = torch.arange(classes - 1, device=labels.device).expand(len(labels), -1)
    others = others + (others >= labels[:, None])
    eye = torch.eye(classes, dtype=like.dtype, device=like.device)
    return eye[others] - eye[labels][:, None]
