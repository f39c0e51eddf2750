"""How far a pseudospectrum reaches: to the right (abscissa), and from the origin (radius). Not limited by any grid.

Criss-cross (Burke, Lewis and Overton 2003; Mengi and Overton 2005): sigma is a singular value of A - zI on a line or circle exactly where a matrix or
pencil of twice the size has an eigenvalue on the imaginary axis or the unit circle. Alternate between all crossings of a vertical line (a circle) and
the farthest crossing along horizontal lines (rays) through the middles between them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from vlang.runtime.spectra.arrays import Matrix, checked
from vlang.runtime.spectra.circle import ON, arcs, unimodular
from vlang.runtime.spectra.climb import climb

#: Rounds at most, and the relative gain at which they end.
ROUNDS, SETTLED = 60, 1e-13
#: Rays followed a round, each as dear as a crossing.
RAYS = 3
#: Matrices of so many rows are first climbed (`climb`): a step of it costs an eighth of a crossing.
LARGE = 96


def pseudospectral_abscissa(a: Matrix, epsilon: float) -> float:
    """The largest real part in the epsilon-pseudospectrum."""
    a = checked(a)
    values = np.linalg.eigvals(a)
    best = float(values.real.max())
    if epsilon <= 0:
        return best
    heights = [float(v.imag) for v in values[values.real >= best - ON * max(1.0, abs(best))]]
    if len(a) >= LARGE:
        top = climb(a, complex(values[values.real.argmax()]), epsilon, np.real, lambda z: 1.0 + 0.0j)
        best, heights = max(best, top.real), [top.imag]
    for turn in range(ROUNDS):
        farthest = max([best, *(_rightmost(a, y, epsilon) for y in heights)])
        if turn and farthest - best <= SETTLED * max(1.0, abs(farthest)):
            break
        best = farthest
        crossings = np.sort(_on_vertical(a, best, epsilon))
        middles = [best + 0.5j * (y0 + y1) for y0, y1 in itertools.pairwise(crossings)]
        heights = [z.imag for z in _deepest(a, middles, epsilon)]
        if not heights:
            break
    return max(best, farthest)


def pseudospectral_radius(a: Matrix, epsilon: float) -> float:
    """The largest modulus in the epsilon-pseudospectrum."""
    a = checked(a)
    values = np.linalg.eigvals(a)
    best = float(abs(values).max())
    if epsilon <= 0:
        return best
    angles = [float(np.angle(v)) for v in values[abs(values) >= best * (1 - ON)]]
    if len(a) >= LARGE:
        top = climb(a, complex(values[abs(values).argmax()]), epsilon, np.abs, lambda z: z / abs(z) if z else 1.0 + 0.0j)
        best, angles = max(best, abs(top)), [float(np.angle(top))]
    for turn in range(ROUNDS):
        farthest = max([best, *(_rightmost(np.exp(-1j * angle) * a, 0.0, epsilon) for angle in angles)])
        if turn and farthest - best <= SETTLED * max(1.0, farthest):
            break
        best = farthest
        middles = [best * np.exp(1j * w) for w in arcs(_on_circle(a, best, epsilon)).tolist()]
        angles = [float(np.angle(z)) for z in _deepest(a, middles, epsilon)]
        if not angles:
            break
    return max(best, farthest)


def _deepest(a: Matrix, points: Sequence[complex], epsilon: float) -> list[complex]:
    """Those of the points that are inside the pseudospectrum, the deepest ones alone: others are met again while they are farther out than the best.

    A real matrix' pseudospectrum is symmetric: the upper half will do.
    """
    upper = [z for z in points if a.imag.any() or z.imag >= -ON * abs(z)]  # with what straddles the real axis
    depths = [(float(np.linalg.svd(a - z * np.eye(len(a)), compute_uv=False)[-1]), z) for z in upper]
    inside = sorted((x for x in depths if x[0] < epsilon), key=lambda x: x[0])
    return [z for _, z in inside[:RAYS]]


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
