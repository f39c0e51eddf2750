"""ONNX files (extra `onnx`): a graph of operators as layers, from the files that torch's exporters and others write.

Every computed value is known by its axes: batch B, frames T, channels C, directions D (before their channels), and 1 for those of size one.
Operators that only move, join or drop axes say how a layer's value is laid out; all others become layers, or an error that names the node. What is
computed from constants and shapes is computed here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from vlang.convert.converted import Array, ConversionError, Converted, Growing, MissingLibraryError
from vlang.plan import Architecture, Setting
from vlang.words.cells import CELLS

#: How many frames stand for a number of frames that the file leaves open: no file has so many by chance.
OPEN = 9973
#: Blocks of a cell's weights in ONNX's order, as places in torch's (i f g o; r z n).
GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
#: The activations that a recurrent operator has in each direction, lower-cased, and the cell that it then is.
RECURRENT = {
    ("LSTM", "sigmoid", "tanh", "tanh"): "lstm",
    ("GRU", "sigmoid", "tanh"): "gru",
    ("RNN", "tanh"): "rnn_tanh",
    ("RNN", "relu"): "rnn_relu",
}
DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
#: Operators that are a layer each, number by number, and which of their attributes must have which value.
POINTWISE: Mapping[str, tuple[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "Relu": ("relu", {}),
        "Tanh": ("tanh", {}),
        "Sigmoid": ("sigmoid", {}),
        "Elu": ("elu", {"alpha": 1.0}),
        "Selu": ("selu", {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875}),
        "Gelu": ("gelu", {"approximate": b"none"}),
        "Softplus": ("softplus", {}),
        "HardSigmoid": ("hardsigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    }
)
#: What an attribute is where the file does not say it.
UNSAID = {("Elu", "alpha"): 1.0, ("HardSigmoid", "alpha"): 0.2, ("HardSigmoid", "beta"): 0.5, ("Gelu", "approximate"): b"none"}
UNSAID |= {("Selu", key): value for key, value in POINTWISE["Selu"][1].items()}
#: Operators that change nothing.
NOTHING = ("Identity", "Dropout", "Cast")
#: Operators whose values are others each time, by how they begin.
RANDOM = ("Random", "Bernoulli", "Multinomial")
#: Numbers that a cast leaves what they are, up to their rounding: float32, 16, 64 and bfloat16.
FLOATS = (1, 10, 11, 16)
#: Operators that may read one direction of a final state.
OF_PARTS = ("Transpose", "Squeeze", "Unsqueeze", "Gather", "Concat")
SIZES = tuple[int, ...]


@dataclass(frozen=True)
class Value:
    """What a layer gives (-1: the input), by its axes and their sizes. part: one direction of a final state."""

    layer: int
    axes: tuple[str, ...]
    sizes: SIZES
    part: int | None = None

    def size(self, axis: str) -> int:
        return self.sizes[self.axes.index(axis)]


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
    return replace(_Reader(model).read(output), beside=tuple(str(Path(path).parent / name) for name in sorted(named)))


class _Reader:
    """One pass over a graph's nodes, in their order."""

    def __init__(self, model: Any) -> None:
        import numpy as np
        from onnx import numpy_helper

        self.np, self.model, self.graph = np, model, model.graph
        self.constants: dict[str, Array] = {x.name: numpy_helper.to_array(x) for x in self.graph.initializer}
        self.values: dict[str, Value] = {}
        self.grown = Growing()
        self.uses = Counter(name for node in self.graph.node for name in node.input) + Counter(x.name for x in self.graph.output)
        #: What the axes of the input are, as far as is known.
        self.named: dict[str, str] = {}
        #: Sigmoids, with what they are of; softmaxes over the frames, with their scores; frames times such a softmax, with its scores.
        self.squashed: dict[str, str] = {}
        self.shares: dict[str, Value] = {}
        self.shared: dict[str, Value] = {}

    def read(self, output: str | None) -> Converted:
        self._input()
        for node in self.graph.node:
            try:
                self._node(node)
            except ConversionError:
                raise
            except (KeyError, IndexError, ValueError, TypeError) as e:
                raise self._refused(node, f"it is not understood ({type(e).__name__}: {e})") from None
        value = self._output(output)
        axes = tuple(a for a in self._axes(value) if a != "1")
        if axes not in (("B", "C"), ("B", "D", "C"), ("D", "B", "C")) or value.part is not None:
            raise ConversionError(f"output '{output or self.graph.output[0].name}'", f"it has the axes {self._axes(value)}, not one vector a sample")
        layers = self.grown.upto(value.layer)
        kept = {name: self.grown.tensors[name] for x in layers for name in x.names}
        if self.table is not None:
            kept[self.table] = self.grown.tensors[self.table]
        return Converted(Architecture(layers, self.inputs, self.table, 0 if self.table is None else len(kept[self.table])), kept)

    def _output(self, output: str | None) -> Value:
        names = [x.name for x in self.graph.output]
        computed = [n for n in names if n in self.values]
        if output is None and len(computed) > 1:
            vectors = [n for n in computed if "T" not in self._axes(self.values[n])]
            computed = vectors if len(vectors) == 1 else computed
        chosen = output or (computed[0] if len(computed) == 1 else None)
        if chosen is None or chosen not in self.values:
            raise ConversionError("the graph", f"its outputs are {', '.join(names)}: a network gives one vector a sample; export one that does")
        return self.values[chosen]

    def _input(self) -> None:
        given = [x for x in self.graph.input if x.name not in self.constants]
        if len(given) != 1:
            raise ConversionError(
                "the graph", f"it has the inputs {', '.join(x.name for x in given)}; one is read: make the others constants before export"
            )
        dims = [d.dim_value for d in given[0].type.tensor_type.shape.dim]
        self.table: str | None = None
        if len(dims) == 2 and given[0].type.tensor_type.elem_type in (6, 7):  # int32, int64: tokens
            axes: tuple[str, ...] = ("B", "T")
        elif len(dims) == 2:
            axes = ("B", "C")
        elif len(dims) == 3:
            axes = ("?0", "?1", "?2")
        else:
            raise ConversionError(f"input '{given[0].name}'", f"it has {len(dims)} axes; sequences have three, vectors two")
        self.inputs = dims[-1]
        self.values[given[0].name] = Value(-1, axes, tuple(n or OPEN for n in dims))

    # -- axes -------------------------------------------------------------------------------------------------------

    def _axes(self, value: Value) -> tuple[str, ...]:
        """With the names that are known by now; batch and frames, in this order, where nothing has said which is which."""
        found = [self.named.get(a, a) for a in value.axes]
        for name in ("C",) if "C" not in self.named.values() else ():
            found = [name if a == "?2" else a for a in found]
        rest = [x for x in ("B", "T") if x not in self.named.values()]
        unknown = [a for a in ("?0", "?1", "?2") if a not in self.named and a in found and self.named.get(a) is None]
        return tuple(rest[unknown.index(a)] if a in unknown and len(rest) == len(unknown) else a for a in found)

    def _as(self, node: Any, value: Value, *wanted: tuple[str, ...]) -> tuple[str, ...]:
        """The axes of a value, which must be some of those wanted; what is not named yet is named by them. Raises ConversionError."""
        if value.part is not None:
            raise self._refused(node, "it reads one direction of a final state alone")
        for axes in wanted:
            names = dict(self.named)
            if len(axes) == len(value.axes) and all(self._agree(names, a, w) for a, w in zip(value.axes, axes, strict=True)):
                self.named = names
                if value.layer == -1 and "C" in axes:
                    self.inputs = value.sizes[axes.index("C")]
                return axes
        shown = " or ".join("".join(w) for w in wanted)
        raise self._refused(node, f"it reads {value.axes and ''.join(self._axes(value))} where {shown} is expected (B batch, T frames, C channels)")

    @staticmethod
    def _agree(names: dict[str, str], axis: str, wanted: str) -> bool:
        known = names.get(axis, axis)
        if known.startswith("?") and wanted not in names.values():
            names[axis] = wanted
            return True
        return known == wanted

    def _refused(self, node: Any, why: str) -> ConversionError:
        return ConversionError(f"node '{node.name or node.output[0]}' ({node.op_type})", why)

    # -- nodes ------------------------------------------------------------------------------------------------------

    def _node(self, node: Any) -> None:
        read = [x for x in node.input if x in self.values]
        if any(x in self.shared for x in read) and node.op_type != "ReduceSum":
            raise self._refused(node, "frames times a softmax are read where they are summed over the frames")
        if any(k >= 0 and self.grown.layers[k].word == "softmax" for k in (self.values[x].layer for x in read)) and node.op_type not in NOTHING:
            raise self._refused(node, "it reads a softmax, which is only read of the outputs")
        if any(x in self.shares for x in read) and node.op_type != "Mul":
            raise self._refused(node, "a softmax over the frames is read where frames are multiplied by it")
        if any(self.values[x].part is not None for x in read) and node.op_type not in (*NOTHING, *OF_PARTS):
            raise self._refused(node, "one direction of a final state alone is not read, but both, joined again")
        if node.domain not in ("", "ai.onnx"):
            raise self._refused(node, f"an operator of {node.domain} is not read")
        if any(a.HasField("g") or a.graphs for a in node.attribute):
            raise self._refused(node, "operators that hold graphs of their own are not read")
        if not read:
            self._fold(node)
        elif node.op_type == "Shape":
            self.constants[node.output[0]] = self.np.array(self.values[node.input[0]].sizes, dtype="int64")
        elif node.op_type in NOTHING:
            if node.op_type == "Cast" and self._attributes(node)["to"] not in FLOATS and not self._tokens(self.values[node.input[0]]):
                raise self._refused(node, "it makes whole numbers of what is computed")
            if node.op_type == "Dropout" and self._constant(node, 2) is not None and self._constant(node, 2).any():
                raise self._refused(node, "it is exported as it trains: call model.eval() first")
            self.values[node.output[0]] = self.values[node.input[0]]
        elif node.op_type in OPERATORS:
            OPERATORS[node.op_type](self, node)
        elif node.op_type in POINTWISE:
            self._pointwise(node)
        else:
            raise self._refused(node, "this operator is not read")

    @staticmethod
    def _tokens(value: Value) -> bool:
        """Whether it is the input, of tokens."""
        return value.layer == -1 and value.axes == ("B", "T")

    def _fold(self, node: Any) -> None:
        """The value of a node that reads constants alone; open where one of them is not known, so that who needs it says so."""
        if any(x and x not in self.constants for x in node.input) or node.op_type.startswith(RANDOM):
            return
        from onnx import helper
        from onnx.reference import ReferenceEvaluator

        read = [x for x in node.input if x]
        outputs = [x for x in node.output if x]
        inputs = [helper.make_tensor_value_info(x, helper.np_dtype_to_tensor_dtype(self.constants[x].dtype), self.constants[x].shape) for x in read]
        graph = helper.make_graph([node], "g", inputs, [helper.make_empty_tensor_value_info(x) for x in outputs])
        try:
            model = helper.make_model(graph, opset_imports=self.model.opset_import)
            found = ReferenceEvaluator(model).run(None, {x: self.constants[x] for x in read})
        except Exception as e:  # an operator's own implementation can raise anything
            raise self._refused(node, f"its constants cannot be computed ({type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''})") from None
        self.constants |= dict(zip(outputs, found, strict=True))

    def _attributes(self, node: Any, unsaid: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
        """What a node says; unsaid: what holds of what it does not."""
        from onnx import helper

        return {**unsaid, **{a.name: helper.get_attribute_value(a) for a in node.attribute}}

    def _constant(self, node: Any, k: int, default: Any = None) -> Array:
        """The k-th input, which must be a constant. Raises ConversionError."""
        name = node.input[k] if k < len(node.input) else ""
        if not name:
            return default
        if name not in self.constants:
            raise self._refused(node, f"its input {k} ('{name}') is not a constant of the file")
        return self.constants[name]

    def _value(self, node: Any, k: int = 0) -> Value:
        name = node.input[k]
        if name not in self.values:
            raise self._refused(node, f"its input {k} ('{name}') is a constant or not computed from the network's input")
        return self.values[name]

    def _given(self, node: Any, value: Value, layer: int, width: int | None = None) -> None:
        """A node's output: a value of the same axes, of another layer and number of channels."""
        axes = self._axes(value)
        sizes = tuple(width if a == "C" and width is not None else n for a, n in zip(axes, value.sizes, strict=True))
        self.values[node.output[0]] = Value(layer, axes, sizes)

    def _known(self, value: Value) -> Value:
        """With the names of its axes as they are known now."""
        return replace(value, axes=self._axes(value))

    def _pointwise(self, node: Any) -> None:
        word, wanted = POINTWISE[node.op_type]
        said = self._attributes(node)
        for key, expected in wanted.items():
            found = said.get(key, UNSAID[node.op_type, key])
            if found != expected and not (isinstance(found, float) and math.isclose(found, expected, rel_tol=1e-6)):
                raise self._refused(node, f"{key} = {found} is not read, {expected} is")
        value = self._value(node)
        if node.op_type == "Sigmoid":
            self.squashed[node.output[0]] = node.input[0]
        self._given(node, value, self.grown.add(word, (value.layer,), self._channels(value)))

    def _channels(self, value: Value) -> int:
        axes = self._axes(value)
        return value.sizes[axes.index("C")] * (value.sizes[axes.index("D")] if "D" in axes else 1)

    # -- linear ones ------------------------------------------------------------------------------------------------

    def gemm(self, node: Any) -> None:
        said = self._attributes(node, {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0})
        if said["alpha"] != 1 or said["beta"] != 1 or said["transA"]:
            raise self._refused(node, "alpha, beta or transA is not what a linear layer has")
        weight, bias = self._constant(node, 1), self._constant(node, 2)
        self._linear(
            node, weight if said["transB"] else weight.T, None if bias is None else self.np.broadcast_to(bias, (1, len(bias.reshape(-1)))).reshape(-1)
        )

    def matmul(self, node: Any) -> None:
        weight = self._constant(node, 1)
        if weight.ndim != 2:
            raise self._refused(node, f"its matrix has {weight.ndim} axes")
        self._linear(node, weight.T, None)

    def _linear(self, node: Any, weight: Array, bias: Array | None) -> None:
        value = self._value(node)
        self._as(node, value, ("B", "C"), ("B", "T", "C"), ("T", "B", "C"))
        if weight.shape[1] != value.sizes[-1]:
            raise self._refused(node, f"it reads {weight.shape[1]} numbers, {value.sizes[-1]} are given")
        held = {"weight": weight} | ({} if bias is None else {"bias": bias})
        self._given(node, value, self.grown.add("linear", (value.layer,), len(weight), held), len(weight))

    def add(self, node: Any) -> None:
        if all(x in self.values for x in node.input):
            self._sum(node)
            return
        k = 0 if node.input[0] in self.values else 1
        value, constant = self._known(self._value(node, k)), self._along_channels(node, self._constant(node, 1 - k), self._value(node, k))
        below = self.grown.layers[value.layer] if value.layer >= 0 else None
        if below is not None and below.word == "linear" and "bias" not in below.roles and self.uses[node.input[k]] == 1:
            self.grown.give(value.layer, "bias", constant)
            self.values[node.output[0]] = value
        else:
            self._normalized(node, value, -constant, self.np.ones_like(constant))

    def _sum(self, node: Any) -> None:
        one, other = (self._known(self._value(node, k)) for k in (0, 1))
        if one.axes != other.axes or one.sizes != other.sizes or one.part is not None:
            raise self._refused(node, "what it adds is laid out in two ways")
        self._given(node, one, self.grown.add("add", (one.layer, other.layer), self._channels(one)))

    def sub(self, node: Any) -> None:
        value = self._value(node)
        constant = self._along_channels(node, self._constant(node, 1), value)
        self._normalized(node, value, constant, self.np.ones_like(constant))

    def div(self, node: Any) -> None:
        value = self._value(node)
        constant = self._along_channels(node, self._constant(node, 1), value)
        self._normalized(node, value, self.np.zeros_like(constant), constant)

    def _normalized(self, node: Any, value: Value, mean: Array, std: Array) -> None:
        if not (std > 0).all():
            raise self._refused(node, "it divides by numbers that are not above 0")
        settings = {"mean": tuple(map(float, mean)), "std": tuple(map(float, std))}
        self._given(node, value, self.grown.add("normalize", (value.layer,), len(mean), settings=settings))

    def mul(self, node: Any) -> None:
        if all(x in self.values for x in node.input):
            for k in (0, 1):
                if self.squashed.get(node.input[k]) == node.input[1 - k]:  # x sigmoid(x)
                    value = self._value(node, 1 - k)
                    self._given(node, value, self.grown.add("silu", (value.layer,), self._channels(value)))
                    return
                if node.input[k] in self.shares and self._known(self._value(node, 1 - k)).axes == self.shares[node.input[k]].axes:
                    self.shared[node.output[0]] = self.shares[node.input[k]]
                    self.values[node.output[0]] = replace(self._known(self._value(node, 1 - k)))
                    return
            raise self._refused(node, "a product of two computed values is not read, but x sigmoid(x) and frames times a softmax over them")
        k = 0 if node.input[0] in self.values else 1
        value = self._value(node, k)
        constant = self._along_channels(node, self._constant(node, 1 - k), value)
        self._given(node, value, self.grown.add("linear", (value.layer,), len(constant), {"weight": self.np.diag(constant)}))

    def _along_channels(self, node: Any, constant: Array, value: Value) -> Array:
        """A constant that is one number, or one a channel, as the latter. Raises ConversionError."""
        axes = self._axes(value)
        shape = (1,) * (len(axes) - constant.ndim) + constant.shape
        if len(shape) != len(axes) or any(n != 1 and a != "C" for n, a in zip(shape, axes, strict=True)):
            raise self._refused(node, f"its constant of shape {list(constant.shape)} is not one a channel of {''.join(axes)}")
        if value.layer == -1:
            self._as(node, value, *([axes] if "?" not in "".join(axes) else [("B", "T", "C")]))
        return self.np.broadcast_to(constant.reshape(-1), (value.sizes[axes.index("C")],)).astype("float64")

    def conv(self, node: Any) -> None:
        weight, bias, value = self._constant(node, 1), self._constant(node, 2), self._value(node)
        said = self._attributes(node, {"strides": [1], "pads": [0, 0], "dilations": [1], "group": 1, "auto_pad": b"NOTSET"})
        if weight.ndim != 3:
            raise self._refused(node, f"a convolution over {weight.ndim - 2} axes is not read, over frames alone")
        if said["auto_pad"] != b"NOTSET" or said["pads"][0] != said["pads"][1]:
            raise self._refused(node, "it pads its two sides differently: pad the data, or both sides alike")
        self._as(node, value, ("B", "C", "T"))
        settings = {"stride": said["strides"][0], "padding": said["pads"][0], "dilation": said["dilations"][0], "groups": said["group"]}
        held = {"weight": weight} | ({} if bias is None else {"bias": bias})
        layer = self.grown.add("conv1d", (value.layer,), len(weight), held, settings, weight.shape[2])
        frames = self.grown.layers[layer].windows(value.size("T") if "T" in value.axes else value.sizes[2])
        self.values[node.output[0]] = Value(layer, ("B", "C", "T"), (value.sizes[0], len(weight), frames))

    def pool(self, node: Any) -> None:
        said = self._attributes(node, {"pads": [0, 0], "strides": [1], "ceil_mode": 0, "dilations": [1], "auto_pad": b"NOTSET"})
        value = self._value(node)
        self._as(node, value, ("B", "C", "T"))
        if any(said["pads"]) or said["ceil_mode"] or said["dilations"] != [1] or said["auto_pad"] != b"NOTSET":
            raise self._refused(node, "pooling with padding, dilation or ceil_mode is not read")
        word, size = ("max_pool" if node.op_type == "MaxPool" else "avg_pool"), said["kernel_shape"][0]
        settings = {"size": size, "stride": said["strides"][0]}
        layer = self.grown.add(word, (value.layer,), value.sizes[1], settings=settings, window=size)
        self.values[node.output[0]] = Value(layer, ("B", "C", "T"), (*value.sizes[:2], self.grown.layers[layer].windows(value.sizes[2])))

    def batchnorm(self, node: Any) -> None:
        value, said = self._value(node), self._attributes(node, {"epsilon": 1e-5, "training_mode": 0})
        self._as(node, value, ("B", "C"), ("B", "C", "T"))
        if said["training_mode"]:
            raise self._refused(node, "it is exported as it trains: call model.eval() first")
        roles = ("weight", "bias", "running_mean", "running_var")
        held = {role: self._constant(node, k + 1) for k, role in enumerate(roles)}
        width = len(held["weight"])
        self._given(node, value, self.grown.add("batchnorm", (value.layer,), width, held, {"eps": _float32(said["epsilon"])}))

    def layernorm(self, node: Any) -> None:
        value, said = self._value(node), self._attributes(node, {"axis": -1, "epsilon": 1e-5})
        axes = self._as(node, value, ("B", "C"), ("B", "T", "C"), ("T", "B", "C"))
        if said["axis"] not in (-1, len(axes) - 1):
            raise self._refused(node, "it normalises more than a frame's numbers")
        held = {"weight": self._constant(node, 1)} | ({} if (bias := self._constant(node, 2)) is None else {"bias": bias})
        self._given(node, value, self.grown.add("layernorm", (value.layer,), value.sizes[-1], held, {"eps": _float32(said["epsilon"])}))

    def leaky(self, node: Any) -> None:
        value, slope = self._value(node), float(self._attributes(node).get("alpha", 0.01))
        self._given(node, value, self.grown.add("leaky_relu", (value.layer,), self._channels(value), settings={"slope": slope}))

    def clip(self, node: Any) -> None:
        value, said = self._value(node), self._attributes(node)
        low, high = (float(self._constant(node, k, said.get(key, way * math.inf))) for k, key, way in ((1, "min", -1), (2, "max", 1)))
        word = {(-1.0, 1.0): "hardtanh"}.get((low, high), "relu" if low == 0 and high > 1e38 else None)
        if word is None:
            raise self._refused(node, f"numbers between {low:g} and {high:g}: only those between -1 and 1, or above 0, are read")
        self._given(node, value, self.grown.add(word, (value.layer,), self._channels(value)))

    # -- recurrent ones ---------------------------------------------------------------------------------------------

    def recurrent(self, node: Any) -> None:
        said = self._attributes(node, {"direction": b"forward", "layout": 0, "linear_before_reset": 0})
        value, op = self._value(node), node.op_type
        first, second = ("B", "T") if said["layout"] else ("T", "B")
        self._as(node, value, (first, second, "C"))
        for key, wanted in (("clip", None), ("input_forget", 0)):
            if said.get(key, wanted) != wanted:
                raise self._refused(node, f"{key} = {said[key]} is not read")
        if said["direction"] == b"reverse":
            raise self._refused(node, "a layer that reads backwards alone is not read")
        directions = 2 if said["direction"] == b"bidirectional" else 1
        names = tuple(x.decode() for x in said.get("activations", [x.encode() for x in DEFAULTS[op]] * directions))
        each = {tuple(x.lower() for x in names[k * len(names) // directions : (k + 1) * len(names) // directions]) for k in range(directions)}
        cell = RECURRENT.get((op, *each.pop())) if len(each) == 1 else None
        if cell is None or "activation_alpha" in said:
            raise self._refused(node, f"its activations {', '.join(names)} are not those of an {op} that is read")
        if op == "GRU" and not said["linear_before_reset"]:
            cell = "gru_before"
        peepholes = self._constant(node, 7)
        if peepholes is not None:
            cell = "lstm_peephole"
        self._full(node, value, second if said["layout"] else first)
        weights, recurrent = self._constant(node, 1), self._constant(node, 2)
        hidden = recurrent.shape[2]
        biases = self._constant(node, 3, self.np.zeros((directions, 2 * weights.shape[1])))
        held: dict[str, Array] = {}
        for d in range(directions):
            end = "_l0" + "_reverse" * d
            parts = (("weight_ih", weights[d]), ("weight_hh", recurrent[d]), *zip(("bias_ih", "bias_hh"), self.np.split(biases[d], 2), strict=True))
            held |= {f"{part}{end}": self._torch_order(op, x) for part, x in parts}
            if peepholes is not None:
                of_i, of_o, of_f = self.np.split(peepholes[d], 3)
                held[f"peephole{end}"] = self.np.concatenate([of_i, of_f, of_o])
        states = [self._state(node, k, bool(said["layout"])) for k in (5, 6)[: len(CELLS[cell].states)]]
        started = CELLS[cell].states if any(x is not None and x.any() for x in states) else ()
        number = len(self.grown.layers)
        initial = tuple(f"{number}.{cell}.{name}" for name in started)
        settings: dict[str, Setting] = {"layers": 1, "directions": directions, "initial": initial}
        layer = self.grown.add(cell, (value.layer,), hidden * directions, held, settings)
        for name, state in zip(initial, states, strict=False):
            self.grown.tensors[name] = self.np.zeros((directions, hidden)) if state is None else state.astype("float64")
        batch, frames = value.sizes[1 - said["layout"]], value.sizes[said["layout"]]
        way = "D" if directions == 2 else "1"
        outputs = [*node.output, "", "", ""][:3]
        if outputs[0]:
            every = ("B", "T", way, "C") if said["layout"] else ("T", way, "B", "C")
            size = {"B": batch, "T": frames, "D": 2, "1": 1, "C": hidden}
            self.values[outputs[0]] = Value(layer, every, tuple(size[a] for a in every))
        if outputs[1]:
            final = self.grown.add("last", (layer,), hidden * directions)
            axes = ("B", way, "C") if said["layout"] else (way, "B", "C")
            self.values[outputs[1]] = Value(final, axes, tuple({"B": batch, "D": 2, "1": 1, "C": hidden}[a] for a in axes))

    def _full(self, node: Any, value: Value, frames: str) -> None:
        """Refuse sequences of other lengths than all frames."""
        lengths = self._constant(node, 4)
        if lengths is not None and (lengths != value.sizes[self._axes(value).index(frames)]).any():
            raise self._refused(node, "sequence_lens are not the number of frames")

    def _torch_order(self, op: str, x: Array) -> Array:
        """Rows gate by gate as torch has them."""
        blocks = self.np.split(x, len(GATES[op]))
        return self.np.concatenate([blocks[k] for k in GATES[op]])

    def _state(self, node: Any, k: int, batch_first: bool) -> Array | None:
        """An initial state, the same for all samples of a batch. shape: [directions, hidden]."""
        state = self._constant(node, k)
        if state is None:
            return None
        state = state.swapaxes(0, 1) if batch_first else state
        if (state != state[:, :1]).any():
            raise self._refused(node, "its initial states differ from sample to sample")
        return state[:, 0]

    # -- axes moved, joined and dropped -------------------------------------------------------------------------------

    def transpose(self, node: Any) -> None:
        value = self._value(node)
        order = self._attributes(node).get("perm", list(range(len(value.axes)))[::-1])
        self.values[node.output[0]] = replace(value, axes=tuple(value.axes[k] for k in order), sizes=tuple(value.sizes[k] for k in order))

    def squeeze(self, node: Any) -> None:
        value, said = self._known(self._value(node)), self._attributes(node)
        dropped = said["axes"] if "axes" in said else self._constant(node, 1)
        if dropped is None:
            places = [k for k, a in enumerate(value.axes) if a == "1"]
        else:
            places = [int(k) % len(value.axes) for k in dropped]
        for k in places:
            if value.axes[k] != "1":
                raise self._refused(
                    node, f"it drops axis {k}, the {'batch' if value.axes[k] == 'B' else 'frames' if value.axes[k] == 'T' else 'channels'}"
                )
        self.values[node.output[0]] = _only(value, [k for k in range(len(value.axes)) if k not in places])

    def unsqueeze(self, node: Any) -> None:
        value, said = self._value(node), self._attributes(node)
        axes, sizes = list(value.axes), list(value.sizes)
        added: Array = said["axes"] if "axes" in said else self._constant(node, 1)
        for k in sorted(int(k) % (len(axes) + len(added)) for k in added):
            axes.insert(k, "1")
            sizes.insert(k, 1)
        self.values[node.output[0]] = replace(value, axes=tuple(axes), sizes=tuple(sizes))

    def reshape(self, node: Any) -> None:
        value, target = self._known(self._value(node)), [int(n) for n in self._constant(node, 1)]
        target = [value.sizes[k] if n == 0 else n for k, n in enumerate(target)]
        if -1 in target:
            rest = math.prod(n for n in target if n != -1)
            target = [math.prod(value.sizes) // rest if n == -1 else n for n in target]
        kept = [k for k, a in enumerate(value.axes) if a != "1"]
        axes: list[str] = []
        layer = value.layer
        for place, n in enumerate(target):
            group: list[str] = []
            size = 1
            while kept and (size < n or (not group and value.sizes[kept[0]] == n and len(target) - place <= len(kept))):
                size *= value.sizes[kept[0]]
                group.append(value.axes[kept.pop(0)])
            if size != n:
                raise self._refused(node, f"from {list(value.sizes)} to {target}: axes are cut, not joined")
            name, layer = self._joined(node, layer, value, group)
            axes.append(name)
        self.values[node.output[0]] = Value(layer, tuple(axes), tuple(target))

    def _joined(self, node: Any, layer: int, value: Value, group: Sequence[str]) -> tuple[str, int]:
        """The axis that some axes become when they are joined, and the layer that then gives the value."""
        match list(group):
            case []:
                return "1", layer
            case [name]:
                return name, layer
            case ["D", "C"]:
                return "C", layer
            case ["T", "C"] | ["C", "T"]:
                order = "frames" if group[0] == "T" else "channels"
                width = value.size("T") * value.size("C")
                if value.layer == -1:
                    self.inputs = value.size("C")
                return "C", self.grown.add("flatten", (layer,), width, settings={"order": order})
        raise self._refused(node, f"it joins {' and '.join(group)}")

    def flatten(self, node: Any) -> None:
        value, axis = self._known(self._value(node)), self._attributes(node).get("axis", 1)
        if axis != 1 or value.axes[0] != "B":
            raise self._refused(node, "it joins the batch with other axes")
        name, layer = self._joined(node, value.layer, value, [a for a in value.axes[1:] if a != "1"])
        self.values[node.output[0]] = Value(layer, ("B", name), (value.sizes[0], math.prod(value.sizes[1:])))

    def gather(self, node: Any) -> None:
        if node.input[0] in self.constants:
            self._embedded(node)
            return
        index = self._constant(node, 1)
        axis = self._attributes(node).get("axis", 0)
        if index.size != 1:
            raise self._refused(node, "it picks several places at once")
        self._picked(node, self._value(node), axis, int(index.reshape(-1)[0]), keep=index.ndim > 0)

    def _embedded(self, node: Any) -> None:
        """Rows of a table, by the input's tokens."""
        table, value = self.constants[node.input[0]], self._value(node, 1)
        if value.layer != -1 or "C" in value.axes or table.ndim != 2 or self.table is not None:
            raise self._refused(node, "it picks from constants by what is computed")
        self.table, self.inputs = "embedding.weight", table.shape[1]
        self.grown.tensors[self.table] = table.astype("float64")
        self.values[node.output[0]] = Value(-1, (*value.axes, "C"), (*value.sizes, table.shape[1]))

    def slice(self, node: Any) -> None:
        value = self.values[node.output[0]] = self._value(node)  # one axis after the other
        starts, ends = (self._constant(node, k) for k in (1, 2))
        axes = self._constant(node, 3, self.np.arange(len(starts)))
        steps = self._constant(node, 4, self.np.ones(len(starts)))
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
            size = value.sizes[int(axis)]
            chosen = range(size)[slice(int(start), int(min(end, size)), int(step))]
            if len(chosen) == 1 and size > 1:
                self._picked(node, self.values[node.output[0]], int(axis), chosen[0], keep=True)
            elif len(chosen) < size or step != 1:
                raise self._refused(node, f"it takes {len(chosen)} of {size} along axis {int(axis)}")

    def _picked(self, node: Any, value: Value, axis: int, index: int, keep: bool) -> None:
        """One place along an axis: the last frame, or a direction of a final state."""
        value = self._known(value)
        axis %= len(value.axes)
        index = index % value.sizes[axis] if value.sizes[axis] != OPEN or index < 0 else index
        rest = [k for k in range(len(value.axes)) if k != axis]
        match value.axes[axis]:
            case "T" if index == value.sizes[axis] - 1:
                layer = self.grown.add("last_frame", (value.layer,), self._channels(value))
                found = replace(value, layer=layer)
            case "D" if "T" not in value.axes:
                found = replace(value, part=index)
            case "1":
                found = value
            case name:
                raise self._refused(node, f"place {index} along {name} alone is not read, but the last frame and a final state's directions are")
        axes = tuple("1" if k == axis else a for k, a in enumerate(found.axes))
        found = replace(found, axes=axes, sizes=tuple(1 if k == axis else n for k, n in enumerate(found.sizes)))
        self.values[node.output[0]] = found if keep else _only(found, rest)

    def concat(self, node: Any) -> None:
        read = [self._known(self._value(node, k)) for k in range(len(node.input))]
        axis = self._attributes(node)["axis"] % len(read[0].axes)
        if read[0].axes[axis] != "C" or any(v.axes != read[0].axes for v in read):
            raise self._refused(node, "what it joins is not laid out alike, or not joined by channels")
        width = sum(v.sizes[axis] for v in read)
        sizes = tuple(width if k == axis else n for k, n in enumerate(read[0].sizes))
        if [v.part for v in read] == [0, 1] and len({v.layer for v in read}) == 1:
            self.values[node.output[0]] = Value(read[0].layer, read[0].axes, sizes)
        elif any(v.part is not None for v in read):
            raise self._refused(node, "it joins directions of final states in another order than torch's, or of several layers")
        else:
            self.values[node.output[0]] = Value(self.grown.add("concat", tuple(v.layer for v in read), width), read[0].axes, sizes)

    def reduce(self, node: Any) -> None:
        value, said = self._known(self._value(node)), self._attributes(node)
        over: Array = said["axes"] if "axes" in said else self._constant(node, 1, [])
        axes = [int(k) % len(value.axes) for k in over]
        if [value.axes[k] for k in axes] != ["T"]:
            raise self._refused(node, "it is taken over other axes than the frames")
        layer = self.grown.add("mean" if node.op_type == "ReduceMean" else "max", (value.layer,), self._channels(value))
        found = replace(value, layer=layer, axes=tuple("1" if k in axes else a for k, a in enumerate(value.axes)))
        found = replace(found, sizes=tuple(1 if k in axes else n for k, n in enumerate(value.sizes)))
        self.values[node.output[0]] = found if said.get("keepdims", 1) else _only(found, [k for k in range(len(value.axes)) if k not in axes])

    def split(self, node: Any) -> None:
        """The directions of a final state."""
        value = self._known(self._value(node))
        axis = self._attributes(node, {"axis": 0})["axis"] % len(value.axes)
        if len(node.output) == 1:
            self.values[node.output[0]] = value
            return
        if value.axes[axis] != "D" or "T" in value.axes or len(node.output) != 2:
            raise self._refused(node, "it cuts what is computed, and not a final state into its directions")
        for part, name in enumerate(node.output):
            axes = tuple("1" if k == axis else a for k, a in enumerate(value.axes))
            self.values[name] = replace(value, part=part, axes=axes, sizes=tuple(1 if k == axis else n for k, n in enumerate(value.sizes)))

    def weighted(self, node: Any) -> None:
        """The sum over the frames of what a softmax over the frames weights."""
        value, said = self._known(self._value(node)), self._attributes(node)
        over: Array = said["axes"] if "axes" in said else self._constant(node, 1, [])
        axes = [int(k) % len(value.axes) for k in over]
        shared = self.shared.get(node.input[0])
        if shared is None or [value.axes[k] for k in axes] != ["T"]:
            raise self._refused(node, "it is no sum over frames of frames times a softmax")
        layer = self.grown.add("attention", (value.layer, shared.layer), self._channels(value))
        found = replace(value, layer=layer, axes=tuple("1" if k in axes else a for k, a in enumerate(value.axes)))
        found = replace(found, sizes=tuple(1 if k in axes else n for k, n in enumerate(value.sizes)))
        self.values[node.output[0]] = found if said.get("keepdims", 1) else _only(found, [k for k in range(len(value.axes)) if k not in axes])

    def global_mean(self, node: Any) -> None:
        value = self._value(node)
        self._as(node, value, ("B", "C", "T"))
        layer = self.grown.add("mean" if node.op_type == "GlobalAveragePool" else "max", (value.layer,), value.sizes[1])
        self.values[node.output[0]] = Value(layer, ("B", "C", "1"), (*value.sizes[:2], 1))

    def softmax(self, node: Any) -> None:
        value = self._known(self._value(node))
        axis = self._attributes(node, {"axis": -1})["axis"] % len(value.axes)
        if value.axes[axis] == "T" and value.size("C") == 1:
            self.shares[node.output[0]] = value
            self.values[node.output[0]] = value
            return
        if value.axes[axis] != "C" or "T" in value.axes:
            raise self._refused(node, "a softmax that is neither of the outputs nor over the frames is not read")
        self._given(node, value, self.grown.add("softmax", (value.layer,), self._channels(value)))


def _only(value: Value, places: Sequence[int]) -> Value:
    return replace(value, axes=tuple(value.axes[k] for k in places), sizes=tuple(value.sizes[k] for k in places))


def _float32(value: float) -> float:
    """The shortest decimal that is this float32: ONNX keeps attributes as float32, and 1e-5 is not one."""
    import numpy as np

    return float(str(np.float32(value)))


OPERATORS: Mapping[str, Callable[[_Reader, Any], None]] = MappingProxyType(
    {
        "Gemm": _Reader.gemm,
        "MatMul": _Reader.matmul,
        "Add": _Reader.add,
        "Sub": _Reader.sub,
        "Div": _Reader.div,
        "Mul": _Reader.mul,
        "Conv": _Reader.conv,
        "MaxPool": _Reader.pool,
        "AveragePool": _Reader.pool,
        "GlobalAveragePool": _Reader.global_mean,
        "GlobalMaxPool": _Reader.global_mean,
        "BatchNormalization": _Reader.batchnorm,
        "LayerNormalization": _Reader.layernorm,
        "LeakyRelu": _Reader.leaky,
        "Clip": _Reader.clip,
        **dict.fromkeys(GATES, _Reader.recurrent),
        "Transpose": _Reader.transpose,
        "Squeeze": _Reader.squeeze,
        "Unsqueeze": _Reader.unsqueeze,
        "Reshape": _Reader.reshape,
        "Flatten": _Reader.flatten,
        "Gather": _Reader.gather,
        "Slice": _Reader.slice,
        "Concat": _Reader.concat,
        "ReduceMean": _Reader.reduce,
        "ReduceMax": _Reader.reduce,
        "ReduceSum": _Reader.weighted,
        "Split": _Reader.split,
        "Softmax": _Reader.softmax,
    }
)
__all__ = ["read"]
