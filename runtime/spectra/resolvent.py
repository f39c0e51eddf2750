"""The smallest singular value of zI - A for many z: where it is below epsilon is the epsilon-pseudospectrum.

One Schur form, then inverse Lanczos on each shifted triangle (Trefethen, *Computation of pseudospectra*, Acta Numerica 1999, section 5). All shifts
go through the triangle together: the blocks off its diagonal are products of matrices that they share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlang.runtime.spectra.arrays import Matrix, checked, triangular

#: Rows of the triangle that are solved one by one, and shifts at once.
BLOCK, AT_ONCE = 32, 512
#: Lanczos steps, and the relative change at which they end; for grids, which are drawn.
STEPS, SETTLED, GRID_SETTLED = 60, 1e-4, 5e-3
#: A grid reaches this share beyond the spectrum and the largest epsilon on every side.
MARGIN = 0.25


@dataclass(frozen=True, eq=False)
class Grid:
    """The smallest singular value of zI - A at x + iy. shape: x [K], y [L], values [L, K]."""

    x: Matrix
    y: Matrix
    values: Matrix


def smallest_singular_values(a: Matrix, z: Matrix, settled: float = SETTLED) -> Matrix:
    """Of zI - A at each z, to a relative change of `settled` between steps; from above. shape: [K]."""
    return _of_triangle(triangular(checked(a)), np.asarray(z, dtype=np.complex128), settled)


def grid(a: Matrix, x: Matrix, y: Matrix) -> Grid:
    """On the points x + iy. For a real matrix points mirror each other in the real axis, and one of each pair is computed."""
    a = checked(a)
    t = triangular(a)
    rows = np.unique(abs(y)) if not np.iscomplexobj(a) else np.asarray(y)
    found = _of_triangle(t, (np.asarray(x)[None] + 1j * rows[:, None]).ravel(), GRID_SETTLED).reshape(len(rows), -1)
    where = np.searchsorted(rows, abs(y)) if not np.iscomplexobj(a) else np.arange(len(y))
    return Grid(np.asarray(x), np.asarray(y), found[where])


def around(values: Matrix, epsilon: float, count: int) -> tuple[Matrix, Matrix]:
    """A square grid's axes around eigenvalues, with room for their epsilon-pseudospectra; even in y."""
    low, high = float(values.real.min()), float(values.real.max())
    half = max(high - low, 2 * float(abs(values.imag).max()), epsilon) / 2
    reach = (half + epsilon) * (1 + MARGIN)
    axis = np.linspace(-reach, reach, count)
    return (low + high) / 2 + axis, axis


def _of_triangle(t: Matrix, z: Matrix, settled: float) -> Matrix:
    found = [_lanczos(t, part, settled) for part in np.array_split(z, max(1, -(-len(z) // AT_ONCE)))]
    return np.concatenate(found)


def _lanczos(t: Matrix, z: Matrix, settled: float) -> Matrix:
    """1 / sqrt of the largest Ritz value of ((zI - T)' (zI - T))^-1, per shift; shifts that have settled are left out. shape: z [K] -> [K].

    Where the inverse overflows, as next to an eigenvalue of a large Jordan block, it is 0.
    """
    n = len(t)
    start = np.random.default_rng(0).standard_normal((n, 2)) @ [1, 1j]
    found = np.full(len(z), np.inf)
    left = np.arange(len(z))
    q = np.repeat((start / np.linalg.norm(start))[:, None], len(z), 1)
    before, beta = np.zeros_like(q), np.zeros(len(z))
    alphas: list[Matrix] = []
    betas: list[Matrix] = []
    for _ in range(min(STEPS, 2 * n + 4)):
        with np.errstate(over="ignore", invalid="ignore"):
            image = _backward(t, z[left], _forward(t, z[left], q)) - beta * before
            alpha = (q.conj() * image).sum(0).real
            image = image - alpha * q
            beta = np.linalg.norm(image, axis=0)
        whole = np.isfinite(alpha) & np.isfinite(beta)
        alphas.append(np.where(whole, alpha, 0.0))
        ritz = _largest_of_tridiagonals(np.array(alphas), np.array(betas))
        sigma = np.where(whole, 1 / np.sqrt(np.maximum(ritz, np.finfo(float).tiny)), 0.0)
        open_ = whole & (abs(found[left] - sigma) > settled * sigma) & (beta > 1e-14 * ritz)
        found[left] = sigma
        if not open_.any():
            break
        betas.append(beta)
        before, q = q[:, open_], image[:, open_] / beta[open_]
        left, beta = left[open_], beta[open_]
        alphas, betas = [x[open_] for x in alphas], [x[open_] for x in betas]
    return found


def _largest_of_tridiagonals(alphas: Matrix, betas: Matrix) -> Matrix:
    """shape: [k, K], [k - 1, K] -> [K]."""
    k = len(alphas)
    full = np.zeros((alphas.shape[1], k, k))
    i = np.arange(k)
    full[:, i, i] = alphas.T
    if k > 1:
        full[:, i[:-1], i[1:]] = full[:, i[1:], i[:-1]] = betas.T
    largest: Matrix = np.linalg.eigvalsh(full)[:, -1]
    return largest


def _pivots(t: Matrix, z: Matrix) -> Matrix:
    """z - T's diagonal; where z is an eigenvalue, the smallest number that does no harm. shape: [n, K]."""
    found = z - t.diagonal()[:, None]
    least = np.finfo(float).eps * max(float(abs(t).max()), 1e-100)
    return np.where(abs(found) < least, least, found)


def _backward(t: Matrix, z: Matrix, b: Matrix) -> Matrix:
    """(z_k I - T) x_k = b_k. shape: b [n, K]."""
    x, pivots = b.copy(), _pivots(t, z)
    for end in range(len(t), 0, -BLOCK):
        start = max(0, end - BLOCK)
        for j in range(end - 1, start - 1, -1):
            x[j] /= pivots[j]
            x[start:j] += t[start:j, j, None] * x[j]
        x[:start] += t[:start, start:end] @ x[start:end]
    return x


def _forward(t: Matrix, z: Matrix, b: Matrix) -> Matrix:
    """(z_k I - T)' x_k = b_k. shape: b [n, K]."""
    x, pivots, adjoint = b.copy(), _pivots(t, z).conj(), t.conj().T
    for start in range(0, len(t), BLOCK):
        end = min(len(t), start + BLOCK)
        for j in range(start, end):
            x[j] /= pivots[j]
            x[j + 1 : end] += adjoint[j + 1 : end, j, None] * x[j]
        x[end:] += adjoint[end:, start:end] @ x[start:end]
    return x
