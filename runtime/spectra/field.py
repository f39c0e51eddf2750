"""The numerical range (field of values) {v' A v : |v| = 1} and its radius."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from vlang.runtime.spectra.arrays import Matrix, checked

#: First directions for the radius, and rounds of its level sets.
DIRECTIONS, ROUNDS = 16, 40
#: An eigenvalue so near to the unit circle is on it; the relative gain at which rounds end.
ON, SETTLED = 1e-7, 1e-13


def numerical_range(a: Matrix, directions: int = 180) -> Matrix:
    """Points of its boundary, one a direction: quotients of the rotated Hermitian part's top eigenvectors (Johnson 1978). shape: [K]."""
    a = checked(a)
    found = []
    for angle in np.linspace(0, 2 * np.pi, directions, endpoint=False):
        vector = np.linalg.eigh(_part(a, angle))[1][:, -1]
        found.append(vector.conj() @ a @ vector)
    return np.array(found)


def numerical_radius(a: Matrix) -> float:
    """The largest modulus in the numerical range: the maximum over angles of the rotated Hermitian part's top eigenvalue.

    By level sets (Mengi and Overton 2005): r is an eigenvalue at the angle w exactly where w^2 A - 2 r w + A' is singular on the unit circle.
    """
    a = checked(a)
    best = max(_top(a, angle) for angle in np.linspace(0, 2 * np.pi, DIRECTIONS, endpoint=False))
    for _ in range(ROUNDS):
        crossings = np.sort(_on_level(a, best))
        around = zip(crossings, [*crossings[1:], *(crossings[:1] + 2 * np.pi)], strict=True)
        higher = max([_top(a, (u + v) / 2) for u, v in around], default=best)
        if higher - best <= SETTLED * max(higher, np.finfo(float).tiny):
            break
        best = higher
    return best


def _part(a: Matrix, angle: float) -> Matrix:
    turned: Matrix = np.exp(-1j * angle) * a
    half: Matrix = (turned + turned.conj().T) / 2
    return half


def _top(a: Matrix, angle: float) -> float:
    values: Matrix = np.linalg.eigvalsh(_part(a, angle))
    return float(values[-1])


def _on_level(a: Matrix, r: float) -> Matrix:
    """The angles at which r is an eigenvalue of the rotated Hermitian part."""
    n = len(a)
    eye, zero = np.eye(n), np.zeros((n, n))
    # w = e^-i angle: (w A + A' / w) / 2 - r singular; companion form in (v, w v).
    left = np.block([[zero, eye], [-a.conj().T, 2 * r * eye]])
    right = np.block([[eye, zero], [zero, a]])
    alpha, beta = scipy.linalg.eig(left, right, right=False, homogeneous_eigvals=True)
    on = abs(abs(alpha) - abs(beta)) <= ON * np.maximum(abs(alpha), abs(beta))
    angles: Matrix = -np.angle(alpha[on] * beta[on].conj())
    return angles
