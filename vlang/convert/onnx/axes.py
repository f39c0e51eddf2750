"""Operators that move, join, cut or drop axes, and those that pick or reduce along them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vlang.convert.converted import Array
from vlang.convert.onnx.reader import OPEN, Reader, Value, only
from vlang.plan import Setting


def transpose(r: Reader, node: Any) -> None:
    value = r.value(node)
    order = r.attributes(node).get("perm", list(range(len(value.axes)))[::-1])
    r.values[node.output[0]] = replace(value, axes=tuple(value.axes[k] for k in order), sizes=tuple(value.sizes[k] for k in order))


def squeeze(r: Reader, node: Any) -> None:
    value, said = r.known(r.value(node)), r.attributes(node)
    dropped = said["axes"] if "axes" in said else r.constant(node, 1)
    if dropped is None:
        places = [k for k, a in enumerate(value.axes) if a == "1"]
    else:
        places = [int(k) % len(value.axes) for k in dropped]
    for k in places:
        if value.axes[k] != "1":
            raise r.refused(node, f"it drops axis {k}, the {'batch' if value.axes[k] == 'B' else 'frames' if value.axes[k] == 'T' else 'channels'}")
    r.values[node.output[0]] = only(value, [k for k in range(len(value.axes)) if k not in places])


def unsqueeze(r: Reader, node: Any) -> None:
    value, said = r.value(node), r.attributes(node)
    axes, sizes = list(value.axes), list(value.sizes)
    added: Array = said["axes"] if "axes" in said else r.constant(node, 1)
    for k in sorted(int(k) % (len(axes) + len(added)) for k in added):
        axes.insert(k, "1")
        sizes.insert(k, 1)
    r.values[node.output[0]] = replace(value, axes=tuple(axes), sizes=tuple(sizes))


def reshape(r: Reader, node: Any) -> None:
    value, target = r.known(r.value(node)), [int(n) for n in r.constant(node, 1)]
    target = [value.sizes[k] if n == 0 else n for k, n in enumerate(target)]
    if -1 in target:
        rest = math.prod(n for n in target if n != -1)
        target = [math.prod(value.sizes) // rest if n == -1 else n for n in target]
    if len(target) == 4 and value.axes in (("B", "T", "C"), ("B", "C")) and target[0] == value.sizes[0] and OPEN not in value.sizes[1:]:
        said: dict[str, Setting] = dict(zip(("channels", "height", "width"), target[1:], strict=True))
        layer = r.grown.add("reshape", (value.layer,), math.prod(target[1:]), settings=said)
        r.values[node.output[0]] = Value(layer, ("B", "C", "H", "W"), tuple(target))
        return
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
            raise r.refused(node, f"from {list(value.sizes)} to {target}: axes are cut, not joined")
        name, layer = _joined(r, node, layer, value, group)
        axes.append(name)
    r.values[node.output[0]] = Value(layer, tuple(axes), tuple(target))


def _joined(r: Reader, node: Any, layer: int, value: Value, group: Sequence[str]) -> tuple[str, int]:
    """The axis that some axes become when they are joined, and the layer that then gives the value."""
    match list(group):
        case []:
            return "1", layer
        case [name]:
            return name, layer
        case ["D", "C"]:
            return "C", layer
        case ["C", "H", "W"]:
            return "C", r.grown.add("flatten", (layer,), r.width(value), settings={"order": "frames"})
        case ["T", "C"] | ["C", "T"]:
            order = "frames" if group[0] == "T" else "channels"
            width = value.size("T") * value.size("C")
            if value.layer == -1:
                r.inputs = value.size("C")
            return "C", r.grown.add("flatten", (layer,), width, settings={"order": order})
    raise r.refused(node, f"it joins {' and '.join(group)}")


def flatten(r: Reader, node: Any) -> None:
    value, axis = r.known(r.value(node)), r.attributes(node).get("axis", 1)
    if axis != 1 or value.axes[0] != "B":
        raise r.refused(node, "it joins the batch with other axes")
    name, layer = _joined(r, node, value.layer, value, [a for a in value.axes[1:] if a != "1"])
    r.values[node.output[0]] = Value(layer, ("B", name), (value.sizes[0], math.prod(value.sizes[1:])))


def gather(r: Reader, node: Any) -> None:
    if node.input[0] in r.constants:
        _embedded(r, node)
        return
    index = r.constant(node, 1)
    axis = r.attributes(node).get("axis", 0)
    if index.size != 1:
        raise r.refused(node, "it picks several places at once")
    _picked(r, node, r.value(node), axis, int(index.reshape(-1)[0]), keep=index.ndim > 0)


def _embedded(r: Reader, node: Any) -> None:
    """Rows of a table, by the input's tokens."""
    table, value = r.constants[node.input[0]], r.value(node, 1)
    if value.layer != -1 or "C" in value.axes or table.ndim != 2 or r.table is not None:
        raise r.refused(node, "it picks from constants by what is computed")
    r.table, r.inputs = "embedding.weight", table.shape[1]
    r.grown.tensors[r.table] = table.astype("float64")
    r.values[node.output[0]] = Value(-1, (*value.axes, "C"), (*value.sizes, table.shape[1]))


def sliced(r: Reader, node: Any) -> None:
    value = r.values[node.output[0]] = r.value(node)  # one axis after the other
    starts, ends = (r.constant(node, k) for k in (1, 2))
    axes = r.constant(node, 3, r.np.arange(len(starts)))
    steps = r.constant(node, 4, r.np.ones(len(starts)))
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = value.sizes[int(axis)]
        chosen = range(size)[slice(int(start), int(min(end, size)), int(step))]
        if len(chosen) == 1 and size > 1:
            _picked(r, node, r.values[node.output[0]], int(axis), chosen[0], keep=True)
        elif len(chosen) < size or step != 1:
            raise r.refused(node, f"it takes {len(chosen)} of {size} along axis {int(axis)}")


