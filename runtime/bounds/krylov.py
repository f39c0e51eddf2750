"""What a few products with a symmetric matrix A tell of it: g' (A + s I)^-1 g for every shift s at once, and about where its spectrum ends.

Lanczos' process from g: in the basis that it builds A is a small tridiagonal matrix, whose eigenvalues (Ritz values) close in on A's ends, and whose
first components make a Gauss quadrature of g' f(A) g (Golub and Meurant, *Matrices, Moments and Quadrature*, chapters 4 and 6). A tenth of the
time of A's eigenvalues. Nothing here is a bound: it proposes, and what is proposed is proved elsewhere (`multipliers.proved`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vlang.runtime import rounding

#: A direction that is left by less than so many roundings of what it came from is rounding: the space is exhausted.
EXHAUSTED = 64


@dataclass(frozen=True, eq=False)
class Ritz:
    """values: in rising order; weights: of g' f(A) g = sum of weight f(value); doubt: how far A's nearest eigenvalue may be from the lowest value.

    shape: values, weights [..., K], doubt [..., 1].
    """

    values: Tensor
    weights: Tensor
    doubt: Tensor

    def where(self, condition: Tensor, other: Ritz) -> Ritz:
        """These where the condition holds, else the other's. shape: condition [..., 1]."""
        both = zip((self.values, self.weights, self.doubt), (other.values, other.weights, other.doubt), strict=True)
        return Ritz(*(torch.where(condition, a, b) for a, b in both))

    def resolvent(self, shifts: Tensor) -> Tensor:
        """g' (A + s I)^-1 g; infinite where A + s I is not positive definite. shape: [..., S] -> [..., S]."""
        moved = self.values[..., None, :] + shifts[..., None]
        found = (self.weights[..., None, :] / moved).sum(-1)
        return torch.where(moved[..., 0] > 0, found, torch.inf)


def ritz(diagonal: Tensor, less: Tensor, start: Tensor, steps: int) -> Ritz:
    """Of A = diag(diagonal) - less, less symmetric and in any precision, which is the search's. shape: diagonal, start [..., D], less [..., D, D]."""
    count = min(steps, start.shape[-1])
    length = torch.linalg.vector_norm(start, dim=-1, keepdim=True)
    q = (start / length.clamp(min=rounding.tiny(start))).to(less.dtype)
    own, exhausted = diagonal.to(less.dtype), EXHAUSTED * torch.finfo(less.dtype).eps
    basis = q.new_zeros(*q.shape[:-1], count, q.shape[-1])
    small = start.new_zeros(*start.shape[:-1], count, count)
    for i in range(count):
        basis[..., i, :] = q
        image = own * q - (q[..., None, :] @ less)[..., 0, :]  # a row times a matrix: a matrix times a column is several times slower
        small[..., i, i] = (image * q).sum(-1)
        size = torch.linalg.vector_norm(image, dim=-1)
        met = basis[..., : i + 1, :]
        for _ in range(2):  # once leaves rounding behind that grows from step to step
            image = image - ((image[..., None, :] @ met.mT) @ met)[..., 0, :]
        left = torch.linalg.vector_norm(image, dim=-1)
        left = torch.where(left > exhausted * size, left, 0.0)
        q = torch.where(left[..., None] > 0, image / left.clamp(min=rounding.tiny(left))[..., None], 0.0)
        if i + 1 < count:
            small[..., i, i + 1] = small[..., i + 1, i] = left
    values, vectors = torch.linalg.eigh(small.nan_to_num(0.0, 0.0, 0.0))
    return Ritz(values, vectors[..., 0, :] ** 2 * length**2, (left * vectors[..., -1, 0].abs())[..., None])
