"""The Kreiss constant for powers: the largest (rho(epsilon) - 1) / epsilon over all epsilon, rho the pseudospectral radius.

Kreiss' matrix theorem: K <= max_k |A^k| <= e n K (Spijker 1991). rho(epsilon) - epsilon never falls (a disk around every point of a pseudospectrum
is in a larger one) and rises to the numerical radius w. So with g = rho(epsilon) - epsilon - 1 the quotient is 1 + g / epsilon, on [a, b] at most
1 + max(g(b), 0) / a, and beyond E at most 1 + (w - 1) / E: branch and bound over epsilon, with an end.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vlang.runtime.spectra.arrays import NEARLY_ONE, Matrix, checked
from vlang.runtime.spectra.crisscross import pseudospectral_radius
from vlang.runtime.spectra.eigen import eigen
from vlang.runtime.spectra.field import numerical_radius
from vlang.runtime.spectra.resolvent import smallest_singular_values

#: Evaluations of the pseudospectral radius at most, for matrices up to a size; each takes the cube of it.
MOST, LEAST_EVALUATIONS, SIZE = 250, 8, 64
#: An eigenvalue of so large a condition cannot be told from a defective one.
DEFECTIVE = 1e6
#: The smallest epsilon that is tried where the spectral radius is 1, relative to the norm. Below it the quotient is taken to have reached its limit,
#: if it is so near to it.
LEAST, STEADY = 1e-5, 0.05
#: Points of the unit circle from which the distance to it is guessed, and how often the guess is halved.
RING, HALVINGS = 720, 20


@dataclass(frozen=True)
class Kreiss:
    """lower <= K <= upper, lower attained at epsilon (infinite: in the limit)."""

    lower: float
    upper: float
    epsilon: float


def kreiss(a: Matrix, tolerance: float = 2e-2) -> Kreiss:
    """To a relative tolerance, unless too many evaluations would be needed: then what is known.

    Infinite where the spectral radius exceeds 1, or an eigenvalue of modulus 1 is defective: as epsilon falls to 0 the quotient rises to the largest
    condition of an eigenvalue of modulus 1, and without bound where there is none.
    """
    a = checked(a)
    found = eigen(a)
    limit = float(found.conditions[abs(found.values) >= 1 - NEARLY_ONE].max(initial=1.0))
    if found.radius > 1 + NEARLY_ONE or limit >= DEFECTIVE:
        return Kreiss(np.inf, np.inf, 0.0)
    excess = numerical_radius(a) - 1
    if excess <= NEARLY_ONE:
        return Kreiss(1.0, 1.0, np.inf)
    best, where, count = limit, 0.0 if limit > 1 else np.inf, 0

    def g(epsilon: float) -> float:
        """What counts of it: negative values bound nothing."""
        nonlocal best, where, count
        count += 1
        above = pseudospectral_radius(a, epsilon) - epsilon - 1
        if 1 + above / epsilon > best:
            best, where = 1 + above / epsilon, epsilon
        return max(above, 0.0)

    first, known = _least(a, found.radius, limit, g)
    most = max(LEAST_EVALUATIONS, min(MOST, int(MOST * (SIZE / len(a)) ** 2)))
    last = max(2 * first, excess / tolerance)  # beyond, the quotient is within tolerance of 1
    # Largest bound first. An interval's bound rests on g at its right end.
    top = g(last)
    queue = [(-(1 + top / first), first, last, top)]
    while queue and -queue[0][0] > best * (1 + tolerance) and count < most:
        _, low, high, top = heapq.heappop(queue)
        middle = (low * high) ** 0.5
        for start, end, height in ((low, middle, g(middle)), (middle, high, top)):
            heapq.heappush(queue, (-(1 + height / start), start, end, height))
    upper = max([best, 1 + excess / last, *(-bound for bound, *_ in queue)])
    return Kreiss(best, upper if known else np.inf, where)


def _least(a: Matrix, radius: float, limit: float, g: Callable[[float], float]) -> tuple[float, bool]:
    """The epsilon to begin with, and whether the quotient of every smaller one is known to be at most its limit.

    Below a spectral radius of 1 it is negative until the pseudospectrum meets the unit circle; at 1 it is taken to have reached the limit
    if it is near.
    """
    if radius >= 1 - NEARLY_ONE:
        first = LEAST * float(np.linalg.norm(a, 2))
        return first, abs(1 + g(first) / first - limit) <= STEADY * limit
    first = float(smallest_singular_values(a, np.exp(1j * np.linspace(0, 2 * np.pi, RING, endpoint=False))).min())
    for _ in range(HALVINGS):
        if pseudospectral_radius(a, first) <= 1:
            return first, True
        first /= 2
    return first, False
