"""How far a matrix is from one that cannot be diagonalised: the epsilon at which two components of its pseudospectrum meet.

They meet at a saddle point z of the smallest singular value sigma, with singular vectors u, v; A - sigma u v' then has z as a defective eigenvalue
(Alam and Bora 2005). Saddles are looked for between pairs of eigenvalues, so what is found is attained: an upper bound of the distance.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import scipy.optimize

from vlang.runtime.spectra.arrays import Matrix, checked, is_normal
from vlang.runtime.spectra.resolvent import smallest_singular_values

#: Nearest pairs of eigenvalues looked at, points between each, how many of the lowest are climbed, and how orthogonal u and v are at a saddle.
PAIRS, POINTS, CLIMBED, ORTHOGONAL = 200, 31, 8, 1e-6
#: The relative change at which singular values between eigenvalues are near enough.
ROUGH = 1e-2
#: Singular values so close, relative to themselves, are one.
DOUBLE = 1e-6


@dataclass(frozen=True, eq=False)
class Defective:
    """A defective matrix is at this distance (2-norm), with the eigenvalue z. distance: infinite where none was found (of size 1)."""

    distance: float
    z: complex


def nearest_defective(a: Matrix) -> Defective:
    """The nearest one found."""
    a = checked(a)
    values = np.linalg.eigvals(a)
    if len(a) > 1 and is_normal(a):  # a plane rotation away: half of what two eigenvalues are apart
        gaps = {(i, j): float(abs(values[i] - values[j])) for i, j in itertools.combinations(range(len(a)), 2)}
        i, j = min(gaps, key=gaps.__getitem__)
        return Defective(gaps[i, j] / 2, complex(values[i] + values[j]) / 2)
    pairs = sorted(itertools.combinations(range(len(values)), 2), key=lambda p: abs(values[p[0]] - values[p[1]]))[:PAIRS]
    if not pairs:
        return Defective(np.inf, complex(np.nan))
    ends = np.array([[values[i], values[j]] for i, j in pairs])
    between = ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * np.linspace(0, 1, POINTS + 2)[1:-1]
    heights = smallest_singular_values(a, between.ravel(), ROUGH).reshape(between.shape)
    lowest = np.argsort(heights.max(1))[:CLIMBED]
    found = [_between(a, complex(ends[k, 0]), complex(ends[k, 1]), complex(between[k, heights[k].argmax()])) for k in lowest]
    return min(found, key=lambda d: d.distance)


def _between(a: Matrix, one: complex, other: complex, start: complex) -> Defective:
    """The saddle found from the highest point between two eigenvalues."""
    if abs(one - other) <= 8 * len(a) * np.finfo(float).eps * float(np.linalg.norm(a, 2)):
        left, values, right = np.linalg.svd(a - one * np.eye(len(a)))
        several = bool(values[-2] <= DOUBLE * max(float(np.linalg.norm(a)), np.finfo(float).tiny))  # any direction of the eigenvectors may be taken
        orthogonal = bool(abs(left[:, -1].conj() @ right[-1].conj()) < ORTHOGONAL)
        return Defective(float(values[-1]), one) if several or orthogonal else Defective(np.inf, one)

    def slope(xy: Matrix) -> Matrix:
        """u' v, whose parts are sigma's derivatives."""
        u, _, v = _lowest(a, complex(*xy))
        product = complex(u.conj() @ v)
        return np.array([product.real, product.imag])

    found = scipy.optimize.root(slope, [start.real, start.imag], method="hybr", options={"xtol": 1e-13})
    z = complex(*found.x)
    u, sigma, v = _lowest(a, z)
    return Defective(sigma, z) if abs(u.conj() @ v) < ORTHOGONAL else _ridge(a, one, other)


def _ridge(a: Matrix, one: complex, other: complex) -> Defective:
    """The highest point of the segment, if two singular values meet there and some of their vectors are orthogonal (as for normal matrices)."""
    found = scipy.optimize.minimize_scalar(
        lambda t: -_lowest(a, one + t * (other - one))[1], bounds=(0, 1), method="bounded", options={"xatol": 1e-12}
    )
    z = one + float(found.x) * (other - one)
    u, sigma, v = np.linalg.svd(a - z * np.eye(len(a)))
    if len(a) < 2 or sigma[-2] - sigma[-1] > DOUBLE * max(sigma[-2], np.finfo(float).tiny):
        return Defective(np.inf, z)
    # 0 is in the numerical range of U' V: no rotation makes its Hermitian part negative definite.
    product = u[:, -2:].conj().T @ v[-2:].conj().T
    turned = [np.exp(1j * w) * product for w in np.linspace(0, 2 * np.pi, 64, endpoint=False)]
    inside = all(np.linalg.eigvalsh(p + p.conj().T)[-1] >= -ORTHOGONAL for p in turned)
    return Defective(float(sigma[-1]), z) if inside else Defective(np.inf, z)


def _lowest(a: Matrix, z: complex) -> tuple[Matrix, float, Matrix]:
    u, sigma, v = np.linalg.svd(a - z * np.eye(len(a)))
    return u[:, -1], float(sigma[-1]), v[-1].conj()
