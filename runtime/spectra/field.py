"""The numerical range (field of values) {v' A v : |v| = 1} and its radius."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from vlang.runtime.spectra.arrays import Matrix, checked
from vlang.runtime.spectra.circle import arcs, unimodular

#: First directions for the radius, rounds of its level sets, and the relative gain at which they end.
DIRECTIONS, ROUNDS, SETTLED = 16, 40, 1e-13


def numerical_range(a: Matrix, directions: int = 180) -> Matrix:
    """Points of its boundary, one a direction: quotients of the rotated Hermitian part's top eigenvectors (Johnson 1978). shape: [K].

    That of a real matrix mirrors itself in the real axis: one half is computed.
    """
    a = checked(a)
    angles = np.linspace(0, 2 * np.pi, directions, endpoint=False)
    mirrored = not np.iscomplexobj(a)
    found = []
    for angle in angles[angles <= np.pi * (1 + 1e-12)] if mirrored else angles:
        vector = scipy.linalg.eigh(_part(a, angle), subset_by_index=[len(a) - 1] * 2)[1][:, 0]
        found.append(vector.conj() @ a @ vector)
    half = np.array(found)
    return np.concatenate([half, half[1 : directions - len(half) + 1][::-1].conj()])


def numerical_radius(a: Matrix) -> float:
    """The largest modulus in the numerical range: the maximum over angles of the rotated Hermitian part's top eigenvalue.

    By level sets (Mengi and Overton 2005): r is an eigenvalue at the angle w exactly where w^2 A - 2 r w + A' is singular on the unit circle.
    """
    a = checked(a)
    best = max(_top(a, angle) for angle in np.linspace(0, 2 * np.pi, DIRECTIONS, endpoint=False))
    for _ in range(ROUNDS):
        higher = max([_top(a, float(w)) for w in arcs(_on_level(a, best))], default=best)
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
    return -unimodular(left, right)
