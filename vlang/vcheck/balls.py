"""Arrays of balls with midpoints and radii in float64: for quadratic forms, which are many.

numpy's products are trusted to be sums of products, in any order, each operation rounded as IEEE 754 says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flint import arb

from .vectors import NAN, Array, Vector

#: Twice the unit roundoff of float64, and far more than underflow loses in an operation, even where tiny numbers are taken for zero.
ROUND, UNDERFLOW = 2.0**-52, 1e-300


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
