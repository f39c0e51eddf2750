"""Layers that treat every frame alone: linear ones, activations, and what scales numbers one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vlang.plan import LayerPlan
from vlang.runtime.graph.nodes import Factor, GraphBuilder, Ref
from vlang.runtime.network.layers.base import Get, Layer, Value, columns, join, needed


@dataclass(frozen=True, eq=False)
class Linear(Layer):
    """shape: weight [out, in], bias [out]."""

    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, plan: LayerPlan, get: Get) -> Linear:
        weight, bias = needed(get, "weight"), get("bias")
        return cls(weight, weight.new_zeros(len(weight)) if bias is None else bias)

    def append(self, graph: GraphBuilder, *read: Value) -> Value:
        return Value(tuple((graph.affine(*columns(parts, self.weight), bias=self.bias),) for parts in read[0].frames))

    def tensors(self) -> Mapping[str, Tensor]:
        return {"weight": self.weight, "bias": self.bias}


@dataclass(frozen=True)
class Activation(Layer):
    """op: a key of RELAXATIONS."""

    op: str

    @classmethod
    def of(cls, plan: LayerPlan, get: Get) -> Activation:
        return cls(plan.word)

    def append(self, graph: GraphBuilder, *read: Value) -> Value:
        return read[0].each(lambda ref: graph.apply(self.op, ref))


@dataclass(frozen=True)
class Identity(Layer):
    """Dropout, when a network is evaluated, and a last softmax, of which only the order of its outputs matters."""

    @classmethod
    def of(cls, plan: LayerPlan, get: Get) -> Identity:
        return cls()

    def append(self, graph: GraphBuilder, *read: Value) -> Value:
        return read[0]


@dataclass(frozen=True, eq=False)
class Normalize(Layer):
    """(x - mean) / std. shape: each [n] or []."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, plan: LayerPlan, get: Get) -> Normalize:
        return cls(*(torch.as_tensor(plan.setting(k), dtype=torch.float64) for k in ("mean", "std")))

    def append(self, graph: GraphBuilder, *read: Value) -> Value:
        mean, std = (_by_channel(read[0], x.to(graph.device, graph.dtype)) for x in (self.mean, self.std))
        factor = Factor(torch.ones_like(std), std)
        return _rescaled(graph, read[0], mean, factor, torch.zeros_like(std), torch.zeros_like(std))


@dataclass(frozen=True, eq=False)
class BatchNorm(Layer):
    """(x - mean) / sqrt(variance + eps) weight + bias, with the running statistics. shape: each [n]."""

    mean: Tensor
    variance: Tensor
    weight: Tensor
    bias: Tensor
    eps: float
    affine: bool

    @classmethod
    def of(cls, plan: LayerPlan, get: Get) -> BatchNorm:
        mean, variance = needed(get, "running_mean"), needed(get, "running_var")
        weight, bias = get("weight"), get("bias")
        return cls(
            mean,
            variance,
            torch.ones_like(mean) if weight is None else weight,
            torch.zeros_like(mean) if bias is None else bias,
            plan.setting("eps"),
            weight is not None,
        )

    def append(self, graph: GraphBuilder, *read: Value) -> Value:
        mean, variance, weight, bias = (_by_channel(read[0], x) for x in (self.mean, self.variance, self.weight, self.bias))
        factor = Factor(weight, variance, self.eps)
        # Some frameworks multiply first and add bias - mean factor.
        return _rescaled(graph, read[0], mean, factor, bias, (mean * factor.rounded).abs())

    def tensors(self) -> Mapping[str, Tensor]:
        own = {"weight": self.weight, "bias": self.bias} if self.affine else {}
        return {"running_mean": self.mean, "running_var": self.variance, **own}


def _by_channel(value: Value, x: Tensor) -> Tensor:
    """One number a channel, of a picture, as one for every number. shape: [n], [channels] or [] -> [n]."""
    if value.picture is not None and x.dim():
        return x.repeat_interleave(value.picture.height * value.picture.width)
    return x.expand(value.width)


def _rescaled(graph: GraphBuilder, value: Value, mean: Tensor, factor: Factor, bias: Tensor, beside: Tensor) -> Value:
    """(x - mean) factor + bias of every frame. beside: what float32 forward passes may add up besides."""

    def of(parts: tuple[Ref, ...]) -> tuple[Ref, ...]:
        centred = (
            graph.affine(*columns(parts, torch.eye(value.width, dtype=graph.dtype, device=graph.device)), bias=-mean)
            if len(parts) > 1
            else (graph.affine((parts[0], None), bias=-mean))
        )
        return (graph.scaled(factor, centred, bias=bias, size=bias.abs() + beside),)

    return replace(value, frames=tuple(map(of, value.frames)), directions=1)


@dataclass(frozen=True)
class LeakyRelu(Layer):
    """slope x + (1 - slope) max(x, 0), of which the first part is linear."""

    slope: float

    @classmethod
    def of(cls, plan: LayerPlan, get: Get) -> LeakyRelu:
        return cls(plan.setting("slope"))

    def append(self, graph: GraphBuilder, *read: Value) -> Value:
        def of(ref: Ref) -> Ref:
            part, eye = graph.apply("relu", ref), torch.eye(ref.width, dtype=graph.dtype, device=graph.device)
            return graph.affine((ref, self.slope * eye), (part, None), (part, -self.slope * eye))

        return read[0].each(of)


@dataclass(frozen=True, eq=False)
class LayerNorm(Layer):
    """(x - mean) / sqrt(variance + eps) weight + bias, mean and variance over the numbers of a frame. shape: weight, bias [n]."""

    weight: Tensor
    bias: Tensor
    eps: float

    @classmethod
    def of(cls, plan: LayerPlan, get: Get) -> LayerNorm:
        weight, bias = needed(get, "weight"), get("bias")
        return cls(weight, torch.zeros_like(weight) if bias is None else bias, plan.setting("eps"))

    def append(self, graph: GraphBuilder, *read: Value) -> Value:
        n, like = read[0].width, self.weight
        row, column, one = like.new_ones(1, n), like.new_ones(n, 1), like.new_ones(1)
        share = Factor(one, one * n)

        def of(parts: tuple[Ref, ...]) -> tuple[Ref, ...]:
            x = join(graph, parts)
            mean = graph.scaled(share, graph.affine((x, row)))
            centred = graph.affine((x, None), (mean, -column))
            variance = graph.scaled(share, graph.affine((graph.apply("square", centred), row)), bias=one * self.eps)
            scale = graph.affine((graph.apply("rsqrt", variance), column))
            return (graph.affine((graph.apply("product", centred, scale), torch.diag(self.weight)), bias=self.bias),)

        return Value(tuple(map(of, read[0].frames)))

    def tensors(self) -> Mapping[str, Tensor]:
        return {"weight": self.weight, "bias": self.bias}