def _picked(r: Reader, node: Any, value: Value, axis: int, index: int, keep: bool) -> None:
    """One place along an axis: the last frame, or a direction of a final state."""
    value = r.known(value)
    axis %= len(value.axes)
    index = index % value.sizes[axis] if value.sizes[axis] != OPEN or index < 0 else index
    rest = [k for k in range(len(value.axes)) if k != axis]
    match value.axes[axis]:
        case "T" if index == value.sizes[axis] - 1:
            layer = r.grown.add("last_frame", (value.layer,), r.width(value))
            found = replace(value, layer=layer)
        case "D" if "T" not in value.axes:
            found = replace(value, part=index)
        case "1":
            found = value
        case name:
            raise r.refused(node, f"place {index} along {name} alone is not read, but the last frame and a final state's directions are")
    axes = tuple("1" if k == axis else a for k, a in enumerate(found.axes))
    found = replace(found, axes=axes, sizes=tuple(1 if k == axis else n for k, n in enumerate(found.sizes)))
    r.values[node.output[0]] = found if keep else only(found, rest)


def concat(r: Reader, node: Any) -> None:
    read = [r.known(r.value(node, k)) for k in range(len(node.input))]
    axis = r.attributes(node)["axis"] % len(read[0].axes)
    if read[0].axes[axis] == "1" and [v.part for v in read] == [0, 1] and len({(v.layer, v.axes) for v in read}) == 1:
        joined = [("D", 2) if k == axis else x for k, x in enumerate(zip(read[0].axes, read[0].sizes, strict=True))]
        r.values[node.output[0]] = Value(read[0].layer, tuple(a for a, _ in joined), tuple(n for _, n in joined))
        return
    if read[0].axes[axis] != "C" or any(v.axes != read[0].axes for v in read):
        raise r.refused(node, "what it joins is not laid out alike, or not joined by channels")
    channels = sum(v.sizes[axis] for v in read)
    sizes = tuple(channels if k == axis else n for k, n in enumerate(read[0].sizes))
    if [v.part for v in read] == [0, 1] and len({v.layer for v in read}) == 1:
        r.values[node.output[0]] = Value(read[0].layer, read[0].axes, sizes)
    elif any(v.part is not None for v in read):
        raise r.refused(node, "it joins directions of final states in another order than torch's, or of several layers")
    else:
        found = replace(read[0], sizes=sizes)
        r.values[node.output[0]] = replace(found, layer=r.grown.add("concat", tuple(v.layer for v in read), r.width(found)))


def reduce(r: Reader, node: Any) -> None:
    value, said = r.known(r.value(node)), r.attributes(node)
    over: Array = said["axes"] if "axes" in said else r.constant(node, 1, [])
    axes = [int(k) % len(value.axes) for k in over]
    names = [value.axes[k] for k in sorted(axes)]
    if names not in (["T"], ["H", "W"]):
        raise r.refused(node, "it is taken over other axes than the frames, or than rows and columns")
    if names == ["T"]:
        layer = r.grown.add("mean" if node.op_type == "ReduceMean" else "max", (value.layer,), r.width(value))
    else:
        layer = _over_picture(r, value, node.op_type == "ReduceMean")
    found = replace(value, layer=layer, axes=tuple("1" if k in axes else a for k, a in enumerate(value.axes)))
    found = replace(found, sizes=tuple(1 if k in axes else n for k, n in enumerate(value.sizes)))
    r.values[node.output[0]] = found if said.get("keepdims", 1) else only(found, [k for k in range(len(value.axes)) if k not in axes])


def split(r: Reader, node: Any) -> None:
    """The directions of a final state."""
    value = r.known(r.value(node))
    axis = r.attributes(node, {"axis": 0})["axis"] % len(value.axes)
    if len(node.output) == 1:
        r.values[node.output[0]] = value
        return
    if value.axes[axis] != "D" or "T" in value.axes or len(node.output) != 2:
        raise r.refused(node, "it cuts what is computed, and not a final state into its directions")
    for part, name in enumerate(node.output):
        axes = tuple("1" if k == axis else a for k, a in enumerate(value.axes))
        r.values[name] = replace(value, part=part, axes=axes, sizes=tuple(1 if k == axis else n for k, n in enumerate(value.sizes)))


def global_mean(r: Reader, node: Any) -> None:
    value, mean = r.value(node), node.op_type == "GlobalAveragePool"
    if r.expect(node, value, ("B", "C", "T"), ("B", "C", "H", "W")) == ("B", "C", "T"):
        layer = r.grown.add("mean" if mean else "max", (value.layer,), value.sizes[1])
        r.values[node.output[0]] = Value(layer, ("B", "C", "1"), (*value.sizes[:2], 1))
    else:
        r.values[node.output[0]] = Value(_over_picture(r, value, mean), ("B", "C", "1", "1"), (*value.sizes[:2], 1, 1))


def _over_picture(r: Reader, value: Value, mean: bool) -> int:
    """The layer that gives a picture's mean, or its largest number, channel by channel, as a vector."""
    settings: dict[str, Setting] = {"size": (value.size("H"), value.size("W")), "stride": 0}
    pooled = r.grown.add("avg_pool2d" if mean else "max_pool2d", (value.layer,), value.size("C"), settings=settings)
    return r.grown.add("flatten", (pooled,), value.size("C"), settings={"order": "frames"})
