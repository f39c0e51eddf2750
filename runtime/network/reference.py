"""A forward pass beside the framework's own: whether the file was read as the network that was trained."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vlang.plan import DataError, Problem, ReferencePlan
from vlang.runtime.network.load import array


def compare(reference: ReferencePlan, outputs: Tensor, numbers: tuple[int, ...], samples: int) -> None:
    """Raises DataError where outputs [S, classes] of the samples `numbers`, of so many in the file, are not the reference's.

    The reference has a row for every sample of the file, or for every one picked.
    """
    plan, tolerance = reference.array, float(reference.tolerance)
    held = np.atleast_2d(np.asarray(array(plan), dtype=np.float64))
    rows = list(numbers) if len(held) == samples else list(range(len(numbers)))
    if held.shape[1] != outputs.shape[1] or len(held) not in (samples, len(numbers)):
        wanted = f"[{samples}, {outputs.shape[1]}]" + ("" if len(numbers) == samples else f" or [{len(numbers)}, {outputs.shape[1]}]")
        raise DataError(Problem("reference_shape", plan.span, (str(list(plan.shape)), wanted)))
    said = torch.as_tensor(held[rows], device=outputs.device)
    if not bool(torch.isfinite(said).all()):
        raise DataError(Problem("not_finite", plan.span, (plan.path,)))
    apart = (outputs - said).abs().amax(1)
    spread = float(said.max() - said.min())
    worst = int(apart.argmax())
    if float(apart[worst]) > tolerance * spread:
        ours, theirs = (_listed(x[worst]) for x in (outputs, said))
        wrong = int((apart > tolerance * spread).sum())
        softmaxed = bool(((said.sum(1) - 1).abs() < 1e-3).all() and (said >= 0).all())
        details = (numbers[worst], ours, theirs, f"{float(apart[worst]):.3g}", f"{spread:.3g}", wrong, len(numbers), int(softmaxed))
        raise DataError(Problem("reference_differs", plan.span, details))


def _listed(values: Tensor) -> str:
    return "[" + ", ".join(f"{v:.5g}" for v in values.tolist()[:6]) + (", ..." if len(values) > 6 else "") + "]"
