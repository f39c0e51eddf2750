"""vcheck CERTIFICATE... --network FILE: checks proofs of robustness, believing nothing that it can work out itself.

A certificate (rspec-certificate/2, described in runtime/README.md) says: inside these balls around this input, the real-arithmetic network with
exactly these weights never prefers one of these classes to its label. It gives a box for every argument of a nonlinearity, planes, parabolas,
motions and multipliers. This program builds the network's graph from the weights and checks each of them in ball arithmetic (Arb, by python-flint):
planes and parabolas on their boxes, boxes from earlier ones only, quadratic forms by Cholesky factors, the pieces' cover, the margin, the hashes. It
searches for nothing and shares no code with what wrote the file. numpy only reads arrays and guesses factors, which are then verified.

Exit code: 0 every certificate is valid, 1 one is not, 2 one cannot be read.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import operator
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from flint import arb, arb_mat, ctx, fmpq
from safetensors import SafetensorError, safe_open

FORMAT = "rspec-certificate/2"
#: Bits of matrix arithmetic, and of the planes' stationary points, which are ill-conditioned where two of them meet.
BITS, FINE_BITS = 64, 192
#: Bits of values that do not move: their enclosures widen at every step of a long sequence.
STILL_BITS = 512
#: Cells along an argument on which parabolas are bounded, for one argument and for two; any number is sound.
CELLS = {1: 64, 2: 16}
ZERO, ONE, HALF, NEVER = arb(0), arb(1), arb(0.5), arb("inf")
Array = np.ndarray[Any, Any]
Vector = list[arb]
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


def each(f: Callable[[arb], arb], a: arb_mat) -> arb_mat:
    return arb_mat(a.nrows(), a.ncols(), list(map(f, a.entries())))


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
    used = {claim["embedding"]}
    if claim["embedding"] is not None and not re.fullmatch(r"(?i).*emb.*weight", claim["embedding"]):
        raise InvalidError(f"{claim['embedding']!r} is no embedding")

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
    gap = (arb_mat(left) * arb_mat(right)).table()
    cells_v, cells_z = (
        [(x[k : k + 2], second(kind, *y[k : k + 2]), abs(y[k + 1] - y[k]).upper()) for k in range(len(y) - 1)]
        for kind, x, y in zip(factors, (p, q), axes, strict=True)
    )
    for i, (at_v, bend_v, wide_v) in enumerate(cells_v):
        high = list(map(arb.max, gap[i], gap[i + 1]))
        for j, (at_z, bend_z, wide_z) in enumerate(cells_z):
            over_v = (sign * vv - lowest(bend_v, at_z, sign)).max(ZERO) * wide_v * wide_v / 8
            over_z = (sign * zz - lowest(at_v, bend_z, sign)).max(ZERO) * wide_z * wide_z / 8
            if not high[j].max(high[j + 1]) + over_v + over_z <= 0:
                return False
    return True


def lowest(x: Sequence[arb], y: Sequence[arb], sign: int) -> arb:
    """The least of sign x y, between ends each."""
    (a, b), (c, d) = x if sign > 0 else (-x[0], -x[1]), y
    return (a * c).min(a * d).min((b * c).min(b * d))


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
        self.rooms: dict[int, tuple[Vector, Vector, list[tuple[Vector, arb, arb]], list[int]]] = {}
        if self.chart is not None:
            basis, scale = matrix(self.chart[0]), vector(self.chart[1])
            self.width, self.into, self.see = basis.ncols(), diagonal(scale) * basis, diagonal([1 / v for v in scale]) * basis
            gram = (basis.transpose() * basis).table()  # |basis' y|^2 <= (largest row sum of basis' basis) |y|^2
            stretch = largest(total(map(abs, row)) for row in gram) * (largest(v * v for v in scale) if round_ else dot(scale, scale))
            self.reach = {k: r * stretch.sqrt() for k, r in self.radii.items()}
        self.group = self.width if round_ or self.chart is not None else 1

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

    def slots(self, inputs: dict[int, arb_mat], rows: int) -> tuple[list[Vector], Vector]:
        """Coefficients of the frames as coefficients of z, up to the last frame that is read, and the most that is lost by the chart."""
        found: list[Vector] = [[] for _ in range(rows)]
        lost = [ZERO] * rows
        for k in self.frames[: max(map(self.frames.index, inputs), default=-1) + 1]:
            a = inputs.get(k, arb_mat(rows, self.x.shape[1]))
            if self.chart is not None:
                z, far = a * self.see, [self.radii[k] + abs(v) for v in vector(self.offset[k])]
                left = (a - z * self.into.transpose()).table()
                a, lost = z, [old + dot(map(abs, row), far) for old, row in zip(lost, left, strict=True)]
            for row, new in zip(found, a.table(), strict=True):
                row += new
        return found, lost

    def room(self, d: int) -> tuple[Vector, Vector, list[tuple[Vector, arb, arb]], list[int]]:
        """Where the first d coordinates of z are: |z_g + shift_g| <= radius_g, |normal . z - middle| <= half. Last: a packed matrix' places."""
        if d not in self.rooms:
            frames, rest, g, slabs = self.frames[: d // self.width], self.frames[d // self.width :], self.direction, []
            points = [matrix(self.offset[k][None]) for k in frames]
            shift = [v for x in points for v in (x if self.chart is None else x * self.into).entries()]
            if g is not None:
                (normal,), (lost,) = self.slots({k: matrix(g[k][None]) for k in frames}, 1)
                at = total(dot(vector(g[k]), vector(self.offset[k])) for k in frames)
                # Either way, and without the clip: the multipliers were chosen for a slab with this middle.
                beyond = lost + total(self.radii[k] * self.dual(vector(g[k])) for k in rest)
                low, high = self.ends[0] - at - beyond, self.ends[1] - at + beyond
                slabs.append((normal, (low + high) / 2, (high - low) / 2))
            places = [max(i, j) * (max(i, j) + 1) // 2 + min(i, j) for i in range(d) for j in range(d)]
            self.rooms[d] = [self.reach[k] for k in frames for _ in range(self.width // self.group)], shift, slabs, places
        return self.rooms[d]

    def top(self, form: Vector, d: int, linear: Vector, multipliers: Array) -> arb:
        """An upper bound of linear . z + 1/2 z' H z, H given by its packed lower triangle (S-procedure; any multipliers >= 0 are sound).

        With M = diag(lam) + normals' mu normals - H it is at most what the constraints' right sides give plus the largest b . z - 1/2 z' M z. For
        any L and y that is 1/2 |y|^2 - 1/2 |L' z - y|^2 + (b - L y) . z - 1/2 z' (M - L L') z: the last two are paid for by norms.
        """
        radii, shift, slabs, places = self.room(d)
        packed = [form[e] for e in places]
        if self.norm == 1:  # z_i H_ij z_j <= |z_i| radius |H_ij| for j in a ball: linear in |z|, so largest at vertices
            blocks = [slice(g * self.width, (g + 1) * self.width) for g in range(len(radii))]
            rows = ([abs(x) for x in packed[i * d : (i + 1) * d]] for i in range(d))
            pulls = [total(r * largest(row[g]) for r, g in zip(radii, blocks, strict=True)) / 2 + abs(c) for row, c in zip(rows, linear, strict=True)]
            return NEVER if self.chart is not None or self.offset.any() else total(r * largest(pulls[g]) for r, g in zip(radii, blocks, strict=True))
        if multipliers.shape != (len(radii) + len(slabs),) or (multipliers < 0).any():
            return NEVER
        lam_, mu = vector(multipliers[: len(radii)]), vector(multipliers[len(radii) :])
        lam = [v for v in lam_ for _ in range(self.group)]
        m, right = diagonal(lam) - arb_mat(d, d, packed), dot(lam_, [r * r for r in radii]) - dot(lam, [x * x for x in shift])
        b = [c - v * x for c, v, x in zip(linear, lam, shift, strict=True)]
        for v, (normal, middle, half) in zip(mu, slabs, strict=True):
            m, right = m + column(normal) * column(normal).transpose() * v, right + v * (half * half - middle * middle)
            b = [c + v * middle * g for c, g in zip(b, normal, strict=True)]
        try:
            factor = np.linalg.cholesky(np.array(list(map(float, m.entries()))).reshape(d, d))
            y = np.linalg.solve(factor, np.array(list(map(float, b))))
        except np.linalg.LinAlgError:
            return NEVER
        left, guess, reach = matrix(factor), matrix(y[:, None]), norm2(radii) + norm2(shift)
        off = map(float, map(arb.abs_upper, (m - left * left.transpose()).entries()))
        # More than the rounding of the entries and of their sum: of tiny entries, absolutely.
        error = arb(float(np.array(list(off)).reshape(d, d).sum(1).max()) * (1 + 1e-9)) + d * arb(1e-322)
        return (right + dot(guess.entries(), guess.entries()) + error * reach**2 + 2 * norm2((column(b) - left * guess).entries()) * reach) / 2


# -- the proof --------------------------------------------------------------------------------------------------------


@dataclass
class Walked:
    """Rows substituted back: constant + inputs . (delta - offset) + what the nonlinear nodes' planes leave out; a row each.

    nonlinear: coefficients, split into their positive and their negative parts.
    """

    constant: arb_mat
    inputs: dict[int, arb_mat]
    nonlinear: dict[int, tuple[arb_mat, arb_mat]]


def stacked(a: arb_mat) -> arb_mat:
    return arb_mat(2 * a.nrows(), a.ncols(), a.entries() + (-a).entries())


@dataclass
class Bent:
    """What parabolas add to their planes, above and (negated) below: 1/2 z' form z + constant; a packed form of so many coordinates of z a unit."""

    forms: tuple[arb_mat, arb_mat]
    constant: tuple[arb_mat, arb_mat]
    size: int


@dataclass
class Motion:
    """What a node's units are: centre + linear . z +- residual where known, else centre +- residual. lost: by the chart; left: of its rows."""

    centre: Vector
    residual: Vector
    linear: list[Vector]
    known: list[bool]
    lost: Vector
    left: dict[int, arb_mat]


class Proof:
    """One piece of the set. What is stated of a node is used by later nodes at once, and checked on its own (`check`), in any order."""

    def __init__(self, nodes: list[Node], region: Region, arrays: dict[str, Array], rows: Array) -> None:
        self.nodes, self.region, self.arrays, self.rows = nodes, region, arrays, rows
        self.live: list[bool] = []
        self.claimed: set[int] = set()  # the nodes whose boxes are stated
        self.boxes: list[list[Interval]] = []
        #: Upper and lower planes by node: stated, those of the parabolas, constant.
        self.planes: dict[int, tuple[Plane, Plane]] = {}
        self.bases: dict[int, tuple[Plane, Plane]] = {}
        self.ranges: dict[int, tuple[Plane, Plane]] = {}
        self.bent: dict[int, Bent] = {}
        self.parabolas: dict[int, tuple[list[Vector], list[Vector], list[Vector]]] = {}  # a unit each: centre, stated above, below
        self.walked: dict[int, Walked] = {}  # by parabolas
        self.motions: dict[int, Motion] = {}
        asked = {r[0] for n in nodes for r in n.args}
        for i, node in enumerate(nodes):
            self.live.append(node.frame in region.radii or any(self.live[r[0]] for r in [*node.args, *(r for r, _ in node.terms)]))
            self.boxes.append([])
            ctx.prec = BITS if self.live[i] else STILL_BITS
            if node.frame is not None:
                r = region.radii.get(node.frame, ZERO)
                self.boxes[i] = [(v - r, v + r) for v in vector(region.x[node.frame])]
            elif node.op:
                self.boxes[i] = [value_range(node.op, box) for box in self.arguments(node)]
                self.ranges[i] = [[hi for _, hi in self.boxes[i]]], [[lo for lo, _ in self.boxes[i]]]
                if self.live[i] and f"{i}.upper" in arrays:
                    upper, lower = (matrix(self.array(f"{i}.{side}", len(node.args) + 1, node.width)).table() for side in ("upper", "lower"))
                    self.planes[i] = upper, lower
                if self.live[i] and f"{i}.above" in arrays:
                    self.bend(i, node)
            elif not self.live[i]:
                value = self.walk(i, diagonal([ONE] * node.width), self.ranges)
                self.boxes[i] = [(v, v) for v in value.constant.entries()] if value else []
            if self.live[i] and i in asked:
                self.claimed.add(i)
                box = self.array(f"{i}.box", 2, node.width)
                self.boxes[i] = list(zip(vector(box[0]), vector(box[1]), strict=True))
                if not node.op:  # a walk from later nodes may end here; one from this node goes on
                    self.ranges[i] = [vector(box[1])], [vector(box[0])]
                if f"{i}.motion" in arrays:
                    eye = np.eye(node.width)
                    self.follow(i, np.concatenate([eye, -eye]))
                    self.motions[i] = self.moved(i, self.array(f"{i}.motion", 3, node.width))
        ctx.prec = BITS
        if self.parabolas:
            self.follow(len(nodes) - 1, rows)
        self.todo = range(len(nodes) + 1)  # all of them: what a certificate leaves out must not hide what it states

    def array(self, name: str, *shape: int) -> Array:
        if name not in self.arrays or self.arrays[name].shape != shape:
            raise InvalidError(f"array {name!r} of the shape {list(shape)} is missing")
        return self.arrays[name]

    def arguments(self, node: Node) -> list[list[Interval]]:
        """Per unit, the boxes of its arguments."""
        return [list(c) for c in zip(*(self.boxes[i][start:stop] for i, start, stop in node.args), strict=True)]

    def moved(self, i: int, stated: Array) -> Motion:
        """A node's motion: centre, residual, and whether it is linear but for the residual or anywhere in its box."""
        width, half = stated.shape[1], diagonal([HALF] * stated.shape[1])
        linear: dict[int, arb_mat] = {}
        left: dict[int, arb_mat] = {}
        z, lost = [Vector() for _ in range(width)], [ZERO] * width
        if stated[2].any():
            for k, a in self.walked[i].inputs.items():
                rows = a.table()
                above, below = arb_mat(rows[:width]), arb_mat(rows[width:])
                linear[k], left[k] = half * (above - below), half * (above + below)
            z, lost = self.region.slots(linear, width)
        known = [bool(v) for v in stated[2]]
        return Motion(vector(stated[0]), vector(stated[1]), [v if k else [] for v, k in zip(z, known, strict=True)], known, lost, left)

    def motion(self, ref: Ref) -> tuple[Vector, Vector, list[Vector]]:
        i, part = ref[0], slice(ref[1], ref[2])
        if self.live[i]:
            motion = self.motions[i]
            return motion.centre[part], motion.residual[part], motion.linear[part]
        ends = [lo.union(hi) for lo, hi in self.boxes[i][part]]
        return [v.mid() for v in ends], [v.rad() for v in ends], [[] for _ in ends]

    def bend(self, i: int, node: Node) -> None:
        """A nonlinear node's parabolas, and the forms of what they add to their planes."""
        motions = [self.motion(r) for r in node.args]
        size, arity, jacobians, steps = max(len(v) for m in motions for v in m[2]), len(motions), [], []
        centres, residuals = ([list(c) for c in zip(*(m[k] for m in motions), strict=True)] for k in (0, 1))
        for u, box in enumerate(self.arguments(node)):
            steps.append([abs(hi - c).max(abs(c - lo)) for c, (lo, hi) in zip(centres[u], box, strict=True)])
            jacobians.append(arb_mat(arity, size, [v for m in motions for v in [*m[2][u], *[ZERO] * (size - len(m[2][u]))]]))
        packed, sides, forms, constants = [r * size + c for r in range(size) for c in range(r + 1)], [], [], []
        for name, sign in (("above", 1), ("below", -1)):
            stated = matrix(self.array(f"{i}.{name}", arity + 1 + arity * (arity + 1) // 2, node.width)).transpose().table()
            form, constant = [], []
            for row, jacobian, residual, step in zip(stated, jacobians, residuals, steps, strict=True):
                bends = [sign * k for k in row[arity + 1 :]]
                w, c = cushion(arb_mat([bends] if arity == 1 else [bends[:2], bends[1:]]), residual, step)
                entries = (jacobian.transpose() * w * jacobian).entries()
                form += [entries[e] for e in packed]
                constant.append(c)
            sides.append(stated)
            forms.append(arb_mat(node.width, len(packed), form))
            constants.append(column(constant))
        self.parabolas[i] = centres, sides[0], sides[1]
        above, below = ([list(row) for row in zip(*side, strict=True)][: arity + 1] for side in sides)
        self.bases[i], self.bent[i] = (above, below), Bent((forms[0], forms[1]), (constants[0], constants[1]), size)

    def follow(self, i: int, rows: Array) -> None:
        """Substitute rows @ node i back by parabolas, where all are known."""
        walked = self.walk(i, matrix(rows), self.bases)
        if walked is not None:
            self.walked[i] = walked

    def walk(self, top: int, rows: arb_mat, planes: dict[int, tuple[Plane, Plane]]) -> Walked | None:
        """Substitute rows @ value(top) back to the inputs, through the upper plane where a coefficient is positive, else the lower one.

        None where a plane is missing.
        """
        pending: dict[int, dict[tuple[int, int], arb_mat]] = {top: {(0, rows.ncols()): rows}}
        found = Walked(arb_mat(rows.nrows(), 1), {}, {})

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
                found.constant += a * column(
                    [u + v for u, v in zip(vector(self.region.x[node.frame]), vector(self.region.offset[node.frame]), strict=True)]
                )
                if self.live[i]:
                    found.inputs[node.frame] = a
            elif not self.live[i] and self.boxes[i]:
                found.constant += a * column([lo.union(hi) for lo, hi in self.boxes[i]])
            elif not node.op and (i == top or i not in planes):
                found.constant += a * column(node.bias)
                for ref, weight in node.terms:
                    add(ref, a if weight is None else a * weight)
            elif i not in planes:
                return None
            else:
                found.nonlinear[i] = each(ZERO.max, a), each(ZERO.min, a)
                for part, plane in zip(found.nonlinear[i], planes[i], strict=True):
                    found.constant += part * column(plane[-1])
                    for ref, slope in zip(node.args, plane[:-1], strict=len(plane) > 1):
                        add(ref, part * diagonal(slope))
        return found

    def check(self, i: int) -> None:
        """Raises InvalidError unless all that is stated of node i holds; for a number past the last: unless every margin does."""
        if i == len(self.nodes):
            if self.bounded(i - 1, matrix(self.rows), [ZERO] * len(self.rows), False):
                raise InvalidError("the margin is not proved")
            return
        node = self.nodes[i]
        if i in self.planes:
            ctx.prec = FINE_BITS
            for sign, name, plane in zip((1, -1), ("upper", "lower"), self.planes[i], strict=True):
                for u, box in enumerate(self.arguments(node)):
                    if not is_below(node.op, box, [row[u] for row in plane[:-1]], sign * plane[-1][u], sign):
                        raise InvalidError(f"{node.name}, unit {u}: the {name} plane does not hold on its box")
            ctx.prec = BITS
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
            for row in self.bounded(i, stacked(diagonal([ONE] * node.width)), claimed, True):
                raise InvalidError(f"{node.name}, unit {row % node.width}: its {'upper' if row < node.width else 'lower'} bound is not proved")

    def bounded(self, i: int, rows: arb_mat, claimed: Vector, twice: bool) -> list[int]:
        """The rows over node i that are not proved to be at most (a margin: below) what is claimed. Checks the node's motion too."""
        open_ = set(range(len(claimed)))

        def settle(values: Iterable[tuple[int, arb]]) -> None:
            open_.difference_update([r for r, v in values if (v <= claimed[r] if twice else v < 0)])

        for planes, lifts in ((self.planes, f"{i}.lifts"), (self.ranges, "")):
            walked = self.walk(i, rows, planes) if open_ else None
            settle(enumerate(self.supports(walked.inputs, lifts, walked.constant)) if walked else [])
        if i in self.walked and (open_ or i in self.motions):
            self.add_forms(i, open_, settle)
        return sorted(open_)

    def supports(self, inputs: dict[int, arb_mat], lifts: str, constant: arb_mat) -> Vector:
        """Upper bounds of rows."""
        tables, found = {k: a.table() for k, a in inputs.items()}, constant.entries()
        lift = self.array(lifts, len(found), 1)[:, 0].tolist() if lifts in self.arrays else [0.0] * len(found)
        return [c + self.region.support({k: t[r] for k, t in tables.items()}, lift[r]) for r, c in enumerate(found)]

    def add_forms(self, i: int, open_: set[int], settle: Callable[[Iterable[tuple[int, arb]]], None]) -> None:
        """Bounds by parabolas: of the rows that are open, and of what is left of the rows beside a motion."""
        walked = self.walked[i]
        count, size = walked.constant.nrows(), max((self.bent[j].size for j in walked.nonlinear), default=0)
        packed, constant = size * (size + 1) // 2, walked.constant
        left: list[Vector] = [[] for _ in range(count)]
        right: list[Vector] = []
        for j, a in walked.nonlinear.items():
            for x, form, more in zip((a[0], -a[1]), self.bent[j].forms, self.bent[j].constant, strict=True):
                constant = constant + x * more
                for row, new in zip(left, x.table(), strict=True):
                    row += new
                right += [[*row, *[ZERO] * (packed - len(row))] for row in form.table()]
        forms = (arb_mat(left) * arb_mat(right)).table() if size else []

        def tops(inputs: dict[int, arb_mat], name: str, rows: Iterable[int]) -> Iterable[tuple[int, arb]]:
            plain = constant.entries() if size and self.region.joint else self.supports(inputs, f"{i}.{name}_lifts", constant)
            if not size:
                yield from enumerate(plain)
                return
            multipliers = self.arrays[f"{i}.{name}"]
            linear, lost = self.region.slots(inputs, count) if self.region.joint else ([[]] * count, [ZERO] * count)
            beyond = {k: a.table() for k, a in inputs.items() if self.region.frames.index(k) >= size // self.region.width and self.region.joint}
            for r in rows:
                top = self.region.top(forms[r], size, [*linear[r], *[ZERO] * size][:size], multipliers[r])
                yield r, plain[r] + top + lost[r] + self.region.support({k: t[r] for k, t in beyond.items()})

        settle(tops(walked.inputs, "multipliers", sorted(open_)))
        if i not in self.motions or not any(self.motions[i].known):
            return
        motion, width = self.motions[i], count // 2
        left_over = {k: arb_mat(a.table() * 2) for k, a in motion.left.items()}
        for r, value in tops(left_over, "rest", [r for r in range(count) if motion.known[r % width]]):
            u, sign = r % width, 1 if r < width else -1
            if motion.known[u] and not value + motion.lost[u] <= sign * motion.centre[u] + motion.residual[u]:
                raise InvalidError(f"{self.nodes[i].name}, unit {u}: its motion is not proved")


# -- the certificate --------------------------------------------------------------------------------------------------


_PROOF: list[Proof] = []  # in a worker process alone: balls cannot be sent to it, but it inherits them


def _check_node(i: int) -> None:
    _PROOF[0].check(i)


def prove(proof: Proof, processes: int) -> None:
    """Check every node of a proof, the last first, in so many processes where they can be forked."""
    if processes < 2 or "fork" not in multiprocessing.get_all_start_methods():
        for i in proof.todo:
            proof.check(i)
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("fork"), _PROOF.append, (proof,)) as pool:
        list(pool.map(_check_node, reversed(proof.todo)))  # raises what a worker raised, or that one died


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
    if chart is not None and not (1 <= chart[0].shape[1] <= len(chart[0]) == x.shape[1] == chart[1].size and (chart[1] > 0).all()):
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
    read_as = ", ".join(f"{k} {said[k]}" for k in ("cell", "layers", "bidirectional", "readout", "head", "head_activations", "initial"))
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
