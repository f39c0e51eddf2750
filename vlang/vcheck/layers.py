"""The layers that a claim lists, one after the other, as nodes of the graph.

A claim's layer is a record: `layer`, its word; `of`, the numbers of the layers that it reads, -1 for the input's frames; `prefix` of its tensors'
names; and what is said of it. Every tensor must be used once, and every word that is said must be known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from flint import arb

from .errors import InvalidError
from .network import CELLS, Graph, Node, Ref, Weights, spread
from .pictures import conv2d, pool2d, reshape
from .values import Layer, Said, Value, joined, largest_of, mean_of, once, quotients, whole
from .vectors import ONE, Array, Vector, diagonal, matrix, vector

#: What makes the frames that a network reads.
Frames = Callable[[Graph], list[Ref]]


def plain(frames: int, width: int) -> Frames:
    """The input's own, of so many numbers each."""
    return lambda graph: [graph.add(f"frame {t}", width, frame=t) for t in range(frames)]


def stretched(scale: Array) -> Frames:
    """Those of a set in units of its own [frames, width]: the input's frames rest, and as many others, behind them, move in balls."""

    def made(graph: Graph) -> list[Ref]:
        frames = plain(2 * len(scale), scale.shape[1])(graph)
        pairs = zip(frames[: len(scale)], frames[len(scale) :], scale, strict=True)
        return [graph.affine(f"frame {t}", [(x, None), (u, matrix(np.diag(s)))]) for t, (x, u, s) in enumerate(pairs)]

    return made


def unroll(tensors: dict[str, Array], claim: Said, frames: Frames, width: int) -> list[Node]:
    """The nodes of the network that is claimed; raises InvalidError where a tensor does not fit or has no role in it. width: numbers of a frame."""
    graph, table = Graph(tensors), claim["embedding"]
    start = Value([[ref] for ref in frames(graph)])
    if table is not None and (not re.fullmatch(r"(?i).*emb.*weight", table) or graph.tensor(table).shape[1:] != (width,)):
        raise InvalidError(f"{table!r} is no embedding of its inputs")
    given: list[Value] = []
    for k, said in enumerate(claim["layers"]):
        word, of = said["layer"], said["of"]
        fits = len(of) == 2 if word == "attention" else len(of) == 1 or word in ("add", "concat")
        if word == "softmax" and k < len(claim["layers"]) - 1:
            raise InvalidError("there are layers behind a softmax")
        if word not in LAYERS or not fits or any(type(i) is not int or not -1 <= i < k for i in of):
            raise InvalidError(f"layer {k}, {word!r} of {of}, is not known")
        layer, settings = LAYERS[word]
        if set(said) - {"layer", "of", "prefix"} != set(settings):
            raise InvalidError(f"layer {k}, {word!r}, does not say {sorted(settings)} and nothing else")
        read = [start if i < 0 else given[i] for i in of]
        if any(v.picture is not None for v in read) and word not in PICTURED:
            raise InvalidError(f"layer {k}, {word!r}, is given a picture")
        given.append(layer(graph, f"layer {k}, {word}", said, read))
    (parts,) = given[-1].frames
    output = joined(graph, "output", parts)
    if output != (len(graph.nodes) - 1, 0, graph.nodes[-1].width) or not graph.nodes[-1].terms:  # the margin is one of the last node
        graph.affine("output", [(output, None)])
    if set(tensors) - graph.used:
        raise InvalidError(f"the network's tensor {min(set(tensors) - graph.used)!r} has no role in what is claimed")
    return graph.nodes


# -- recurrent layers -------------------------------------------------------------------------------------------------


def recurrent(graph: Graph, at: str, said: Said, read: list[Value]) -> Value:
    layers, directions, initial = whole(said, "layers", 1), whole(said, "directions", 1), said["initial"]
    known, prefix = CELLS[said["layer"]].states, said["prefix"]
    if directions > 2 or (initial and (len(initial) != len(known) or any(n not in (k, prefix + k) for n, k in zip(initial, known, strict=True)))):
        raise InvalidError(f"{at}: its directions, or initial states {initial}, are not {list(known)}")
    once(graph, said, "weight_hh_l0")
    sequence = read[0].frames
    for layer in range(layers):
        ways = [list(direction(graph, f"{at} {layer}", said, layer, d, sequence)) for d in range(directions)]
        sequence = [list(refs) for refs in zip(*(way[:: -1 if k else 1] for k, way in enumerate(ways)), strict=True)]
    return Value(sequence, directions)


