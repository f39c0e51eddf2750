"""Layers over the rows and columns of a picture, whose numbers stand channel by channel, each row by row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from flint import arb

from .errors import InvalidError
from .network import Graph, Ref, spread
from .values import Layer, Said, Value, largest_of, once, quotients, whole
from .vectors import ONE, diagonal, vector


def reshape(graph: Graph, at: str, said: Said, read: list[Value]) -> Value:
    """All frames, one after the other, as channels of rows."""
    picture = (whole(said, "channels", 1), whole(said, "height", 1), whole(said, "width", 1))
    if picture[0] * picture[1] * picture[2] != len(read[0].frames) * read[0].width:
        raise InvalidError(f"{at}: {list(picture)} is no shape of {len(read[0].frames)} frames of {read[0].width} numbers")
    return Value([[ref for parts in read[0].frames for ref in parts]], picture=picture)


def both(said: Said, name: str, least: int) -> tuple[int, int]:
    """A whole number for rows and columns, or one for each."""
    value = said[name] if isinstance(said[name], list) else [said[name]] * 2
    if len(value) != 2 or any(type(x) is not int or x < least for x in value):
        raise InvalidError(f"{said['layer']}: {name} is {said[name]!r}")
    return value[0], value[1]


def conv2d(graph: Graph, at: str, said: Said, read: list[Value]) -> Value:
    """Number (y, x) of what it gives sees rows y stride + i dilation - padding, and columns likewise."""
    weight, ((c, h, w), value) = graph.tensor(once(graph, said, "weight")), of_picture(at, read[0])
    groups, stride, padding, dilation = whole(said, "groups", 1), both(said, "stride", 1), both(said, "padding", 0), both(said, "dilation", 1)
    if weight.ndim != 4 or len(weight) % groups or weight.shape[1] * groups != c:
        raise InvalidError(f"{at}: its weight does not fit")
    out, size = len(weight), weight.shape[2:]
    tall, wide = ((n + 2 * padding[k] - dilation[k] * (size[k] - 1) - 1) // stride[k] + 1 for k, n in enumerate((h, w)))
    if min(tall, wide) < 1:
        raise InvalidError(f"{at}: no window fits")
    # With the padding there, as windows of a larger picture; what is of the padding is dropped.
    inner = np.zeros((out, tall, wide, c, h + 2 * padding[0], w + 2 * padding[1]))
    for o in range(out):
        first = o // (out // groups) * weight.shape[1]
        for y in range(tall):
            for x in range(wide):
                top, left = y * stride[0], x * stride[1]
                rows, across = slice(top, top + dilation[0] * size[0], dilation[0]), slice(left, left + dilation[1] * size[1], dilation[1])
                inner[o, y, x, first : first + weight.shape[1], rows, across][:, : size[0], : size[1]] = weight[o]
    whole_map = inner[..., padding[0] : padding[0] + h, padding[1] : padding[1] + w].reshape(out * tall * wide, c * h * w)
    bias = vector(np.repeat(graph.tensor(f"{said['prefix']}bias", out) if f"{said['prefix']}bias" in graph.tensors else np.zeros(out), tall * wide))
    return Value([[graph.affine(at, spread(parts, whole_map), bias)] for parts in value.frames], picture=(out, tall, wide))


def of_picture(at: str, value: Value) -> tuple[tuple[int, int, int], Value]:
    if value.picture is None:
        raise InvalidError(f"{at}: it is given no picture")
    return value.picture, value


def pool2d(largest: bool) -> Layer:
    """The mean or the largest of windows of every channel."""

    def layer(graph: Graph, at: str, said: Said, read: list[Value]) -> Value:
        (c, h, w), value = of_picture(at, read[0])
        size, stride = both(said, "size", 1), both(said, "stride", 0)
        stride = stride if min(stride) else size
        tall, wide = ((n - size[k]) // stride[k] + 1 for k, n in enumerate((h, w)))
        if min(tall, wide) < 1:
            raise InvalidError(f"{at}: no window fits")
        places, count = np.arange(c * h * w).reshape(c, h, w), c * tall * wide
        taps = []
        for i in range(size[0]):
            for j in range(size[1]):
                seen = places[:, i : i + (tall - 1) * stride[0] + 1 : stride[0], j : j + (wide - 1) * stride[1] + 1 : stride[1]]
                taps.append(np.eye(c * h * w)[seen.ravel()])

        def of(parts: Sequence[Ref]) -> Ref:
            if largest:
                return largest_of(graph, [graph.affine(f"{at}, place", spread(parts, tap)) for tap in taps])
            share = diagonal(quotients([ONE] * count, [arb(len(taps))] * count))
            return graph.affine(at, [(graph.affine(f"{at}, sum", spread(parts, sum(taps[1:], taps[0]))), share)])

        return Value([[of(parts)] for parts in value.frames], picture=(c, tall, wide))

    return layer
