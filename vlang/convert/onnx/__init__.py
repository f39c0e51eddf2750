"""ONNX files (extra `onnx`): a graph of operators as layers, from the files that torch's exporters and others write.

Every computed value is known by its axes: batch B, frames T, channels C, directions D (before their channels), and 1 for those of size one.
Operators that only move, join or drop axes say how a layer's value is laid out; all others become layers, or an error that names the node. What is
computed from constants and shapes is computed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from vlang.convert.converted import ConversionError, Converted, MissingLibraryError
from vlang.convert.onnx import axes, layers, recurrent
from vlang.convert.onnx.reader import Reader
from vlang.convert.onnx.unrolled import rolled

OPERATORS: Mapping[str, Callable[[Reader, Any], None]] = MappingProxyType(
    {
        "Gemm": layers.gemm,
        "MatMul": layers.matmul,
        "Add": layers.add,
        "Sub": layers.sub,
        "Div": layers.div,
        "Mul": layers.mul,
        "Conv": layers.conv,
        "MaxPool": layers.pool,
        "AveragePool": layers.pool,
        "GlobalAveragePool": axes.global_mean,
        "GlobalMaxPool": axes.global_mean,
        "BatchNormalization": layers.batchnorm,
        "LayerNormalization": layers.layernorm,
        "LeakyRelu": layers.leaky,
        "Clip": layers.clip,
        **dict.fromkeys(layers.POINTWISE, layers.pointwise),
        **dict.fromkeys(recurrent.GATES, recurrent.recurrent),
        "Transpose": axes.transpose,
        "Squeeze": axes.squeeze,
        "Unsqueeze": axes.unsqueeze,
        "Reshape": axes.reshape,
        "Flatten": axes.flatten,
        "Gather": axes.gather,
        "Slice": axes.sliced,
        "Concat": axes.concat,
        "ReduceMean": axes.reduce,
        "ReduceMax": axes.reduce,
        "ReduceSum": layers.weighted,
        "Split": axes.split,
        "Softmax": layers.softmax,
    }
)


def read(path: str, output: str | None = None) -> Converted:
    """The network that a file holds up to an output (its only one, unless it is named). Raises ConversionError, MissingLibraryError or OSError."""
    try:
        import onnx
    except ImportError:
        raise MissingLibraryError("onnx", "onnx") from None
    try:
        bare = onnx.load(path, load_external_data=False)
        model = onnx.load(path)
    except OSError:
        raise
    except Exception as e:  # a damaged protobuf can raise anything
        raise ConversionError("the file", f"it cannot be parsed ({str(e).splitlines()[0] if str(e) else type(e).__name__})") from None
    named = {e.value for x in bare.graph.initializer if x.data_location == x.EXTERNAL for e in x.external_data if e.key == "location"}
    return replace(Reader(rolled(model), OPERATORS).read(output), beside=tuple(str(Path(path).parent / name) for name in sorted(named)))
