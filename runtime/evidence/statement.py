"""What a certificate or a witness is about, in exact terms: network, input, perturbation set, classes."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path
from typing import Any

from vlang.plan import NetworkPlan, TextInput
from vlang.runtime.queries.batches import Case, Loaded


def checkpoint_hash(network: NetworkPlan) -> str:
    return hashlib.sha256(Path(network.checkpoint).read_bytes()).hexdigest()


def statement(loaded: Loaded, case: Case, eps: Fraction) -> dict[str, Any]:
    """JSON values; rational numbers as text (fields: runtime/README.md, section 11)."""
    v, limits = loaded.variant, loaded.limits(case)
    a = v.network.architecture
    return {
        "sample": case.sample,
        "network": {
            "sha256": checkpoint_hash(v.network),
            "cell": a.cell,
            "prefix": a.prefix,
            "layers": a.layers,
            "bidirectional": a.bidirectional,
            "readout": a.readout,
            "head": list(a.head),
            "head_activations": list(a.head_activations),
            "embedding": a.embedding,
            "initial": list(a.initial),
        },
        "input": {
            "sha256": hashlib.sha256(loaded.inputs[case.position].cpu().numpy().tobytes()).hexdigest(),
            "tokens": list(v.input.ids) if isinstance(v.input, TextInput) else None,
        },
        "perturbation": {
            "norm": "inf" if limits.norm is None else str(limits.norm),
            "weights": [str(w) for w in limits.weights],
            "at_most": limits.at_most,
            "clip": None if limits.clip is None else [str(c) for c in limits.clip],
        },
        "eps": str(eps),
        "label": case.label,
        "against": list(case.classes),
    }
