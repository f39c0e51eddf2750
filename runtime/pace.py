"""How fast this machine is at what bounds are made of: measured in half a second, so that a plan can say seconds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import torch

from vlang.cost import FACTORISED, Pace
from vlang.runtime.device import keep_memory

#: Sizes of small networks. Of coefficients: rows of a batch, rows of each, hidden units, and those of all gates; of forms: how many, coordinates.
BATCH, ROWS, HIDDEN, GATES = 32, 64, 64, 256
FORMS, COORDINATES = 8, 128
#: Seconds of each measurement.
LASTS = 0.15


def measured(device: str = "cpu") -> Pace:
    """By small computations of the kinds that a pass is made of, in float64 on all threads."""
    keep_memory()

    def ones(*shape: int) -> torch.Tensor:
        return torch.ones(shape, dtype=torch.float64, device=device)

    coefficients, weights, slopes = ones(BATCH, ROWS, HIDDEN), ones(HIDDEN, GATES), ones(BATCH, 1, GATES)
    form, identity, small = ones(FORMS, COORDINATES, COORDINATES), torch.eye(COORDINATES, dtype=torch.float64, device=device), ones(8, 8)

    def substituted() -> torch.Tensor:
        below = coefficients @ weights
        return below.clamp(min=0) * slopes + below.clamp(max=0) * slopes

    def factorised() -> torch.Tensor:
        factor: torch.Tensor = torch.linalg.cholesky_ex(torch.bmm(form, form) / COORDINATES + identity)[0]
        return factor

    return Pace(
        flop=2 * BATCH * ROWS * HIDDEN * GATES / _seconds(substituted, device),
        forms=(2 + FACTORISED) * FORMS * COORDINATES**3 / _seconds(factorised, device),
        launch=_seconds(lambda: small + 1, device),
    )


def _seconds(step: Callable[[], torch.Tensor], device: str) -> float:
    step()
    _wait(device)
    count, start = 0, time.perf_counter()
    while count == 0 or time.perf_counter() - start < LASTS:
        step()
        count += 1
    _wait(device)
    return (time.perf_counter() - start) / count


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    print(json.dumps(vars(measured())))
