"""A graph of layers as it is described (`LayerPlan.described`: in witnesses and the metadata of exported files) back to an architecture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from vlang.picture import Picture, behind
from vlang.plan import Architecture, LayerPlan
from vlang.words.cells import CELLS
from vlang.words.layers import JOINED, JOINING, LAYERS

Shape = tuple[int, ...]
#: What is said of every layer, beside its settings.
OWN = frozenset({"layer", "of", "prefix"})
CELL_SETTINGS = ("layers", "directions", "initial")


def architecture(said: Mapping[str, Any], shapes: Mapping[str, Shape], input_size: int) -> Architecture:
    """The architecture of a network whose tensors have these shapes, on frames of so many numbers.

    Raises ValueError, KeyError or TypeError where they do not fit.
    """
    layers: list[LayerPlan] = []
    pictures: list[Picture | None] = []
    for k, x in enumerate(said["layers"]):
        if not x["of"] or (len(x["of"]) > 1 and x["layer"] not in JOINING) or not all(type(i) is int and -1 <= i < k for i in x["of"]):
            raise ValueError(f"layer {k} reads {x['of']!r}")
        widths = [input_size if i < 0 else layers[i].width for i in x["of"]]
        layers.append(_layer(x, widths, shapes, pictures))
    if not layers:
        raise ValueError("there are no layers")
    layers = _flattened(layers, shapes)
    return Architecture(tuple(layers), input_size, said["embedding"], shapes[said["embedding"]][0] if said["embedding"] else 0)


def _flattened(layers: list[LayerPlan], shapes: Mapping[str, Shape]) -> list[LayerPlan]:
    """With the widths of flattened frames, as the layers say that read them."""
    widths = [x.width for x in layers]
    for k in reversed(range(len(layers))):
        reads = shapes[layers[k].prefix + layers[k].roles[0]][-1] if layers[k].roles else widths[k]
        for i in layers[k].of:
            widths[i] = reads if i >= 0 and widths[i] == 0 else widths[i]
    return [replace(x, width=width) for x, width in zip(layers, widths, strict=True)]


def _layer(said: Mapping[str, Any], widths: list[int], shapes: Mapping[str, Shape], pictures: list[Picture | None]) -> LayerPlan:
    """pictures: what the layers so far give, to which that of this one is added."""
    word, prefix, of = said["layer"], said.get("prefix", ""), tuple(said["of"])
    cell = word in CELLS
    if not cell and word not in LAYERS:
        raise ValueError(f"layer {word!r} is not known")
    keys = CELL_SETTINGS if cell else tuple(LAYERS[word].settings)
    if set(said) - OWN != set(keys):
        raise ValueError(f"{word} says {sorted(set(said) - OWN)}, not {sorted(keys)}")
    settings = tuple((key, tuple(said[key]) if isinstance(said[key], list) else said[key]) for key in keys)
    read = tuple(None if i < 0 else pictures[i] for i in of)
    known_by = [] if cell else list(LAYERS[word].tensors)[:1]
    picture = None if cell else behind(word, dict(settings), read, shapes[prefix + known_by[0]] if known_by else ())
    pictures.append(picture)
    if read[0] is not None and (cell or (word not in (*JOINED, "concat") and LAYERS[word].picture == "none")):
        raise ValueError(f"{word} is given a picture of {read[0]}")
    channels = widths[0] if read[0] is None else read[0].channels
    wanted = dict(_of_cell(said, widths[0], shapes) if cell else _of_layer(said, channels, shapes))
    optional = ("bias_ih", "bias_hh") if cell else (*LAYERS[word].optional, *LAYERS[word].idle)
    for role, shape in wanted.items():
        name = role if role in said.get("initial", ()) else prefix + role
        if name not in shapes and role.startswith(tuple(optional)) and optional:
            continue
        if shapes[name] != shape and not (role.endswith(("h0", "c0")) and shapes[name] == (shape[0], 1, shape[1])):
            raise ValueError(f"{name} has shape {list(shapes[name])}, expected {list(shape)}")
    roles = tuple(role for role in wanted if prefix + role in shapes and role not in said.get("initial", ()))
    leading: Shape | None = next(iter(wanted.values()), None)
    if cell:
        width = shapes[f"{prefix}weight_hh_l0"][1] * said["directions"]
    elif picture is not None:
        width = picture.size
    elif word == "flatten" and read[0] is None:
        width = 0  # what reads it says how many
    else:
        width = sum(widths) if word == "concat" else widths[0] if leading is None else leading[0]
    window = 1 if cell or LAYERS[word].gives != "windows" else said.get("size") or (leading[2] if leading else 1)
    units = shapes[f"{prefix}{CELLS[word].projection}_l0"][1] if cell and f"{prefix}{CELLS[word].projection}_l0" in shapes else 0
    return LayerPlan(word, of, width, prefix, roles, settings, window, units)


def _of_layer(said: Mapping[str, Any], width: int, shapes: Mapping[str, Shape]) -> Iterator[tuple[str, Shape]]:
    """The shapes that a layer's tensors must have, by role."""
    layer, prefix = LAYERS[said["layer"]], said.get("prefix", "")
    if not layer.tensors:
        return
    first = next(iter(layer.tensors))
    shape = shapes[prefix + first]
    outputs = shape[0]
    if len(shape) != layer.tensors[first]:
        raise ValueError(f"{prefix}{first} has shape {list(shape)}")
    inside = width // said.get("groups", 1)
    yield first, (outputs,) if len(shape) == 1 else (outputs, inside or shape[1], *shape[2:])
    for role in (*layer.tensors, *layer.optional):
        if role != first:
            yield role, (outputs,)
    if len(shape) == 1 and width and outputs != width:
        raise ValueError(f"{prefix}{first} is of {outputs} numbers, {width} are given")


def _of_cell(said: Mapping[str, Any], width: int, shapes: Mapping[str, Shape]) -> Iterator[tuple[str, Shape]]:
    cell, (_, s) = CELLS[said["layer"]], shapes[f"{said['prefix']}weight_hh_l0"]
    layers, directions, initial = said["layers"], said["directions"], said["initial"]
    if type(layers) is not int or layers < 1 or directions not in (1, 2) or len(initial) not in (0, len(cell.states)):
        raise ValueError(f"{said['layer']} of {layers} layers in {directions} directions, started at {initial}")
    units = shapes.get(f"{said['prefix']}{cell.projection}_l0", (s, s))[1]
    for layer in range(layers):
        for d in range(directions):
            end = f"_l{layer}" + "_reverse" * d
            yield f"weight_ih{end}", (cell.rows * units, width if layer == 0 else s * directions)
            yield f"weight_hh{end}", (cell.rows * units, s)
            yield f"bias_ih{end}", (cell.rows * units,)
            yield f"bias_hh{end}", (cell.rows * units,)
            for role, k in cell.more:
                yield f"{role}{end}", (k * s,)
            if units != s:
                yield f"{cell.projection}{end}", (s, units)
    for name, state in zip(initial, cell.states, strict=False):  # all of them, or none
        yield name, (layers * directions, s if state == cell.states[0] else units)
