"""A network that has just been read, run on some samples: whether it is the one that was meant."""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch
from torch import Tensor

from vlang.plan import Architecture, DataError, NetworkPlan, Problem
from vlang.runtime.graph.concrete import logits
from vlang.runtime.network.assemble import assemble
from vlang.runtime.network.unroll import Network

#: How far outputs may be from those in the file, of their spread: what float32 leaves of a forward pass, with room.
APART = 1e-4


def as_saved(values: Tensor, a: Architecture) -> Tensor:
    """Outputs as a framework gives them: through the network's last softmax, if it has one. shape: [S, classes]."""
    return torch.softmax(values, 1) if a.layers[-1].word == "softmax" else values


def as_frames(samples: Tensor) -> Tensor:
    """Vectors and pictures as one frame each. shape: [S, n], [S, m, n] or [S, channels, rows, columns] -> [S, m, n]."""
    return samples if samples.dim() == 3 else samples.flatten(1)[:, None]


def outputs(a: Architecture, tensors: Mapping[str, Tensor], samples: Tensor) -> Tensor:
    """In float64. shape: samples [S, m, n], or tokens [S, m] -> [S, classes]."""
    network = assemble(tensors, a, torch.float64, torch.device("cpu"))
    x = as_frames(samples if network.embedding is None else network.embedding[samples])
    return as_saved(logits(network.unroll(x.shape[1]), x.double()), a)


def compare_with_example(network: Network, plan: NetworkPlan, metadata: Mapping[str, str]) -> None:
    """Raises DataError where a file holds an example, and the network gives other outputs than the file says."""
    if "example" not in metadata or plan.normalize is not None:
        return
    try:
        held = json.loads(metadata["example"])
        x, said = (torch.tensor(held[k], dtype=network.dtype, device=network.device) for k in ("inputs", "outputs"))
        x = as_frames(x)
        ours = as_saved(logits(network.unroll(x.shape[1]), x), plan.architecture)
        apart, spread = (ours - said).abs().amax(1), float(said.max() - said.min())
    except (ValueError, KeyError, TypeError, RuntimeError, IndexError, RecursionError) as e:
        raise DataError(Problem("damaged", plan.span, (plan.checkpoint, "example", str(e).split("\n")[0]))) from None
    worst = int(apart.argmax())
    if not float(apart[worst]) <= APART * spread:
        mine, theirs = (str([float(f"{v:.5g}") for v in row[worst].tolist()[:6]]) for row in (ours, said))
        wrong = int((~(apart <= APART * spread)).sum())
        raise DataError(
            Problem("reference_differs", plan.span, (worst, mine, theirs, f"{float(apart[worst]):.3g}", f"{spread:.3g}", wrong, len(x), 0))
        )
