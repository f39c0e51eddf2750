"""vcheck CERTIFICATE... --network FILE: checks proofs of robustness, believing nothing that it can work out itself.

A certificate (rspec-certificate/2, described in runtime/README.md) says: inside these balls around this input, the real-arithmetic network with
exactly these weights never prefers one of these classes to its label. It gives a box for every argument of a nonlinearity, planes, parabolas,
motions and multipliers. This program builds the network's graph from the weights and checks each of them in ball arithmetic: planes and parabolas on
their boxes, boxes from earlier ones only, quadratic forms by Cholesky factors, the pieces' cover, the margin, the hashes. It searches for nothing and
shares no code with what wrote the file. Balls are Arb's (python-flint); those of quadratic forms, which are many, have midpoints and radii in float64
(`Balls`), where numpy's products are trusted to be sums of products, in any order, each operation rounded as IEEE 754 says.

Exit code: 0 every certificate is valid, 1 one is not, 2 one cannot be read.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import multiprocessing
import operator
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise, repeat
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # where numpy is not loaded yet: processes share the work, and threads beside them are in the way

import numpy as np
from flint import arb, arb_mat, ctx, fmpq
from safetensors import SafetensorError, safe_open

FORMAT = "rspec-certificate/2"
#: Bits of Arb's arithmetic, and of the planes' stationary points, which are ill-conditioned where two of them meet.
BITS, FINE_BITS = 64, 192
#: More for every frame: a walk's enclosures widen at each.
BITS_A_FRAME = 2
#: Bits of values that do not move: their enclosures widen at every step of a long sequence.
STILL_BITS = 512
#: Forms of more coordinates are not looked at (of vertices, for the 1-norm): who writes certificates makes none, and they would take much memory.
MOST_COORDINATES, MOST_VERTICES = 256, 1024
#: Cells along an argument on which parabolas are bounded, for one argument and for two; any number is sound.
CELLS = {1: 64, 2: 16}
ZERO, ONE, HALF, NEVER, NAN = arb(0), arb(1), arb(0.5), arb("inf"), arb("nan")
Array = np.ndarray[Any, Any]
Vector = list[arb]
#: Twice the unit roundoff of float64, and far more than underflow loses in an operation, even where tiny numbers are taken for zero.
ROUND, UNDERFLOW = 2.0**-52, 1e-300
Interval = tuple[arb, arb]
#: Elements start..stop of a node.
Ref = tuple[int, int, int]
#: A checkpoint's tensors and metadata.
Network = tuple[dict[str, Array], dict[str, str]]
#: Slopes by argument, then offsets; one entry a unit.
Plane = list[Vector]


class UnreadableError(Exception):
    """The file is damaged, or no certificate."""


class InvalidError(Exception):
    """The certificate does not prove what it says."""


def read(path: str) -> tuple[dict[str, Array], dict[str, str], str]:
    """A safetensors file's arrays as float64, its metadata and its sha256 (the library checks all sizes before it allocates)."""
    if not Path(path).is_file():
        raise UnreadableError("it is a folder: name the files in it" if Path(path).is_dir() else "there is no such file")
    try:
        with safe_open(path, "numpy") as f:
            found, metadata = {name: f.get_tensor(name) for name in f.keys()}, f.metadata() or {}  # noqa: SIM118
        if any(a.dtype.kind != "f" for a in found.values()):
            raise ValueError("an array of whole numbers")
        arrays = {name: a.astype(np.float64) for name, a in found.items()}
        sha256 = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, AttributeError, MemoryError) as e:
        raise UnreadableError(f"it is no safetensors file ({e})") from None
    broken = sorted(name for name, a in arrays.items() if not np.isfinite(a).all())
    if broken:
        raise UnreadableError(f"array {broken[0]!r} holds a NaN or an infinity")
    return arrays, metadata, sha256


def digest(text: str, arrays: dict[str, Array]) -> str:
    """sha256 over the header's text and every array's name, shape and bytes, names in order."""
    seal = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        seal.update(json.dumps([name, list(arrays[name].shape)]).encode() + arrays[name].astype("<f8").tobytes())
    return seal.hexdigest()


def rational(text: Any, least: Fraction | None = Fraction(0)) -> Fraction:
    if (
        not isinstance(text, str)
        or not re.fullmatch(r"-?[0-9]{1,400}(/0*[1-9][0-9]{0,399})?", text)
        or (least is not None and Fraction(text) < least)
    ):
        raise ValueError(f"{str(text)[:40]!r} is not the rational number that belongs there")
    return Fraction(text)


def exact(x: Fraction) -> arb:
    return arb(fmpq(x.numerator, x.denominator))


# -- vectors and matrices of balls --------------------------------------------------------------------------------------


def vector(a: Array) -> Vector:
    return [arb(v) for v in a.tolist()]


def column(values: Vector) -> arb_mat:
    return arb_mat(len(values), 1, values)


def matrix(a: Array) -> arb_mat:
    return arb_mat(a.shape[0], a.shape[1], a.ravel().tolist())


def diagonal(values: Vector) -> arb_mat:
    d = arb_mat(len(values), len(values))
    for i, v in enumerate(values):
        d[i, i] = v
    return d


def total(values: Iterable[arb]) -> arb:
    return sum(values, ZERO)


def dot(a: Iterable[arb], b: Iterable[arb]) -> arb:
    return total(map(operator.mul, a, b))


def largest(values: Iterable[arb]) -> arb:
    top = -NEVER
    for x in values:
        top = top.max(x)
    return top


def norm2(values: Iterable[arb]) -> arb:
    """Not below the 2-norm (the square of a ball around zero has a negative part, which a root does not take)."""
    return total(v.abs_upper() ** 2 for v in values).sqrt()


@dataclass(frozen=True)
class Balls:
    """An array of balls: midpoints and radii in float64 (Rump, *Fast and parallel interval arithmetic*, BIT 39, 1999).

    With the unit roundoff u, a computed sum of n products is within n u / (1 - n u) times the sum of their sizes of the exact one, whatever the order
    of its operations, fused or not (Higham, *Accuracy and Stability of Numerical Algorithms*, section 3.1). ROUND = 2 u leaves room for the radii's
    own roundings, of which there are fewer than the factors beside them allow for. Where a midpoint overflows, so does its radius.
    """

    mid: Array
    rad: Array

    @classmethod
    def exactly(cls, a: Array) -> Balls:
        return cls(a, np.zeros_like(a))

    @classmethod
    def around(cls, values: Sequence[arb], *shape: int) -> Balls:
        mid, rad = (np.array(list(map(float, x))).reshape(shape or -1) for x in (values, map(arb.rad, values)))
        return cls(mid, (rad + ROUND * np.abs(mid)) * (1 + 4 * ROUND) + UNDERFLOW)

    @classmethod
    def around_rows(cls, rows: Sequence[Sequence[arb]]) -> Balls:
        return cls.around([v for row in rows for v in row], len(rows), len(rows[0]))

    def arbs(self) -> Vector:
        """One by one; NaN, which compares with nothing, where a number overflowed."""
        pairs = zip(self.mid.ravel().tolist(), self.rad.ravel().tolist(), strict=True)
        return [arb(m, r) if math.isfinite(m) and math.isfinite(r) else NAN for m, r in pairs]

    def most(self) -> Array:
        """Upper bounds."""
        high: Array = self.mid + self.rad
        return high + ROUND * (np.abs(self.mid) + self.rad) + UNDERFLOW

    def each(self, f: Callable[[Array], Array]) -> Balls:
        """A rearrangement, which makes no number but zero."""
        return Balls(f(self.mid), f(self.rad))

    def __getitem__(self, key: Any) -> Balls:
        return Balls(self.mid[key], self.rad[key])

    def __len__(self) -> int:
        return len(self.mid)

    def __iter__(self) -> Iterator[Balls]:
        return map(Balls, self.mid, self.rad)

    @property
    def mT(self) -> Balls:  # noqa: N802 (numpy's name)
        return self.each(lambda a: a.swapaxes(-1, -2))

    def __abs__(self) -> Balls:
        return Balls(np.abs(self.mid), self.rad)

    def positive(self) -> Balls:
        return Balls(np.maximum(self.mid, 0.0), self.rad)

    def __neg__(self) -> Balls:
        return Balls(-self.mid, self.rad)

    def __add__(self, other: Balls) -> Balls:
        mid = self.mid + other.mid
        return Balls(mid, (self.rad + other.rad + ROUND * np.abs(mid)) * (1 + 4 * ROUND) + UNDERFLOW)

    def __sub__(self, other: Balls) -> Balls:
        return self + -other

    def __mul__(self, other: Balls) -> Balls:
        mid, far = self.mid * other.mid, np.abs(other.mid) + other.rad
        return Balls(mid, (np.abs(self.mid) * other.rad + self.rad * far + ROUND * np.abs(mid)) * (1 + 8 * ROUND) + UNDERFLOW)

    def __matmul__(self, other: Balls) -> Balls:
        return closed(*product(self, other, self.mid.shape[-1]), self.mid.shape[-1])


