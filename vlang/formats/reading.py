"""How a network was read, in one line: what a user compares with the code that trained it."""

from __future__ import annotations

from vlang.numbers import exactly
from vlang.plan import NetworkPlan


def read_as(network: NetworkPlan) -> str:
    a = network.architecture
    inputs = f"{a.input_size} inputs a frame" if a.embedding is None else f"embedding {a.embedding} of {a.tokens} tokens, {a.input_size} numbers each"
    layers = f"{a.layers} layer" + ("s" if a.layers > 1 else "") + (", bidirectional" if a.bidirectional else "")
    started = f", started at {', '.join(a.initial)}" if a.initial else ""
    head = [a.readout_activation, *(x for name, after in zip(a.head, (*a.head_activations, "none"), strict=True) for x in (name, after))]
    scaled = "" if network.normalize is None else f", recurrent matrices of spectral radius {exactly(network.normalize)}"
    inside = "" if network.inside is None else f" (its entry '{network.inside}')"
    return (
        f"network {network.name}{inside}: {inputs}, {a.cell}, {layers}, {a.hidden} units{started}, readout {a.readout}, "
        f"head {' -> '.join(x for x in head if x != 'none')}, {a.classes} classes{scaled}"
    )
