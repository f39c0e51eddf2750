"""Operators that become layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from vlang.convert.converted import Array
from vlang.convert.onnx.reader import Reader, Value, only
from vlang.picture import Picture, behind
from vlang.plan import Setting

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


def pointwise(r: Reader, node: Any) -> None:
    word, wanted = POINTWISE[node.op_type]
    said = r.attributes(node)
    for key, expected in wanted.items():
        found = said.get(key, UNSAID[node.op_type, key])
        if found != expected and not (isinstance(found, float) and math.isclose(found, expected, rel_tol=1e-6)):
            raise r.refused(node, f"{key} = {found} is not read, {expected} is")
    value = r.value(node)
    if node.op_type == "Sigmoid":
        r.squashed[node.output[0]] = node.input[0]
    r.give(node, value, r.grown.add(word, (value.layer,), r.width(value)))


def gemm(r: Reader, node: Any) -> None:
    said = r.attributes(node, {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0})
    if said["alpha"] != 1 or said["beta"] != 1 or said["transA"]:
        raise r.refused(node, "alpha, beta or transA is not what a linear layer has")
    weight, bias = r.constant(node, 1), r.constant(node, 2)
    _linear(
        r, node, weight if said["transB"] else weight.T, None if bias is None else r.np.broadcast_to(bias, (1, len(bias.reshape(-1)))).reshape(-1)
    )


def matmul(r: Reader, node: Any) -> None:
    weight = r.constant(node, 1)
    if weight.ndim != 2:
        raise r.refused(node, f"its matrix has {weight.ndim} axes")
    _linear(r, node, weight.T, None)


def _linear(r: Reader, node: Any, weight: Array, bias: Array | None) -> None:
    value = r.value(node)
    r.expect(node, value, ("B", "C"), ("B", "T", "C"), ("T", "B", "C"))
    if weight.shape[1] != value.sizes[-1]:
        raise r.refused(node, f"it reads {weight.shape[1]} numbers, {value.sizes[-1]} are given")
    held = {"weight": weight} | ({} if bias is None else {"bias": bias})
    r.give(node, value, r.grown.add("linear", (value.layer,), len(weight), held), len(weight))


def add(r: Reader, node: Any) -> None:
    if all(x in r.values for x in node.input):
        _sum(r, node)
        return
    k = 0 if node.input[0] in r.values else 1
    value, constant = r.known(r.value(node, k)), _along_channels(r, node, r.constant(node, 1 - k), r.value(node, k))
    below = r.grown.layers[value.layer] if value.layer >= 0 else None
    if below is not None and below.word == "linear" and "bias" not in below.roles and r.uses[node.input[k]] == 1:
        r.grown.give(value.layer, "bias", constant)
        r.values[node.output[0]] = value
    else:
        _normalized(r, node, value, -constant, r.np.ones_like(constant))


def _sum(r: Reader, node: Any) -> None:
    one, other = (r.known(r.value(node, k)) for k in (0, 1))
    if one.axes != other.axes or one.sizes != other.sizes or one.part is not None:
        raise r.refused(node, "what it adds is laid out in two ways")
    r.give(node, one, r.grown.add("add", (one.layer, other.layer), r.width(one)))


def sub(r: Reader, node: Any) -> None:
    value = r.value(node)
    constant = _along_channels(r, node, r.constant(node, 1), value)
    _normalized(r, node, value, constant, r.np.ones_like(constant))


def div(r: Reader, node: Any) -> None:
    value = r.value(node)
    constant = _along_channels(r, node, r.constant(node, 1), value)
    _normalized(r, node, value, r.np.zeros_like(constant), constant)


def _normalized(r: Reader, node: Any, value: Value, mean: Array, std: Array) -> None:
    if not (std > 0).all():
        raise r.refused(node, "it divides by numbers that are not above 0")
    settings = {"mean": tuple(map(float, mean)), "std": tuple(map(float, std))}
    r.give(node, value, r.grown.add("normalize", (value.layer,), r.width(value), settings=settings))


def mul(r: Reader, node: Any) -> None:
    if all(x in r.values for x in node.input):
        for k in (0, 1):
            if r.squashed.get(node.input[k]) == node.input[1 - k]:  # x sigmoid(x)
                value = r.value(node, 1 - k)
                r.give(node, value, r.grown.add("silu", (value.layer,), r.width(value)))
                return
            if node.input[k] in r.shares and r.known(r.value(node, 1 - k)).axes == r.shares[node.input[k]].axes:
                r.shared[node.output[0]] = r.shares[node.input[k]]
                r.values[node.output[0]] = replace(r.known(r.value(node, 1 - k)))
                return
        raise r.refused(node, "a product of two computed values is not read, but x sigmoid(x) and frames times a softmax over them")
    k = 0 if node.input[0] in r.values else 1
    value = r.value(node, k)
    constant = _along_channels(r, node, r.constant(node, 1 - k), value)
    if "H" in value.axes:
        _in_picture(
            r, node, value, "conv2d", {"stride": 1, "padding": 0, "dilation": 1, "groups": len(constant)}, {"weight": constant[:, None, None, None]}
        )
    else:
        r.give(node, value, r.grown.add("linear", (value.layer,), len(constant), {"weight": r.np.diag(constant)}))


def _along_channels(r: Reader, node: Any, constant: Array, value: Value) -> Array:
    """A constant that is one number, or one a channel, as the latter. Raises ConversionError."""
    axes = r.axes_of(value)
    shape = (1,) * (len(axes) - constant.ndim) + constant.shape
    if len(shape) != len(axes) or any(n != 1 and a != "C" for n, a in zip(shape, axes, strict=True)):
        raise r.refused(node, f"its constant of shape {list(constant.shape)} is not one a channel of {''.join(axes)}")
    if value.layer == -1:
        r.expect(node, value, *([axes] if "?" not in "".join(axes) else [("B", "T", "C")]))
    return r.np.broadcast_to(constant.reshape(-1), (value.sizes[axes.index("C")],)).astype("float64")


def conv(r: Reader, node: Any) -> None:
    weight, bias, value = r.constant(node, 1), r.constant(node, 2), r.value(node)
    along = weight.ndim - 2
    said = r.attributes(node, {"strides": [1] * along, "pads": [0] * 2 * along, "dilations": [1] * along, "group": 1, "auto_pad": b"NOTSET"})
    if along not in (1, 2):
        raise r.refused(node, f"a convolution over {along} axes is not read, over frames or pictures alone")
    if said["auto_pad"] not in (b"NOTSET", b"VALID") or said["pads"][:along] != said["pads"][along:]:
        raise r.refused(node, "it pads its two sides differently: pad the data, or both sides alike")
    held = {"weight": weight} | ({} if bias is None else {"bias": bias})
    each = {"stride": said["strides"], "padding": said["pads"][:along], "dilation": said["dilations"]}
    if along == 2:
        r.expect(node, value, ("B", "C", "H", "W"))
        if weight.shape[1] * said["group"] != value.size("C"):
            raise r.refused(node, f"it reads {weight.shape[1] * said['group']} channels, {value.size('C')} are given")
        _in_picture(r, node, value, "conv2d", {k: (x[0], x[1]) for k, x in each.items()} | {"groups": said["group"]}, held)
        return
    r.expect(node, value, ("B", "C", "T"))
    settings = {k: x[0] for k, x in each.items()} | {"groups": said["group"]}
    layer = r.grown.add("conv1d", (value.layer,), len(weight), held, settings, weight.shape[2])
    frames = r.grown.layers[layer].windows(value.size("T") if "T" in value.axes else value.sizes[2])
    r.values[node.output[0]] = Value(layer, ("B", "C", "T"), (value.sizes[0], len(weight), frames))


def _in_picture(r: Reader, node: Any, value: Value, word: str, settings: Mapping[str, Setting], held: Mapping[str, Array]) -> None:
    """A layer over rows and columns."""
    settings = {k: v[0] if isinstance(v, tuple) and v[0] == v[1] else v for k, v in settings.items()}
    before = Picture(value.size("C"), value.size("H"), value.size("W"))
    found = behind(word, settings, (before,), held["weight"].shape if held else ())
    assert found is not None
    layer = r.grown.add(word, (value.layer,), found.size, held, settings)
    r.values[node.output[0]] = Value(layer, ("B", "C", "H", "W"), (value.sizes[0], found.channels, found.height, found.width))


def pool(r: Reader, node: Any) -> None:
    along = len(r.attributes(node)["kernel_shape"])
    said = r.attributes(node, {"pads": [], "strides": [1] * along, "ceil_mode": 0, "dilations": [1] * along, "auto_pad": b"NOTSET"})
    value = r.value(node)
    if any(said["pads"]) or said["ceil_mode"] or said["dilations"] != [1] * along or said["auto_pad"] not in (b"NOTSET", b"VALID"):
        raise r.refused(node, "pooling with padding, dilation or ceil_mode is not read")
    word, size = ("max_pool" if node.op_type == "MaxPool" else "avg_pool"), said["kernel_shape"][0]
    if along == 2:
        r.expect(node, value, ("B", "C", "H", "W"))
        _in_picture(r, node, value, f"{word}2d", {"size": tuple(said["kernel_shape"]), "stride": tuple(said["strides"])}, {})
        return
    r.expect(node, value, ("B", "C", "T"))
    settings = {"size": size, "stride": said["strides"][0]}
    layer = r.grown.add(word, (value.layer,), value.sizes[1], settings=settings, window=size)
    r.values[node.output[0]] = Value(layer, ("B", "C", "T"), (*value.sizes[:2], r.grown.layers[layer].windows(value.sizes[2])))


def batchnorm(r: Reader, node: Any) -> None:
    value, said = r.value(node), r.attributes(node, {"epsilon": 1e-5, "training_mode": 0})
    r.expect(node, value, ("B", "C"), ("B", "C", "T"), ("B", "C", "H", "W"))
    if said["training_mode"]:
        raise r.refused(node, "it is exported as it trains: call model.eval() first")
    roles = ("weight", "bias", "running_mean", "running_var")
    held = {role: r.constant(node, k + 1) for k, role in enumerate(roles)}
    r.give(node, value, r.grown.add("batchnorm", (value.layer,), r.width(value), held, {"eps": _float32(said["epsilon"])}))


def layernorm(r: Reader, node: Any) -> None:
    value, said = r.value(node), r.attributes(node, {"axis": -1, "epsilon": 1e-5})
    axes = r.expect(node, value, ("B", "C"), ("B", "T", "C"), ("T", "B", "C"))
    if said["axis"] not in (-1, len(axes) - 1):
        raise r.refused(node, "it normalises more than a frame's numbers")
    held = {"weight": r.constant(node, 1)} | ({} if (bias := r.constant(node, 2)) is None else {"bias": bias})
    r.give(node, value, r.grown.add("layernorm", (value.layer,), value.sizes[-1], held, {"eps": _float32(said["epsilon"])}))


def leaky(r: Reader, node: Any) -> None:
    value, slope = r.value(node), float(r.attributes(node).get("alpha", 0.01))
    r.give(node, value, r.grown.add("leaky_relu", (value.layer,), r.width(value), settings={"slope": slope}))


def clip(r: Reader, node: Any) -> None:
    value, said = r.value(node), r.attributes(node)
    low, high = (float(r.constant(node, k, said.get(key, way * math.inf))) for k, key, way in ((1, "min", -1), (2, "max", 1)))
    word = {(-1.0, 1.0): "hardtanh"}.get((low, high), "relu" if low == 0 and high > 1e38 else None)
    if word is None:
        raise r.refused(node, f"numbers between {low:g} and {high:g}: only those between -1 and 1, or above 0, are read")
    r.give(node, value, r.grown.add(word, (value.layer,), r.width(value)))


def softmax(r: Reader, node: Any) -> None:
    value = r.known(r.value(node))
    axis = r.attributes(node, {"axis": -1})["axis"] % len(value.axes)
    if value.axes[axis] == "T" and value.size("C") == 1:
        r.shares[node.output[0]] = value
        r.values[node.output[0]] = value
        return
    if value.axes[axis] != "C" or "T" in value.axes:
        raise r.refused(node, "a softmax that is neither of the outputs nor over the frames is not read")
    r.give(node, value, r.grown.add("softmax", (value.layer,), r.width(value)))


def weighted(r: Reader, node: Any) -> None:
    """The sum over the frames of what a softmax over the frames weights."""
    value, said = r.known(r.value(node)), r.attributes(node)
    over: Array = said["axes"] if "axes" in said else r.constant(node, 1, [])
    axes = [int(k) % len(value.axes) for k in over]
    shared = r.shared.get(node.input[0])
    if shared is None or [value.axes[k] for k in axes] != ["T"]:
        raise r.refused(node, "it is no sum over frames of frames times a softmax")
    layer = r.grown.add("attention", (value.layer, shared.layer), r.width(value))
    found = replace(value, layer=layer, axes=tuple("1" if k in axes else a for k, a in enumerate(value.axes)))
    found = replace(found, sizes=tuple(1 if k in axes else n for k, n in enumerate(value.sizes)))
    r.values[node.output[0]] = found if said.get("keepdims", 1) else only(found, [k for k in range(len(value.axes)) if k not in axes])


def _float32(value: float) -> float:
    """The shortest decimal that is this float32: ONNX keeps attributes as float32, and 1e-5 is not one."""
    import numpy as np

    return float(str(np.float32(value)))
