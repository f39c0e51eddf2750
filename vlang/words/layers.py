"""Layers: what each word of `layers` reads and gives, the tensors it has, and what may be said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

#: Kinds of settings: whole numbers, one or one for rows and one for columns, numbers, one number or one a channel, words.
SettingKind = Literal["count", "pair", "number", "numbers", "word"]


@dataclass(frozen=True)
class Setting:
    """What may be said of a layer in parentheses. default: None where it must be said. least, above: bounds of numbers; words: of a word."""

    kind: SettingKind
    doc: str
    default: int | float | str | None = None
    least: int | None = None
    above: int | None = None
    words: tuple[str, ...] = ()


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True)
class Layer:
    """gives: what it makes of frames: other frames one by one or by windows, or one vector of all of them.

    tensors, optional: the roles of its tensors by which it is known in a file, and of those that may be missing; shapes: their number of dimensions.
    idle: tensors that do not matter to what it computes. nodes: of the graph, for each frame that it gives and part of it. real: whether float32
    implementations differ by more than roundings of one another. picture: whether it needs the numbers of a frame to be a picture, or leaves one what
    it is.
    """

    doc: str
    gives: Literal["frames", "windows", "vector"] = "frames"
    picture: Literal["none", "reads", "keeps"] = "none"
    tensors: Mapping[str, int] = field(default_factory=_nothing)
    optional: Mapping[str, int] = field(default_factory=_nothing)
    idle: tuple[str, ...] = ()
    settings: Mapping[str, Setting] = field(default_factory=_nothing)
    nodes: int = 1
    real: bool = False


_STEPS = {
    "stride": Setting("count", "frames from one window to the next", 1, least=1),
    "padding": Setting("count", "frames of zeros before the first and behind the last", 0, least=0),
    "dilation": Setting("count", "frames from one tap to the next", 1, least=1),
}
_PLACES = {
    "stride": Setting("pair", "rows and columns from one window to the next", 1, least=1),
    "padding": Setting("pair", "rows and columns of zeros on every side", 0, least=0),
    "dilation": Setting("pair", "rows and columns from one tap to the next", 1, least=1),
}
_SIZE_2D = Setting("pair", "rows and columns of a window", least=1)
_STRIDE_2D = Setting("pair", "rows and columns from one window to the next; 0: as many as the window has", 0, least=0)
_GROUPS = Setting("count", "groups of channels that do not see one another", 1, least=1)
_SIZE = Setting("count", "frames of a window", least=1)
_STRIDE = Setting("count", "frames from one window to the next; 0: as many as the window has", 0, least=0)
_EPS = Setting("number", "what is added to the variance", 1e-5, above=0)

LAYERS: Mapping[str, Layer] = MappingProxyType(
    {
        "normalize": Layer(
            "(x - mean) / std, number by number; eps is then in the units of x",
            picture="keeps",
            settings={
                "mean": Setting("numbers", "of each channel, or of all"),
                "std": Setting("numbers", "of each channel, or of all", above=0),
            },
            nodes=2,
        ),
        "linear": Layer("nn.Linear, frame by frame", tensors={"weight": 2}, optional={"bias": 1}),
        "conv1d": Layer(
            "nn.Conv1d over the frames, whose numbers are its channels",
            "windows",
            tensors={"weight": 3},
            optional={"bias": 1},
            settings=_STEPS | {"groups": _GROUPS},
            real=True,  # by FFT or Winograd's products, where a library chooses them
        ),
        "reshape": Layer(
            "all numbers, frame by frame, as one picture: channel by channel, each row by row",
            "vector",
            settings={x: Setting("count", f"{x} of the picture", least=1) for x in ("channels", "height", "width")},
            nodes=0,
        ),
        "conv2d": Layer(
            "nn.Conv2d over the rows and columns of a picture",
            picture="reads",
            tensors={"weight": 4},
            optional={"bias": 1},
            settings=_PLACES | {"groups": _GROUPS},
            real=True,
        ),
        "avg_pool2d": Layer("nn.AvgPool2d over a picture", picture="reads", settings={"size": _SIZE_2D, "stride": _STRIDE_2D}, nodes=2),
        "max_pool2d": Layer("nn.MaxPool2d over a picture", picture="reads", settings={"size": _SIZE_2D, "stride": _STRIDE_2D}, nodes=16),
        "batchnorm": Layer(
            "nn.BatchNorm1d, and BatchNorm2d of a picture, as they evaluate, with the running statistics",
            picture="keeps",
            tensors={"running_mean": 1, "running_var": 1},
            optional={"weight": 1, "bias": 1},
            idle=("num_batches_tracked",),
            settings={"eps": _EPS},
            nodes=2,
        ),
        "layernorm": Layer(
            "nn.LayerNorm of each frame: (x - mean) / sqrt(variance + eps) weight + bias",
            tensors={"weight": 1},
            optional={"bias": 1},
            settings={"eps": _EPS},
            nodes=11,
            real=True,
        ),
        "dropout": Layer("nothing, when a network is evaluated", picture="keeps", nodes=0),
        "avg_pool": Layer("nn.AvgPool1d over the frames", "windows", settings={"size": _SIZE, "stride": _STRIDE}),
        "max_pool": Layer("nn.MaxPool1d over the frames", "windows", settings={"size": _SIZE, "stride": _STRIDE}),
        "flatten": Layer(
            "all frames, one after the other; a picture as its numbers",
            "vector",
            settings={
                "order": Setting(
                    "word",
                    "frames: frame by frame; channels: channel by channel, as torch flattens behind a Conv1d",
                    "frames",
                    words=("frames", "channels"),
                )
            },
        ),
        "relu": Layer("max(x, 0)", picture="keeps"),
        "tanh": Layer("tanh(x)", picture="keeps"),
        "sigmoid": Layer("1 / (1 + exp(-x))", picture="keeps"),
        "leaky_relu": Layer(
            "max(x, 0) + slope min(x, 0)", picture="keeps", settings={"slope": Setting("number", "of the part below 0", 0.01)}, nodes=2
        ),
        "elu": Layer("x above 0, exp(x) - 1 below", picture="keeps"),
        "selu": Layer("elu with torch's two constants", picture="keeps"),
        "gelu": Layer("x Phi(x), Phi the normal distribution's; not its approximation by tanh", picture="keeps"),
        "silu": Layer("x / (1 + exp(-x))", picture="keeps"),
        "softplus": Layer("log(1 + exp(x))", picture="keeps"),
        "hardtanh": Layer("x between -1 and 1", picture="keeps"),
        "hardsigmoid": Layer("x / 6 + 1/2 between 0 and 1", picture="keeps"),
        "none": Layer("nothing", picture="keeps", nodes=0),
        "softmax": Layer("at the end alone: classes are compared by what goes into it, whose order it keeps", nodes=0),
        "last": Layer("each direction's own final state, as torch's h_n", "vector", nodes=0),
        "last_frame": Layer("what both directions say of the last frame, as torch's output[:, -1]", "vector", nodes=0),
        "mean": Layer("the mean over the frames", "vector", nodes=0),
        "max": Layer("the largest over the frames, number by number", "vector", nodes=0),
        "add": Layer("the sum of what several branches give", picture="keeps"),
        "attention": Layer(
            "the mean of the frames, weighted by the softmax of scores: attention([linear, tanh, linear])", "vector", nodes=0, real=True
        ),
        "concat": Layer("what several branches give, one after the other; of pictures their channels", nodes=0),
    }
)
#: Over the top layer's frames. With one direction `last` and `last_frame` are the same.
READOUTS = ("last", "last_frame", "mean", "max")
#: Of one argument, number by number.
ACTIVATIONS = ("relu", "tanh", "sigmoid", "elu", "selu", "gelu", "silu", "softplus", "hardtanh", "hardsigmoid", "none")
#: What puts the numbers of all frames into one vector.
JOINED = ("flatten", "reshape")
#: The table of tokens, in front of all layers.
EMBEDDING = "embedding"
#: Words of `layers` with branches, each a list of layers: x + branch(x); the frames of x by the branch's scores; what branches give, side by side.
BRANCHING = ("residual", "attention", "concat")
#: The layers that these are, of several things that are read.
JOINING = ("add", "attention", "concat")
