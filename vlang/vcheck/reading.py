"""What a claim says of how its network was read: as older certificates say it, and beside what the network's own metadata say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .listing import same

READOUTS = ("last", "last_frame", "mean", "max")
#: Between linear layers.
ACTIVATIONS = ("relu", "tanh", "sigmoid", "elu", "selu", "gelu", "silu", "softplus", "hardtanh", "hardsigmoid")


def of_version_2(said: dict[str, Any]) -> dict[str, Any]:
    """The layers of a certificate of format 2, which knew one shape of networks: a recurrent stack, a readout, a head."""
    if type(said["bidirectional"]) is not bool or said["readout"] not in READOUTS:
        raise ValueError("its readout or directions are not known")
    stack = {"layer": said["cell"], "of": [-1], "prefix": said["prefix"], "layers": said["layers"]}
    layers: list[dict[str, Any]] = [
        stack | {"directions": 2 if said["bidirectional"] else 1, "initial": said["initial"]},
        {"layer": said["readout"], "of": [0]},
    ]
    for name, before in zip(said["head"], [said.get("readout_activation", "none"), *said["head_activations"]], strict=True):
        if before != "none":
            layers.append({"layer": before, "of": [len(layers) - 1]})
        layers.append({"layer": "linear", "of": [len(layers) - 1], "prefix": f"{name}."})
    return {"embedding": said["embedding"], "layers": layers}


def layers_in_words(said: dict[str, Any]) -> str:
    """The layers, one after the other."""
    layers = said["layers"]
    return f"embedding {said['embedding']}, layers " + " -> ".join(_layer(k, x) for k, x in enumerate(layers))


def _layer(k: int, said: dict[str, Any]) -> str:
    of = "" if said["of"] == [k - 1] else f" of {said['of']}"
    more = ", ".join(f"{key} {value}" for key, value in said.items() if key not in ("layer", "of"))
    return f"{said['layer']}{of}" + (f" ({more})" if more else "")


def against_metadata(said: dict[str, Any], metadata: dict[str, str]) -> dict[str, str]:
    """What the network's file says of itself, where it is read otherwise."""
    words = [x["layer"] for x in said["layers"]]
    out = [k for k, word in enumerate(words) if word in READOUTS]
    wrong = {}
    if "readout" in metadata and [metadata["readout"]] != [words[k] for k in out]:
        wrong["readout"] = metadata["readout"]
    if "activation" in metadata and any(word.startswith("rnn_") and word != f"rnn_{metadata['activation']}" for word in words):
        wrong["activation"] = metadata["activation"]
    if "head" in metadata:
        try:
            listed = json.loads(metadata["head"])
        except ValueError:
            listed = None
        head = [str(x) for x in listed] if isinstance(listed, list) else metadata["head"].split("\n")
        between = between_linears(words[out[-1] + 1 :] if out else words)
        if (head * len(between) if len(head) == 1 and len(between) > 1 else head) != between:
            wrong["head"] = metadata["head"]
    if "layers" in metadata:
        whole = metadata["layers"].lstrip().startswith("{")  # the graph itself, of an exported file
        if not (json.loads(metadata["layers"])["layers"] == said["layers"] if whole else same(metadata["layers"], said["layers"])):
            wrong["layers"] = metadata["layers"]
    return wrong


def between_linears(words: Sequence[str]) -> list[str]:
    found: list[str] = []
    for word in words:
        if word == "linear":
            found.append("none")
        elif word in ACTIVATIONS and found:
            found[-1] = word
    return found[:-1]
