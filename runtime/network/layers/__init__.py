"""The table of layers. To add one: write its equations in a file here, add its line here and its word to vlang/words/layers.py."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from vlang.runtime.network.cells import CELLS
from vlang.runtime.network.layers.base import Get, Layer, Value, join
from vlang.runtime.network.layers.frames import Add, Attention, Concat, Conv1d, Flatten, Pool, Readout
from vlang.runtime.network.layers.pictures import Conv2d, Pool2d, Reshape
from vlang.runtime.network.layers.pointwise import Activation, BatchNorm, Identity, LayerNorm, LeakyRelu, Linear, Normalize
from vlang.runtime.network.layers.recurrent import Recurrent
from vlang.words.layers import ACTIVATIONS, READOUTS

LAYERS: Mapping[str, type[Layer]] = MappingProxyType(
    {
        **dict.fromkeys(CELLS, Recurrent),
        **dict.fromkeys(ACTIVATIONS, Activation),
        **dict.fromkeys(READOUTS, Readout),
        "normalize": Normalize,
        "linear": Linear,
        "conv1d": Conv1d,
        "reshape": Reshape,
        "conv2d": Conv2d,
        "avg_pool2d": Pool2d,
        "max_pool2d": Pool2d,
        "batchnorm": BatchNorm,
        "layernorm": LayerNorm,
        "leaky_relu": LeakyRelu,
        "dropout": Identity,
        "none": Identity,
        "softmax": Identity,
        "avg_pool": Pool,
        "max_pool": Pool,
        "flatten": Flatten,
        "add": Add,
        "attention": Attention,
        "concat": Concat,
    }
)

__all__ = ["LAYERS", "Add", "Get", "Layer", "Linear", "Readout", "Recurrent", "Value", "join"]
