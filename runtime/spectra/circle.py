"""Angles at which a level is met on a circle, and the arcs between them: what level-set methods go round by."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from vlang.runtime.spectra.arrays import Matrix

#: An eigenvalue so near to the unit circle is on it.
ON = 1e-7


def unimodular(left: Matrix, right: Matrix) -> Matrix:
    """The angles of the pencil's eigenvalues on the unit circle. shape: [K]."""
    alpha, beta = scipy.linalg.eig(left, right, right=False, homogeneous_eigvals=True)
    on = abs(abs(alpha) - abs(beta)) <= ON * np.maximum(abs(alpha), abs(beta))
    angles: Matrix = np.angle(alpha[on] * beta[on].conj())
    return angles


def arcs(angles: Matrix) -> Matrix:
    """The middles of the arcs between neighbouring angles, all the way round. shape: [K] -> [K]."""
    ordered = np.sort(angles)
    middles: Matrix = (ordered + np.append(ordered[1:], ordered[:1] + 2 * np.pi)) / 2
    return middles
