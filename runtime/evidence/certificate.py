"""Certificates: what proved a row, written down for a checker that believes nothing (format rspec-certificate/3, runtime/README.md, section 11)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from vlang.plan import DataError, Problem, Variant, VerifyVariant
from vlang.results import CertifiableRow, RadiusRow, Row
from vlang.runtime.bounds.cushions import LEAST, TYPICAL
from vlang.runtime.bounds.joint import Joint
from vlang.runtime.bounds.quadratic import Quadratic
from vlang.runtime.bounds.walk import Walk
from vlang.runtime.evidence.statement import Producer, made_of, named_network, statement, written
from vlang.runtime.late import LateError
from vlang.runtime.methods.questions import Asked, Proved, supersets
from vlang.runtime.methods.table import METHODS
from vlang.runtime.queries.base import chunks, clip_in_words
from vlang.runtime.queries.batches import Loaded
from vlang.runtime.queries.cases import Case
from vlang.runtime.queries.choices import choices_of
from vlang.runtime.rounding import at_least
from vlang.runtime.searches.boxes import MOST_PIECES, Search
from vlang.runtime.sets.ball import Ball
from vlang.runtime.sets.piece import Piece
from vlang.runtime.sets.region import Region
from vlang.words.methods import COMPLETE
from vlang.words.methods import METHODS as WORDS

FORMAT = "rspec-certificate/3"
#: A radius that is not confirmed as it was found is tried again smaller by these shares.
STEPS_BACK = (0.0, 1e-9, 1e-6, 1e-4, 1e-3, 1e-2)
#: Substitutions that a checker can be asked to look at, one by one.
MOST_CHECKED = 100_000
STOPPED = "found, but the run was ended before its certificate was made"
UNWRITTEN = "certified, but its certificate could not be written: {}"
UNCONFIRMED = "found, but not confirmed by a second pass: there is no certificate"


#: Of words and boxes.
TOO_MANY = f"found, but a proof that lists all would be too long (over {MOST_PIECES:,} boxes, or {MOST_CHECKED:,} texts): there is no certificate"


def steps_back(method: str, radius: bool) -> tuple[float, ...]:
    """By which shares of its radius a row is tried again. A complete search that does not confirm what one has found has come to its end."""
    return STEPS_BACK[:1] if not radius else (0.0, *STEPS_BACK[-2:]) if method == COMPLETE else STEPS_BACK


@dataclass(frozen=True)
class Certificates:
    """How certificates are made."""

    by: Producer

    def confirm(self, loaded: Loaded[Any], query: str, rows: list[Row], stopped: Callable[[], bool]) -> list[Row]:
        """The rows with a certificate saved for every one that is certified; a radius becomes the one that was confirmed."""
        held = {case: row for case, row in zip(loaded.cases, rows, strict=True) if isinstance(row, CertifiableRow)}
        asked = loaded.variant.eps if isinstance(loaded.variant, VerifyVariant) else None
        network, lost = self.by.network_of(loaded)
        confirmed: set[Case] = set()
        for group in chunks(loaded):
            certified = tuple(c for c in group if held[c].verdict == "certified")
            by_method = {c: held[c].method or loaded.variant.engine.method for c in certified}
            for method in sorted(set(by_method.values())):
                left = tuple(c for c in certified if by_method[c] == method)
                for back in steps_back(method, asked is None):
                    if not left or stopped():
                        break
                    tried = {c: Fraction((held[c].size or 0.0) * (1 - back)) if asked is None else asked for c in left}
                    for case, (claim, content) in _proofs(self.by, loaded, query, method, tried, network, stopped).items():
                        name = self.by.name_of(query, claim, loaded, "cert")
                        problem = lost or self.by.save(name, content)
                        row = replace(held[case], certificate=name) if problem is None else replace(held[case], reason=UNWRITTEN.format(problem))
                        held[case] = replace(row, radius=float(tried[case])) if isinstance(row, RadiusRow) else row
                        confirmed.add(case)
                    left = tuple(c for c in left if c not in confirmed)
                unproved = TOO_MANY if method == COMPLETE else UNCONFIRMED
                for case in left:
                    held[case] = replace(held[case], complete=False, reason=STOPPED if stopped() else unproved)
        return [held.get(case, row) for case, row in zip(loaded.cases, rows, strict=True)]


def refuse(variant: Variant) -> None:
    """Raises DataError where there is no certificate for what is asked."""
    if variant.engine.semantics != "real":
        raise DataError(
            Problem("no_certificate", variant.engine.span, ("semantics = deployed32", "use semantics = real, or leave out --certificates"))
        )


def _proofs(
    by: Producer, loaded: Loaded[Any], query: str, method: str, sizes: dict[Case, Fraction], network: dict[str, str], stopped: Callable[[], bool]
) -> dict[Case, tuple[dict[str, Any], bytes]]:
    """Certificates of those cases that a second pass at the given eps confirms: their claims, and as files' contents."""
    cases = tuple(sizes)
    if loaded.variant.perturbation.alternatives is not None:
        return _substituted(by, loaded, query, sizes, network)
    proof: list[Proved] = []
    try:
        asked = replace(loaded.asked(cases, stopped), proof=proof)
    except LateError:
        return {}
    if method == COMPLETE:
        return dict(_searched(by, loaded, query, asked, sizes, network))
    eps = asked.nominal.new_tensor([at_least(e) for e in sizes.values()])
    left = torch.arange(len(cases), device=eps.device)
    done: dict[Case, tuple[dict[str, Any], bytes]] = {}
    for step in (*WORDS[method].smaller, method):  # the smallest proof that will do
        margins = METHODS[step](asked)
        for _ in range(WORDS[step].attempts):
            if left.numel() == 0:
                break
            proof.clear()
            try:
                ok = margins(left, eps[left]) > 0
            except LateError:
                return done
            for i in left[ok].tolist():
                leaves = [(p, b) for p in proof for b in _own(p, i)]
                claim = _claim(by, loaded, cases[i], query, step, sizes[cases[i]], network)
                claim["perturbation"] = _proved_of(claim["perturbation"], leaves[-1][0].walk.region, asked.width)
                content = _document(claim, _given(loaded, cases[i]), leaves)
                if content is not None:
                    done[cases[i]] = claim, content
            left = left[~ok]
    return done


