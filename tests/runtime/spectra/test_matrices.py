"""Recurrent matrices of networks: Jacobians beside finite differences, gates, and derived networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers import DTYPE, random_network
from vlang.runtime.graph.concrete import logits
from vlang.runtime.network.layers import Linear
from vlang.runtime.network.normalize import normalized
from vlang.runtime.network.unroll import Network
from vlang.runtime.spectra.matrices import jacobians, recurrent
from vlang.words.cells import CELLS as WORDS


def restarted(network: Network, layer: int, reverse: bool, state: Tensor) -> Network:
    """The network with another initial state there."""
    (stack,) = network.recurrent
    initial = [list(level) for level in stack.initial]
    initial[layer][int(reverse)] = state.split(stack.stack[0][0].hidden)
    return replace(network, layers=(replace(stack, initial=tuple(map(tuple, initial))), *network.layers[1:]))


def head(network: Network) -> Tensor:
    (linear,) = (x for x in network.layers if isinstance(x, Linear))
    return linear.weight


@pytest.mark.parametrize("cell", ["rnn_tanh", "lstm", "gru"])
def test_products_of_jacobians_are_those_of_whole_runs(cell: str) -> None:
    """The product over all frames is the derivative of the last state by the first, which the logits see through the head."""
    network = random_network(cell, n=3, s=4, classes=9, scale=0.6, initial=True, seed=2)
    s, states = 4, len(WORDS[cell].states)
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=DTYPE)
    product = np.linalg.multi_dot(jacobians(network, x, 0, False, 4)[::-1])
    assert product.shape == (s * states, s * states)
    by_logits = head(network).numpy() @ product[:s]
    start = torch.cat(network.recurrent[0].initial[0][0])
    for k in range(s * states):
        step = torch.zeros_like(start)
        step[k] = 1e-5
        ahead, behind = (restarted(network, 0, False, start + sign * step) for sign in (1, -1))
        slope = (logits(ahead.unroll(5), x[None]) - logits(behind.unroll(5), x[None]))[0] / 2e-5
        assert np.allclose(by_logits[:, k], slope.numpy(), atol=1e-8)


def test_a_tanh_step_is_known_in_closed_form() -> None:
    """diag(1 - h^2) W."""
    network = random_network("rnn_tanh", n=2, s=5, seed=1)
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), dtype=DTYPE)
    w, h = network.recurrent[0].stack[0][0], torch.zeros(5, dtype=DTYPE)
    for found, y in zip(jacobians(network, x, 0, False, 2), x, strict=True):
        h = torch.tanh(w.ih @ y + w.bias_ih + w.hh @ h + w.bias_hh)
        assert np.allclose(found, ((1 - h * h)[:, None] * w.hh).numpy())


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("layer", [0, 1])
def test_layers_and_directions_see_what_lies_below(layer: int, reverse: bool) -> None:
    """The mean over frames is not asked: `last` takes each direction's own last state, of which the top layer's Jacobians are the derivative."""
    network = random_network("gru", layers=2, bidirectional=True, n=2, s=3, classes=7, scale=0.7, seed=4)
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(1), dtype=DTYPE)
    steps = jacobians(network, x, layer, reverse, 0 if reverse else 3)
    assert len(steps) == 4
    if layer == 0:
        return
    part = slice(3, 6) if reverse else slice(0, 3)
    by_logits = head(network)[:, part].numpy() @ np.linalg.multi_dot(steps[::-1])
    start = torch.cat(network.recurrent[0].initial[1][int(reverse)])
    for k in range(3):
        step = torch.zeros_like(start)
        step[k] = 1e-5
        ahead, behind = (restarted(network, 1, reverse, start + sign * step) for sign in (1, -1))
        slope = (logits(ahead.unroll(4), x[None]) - logits(behind.unroll(4), x[None]))[0] / 2e-5
        assert np.allclose(by_logits[:, k], slope.numpy(), atol=1e-8)


@pytest.mark.parametrize("cell", ["rnn_tanh", "rnn_relu", "lstm", "gru"])
def test_derived_networks_have_the_asked_radius(cell: str) -> None:
    network = random_network(cell, layers=2, bidirectional=True, seed=3)
    derived = normalized(network, 0.8)
    gates = WORDS[cell].rows
    assert gates == WORDS[cell].rows
    for layer, reverse, gate in [(a, b, g) for a in (0, 1) for b in (False, True) for g in range(gates)]:
        before, after = (recurrent(n, layer, reverse, gate).numpy() for n in (network, derived))
        assert abs(np.linalg.eigvals(after)).max() == pytest.approx(0.8)
        scale = after[0, 0] / before[0, 0]
        assert np.allclose(after, scale * before)
    assert torch.equal(derived.recurrent[0].stack[0][0].ih, network.recurrent[0].stack[0][0].ih)
    assert bool((normalized(zeroed(network), 0.8).recurrent[0].stack[0][0].hh == 0).all())


def zeroed(network: Network) -> Network:
    (stack,) = network.recurrent
    weights = tuple(tuple(replace(w, hh=torch.zeros_like(w.hh)) for w in level) for level in stack.stack)
    return replace(network, layers=(replace(stack, stack=weights), *network.layers[1:]))
