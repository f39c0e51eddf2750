"""An nn.RNN that torch's newer exporter has written out frame by frame, as one RNN operator again.

Of every frame t there is then h_t = act(x_t + (h_{t-1} R' + b)), x_t a slice of x W' + c, and all h_t are joined; a second direction reads x turned
round and is joined turned back. What only looks like that is left as it is, and refused by name where it is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlang.convert.converted import Array

#: Operators that an nn.RNN may have as its activation.
ACTIVATIONS = ("Tanh", "Relu")
#: The attribute by which the operator says how many frames were written out.
FRAMES = "written_frames"


@dataclass(frozen=True)
class Linear:
    """weight @ read + bias, frame by frame. shape: weight [out, in], bias [out]."""

    read: str
    weight: Array
    bias: Array


@dataclass(frozen=True)
class Chain:
    """One direction, written out. states: their names, in the order in which they are computed."""

    activation: str
    inputs: Linear
    recurrent: Array
    bias: Array
    backwards: bool
    states: tuple[str, ...]

    @property
    def by_frame(self) -> tuple[str, ...]:
        return self.states[:: -1 if self.backwards else 1]


def rolled(model: Any) -> Any:
    """The model with every written-out RNN as an operator, and without the nodes that nothing reads then."""
    graph = _Graph(model)
    chains = graph.chains()
    ways: list[tuple[Chain, ...]] = []
    for chain in (c for c in chains if not c.backwards):
        others = [c for c in chains if c.backwards and graph.alike(c, chain)]
        ways.append((chain, *others) if len(others) == 1 else (chain,))
    return graph.rewritten([graph.operator(way) for way in ways]) if ways else model


class _Graph:
    """A model's nodes by what they make."""

    def __init__(self, model: Any) -> None:
        import numpy as np
        from onnx import helper, numpy_helper

        self.np, self.helper, self.numpy_helper, self.model = np, helper, numpy_helper, model
        self.makers = {name: node for node in model.graph.node for name in node.output}
        self.constants = {x.name: numpy_helper.to_array(x) for x in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)

    def axis(self, node: Any) -> int | None:
        return next((int(a.i) for a in node.attribute if a.name == "axis"), None)

    def chains(self) -> list[Chain]:
        """The directions that are written out."""
        steps = {name: step for name in self.makers if (step := self._step(name)) is not None}
        going_on = {step.before for step in steps.values()}
        found = []
        for name in (x for x in steps if x not in going_on):
            states = [name]
            while (before := steps[states[0]].before) in steps:
                states.insert(0, str(before))
            chain = self._chain(tuple(states), [steps[x] for x in states])
            if chain is not None:
                found.append(chain)
        return found

    def _chain(self, states: tuple[str, ...], steps: Sequence[_Step]) -> Chain | None:
        first, *rest = steps
        if first.before is not None or not rest:
            return None
        if [s.place for s in steps] != list(range(len(steps))) or len({(s.activation, s.source) for s in steps}) > 1:
            return None
        recurrent, bias = rest[0].weight, rest[0].bias
        same = all(self.np.array_equal(s.weight, recurrent) and self.np.array_equal(s.bias, bias) for s in rest)
        if not same or first.bias.size != bias.size or (first.bias.reshape(-1) != bias).any():  # a first state that is not zero
            return None
        turned = self.makers.get(first.source)
        backwards = turned is not None and self._turned(turned)
        inputs = self._linear(turned.input[0] if turned is not None and backwards else first.source)
        return None if inputs is None else Chain(first.activation, inputs, recurrent, bias, backwards, states)

    def _step(self, name: str) -> _Step | None:
        node = self.makers.get(name)
        total = self.makers.get(node.input[0]) if node is not None and node.op_type in ACTIVATIONS else None
        if node is None or total is None or total.op_type != "Add":
            return None
        for x, other in (tuple(total.input), tuple(total.input)[::-1]):
            picked = self._picked(x)
            if picked is None:
                continue
            source, place = picked
            if other in self.constants:
                return _Step(node.op_type, source, place, None, self.np.zeros((0, 0)), self.constants[other])
            before = self._linear(other)
            if before is not None:
                return _Step(node.op_type, source, place, before.read, before.weight, before.bias)
        return None

    def _linear(self, name: str) -> Linear | None:
        """x W' or x W' + b."""
        node, bias = self.makers.get(name), None
        if node is not None and node.op_type == "Add":
            held = [x for x in node.input if x in self.constants]
            rest = [x for x in node.input if x not in self.constants]
            if len(held) != 1:
                return None
            bias, node = self.constants[held[0]], self.makers.get(rest[0])
        if node is None or node.op_type != "MatMul" or node.input[1] not in self.constants:
            return None
        weight = self.constants[node.input[1]]
        if weight.ndim != 2 or (bias is not None and bias.size != weight.shape[1]):
            return None
        return Linear(node.input[0], weight.T, self.np.zeros(weight.shape[1]) if bias is None else bias.reshape(-1))

    def _picked(self, name: str) -> tuple[str, int] | None:
        """Of what it is one frame, and which."""
        node = self.makers.get(name)
        if node is None or node.op_type != "Squeeze" or (len(node.input) > 1 and self._whole(node.input[1]) != [0]):
            return None
        cut = self.makers.get(node.input[0])
        said = [self._whole(x) for x in list(cut.input)[1:]] if cut is not None and cut.op_type == "Slice" else []
        if cut is None or len(said) not in (3, 4) or any(x is None or len(x) != 1 for x in said):
            return None
        (start,), (stop,), (axis,), *step = (x or [] for x in said)
        return (cut.input[0], start) if axis == 0 and stop == start + 1 and start >= 0 and step in ([], [[1]]) else None

    def _turned(self, node: Any) -> bool:
        """Whether it turns all frames round."""
        said = [self._whole(x) for x in list(node.input)[1:]] if node.op_type == "Slice" else []
        return len(said) == 4 and said[0] == [-1] and said[2:] == [[0], [-1]] and said[1] is not None and said[1][0] < -(2**31)

    def _whole(self, name: str) -> list[int] | None:
        found = self.constants.get(name)
        return None if found is None else [int(x) for x in found.reshape(-1)]

    @staticmethod
    def alike(one: Chain, other: Chain) -> bool:
        """Whether these may be directions of one layer."""
        return len({(c.activation, c.inputs.read, len(c.states), c.recurrent.shape) for c in (one, other)}) == 1

    def operator(self, chains: tuple[Chain, ...]) -> list[Any]:
        """The nodes that make the last states, and what joins all of them if something does."""
        name, make = f"{chains[0].states[-1]}/rolled", self.helper.make_node
        held = {
            "W": self.np.stack([c.inputs.weight for c in chains]),
            "R": self.np.stack([c.recurrent for c in chains]),
            "B": self.np.stack([self.np.concatenate([c.inputs.bias, c.bias]) for c in chains]),
            "whole": self.np.array([0, 0, -1], dtype="int64"),
            **{f"at{k}": self.np.array([k], dtype="int64") for k in range(3)},
        }
        for key, value in held.items():
            self.model.graph.initializer.append(self.numpy_helper.from_array(self.np.ascontiguousarray(value), f"{name}/{key}"))
        said: dict[str, Any] = {"hidden_size": len(chains[0].recurrent), FRAMES: len(chains[0].states)}
        said |= {"activations": [c.activation for c in chains], "direction": "bidirectional" if len(chains) == 2 else "forward"}
        every, final = f"{name}/Y", f"{name}/Y_h"
        nodes = [make("RNN", [chains[0].inputs.read, *(f"{name}/{k}" for k in "WRB")], [every, final], name=f"{name}/RNN", **said)]
        joined = [self._concat(c.by_frame, 0) for c in chains]
        whole = joined[0] if len(chains) == 1 else self._concat(tuple(x for x in joined if x), 2)
        if whole is not None:
            nodes.append(make("Transpose", [every], [f"{name}/T"], perm=[0, 2, 1, 3]))
            nodes.append(make("Reshape", [f"{name}/T", f"{name}/whole"], [whole]))
        for k, c in enumerate(chains):
            nodes.append(make("Slice", [final, f"{name}/at{k}", f"{name}/at{k + 1}", f"{name}/at0"], [c.states[-1]]))
        return nodes

    def _concat(self, names: tuple[str, ...], axis: int) -> str | None:
        """What joins these, along an axis of three."""
        ways = (axis, axis - 3)
        return next((n.output[0] for n in self.model.graph.node if n.op_type == "Concat" and tuple(n.input) == names and self.axis(n) in ways), None)

    def rewritten(self, made: Sequence[Sequence[Any]]) -> Any:
        """With these nodes in place of those that made the same values, and none that nothing reads."""
        graph = self.model.graph
        instead = {x: nodes for nodes in made for node in nodes for x in node.output}
        nodes: list[Any] = []
        placed: set[int] = set()
        for node in graph.node:
            new = next((instead[x] for x in node.output if x in instead), None)
            if new is None:
                nodes.append(node)
            elif id(new) not in placed:
                placed.add(id(new))
                nodes += new
        read = Counter(x.name for x in graph.output)
        kept = []
        for node in reversed(nodes):
            if any(read[x] for x in node.output):
                kept.append(node)
                read.update(node.input)
        del graph.node[:]
        graph.node.extend(reversed(kept))
        return self.model


@dataclass(frozen=True)
class _Step:
    """One frame: act(place of source + (weight @ before + bias)); of the first one what stands in for the second part is its bias."""

    activation: str
    source: str
    place: int
    before: str | None
    weight: Array
    bias: Array