def product(a: Balls, b: Balls, n: int) -> tuple[Array, Array]:
    """A part of a sum of n products: its midpoint, and its radius but for the radius' own roundings (what underflows may meet a huge factor)."""
    size = np.abs(b.mid)
    return a.mid @ b.mid, np.abs(a.mid) @ (b.rad + n * ROUND * size + UNDERFLOW) + a.rad @ (size + b.rad)


def closed(mid: Array, rad: Array, n: int) -> Balls:
    """A sum of n products, the radius widened for its own roundings and for underflow, and infinite where the midpoint is."""
    return Balls(mid, (rad + ROUND * np.abs(mid)) * (1 + (2 * n + 16) * ROUND) + (4 * n + 4) * UNDERFLOW)


def sum_of_products(pairs: Sequence[tuple[Balls, Balls]]) -> Balls:
    """Of matrices, those with fewer columns than the widest filled up with zeros: what one product of all columns and rows would be."""
    n, width = sum(len(b) + 1 for _, b in pairs), max(b.mid.shape[1] for _, b in pairs)
    mid, rad = np.zeros((2, len(pairs[0][0]), width))
    for a, b in pairs:
        for whole, part in zip((mid, rad), product(a, b, n), strict=True):
            whole[:, : part.shape[1]] += part
    return closed(mid, rad, n)


def joined(parts: Sequence[Balls], axis: int) -> Balls:
    """Concatenated."""
    return Balls(np.concatenate([p.mid for p in parts], axis), np.concatenate([p.rad for p in parts], axis))


def widened(a: Balls, width: int) -> Balls:
    """Rows with zeros at their ends."""
    return a.each(lambda x: np.pad(x, ((0, 0), (0, width - x.shape[1]))))


def rows_of(inputs: dict[int, Balls]) -> dict[int, list[Vector]]:
    """Each row as balls of Arb."""
    return {k: [row.arbs() for row in a] for k, a in inputs.items()}


# -- the network ------------------------------------------------------------------------------------------------------


@dataclass
class Node:
    """An input frame, a constant (a bias without terms), an affine map (terms: reference and weight, or None), or op(args) unit by unit."""

    name: str
    width: int
    frame: int | None = None
    op: str = ""
    args: Sequence[Ref] = ()
    terms: Sequence[tuple[Ref, arb_mat | None]] = ()
    bias: Vector = field(default_factory=list)