def _searched(
    by: Producer, loaded: Loaded[Any], query: str, asked: Asked, sizes: dict[Case, Fraction], network: dict[str, str]
) -> Iterator[tuple[Case, tuple[dict[str, Any], bytes]]]:
    """Of every case that another complete search confirms: its set in boxes, with the planes that prove each."""
    for i, (case, eps) in enumerate(sizes.items()):
        search = Search(asked, i, asked.centre.late, MOST_PIECES, keep=True)
        if not search.decide(at_least(eps)).margin > 0:
            continue
        claim = _claim(by, loaded, case, query, COMPLETE, eps, network)
        tree, arrays = [], _given(loaded, case)
        numbers = search.tree.numbers()
        count = 0
        for node in numbers:
            if node in search.tree.cuts:
                axis, place, *halves = search.tree.cuts[node]
                frame, number = int(search.axes.frames[axis]), int(search.axes.numbers[axis])
                tree.append(["cut", frame, number, place, *(numbers[half] for half in halves)])
            elif node in search.tree.proved:
                part, b = search.tree.proved[node]
                arrays |= {f"{count}.offset": part.walk.nominal.inputs[b] - search.axes.like}
                arrays |= {f"{count}.{name}": value for name, value in _arrays(part.walk, b)}
                tree.append(["proved", count])
                count += 1
            else:
                tree.append(["outside"])
        content = _file(claim | {"pieces": None, "boxes": tree}, arrays)
        if content is not None:
            yield case, (claim, content)


def _substituted(
    by: Producer, loaded: Loaded[Any], query: str, sizes: dict[Case, Fraction], network: dict[str, str]
) -> dict[Case, tuple[dict[str, Any], bytes]]:
    """Of words that become others there is nothing to say but which: a checker looks at every substitution, where they are not too many for it."""
    done = {}
    for case, eps in sizes.items():
        choices = choices_of(loaded, case)
        if sum(choices.count(choices.open, k) for k in range(int(eps) + 1)) <= MOST_CHECKED:
            claim = _claim(by, loaded, case, query, COMPLETE, eps, network)
            content = _file(claim | {"pieces": None}, _given(loaded, case))
            if content is not None:
                done[case] = claim, content
    return done


def _given(loaded: Loaded[Any], case: Case) -> dict[str, Tensor]:
    """What a set is made of, by name."""
    return {"input": loaded.inputs[case.position], **made_of(loaded, case)}


def _own(part: Proved, owner: int) -> list[int]:
    """Which of a batch's sets belong to a row and have a positive margin."""
    return ((part.owners == owner) & (part.margins > 0)).nonzero().flatten().tolist()


def _claim(by: Producer, loaded: Loaded[Any], case: Case, query: str, method: str, eps: Fraction, network: dict[str, str]) -> dict[str, Any]:
    said = statement(loaded, case, eps, network["sha256"])
    clip, x = loaded.variant.perturbation.clip, loaded.inputs[case.position]
    if clip is not None:  # an input may be outside by its rounding (`prepare`): the statement is about a range that holds it
        met = [x] if len(clip) == 1 else x.unbind(-1)
        ends = [(min(lo, Fraction(float(v.min()))), max(hi, Fraction(float(v.max())))) for (lo, hi), v in zip(clip, met, strict=True)]
        said["perturbation"]["clip"] = clip_in_words(tuple(ends))
    return {
        **by.stated(FORMAT, query),
        "statement": "real-arithmetic network with exactly these weights",
        "method": method,
        "cushions": [TYPICAL, LEAST],
        **said,
        "network": named_network(said["network"], network),
    }


