"""Layers over the rows and columns of a picture: the numbers of one frame, channel by channel, each row by row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vlang.picture import Picture, Window, reshaped
from vlang.plan import LayerPlan
from vlang.runtime.graph.nodes import Factor, GraphBuilder, Ref
from vlang.runtime.network.layers.base import Get, Layer, Value, columns, largest, needed


@dataclass(frozen=True)
class Reshape(Layer):
    """All frames, one after the other, as one picture."""

    picture: Picture

    @classmethod
    def of(cls, plan: LayerPlan, get: Get) -> Reshape:
        return cls(reshaped(dict(plan.settings)))

    def append(self, graph: GraphBuilder, *read: Value) -> Value:
        return Value((tuple(ref for parts in read[0].frames for ref in parts),), picture=self.picture)


@dataclass(frozen=True, eq=False)
class Conv2d(Layer):
    """shape: weight [out, in / groups, rows, columns], bias [out]."""

    weight: Tensor
    bias: Tensor
    window: Window
    groups: int

    @classmethod
    def of(cls, plan: LayerPlan, get: Get) -> Conv2d:
        weight, bias = needed(get, "weight"), get("bias")
        window = Window.said(dict(plan.settings), (weight.shape[2], weight.shape[3]))
        return cls(weight, weight.new_zeros(len(weight)) if bias is None else bias, window, plan.setting("groups"))

    def append(self, graph: GraphBuilder, *read: Value) -> Value:
        before = _picture(read[0])
        after = before.through(len(self.weight), self.window)
        spatial = after.height * after.width
        matrix, bias = self._matrix(before, after), self.bias.repeat_interleave(spatial)
        return Value(tuple((graph.affine(*columns(parts, matrix), bias=bias),) for parts in read[0].frames), picture=after)

    def _matrix(self, before: Picture, after: Picture) -> Tensor:
        """What the convolution is of a picture's numbers: every weight stands in it as it is. shape: [after.size, before.size]."""
        outputs, inputs = after.channels // self.groups, before.channels // self.groups
        found = self.weight.new_zeros(self.groups, outputs, after.height * after.width, self.groups, inputs, before.height * before.width)
        for i, j in self.window.taps():
            to, source = _seen(before, after, self.window, i, j)
            weight = self.weight[:, :, i, j].reshape(self.groups, outputs, inputs)
            for g in range(self.groups):  # advanced indices come first: [places, outputs, inputs]
                found[g][:, to, g, :, source] = weight[g].expand(len(to), -1, -1)
        return found.reshape(after.size, before.size)

    def tensors(self) -> Mapping[str, Tensor]:
        return {"weight": self.weight, "bias": self.bias}


@dataclass(frozen=True)
class Pool2d(Layer):
    """The mean or the largest of windows, channel by channel."""

    largest: bool
    window: Window

    @classmethod
    def of(cls, plan: LayerPlan, get: Get) -> Pool2d:
        return cls(plan.word == "max_pool2d", Window.said(dict(plan.settings)))

    def append(self, graph: GraphBuilder, *read: Value) -> Value:
        before = _picture(read[0])
        after = before.through(before.channels, self.window)
        taps = [self._picked(graph, before, after, i, j) for i, j in self.window.taps()]

        def of(parts: tuple[Ref, ...]) -> tuple[Ref, ...]:
            if self.largest:
                return (largest(graph, tuple(graph.affine(*columns(parts, tap)) for tap in taps)),)
            one = torch.ones(after.size, dtype=graph.dtype, device=graph.device)
            total = graph.affine(*columns(parts, torch.stack(taps).sum(0)))
            return (graph.scaled(Factor(one, one * len(taps)), total),)

        return replace(read[0], frames=tuple(map(of, read[0].frames)), picture=after)

    def _picked(self, graph: GraphBuilder, before: Picture, after: Picture, i: int, j: int) -> Tensor:
        """The numbers at one place of all windows. shape: [after.size, before.size], of ones and zeros."""
        found = torch.zeros(before.channels, after.height * after.width, before.channels, before.height * before.width, dtype=graph.dtype)
        to, source = _seen(before, after, self.window, i, j)
        for c in range(before.channels):
            found[c, to, c, source] = 1.0
        return found.reshape(after.size, before.size).to(graph.device)


def _picture(value: Value) -> Picture:
    """Raises ValueError."""
    if value.picture is None:
        raise ValueError("there is no picture")
    return value.picture


def _seen(before: Picture, after: Picture, window: Window, i: int, j: int) -> tuple[Tensor, Tensor]:
    """Which windows see a number at place (i, j) of theirs, and which number that is; what padding they see is 0. shape: each [places]."""
    rows = [(y, at) for y, start in enumerate(window.starts(0, before.height)) if 0 <= (at := start + i * window.dilation[0]) < before.height]
    across = [(x, at) for x, start in enumerate(window.starts(1, before.width)) if 0 <= (at := start + j * window.dilation[1]) < before.width]
    to = [y * after.width + x for y, _ in rows for x, _ in across]
    source = [a * before.width + b for _, a in rows for _, b in across]
    return torch.tensor(to, dtype=torch.long), torch.tensor(source, dtype=torch.long)
