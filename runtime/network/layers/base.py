"""What a layer is: its equations, written once, as nodes of a graph over the frames that it reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from vlang.picture import Picture
from vlang.plan import LayerPlan
from vlang.runtime.graph.nodes import GraphBuilder, Ref

#: A tensor by its name in the file, less the layer's prefix; None where there is none.
Get = Callable[[str], Tensor | None]


@dataclass(frozen=True)
class Value:
    """Frames, each in parts that stand one after the other; one frame where there is a single vector.

    directions: 2 where the two parts are what a forward and a backward reading say. picture: what the numbers of every frame are, if they are one.
    """

    frames: tuple[tuple[Ref, ...], ...]
    directions: int = 1
    picture: Picture | None = None

    @property
    def width(self) -> int:
        return sum(r.width for r in self.frames[0])

    def each(self, of: Callable[[Ref], Ref]) -> Value:
        """A function of every part of every frame."""
        return replace(self, frames=tuple(tuple(map(of, parts)) for parts in self.frames))


class Layer(ABC):
    """One layer with its weights. What its word says of it is in vlang/words/layers.py, or cells.py."""

    @classmethod
    @abstractmethod
    def of(cls, plan: LayerPlan, get: Get) -> Self:
        """Raises KeyError where a tensor is missing."""

    @abstractmethod
    def append(self, graph: GraphBuilder, *read: Value) -> Value:
        """Appends the layer's nodes to the graph and returns what it gives."""

    def tensors(self) -> Mapping[str, Tensor]:
        """By their names in the file, less the layer's prefix."""
        return {}


def columns(refs: Sequence[Ref], weight: Tensor) -> list[tuple[Ref, Tensor | None]]:
    """The terms of weight @ concat(refs)."""
    terms: list[tuple[Ref, Tensor | None]] = []
    start = 0
    for ref in refs:
        terms.append((ref, weight[:, start : start + ref.width].contiguous()))
        start += ref.width
    return terms


def join(graph: GraphBuilder, refs: Sequence[Ref]) -> Ref:
    """One reference for a concatenation."""
    if len(refs) == 1:
        return refs[0]
    eye = torch.eye(sum(r.width for r in refs), dtype=graph.dtype, device=graph.device)
    return graph.affine(*columns(refs, eye))


def needed(get: Get, role: str) -> Tensor:
    """Raises KeyError."""
    found = get(role)
    if found is None:
        raise KeyError(role)
    return found


def largest(graph: GraphBuilder, refs: tuple[Ref, ...]) -> Ref:
    """Number by number: max(a, b) = a + relu(b - a), in a balanced tree."""
    eye = torch.eye(refs[0].width, dtype=graph.dtype, device=graph.device)
    while len(refs) > 1:
        pairs = [
            graph.affine((a, None), (graph.apply("relu", graph.affine((b, None), (a, -eye))), None))
            for a, b in zip(refs[0::2], refs[1::2], strict=False)
        ]
        refs = (*pairs, *refs[2 * len(pairs) :])
    return refs[0]
