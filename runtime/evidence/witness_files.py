"""Witness files (format rspec-witness/2): written beside a run, replayed alone, with the same tests that a witness passed to count.

A safetensors file: arrays `input` and `witness` (float64), and in the metadata's key `witness` a JSON text with the fields of runtime/statement.py,
the spec, the query, and where the checkpoint lay.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vlang.convert.described import architecture
from vlang.plan import Architecture, VerifyVariant
from vlang.property import Inequality, Terms
from vlang.results import FalsifiableRow, Row
from vlang.runtime.attacks.witness import Limits, contains, misclassifies
from vlang.runtime.evidence.statement import Producer, made_of, named_network, statement, written
from vlang.runtime.graph.concrete import logits
from vlang.runtime.graph.nodes import Graph
from vlang.runtime.network.assemble import assemble
from vlang.runtime.queries.batches import Loaded
from vlang.runtime.queries.cases import Case
from vlang.runtime.queries.demands import constants_of, rows_of
from vlang.runtime.rounding import spacing
from vlang.runtime.sets.directed import Directed
from vlang.words.metadata import overridden
from vlang.words.sets import DIRECTIONS

FORMAT = "rspec-witness/2"
#: What is told of how a network was read.
READING = ("embedding", "layers")


class UnreadableError(Exception):
    """The file, or the checkpoint it is about, is damaged, missing or another one."""


class RefutedError(Exception):
    """The witness shows nothing."""


@dataclass(frozen=True)
class Witnesses:
    """How witnesses are saved."""

    by: Producer

    def keep(self, loaded: Loaded[Any], query: str, rows: Sequence[Row]) -> list[Row]:
        """The rows, a file saved for every one that has a witness."""
        return [self._kept(loaded, query, case, row) for case, row in zip(loaded.cases, rows, strict=True)]

    def _kept(self, loaded: Loaded[Any], query: str, case: Case, row: Row) -> Row:
        network = loaded.variant.network
        asked = loaded.variant.eps if isinstance(loaded.variant, VerifyVariant) else None
        if not isinstance(row, FalsifiableRow) or row.witness is None:
            return row
        file, lost = self.by.network_of(loaded)
        said = statement(loaded, case, Fraction(row.size or 0.0) if asked is None else asked, file["sha256"])
        claim = {
            **self.by.stated(FORMAT, query),
            "checkpoint": self.by.path_of(network.checkpoint),
            **said,
            "network": named_network(said["network"], file),
        }
        made = {"input": loaded.inputs[case.position], **made_of(loaded, case)}
        arrays = {name: x.cpu().contiguous().clone() for name, x in made.items()} | {"witness": torch.tensor(row.witness, dtype=torch.float64)}
        name = self.by.name_of(query, claim, loaded, "witness")
        problem = lost or self.by.save(name, written(arrays, {"witness": json.dumps(claim)}))
        return replace(row, witness_file=name) if problem is None else replace(row, reason=f"its witness could not be written: {problem}")


def examine(path: str, checkpoints: Sequence[str] = ()) -> str:
    """What the witness shows, in words. checkpoints: where its network may be, instead of where it was. Raises UnreadableError or RefutedError."""
    if not Path(path).is_file():
        raise UnreadableError("it is a folder: name the files in it" if Path(path).is_dir() else "there is no such file")
    try:
        with safe_open(path, "pt") as f:
            text = (f.metadata() or {}).get("witness")
            if text is None:
                raise UnreadableError("it is no witness that vrun has saved")
            claim = json.loads(text)
            arrays = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118
        if claim["format"] != FORMAT:
            raise UnreadableError(f"its format is {claim['format']!r}, not {FORMAT!r}: save it again with this release")
        return _examined(claim, arrays, *_read(_checkpoint(claim, Path(path).parent, checkpoints)))
    except (
        OSError,
        SafetensorError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        RuntimeError,
        ArithmeticError,
        RecursionError,
    ) as e:
        reason = str(e).splitlines() or [""]
        raise UnreadableError(f"a part is missing or damaged ({type(e).__name__}: {reason[0]})") from None


def _checkpoint(claim: dict[str, Any], beside: Path, given: Sequence[str]) -> str:
    """The file of the network that a witness is about: a given one, the one saved beside it, or where its checkpoint lay."""
    named_ = claim["network"].get("file")
    lying = [] if named_ is None else [str(beside / Path(str(named_)).name)]
    for path in [*given, *lying, *([] if given or lying else [claim["checkpoint"]])]:
        if not Path(path).is_file():  # a pipe would wait for ever
            if path in given:
                raise UnreadableError(f"the checkpoint {path} cannot be read (no regular file): name it with --network")
            continue
        try:
            with open(path, "rb") as f:
                if hashlib.file_digest(f, "sha256").hexdigest() == claim["network"]["sha256"]:
                    return str(path)
        except OSError as e:
            raise UnreadableError(f"the checkpoint {path} cannot be read ({e.strerror}): name it with --network") from None
    raise UnreadableError("the checkpoint is missing, or another one (its sha256 differs): name the right one with --network")


def _read(path: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, "pt") as f:
        return {name: f.get_tensor(name) for name in f.keys()}, f.metadata() or {}  # noqa: SIM118


def _examined(claim: dict[str, Any], arrays: dict[str, Tensor], tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    said, p, eps, centre, point = claim["network"], claim["perturbation"], _rational(claim["eps"]), arrays["input"], arrays["witness"]
    if centre.dtype != torch.float64 or centre.dim() != 2 or point.dtype != centre.dtype or point.dim() != 2:
        raise ValueError("the input and the witness are no tables of float64")
    if not all(bool(torch.isfinite(value).all()) for value in arrays.values()):
        raise ValueError("a number is not finite")
    if hashlib.sha256(centre.numpy().tobytes()).hexdigest() != claim["input"]["sha256"]:
        raise UnreadableError("its input is not the one that its hash is of")
    if claim["input"].get("shape", list(centre.shape)) != list(centre.shape) or ("property" in claim and "label" in claim):
        raise ValueError("it says two things of its input, or of what is asked")
    if claim.get("normalize") is not None:
        raise ValueError("it is about a network derived from its checkpoint, which is not saved beside it")
    read = architecture(said, {k: tuple(v.shape) for k, v in tensors.items()}, centre.shape[1])
    network = assemble({k: v.to(torch.float64) for k, v in tensors.items()}, read, torch.float64, torch.device("cpu"))
    used = [name for x in read.layers for name in x.names]
    idle = sorted(set(tensors) - set(used) - {said["embedding"]})
    if idle or len(set(used)) < len(used):
        raise RefutedError(f"the network's tensor {idle[0]!r} has no role in what is claimed" if idle else "a tensor of it is there twice")
    if overridden(said, metadata) != said.get("overrides", {}):
        raise RefutedError(f"the network's metadata says {overridden(said, metadata)}, and the witness reads it otherwise without saying so")
    graph = network.unroll(len(centre))
    graph, rows, shown = _of_property(claim["property"], read, graph, centre) if "property" in claim else _of_classes(claim, graph)
    if "alternatives" in p:
        inside = _among(p, claim["input"]["tokens"], arrays.get("alternatives"), tensors.get(str(said["embedding"])), centre, point)
        what = "words" if "table" not in p else "frames"
        where = f"where at most {p['at_most']} of its {what} become others that it lists"
    else:
        directed = _directed(p, centre, arrays)
        graph, middle = (graph, centre) if directed is None else (directed.graph(graph, centre), torch.zeros(1, directed.count, dtype=centre.dtype))
        limits = _limits(p, middle, eps)
        inside = point.shape == middle.shape and contains(limits, middle, point, eps)
        where = f"at a point of the {p['norm']}-norm set of radius {float(eps):.6g}" + (" along its directions" if directed is not None else "")
        where += ("" if limits.scale is None else ", in units of its own") + ("" if limits.clip is None else ", all numbers in its range")
    if not inside:
        raise RefutedError(f"its point is not in the set of radius {float(eps):.6g}")
    if not misclassifies(graph, point, rows, _some(claim)):
        raise RefutedError(f"it is not sure there that {shown}")
    read_as = ", ".join(f"{k} {said[k]}" for k in READING)
    read_as += f"; NOTE: read otherwise than its metadata says: {said['overrides']}" if said.get("overrides") else ""
    return f"{shown} {where}; read as {read_as}"


def _limits(p: dict[str, Any], centre: Tensor, eps: Fraction) -> Limits:
    if set(p) - {"norm", "weights", "at_most", "clip", "scale", "directions"}:
        raise ValueError("its perturbation says more than is known")
    clip = None if p["clip"] is None else _clip(p["clip"], centre)
    norm = None if p["norm"] == "inf" else _rational(p["norm"])
    scale = None if "scale" not in p else tuple(tuple(map(_rational, row)) for row in p["scale"])
    if scale is not None and ([len(row) for row in scale] != [centre.shape[1]] * len(centre) or min(map(min, scale)) < 0):
        raise ValueError("its scale does not fit its input")
    limits = Limits(tuple(map(_rational, p["weights"])), norm, p["at_most"], clip, scale)
    if len(limits.weights) != len(centre) or min(limits.weights) < 0 or eps < 0 or (norm is not None and norm < 1):
        raise ValueError("its perturbation does not fit its input")
    return limits


def _clip(said: Any, centre: Tensor) -> tuple[tuple[Fraction, Fraction], ...]:
    """One range, or one for each number of a frame."""
    ranges = [said] if isinstance(said[0], str) else said
    if len(ranges) not in (1, centre.shape[1]) or any(len(ends) != 2 for ends in ranges):
        raise ValueError("its clip does not fit its input")
    found = tuple((_rational(lo), _rational(hi)) for lo, hi in ranges)
    for numbers, (lo, hi) in zip(centre.unbind(-1), found * (centre.shape[1] // len(found)), strict=True):
        # An input may be outside by its own rounding (`prepare`).
        spread = Fraction(spacing(float(lo), float(hi), centre.dtype))
        if not lo - spread <= Fraction(float(numbers.min())) <= Fraction(float(numbers.max())) <= hi + spread:
            raise RefutedError("its input is outside its clip")
    return found


def _directed(p: dict[str, Any], centre: Tensor, arrays: dict[str, Tensor]) -> Directed | None:
    """The directions that a set is made of, if it is."""
    said = p.get("directions")
    if said is None:
        return None
    if p["weights"] != ["1"] or p["at_most"] is not None or p["clip"] is not None or "scale" in p:
        raise ValueError("its perturbation does not fit its directions")
    if isinstance(said, str):
        given = arrays["directions"]
        if given.dtype != centre.dtype or given.dim() != 3 or given.shape[1:] != centre.shape:
            raise ValueError("its directions do not fit its input")
        if hashlib.sha256(given.numpy().tobytes()).hexdigest() != said:
            raise UnreadableError("its directions are not those that their hash is of")
        return Directed(given=given)
    named = tuple((word, channel) for word, channel in said)
    if not named or any(w not in DIRECTIONS or not (c is None or (type(c) is int and 0 <= c < centre.shape[1])) for w, c in named):
        raise ValueError("its directions are not known")
    return Directed(named)


def _among(p: dict[str, Any], tokens: Any, given: Tensor | None, embedding: Tensor | None, centre: Tensor, point: Tensor) -> bool:
    """Whether a point is the text with some of its words replaced by listed ones, so many at most; or frames by rows of a given array."""
    table = given if "table" in p else embedding
    if table is None or set(p) - {"table"} != {"alternatives", "at_most"} or len(p["alternatives"]) != len(centre):
        raise ValueError("its alternatives do not fit its words")
    if "table" in p:
        if tokens is not None or table.dtype != centre.dtype or table.dim() != 2:
            raise ValueError("its alternatives do not fit its frames")
        if hashlib.sha256(table.numpy().tobytes()).hexdigest() != p["table"]:
            raise UnreadableError("its alternatives are not those that their hash is of")
        tokens = []
    table = table.to(torch.float64)
    numbers = [p["at_most"], *tokens, *(i for others in p["alternatives"] for i in others)]
    if any(type(i) is not int or i < 0 for i in numbers):
        raise ValueError("its alternatives are no tokens")
    if "table" not in p and (len(tokens) != len(centre) or not torch.equal(table[tokens], centre)):
        raise ValueError("its alternatives do not fit its words")
    moved = [k for k in range(len(centre)) if not torch.equal(point[k], centre[k])] if point.shape == centre.shape else []
    listed = all(any(torch.equal(point[k], table[i]) for i in p["alternatives"][k]) for k in moved)
    return point.shape == centre.shape and listed and len(moved) <= p["at_most"]


def _of_classes(claim: dict[str, Any], graph: Graph) -> tuple[Graph, Tensor, str]:
    """The rows of which one is above 0 at a counterexample, and what that says."""
    label, against, classes = claim["label"], claim["against"], graph.nodes[graph.output].width
    if not all(type(c) is int and 0 <= c < classes for c in [label, *against]) or label in against or not against:
        raise ValueError("its classes are not those of the network")
    eye = torch.eye(classes, dtype=torch.float64)
    return graph, eye[against] - eye[label], f"one of the classes {against} is ahead of {label}"


def _of_property(said: list[Any], read: Architecture, graph: Graph, centre: Tensor) -> tuple[Graph, Tensor, str]:
    if any(x.word == "softmax" for x in read.layers):
        raise RefutedError("it is about the outputs of a softmax, which is read as nothing")
    wanted = tuple(Inequality(_terms(w["output"]), _terms(w["nominal"]), _terms(w["absolute"]), _rational(w["constant"])) for w in said)
    width = graph.nodes[graph.output].width
    if not wanted or any(type(i) is not int or not 0 <= i < width for w in wanted for i, _ in (*w.outputs, *w.nominal, *w.absolute)):
        raise ValueError("its outputs are not those of the network")
    constants = constants_of(wanted, graph, centre, logits(graph, centre[None])[0], deployed=False)
    return graph.with_one(), rows_of(wanted, [low for low, _ in constants], width), "what has to hold of the outputs does not"


def _some(claim: dict[str, Any]) -> bool:
    """Whether one inequality is enough for what is asked."""
    if type(claim.get("some", False)) is not bool:
        raise ValueError("it does not say whether all of its inequalities have to hold")
    return bool(claim.get("some", False))


def _terms(said: Any) -> Terms:
    return tuple((i, _rational(c)) for i, c in said)


def _rational(text: Any) -> Fraction:
    if not isinstance(text, str) or not re.fullmatch(r"-?[0-9]{1,400}(/0*[1-9][0-9]{0,399})?", text):
        raise ValueError(f"{str(text)[:40]!r} is no rational number")
    return Fraction(text)
