"""Certificates: what proved a row, written down for a checker that believes nothing (format rspec-certificate/2, runtime/README.md, section 11)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from vlang.plan import DataError, Problem, Variant
from vlang.report import Row
from vlang.runtime.bounds.quadratic import Quadratic
from vlang.runtime.bounds.walk import Relaxed
from vlang.runtime.evidence.statement import checkpoint_hash, statement
from vlang.runtime.methods.table import METHODS, Proved
from vlang.runtime.network.load import named
from vlang.runtime.queries.base import chunks
from vlang.runtime.queries.batches import Case, Loaded, at_least
from vlang.runtime.sets.piece import Piece

FORMAT = "rspec-certificate/2"
#: A radius that is not confirmed as it was found is tried again smaller by these shares.
STEPS_BACK = (0.0, 1e-9, 1e-6, 1e-4, 1e-3, 1e-2)
#: Slopes that a search had warmed up are found again in several rounds.
ATTEMPTS = MappingProxyType({"optimized": 10})
#: Numbers that the checker reads.
READ_BY_CHECKER = frozenset({"F64", "F32", "F16"})
STOPPED = "found, but the run was ended before its certificate was made"
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
        numbers = {case: i for i, case in enumerate(loaded.cases)}
        found, network = list(rows), self._network(loaded)
        for group in chunks(loaded):
            certified = tuple(c for c in group if rows[numbers[c]].verdict == "certified" and rows[numbers[c]].radius != 0)
            for method in sorted({rows[numbers[c]].method or loaded.variant.engine.method for c in certified}):
                left = tuple(c for c in certified if (rows[numbers[c]].method or loaded.variant.engine.method) == method)
                for back in STEPS_BACK if loaded.variant.eps is None else STEPS_BACK[:1]:
                    if not left or stopped():
                        break
                    tried = {c: _exact_eps(loaded, rows[numbers[c]], back) for c in left}
                    proofs = _proofs(self, loaded, query, method, tried, network)
                    for case, content in proofs.items():
                        k = numbers[case]
                        name = f"{query}-{start + k}.cert"
                        self.save(name, content)
                        found[k] = replace(rows[k], radius=None if rows[k].radius is None else float(tried[case]), certificate=name)
                    left = tuple(c for c in left if c not in proofs)
                for case in left:
                    reason = STOPPED if stopped() else UNCONFIRMED
                    found[numbers[case]] = replace(rows[numbers[case]], complete=False, reason=reason)
        return found

    def _network(self, loaded: Loaded) -> dict[str, str]:
        """What certificates say of the checkpoint to check them with: its own one, or where the checker does not read that or the network is derived
        from another, one saved beside them with the weights that were run.
        """
        plan = loaded.variant.network
        own = {"sha256": checkpoint_hash(plan)}
        if plan.format == "safetensors" and plan.normalize is None and _dtypes(plan.checkpoint) <= READ_BY_CHECKER:
            return own
        tensors = {k: x.to("cpu").contiguous().clone() for k, x in named(loaded.network, plan.architecture).items()}
        content = save(tensors, {"made_from": own["sha256"]})  # one entry: safetensors keeps several in no order
        sha256 = hashlib.sha256(content).hexdigest()
        file = f"{plan.name}-{sha256[:8]}.safetensors"
        self.save(file, content)
        return {"sha256": sha256, "file": file, "made_from": own["sha256"]}


def _dtypes(checkpoint: str) -> set[str]:
    with safe_open(checkpoint, "pt") as held:
        return {held.get_slice(name).get_dtype() for name in held.keys()}  # noqa: SIM118


def _exact_eps(loaded: Loaded, row: Row, back: float) -> Fraction:
    if loaded.variant.eps is not None:
        return loaded.variant.eps
    assert row.radius is not None
    return Fraction(row.radius * (1 - back))


def refuse(variant: Variant) -> None:
    """Raises DataError where there is no certificate for what is asked."""
    if variant.engine.semantics != "real":
        raise DataError(
            Problem("no_certificate", variant.engine.span, ("semantics = deployed32", "use semantics = real, or leave out --certificates"))
        )


def _proofs(by: Certificates, loaded: Loaded, query: str, method: str, sizes: dict[Case, Fraction], network: dict[str, str]) -> dict[Case, bytes]:
    """Certificates, as files' contents, of those cases that a second pass at the given eps confirms."""
    cases = tuple(sizes)
    proof: list[Proved] = []
    asked = replace(loaded.asked(cases), proof=proof)
    eps = asked.nominal.new_tensor([at_least(e) for e in sizes.values()])
    left, done = torch.arange(len(cases), device=eps.device), {}
    for step in ("planes", method) if method in ("quadratic", "sliced") else (method,):  # the smallest proof that will do
        margins = METHODS[step](asked)
        for _ in range(ATTEMPTS.get(step, 1)):
            if left.numel() == 0:
                break
            proof.clear()
            ok = margins(left, eps[left]) > 0
            for i in left[ok].tolist():
                claim = _claim(by, loaded, cases[i], query, step, sizes[cases[i]], network)
                content = _document(claim, loaded.inputs[cases[i].position], [(p, b) for p in proof for b in _own(p, i)])
                if content is not None:
                    done[cases[i]] = content
            left = left[~ok]
    return done


