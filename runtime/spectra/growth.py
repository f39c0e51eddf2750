"""Transient growth: of a matrix's powers, and of products of Jacobians along a trajectory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from vlang.runtime.spectra.arrays import NEARLY_ONE, Matrix, checked

#: Powers at most.
MOST = 10_000


@dataclass(frozen=True, eq=False)
class Growth:
    """The largest norm and the first power (or step) that has it. final: whether no later power can exceed it. norms: of each, from 0."""

    largest: float
    at: int
    final: bool
    norms: Matrix


def power_growth(a: Matrix, most: int = MOST) -> Growth:
    """The largest |A^k|, k >= 0; infinite where the spectral radius exceeds 1.

    Once some |A^k| <= 1, later powers repeat products of earlier ones and exceed none of them.
    """
    a = checked(a)
    if float(abs(np.linalg.eigvals(a)).max()) > 1 + NEARLY_ONE:
        return Growth(np.inf, most, True, np.array([1.0]))
    norms, power, final = [1.0], np.eye(len(a)), False
    for _ in range(most):
        power = power @ a
        norms.append(float(np.linalg.norm(power, 2)))
        final = norms[-1] <= 1
        if final:
            break
    return _grown(norms, final)


def product_growth(matrices: Iterable[Matrix]) -> Growth:
    """The largest |A_k ... A_1| along the way."""
    norms: list[float] = [1.0]
    product: Matrix | None = None
    for a in matrices:
        product = checked(a) if product is None else a @ product
        norms.append(float(np.linalg.norm(product, 2)))
    return _grown(norms, True)


def _grown(norms: list[float], final: bool) -> Growth:
    at = int(np.argmax(norms))
    return Growth(norms[at], at, final, np.array(norms))
