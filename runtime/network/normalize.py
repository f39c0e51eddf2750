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
        blocks, seen = (torch.split(x, w.hidden) for x in (w.hh, w.recurrent))
        found = [float(torch.linalg.eigvals(x).abs().max()) for x in seen]
        proper = [r > NILPOTENT * float(torch.linalg.matrix_norm(x)) for r, x in zip(found, seen, strict=True)]
        return replace(w, hh=torch.cat([b * (radius / r) if scale else b for b, r, scale in zip(blocks, found, proper, strict=True)]))

    def of(layer: Layer) -> Layer:
        return replace(layer, stack=tuple(tuple(map(scaled, ways)) for ways in layer.stack)) if isinstance(layer, Recurrent) else layer

    return replace(network, layers=tuple(map(of, network.layers)))
