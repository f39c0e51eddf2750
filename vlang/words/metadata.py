"""What a safetensors file's metadata may say of the network in it: layers, readout, activation, head, vocabulary, labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from vlang.words.layers import ACTIVATIONS, READOUTS


def listed(metadata: Mapping[str, str], key: str) -> tuple[str, ...] | None:
    """A list kept in metadata: a JSON list of texts, or one text a line."""
    text = metadata.get(key)
    if text is None:
        return None
    try:
        value = json.loads(text)
        if isinstance(value, list):
            return tuple(str(x) for x in value)
    except (ValueError, RecursionError):
        pass
    return tuple(text.split("\n"))


def overridden(reading: Mapping[str, Any], metadata: Mapping[str, str]) -> dict[str, str]:
    """What the metadata say, where a network is read otherwise because a spec says so; a list of layers in them leaves the spec nothing to say."""
    words = [x["layer"] for x in reading["layers"]]
    readouts = [k for k, word in enumerate(words) if word in READOUTS]
    wrong = []
    if "readout" in metadata and [metadata["readout"]] != [words[k] for k in readouts]:
        wrong.append("readout")
    if "activation" in metadata and any(word.startswith("rnn_") and word != f"rnn_{metadata['activation']}" for word in words):
        wrong.append("activation")
    head, between = listed(metadata, "head"), _between(words[readouts[-1] + 1 :] if readouts else words)
    if head is not None and (head * len(between) if len(head) == 1 and len(between) > 1 else head) != between:
        wrong.append("head")
    return {key: metadata[key] for key in wrong}


def _between(words: Sequence[str]) -> tuple[str, ...]:
    """The activations between linear layers, `none` where there is none."""
    found: list[str] = []
    for word in words:
        if word == "linear":
            found.append("none")
        elif word in ACTIVATIONS and found:
            found[-1] = word
    return tuple(found[:-1])
