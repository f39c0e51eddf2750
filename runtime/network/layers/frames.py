"""Layers that see several frames at once: convolutions and pooling by windows, and what is read out of all frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vlang.picture import behind
from vlang.plan import LayerPlan
from vlang.runtime.graph.nodes import GraphBuilder, Ref
from vlang.runtime.network.layers.base import Get, Layer, Value, columns, join, largest, needed


@dataclass(frozen=True, eq=False)
class Conv1d(Layer):
    """Frame t of the output sees frames t stride + k dilation - padding. shape: weight [out, in, taps], groups unfolded; bias [out]."""

    weight: Tensor
    bias: Tensor
    stride: int
    padding: int
    dilation: int
    groups: int

    @classmethod
    def of(cls, plan: LayerPlan, get: Get) -> Conv1d:
        weight, bias = needed(get, "weight"), get("bias")
        return cls(
            weight, weight.new_zeros(len(weight)) if bias is None else bias, *(plan.setting(k) for k in ("stride", "padding", "dilation", "groups"))
        )

    def append(self, graph: GraphBuilder, *read: Value) -> Value:
        frames, taps = read[0].frames, [_ungrouped(w, self.groups) for w in self.weight.unbind(2)]
        reach = self.dilation * (len(taps) - 1) + 1
        return Value(
            tuple((self._window(graph, frames, taps, start),) for start in range(-self.padding, len(frames) + self.padding - reach + 1, self.stride))
        )

    def _window(self, graph: GraphBuilder, frames: tuple[tuple[Ref, ...], ...], taps: list[Tensor], start: int) -> Ref:
        at = {k: start + k * self.dilation for k in range(len(taps))}
        terms = [term for k, t in at.items() if 0 <= t < len(frames) for term in columns(frames[t], taps[k])]
        return graph.affine(*terms, bias=self.bias) if terms else graph.constant(self.bias)

    def tensors(self) -> Mapping[str, Tensor]:
        return {"weight": self.weight, "bias": self.bias}


def _ungrouped(weight: Tensor, groups: int) -> Tensor:
    """shape: [out, in / groups] -> [out, in]."""
    found: Tensor = torch.block_diag(*weight.chunk(groups))  # type: ignore[no-untyped-call]
    return found


@dataclass(frozen=True)
class Pool(Layer):
    """The mean or the largest of windows of frames."""

    largest: bool
    size: int
    stride: int

    @classmethod
    def of(cls, plan: LayerPlan, get: Get) -> Pool:
        size = plan.setting("size")
        return cls(plan.word == "max_pool", size, plan.setting("stride") or size)

    def append(self, graph: GraphBuilder, *read: Value) -> Value:
        frames = read[0].frames
        starts = range(0, len(frames) - self.size + 1, self.stride)
        return Value(tuple(_together(graph, self.largest, frames[s : s + self.size]) for s in starts), read[0].directions)


def _together(graph: GraphBuilder, largest_: bool, frames: tuple[tuple[Ref, ...], ...]) -> tuple[Ref, ...]:
    """The mean or the largest of some frames, part by part."""
    of: Callable[[tuple[Ref, ...]], Ref] = (lambda refs: largest(graph, refs)) if largest_ else graph.mean
    return tuple(of(refs) for refs in zip(*frames, strict=True))


@dataclass(frozen=True)
class Readout(Layer):
    """One vector of all frames. kind: last, last_frame, mean, max."""

    kind: str

    @classmethod
    def of(cls, plan: LayerPlan, get: Get) -> Readout:
        return cls(plan.word)

    def append(self, graph: GraphBuilder, *read: Value) -> Value:
        frames = read[0].frames
        match self.kind:
            case "last" if read[0].directions == 2:
                return Value(((frames[-1][0], frames[0][1]),))
            case "last" | "last_frame":
                return Value((frames[-1],))
        return Value((_together(graph, self.kind == "max", frames),))


@dataclass(frozen=True)
class Flatten(Layer):
    """All frames, one after the other, or their first numbers, then their second ones, and so on."""

    by_channel: bool

    @classmethod
    def of(cls, plan: LayerPlan, get: Get) -> Flatten:
        return cls(plan.setting("order") == "channels")

    def append(self, graph: GraphBuilder, *read: Value) -> Value:
        frames, n = read[0].frames, read[0].width
        if not self.by_channel:
            return Value((tuple(ref for parts in frames for ref in parts),))
        m = len(frames)
        places = torch.eye(m * n, dtype=graph.dtype, device=graph.device).reshape(n, m, m * n)  # [c, t]: row c m + t
        return Value(((graph.affine(*(term for t, parts in enumerate(frames) for term in columns(parts, places[:, t].T))),),))


@dataclass(frozen=True)
class Add(Layer):
    """The sum of what several layers give, frame by frame."""

    @classmethod
    def of(cls, plan: LayerPlan, get: Get) -> Add:
        return cls()

    def append(self, graph: GraphBuilder, *read: Value) -> Value:
        frames = zip(*(v.frames for v in read), strict=True)
        return Value(tuple((graph.affine(*((join(graph, parts), None) for parts in each)),) for each in frames), picture=read[0].picture)


@dataclass(frozen=True)
class Concat(Layer):
    """What several layers give, side by side, frame by frame."""

    @classmethod
    def of(cls, plan: LayerPlan, get: Get) -> Concat:
        return cls()

    def append(self, graph: GraphBuilder, *read: Value) -> Value:
        frames = tuple(tuple(ref for parts in each for ref in parts) for each in zip(*(v.frames for v in read), strict=True))
        return Value(frames, picture=behind("concat", {}, tuple(v.picture for v in read)))


@dataclass(frozen=True)
class Attention(Layer):
    """The mean of frames weighted by the softmax over them of scores, one number a frame: weights 1 / (1 + sum over the others of exp(s_j - s_t))."""

    @classmethod
    def of(cls, plan: LayerPlan, get: Get) -> Attention:
        return cls()

    def append(self, graph: GraphBuilder, *read: Value) -> Value:
        frames = [join(graph, parts) for parts in read[0].frames]
        scores = [join(graph, parts) for parts in read[1].frames]
        if len(frames) == 1:
            return Value((read[0].frames[0],))
        count, n = len(frames), frames[0].width
        one = torch.ones(1, dtype=graph.dtype, device=graph.device)
        column, row = (torch.ones(*shape, dtype=graph.dtype, device=graph.device) for shape in ((n, 1), (1, count - 1)))
        eye = torch.eye(count - 1, dtype=graph.dtype, device=graph.device)
        weighted = []
        for t, frame in enumerate(frames):
            others = [s for j, s in enumerate(scores) if j != t]
            ahead = graph.affine(*((s, eye[:, k : k + 1]) for k, s in enumerate(others)), (scores[t], -torch.ones_like(row.T)))
            share = graph.apply("reciprocal", graph.affine((graph.apply("exp", ahead), row), bias=one))
            weighted.append(graph.apply("product", frame, graph.affine((share, column))))
        return Value(((graph.affine(*((w, None) for w in weighted)),),))
