"""Vectors and matrices of Arb's balls (python-flint): every result holds the exact one."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np
from flint import arb, arb_mat, fmpq

ZERO, ONE, HALF, NEVER, NAN = arb(0), arb(1), arb(0.5), arb("inf"), arb("nan")
Array = np.ndarray[Any, Any]
Vector = list[arb]
Interval = tuple[arb, arb]


def exact(x: Fraction) -> arb:
    return arb(fmpq(x.numerator, x.denominator))


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
