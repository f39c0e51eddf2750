"""How far a pseudospectrum reaches: to the right (abscissa), and from the origin (radius). Not limited by any grid.

Criss-cross (Burke, Lewis and Overton 2003; Mengi and Overton 2005): sigma is a singular value of A - zI on a line or circle exactly where a matrix or
pencil of twice the size has an eigenvalue on the imaginary axis or the unit circle. Alternate between all crossings of a vertical line (a circle) and
the farthest crossing along horizontal lines (rays) through the middles between them.
"""

from __future__ import annotations

import itertools

import numpy as np

from vlang.runtime.spectra.arrays import Matrix, checked
from vlang.runtime.spectra.circle import ON, arcs, unimodular

#: Rounds at most, and the relative gain at which they end.
ROUNDS, SETTLED = 40, 1e-13


def pseudospectral_abscissa(a: Matrix, epsilon: float) -> float:
    """The largest real part in the epsilon-pseudospectrum."""
    a = checked(a)
    values = np.linalg.eigvals(a)
    best = float(values.real.max())
    if epsilon <= 0:
        return best
    heights = [float(v.imag) for v in values[values.real >= best - ON * max(1.0, abs(best))]]
    for _ in range(ROUNDS):
        farthest = max([best, *(_rightmost(a, y, epsilon) for y in heights)])
        done = farthest - best <= SETTLED * max(1.0, abs(farthest))
        best = farthest
        crossings = np.sort(_on_vertical(a, best, epsilon))
        heights = [(y0 + y1) / 2 for y0, y1 in itertools.pairwise(crossings) if _inside(a, best + 0.5j * (y0 + y1), epsilon)]
        if done or not heights:
            break
    return best


def pseudospectral_radius(a: Matrix, epsilon: float) -> float:
    """The largest modulus in the epsilon-pseudospectrum."""
    a = checked(a)
    values = np.linalg.eigvals(a)
    best = float(abs(values).max())
    if epsilon <= 0:
        return best
    angles = [float(np.angle(v)) for v in values[abs(values) >= best * (1 - ON)]]
    for _ in range(ROUNDS):
        farthest = max([best, *(_rightmost(np.exp(-1j * angle) * a, 0.0, epsilon) for angle in angles)])
        done = farthest - best <= SETTLED * max(1.0, farthest)
        best = farthest
        angles = [float(w) for w in arcs(_on_circle(a, best, epsilon)) if _inside(a, best * np.exp(1j * w), epsilon)]
        if done or not angles:
            break
    return best


def _inside(a: Matrix, z: complex, epsilon: float) -> bool:
    return bool(np.linalg.svd(a - z * np.eye(len(a)), compute_uv=False)[-1] < epsilon)


def _on_vertical(a: Matrix, x: float, epsilon: float) -> Matrix:
    """The y at which epsilon is a singular value of A - (x + iy) I: (x - A') v + epsilon u = iy v and -epsilon v + (A - x) u = iy u."""
    eye = np.eye(len(a))
    values = np.linalg.eigvals(np.block([[x * eye - a.conj().T, epsilon * eye], [-epsilon * eye, a - x * eye]]))
    size = np.linalg.norm(a, 2) + abs(x) + epsilon
    on: Matrix = values.imag[abs(values.real) <= ON * size]
    return on


def _rightmost(a: Matrix, y: float, epsilon: float) -> float:
    """The largest x at which epsilon is a singular value of A - (x + iy) I: the vertical line of iA. -infinity where there is none."""
    on = _on_vertical(1j * a, -y, epsilon)
    return float(on.max()) if len(on) else -np.inf


def _on_circle(a: Matrix, r: float, epsilon: float) -> Matrix:
    """The angles w at which epsilon is a singular value of A - r e^iw I: A u - epsilon v = e^iw r u and r v = e^iw (A' v - epsilon u)."""
    n = len(a)
    eye, zero = np.eye(n), np.zeros((n, n))
    left = np.block([[a, -epsilon * eye], [zero, r * eye]])
    right = np.block([[r * eye, zero], [-epsilon * eye, a.conj().T]])
    return unimodular(left, right)