def direction(graph: Graph, at: str, said: Said, layer: int, backwards: int, sequence: Sequence[Sequence[Ref]]) -> Iterator[Ref]:
    """The outputs of one layer in one direction, in the order in which it meets the frames."""
    cell, prefix, end, ways = said["layer"], said["prefix"], f"_l{layer}" + "_reverse" * backwards, said["directions"]
    rows, gives = graph.tensor(f"{prefix}weight_hh{end}").shape
    s, inside = rows // CELLS[cell].gates, sum(r[2] - r[1] for r in sequence[0])
    step, state = CELLS[cell].step(graph, Weights.of(graph, cell, prefix, end, inside, s, gives)), []
    for k, name in enumerate(said["initial"] or [None] * len(CELLS[cell].states)):
        width = s if k else gives  # the first is what the cell gives
        start = np.zeros(width) if name is None else graph.tensor(name).reshape(said["layers"] * ways, width)[layer * ways + backwards]
        state.append(graph.add("initial state", width, bias=vector(start)))
    for t in range(len(sequence))[:: -1 if backwards else 1]:
        here = f"{at}{' reverse' * backwards}, frame {t}, "
        state = step(here, joined(graph, here + "input", sequence[t]), state)
        yield state[0]


# -- frame by frame ---------------------------------------------------------------------------------------------------


def linear(graph: Graph, at: str, said: Said, read: list[Value]) -> Value:
    (value,) = read
    weight = graph.tensor(once(graph, said, "weight"))
    if weight.shape != (len(weight), value.width):
        raise InvalidError(f"{at} {said['prefix']!r} does not fit")
    bias = graph.bias(f"{said['prefix']}bias", len(weight))
    return Value([[graph.affine(f"{at} {said['prefix']!r}", spread(parts, weight), bias)] for parts in value.frames])


def activation(op: str) -> Layer:
    return lambda graph, at, said, read: replace(read[0], frames=[[graph.apply(at, op, r) for r in parts] for parts in read[0].frames])


def identity(graph: Graph, at: str, said: Said, read: list[Value]) -> Value:
    return read[0]


def normalize(graph: Graph, at: str, said: Said, read: list[Value]) -> Value:
    """(x - mean) / std."""
    mean, std = (by_channel(at, read[0], np.asarray(said[k], dtype=np.float64)) for k in ("mean", "std"))
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
        raise InvalidError(f"{at}: its mean and std are no numbers, the latter above 0")
    return rescaled(graph, at, read[0], mean, quotients(vector(np.ones_like(std)), vector(std)), vector(np.zeros_like(std)))


def batchnorm(graph: Graph, at: str, said: Said, read: list[Value]) -> Value:
    """(x - mean) / sqrt(variance + eps) weight + bias."""
    n, prefix, eps = read[0].picture[0] if read[0].picture else read[0].width, said["prefix"], said["eps"]
    held = {k: graph.tensor(once(graph, said, k) if k == "running_mean" else f"{prefix}{k}", n) for k in ("running_mean", "running_var")}
    held |= {k: graph.tensor(f"{prefix}{k}", n) if f"{prefix}{k}" in graph.tensors else np.full(n, x) for k, x in (("weight", 1.0), ("bias", 0.0))}
    mean, variance, weight, bias = (by_channel(at, read[0], held[k]) for k in ("running_mean", "running_var", "weight", "bias"))
    if type(eps) is not float or not eps > 0 or not (variance >= 0).all():
        raise InvalidError(f"{at}: its variance and eps are no numbers above 0")
    return rescaled(graph, at, read[0], mean, quotients(vector(weight), vector(variance), eps), vector(bias))


def by_channel(at: str, value: Value, x: Array) -> Array:
    """One number for all, one for every number, or of a picture one for every channel, as one for every number."""
    if x.ndim == 0:
        return np.broadcast_to(x, value.width)
    count, places = value.width, 1
    if value.picture is not None:
        count, places = value.picture[0], value.picture[1] * value.picture[2]
    if x.shape != (count,):
        raise InvalidError(f"{at}: of {list(x.shape)} channels, {count} are given")
    return np.repeat(x, places)


def rescaled(graph: Graph, at: str, value: Value, mean: Array, factor: Vector, bias: Vector) -> Value:
    frames, scale, shift = [], diagonal(factor), vector(-mean)
    for parts in value.frames:
        terms = [(parts[0], None)] if len(parts) == 1 else spread(parts, np.eye(value.width))
        frames.append([graph.affine(at, [(graph.affine(f"{at}, centred", terms, shift), scale)], bias)])
    return Value(frames, picture=value.picture)