def _proved_of(stated: dict[str, Any], region: Region, width: int) -> dict[str, Any]:
    """The set that a proof is of, where that is larger than the one asked about (`Asked.larger`)."""
    if not isinstance(region, Ball):
        return stated
    own = None if stated["norm"] == "inf" else Fraction(stated["norm"])
    factor = dict(supersets(own, width)).get(region.norm, Fraction(1)) if region.norm != own else Fraction(1)
    return stated | {
        "norm": "inf" if region.norm is None else str(region.norm),
        "weights": [str(Fraction(w) * factor) for w in stated["weights"]],
        "clip": stated["clip"] if region.clip is not None else None,
    }


def _document(claim: dict[str, Any], given: dict[str, Tensor], leaves: list[tuple[Proved, int]]) -> bytes | None:
    """A certificate's contents, as of `_file`.

    given: what the set is made of. leaves: the relaxations that prove the row, and its place in each batch: of the whole ball, or of its pieces.
    """
    pieces, arrays = [], dict(given)
    if not isinstance(leaves[0][0].walk.region, Piece):
        leaves = leaves[-1:]
        (part, b) = leaves[0]
        seen, x = part.walk.nominal.inputs[b], given["input"]
        moves = "directions" in claim["perturbation"]  # from 0
        offset = seen if moves else seen - torch.cat([x, torch.zeros_like(x)])[: len(seen)]  # of the middle from which the set was seen
        arrays |= {"0.offset": offset} if bool(offset.any()) else {}
    for j, (part, b) in enumerate(leaves):
        region = part.walk.region
        if isinstance(region, Piece):
            arrays["direction"], arrays[f"{j}.offset"] = region.directions[b, 0], region.offset[b]
            pieces.append([float(region.low[b, 0]), float(region.high[b, 0])])
        arrays.update({f"{j}.{name}": value for name, value in _arrays(part.walk, b)})
    walk = leaves[0][0].walk
    if isinstance(walk, Joint):
        arrays.update({f"0.{name}": value for name, value in walk.stated(leaves[0][1])})
    if isinstance(walk, Quadratic) and walk.coordinates.chart is not None:
        arrays["chart.basis"], arrays["chart.scale"] = walk.coordinates.chart.basis, walk.coordinates.chart.scale
    return _file(claim | {"pieces": pieces or None}, arrays)


def _file(claim: dict[str, Any], arrays: dict[str, Tensor]) -> bytes | None:
    """None where a number in it is not finite, so that nobody could read it."""
    arrays = {name: value.detach().to("cpu", torch.float64).contiguous().clone() for name, value in arrays.items()}
    if not all(bool(torch.isfinite(value).all()) for value in arrays.values()):
        return None
    text = json.dumps(claim)
    return written(arrays, {"certificate": text, "digest": _digest(text, arrays)})


def _digest(text: str, arrays: dict[str, Tensor]) -> str:
    seal = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        seal.update(json.dumps([name, list(arrays[name].shape)]).encode() + arrays[name].numpy().tobytes())
    return seal.hexdigest()


def _arrays(walk: Walk, b: int) -> Iterator[tuple[str, Tensor]]:
    """What proves row b of a batch, by name. Numbers of nodes are those of the graph."""
    graph = walk.nominal.graph
    asked = graph.relaxed_arguments()
    for i in range(len(graph.nodes)):
        if not walk.moving.in_row(i, b):
            continue
        if i in asked:
            yield f"{i}.box", torch.stack([end[b] for end in walk.boxes[i]])
        if i in walk.planes:
            for side, plane in (("lower", walk.planes[i].lower), ("upper", walk.planes[i].upper)):
                yield f"{i}.{side}", torch.stack([s[b] for s in (*plane.slopes, plane.offset)])
        if i in walk.lifts:
            yield f"{i}.lifts", walk.lifts[i][b]
        if not isinstance(walk, Quadratic):
            continue
        if i in walk.parabolas:
            found = walk.parabolas[i]
            for side, parabola in (("below", found.lower), ("above", found.upper)):
                yield f"{i}.{side}", torch.stack([x[b] for x in (*parabola.slopes, parabola.offset, *parabola.curvature)])
        if i in walk.motions:
            motion = walk.motions[i]
            yield f"{i}.motion", torch.stack([motion.centre[b], motion.residual[b], (motion.linear[b] != 0).any(-1).to(motion.centre)])
        for name, proof in zip(("multipliers", "rest"), walk.multipliers.get(i, ()), strict=False):
            if proof.lifts is not None:
                yield f"{i}.{name}_lifts", proof.lifts[b]
            if proof.constraints is not None:
                yield f"{i}.{name}", proof.constraints[b].nan_to_num(0.0, 0.0, 0.0).clamp(min=0)