def unroll(tensors: dict[str, Array], claim: dict[str, Any], frames: int) -> list[Node]:
    """torch.nn's RNN, GRU or LSTM over so many frames and a head of linear layers, as nodes in the order that the format prescribes."""
    nodes: list[Node] = []
    cell, prefix, directions = claim["cell"], claim["prefix"], 2 if claim["bidirectional"] else 1
    used, table = set[str](), claim["embedding"]
    if len(set(claim["head"])) != len(claim["head"]):
        raise InvalidError("a layer of its head is there twice")

    def tensor(name: str, *shape: int) -> Array:
        used.add(name)
        if name not in tensors or (shape and tensors[name].shape != shape):
            raise InvalidError(f"the network has no tensor {name!r} of the shape {list(shape)}")
        return tensors[name]

    def bias(name: str, width: int) -> Vector:
        return vector(tensor(name, width)) if name in tensors else [ZERO] * width

    def add(name: str, width: int, **rest: Any) -> Ref:
        nodes.append(Node(name, width, **rest))
        return len(nodes) - 1, 0, width

    def affine(name: str, terms: Sequence[tuple[Ref, arb_mat | None]], bias: Vector | None = None) -> Ref:
        (_, start, stop), weight = terms[0]
        width = stop - start if weight is None else weight.nrows()
        return add(name, width, terms=terms, bias=bias or [ZERO] * width)

    def apply(name: str, op: str, *args: Ref) -> Ref:
        return add(name, args[0][2] - args[0][1], op=op, args=args)

    def split(ref: Ref, parts: int) -> list[Ref]:
        w = ref[2] // parts
        return [(ref[0], k * w, (k + 1) * w) for k in range(parts)]

    def spread(refs: Sequence[Ref], weight: Array) -> list[tuple[Ref, arb_mat | None]]:
        ends = np.cumsum([0, *(r[2] for r in refs)])
        return [(r, matrix(weight[:, a:b])) for r, a, b in zip(refs, ends[:-1], ends[1:], strict=True)]

    if type(claim["layers"]) is not int or type(claim["bidirectional"]) is not bool:
        raise InvalidError("its layers and directions are no number and no truth value")
    if cell not in ("rnn_tanh", "rnn_relu", "gru", "lstm") or claim["readout"] not in ("last", "mean", "max"):
        raise InvalidError(f"cell {cell!r} with readout {claim['readout']!r} is not known")
    known = ["h0", "c0"][: 2 if cell == "lstm" else 1]  # named so, with the prefix or without: any other tensor has another role
    if claim["initial"] and (
        len(claim["initial"]) != len(known) or any(n not in (k, prefix + k) for n, k in zip(claim["initial"], known, strict=True))
    ):
        raise InvalidError(f"its initial states are not {known}")
    sequence = [[add(f"frame {t}", tensor(f"{prefix}weight_ih_l0").shape[1], frame=t)] for t in range(frames)]
    if table is not None and (not re.fullmatch(r"(?i).*emb.*weight", table) or tensor(table).shape[1:] != tensor(f"{prefix}weight_ih_l0").shape[1:]):
        raise InvalidError(f"{table!r} is no embedding of its inputs")
    final: list[Ref] = []
    for layer in range(claim["layers"]):
        outputs: list[list[Ref]] = [[] for _ in range(frames)]
        final = []
        for direction in range(directions):
            end = f"_l{layer}" + "_reverse" * direction
            s, inside = tensor(f"{prefix}weight_hh{end}").shape[1], sum(r[2] for r in sequence[0])
            rows = {"lstm": 4, "gru": 3}.get(cell, 1) * s
            ih, hh = tensor(f"{prefix}weight_ih{end}", rows, inside), tensor(f"{prefix}weight_hh{end}", rows, s)
            b_ih, b_hh = bias(f"{prefix}bias_ih{end}", rows), bias(f"{prefix}bias_hh{end}", rows)
            b_new, w_new = b_ih[2 * s :], matrix(ih[2 * s :])
            if cell == "gru":  # r (W_hn h + b_hn) joins W_in x + b_in outside the gate
                ih, b_ih = np.concatenate([ih[: 2 * s], np.zeros_like(ih[2 * s :])]), b_ih[: 2 * s] + [ZERO] * s
            w_x, w_h, b = matrix(ih), matrix(hh), list(map(operator.add, b_ih, b_hh))
            state = []
            for name in claim["initial"] or [None] * (2 if cell == "lstm" else 1):
                start = np.zeros(s) if name is None else tensor(name).reshape(claim["layers"] * directions, s)[layer * directions + direction]
                state.append(add("initial state", s, bias=vector(start)))
            for t in range(frames)[:: -1 if direction else 1]:
                at = f"layer {layer}{' reverse' * direction}, frame {t}, "
                x = sequence[t][0] if len(sequence[t]) == 1 else affine(at + "input", spread(sequence[t], np.eye(inside)))
                gates = affine(at + "gates", [(x, w_x), (state[0], w_h)], b)
                if cell == "lstm":
                    i, f, g, o = split(gates, 4)
                    kept, fresh = apply(at + "forget", "sigmoid_mul", f, state[1]), apply(at + "add", "sigmoid_tanh", i, g)
                    c = affine(at + "cell", [(kept, None), (fresh, None)])
                    state = [apply(at + "output", "sigmoid_tanh", o, c), c]
                elif cell == "gru":
                    r, z, n = split(gates, 3)
                    new = affine(at + "new", [(x, w_new), (apply(at + "reset", "sigmoid_mul", r, n), None)], b_new)
                    kept, fresh = apply(at + "keep", "sigmoid_mul", z, state[0]), apply(at + "update", "cosigmoid_tanh", z, new)
                    state = [affine(at + "state", [(fresh, None), (kept, None)])]
                else:
                    state = [apply(at + "state", cell[4:], gates)]
                outputs[t].append(state[0])
            final.append(state[0])
        sequence = outputs
    if claim["readout"] == "mean":
        final = [affine("mean", [(r, diagonal([ONE / frames] * r[2])) for r in refs]) for refs in zip(*sequence, strict=True)]
    elif claim["readout"] == "max":  # max(a, b) = a + relu(b - a), in a balanced tree
        for k, refs in enumerate(map(list, zip(*sequence, strict=True))):
            minus = diagonal([-ONE] * refs[0][2])
            while len(refs) > 1:
                gaps = ((a, apply("gain", "relu", affine("gap", [(b, None), (a, minus)]))) for a, b in zip(refs[::2], refs[1::2], strict=False))
                refs = [affine("maximum", [(a, None), (gap, None)]) for a, gap in gaps] + refs[len(refs) // 2 * 2 :]
            final[k] = refs[0]
    for name, activation in zip(claim["head"], [*claim["head_activations"], "none"], strict=True):
        weight = tensor(f"{name}.weight")
        if activation not in ("tanh", "relu", "sigmoid", "none") or weight.shape != (len(weight), sum(r[2] for r in final)):
            raise InvalidError(f"the head's layer {name!r} does not fit")
        y = affine(f"head {name!r}", spread(final, weight), bias(f"{name}.bias", len(weight)))
        final = [y if activation == "none" else apply(f"head {name!r} {activation}", activation, y)]
    if set(tensors) - used:
        raise InvalidError(f"the network's tensor {min(set(tensors) - used)!r} has no role in what is claimed")
    return nodes


# -- nonlinearities ---------------------------------------------------------------------------------------------------


def sigmoid(v: arb) -> arb:
    return 1 / (1 + (-v).exp())


VALUES: dict[str, Callable[..., arb]] = {
    "tanh": lambda y: y.tanh(),
    "sigmoid": sigmoid,
    "relu": lambda y: y.max(ZERO),
    "sigmoid_mul": lambda v, z: sigmoid(v) * z,
    "sigmoid_tanh": lambda v, z: sigmoid(v) * z.tanh(),
    "cosigmoid_tanh": lambda v, z: sigmoid(-v) * z.tanh(),
    "identity": lambda y: y,
    "one": lambda y: ONE,
}
#: Nonlinearities as products of a function of each argument.
FACTORS = {"sigmoid_mul": ("sigmoid", "identity"), "sigmoid_tanh": ("sigmoid", "tanh")}


def value_range(op: str, box: list[Interval]) -> Interval:
    if len(box) == 1:
        return VALUES[op](box[0][0]), VALUES[op](box[0][1])
    v = mirrored(box[0]) if op == "cosigmoid_tanh" else box[0]
    return times((sigmoid(v[0]), sigmoid(v[1])), box[1] if op == "sigmoid_mul" else (box[1][0].tanh(), box[1][1].tanh()))


def mirrored(x: Interval) -> Interval:
    return -x[1], -x[0]


def times(x: Interval, y: Interval) -> Interval:
    ends = [p * q for p in x for q in y]
    return -largest(-e for e in ends), largest(ends)


def top_of_tanh(k: arb, a: arb, lo: arb, hi: arb) -> arb:
    """An upper bound of k tanh(x) - a x on [lo, hi]: at an end, or for k > a > 0 where x > 0 and 1 - tanh(x)^2 = a / k."""
    if k < 0:
        return top_of_tanh(-k, -a, -hi, -lo)
    if not k >= 0:
        return (-a * lo).max(-a * hi) + abs(k)
    ends = (k * lo.tanh() - a * lo).max(k * hi.tanh() - a * hi)
    if a <= 0 or a >= k:
        return ends
    if not k > a:  # balls that touch: at most (k - a) x for x > 0, and convex for x < 0
        return ends.max((k - a).abs_upper() * hi.max(ZERO))
    t = (1 - a / k).sqrt()
    x = t.atanh()
    if not x.is_finite():  # so flat that the maximum is far out: tanh <= 1
        return ends if hi <= 0 else ends.max(k - a * lo.max(ZERO))
    return ends if x < lo or x > hi else ends.max(k * t - a * x)


def ridge_is_below(a: arb, b: arb, v: Interval, z: Interval, top: arb) -> bool:
    """Whether sigma(v) tanh(z) - a v - b z <= top at its maxima inside the box, by bisection of v.

    There tanh(z)^2 = 1 - b / sigma(v) with z > 0, and v > 0, for the Hessian to be negative. On that curve the derivative by v is
    sigma (1 - sigma) tanh(z) - a (the other partial derivative is zero): a mean-value bound on every cell.
    """
    least, most, cells = z[0].max(ZERO).tanh() ** 2, z[1].tanh() ** 2, [(v[0].max(ZERO), v[1], 0)]
    while cells and a > 0 and b > 0 and z[1] > 0 and v[1] > 0:
        lo, hi, depth = cells.pop()
        middle, s, at = (lo + hi) / 2, sigmoid(lo.union(hi)), sigmoid((lo + hi) / 2)
        square, here = 1 - b / s, 1 - b / at
        if square < least or square > most:
            continue
        bound = (s - b).upper().max(ZERO) * z[1] - a * lo  # tanh(z) <= z
        if square > 0 and here > 0:
            t, slope = here.sqrt(), s * (1 - s) * square.sqrt() - a
            bound = at * t - a * middle - b * t.atanh() + (slope * (hi - lo) / 2).abs_upper()
        if not bound <= top:
            if depth > 60:
                return False
            cells += [(lo, middle, depth + 1), (middle, hi, depth + 1)]
    return True


def is_below(op: str, box: list[Interval], slopes: Vector, top: arb, sign: int) -> bool:
    """Whether sign (f(y) - slopes . y) <= top on the box."""
    v, z, a, b = box[0], box[-1], slopes[0], slopes[-1]
    if op == "relu":  # a kink: the extremes are at it and at the ends
        return bool(largest(sign * (y.max(ZERO) - a * y) for y in (v if v[0] > 0 or v[1] < 0 else (*v, ZERO))) <= top)
    if op in ("tanh", "sigmoid"):  # sigma(y) = 1/2 + 1/2 tanh(y / 2)
        half = HALF if op == "sigmoid" else ONE
        return bool(half * top_of_tanh(ONE, a / half**2, *(half * x for x in (v if sign > 0 else mirrored(v)))) + sign * (1 - half) <= top)
    if op == "cosigmoid_tanh":
        return is_below("sigmoid_tanh", [mirrored(v), z], [-a, b], top, sign)
    if sign < 0:  # odd in z
        return is_below(op, [v, mirrored(z)], [-a, b], top, 1)
    ends = [(y, y if op == "sigmoid_mul" else y.tanh()) for y in z]
    edges = [top_of_tanh(k / 2, 2 * a, v[0] / 2, v[1] / 2) + k / 2 - b * y for y, k in ends]
    if op == "sigmoid_tanh":
        edges += [top_of_tanh(sigmoid(x), b, *z) - a * x for x in v]
    return bool(largest(edges) <= top) and (op == "sigmoid_mul" or ridge_is_below(a, b, v, z, top))


def second(op: str, lo: arb, hi: arb) -> Interval:
    """The range of a factor's second derivative, kinks aside. tanh'' = -2 t (1 - t^2) turns where t^2 = 1/3; sigma(y) = 1/2 + 1/2 tanh(y / 2)."""
    if op == "sigmoid":
        low, high = second("tanh", lo / 2, hi / 2)
        return low / 8, high / 8
    if op != "tanh":
        return ZERO, ZERO
    t, turn = (lo.tanh(), hi.tanh()), (ONE / 3).sqrt()
    bends = [-2 * x.tanh() / x.cosh() ** 2 for x in (lo, hi)]  # 1 - t^2 without cancellation
    bends += [-2 * x * (1 - x * x) for x in (-turn, turn) if not (x < t[0] or x > t[1])]
    return -largest(-x for x in bends), largest(bends)


def is_under(op: str, box: list[Interval], centre: Vector, stated: Vector, sign: int) -> bool:
    """Whether sign (f(y) - slopes . y - offset - 1/2 (y - centre)' K (y - centre)) <= 0 on the box. stated: slopes, offset, K_vv, K_vz, K_zz.

    On a cell of a grid, along one argument after the other, a function is at most its larger end plus width^2 / 8 times its largest -f''.
    """
    if op == "cosigmoid_tanh":
        a, b, offset, vv, vz, zz = stated
        return is_under("sigmoid_tanh", [mirrored(box[0]), box[1]], [-centre[0], centre[1]], [-a, b, offset, vv, -vz, zz], sign)
    if len(box) == 1:  # times one, of an argument that does not move
        factors, ends, (a, offset, vv), (b, vz, zz) = (op, "one"), [*box, (ZERO, ZERO)], stated, (ZERO, ZERO, ZERO)
    else:
        factors, ends, (a, b, offset, vv, vz, zz) = FACTORS[op], box, stated
    axes: list[Vector] = []
    for kind, (lo, hi), cells in zip(factors, ends, (CELLS[len(box)], CELLS[2] if len(box) == 2 else 1), strict=True):
        y = [lo + (hi - lo) * k / cells for k in range(cells)] + [hi]
        axes.append(sorted([*y, ZERO], key=float) if kind == "relu" and lo < 0 and hi > 0 else y)
    p, q = ([VALUES[kind](v) for v in y] for kind, y in zip(factors, axes, strict=True))
    dv, dz = ([v - c for v in y] for y, c in zip(axes, [*centre, ZERO], strict=False))
    left = [[sign * x, -sign * (a * v + offset + vv * d * d / 2), -ONE, -sign * vz * d] for x, v, d in zip(p, axes[0], dv, strict=True)]
    right = [q, [ONE] * len(q), [sign * (b * z + zz * d * d / 2) for z, d in zip(axes[1], dz, strict=True)], dz]
    gap = (Balls.around_rows(left) @ Balls.around_rows(right)).most()
    (at_v, bend_v, wide_v), (at_z, bend_z, wide_z) = (
        (
            Balls.around_rows([x[:-1], x[1:]]),
            Balls.around_rows(list(zip(*(second(kind, *cell) for cell in pairwise(y)), strict=True))),
            Balls.around_rows([[(hi - lo) * (hi - lo) / 8 for lo, hi in pairwise(y)]]),
        )
        for kind, x, y in zip(factors, (p, q), axes, strict=True)
    )
    over_v = (Balls.around([sign * vv]) - least(bend_v, at_z, sign)).positive() * wide_v.mT
    over_z = (Balls.around([sign * zz]) - least(at_v, bend_z, sign)).positive() * wide_z
    high = np.maximum(np.maximum(gap[1:, 1:], gap[:-1, :-1]), np.maximum(gap[1:, :-1], gap[:-1, 1:]))
    return bool(((Balls.exactly(high) + over_v + over_z).most() <= 0).all())


def least(x: Balls, y: Balls, sign: int) -> Balls:
    """Lower bounds of sign x y between ends, low and high ones, of x down and of y across."""
    products = [a[:, None] * b if sign > 0 else -(a[:, None] * b) for a in x for b in y]
    return Balls.exactly(-np.max([(-ab).most() for ab in products], 0))


def cushion(k: arb_mat, residual: Vector, steps: Vector) -> tuple[arb_mat, arb]:
    """w and c with 1/2 d' k d <= 1/2 u' w u + c, where d = u + r and |r| <= residual.

    d' k d <= u' k u + 2 sum_i |(k u)_i| R_i + r' k r, and 2 |x| R <= tau x^2 + R^2 / tau for any tau > 0.
    """
    typical = [arb(max(1e-30, 0.45 * float(norm2(map(operator.mul, row, steps))))) for row in k.table()]
    constant = total(r * (t + k[i, i].max(ZERO) * r) / 2 for i, (r, t) in enumerate(zip(residual, typical, strict=True)))
    if len(residual) == 2:
        constant += abs(k[0, 1]) * residual[0] * residual[1]
    return k + k * diagonal(list(map(operator.truediv, residual, typical))) * k, constant


# -- the set ----------------------------------------------------------------------------------------------------------


@dataclass
class Region:
    """delta = offset + z: |delta_k|_p <= radius_k on the frames that move (so many at once), low <= direction . delta <= high, x + delta in the clip.

    Quadratic forms see z as slots, a frame each, or where there is a chart (basis, scale) each slot as basis' (scale z).
    """

    x: Array
    radii: dict[int, arb]
    norm: Fraction | None
    at_most: int
    clip: tuple[arb, arb] | None
    chart: tuple[Array, Array] | None
    direction: Array | None
    offset: Array
    ends: tuple[float, float]

    def __post_init__(self) -> None:
        self.frames = sorted(self.radii)
        self.width, self.reach = self.x.shape[1], self.radii  # of a slot, and of its balls
        round_ = self.norm is not None and self.norm <= 2
        self.joint = self.clip is None and self.at_most >= len(self.frames) and (self.norm in (1, 2) or (self.norm is None and self.chart is None))
        self.rooms: dict[int, Room] = {}
        if self.chart is not None:
            basis, scale = Balls.exactly(self.chart[0]), vector(self.chart[1])
            self.width = basis.mid.shape[1]
            self.into, self.see = (Balls.around(v)[:, None] * basis for v in (scale, [1 / v for v in scale]))
            gram = abs(basis.mT @ basis) @ Balls.exactly(np.ones(self.width))  # |basis' y|^2 <= (largest row sum of basis' basis) |y|^2
            stretch = largest(gram.arbs()) * (largest(v * v for v in scale) if round_ else dot(scale, scale))
            self.reach = {k: r * stretch.sqrt() for k, r in self.radii.items()}
        self.group = self.width if round_ or self.chart is not None else 1
        self.most = MOST_VERTICES if self.norm == 1 else MOST_COORDINATES

    def gain(self, k: int, a: Vector) -> arb:
        """max of a . delta_k. In a clip |delta_i| <= bound_i, and for every split |a| = b + c it is at most radius |b|_q + c . bound."""
        r = self.radii[k]
        if self.clip is None:
            return r * self.dual(a)
        ways = ((c, self.clip[1] - v, v - self.clip[0]) for c, v in zip(a, vector(self.x[k]), strict=True))
        bound = [(up if c > 0 else down if c < 0 else up.max(down)).min(r) for c, up, down in ways]
        size = list(map(abs, a))
        most = dot(size, bound)
        if self.norm is None:
            return most
        b = [s.min(arb(v)) for s, v in zip(size, self.guess(np.array(size, float), np.array(bound, float), float(r)), strict=True)]
        return most.min(r * self.dual(size)).min(r * self.dual(b) + dot(map(operator.sub, size, b), bound))

    def dual(self, a: Vector) -> arb:
        """The norm that is dual to the balls'."""
        if self.norm is None or self.norm == 1:
            return total(map(abs, a)) if self.norm is None else largest(map(abs, a))
        q = exact(self.norm / (self.norm - 1))
        return norm2(a) if self.norm == 2 else total(c.abs_upper() ** q for c in a if not c.is_zero()) ** (1 / q)

    def guess(self, size: Array, bound: Array, r: float) -> Array:
        """A good b for `gain`, any b >= 0 being sound: the gradient by d of lam |d|_p where size . d is largest, lam the multiplier of |d|_p <= r.

        d_i is bound_i where size_i exceeds lam (bound_i / r)^(p - 1), else size_i is that of d_i: of the coordinates in the order in which lam
        lets go of their bounds, as many are at theirs as leave the others a norm.
        """
        p, share = float(self.norm or 1), bound / r
        with np.errstate(all="ignore"):
            weight = (share > 0).astype(float) if p == 1 else share ** (p - 1)
            turn = np.where(weight > 0, size / weight, np.inf)
            order = np.argsort(-turn)
            capped = np.cumsum(share[order] ** p)
            if p == 1:
                lam = turn[order][(capped >= 1).argmax()] if capped[-1] >= 1 else 0.0
            else:
                free = np.logaddexp.accumulate((np.log(size[order]) * (p / (p - 1)))[::-1])[::-1]  # powers may leave the range of numbers
                lams = np.exp((free - np.log(np.maximum(1 - capped + share[order] ** p, 1e-300))) * (1 - 1 / p))
                right = lams >= turn[order]
                lam = lams[right.argmax()] if right.any() else 0.0
            return np.minimum(size, np.nan_to_num(lam * weight, posinf=0.0))

    def support(self, a: dict[int, Vector], lift: float = 0.0) -> arb:
        """max of the sum of a_k . (delta_k - offset_k); lift: what is moved from a onto the direction (any is sound)."""
        here, edge = total(dot(row, vector(self.offset[k])) for k, row in a.items()), ZERO
        if lift and self.direction is not None:
            flat = [ZERO] * self.x.shape[1]
            a = {k: [c - lift * g for c, g in zip(a.get(k, flat), vector(self.direction[k]), strict=True)] for k in self.frames}
            edge = (arb(lift) * self.ends[0]).max(arb(lift) * self.ends[1])
        gains = [self.gain(k, row).upper() for k, row in a.items()]
        return total(sorted(gains, reverse=True)[: self.at_most]) + edge - here if all(map(arb.is_finite, gains)) else NEVER

    def slots(self, inputs: dict[int, Balls], rows: int) -> tuple[Balls, Balls]:
        """Coefficients of the frames as coefficients of z, up to the last frame that is read, and the most that is lost by the chart."""
        parts, lost, shape = [Balls.exactly(np.zeros((rows, 0)))], Balls.exactly(np.zeros(rows)), (rows, self.x.shape[1])
        for k in self.frames[: max(map(self.frames.index, inputs), default=-1) + 1]:
            a = inputs[k] if k in inputs else Balls.exactly(np.zeros(shape))
            if self.chart is not None:
                z, far = a @ self.see, Balls.around([self.radii[k] + abs(v) for v in vector(self.offset[k])])
                a, lost = z, lost + abs(a - z @ self.into.mT) @ far
            parts.append(a)
        return joined(parts, 1), lost

    def room(self, d: int) -> Room:
        """Where the first d coordinates of z are."""
        if d not in self.rooms:
            frames, rest, g, slabs = self.frames[: d // self.width], self.frames[d // self.width :], self.direction, []
            points = [Balls.exactly(self.offset[k]) for k in frames]
            shift = joined([x if self.chart is None else x @ self.into for x in points], 0)
            if g is not None:
                (normal,), lost = self.slots({k: Balls.exactly(g[k][None]) for k in frames}, 1)
                at = total(dot(vector(g[k]), vector(self.offset[k])) for k in frames)
                # Either way, and without the clip: the multipliers were chosen for a slab with this middle.
                beyond = lost.arbs()[0] + total(self.radii[k] * self.dual(vector(g[k])) for k in rest)
                low, high = self.ends[0] - at - beyond, self.ends[1] - at + beyond
                slabs.append((normal, Balls.around([(low + high) / 2]), Balls.around([(high - low) / 2])))
            radii = [self.reach[k] for k in frames for _ in range(self.width // self.group)]
            self.rooms[d] = Room(Balls.around(radii), shift, slabs, norm2(radii) + norm2(shift.arbs()))
        return self.rooms[d]

    def top(self, form: Balls, linear: Balls, multipliers: Array) -> arb:
        """An upper bound of linear . z + 1/2 z' form z, the form symmetric (S-procedure; any multipliers >= 0 are sound).

        With M = diag(lam) + normals' mu normals - form it is at most what the constraints' right sides give plus the largest b . z - 1/2 z' M z.
        For any L and y that is 1/2 |y|^2 - 1/2 |L' z - y|^2 + (b - L y) . z - 1/2 z' (M - L L') z: the last two are paid for by norms.
        """
        room = self.room(len(form))
        radii, shift, groups = room.radii, room.shift, len(room.radii)
        if self.norm == 1:  # z_i H_ij z_j <= |z_i| radius |H_ij| for j in a ball: linear in |z|, so largest at vertices
            pairs = Balls.exactly(abs(form).most().reshape(-1, groups, self.width).max(-1) / 2)
            pulls = (pairs @ radii + abs(linear)).most().reshape(groups, self.width).max(-1)
            return NEVER if self.chart is not None or self.offset.any() else (Balls.exactly(pulls[None]) @ radii).arbs()[0]
        if multipliers.shape != (groups + len(room.slabs),) or (multipliers < 0).any():
            return NEVER
        lam, mu = Balls.exactly(multipliers[:groups]), Balls.exactly(multipliers[groups:, None])
        spread = lam.each(lambda a: a.repeat(self.group))
        m, b = spread.each(np.diag) - form, linear - spread * shift
        right = lam[None] @ (radii * radii) - spread[None] @ (shift * shift)
        for v, (normal, middle, half) in zip(mu, room.slabs, strict=True):
            m, b = m + normal[:, None] * normal * v, b + normal * (middle * v)
            right += (half * half - middle * middle) * v
        try:
            factor = np.linalg.cholesky(m.mid)
            y = Balls.exactly(np.linalg.solve(factor, b.mid))
        except np.linalg.LinAlgError:
            return NEVER
        left = Balls.exactly(factor)
        off = abs(m - left @ left.mT) @ Balls.exactly(np.ones(len(form)))  # a matrix' norm is at most its largest row sum
        (most,), beside = (right + y[None] @ y).arbs(), norm2((b - left @ y).arbs())
        return (most + largest(off.arbs()) * room.reach**2 + 2 * beside * room.reach) / 2


@dataclass(frozen=True)
class Room:
    """|z_g + shift_g| <= radius_g for every group of coordinates, |normal . z - middle| <= half for every slab; |z| <= reach."""

    radii: Balls
    shift: Balls
    slabs: list[tuple[Balls, Balls, Balls]]
    reach: arb


# -- the proof --------------------------------------------------------------------------------------------------------


#: Coefficients on the frames or on nonlinear nodes, a row each.
Coefficients = dict[int, arb_mat]


@dataclass
class Walked:
    """Rows substituted back: constant + inputs . (delta - offset) + what the nonlinear nodes' planes leave out, by their coefficients; a row each."""

    constant: Balls
    inputs: dict[int, Balls]
    nonlinear: dict[int, Balls]


def both_ways(width: int) -> Array:
    """The rows of every unit, and of every unit negated."""
    return np.concatenate([np.eye(width), -np.eye(width)])


def halves(upper: Sequence[Vector], lower: Sequence[Vector]) -> tuple[Plane, Plane]:
    """Halfway between two planes, and half their gap: a y <= a middle + |a| half for both signs of a."""
    pairs = [list(zip(*rows, strict=True)) for rows in zip(upper, lower, strict=True)]
    return [[(u + v) / 2 for u, v in row] for row in pairs], [[(u - v) / 2 for u, v in row] for row in pairs]


@dataclass
class Bent:
    """What parabolas add to their planes: 1/2 z' form z + constant; above for every unit, then, negated, below. Of forms the lower triangle."""

    forms: Balls
    constant: Balls
    size: int


@dataclass
class Motion:
    """What a node's units are: centre + linear . z +- residual where known, else centre +- residual. lost: by the chart; left: of its rows."""

    centre: Vector
    residual: Vector
    linear: Balls
    known: list[bool]
    lost: Vector
    left: dict[int, Balls]


class Proof:
    """One piece of the set. What is stated of a node is used by later nodes at once, and checked on its own (`check`), in any order.

    Between the two, rows of the nodes in `followed` are substituted back by parabolas (`follow`, in any order), and then `bend` makes forms of them.
    """

    def __init__(self, nodes: list[Node], region: Region, arrays: dict[str, Array], rows: Array) -> None:
        self.nodes, self.region, self.arrays, self.rows = nodes, region, arrays, rows
        self.live: list[bool] = []
        self.claimed: set[int] = set()  # the nodes whose boxes are stated
        self.boxes: list[list[Interval]] = []
        #: Planes by node, halfway between upper and lower ones and half their gap: stated, those of the parabolas, constant.
        self.planes: dict[int, tuple[Plane, Plane]] = {}
        self.bases: dict[int, tuple[Plane, Plane]] = {}
        self.ranges: dict[int, tuple[Plane, Plane]] = {}
        self.bent: dict[int, Bent] = {}
        self.parabolas: dict[int, tuple[list[Vector], list[Vector], list[Vector]]] = {}  # a unit each: centre, stated above, below
        self.followed: dict[int, Array] = {}  # rows by node
        self.walked: dict[int, Walked | None] = {}
        self.motions: dict[int, Motion] = {}
        asked, bits = {r[0] for n in nodes for r in n.args}, BITS + BITS_A_FRAME * len(region.x)
        for i, node in enumerate(nodes):
            self.live.append(node.frame in region.radii or any(self.live[r[0]] for r in [*node.args, *(r for r, _ in node.terms)]))
            self.boxes.append([])
            ctx.prec = bits if self.live[i] else STILL_BITS
            if node.frame is not None:
                r = region.radii.get(node.frame, ZERO)
                self.boxes[i] = [(v - r, v + r) for v in vector(region.x[node.frame])]
            elif node.op:
                self.boxes[i] = [value_range(node.op, box) for box in self.arguments(node)]
                self.ranges[i] = halves([[hi for _, hi in self.boxes[i]]], [[lo for lo, _ in self.boxes[i]]])
                if self.live[i] and f"{i}.upper" in arrays:
                    upper, lower = (matrix(self.array(f"{i}.{side}", len(node.args) + 1, node.width)).table() for side in ("upper", "lower"))
                    self.planes[i] = halves(upper, lower)
                if self.live[i] and f"{i}.above" in arrays:
                    above, below = (self.parabola(i, node, side)[: len(node.args) + 1] for side in ("above", "below"))
                    self.bases[i] = halves(matrix(above).table(), matrix(below).table())
            elif not self.live[i]:
                value = self.walk(i, diagonal([ONE] * node.width), self.ranges)
                self.boxes[i] = [(v, v) for v in value[0]] if value else []
            if self.live[i] and i in asked:
                self.claimed.add(i)
                box = self.array(f"{i}.box", 2, node.width)
                self.boxes[i] = list(zip(vector(box[0]), vector(box[1]), strict=True))
                if not node.op:  # a walk from later nodes may end here; one from this node goes on
                    self.ranges[i] = halves([vector(box[1])], [vector(box[0])])
                if f"{i}.motion" in arrays:
                    self.followed[i] = both_ways(node.width)
        ctx.prec = bits
        if self.bases:
            self.followed[len(nodes) - 1] = rows
        self.todo = range(len(nodes) + 1)  # all of them: what a certificate leaves out must not hide what it states

    def array(self, name: str, *shape: int) -> Array:
        if name not in self.arrays or self.arrays[name].shape != shape:
            raise InvalidError(f"array {name!r} of the shape {list(shape)} is missing")
        return self.arrays[name]

    def parabola(self, i: int, node: Node, side: str) -> Array:
        """Stated of each unit: slopes, offset, curvature."""
        arity = len(node.args)
        return self.array(f"{i}.{side}", arity + 1 + arity * (arity + 1) // 2, node.width)

    def arguments(self, node: Node) -> list[list[Interval]]:
        """Per unit, the boxes of its arguments."""
        return [list(c) for c in zip(*(self.boxes[i][start:stop] for i, start, stop in node.args), strict=True)]

    def moved(self, i: int, stated: Array) -> Motion:
        """A node's motion: centre, residual, and whether it is linear but for the residual or anywhere in its box."""
        width, half = stated.shape[1], Balls.exactly(np.array(0.5))
        linear: dict[int, Balls] = {}
        left: dict[int, Balls] = {}
        if stated[2].any():
            walked = self.walked[i]
            if walked is None:
                raise InvalidError(f"{self.nodes[i].name}: parabolas of what its motion follows from are missing")
            for k, a in walked.inputs.items():
                above, below = a[:width] * half, a[width:] * half
                linear[k], left[k] = above - below, above + below
        z, lost = self.region.slots(linear, width)
        known = stated[2] != 0
        return Motion(vector(stated[0]), vector(stated[1]), z.each(lambda a: np.where(known[:, None], a, 0.0)), known.tolist(), lost.arbs(), left)

    def motion(self, ref: Ref) -> tuple[Vector, Vector, Balls]:
        i, part = ref[0], slice(ref[1], ref[2])
        if self.live[i]:
            motion = self.motions[i]
            return motion.centre[part], motion.residual[part], motion.linear[part]
        ends = [lo.union(hi) for lo, hi in self.boxes[i][part]]
        return [v.mid() for v in ends], [v.rad() for v in ends], Balls.exactly(np.zeros((len(ends), 0)))

    def bend(self) -> None:
        """What the nodes do when the input moves, and the forms of what parabolas add to their planes, from what was followed."""
        for i, node in enumerate(self.nodes):
            if i in self.bases:
                self.bend_node(i, node)
            if i in self.followed and i in self.claimed:
                self.motions[i] = self.moved(i, self.array(f"{i}.motion", 3, node.width))

    def bend_node(self, i: int, node: Node) -> None:
        """The forms of one node's parabolas, which are kept for its check."""
        motions = [self.motion(r) for r in node.args]
        size, arity = max(m[2].mid.shape[1] for m in motions), len(motions)
        seen = size if size <= self.region.most else 0
        jacobian, (rows, columns) = joined([widened(m[2], size)[:, None, :seen] for m in motions], 1), np.tril_indices(seen)
        centres, residuals = ([list(c) for c in zip(*(m[k] for m in motions), strict=True)] for k in (0, 1))
        steps = [
            [abs(hi - c).max(abs(c - lo)) for c, (lo, hi) in zip(centre, box, strict=True)]
            for centre, box in zip(centres, self.arguments(node), strict=True)
        ]
        sides, forms, constants = [], [], []
        for name, sign in (("above", 1), ("below", -1)):
            sides.append(list(map(vector, self.parabola(i, node, name).T)))
            bends = [[sign * k for k in row[arity + 1 :]] for row in sides[-1]]
            cushions = [cushion(arb_mat([k] if arity == 1 else [k[:2], k[1:]]), r, t) for k, r, t in zip(bends, residuals, steps, strict=True)]
            weights = Balls.around([v for w, _ in cushions for v in w.entries()], node.width, arity, arity)
            forms.append((jacobian.mT @ (weights @ jacobian))[:, rows, columns])
            constants.append(Balls.around([c for _, c in cushions]))
        self.parabolas[i] = centres, sides[0], sides[1]
        self.bent[i] = Bent(joined(forms, 0), joined(constants, 0), size)

    def follow(self, i: int) -> Walked | None:
        """Rows of node i substituted back by parabolas, where all are known."""
        found = self.walk(i, matrix(self.followed[i]), self.bases)
        if found is None:
            return None
        inputs, nonlinear = ({k: Balls.around(a.entries(), a.nrows(), a.ncols()) for k, a in part.items()} for part in found[1:])
        return Walked(Balls.around(found[0]), inputs, nonlinear)

    def walk(self, top: int, rows: arb_mat, planes: dict[int, tuple[Plane, Plane]]) -> tuple[Vector, Coefficients, Coefficients] | None:
        """Substitute rows @ value(top) back to the inputs, through upper planes where a coefficient is positive, else through lower ones.

        Constants, coefficients on the frames, on nonlinear nodes; None where a plane is missing.
        """
        pending: dict[int, dict[tuple[int, int], arb_mat]] = {top: {(0, rows.ncols()): rows}}
        constant = arb_mat(rows.nrows(), 1)
        inputs: Coefficients = {}
        nonlinear: Coefficients = {}

        def add(ref: Ref, a: arb_mat) -> None:
            parts, key = pending.setdefault(ref[0], {}), ref[1:]
            parts[key] = parts[key] + a if key in parts else a

        for i in range(top, -1, -1):
            parts, node = pending.pop(i, {}), self.nodes[i]
            if not parts:
                continue
            a = parts.get((0, node.width)) if len(parts) == 1 else None
            if a is None:
                table = [[ZERO] * node.width for _ in range(rows.nrows())]
                for (start, stop), part in parts.items():
                    for row, new in zip(table, part.table(), strict=True):
                        row[start:stop] = map(operator.add, row[start:stop], new)
                a = arb_mat(table)
            if node.frame is not None:
                constant += a * column(
                    [u + v for u, v in zip(vector(self.region.x[node.frame]), vector(self.region.offset[node.frame]), strict=True)]
                )
                if self.live[i]:
                    inputs[node.frame] = a
            elif not self.live[i] and self.boxes[i]:
                constant += a * column([lo.union(hi) for lo, hi in self.boxes[i]])
            elif not node.op and (i == top or i not in planes):
                constant += a * column(node.bias)
                for ref, weight in node.terms:
                    add(ref, a if weight is None else a * weight)
            elif i not in planes:
                return None
            else:
                nonlinear[i] = a
                for part, plane in zip((a, arb_mat(a.nrows(), a.ncols(), list(map(abs, a.entries())))), planes[i], strict=True):
                    constant += part * column(plane[-1])
                    for ref, slope in zip(node.args, plane[:-1], strict=len(plane) > 1):
                        add(ref, part * diagonal(slope))
        return constant.entries(), inputs, nonlinear

    def check(self, i: int) -> None:
        """Raises InvalidError unless all that is stated of node i holds; for a number past the last: unless every margin does."""
        if i == len(self.nodes):
            if self.unproved(i - 1, self.rows, [ZERO] * len(self.rows), operator.lt):
                raise InvalidError("the margin is not proved")
            return
        node = self.nodes[i]
        if i in self.planes:
            bits, ctx.prec = ctx.prec, max(FINE_BITS, ctx.prec)
            for sign, name in ((1, "upper"), (-1, "lower")):
                for u, (box, column) in enumerate(zip(self.arguments(node), self.arrays[f"{i}.{name}"].T, strict=True)):
                    *slopes, offset = vector(column)
                    if not is_below(node.op, box, slopes, sign * offset, sign):
                        raise InvalidError(f"{node.name}, unit {u}: the {name} plane does not hold on its box")
            ctx.prec = bits
        if i in self.parabolas:
            for u, (box, centre, *sides) in enumerate(zip(self.arguments(node), *self.parabolas[i], strict=True)):
                for sign, name, stated in zip((1, -1), ("upper", "lower"), sides, strict=True):
                    if not is_under(node.op, box, centre, stated, sign):
                        raise InvalidError(f"{node.name}, unit {u}: the {name} parabola does not hold on its box")
        if i in self.motions:
            m = self.motions[i]
            for u, (k, c, r, (lo, hi)) in enumerate(zip(m.known, m.centre, m.residual, self.boxes[i], strict=True)):
                if not k and not (c - r <= lo and hi <= c + r):
                    raise InvalidError(f"{node.name}, unit {u}: its motion does not hold its box")
        if i in self.claimed:
            claimed = [hi for _, hi in self.boxes[i]] + [-lo for lo, _ in self.boxes[i]]
            for row in self.unproved(i, both_ways(node.width), claimed, operator.le):
                raise InvalidError(f"{node.name}, unit {row % node.width}: its {'upper' if row < node.width else 'lower'} bound is not proved")

    def unproved(self, i: int, rows: Array, claimed: Vector, proved: Callable[[arb, arb], bool]) -> list[int]:
        """The rows over node i of which nothing proves what is claimed. Checks the node's motion too."""
        left = list(range(len(rows)))
        if self.walked.get(i):
            left = [r for r, v in enumerate(self.bounds(i)) if not proved(v, claimed[r])]
        for planes, lifts in ((self.planes, f"{i}.lifts"), (self.ranges, "")):
            walked = self.walk(i, matrix(rows[left]), planes) if left else None
            if walked is not None:
                values = self.supports({k: a.table() for k, a in walked[1].items()}, walked[0], lifts, left)
                left = [r for r, v in zip(left, values, strict=True) if not proved(v, claimed[r])]
        return left

    def supports(self, inputs: dict[int, list[Vector]], constant: Vector, lifts: str, rows: Sequence[int]) -> Vector:
        """Upper bounds of rows, of those numbers among all for which there are lifts."""
        lift = self.arrays[lifts].ravel()[rows].tolist() if lifts in self.arrays else [0.0] * len(constant)
        return [c + self.region.support({k: a[n] for k, a in inputs.items()}, lift[n]) for n, c in enumerate(constant)]

    def bounds(self, i: int) -> Vector:
        """Upper bounds by parabolas of the rows that were followed from node i. Checks the node's motion too."""
        walked = self.walked[i]
        assert walked is not None
        count, size = len(walked.constant), max((self.bent[j].size for j in walked.nonlinear), default=0)
        signs = {j: joined([a.positive(), (-a).positive()], 1) for j, a in walked.nonlinear.items()}
        start = walked.constant
        for j, a in signs.items():
            start += a @ self.bent[j].constant
        seen = size if size <= self.region.most else 0
        forms = sum_of_products([(a, self.bent[j].forms) for j, a in signs.items()]) if seen else start
        row, column = np.indices((seen, seen))
        places = np.maximum(row, column) * (np.maximum(row, column) + 1) // 2 + np.minimum(row, column)

        def tops(inputs: dict[int, Balls], name: str, rows: Sequence[int]) -> Vector:
            if size and not seen:
                return [NEVER] * len(rows)
            together = self.region.joint and size > 0
            linear, lost = self.region.slots(inputs if together else {}, count)
            beside = {k: a for k, a in inputs.items() if not together or self.region.frames.index(k) >= size // self.region.width}
            plain = self.supports(rows_of(beside), (start + lost).arbs(), f"{i}.{name}_lifts", range(count))
            if not size:
                return [plain[r] for r in rows]
            linear, multipliers = widened(linear[:, :size], size), self.arrays[f"{i}.{name}"]
            return [plain[r] + self.region.top(forms[r][places], linear[r], multipliers[r]) for r in rows]

        if i in self.motions and any(self.motions[i].known):
            motion, width = self.motions[i], count // 2
            rows = [r for r in range(count) if motion.known[r % width]]
            for r, value in zip(rows, tops({k: joined([a, a], 0) for k, a in motion.left.items()}, "rest", rows), strict=True):
                u, sign = r % width, 1 if r < width else -1
                if not value + motion.lost[u] <= sign * motion.centre[u] + motion.residual[u]:
                    raise InvalidError(f"{self.nodes[i].name}, unit {u}: its motion is not proved")
        return tops(walked.inputs, "multipliers", range(count))


# -- the certificate --------------------------------------------------------------------------------------------------


_PROOF: list[Proof] = []  # in a worker process alone: balls of Arb cannot be sent to it, but it inherits them


def _part(part: str, i: int) -> Any:
    with np.errstate(all="ignore"):
        return getattr(_PROOF[0], part)(i)


def of_nodes(proof: Proof, part: str, nodes: Iterable[int], processes: int) -> list[Any]:
    """A proof's method of nodes, in so many processes where they can be forked; raises what one of them raised, or that one died."""
    if processes < 2 or "fork" not in multiprocessing.get_all_start_methods():
        return list(map(getattr(proof, part), nodes))
    with ProcessPoolExecutor(processes, multiprocessing.get_context("fork"), _PROOF.append, (proof,)) as pool:
        return list(pool.map(_part, repeat(part), nodes))


def prove(proof: Proof, processes: int) -> None:
    """Follow the rows that motions and the margin need, make forms of them, and check every node."""
    last_first = sorted(proof.followed, reverse=True)  # what takes longest
    proof.walked.update(zip(last_first, of_nodes(proof, "follow", last_first, processes), strict=True))
    proof.bend()
    of_nodes(proof, "check", reversed(proof.todo), processes)


def check(path: str, networks: dict[str, Network], spec: str | None = None, processes: int = 1) -> str:
    """What the certificate proves, in words; networks by sha256. Raises UnreadableError or InvalidError."""
    ctx.prec = BITS
    arrays, metadata, _ = read(path)
    try:
        text = metadata.get("certificate")
        if text is None:
            raise UnreadableError("it is no certificate that vrun has saved")
        claim = json.loads(text)
        if claim["format"] != FORMAT:
            raise ValueError(f"its format is {claim['format']!r}, not {FORMAT!r}")
        if metadata["digest"] != digest(text, arrays):
            raise InvalidError("its contents do not have the digest that it states")
        with np.errstate(all="ignore"):  # what overflows proves nothing
            return _check(claim, arrays, networks, spec, processes)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, ArithmeticError, MemoryError, BrokenProcessPool) as e:
        raise UnreadableError(f"a part is missing or has the wrong shape ({type(e).__name__}: {e})") from None


def _check(claim: dict[str, Any], arrays: dict[str, Array], networks: dict[str, Network], spec: str | None, processes: int) -> str:
    x, eps, p, said = arrays["input"], rational(claim["eps"]), claim["perturbation"], claim["network"]
    if said["sha256"] not in networks:
        raise InvalidError(f"it is about another network (sha256 {said['sha256']!r}, file {said.get('file')!r})")
    if spec is not None and claim["spec"]["sha256"] != hashlib.sha256(Path(spec).read_bytes()).hexdigest():
        raise InvalidError("it comes from another spec")
    (tensors, metadata), tokens = networks[said["sha256"]], claim["input"]["tokens"]
    if tokens is not None:
        table = tensors[said["embedding"]]
        if any(type(t) is not int or not 0 <= t < len(table) for t in tokens) or not np.array_equal(table[tokens], x):
            raise InvalidError("its input is not the embedding of its tokens")
    if x.ndim != 2 or not x.size or hashlib.sha256(x.astype("<f8").tobytes()).hexdigest() != claim["input"]["sha256"]:
        raise InvalidError("its input does not have the hash that it states")
    norm, weights = None if p["norm"] == "inf" else rational(p["norm"], Fraction(1)), [rational(w) for w in p["weights"]]
    at_most, clip = len(x) if p["at_most"] is None else p["at_most"], None if p["clip"] is None else [rational(c, None) for c in p["clip"]]
    if type(at_most) is not int or at_most < 1 or len(weights) != len(x):
        raise ValueError("its perturbation does not fit its input")
    if clip is not None and not clip[0] <= Fraction(float(x.min())) <= Fraction(float(x.max())) <= clip[1]:
        raise InvalidError("its input is outside its clip")
    nodes, label, against = unroll(tensors, said, len(x)), claim["label"], claim["against"]
    classes = nodes[-1].width
    if not all(type(c) is int and 0 <= c < classes for c in [label, *against]) or label in against or not against:
        raise ValueError("its classes are not those of the network")
    chart = (arrays["chart.basis"], arrays["chart.scale"]) if "chart.basis" in arrays else None
    if chart is not None and not (
        chart[0].ndim == 2 and 1 <= chart[0].shape[1] <= x.shape[1] == len(chart[0]) and chart[1].shape == x.shape[1:] and (chart[1] > 0).all()
    ):
        raise ValueError("its chart does not fit its input")
    limits = None if clip is None else (exact(clip[0]), exact(clip[1]))
    whole = Region(x, {k: exact(w * eps) for k, w in enumerate(weights) if w * eps > 0}, norm, at_most, limits, chart, None, 0 * x, (0.0, 0.0))
    ends, direction = [(0.0, 0.0)] if claim["pieces"] is None else [(float(lo), float(hi)) for lo, hi in claim["pieces"]], None
    if claim["pieces"] is not None:
        direction = arrays["direction"].reshape(x.shape)
        if not covered(replace(whole, chart=None), direction, ends):
            raise InvalidError("its pieces do not cover the balls")
    for j, between in enumerate(ends):
        offset = arrays[f"{j}.offset"].reshape(x.shape) if direction is not None else 0 * x
        if any(offset[k].any() for k in range(len(x)) if k not in whole.radii):
            raise InvalidError("the middle of a piece moves a frame that does not move")
        own = {name.removeprefix(f"{j}."): a for name, a in arrays.items() if name.startswith(f"{j}.")}
        prove(
            Proof(nodes, replace(whole, direction=direction, offset=offset, ends=between), own, np.eye(classes)[against] - np.eye(classes)[label]),
            processes,
        )
    moved = ", ".join(f"{k} ({float(weights[k] * eps):.6g})" for k in whole.radii) + ("" if at_most >= len(whole.radii) else f", {at_most} at once")
    inside = "" if clip is None else f", all numbers in [{float(clip[0]):g}, {float(clip[1]):g}]"
    read_as = ", ".join(
        f"{k} {said[k]}" for k in ("prefix", "embedding", "cell", "layers", "bidirectional", "readout", "head", "head_activations", "initial")
    )
    other = {k: v for k, v in metadata.items() if (k == "readout" and v != said["readout"]) or (k == "activation" and said["cell"] != f"rnn_{v}")}
    differs = f"; NOTE: its metadata says {other}" if other and (said["cell"][:3] == "rnn" or "readout" in other) else ""
    return f"class {label} is not beaten by {against} while frames move by a {p['norm']}-norm of at most: {moved}{inside}; read as {read_as}{differs}"


def covered(whole: Region, direction: Array, ends: list[tuple[float, float]]) -> bool:
    """Whether every point of the balls is between the hyperplanes of some piece."""
    low, high = (whole.support({k: vector(sign * direction[k]) for k in whole.frames}) for sign in (-1, 1))
    reach, met = -low, False
    for start, end in sorted(ends):
        if start <= reach and end >= reach:
            reach, met = reach.max(arb(end)), True
    return met and bool(reach >= high)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `vcheck`; returns the exit code."""
    parser = argparse.ArgumentParser(prog="vcheck", description="Check certificates of robustness in ball arithmetic.")
    parser.add_argument("certificates", nargs="+", metavar="CERT")
    parser.add_argument("--network", action="append", required=True, metavar="FILE", help="the checkpoint that they are about (may be given again)")
    parser.add_argument("--spec", metavar="FILE", help="the spec that they come from: its hash is compared too")
    args = parser.parse_args(argv)
    networks: dict[str, Network] = {}
    worst = 0
    for path, proof in [*((path, False) for path in args.network), *((path, True) for path in args.certificates)]:
        start = time.perf_counter()
        try:
            if not proof:
                tensors, metadata, sha256 = read(path)
                networks[sha256] = tensors, metadata
                continue
            said, code = f"valid: {check(path, networks, args.spec, multiprocessing.cpu_count())}", 0
        except InvalidError as e:
            said, code = f"INVALID: {e}", 1
        except (UnreadableError, OSError) as e:
            said, code = f"cannot be read: {e}", 2
        print(f"{path}: {ascii(said)[1:-1]} ({time.perf_counter() - start:.1f} s)")
        worst = max(worst, code)
    return worst


if __name__ == "__main__":
    sys.exit(main())
