"""RNN, LSTM and GRU of ONNX, which orders gates, directions and axes its own way."""

from __future__ import annotations

from typing import Any

from vlang.convert.converted import Array
from vlang.convert.onnx.reader import Reader, Value
from vlang.convert.onnx.unrolled import FRAMES
from vlang.plan import Setting
from vlang.words.cells import CELLS

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


def recurrent(r: Reader, node: Any) -> None:
    said = r.attributes(node, {"direction": b"forward", "layout": 0, "linear_before_reset": 0})
    value, op = r.value(node), node.op_type
    first, second = ("B", "T") if said["layout"] else ("T", "B")
    r.expect(node, value, (first, second, "C"))
    for key, wanted in (("clip", None), ("input_forget", 0)):
        if said.get(key, wanted) != wanted:
            raise r.refused(node, f"{key} = {said[key]} is not read")
    if said["direction"] == b"reverse":
        raise r.refused(node, "a layer that reads backwards alone is not read")
    if said.get(FRAMES, value.sizes[said["layout"]]) != value.sizes[said["layout"]]:
        raise r.refused(node, f"{said[FRAMES]} of {value.sizes[said['layout']]} frames are written out")
    directions = 2 if said["direction"] == b"bidirectional" else 1
    names = tuple(x.decode() for x in said.get("activations", [x.encode() for x in DEFAULTS[op]] * directions))
    each = {tuple(x.lower() for x in names[k * len(names) // directions : (k + 1) * len(names) // directions]) for k in range(directions)}
    cell = RECURRENT.get((op, *each.pop())) if len(each) == 1 else None
    if cell is None or "activation_alpha" in said:
        raise r.refused(node, f"its activations {', '.join(names)} are not those of an {op} that is read")
    if op == "GRU" and not said["linear_before_reset"]:
        cell = "gru_before"
    peepholes = r.constant(node, 7)
    if peepholes is not None:
        cell = "lstm_peephole"
    _full(r, node, value, second if said["layout"] else first)
    weights, recurrent = r.constant(node, 1), r.constant(node, 2)
    hidden = recurrent.shape[2]
    biases = r.constant(node, 3, r.np.zeros((directions, 2 * weights.shape[1])))
    held: dict[str, Array] = {}
    for d in range(directions):
        end = "_l0" + "_reverse" * d
        parts = (("weight_ih", weights[d]), ("weight_hh", recurrent[d]), *zip(("bias_ih", "bias_hh"), r.np.split(biases[d], 2), strict=True))
        held |= {f"{part}{end}": _torch_order(r, op, x) for part, x in parts}
        if peepholes is not None:
            of_i, of_o, of_f = r.np.split(peepholes[d], 3)
            held[f"peephole{end}"] = r.np.concatenate([of_i, of_f, of_o])
    states = [_state(r, node, k, bool(said["layout"])) for k in (5, 6)[: len(CELLS[cell].states)]]
    started = CELLS[cell].states if any(x is not None and x.any() for x in states) else ()
    number = len(r.grown.layers)
    initial = tuple(f"{number}.{cell}.{name}" for name in started)
    settings: dict[str, Setting] = {"layers": 1, "directions": directions, "initial": initial}
    layer = r.grown.add(cell, (value.layer,), hidden * directions, held, settings)
    for name, state in zip(initial, states, strict=False):
        r.grown.tensors[name] = r.np.zeros((directions, hidden)) if state is None else state.astype("float64")
    batch, frames = value.sizes[1 - said["layout"]], value.sizes[said["layout"]]
    way = "D" if directions == 2 else "1"
    outputs = [*node.output, "", "", ""][:3]
    if outputs[0]:
        every = ("B", "T", way, "C") if said["layout"] else ("T", way, "B", "C")
        size = {"B": batch, "T": frames, "D": 2, "1": 1, "C": hidden}
        r.values[outputs[0]] = Value(layer, every, tuple(size[a] for a in every))
    if outputs[1]:
        final = r.grown.add("last", (layer,), hidden * directions)
        axes = ("B", way, "C") if said["layout"] else (way, "B", "C")
        r.values[outputs[1]] = Value(final, axes, tuple({"B": batch, "D": 2, "1": 1, "C": hidden}[a] for a in axes))


def _full(r: Reader, node: Any, value: Value, frames: str) -> None:
    """Refuse sequences of other lengths than all frames."""
    lengths = r.constant(node, 4)
    if lengths is not None and (lengths != value.sizes[r.axes_of(value).index(frames)]).any():
        raise r.refused(node, "sequence_lens are not the number of frames")


def _torch_order(r: Reader, op: str, x: Array) -> Array:
    """Rows gate by gate as torch has them."""
    blocks = r.np.split(x, len(GATES[op]))
    return r.np.concatenate([blocks[k] for k in GATES[op]])


def _state(r: Reader, node: Any, k: int, batch_first: bool) -> Array | None:
    """An initial state, the same for all samples of a batch. shape: [directions, hidden]."""
    state = r.constant(node, k)
    if state is None:
        return None
    state = state.swapaxes(0, 1) if batch_first else state
    if (state != state[:, :1]).any():
        raise r.refused(node, "its initial states differ from sample to sample")
    return state[:, 0]
