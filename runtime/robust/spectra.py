"""How far a recurrent matrix is from one whose powers stay small, differentiable by it (arXiv 1804.11313).

What is penalised is a lower bound of what `spectrum` queries compute: exact where it is attained, which is enough to move away from it.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Radii, beyond the unit circle, and angles at which a Kreiss constant is looked for.
OUTSIDE, ANGLES = (1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0), 48


def norm(a: Tensor) -> Tensor:
    """The spectral norm. shape: [s, s] -> []."""
    found: Tensor = torch.linalg.matrix_norm(a, ord=2)
    return found


def kreiss(a: Tensor) -> Tensor:
    """The largest (|z| - 1) |(z - A)^-1| over points of a few circles: a lower bound of the Kreiss constant. shape: [s, s] -> []."""
    angles = torch.arange(ANGLES, device=a.device) * (torch.pi / (ANGLES - 1))  # of a real matrix the upper half says all
    radii = torch.tensor([1 + x for x in OUTSIDE], device=a.device)
    z = (radii[:, None] * torch.exp(1j * angles)).flatten().to(torch.complex64 if a.dtype == torch.float32 else torch.complex128)
    shifted = z[:, None, None] * torch.eye(len(a), dtype=z.dtype, device=a.device) - a.to(z.dtype)
    smallest: Tensor = torch.linalg.svdvals(shifted)[:, -1]
    found: Tensor = ((z.abs() - 1) / smallest).amax()
    return found
