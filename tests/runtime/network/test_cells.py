"""The concrete forward pass agrees with torch.nn to 1e-12 in float64: cells x layers x directions x lengths."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.helpers import classifier, random_network
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


@pytest.mark.parametrize("cell", ["mgu", "gru_before", "lstm_peephole"])
@pytest.mark.parametrize("frames", [1, 5])
def test_cells_that_torch_has_not_are_their_equations(cell: str, frames: int) -> None:
    """Written out step by step, from the papers."""
    network = random_network(cell, n=3, s=4, classes=2, initial=True, seed=3)
    ((w,),), head = network.recurrent[0].stack, network.layers[-1]
    assert isinstance(head, Linear)
    h, *more = (v.expand(6, -1) for v in network.recurrent[0].initial[0][0])
    x = torch.randn(6, frames, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for t in range(frames):
        ih, hh, bias = (part.split(4) for part in (w.ih, w.hh, w.bias_ih + w.bias_hh))
        pre = [x[:, t] @ a.T + b for a, b in zip(ih, bias, strict=True)]
        if cell == "mgu":
            f = torch.sigmoid(pre[0] + h @ hh[0].T)
            h = (1 - f) * h + f * torch.tanh(pre[1] + (f * h) @ hh[1].T)
        elif cell == "gru_before":
            r, z = (torch.sigmoid(pre[k] + h @ hh[k].T) for k in (0, 1))
            h = (1 - z) * torch.tanh(pre[2] + (r * h) @ hh[2].T) + z * h
        else:
            p_i, p_f, p_o = w.more["peephole"].split(4)
            (c,) = more
            i, f = torch.sigmoid(pre[0] + h @ hh[0].T + p_i * c), torch.sigmoid(pre[1] + h @ hh[1].T + p_f * c)
            c = f * c + i * torch.tanh(pre[2] + h @ hh[2].T)
            h, more = torch.sigmoid(pre[3] + h @ hh[3].T + p_o * c) * torch.tanh(c), [c]
    assert torch.allclose(logits(network.unroll(frames), x), h @ head.weight.T + head.bias, rtol=0, atol=1e-12)
