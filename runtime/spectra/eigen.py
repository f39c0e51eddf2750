"""Eigenvalues, their conditions, and departure from normality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from vlang.runtime.spectra.arrays import Matrix, checked, triangular

#: Steps of the subspace iteration, columns of its basis, and the relative change at which it ends.
STEPS, COLUMNS, SETTLED = 20_000, 4, 1e-12
#: How far a Ritz vector may be from an eigenvector, relative to the matrix.
RESIDUAL = 1e-3


@dataclass(frozen=True, eq=False)
class Eigen:
    """values: in falling modulus. conditions: of each value, 1 / |left . right| with unit eigenvectors; infinite where they are orthogonal.

    vectors: the 2-norm condition of the matrix of unit eigenvectors, 1 for a normal matrix. shape: values, conditions [n].
    """

    values: Matrix
    conditions: Matrix
    vectors: float

    @property
    def radius(self) -> float:
        return float(abs(self.values[0]))


def eigen(a: Matrix) -> Eigen:
    """LAPACK's values and vectors of both sides (Golub and Van Loan, section 7.2.2, for the conditions)."""
    values, left, right = scipy.linalg.eig(checked(a), left=True, right=True)
    cosines = abs((left.conj() * right).sum(0)) / np.linalg.norm(left, axis=0) / np.linalg.norm(right, axis=0)
    order = np.lexsort((values.imag, -values.real, -np.round(abs(values), 12)))
    with np.errstate(divide="ignore"):
        conditions = 1 / cosines
    singular = np.linalg.svd(right, compute_uv=False)
    vectors = float(singular[0] / singular[-1]) if singular[-1] > 0 else np.inf
    return Eigen(values[order], conditions[order], vectors)


def dominant(a: Matrix, seed: int = 0) -> float:
    """The spectral radius by power iteration on a few vectors at once, with Rayleigh quotients (a pair of complex values needs two vectors).

    NaN where they do not settle, as with more values of one modulus than vectors.
    """
    a = checked(a)
    last, settled = np.inf, False
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(a), min(COLUMNS, len(a)))))[0].astype(a.dtype)
    for step in range(STEPS):
        image = a @ basis
        if step % 10 == 0:
            values, vectors = np.linalg.eig(basis.conj().T @ image)
            k = int(abs(values).argmax())
            found, ritz = float(abs(values[k])), basis @ vectors[:, k]
            away = float(np.linalg.norm(image @ vectors[:, k] - values[k] * ritz))
            settled = abs(found - last) <= SETTLED * max(found, np.finfo(float).tiny) and away <= RESIDUAL * float(np.linalg.norm(a))
            if settled:
                break
            last = found
        basis = np.linalg.qr(image)[0]
    return found if settled else np.nan


def departure(a: Matrix) -> float:
    """Henrici's departure from normality in the Frobenius norm: of the Schur form's triangle, what is off the diagonal."""
    return float(np.linalg.norm(np.triu(triangular(checked(a)), 1)))
