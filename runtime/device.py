"""Where to compute, and how much fits there."""

from __future__ import annotations

import os

import torch

from vlang.plan import DataError, EnginePlan, Problem
from vlang.runtime.graph import Graph

#: Share of the free memory that one batch may take, and a cap that keeps CPU batches in reach of the caches.
SHARE = 0.25
CPU_BATCH_BYTES = 512 * 2**20
#: Tensors of the size of the widest coefficient that live at once.
LIVE_TENSORS = 6


def choose(engine: EnginePlan, asked: str | None) -> torch.device:
    """The device of a query. Raises DataError where it is not there."""
    name = asked or engine.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise DataError(Problem("device", engine.span, (name,)))
    return torch.device(name)


def free_memory(device: torch.device) -> int:
    """Bytes that may be used."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def batch_rows(graph: Graph, classes: int, device: torch.device) -> int:
    """How many rows of the batch fit in one pass over this graph."""
    widest = max(n.width for n in graph.nodes)
    bounded = max(2 * max(graph.nodes[i].width for i in graph.relaxed_arguments()), classes)
    per_row = LIVE_TENSORS * bounded * widest * 8
    room = int(free_memory(device) * SHARE)
    if device.type == "cpu":
        room = min(room, CPU_BATCH_BYTES)
    return max(1, room // per_row)
