"""What a certificate or a witness is about, in exact terms: network, input, perturbation set, classes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from vlang.runtime.network.assemble import named
from vlang.runtime.queries.base import clip_in_words, digest, directions_in_words, stated
from vlang.runtime.queries.batches import Loaded, text_of
from vlang.runtime.queries.cases import Case
from vlang.runtime.queries.choices import choices_of
from vlang.words.layers import LAYERS

#: Numbers that the checker reads.
READ_BY_CHECKER = frozenset({"F64", "F32", "F16"})


@dataclass(frozen=True)
class Producer:
    """Who saves files of evidence. save: takes a file's name and contents; returns why it could not be written, or None.

    version: of this program; spec, sha256, words: what it runs (vlang.plan.Plan).

    hash_of: the sha256 of a file that was read; path_of: where it really lies. taken: the names given so far.
    """

    save: Callable[[str, bytes], str | None]
    version: str
    spec: str
    sha256: str
    words: str
    hash_of: Callable[[str], str]
    path_of: Callable[[str], str] = lambda path: str(Path(path).resolve())
    taken: set[str] = field(default_factory=set)

    def stated(self, format_: str, query: str) -> dict[str, Any]:
        """What every file says of where it comes from."""
        return {
            "format": format_,
            "producer": f"rspec-verify {self.version}",
            "spec": {"path": self.spec, "sha256": self.sha256, "words": self.words},
            "query": query,
        }

    def network_of(self, loaded: Loaded[Any]) -> tuple[dict[str, str], str | None]:
        """What evidence says of the checkpoint to check it with, and why that could not be written.

        The network's own file, or where only torch reads that or the network is derived from another, one saved beside the evidence with the weights
        that were run.
        """
        plan = loaded.variant.network
        own = {"sha256": self.hash_of(plan.checkpoint)}
        if plan.format == "safetensors" and plan.normalize is None and _dtypes(plan.checkpoint) <= READ_BY_CHECKER:
            return own, None
        tensors = {k: x.to("cpu").contiguous().clone() for k, x in named(loaded.network, plan.architecture).items()}
        content = save(tensors, {"made_from": own["sha256"]})  # one entry: safetensors keeps several in no order
        sha256 = hashlib.sha256(content).hexdigest()
        file = f"{plan.name}-{sha256[:8]}.safetensors"
        return {"sha256": sha256, "file": file, "made_from": own["sha256"]}, self.save(file, content)

    def name_of(self, query: str, claim: dict[str, Any], loaded: Loaded[Any], suffix: str) -> str:
        """A file's name: the query, and a digest of the question (not of the eps that was found) and the method; numbered where rows share them."""
        variant = loaded.variant
        question: dict[str, Any] = {
            key: claim[key] for key in ("network", "input", "perturbation", "label", "against", "property", "some") if key in claim
        }
        question |= {"normalize": str(variant.network.normalize), "eps": str(getattr(variant, "eps", None)), "method": variant.method}
        digest = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:12]
        names = (f"{query}-{digest}{'' if k == 1 else f'-{k}'}.{suffix}" for k in count(1))
        name = next(n for n in names if n not in self.taken)
        self.taken.add(name)
        return name


def named_network(said: dict[str, Any], network: dict[str, str]) -> dict[str, Any]:
    """A reading with the file that it is of; one saved beside the evidence has no metadata that could say otherwise."""
    return {k: v for k, v in said.items() if k != "overrides" or "file" not in network} | network


def _dtypes(checkpoint: str) -> set[str]:
    with safe_open(checkpoint, "pt") as held:
        idle = tuple(name for layer in LAYERS.values() for name in layer.idle)
        return {held.get_slice(name).get_dtype() for name in held.keys() if not name.endswith(idle)}  # noqa: SIM118


def statement(loaded: Loaded[Any], case: Case, eps: Fraction, checkpoint: str) -> dict[str, Any]:
    """JSON values; rational numbers as text (fields: runtime/README.md, section 11). checkpoint: its sha256."""
    v, limits = loaded.variant, loaded.limits(case)
    overrides = {"overrides": dict(v.network.overrides)} if v.network.overrides else {}
    return {
        "sample": case.sample,
        "network": {
            "sha256": checkpoint,
            **v.network.architecture.reading(),
            **overrides,
        },
        "input": {
            "sha256": hashlib.sha256(loaded.inputs[case.position].cpu().numpy().tobytes()).hexdigest(),
            "shape": list(loaded.inputs.shape[1:]),
            "tokens": None if (text := text_of(v, case)) is None else list(text.ids),
        },
        "perturbation": _listed(loaded, case, int(eps))
        if v.perturbation.alternatives is not None
        else {
            "norm": "inf" if limits.norm is None else str(limits.norm),
            "weights": [str(w) for w in limits.weights],
            "at_most": limits.at_most,
            "clip": clip_in_words(limits.clip),
            **({} if loaded.directed is None else {"directions": directions_in_words(loaded.directed)}),
            **({} if limits.scale is None else {"scale": [[str(c) for c in row] for row in limits.scale]}),
        },
        "eps": str(eps),
        **({"property": stated(case.wanted), "some": loaded.some} if case.wanted else {"label": case.label, "against": list(case.classes)}),
    }


def made_of(loaded: Loaded[Any], case: Case) -> dict[str, Tensor]:
    """The arrays that a set is made of, by name."""
    if loaded.directed is not None:
        return {} if loaded.directed.given is None else {"directions": loaded.directed.given}
    listed = loaded.variant.perturbation.alternatives
    if listed is None or listed.array is None:
        return {}
    return {"alternatives": choices_of(loaded, case).embedding[loaded.inputs.shape[1] :]}


def _listed(loaded: Loaded[Any], case: Case, at_most: int) -> dict[str, Any]:
    """What words become, by number of a token; or frames, by the row of an array, whose digest stands beside."""
    others, made = choices_of(loaded, case).others, made_of(loaded, case)
    if not made:
        return {"alternatives": [list(x) for x in others], "at_most": at_most}
    first = loaded.inputs.shape[1]
    return {"alternatives": [[k - first for k in x] for x in others], "at_most": at_most, "table": digest(made["alternatives"])}


def written(arrays: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    """A safetensors file, its metadata in one order: the library keeps them in another one at each call."""
    content = save(arrays, metadata)
    size = int.from_bytes(content[:8], "little")
    held = json.loads(content[8 : 8 + size])
    head = json.dumps({"__metadata__": dict(sorted(held.pop("__metadata__").items())), **held}, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    return len(head).to_bytes(8, "little") + head + content[8 + size :]
