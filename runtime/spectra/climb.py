"""A first point far out in a pseudospectrum, by perturbations of rank one (Guglielmi and Overton, SIAM J. Matrix Anal. Appl. 32, 2011).

Of an eigenvalue with right and left eigenvectors x and y, A + epsilon y x' d (|d| = 1) moves it the farthest in the direction d. Its farthest
eigenvalue is in the pseudospectrum, and the same again from there goes on uphill, to a local maximum.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.linalg

from vlang.runtime.spectra.arrays import Matrix

#: Steps at most, and the gain, as a share of epsilon, at which they end: what is left is for those who look at all of the pseudospectrum.
STEPS, SETTLED = 12, 1e-3
#: How far from an eigenvalue a matrix is factored to find its vectors, relative to its norm; and inverse iterations.
ASIDE, ITERATIONS = 1e-9, 2


def climb(a: Matrix, start: complex, epsilon: float, height: Callable[[Matrix], Matrix], direction: Callable[[complex], complex]) -> complex:
    """The highest point met. start: an eigenvalue of a. height: of points; direction: from a point, where it rises the most, of modulus 1."""
    best, b = start, a
    for _ in range(STEPS):
        x, y = _vectors(b, best)
        if not (np.isfinite(x).all() and np.isfinite(y).all()):  # of a defective eigenvalue
            break
        b = a + (epsilon * direction(best)) * np.outer(y, x.conj())
        values = np.linalg.eigvals(b)
        found = complex(values[height(values).argmax()])
        gain = float(height(np.array(found)) - height(np.array(best)))
        if not gain > 0:
            break
        best = found
        if gain <= SETTLED * epsilon:
            break
    return best


def _vectors(b: Matrix, value: complex) -> tuple[Matrix, Matrix]:
    """Right and left eigenvectors of length 1, y' x not negative. shape: [n] each."""
    n = len(b)
    aside = ASIDE * (max(float(np.linalg.norm(b, 2)), abs(value)) or 1.0)
    factor = scipy.linalg.lu_factor(b - (value + aside) * np.eye(n), check_finite=False)
    x = y = np.full(n, n**-0.5) + 0j
    with np.errstate(all="ignore"):  # a defective matrix' inverse overflows
        for _ in range(ITERATIONS):
            x, y = scipy.linalg.lu_solve(factor, x, check_finite=False), scipy.linalg.lu_solve(factor, y, trans=2, check_finite=False)
            x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
        along = np.vdot(y, x)
        return x, y * (along / abs(along) if along else 1.0)
