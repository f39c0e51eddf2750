"""Elementary functions whose values do not depend on where in a tensor a number stands.

torch computes most of a tensor in vectors and what is left at its end one by one, by other code whose last bits differ: which numbers are left
depends on the size of the batch. Rows of whole vectors leave none.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: Numbers of float64 in the widest vector registers.
VECTOR = 8


def _in_vectors(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def apply(x: Tensor) -> Tensor:
        width = x.shape[-1] if x.dim() else 0
        if width % VECTOR == 0:
            return function(x)
        return function(torch.nn.functional.pad(x, (0, -width % VECTOR)))[..., :width]

    return apply


sigmoid: Callable[[Tensor], Tensor] = _in_vectors(torch.sigmoid)
tanh: Callable[[Tensor], Tensor] = _in_vectors(torch.tanh)
log: Callable[[Tensor], Tensor] = _in_vectors(torch.log)
log1p: Callable[[Tensor], Tensor] = _in_vectors(torch.log1p)
cosh: Callable[[Tensor], Tensor] = _in_vectors(torch.cosh)
