"""What a safetensors file's metadata may say of the network in it: readout, activation, head, vocabulary, labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


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
    """What the metadata say, where a network is read otherwise because a spec says so."""
    wrong = {}
    if metadata.get("readout", reading["readout"]) != reading["readout"]:
        wrong["readout"] = metadata["readout"]
    if "activation" in metadata and reading["cell"].startswith("rnn") and reading["cell"] != f"rnn_{metadata['activation']}":
        wrong["activation"] = metadata["activation"]
    head, between = listed(metadata, "head"), tuple(reading["head_activations"])
    if head is not None and (head * len(between) if len(head) == 1 and len(between) > 1 else head) != between:
        wrong["head"] = metadata["head"]
    return wrong
