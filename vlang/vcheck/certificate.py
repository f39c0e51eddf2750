"""A certificate as a file: what it claims, for which network, input and set, and whether its arrays prove that."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from decimal import ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from flint import arb, ctx
from safetensors import SafetensorError, safe_open

from .boxes import leaves
from .boxes import region_of as region_of_box
from .directions import Directions, directions_of
from .errors import InvalidError, UnreadableError
from .layers import Frames, plain, stretched, unroll
from .network import Node
from .proof import Proof
from .property import Demands, of_classes, of_property
from .rationals import rational
from .reading import against_metadata, layers_in_words, of_version_2
from .region import Region
from .spec import comes_from
from .statement import BITS
from .substitutions import Alternatives, of_frames, prove
from .vectors import ZERO, Array, Vector, exact, vector

FORMAT = "rspec-certificate/3"
#: That of older releases, whose networks were all of one shape.
FORMAT_2 = "rspec-certificate/2"
#: How certificates split cushions that do not say it.
CUSHIONS = 0.45, 1e-30
LONGEST_HEADER = 100 * 2**20
#: A tensor of batch normalisations that only counts: whatever it holds, it is no part of what the network computes.
IDLE = "num_batches_tracked"
#: The least and the largest value of each number of a frame.
Ends = tuple[Vector, Vector]
#: A checkpoint's tensors and metadata.
Network = tuple[dict[str, Array], dict[str, str]]


def read(path: str) -> tuple[dict[str, Array], dict[str, str], str]:
    """A safetensors file's arrays as float64, its metadata and its sha256. Its header is read, and every size in it compared, before any array."""
    if not Path(path).is_file():
        raise UnreadableError("it is a folder: name the files in it" if Path(path).is_dir() else "there is no such file")
    try:
        header(path)
        with safe_open(path, "numpy") as f:
            found, metadata = {name: f.get_tensor(name) for name in f.keys() if not name.endswith(IDLE)}, f.metadata() or {}  # noqa: SIM118
        if any(a.dtype.kind != "f" for a in found.values()):
            raise ValueError("an array of whole numbers")
        arrays = {name: a.astype(np.float64) for name, a in found.items()}
        with open(path, "rb") as raw:
            sha256 = hashlib.file_digest(raw, "sha256").hexdigest()
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, AttributeError, MemoryError, RecursionError) as e:
        raise UnreadableError(f"it is no safetensors file ({e})") from None
    broken = sorted(name for name, a in arrays.items() if not np.isfinite(a).all())
    if broken:
        raise UnreadableError(f"array {broken[0]!r} holds a NaN or an infinity")
    return arrays, metadata, sha256


def header(path: str) -> dict[str, Any]:
    """The header alone; ValueError where a key stands in it twice, for two readers may take either."""
    with open(path, "rb") as f:
        length = int.from_bytes(f.read(8), "little")
        if not 0 < length <= min(LONGEST_HEADER, os.path.getsize(path) - 8):
            raise ValueError("its header does not fit into it")
        found = strictly(f.read(length).decode())
    if not isinstance(found, dict):
        raise ValueError("its header is no record")
    return found


