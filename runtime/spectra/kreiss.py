"""The Kreiss constant for powers: the largest (rho(epsilon) - 1) / epsilon over all epsilon, rho the pseudospectral radius.

Kreiss' matrix theorem: K <= max_k |A^k| <= e n K (Spijker 1991). rho(epsilon) - epsilon never falls (a disk around every point of a pseudospectrum
is in a larger one) and rises to the numerical radius w. So with g = rho(epsilon) - epsilon - 1 the quotient is 1 + g / epsilon, on [a, b] at most
1 + max(g(b), 0) / a, and beyond E at most 1 + (w - 1) / E: branch and bound over epsilon, with an end.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from vlang.runtime.spectra.arrays import Matrix, checked
from vlang.runtime.spectra.crisscross import pseudospectral_radius
from vlang.runtime.spectra.eigen import eigen
from vlang.runtime.spectra.field import numerical_radius
from vlang.runtime.spectra.resolvent import smallest_singular_values

#: Evaluations of the pseudospectral radius at most, for matrices up to a size; each takes the cube of it.
MOST, LEAST_EVALUATIONS, SIZE = 250, 8, 64
#: A spectral (numerical) radius so near to 1 is 1.
NEARLY = 1e-12
#: An eigenvalue of so large a condition cannot be told from a defective one.
DEFECTIVE = 1e6
#: The smallest epsilon that is tried where the spectral radius is 1, relative to the norm. Below it the quotient is taken to have reached its limit,
#: if it is so near to it.
LEAST, STEADY = 1e-5, 0.05
#: Points of the unit circle from which the distance to it is guessed.
RING = 720


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
    limit = float(found.conditions[abs(found.values) >= 1 - NEARLY].max(initial=1.0))
    if found.radius > 1 + NEARLY or limit >= DEFECTIVE:
        return Kreiss(np.inf, np.inf, 0.0)
    excess = numerical_radius(a) - 1
    if excess <= NEARLY:
        return Kreiss(1.0, 1.0, np.inf)
    best, where, count = limit, 0.0 if limit > 1 else np.inf, 0

    def g(epsilon: float) -> float:
        nonlocal best, where, count
        count += 1
        found = pseudospectral_radius(a, epsilon) - epsilon - 1
        if 1 + found / epsilon > best:
            best, where = 1 + found / epsilon, epsilon
        return found

    scale = float(np.linalg.norm(a, 2))
    most = max(LEAST_EVALUATIONS, min(MOST, int(MOST * (SIZE / len(a)) ** 2)))
    first = LEAST * scale
    if found.radius < 1 - NEARLY:  # the quotient is negative until the pseudospectrum meets the unit circle
        first = float(smallest_singular_values(a, np.exp(1j * np.linspace(0, 2 * np.pi, RING, endpoint=False))).min())
        while pseudospectral_radius(a, first) > 1 and first > np.finfo(float).tiny:
            first /= 2
    last = max(2 * first, excess / tolerance)  # beyond, the quotient is within tolerance of 1
    # Largest bound first. An interval's bound rests on g at its right end.
    queue = [(-(1 + max(g(last), 0.0) / first), first, last, max(g(last), 0.0))]
    while queue and -queue[0][0] > best * (1 + tolerance) and count < most:
        _, low, high, top = heapq.heappop(queue)
        middle = (low * high) ** 0.5
        at_middle = max(g(middle), 0.0)
        for start, end, height in ((low, middle, at_middle), (middle, high, top)):
            heapq.heappush(queue, (-(1 + height / start), start, end, height))
    upper = max([best, 1 + excess / last, *(-bound for bound, *_ in queue)])
    if found.radius >= 1 - NEARLY and abs(1 + g(first) / first - limit) > STEADY * limit:
        upper = np.inf  # what lies between the limit and the smallest epsilon is not known
    return Kreiss(best, upper, where)
