"""How a network was read, as a witness states it, back to the architecture that it is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vlang.plan import Architecture, LayerPlan
from vlang.words.cells import CELLS
from vlang.words.layers import JOINING, LAYERS

#: What is said of every layer, beside its settings.
OWN = frozenset({"layer", "of", "prefix"})
CELL_SETTINGS = ("layers", "directions", "initial")


def architecture(said: Mapping[str, Any], tensors: Mapping[str, Tensor], input_size: int) -> Architecture:
    """The architecture of a network with these tensors on frames of so many numbers. Raises ValueError or KeyError where they do not fit."""
    layers: list[LayerPlan] = []
    for k, x in enumerate(said["layers"]):
        if not x["of"] or (len(x["of"]) > 1 and x["layer"] not in JOINING) or not all(type(i) is int and -1 <= i < k for i in x["of"]):
            raise ValueError(f"layer {k} reads {x['of']!r}")
        widths = [input_size if i < 0 else layers[i].width for i in x["of"]]
        layers.append(_layer(x, widths, tensors))
    return Architecture(tuple(layers), input_size, said["embedding"])


def _layer(said: Mapping[str, Any], widths: list[int], tensors: Mapping[str, Tensor]) -> LayerPlan:
    word, prefix, of = said["layer"], said.get("prefix", ""), tuple(said["of"])
    cell = word in CELLS
    if not cell and word not in LAYERS:
        raise ValueError(f"layer {word!r} is not known")
    keys = CELL_SETTINGS if cell else tuple(LAYERS[word].settings)
    if set(said) - OWN != set(keys):
        raise ValueError(f"{word} says {sorted(set(said) - OWN)}, not {sorted(keys)}")
    settings = tuple((key, tuple(said[key]) if isinstance(said[key], list) else said[key]) for key in keys)
    if cell:
        ends = [f"_l{k}{'_reverse' * d}" for k in range(said["layers"]) for d in range(said["directions"])]
        parts = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", *(role for role, _ in CELLS[word].more))
        possible = [f"{part}{end}" for end in ends for part in parts]
        width = tensors[f"{prefix}weight_hh_l0"].shape[1] * said["directions"]
        window = 1
    else:
        possible = [*LAYERS[word].tensors, *LAYERS[word].optional, *LAYERS[word].idle]
        shape = tensors[prefix + possible[0]].shape if possible else None
        window = said["size"] if "size" in said else shape[2] if shape is not None and len(shape) > 2 else 1
        width = sum(widths) if word == "concat" else widths[0] if shape is None else shape[0]
    return LayerPlan(word, of, width, prefix, tuple(x for x in possible if prefix + x in tensors), settings, window)
