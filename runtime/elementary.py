"""Elementary functions whose values do not depend on where in a tensor a number stands.

torch computes most of a tensor in steps of two vectors and what is left at its end one by one, by other code whose last bits differ: which
numbers are left depends on the size of the batch. Rows of whole steps leave none, but where several threads share a tensor of more than 32768
numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: Bytes of a step of torch's loops: two of the widest vector registers at a time (`vectorized_loop`, ATen/native/cpu/Loops.h).
STEP = 2 * 64


def _in_vectors(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def apply(x: Tensor) -> Tensor:
        width = x.shape[-1] if x.dim() else 0
        missing = -width % (STEP // x.element_size())
        return function(torch.nn.functional.pad(x, (0, missing)))[..., :width] if missing else function(x)

    return apply


sigmoid: Callable[[Tensor], Tensor] = _in_vectors(torch.sigmoid)
tanh: Callable[[Tensor], Tensor] = _in_vectors(torch.tanh)
log: Callable[[Tensor], Tensor] = _in_vectors(torch.log)
log1p: Callable[[Tensor], Tensor] = _in_vectors(torch.log1p)
cosh: Callable[[Tensor], Tensor] = _in_vectors(torch.cosh)
exp: Callable[[Tensor], Tensor] = _in_vectors(torch.exp)
expm1: Callable[[Tensor], Tensor] = _in_vectors(torch.expm1)
erfc: Callable[[Tensor], Tensor] = _in_vectors(torch.special.erfc)