def leaky_relu(graph: Graph, at: str, said: Said, read: list[Value]) -> Value:
    """slope x + relu(x) - slope relu(x)."""
    slope = said["slope"]
    if type(slope) is not float or not np.isfinite(slope):
        raise InvalidError(f"{at}: its slope is no number")

    def of(ref: Ref) -> Ref:
        part, n = graph.apply(f"{at}, relu", "relu", ref), ref[2] - ref[1]
        return graph.affine(at, [(ref, diagonal([arb(slope)] * n)), (part, None), (part, diagonal([arb(-slope)] * n))])

    return replace(read[0], frames=[[of(r) for r in parts] for parts in read[0].frames])


def layernorm(graph: Graph, at: str, said: Said, read: list[Value]) -> Value:
    """(x - mean) / sqrt(variance + eps) weight + bias, over the numbers of a frame."""
    n, prefix, eps, frames = read[0].width, said["prefix"], said["eps"], []
    weight, bias = diagonal(vector(graph.tensor(once(graph, said, "weight"), n))), graph.bias(f"{prefix}bias", n)
    if type(eps) is not float or not eps > 0:
        raise InvalidError(f"{at}: its eps is no number above 0")
    row, column, share = matrix(np.ones((1, n))), matrix(np.ones((n, 1))), diagonal(quotients([ONE], [arb(n)]))
    for t, parts in enumerate(read[0].frames):
        here = f"{at}, frame {t}, "
        x = joined(graph, here + "input", parts)
        mean = graph.affine(here + "mean", [(graph.affine(here + "sum", [(x, row)]), share)])
        centred = graph.affine(here + "centred", [(x, None), (mean, matrix(-np.ones((n, 1))))])
        squares = graph.affine(here + "squares", [(graph.apply(here + "square", "square", centred), row)])
        variance = graph.affine(here + "variance", [(squares, share)], [arb(eps)])
        scale = graph.affine(here + "scale", [(graph.apply(here + "root", "rsqrt", variance), column)])
        frames.append([graph.affine(here + "output", [(graph.apply(here + "product", "product", centred, scale), weight)], bias)])
    return Value(frames)


# -- several frames ---------------------------------------------------------------------------------------------------


def conv1d(graph: Graph, at: str, said: Said, read: list[Value]) -> Value:
    """Frame t of what it gives sees frames t stride + k dilation - padding, zeros where there are none."""
    weight, frames = graph.tensor(once(graph, said, "weight")), read[0].frames
    stride, padding, dilation, groups = (whole(said, k, least) for k, least in (("stride", 1), ("padding", 0), ("dilation", 1), ("groups", 1)))
    if weight.ndim != 3 or len(weight) % groups or weight.shape[1] * groups != read[0].width:
        raise InvalidError(f"{at}: its weight does not fit")
    rows, columns, size = len(weight) // groups, weight.shape[1], weight.shape[2]
    taps = np.zeros((size, len(weight), read[0].width))
    for g in range(groups):
        taps[:, g * rows : (g + 1) * rows, g * columns : (g + 1) * columns] = np.moveaxis(weight[g * rows : (g + 1) * rows], 2, 0)
    bias, found = graph.bias(f"{said['prefix']}bias", len(weight)), []
    for start in range(-padding, len(frames) + padding - dilation * (size - 1), stride):
        seen = [(t, k) for k in range(size) if 0 <= (t := start + k * dilation) < len(frames)]
        terms = [term for t, k in seen for term in spread(frames[t], taps[k])]
        found.append([graph.affine(at, terms, bias) if terms else graph.add(at, len(weight), bias=bias)])
    return Value(found)


def pool(of: Callable[[Graph, list[Ref]], Ref]) -> Layer:
    def layer(graph: Graph, at: str, said: Said, read: list[Value]) -> Value:
        frames, size = read[0].frames, whole(said, "size", 1)
        stride = whole(said, "stride", 0) or size
        starts = range(0, len(frames) - size + 1, stride)
        return replace(read[0], frames=[[of(graph, list(refs)) for refs in zip(*frames[t : t + size], strict=True)] for t in starts])

    return layer


def over_all(of: Callable[[Graph, list[Ref]], Ref]) -> Layer:
    return lambda graph, at, said, read: Value([[of(graph, list(refs)) for refs in zip(*read[0].frames, strict=True)]])


def last(graph: Graph, at: str, said: Said, read: list[Value]) -> Value:
    """Each direction's own final state."""
    frames = read[0].frames
    return Value([[frames[-1][0], frames[0][1]]] if read[0].directions == 2 else [frames[-1]])


def flatten(graph: Graph, at: str, said: Said, read: list[Value]) -> Value:
    """Frame by frame, or channel by channel."""
    frames, n = read[0].frames, read[0].width
    if said["order"] == "frames":
        return Value([[ref for parts in frames for ref in parts]])
    if said["order"] != "channels":
        raise InvalidError(f"{at}: its order is not known")
    places = np.eye(n * len(frames)).reshape(n, len(frames), -1)
    return Value([[graph.affine(at, [term for t, parts in enumerate(frames) for term in spread(parts, places[:, t].T)])]])


