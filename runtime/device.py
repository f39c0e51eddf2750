"""Where to compute, and how much fits there."""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch

from vlang.plan import DataError, EnginePlan, Problem
from vlang.runtime.graph.nodes import Graph, Input

#: Share of the free memory that one batch may take, and a cap that keeps CPU batches in reach of the caches.
SHARE = 0.25
CPU_BATCH_BYTES = 512 * 2**20
#: glibc's mallopt parameters (malloc.h), and the largest threshold it takes.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_KEPT = 32 * 2**20
#: Where the system does not say.
ASSUMED_FREE = 2 * 2**30
#: Tensors of the size of the widest coefficient that live at once.
LIVE_TENSORS = 6


def choose(engine: EnginePlan, asked: str | None) -> torch.device:
    """The device of a query. Raises DataError where it is not there."""
    name = asked or engine.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise DataError(Problem("device", None if asked else engine.span, (name,)))
    return torch.device(name)


def keep_memory() -> None:
    """Let glibc keep freed blocks: handing each large tensor's pages back and faulting them in again takes a third of a run's time."""
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    except (OSError, AttributeError):  # another C library
        pass


def free_memory(device: torch.device) -> int:
    """Bytes that may be used."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(x.split()[1]) * 1024 for x in lines if x.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return ASSUMED_FREE


def batch_rows(graph: Graph, classes: int, device: torch.device) -> int:
    """How many rows of the batch fit in one pass over this graph."""
    widest = max(n.width for n in graph.nodes)
    bounded = max(2 * max(graph.nodes[i].width for i in graph.relaxed_arguments()), classes)
    inputs = sum(n.width for n in graph.nodes if isinstance(n, Input))  # their coefficients are kept to the end of the walk
    per_row = bounded * (LIVE_TENSORS * widest + 2 * inputs) * 8
    return max(1, batch_bytes(device) // per_row)


def batch_bytes(device: torch.device) -> int:
    """How much memory one batch may take."""
    allowed = int(free_memory(device) * SHARE)
    return min(allowed, CPU_BATCH_BYTES) if device.type == "cpu" else allowed


def out_of_memory(error: Exception) -> bool:
    """Whether an allocation failed, as torch says it on its devices."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error) or "not enough memory" in str(error)
