"""What layers give, and what they are made of: frames of numbers, pictures, and what is said of a layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flint import arb, ctx

from .errors import InvalidError
from .network import Graph, Ref, spread
from .vectors import ONE, Vector, diagonal

#: Bits of numbers that no float holds: those of values that do not move (statement.py).
FACTOR_BITS = 512
Said = Mapping[str, Any]


@dataclass(frozen=True)
class Value:
    """Frames, each in parts one after the other. directions: 2 where they are what a forward and a backward reading say.

    picture: channels, rows and columns that a frame's numbers are, if they are a picture.
    """

    frames: Sequence[Sequence[Ref]]
    directions: int = 1
    picture: tuple[int, int, int] | None = None

    @property
    def width(self) -> int:
        return sum(r[2] - r[1] for r in self.frames[0])


#: What a layer makes of what it reads: (graph, where it is, what is said of it, values) -> value.
Layer = Callable[[Graph, str, Said, list[Value]], Value]


def joined(graph: Graph, name: str, refs: Sequence[Ref]) -> Ref:
    """One reference to several parts."""
    return refs[0] if len(refs) == 1 else graph.affine(name, spread(refs, np.eye(sum(r[2] - r[1] for r in refs))))


def whole(said: Said, name: str, least: int) -> int:
    """A whole number that a layer says."""
    value = said[name]
    if type(value) is not int or value < least:
        raise InvalidError(f"{said['layer']}: {name} is {value!r}")
    return value


def once(graph: Graph, said: Said, role: str) -> str:
    """The name of a tensor that no layer has used yet."""
    name = f"{said['prefix']}{role}"
    if name in graph.used:
        raise InvalidError(f"tensor {name!r} is used twice")
    return name


def quotients(above: Vector, below: Vector, under_root: float | None = None) -> Vector:
    """above / below, or above / sqrt(below + under_root), to many bits."""
    bits, ctx.prec = ctx.prec, FACTOR_BITS
    found = [a / (b if under_root is None else (b + arb(under_root)).sqrt()) for a, b in zip(above, below, strict=True)]
    ctx.prec = bits
    return found


def mean_of(graph: Graph, refs: list[Ref]) -> Ref:
    share = diagonal(quotients([ONE] * (refs[0][2] - refs[0][1]), [arb(len(refs))] * (refs[0][2] - refs[0][1])))
    return graph.affine("mean", [(r, share) for r in refs])


def largest_of(graph: Graph, refs: list[Ref]) -> Ref:
    """max(a, b) = a + relu(b - a), in a balanced tree."""
    minus = diagonal([-ONE] * (refs[0][2] - refs[0][1]))
    while len(refs) > 1:
        gaps = ((a, graph.apply("gain", "relu", graph.affine("gap", [(b, None), (a, minus)]))) for a, b in zip(refs[::2], refs[1::2], strict=False))
        refs = [graph.affine("maximum", [(a, None), (gap, None)]) for a, gap in gaps] + refs[len(refs) // 2 * 2 :]
    return refs[0]
