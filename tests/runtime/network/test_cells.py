"""The concrete forward pass agrees with torch.nn to 1e-12 in float64: cells x layers x directions x lengths."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.helpers import classifier
from vlang.runtime.graph.concrete import logits
from vlang.runtime.network.cells import CellWeights
from vlang.runtime.network.layers import Linear
from vlang.words.layers import READOUTS

MODULES = {
    "rnn_tanh": lambda *a, **k: nn.RNN(*a, nonlinearity="tanh", **k),
    "rnn_relu": lambda *a, **k: nn.RNN(*a, nonlinearity="relu", **k),
    "lstm": nn.LSTM,
    "gru": nn.GRU,
}


@pytest.mark.parametrize("cell", MODULES)
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("frames", [1, 2, 7])
@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("started", [False, True])
def test_forward_agrees_with_torch(cell: str, layers: int, bidirectional: bool, frames: int, readout: str, started: bool) -> None:
    torch.manual_seed(layers * 10 + frames)
    n, s, classes, batch = 3, 5, 4, 6
    directions = 2 if bidirectional else 1
    module = MODULES[cell](n, s, layers, bidirectional=bidirectional, batch_first=True).double()
    head = nn.Sequential(
        nn.Linear(s * directions, 6), nn.ReLU(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Sigmoid(), nn.Linear(4, classes)
    ).double()
    x = torch.randn(batch, frames, n, dtype=torch.float64)
    states = 2 if cell == "lstm" else 1
    start = [torch.randn(layers * directions, s, dtype=torch.float64) * started for _ in range(states)]
    given = [v[:, None].expand(-1, batch, -1).contiguous() for v in start]
    output, final = module(x, tuple(given) if states == 2 else given[0])
    h_n = (final[0] if states == 2 else final).reshape(layers, directions, batch, s)[-1]
    features = {"last": torch.cat(list(h_n), 1), "last_frame": output[:, -1], "mean": output.mean(1), "max": output.amax(1)}[readout]
    expected = head(features)

    def weights(layer: int, reverse: bool) -> CellWeights:
        suffix = f"_l{layer}" + ("_reverse" if reverse else "")
        return CellWeights(*(getattr(module, p + suffix).detach() for p in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")))

    network = classifier(
        cell,
        tuple(tuple(weights(layer, d == 1) for d in range(directions)) for layer in range(layers)),
        tuple(tuple(tuple(v[layer * directions + d] for v in start) for d in range(directions)) for layer in range(layers)),
        tuple(Linear(m.weight.detach(), m.bias.detach()) for m in head if isinstance(m, nn.Linear)),
        ("relu", "tanh", "sigmoid"),
        readout,
    )
    ours = logits(network.unroll(frames), x)
    assert torch.allclose(ours, expected, rtol=0, atol=1e-12)
