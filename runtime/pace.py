"""How fast this machine is at what bounds are made of: measured in a third of a second, so that a plan can say seconds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import torch

from vlang.cost import Pace

#: Rows, and the sides of their matrices: what a pass over a small network multiplies.
ROWS, SIDE = 64, 128
#: Seconds of each measurement.
LASTS = 0.15


def measured(device: str = "cpu") -> Pace:
    """FLOP a second of batched float64 products, and seconds of one small operation."""
    a = torch.ones(ROWS, SIDE, SIDE, dtype=torch.float64, device=device)
    small = torch.zeros(8, 8, dtype=torch.float64, device=device)
    return Pace(2 * ROWS * SIDE**3 / _seconds(lambda: torch.bmm(a, a), device), _seconds(lambda: small + 1, device))


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
