"""Sets of few dimensions: what a sample becomes as it moves along directions, theta in a ball. The network reads it through one more layer.

A graph of its own for every sample, of which theta is the only input: nothing that bounds or attacks knows of it. What is stated as a number here is
that number rounded to the nearest float64, and exact from there on (runtime/README.md, section 10).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vlang.runtime.graph.nodes import Graph, GraphBuilder, Ref

#: Directions by word, each with its channel, None for all of them.
Named = tuple[tuple[str, int | None], ...]


@dataclass(frozen=True, eq=False)
class Directed:
    """named: words of vlang/words/sets.py; or the directions themselves. shape: given [d, m, n]."""

    named: Named = ()
    given: Tensor | None = None

    @property
    def count(self) -> int:
        return len(self.named) if self.given is None else len(self.given)

    def graph(self, graph: Graph, x: Tensor) -> Graph:
        """The network on x as theta moves it. shape: x [m, n]."""
        m = len(x)
        build = GraphBuilder(x.dtype, x.device)
        theta = build.input(0, self.count)
        straight = self.straight(x)
        moved: list[list[tuple[Ref, Tensor | None]]] = [[(theta, straight[:, k].T.contiguous())] for k in range(m)]
        for j, (word, channel) in enumerate(self.named):
            unit = torch.zeros(self.count, dtype=x.dtype, device=x.device).index_fill(0, torch.tensor(j, device=x.device), 1.0)
            if word == "shift":
                ways = build.apply("relu", build.affine((theta, torch.stack([unit, -unit]))))
                towards = shifted(x, channel)
                for k in range(m):
                    moved[k].append((ways, towards[:, k].T.contiguous()))
            if word == "noise_floor":
                seen = in_channel(torch.ones_like(x), channel)
                above = x - x[:, slice(None) if channel is None else slice(channel, channel + 1)].min()
                for k in range(m):
                    raised = build.apply("relu", build.affine((theta, seen[k, :, None] * unit), bias=-above[k]))
                    moved[k].append((raised, torch.diag(seen[k])))
        frames = [build.affine(*terms, bias=x[k]) for k, terms in enumerate(moved)]
        return build.before(frames, graph)

    def straight(self, x: Tensor) -> Tensor:
        """What is added for each unit of theta: of words that bend, nothing. shape: [d, m, n]."""
        if self.given is not None:
            return self.given.to(x)
        time = torch.arange(len(x), dtype=x.dtype, device=x.device) / max(1, len(x) - 1)
        kinds = {"gain": x, "offset": torch.ones_like(x), "drift": time[:, None].expand_as(x)}
        return torch.stack([in_channel(kinds.get(word, torch.zeros_like(x)), channel) for word, channel in self.named])


def in_channel(x: Tensor, channel: int | None) -> Tensor:
    """With zeros for all other numbers of a frame. shape: [..., n]."""
    if channel is None:
        return x
    found = torch.zeros_like(x)
    found[..., channel] = x[..., channel]
    return found


def shifted(x: Tensor, channel: int | None) -> Tensor:
    """From every frame to the one before it, and to the one behind it; the ends have none. shape: [m, n] -> [2, m, n]."""
    zero = torch.zeros_like(x[:1])
    gaps = x[:-1] - x[1:]
    return in_channel(torch.stack([torch.cat([zero, gaps]), torch.cat([-gaps, zero])]), channel)
