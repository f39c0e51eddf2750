"""Certificates: what proved a row, written down for a checker that believes nothing (format rspec-certificate/1, runtime/README.md, section 11)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from vlang.plan import DataError, Problem, TextInput, Variant
from vlang.report import Row
from vlang.runtime.bounds import Relaxed
from vlang.runtime.cases import Case, Loaded, at_least
from vlang.runtime.certify import METHODS, Proved
from vlang.runtime.piece import Piece
from vlang.runtime.quadratic import Quadratic

FORMAT = "rspec-certificate/1"
#: A radius that is not confirmed as it was found is tried again smaller by these shares.
STEPS_BACK = (0.0, 1e-9, 1e-6, 1e-4, 1e-3, 1e-2)


#: Slopes that a search had warmed up are found again in several rounds.
ATTEMPTS = MappingProxyType({"optimized": 10})
UNCONFIRMED = "found, but not confirmed by a second pass: there is no certificate"


@dataclass(frozen=True)
class Certificates:
    """How certificates are made. save: takes a file's name and contents. version: of this program; spec, sha256: what it runs."""

    save: Callable[[str, bytes], None]
    version: str
    spec: str
    sha256: str

    def confirm(self, loaded: Loaded, query: str, rows: list[Row], start: int, stopped: Callable[[], bool]) -> list[Row]:
        """The rows with a certificate saved for every one that is certified; a radius becomes the one that was confirmed.

        start: the number of the first row.
        """
        confirmed = []
        for number, (case, row) in enumerate(zip(loaded.cases, rows, strict=True), start):
            eps = loaded.variant.eps if row.radius is None else Fraction(row.radius)
            if row.verdict != "certified" or not eps or stopped():
                confirmed.append(row)
                continue
            method = row.method or loaded.variant.engine.method
            found = certificate(self, loaded, case, query, method, eps, row.radius is not None)
            if found is None:
                confirmed.append(replace(row, complete=False, reason=UNCONFIRMED))
                continue
            name = f"{query}-{number}.cert"
            self.save(name, found[1])
            confirmed.append(replace(row, radius=None if row.radius is None else float(found[0]), certificate=name))
        return confirmed


def refuse(variant: Variant) -> None:
    """Raises DataError where there is no certificate for what is asked."""
    p, network = variant.perturbation, variant.network
    if network.format != "safetensors":
        raise DataError(Problem("no_certificate", network.span, ("a checkpoint that is not safetensors", "save it as safetensors")))
    if variant.engine.semantics != "real":
        raise DataError(
            Problem("no_certificate", variant.engine.span, ("semantics = deployed32", "use semantics = real, or leave out --certificates"))
        )
    if p.clip is not None and p.norm is not None:
        raise DataError(Problem("no_certificate", p.span, ("a clip with a finite norm", "leave out the clip, or --certificates")))


def certificate(by: Certificates, loaded: Loaded, case: Case, query: str, method: str, eps: Fraction, shrink: bool) -> tuple[Fraction, bytes] | None:
    """The proof of one row as a file's contents, and the eps that it proves; none where the method does not confirm it.

    shrink: whether a slightly smaller eps will do.
    """
    for back in STEPS_BACK if shrink else STEPS_BACK[:1]:
        tried = eps if back == 0 else Fraction(float(eps) * (1 - back))
        for step in ("planes", method) if method in ("quadratic", "sliced") else (method,):  # the smallest proof that will do
            proof: list[Proved] = []
            asked = replace(loaded.asked((case,)), proof=proof)
            size = torch.full_like(asked.nominal, at_least(tried))
            margins = METHODS[step](asked)
            for _ in range(ATTEMPTS.get(step, 1)):
                if bool((margins(torch.zeros(1, dtype=torch.long, device=size.device), size) > 0).all()):
                    return tried, _document(by, loaded, case, query, step, tried, proof)
    return None


