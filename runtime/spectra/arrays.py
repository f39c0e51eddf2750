"""The matrices that are asked about, and their Schur form."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg

#: A modulus so near to 1 is 1.
NEARLY_ONE = 1e-12
Matrix = np.ndarray[Any, np.dtype[Any]]


def checked(a: Matrix) -> Matrix:
    """A square matrix of finite numbers, as float64 or complex128. Raises ValueError with what is wrong."""
    if a.ndim != 2 or a.shape[0] != a.shape[1] or not len(a):
        raise ValueError(f"a square matrix is needed, not one of the shape {list(a.shape)}")
    if not np.isfinite(a).all():
        raise ValueError("the matrix holds a NaN or an infinity")
    return a.astype(np.complex128 if np.iscomplexobj(a) else np.float64)


def triangular(a: Matrix) -> Matrix:
    """The complex Schur form's triangle: unitarily similar to a, so of the same singular values after any shift."""
    found: Matrix = scipy.linalg.schur(a.astype(np.complex128), output="complex")[0]
    return found


def scale(a: Matrix) -> float:
    """The power of two next to the largest modulus, 1 for a matrix of zeros: divided by it nothing overflows or vanishes."""
    largest = float(abs(a).max())
    return 2.0 ** max(-1000, min(1000, int(np.frexp(largest)[1]))) if largest > 0 else 1.0


def is_normal(a: Matrix) -> bool:
    """Whether a a* = a* a up to rounding."""
    adjoint = a.conj().T
    return bool(np.linalg.norm(a @ adjoint - adjoint @ a) <= 4 * len(a) * np.finfo(float).eps * np.linalg.norm(a) ** 2)