def strictly(text: str) -> Any:
    """JSON without a key that stands twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        held = dict(pairs)
        if len(held) < len(pairs):
            raise ValueError("a key stands in it twice")
        return held

    return json.loads(text, object_pairs_hook=once)


def digest(text: str, arrays: dict[str, Array]) -> str:
    """sha256 over the header's text and every array's name, shape and bytes, names in order."""
    seal = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        seal.update(json.dumps([name, list(arrays[name].shape)]).encode() + arrays[name].astype("<f8").tobytes())
    return seal.hexdigest()


def check(path: str, networks: dict[str, Network], spec: str | None = None, processes: int = 1) -> str:
    """What the certificate proves, in words; networks by sha256. Raises UnreadableError or InvalidError."""
    ctx.prec = BITS
    arrays, metadata, _ = read(path)
    try:
        text = metadata.get("certificate")
        if text is None:
            raise UnreadableError("it is no certificate that vrun has saved")
        claim = strictly(text)
        if claim["format"] not in (FORMAT, FORMAT_2):
            raise ValueError(f"its format is {claim['format']!r}, not {FORMAT!r}")
        if metadata["digest"] != digest(text, arrays):
            raise InvalidError("its contents do not have the digest that it states")
        with np.errstate(all="ignore"):  # what overflows proves nothing
            return _check(claim, arrays, networks, spec, processes)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, ArithmeticError, MemoryError, BrokenProcessPool) as e:
        raise UnreadableError(f"a part is missing or has the wrong shape ({type(e).__name__}: {e})") from None


def _check(claim: dict[str, Any], arrays: dict[str, Array], networks: dict[str, Network], spec: str | None, processes: int) -> str:
    said = claim["network"]
    if claim["format"] == FORMAT_2:
        said = said | of_version_2(said)
    if said["sha256"] not in networks:
        raise InvalidError(f"it is about another network (sha256 {said['sha256']!r}, file {said.get('file')!r})")
    if spec is not None and not comes_from(claim["spec"], spec):
        raise InvalidError("it comes from another spec")
    tensors, metadata = networks[said["sha256"]]
    x = input_of(claim["input"], arrays, tensors, said["embedding"])
    scale, directions = scale_of(claim["perturbation"], x), None
    frames: Frames
    if "alternatives" in claim["perturbation"]:
        return _substituted(claim, said, x, arrays.get("alternatives"), tensors, metadata)
    if "directions" in claim["perturbation"]:
        directions = directions_of(claim["perturbation"]["directions"], x, arrays)
        whole, frames = theta_of(claim, directions), directions.frames
    else:
        whole, frames = region_of(claim, arrays, x, scale), plain(*x.shape) if scale is None else stretched(scale)
    nodes = unroll(tensors, said, frames, x.shape[1])
    demands = demands_of(claim, said, nodes, whole)
    share, least = claim.get("cushions", CUSHIONS)
    if not all(isinstance(v, float) and 0 < v < float("inf") for v in (share, least)):
        raise ValueError("its cushions are not split by two numbers above 0")
    split = share, least
    for j, region in pieces_of(claim, arrays, whole):
        own = {name.removeprefix(f"{j}."): a for name, a in arrays.items() if name.startswith(f"{j}.")}
        Proof(nodes, region, own, demands, split).prove(processes)
    return in_words(claim, said, metadata, whole, demands, directions)


def _substituted(
    claim: dict[str, Any], said: dict[str, Any], x: Array, given: Array | None, tensors: dict[str, Array], metadata: dict[str, str]
) -> str:
    """A claim of words or frames that become others, which says nothing that would prove it: every substitution is looked at."""
    if given is not None:
        alternatives = of_frames(claim["perturbation"], x, given)
    elif said["embedding"] is None:
        raise ValueError("its network reads no words")
    else:
        alternatives = Alternatives(claim["perturbation"], claim["input"]["tokens"], tensors[said["embedding"]])
    nodes = unroll(tensors, said, plain(*x.shape), x.shape[1])
    still = Region(x, {}, None, len(x), None, None, None, 0 * x, (0.0, 0.0))
    demands = demands_of(claim, said, nodes, still)
    count = prove(nodes, alternatives, demands)
    return f"{demands.words} {alternatives.words}; {count} texts; read as {layers_in_words(said)}{otherwise(said, metadata)}"


def demands_of(claim: dict[str, Any], said: dict[str, Any], nodes: list[Node], whole: Region) -> Demands:
    """What is claimed of the outputs; of a property, the nodes have one more in the end."""
    if "property" in claim and not {"label", "against"}.isdisjoint(claim):
        raise ValueError("it is about classes and about a property")
    if "property" not in claim:
        return of_classes(claim["label"], claim["against"], nodes[-1].width)
    if any(layer["layer"] == "softmax" for layer in said["layers"]):
        raise InvalidError("it is about the outputs of a softmax, which is read as nothing")
    return of_property(claim["property"], claim["some"], nodes, whole)


def otherwise(said: dict[str, Any], metadata: dict[str, str]) -> str:
    """Where the network is read otherwise than its file says, in words. Raises InvalidError where the claim does not say that."""
    other = against_metadata(said, metadata)
    if other != said.get("overrides", {}):
        raise InvalidError(f"the network's metadata says {other}, and the certificate reads it otherwise without saying so")
    return f"; NOTE: read otherwise than its metadata says: {other}" if other else ""


def input_of(stated: dict[str, Any], arrays: dict[str, Array], tensors: dict[str, Array], embedding: Any) -> Array:
    """shape: [m, n]."""
    x, tokens = arrays["input"], stated["tokens"]
    if tokens is not None:
        table = tensors[embedding]
        if any(type(t) is not int or not 0 <= t < len(table) for t in tokens) or not np.array_equal(table[tokens], x):
            raise InvalidError("its input is not the embedding of its tokens")
    if x.ndim != 2 or not x.size or hashlib.sha256(x.astype("<f8").tobytes()).hexdigest() != stated["sha256"]:
        raise InvalidError("its input does not have the hash that it states")
    if stated.get("shape", list(x.shape)) != list(x.shape):  # older releases do not state it
        raise InvalidError("its input does not have the shape that it states")
    return x


def scale_of(stated: dict[str, Any], x: Array) -> Array | None:
    """Units of the input's numbers, rounded up: the set that is looked at holds the one that is claimed. shape: [m, n]."""
    if "scale" not in stated:
        return None
    exactly = [[rational(unit) for unit in row] for row in stated["scale"]]
    if [len(row) for row in exactly] != [x.shape[1]] * len(x):
        raise ValueError("its scale does not fit its input")
    return np.array([[above(unit) for unit in row] for row in exactly])


