"""semantics = deployed32: what torch computes in float32 stays within the bounds too."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.helpers import DTYPE
from vlang.cli import main
from vlang.lower.spec import compile_spec
from vlang.runtime.attacks.base import project
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.execute import execute
from vlang.runtime.methods.table import BOUNDS
from vlang.runtime.network import load
from vlang.runtime.sets.ball import Ball
from vlang.text.source import Source

SPEC = """rspec 1
network net { checkpoint = "net.safetensors" }
dataset d { inputs = "x.npy" }
radius q { network = net, input = d, perturbation = { frames = [1, 2], norm = 2 }, engine = { semantics = SEMANTICS, method = METHOD } }
"""
KINDS: dict[str, type[nn.RNN] | type[nn.LSTM] | type[nn.GRU]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def world(folder: Path, cell: str, scale: float = 1.0) -> tuple[nn.Module, nn.Linear]:
    torch.manual_seed(1)
    body, head = KINDS[cell](3, 5, num_layers=2, batch_first=True), nn.Linear(5, 3)
    with torch.no_grad():
        for p in body.parameters():
            p *= scale
    state = {f"rnn.{k}": v for k, v in body.state_dict().items()} | {"out.weight": head.weight.data, "out.bias": head.bias.data}
    save_file(state, folder / "net.safetensors", {"activation": "tanh"})
    np.save(folder / "x.npy", np.random.default_rng(0).standard_normal((1, 4, 3)).astype(np.float32))
    return body, head


def spec(folder: Path, semantics: str, method: str = "planes") -> Source:
    return Source(str(folder / "q.rspec"), SPEC.replace("SEMANTICS", semantics).replace("METHOD", method))


@pytest.mark.parametrize("method", ["interval", "planes", "quadratic"])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_float32_forward_passes_stay_within_the_bounds(cell: str, method: str, scale: float, tmp_path: Path) -> None:
    """Balls so small that rounding is most of what moves, and larger ones; for every class, both ways."""
    body, head = world(tmp_path, cell, scale)
    plan = compile_spec(spec(tmp_path, "deployed32")).queries[0].variants[0]
    network = load.network(plan.network, DTYPE, torch.device("cpu"))
    x = torch.tensor(np.load(tmp_path / "x.npy"))
    graph = network.unroll(4)
    rows = torch.cat([torch.eye(3, dtype=DTYPE), -torch.eye(3, dtype=DTYPE)])
    for size in (1e-9, 1e-6, 1e-2):
        radii = torch.tensor([[0.0, size, size, 0.0]], dtype=DTYPE)
        ball = Ball(radii, Fraction(2))
        with torch.no_grad():
            above = BOUNDS[method].make(Nominal.at(graph, x.to(DTYPE), deployed=True), ball, None).upper(graph.output, rows)
            real = BOUNDS[method].make(Nominal.at(graph, x.to(DTYPE)), ball, None).upper(graph.output, rows)
            assert bool((above > real).all())
            moved = x + project(torch.randn(500, 4, 3, dtype=DTYPE), Ball(radii.expand(500, -1), Fraction(2))).to(torch.float32)
            logits = torch.cat(
                [head(body(moved)[0][:, -1]), head(body(x)[0][:, -1]), torch.stack([head(body(m[None])[0][0, -1]) for m in moved[:50]])]
            )
        worst = (logits.to(DTYPE) @ rows.T).amax(0)
        assert bool((worst <= above[0]).all())
        assert size > 1e-9 or bool((worst > real[0]).any())  # the bounds of the real network do not hold of this one


def test_what_float32_gets_wrong_is_not_certified_of_it(tmp_path: Path) -> None:
    """Ahead by 0.25 in the reals, but by two terms of 1e8 that cancel: float32 loses it, and only the real network is certified."""
    weights = {
        "rnn.weight_ih_l0": torch.tensor([[1.0], [1.0], [0.0]]),
        "rnn.weight_hh_l0": torch.zeros(3, 3),
        "rnn.bias_ih_l0": torch.tensor([0.0, 0.0, 1.0]),
        "rnn.bias_hh_l0": torch.zeros(3),
        "out.weight": torch.tensor([[1e8, -1e8, 0.5], [0.0, 0.0, 0.0]]),
        "out.bias": torch.tensor([0.0, 0.125]),
    }
    save_file(weights, tmp_path / "net.safetensors", {"activation": "tanh"})
    np.save(tmp_path / "x.npy", np.full((1, 3, 1), 0.3, np.float32))
    for semantics, method in (("real", "quadratic"), ("deployed32", "quadratic")):
        row = execute(compile_spec(spec(tmp_path, semantics, method)), "test").queries[0].rows[0]
        assert bool(row.radius) == (semantics == "real")


def test_what_is_not_float32_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world(tmp_path, "gru")
    path = tmp_path / "q.rspec"
    path.write_text(spec(tmp_path, "deployed32").text)
    assert main([str(path)]) == 0
    assert "deployed32" in capsys.readouterr().out
    assert main([str(path), "--certificates", str(tmp_path)]) == 2
    np.save(tmp_path / "x.npy", np.full((1, 4, 3), 0.1))
    assert main([str(path)]) == 2
    assert "R505" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["planes", "quadratic"])
def test_nothing_is_certified_where_float32_may_overflow(method: str, tmp_path: Path) -> None:
    """Ahead in the reals; in float32 partial sums are infinite, and torch's outputs are not numbers."""
    large = 3e38
    weights = {
        "rnn.weight_ih_l0": torch.full((4, 1), 8.0),
        "rnn.weight_hh_l0": torch.zeros(4, 4),
        "rnn.bias_ih_l0": torch.zeros(4),
        "rnn.bias_hh_l0": torch.zeros(4),
        "out.weight": torch.tensor([[large, large, -large, 0.0], [0.0, 0.0, 0.0, 0.0]]),
        "out.bias": torch.tensor([1.0, 0.0]),
    }
    with torch.no_grad():
        h = torch.tanh(torch.full((1, 4), 8.0 * 0.3))
        assert not bool(torch.isfinite((h * weights["out.weight"][0]).cumsum(1)).all())
    save_file(weights, tmp_path / "net.safetensors", {"activation": "tanh"})
    np.save(tmp_path / "x.npy", np.full((1, 1, 1), 0.3, np.float32))
    text = spec(tmp_path, "deployed32", method).text.replace("frames = [1, 2]", "frames = all").replace("[1:3]", "all")
    row = execute(compile_spec(Source(str(tmp_path / "q.rspec"), text)), "test").queries[0].rows[0]
    assert row.radius == 0
