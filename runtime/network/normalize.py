"""A network derived from another: its recurrent matrices scaled to a spectral radius (Sengupta and Friston, arXiv 1804.11313)."""

from __future__ import annotations

from dataclasses import replace

import torch

from vlang.runtime.network.cells import CellWeights
from vlang.runtime.network.layers import Layer, Recurrent
from vlang.runtime.network.unroll import Network

#: A spectral radius below this share of the norm is rounding.
NILPOTENT = 1e-6


def normalized(network: Network, radius: float) -> Network:
    """The network with every recurrent matrix (of gated cells: every gate's) scaled to a spectral radius.

    A matrix whose radius is that of rounding stays as it is.
    """

    def scaled(w: CellWeights) -> CellWeights:
        blocks = torch.split(w.hh, w.hidden)
        found = [float(torch.linalg.eigvals(b).abs().max()) for b in blocks]
        return replace(
            w,
            hh=torch.cat([b * (radius / r) if r > NILPOTENT * float(torch.linalg.matrix_norm(b)) else b for b, r in zip(blocks, found, strict=True)]),
        )

    def of(layer: Layer) -> Layer:
        return replace(layer, stack=tuple(tuple(map(scaled, ways)) for ways in layer.stack)) if isinstance(layer, Recurrent) else layer

    return replace(network, layers=tuple(map(of, network.layers)))
