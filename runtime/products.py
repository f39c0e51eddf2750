"""Matrix products of batches whose rows come out as the same bits in any company.

A product of a whole batch with one matrix rounds a row differently in a batch of another size: blocks and kernels depend on the sizes. Here every row
of the batch is a product of its own, of one size (tests/runtime/queries/test_alone.py). Weights that are trained have one product for the batch: a
gradient is a sum over the batch anyway, and one of its own for every row would be written first.
"""

from __future__ import annotations

import torch
from torch import Tensor


def by_row(x: Tensor, weight: Tensor) -> Tensor:
    """weight @ x. shape: [B, n], [o, n] -> [B, o]."""
    if weight.requires_grad:
        return x @ weight.T
    return torch.bmm(x[:, None], weight.T.expand(len(x), -1, -1))[:, 0]


def through(rows: Tensor, matrix: Tensor) -> Tensor:
    """rows @ matrix. shape: [..., R, w], [w, v] -> [..., R, v]."""
    if matrix.requires_grad:
        return rows @ matrix
    flat = rows.reshape(-1, *rows.shape[-2:])
    return torch.bmm(flat, matrix.expand(len(flat), -1, -1)).reshape(*rows.shape[:-1], matrix.shape[1])
