"""Parabolas that hold at the corners of cells and not between them."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from flint import arb

from vlang.vcheck.parabolas import CELLS, cut, is_under
from vlang.vcheck.vectors import ONE


def sigmoid(v: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return 1 / (1 + np.exp(-v))


def phi(y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.vectorize(lambda v: math.erfc(-v / math.sqrt(2)) / 2)(y)  # type: ignore[no-any-return]


def arity_of(op: str) -> int:
    return 2 if "_" in op or op == "product" else 1


def box_of(op: str, rng: np.random.Generator) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Lower and upper ends."""
    lo = rng.normal(size=arity_of(op)) * 2
    lo = np.exp(lo / 2) if op in ("reciprocal", "rsqrt") else lo
    return lo, lo + rng.random(arity_of(op)) * (3 if op == "exp" else 8)


FUNCTIONS: dict[str, Callable[..., np.ndarray[Any, Any]]] = {
    "softplus": lambda y: np.logaddexp(0, y),
    "elu": lambda y: np.where(y > 0, y, np.expm1(np.minimum(y, 0))),
    "selu": lambda y: 1.0507009873554805 * np.where(y > 0, y, 1.6732632423543772 * np.expm1(np.minimum(y, 0))),
    "silu": lambda y: y * sigmoid(y),
    "gelu": lambda y: y * phi(y),
    "hardtanh": lambda y: np.clip(y, -1, 1),
    "hardsigmoid": lambda y: np.clip(y / 6 + 0.5, 0, 1),
    "exp": np.exp,
    "square": np.square,
    "reciprocal": lambda y: 1 / y,
    "rsqrt": lambda y: y**-0.5,
    "product": lambda x, y: x * y,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "relu": lambda y: np.maximum(y, 0),
    "sigmoid_mul": lambda v, z: sigmoid(v) * z,
    "sigmoid_tanh": lambda v, z: sigmoid(v) * np.tanh(z),
    "cosigmoid_tanh": lambda v, z: sigmoid(-v) * np.tanh(z),
}


@pytest.mark.parametrize("op", FUNCTIONS)
def test_a_parabola_that_a_point_contradicts_is_refused(op: str) -> None:
    """Above or below all corners of the cells that the checker looks at, but not between them; and well above or below everywhere."""
    rng = np.random.default_rng(1)
    between = 0
    for _ in range(60):
        arity, (lo, hi) = arity_of(op), box_of(op, rng)
        cells = CELLS[arity]
        axes = [np.linspace(a, b, 8 * cells + 1) for a, b in zip(lo, hi, strict=True)]
        y = np.meshgrid(*axes, indexing="ij")
        centre, slopes, k = lo + (hi - lo) * rng.random(arity), rng.normal(size=arity) / 2, rng.normal(size=(arity, arity)) / 4
        box = [(arb(a), arb(b)) for a, b in zip(lo, hi, strict=True)]
        d, k = [v - c for v, c in zip(y, centre, strict=True)], k + k.T
        rest = FUNCTIONS[op](*y) - sum(a * v for a, v in zip(slopes, y, strict=True))
        rest = rest - sum(k[i, j] * d[i] * d[j] for i in range(arity) for j in range(arity)) / 2
        for sign in (1, -1):
            excess = sign * rest
            corners = excess[(slice(None, None, 8),) * arity].max()
            between += excess.max() > corners + 1e-9
            for offset, holds in ((excess.max() - min(1e-9, (excess.max() - corners) / 2) - 1e-12, False), (excess.max() + 2, True)):
                stated = map(arb, [*slopes, sign * offset, *k[np.triu_indices(arity)]])
                assert is_under(op, box, list(map(arb, centre)), list(stated), sign) == holds
    assert between > 5 or op in ("relu", "hardtanh", "hardsigmoid", "square", "product")


@pytest.mark.parametrize("op", FUNCTIONS)
@pytest.mark.parametrize("width", [0.0, 1e-310, 1e-200])
def test_the_runtimes_parabolas_hold_on_boxes_that_are_almost_points(op: str, width: float) -> None:
    """Where rounding leaves them no room: a kink at its point, say."""
    import torch

    from vlang.runtime.relaxations import RELAXATIONS, Moved, parabolas

    for at in (0.0, 1e-310, -0.5, 40.0):
        arity = arity_of(op)
        if op in ("reciprocal", "rsqrt") and at < 1:
            continue
        lo, hi = (tuple(torch.full((1, 1), v, dtype=torch.float64) for _ in range(arity)) for v in (at, at + width))
        found = parabolas(RELAXATIONS[op], lo, hi, Moved(lo, tuple(0 * v for v in lo), 0 * lo[0]))
        for sign, side in ((1, found.upper), (-1, found.lower)):
            stated = [arb(float(v)) for v in (*side.slopes, side.offset, *side.curvature)]
            assert is_under(op, [(arb(at), arb(at + width))] * arity, [arb(at)] * arity, stated, sign)


def test_no_kink_is_inside_a_cell() -> None:
    """However near a point of the grid, or an end that is known to rounding alone, is to it."""
    for lo, hi in [(-ONE - arb(2) ** -80, ONE), (arb(-3), ONE + arb(2) ** -90), (arb(-1, 1e-20), arb(1, 1e-20)), (arb(-2), arb(2))]:
        points = cut("hardtanh", (lo, hi), 16)
        assert (points[0], points[-1]) == (lo, hi) or points[0].rad() > 0
        for a, b in pairwise(points):
            assert not b < a
            for kink in (-ONE, ONE):
                assert not (a < kink < b)
