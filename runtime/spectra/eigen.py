"""Eigenvalues, their conditions, and departure from normality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from vlang.runtime.spectra.arrays import Matrix, checked, is_normal, scale, triangular

#: Steps of the subspace iteration, columns of its basis, and the relative change at which it ends.
STEPS, COLUMNS, SETTLED = 20_000, 4, 1e-12
#: How far a Ritz vector may be from an eigenvector, relative to the matrix.
RESIDUAL = 1e-3
#: Values within so many times the rounding of a matrix are one.
EQUAL = 8


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
    """By what fits the matrix: Hermitian and normal ones have orthonormal eigenvectors; of others LAPACK's values and vectors of both sides.

    Values that are equal up to rounding are one of several dimensions, whose condition is the norm of the projector onto them (Golub and Van Loan,
    section 7.2.2, for the simple ones; Kato, II.1). A condition beyond 1 / (n u) cannot be told from infinity.
    """
    a = checked(a)
    factor = scale(a)
    b = a / factor
    if np.array_equal(b, b.conj().T):
        values = np.linalg.eigvalsh(b).astype(complex)
        conditions, vectors = np.ones(len(b)), 1.0
    elif is_normal(b):
        values, conditions, vectors = np.diagonal(triangular(b)).copy(), np.ones(len(b)), 1.0
    else:
        values, conditions, vectors = _general(b)
    order = np.lexsort((values.imag, -values.real, -np.round(abs(values), 12)))
    return Eigen(values[order] * factor, conditions[order], vectors)


def _general(b: Matrix) -> tuple[Matrix, Matrix, float]:
    values, left, right = scipy.linalg.eig(b, left=True, right=True)
    left, right = left / np.linalg.norm(left, axis=0), right / np.linalg.norm(right, axis=0)
    lost = len(b) * np.finfo(float).eps
    conditions = np.empty(len(b))
    for members in _clusters(values, EQUAL * lost * float(np.linalg.norm(b, 2))):
        of_right, of_left = (np.linalg.qr(x[:, members])[0] for x in (right, left))
        smallest = float(np.linalg.svd(of_left.conj().T @ of_right, compute_uv=False)[-1])
        rank = int(np.sum(np.linalg.svd(right[:, members], compute_uv=False) > EQUAL * lost))
        conditions[members] = 1 / smallest if smallest > lost and rank == len(members) else np.inf
        right[:, members] = of_right if rank == len(members) else right[:, members]
    singular = np.linalg.svd(right, compute_uv=False)
    return values, conditions, float(singular[0] / singular[-1]) if singular[-1] > lost * singular[0] else np.inf


def _clusters(values: Matrix, near: float) -> list[list[int]]:
    """Indices of values that are chained by distances of at most `near`."""
    left, found = list(range(len(values))), []
    while left:
        group, rest = [left.pop(0)], left
        for i in group:
            close = [j for j in rest if abs(values[i] - values[j]) <= near]
            group += close
            rest = [j for j in rest if j not in close]
        left = rest
        found.append(group)
    return found


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
