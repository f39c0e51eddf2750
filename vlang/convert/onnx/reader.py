"""One pass over a graph of ONNX: what its values are, by their axes, and the layers they become."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from vlang.convert.converted import Array, ConversionError, Converted, Growing
from vlang.plan import Architecture

#: How many frames stand for a number of frames that the file leaves open: no file has so many by chance.
OPEN = 9973
#: Operators that change nothing.
NOTHING = ("Identity", "Dropout", "Cast")
#: Operators whose values are others each time, by how they begin.
RANDOM = ("Random", "Bernoulli", "Multinomial")
#: Numbers that a cast leaves what they are, up to their rounding: float32, 16, 64 and bfloat16.
FLOATS = (1, 10, 11, 16)
#: Operators that may read one direction of a final state.
OF_PARTS = ("Transpose", "Squeeze", "Unsqueeze", "Gather", "Concat")
#: Axes of the numbers of one frame, or of a picture.
INSIDE = ("D", "C", "H", "W")
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


class Reader:
    """One pass over a graph's nodes, in their order. operators: what is done with a node, by its operator."""

    def __init__(self, model: Any, operators: Mapping[str, Callable[[Reader, Any], None]]) -> None:
        import numpy as np
        from onnx import numpy_helper

        self.np, self.model, self.graph, self.operators = np, model, model.graph, operators
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
                raise self.refused(node, f"it is not understood ({type(e).__name__}: {e})") from None
        value = self._output(output)
        axes = tuple(a for a in self.axes_of(value) if a != "1")
        name = output or self.graph.output[0].name
        if axes not in (("B", "C"), ("B", "D", "C"), ("D", "B", "C")) or value.part is not None:
            raise ConversionError(f"output '{name}'", f"it has the axes {self.axes_of(value)}, not one vector a sample")
        layers = self.grown.upto(value.layer)
        kept = {name: self.grown.tensors[name] for x in layers for name in x.names}
        if self.table is not None:
            kept[self.table] = self.grown.tensors[self.table]
        return Converted(Architecture(layers, self.inputs, self.table, 0 if self.table is None else len(kept[self.table])), kept)

    def _output(self, output: str | None) -> Value:
        names = [x.name for x in self.graph.output]
        computed = [n for n in names if n in self.values]
        if output is None and len(computed) > 1:
            vectors = [n for n in computed if "T" not in self.axes_of(self.values[n])]
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
        elif len(dims) == 4 and all(dims[1:]):
            axes = ("B", "C", "H", "W")
        else:
            raise ConversionError(
                f"input '{given[0].name}'", f"it has {len(dims)} axes; pictures have four of known sizes, sequences three, vectors two"
            )
        self.inputs, layer = dims[-1], -1
        if len(dims) == 4:
            said = dict(zip(("channels", "height", "width"), dims[1:], strict=True))
            self.inputs, layer = 0, self.grown.add("reshape", (-1,), math.prod(dims[1:]), settings=said)
        self.values[given[0].name] = Value(layer, axes, tuple(n or OPEN for n in dims))

    def axes_of(self, value: Value) -> tuple[str, ...]:
        """With the names that are known by now; batch and frames, in this order, where nothing has said which is which."""
        found = [self.named.get(a, a) for a in value.axes]
        for name in ("C",) if "C" not in self.named.values() else ():
            found = [name if a == "?2" else a for a in found]
        rest = [x for x in ("B", "T") if x not in self.named.values()]
        unknown = [a for a in ("?0", "?1", "?2") if a not in self.named and a in found and self.named.get(a) is None]
        return tuple(rest[unknown.index(a)] if a in unknown and len(rest) == len(unknown) else a for a in found)

    def expect(self, node: Any, value: Value, *wanted: tuple[str, ...]) -> tuple[str, ...]:
        """The axes of a value, which must be some of those wanted; what is not named yet is named by them. Raises ConversionError."""
        if value.part is not None:
            raise self.refused(node, "it reads one direction of a final state alone")
        for axes in wanted:
            names = dict(self.named)
            if len(axes) == len(value.axes) and all(self._agree(names, a, w) for a, w in zip(value.axes, axes, strict=True)):
                self.named = names
                if value.layer == -1 and "C" in axes:
                    self.inputs = value.sizes[axes.index("C")]
                return axes
        shown = " or ".join("".join(w) for w in wanted)
        raise self.refused(node, f"it reads {value.axes and ''.join(self.axes_of(value))} where {shown} is expected (B batch, T frames, C channels)")

    @staticmethod
    def _agree(names: dict[str, str], axis: str, wanted: str) -> bool:
        known = names.get(axis, axis)
        if known.startswith("?") and wanted not in names.values():
            names[axis] = wanted
            return True
        return known == wanted

    def refused(self, node: Any, why: str) -> ConversionError:
        return ConversionError(f"node '{node.name or node.output[0]}' ({node.op_type})", why)

    def _node(self, node: Any) -> None:
        read = [x for x in node.input if x in self.values]
        if any(x in self.shared for x in read) and node.op_type != "ReduceSum":
            raise self.refused(node, "frames times a softmax are read where they are summed over the frames")
        if any(k >= 0 and self.grown.layers[k].word == "softmax" for k in (self.values[x].layer for x in read)) and node.op_type not in NOTHING:
            raise self.refused(node, "it reads a softmax, which is only read of the outputs")
        if any(x in self.shares for x in read) and node.op_type != "Mul":
            raise self.refused(node, "a softmax over the frames is read where frames are multiplied by it")
        if any(self.values[x].part is not None for x in read) and node.op_type not in (*NOTHING, *OF_PARTS):
            raise self.refused(node, "one direction of a final state alone is not read, but both, joined again")
        if node.domain not in ("", "ai.onnx"):
            raise self.refused(node, f"an operator of {node.domain} is not read")
        if any(a.HasField("g") or a.graphs for a in node.attribute):
            raise self.refused(node, "operators that hold graphs of their own are not read")
        if not read:
            self._fold(node)
        elif node.op_type == "Shape":
            self.constants[node.output[0]] = self.np.array(self.values[node.input[0]].sizes, dtype="int64")
        elif node.op_type in NOTHING:
            if node.op_type == "Cast" and self.attributes(node)["to"] not in FLOATS and not self._tokens(self.values[node.input[0]]):
                raise self.refused(node, "it makes whole numbers of what is computed")
            if node.op_type == "Dropout" and self.constant(node, 2) is not None and self.constant(node, 2).any():
                raise self.refused(node, "it is exported as it trains: call model.eval() first")
            self.values[node.output[0]] = self.values[node.input[0]]
        elif node.op_type in self.operators:
            self.operators[node.op_type](self, node)
        else:
            raise self.refused(node, "this operator is not read")

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
            raise self.refused(node, f"its constants cannot be computed ({type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''})") from None
        self.constants |= dict(zip(outputs, found, strict=True))

    def attributes(self, node: Any, unsaid: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
        """What a node says; unsaid: what holds of what it does not."""
        from onnx import helper

        return {**unsaid, **{a.name: helper.get_attribute_value(a) for a in node.attribute}}

    def constant(self, node: Any, k: int, default: Any = None) -> Array:
        """The k-th input, which must be a constant. Raises ConversionError."""
        name = node.input[k] if k < len(node.input) else ""
        if not name:
            return default
        if name not in self.constants:
            raise self.refused(node, f"its input {k} ('{name}') is not a constant of the file")
        return self.constants[name]

    def value(self, node: Any, k: int = 0) -> Value:
        name = node.input[k]
        if name not in self.values:
            raise self.refused(node, f"its input {k} ('{name}') is a constant or not computed from the network's input")
        return self.values[name]

    def give(self, node: Any, value: Value, layer: int, width: int | None = None) -> None:
        """A node's output: a value of the same axes, of another layer and number of channels."""
        axes = self.axes_of(value)
        sizes = tuple(width if a == "C" and width is not None else n for a, n in zip(axes, value.sizes, strict=True))
        self.values[node.output[0]] = Value(layer, axes, sizes)

    def known(self, value: Value) -> Value:
        """With the names of its axes as they are known now."""
        return replace(value, axes=self.axes_of(value))

    def width(self, value: Value) -> int:
        """Numbers of a frame."""
        return math.prod(n for a, n in zip(self.axes_of(value), value.sizes, strict=True) if a in INSIDE)


def only(value: Value, places: Sequence[int]) -> Value:
    return replace(value, axes=tuple(value.axes[k] for k in places), sizes=tuple(value.sizes[k] for k in places))
