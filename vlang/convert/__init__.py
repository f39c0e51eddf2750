"""Files of other frameworks as layers and tensors: what the language plans with and the runtime computes with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

from vlang.convert import keras, onnx
from vlang.convert.converted import Converted

#: By a file's suffix: its format, and who reads it.
READERS: Mapping[str, tuple[Literal["onnx", "keras"], Callable[[str], Converted]]] = MappingProxyType(
    {".onnx": ("onnx", onnx.read), ".keras": ("keras", keras.read), ".h5": ("keras", keras.read)}
)