def above(value: Fraction) -> float:
    """The least float64 that is no smaller."""
    near = float(value)
    return near if Fraction(near) >= value else float(np.nextafter(near, np.inf))


def region_of(claim: dict[str, Any], arrays: dict[str, Array], x: Array, scale: Array | None) -> Region:
    """The whole set. scale: of a set that is seen in units of its own, from the input's own frames, which rest."""
    p, eps = claim["perturbation"], rational(claim["eps"])
    norm, weights = None if p["norm"] == "inf" else rational(p["norm"], Fraction(1)), [rational(w) for w in p["weights"]]
    at_most, clip = len(x) if p["at_most"] is None else p["at_most"], clip_of(p["clip"], x)
    if type(at_most) is not int or at_most < 1 or len(weights) != len(x):
        raise ValueError("its perturbation does not fit its input")
    chart = (arrays["chart.basis"], arrays["chart.scale"]) if "chart.basis" in arrays else None
    if chart is not None and not (
        chart[0].ndim == 2 and 1 <= chart[0].shape[1] <= x.shape[1] == len(chart[0]) and chart[1].shape == x.shape[1:] and (chart[1] > 0).all()
    ):
        raise ValueError("its chart does not fit its input")
    radii = {k: exact(w * eps) for k, w in enumerate(weights) if w * eps > 0}
    inside = None if clip is None else dict.fromkeys(radii, clip)
    if scale is not None:
        inside = None if clip is None else {len(x) + k: in_units(clip, x[k], scale[k]) for k in radii}
        radii, x = {len(x) + k: r for k, r in radii.items()}, np.concatenate([x, 0 * x])
    return Region(x, radii, norm, at_most, inside, chart, None, 0 * x, (0.0, 0.0))


def in_units(clip: Ends, x: Array, scale: Array) -> Ends:
    """How far u of x + scale u may go down and up; what has no unit does not move, and may be said to stay. Units rounded up leave u less room, and
    the set that is looked at still holds the one that is claimed."""
    low, high = ([(end - v) / s if s > 0 else ZERO for end, v, s in zip(ends, vector(x), vector(scale), strict=True)] for ends in clip)
    return low, high


def clip_of(stated: Any, x: Array) -> Ends | None:
    """The ends between which all numbers of a frame are, or each one is. Raises InvalidError where the input is not."""
    if stated is None:
        return None
    said = [stated] * x.shape[1] if isinstance(stated[0], str) else stated
    ends = [(rational(lo, None), rational(hi, None)) for lo, hi in said]
    if len(ends) != x.shape[1]:
        raise ValueError("its clip does not fit its input")
    for (lo, hi), numbers in zip(ends, x.T, strict=True):
        if not lo <= Fraction(float(numbers.min())) <= Fraction(float(numbers.max())) <= hi:
            raise InvalidError("its input is outside its clip")
    return [exact(lo) for lo, _ in ends], [exact(hi) for _, hi in ends]