def add(graph: Graph, at: str, said: Said, read: list[Value]) -> Value:
    if len({(len(v.frames), v.width, v.picture) for v in read}) > 1:
        raise InvalidError(f"{at}: what it adds does not fit together")
    frames = [
        [graph.affine(at, [(joined(graph, f"{at}, input", parts), None) for parts in each])] for each in zip(*(v.frames for v in read), strict=True)
    ]
    return Value(frames, picture=read[0].picture)


def attention(graph: Graph, at: str, said: Said, read: list[Value]) -> Value:
    """The sum of the frames times 1 / (1 + sum over the others of exp(s_j - s_t)), s the scores."""
    if read[1].width != 1 or len(read[0].frames) != len(read[1].frames):
        raise InvalidError(f"{at}: it needs one score a frame")
    frames, scores = ([joined(graph, f"{at}, input", parts) for parts in v.frames] for v in read)
    if len(frames) == 1:
        return Value([read[0].frames[0]])
    n, others = frames[0][2] - frames[0][1], len(frames) - 1
    eye, row, column, weighted = np.eye(others), matrix(np.ones((1, others))), matrix(np.ones((n, 1))), []
    for t, frame in enumerate(frames):
        here = f"{at}, frame {t}, "
        rest = [s for j, s in enumerate(scores) if j != t]
        terms = [(s, matrix(eye[:, k : k + 1])) for k, s in enumerate(rest)] + [(scores[t], matrix(-np.ones((others, 1))))]
        total = graph.affine(here + "total", [(graph.apply(here + "exp", "exp", graph.affine(here + "ahead", terms)), row)], [ONE])
        share = graph.affine(here + "share", [(graph.apply(here + "inverse", "reciprocal", total), column)])
        weighted.append(graph.apply(here + "weighted", "product", frame, share))
    return Value([[graph.affine(at, [(w, None) for w in weighted])]])


def concat(graph: Graph, at: str, said: Said, read: list[Value]) -> Value:
    pictures, picture = [v.picture for v in read if v.picture is not None], None
    if len({p[1:] for p in pictures}) == 1 and len(pictures) == len(read):
        picture = (sum(p[0] for p in pictures), *pictures[0][1:])
    return Value([[ref for parts in each for ref in parts] for each in zip(*(v.frames for v in read), strict=True)], picture=picture)


ACTIVATIONS = ("relu", "tanh", "sigmoid", "elu", "selu", "gelu", "silu", "softplus", "hardtanh", "hardsigmoid")
#: What may read a picture.
PICTURED = frozenset(
    {
        *ACTIVATIONS,
        "leaky_relu",
        "none",
        "dropout",
        "normalize",
        "batchnorm",
        "add",
        "concat",
        "conv2d",
        "avg_pool2d",
        "max_pool2d",
        "reshape",
        "flatten",
    }
)
_POOLED = ("size", "stride")
#: By word: the layer, and what is said of it.
LAYERS: Mapping[str, tuple[Layer, tuple[str, ...]]] = MappingProxyType(
    {
        **dict.fromkeys(CELLS, (recurrent, ("layers", "directions", "initial"))),
        **{op: (activation(op), ()) for op in ACTIVATIONS},
        "leaky_relu": (leaky_relu, ("slope",)),
        "layernorm": (layernorm, ("eps",)),
        "attention": (attention, ()),
        "none": (identity, ()),
        "dropout": (identity, ()),
        "softmax": (identity, ()),  # the last: it keeps the order of its outputs
        "linear": (linear, ()),
        "normalize": (normalize, ("mean", "std")),
        "batchnorm": (batchnorm, ("eps",)),
        "conv1d": (conv1d, ("stride", "padding", "dilation", "groups")),
        "reshape": (reshape, ("channels", "height", "width")),
        "conv2d": (conv2d, ("stride", "padding", "dilation", "groups")),
        "avg_pool2d": (pool2d(largest=False), _POOLED),
        "max_pool2d": (pool2d(largest=True), _POOLED),
        "avg_pool": (pool(mean_of), _POOLED),
        "max_pool": (pool(largest_of), _POOLED),
        "last": (last, ()),
        "last_frame": (lambda graph, at, said, read: Value([read[0].frames[-1]]), ()),
        "mean": (over_all(mean_of), ()),
        "max": (over_all(largest_of), ()),
        "flatten": (flatten, ("order",)),
        "add": (add, ()),
        "concat": (concat, ()),
    }
)
