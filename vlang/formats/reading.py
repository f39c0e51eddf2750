"""How a network was read, in one line: what a user compares with the code that trained it."""

from __future__ import annotations

from collections.abc import Sequence

from vlang.numbers import exactly
from vlang.plan import Architecture, LayerPlan, NetworkPlan
from vlang.words.cells import CELLS


def read_as(network: NetworkPlan) -> str:
    a = network.architecture
    frames = f"{a.input_size} inputs a frame" if a.input_size else f"{a.flattened} inputs in all frames"
    inputs = frames if a.embedding is None else f"embedding {a.embedding} of {a.tokens} tokens, {a.input_size} numbers each"
    scaled = "" if network.normalize is None else f", recurrent matrices of spectral radius {exactly(network.normalize)}"
    inside = "" if network.inside is None else f" (its entry '{network.inside}')"
    chain = " -> ".join(layer_in_words(a, k) for k in range(len(a.layers)) if a.layers[k].word != "none")
    return f"network {network.name}{inside}: {inputs} -> {chain}; {a.classes} {'classes' if a.classes > 1 else 'output'}{scaled}"


def layer_in_words(a: Architecture, k: int) -> str:
    """One layer; what it reads, where that is not what the one before it gives."""
    x = a.layers[k]
    of = "" if x.of == (k - 1,) else " of " + " and ".join("the inputs" if i < 0 else _short(a.layers[i]) for i in x.of)
    if x.word in CELLS:
        depth, directions, initial = (x.setting(key) for key in ("layers", "directions", "initial"))
        both = ", both directions" if directions == 2 else ""
        started = f", started at {', '.join(initial)}" if initial else ""
        return f"{x.word}{of} ({_named(x)}{depth} layer{'s' if depth > 1 else ''}{both}, {x.hidden} units{started})"
    said = [f"{key} = {_list(v) if isinstance(v, tuple) else _value(v)}" for key, v in x.settings]
    inside = [*([x.prefix.removesuffix(".")] if x.roles else []), *([f"{x.width} numbers"] if x.roles else []), *said]
    return f"{x.word}{of}" + (f" ({', '.join(inside)})" if inside else "")


def _named(x: LayerPlan) -> str:
    return f"{x.prefix.removesuffix('.')}, " if x.prefix else ""


def _short(x: LayerPlan) -> str:
    return f"{x.word} {x.prefix.removesuffix('.')}" if x.prefix else x.word


def _value(x: float | str) -> str:
    return x if isinstance(x, str) else f"{x:.12g}"


def _list(values: Sequence[float | str]) -> str:
    return f"[{', '.join(map(_value, values))}]"