def _own(part: Proved, owner: int) -> list[int]:
    """Which of a batch's sets belong to a row and have a positive margin."""
    return ((part.owners == owner) & (part.margins > 0)).nonzero().flatten().tolist()


def _claim(by: Certificates, loaded: Loaded, case: Case, query: str, method: str, eps: Fraction, network: dict[str, str]) -> dict[str, Any]:
    said = statement(loaded, case, eps)
    clip, x = said["perturbation"]["clip"], loaded.inputs[case.position]
    if clip is not None:  # an input may be outside by its rounding (`prepare`): the statement is about a range that holds it
        ends = min(Fraction(clip[0]), Fraction(float(x.min()))), max(Fraction(clip[1]), Fraction(float(x.max())))
        said["perturbation"]["clip"] = [str(end) for end in ends]
    return {
        "format": FORMAT,
        "statement": "real-arithmetic network with exactly these weights",
        "producer": f"rspec-verify {by.version}",
        "spec": {"path": by.spec, "sha256": by.sha256},
        "query": query,
        "method": method,
        **said,
        "network": said["network"] | network,
    }


def _document(claim: dict[str, Any], x: Tensor, leaves: list[tuple[Proved, int]]) -> bytes | None:
    """A certificate's contents; None where a number in it is not finite, so that nobody could read it.

    x: the input. leaves: the relaxations that prove the row, and its place in each batch: of the whole ball, or of its pieces.
    """
    pieces, arrays = [], {"input": x}
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
    if not all(bool(torch.isfinite(value).all()) for value in arrays.values()):
        return None
    text = json.dumps(claim | {"pieces": pieces or None})
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
        if i in relaxed.parabolas:
            found = relaxed.parabolas[i]
            for side, parabola in (("below", found.lower), ("above", found.upper)):
                yield f"{i}.{side}", torch.stack([x[b] for x in (*parabola.slopes, parabola.offset, *parabola.curvature)])
        if i in relaxed.motions:
            motion = relaxed.motions[i]
            yield f"{i}.motion", torch.stack([motion.centre[b], motion.residual[b], (motion.linear[b] != 0).any(-1).to(motion.centre)])
        for name, proof in zip(("multipliers", "rest"), relaxed.multipliers.get(i, ()), strict=False):
            if proof.lifts is not None:
                yield f"{i}.{name}_lifts", proof.lifts[b]
            if proof.constraints is not None:
                yield f"{i}.{name}", proof.constraints[b].nan_to_num(0.0, 0.0, 0.0).clamp(min=0)
