"""Tensors to a network, and back."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vlang.plan import Architecture
from vlang.runtime.network.layers import LAYERS
from vlang.runtime.network.unroll import Network


def assemble(tensors: Mapping[str, Tensor], a: Architecture, dtype: torch.dtype, device: torch.device) -> Network:
    """The network of some tensors. Raises KeyError where one is missing."""

    def get(name: str) -> Tensor | None:
        return tensors[name].to(device=device, dtype=dtype) if name in tensors else None

    return Network(
        layers=tuple(LAYERS[x.word].of(x, lambda name, x=x: get(x.in_file(name))) for x in a.layers),  # type: ignore[misc]
        of=tuple(x.of for x in a.layers),
        input_size=a.input_size,
        classes=a.classes,
        flattened=0 if a.input_size else a.flattened,
        embedding=None if a.embedding is None else get(a.embedding),
        dtype=dtype,
        device=device,
    )


def named(network: Network, a: Architecture) -> dict[str, Tensor]:
    """The tensors that `assemble` makes this network of."""
    found = {} if network.embedding is None or a.embedding is None else {a.embedding: network.embedding}
    for plan, layer in zip(a.layers, network.layers, strict=True):
        found |= {plan.in_file(name): x for name, x in layer.tensors().items()}
    return found