def theta_of(claim: dict[str, Any], directions: Directions) -> Region:
    """The whole set, of a sample that moves along directions."""
    p, eps = claim["perturbation"], rational(claim["eps"])
    if p["weights"] != ["1"] or p["at_most"] is not None or p["clip"] is not None or "scale" in p:
        raise ValueError("its perturbation does not fit its directions")
    norm, zero = None if p["norm"] == "inf" else rational(p["norm"], Fraction(1)), np.zeros((1, directions.count))
    return Region(zero, {0: exact(eps)} if eps > 0 else {}, norm, 1, None, None, None, zero, (0.0, 0.0))


def pieces_of(claim: dict[str, Any], arrays: dict[str, Array], whole: Region) -> Iterator[tuple[int, Region]]:
    """The pieces by number, each with its middle; the whole where there are none, from its middle if one is stated."""
    stated = claim["pieces"]
    if "boxes" in claim:
        if stated is not None:
            raise ValueError("it has both pieces and boxes")
        for number, box in leaves(claim["boxes"], whole):
            yield number, region_of_box(box, middle_of(number, arrays, whole), whole)
        return
    if stated is None:
        yield 0, replace(whole, offset=middle_of(0, arrays, whole) if "0.offset" in arrays else whole.offset)
        return
    direction, ends = arrays["direction"].reshape(whole.x.shape), [(float(lo), float(hi)) for lo, hi in stated]
    if not covered(replace(whole, chart=None), direction, ends):
        raise InvalidError("its pieces do not cover the balls")
    for j, between in enumerate(ends):
        yield j, replace(whole, direction=direction, offset=middle_of(j, arrays, whole), between=between)


def middle_of(piece: int, arrays: dict[str, Array], whole: Region) -> Array:
    """Where a piece is seen from. shape: [m, n]."""
    offset = arrays[f"{piece}.offset"].reshape(whole.x.shape)
    if any(offset[k].any() for k in range(len(offset)) if k not in whole.radii):
        raise InvalidError("the middle of a piece moves a frame that does not move")
    return offset


def covered(whole: Region, direction: Array, ends: list[tuple[float, float]]) -> bool:
    """Whether every point of the balls is between the hyperplanes of some piece."""
    low, high = (whole.support({k: vector(sign * direction[k]) for k in whole.frames}) for sign in (-1, 1))
    reach, met = -low, False
    for start, end in sorted(ends):
        if start <= reach and end >= reach:
            reach, met = reach.max(arb(end)), True
    return met and bool(reach >= high)


def in_words(
    claim: dict[str, Any], said: dict[str, Any], metadata: dict[str, str], whole: Region, demands: Demands, directions: Directions | None
) -> str:
    """What is proved, and how the network was read. Raises InvalidError where its metadata says otherwise, and the claim does not say that."""
    p, eps = claim["perturbation"], rational(claim["eps"])
    weights = [rational(w) * eps for w in p["weights"]]
    moved = ", ".join(f"{k} ({down(w)})" for k, w in enumerate(weights) if w > 0)
    at_once = "" if whole.at_most >= len(whole.radii) else f", {whole.at_most} at once"
    units = "" if "scale" not in p else f", in units of {p['scale']}"
    inside = units if p["clip"] is None else f"{units}, all numbers in {ranges(p['clip'])}"
    differs = otherwise(said, metadata)
    if directions is not None:
        moves = f"while the input moves along {directions.words}, by a {p['norm']}-norm of at most {down(eps)}"
        return f"{demands.words} {moves}; read as {layers_in_words(said)}{differs}"
    return f"{demands.words} while frames move by a {p['norm']}-norm of at most: {moved}{at_once}{inside}; read as {layers_in_words(said)}{differs}"


def ranges(clip: Any) -> str:
    said = [clip] if isinstance(clip[0], str) else clip
    return ", ".join("[{:g}, {:g}]".format(*(float(rational(c, None)) for c in ends)) for ends in said)


def down(value: Fraction) -> str:
    """At most the value, to six digits: what is printed must not claim more than is proved."""
    if value <= 0:
        return str(float(value))
    return f"{Context(prec=6, rounding=ROUND_FLOOR).divide(Decimal(value.numerator), Decimal(value.denominator)):g}"