def _document(by: Certificates, loaded: Loaded, case: Case, query: str, method: str, eps: Fraction, proof: list[Proved]) -> bytes:
    v, p = loaded.variant, loaded.variant.perturbation
    a = v.network.architecture
    x = loaded.inputs[case.position]
    pieces, arrays = [], {"input": x}
    leaves = [(part, b) for part in proof for b in (part.margins > 0).nonzero().flatten().tolist()]
    if not isinstance(leaves[0][0].relaxed.region, Piece):
        leaves = leaves[-1:]
    for j, (part, b) in enumerate(leaves):
        region = part.relaxed.region
        if isinstance(region, Piece):
            arrays["direction"], arrays[f"{j}.offset"] = region.directions[b, 0], region.offset[b]
            pieces.append([float(region.low[b, 0]), float(region.high[b, 0])])
        arrays.update({f"{j}.{name}": value for name, value in _arrays(part.relaxed, b)})
    relaxed = leaves[0][0].relaxed
    if isinstance(relaxed, Quadratic) and relaxed.hull.chart is not None:
        arrays["chart.basis"], arrays["chart.scale"] = relaxed.hull.chart.basis, relaxed.hull.chart.scale
    arrays = {name: value.detach().to("cpu", torch.float64).contiguous().clone() for name, value in arrays.items()}
    weights = [(Fraction(1) if p.weights is None else p.weights[k]) if k in case.frames else Fraction(0) for k in range(x.shape[0])]
    claim: dict[str, Any] = {
        "format": FORMAT,
        "statement": "real-arithmetic network with exactly these weights",
        "producer": f"rspec-verify {by.version}",
        "spec": {"path": by.spec, "sha256": by.sha256},
        "query": query,
        "sample": case.sample,
        "method": method,
        "network": {
            "sha256": hashlib.sha256(Path(v.network.checkpoint).read_bytes()).hexdigest(),
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
            "sha256": hashlib.sha256(arrays["input"].numpy().tobytes()).hexdigest(),
            "tokens": list(v.input.ids) if isinstance(v.input, TextInput) else None,
        },
        "perturbation": {
            "norm": "inf" if p.norm is None else str(p.norm),
            "weights": [str(w) for w in weights],
            "at_most": p.frames.at_most,
            "clip": None if p.clip is None else [str(c) for c in p.clip],
        },
        "eps": str(eps),
        "label": case.label,
        "against": list(case.classes),
        "pieces": pieces or None,
    }
    text = json.dumps(claim)
    return save(arrays, {"certificate": text, "digest": _digest(text, arrays)})


def _digest(text: str, arrays: dict[str, Tensor]) -> str:
    seal = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        seal.update(json.dumps([name, list(arrays[name].shape)]).encode() + arrays[name].numpy().tobytes())
    return seal.hexdigest()


def _arrays(relaxed: Relaxed, b: int) -> Iterator[tuple[str, Tensor]]:
    """What proves row b of a batch, by name. Numbers of nodes are those of the graph."""
    graph = relaxed.nominal.graph
    asked = graph.relaxed_arguments()
    for i, live in enumerate(relaxed.live):
        if live and i in asked:
            yield f"{i}.box", torch.stack([end[b] for end in relaxed.boxes[i]])
        if i in relaxed.planes:
            for side, plane in (("lower", relaxed.planes[i].lower), ("upper", relaxed.planes[i].upper)):
                yield f"{i}.{side}", torch.stack([s[b] for s in (*plane.slopes, plane.offset)])
        if i in relaxed.lifts:
            yield f"{i}.lifts", relaxed.lifts[i][b]
        if not isinstance(relaxed, Quadratic):
            continue
        if i in relaxed.motions and bool(relaxed.motions[i].residual[b].isfinite().all()):
            yield f"{i}.motion", torch.stack([relaxed.motions[i].centre[b], relaxed.motions[i].residual[b]])
        if i in relaxed.multipliers:
            found = relaxed.multipliers[i]
            for name, values in (("tangent_lifts", found.lifts), ("pure", found.pure), ("joint", found.joint)):
                if values is not None:
                    yield f"{i}.{name}", values[b].nan_to_num(0.0, 0.0, 0.0).clamp(min=0) if name != "tangent_lifts" else values[b]
