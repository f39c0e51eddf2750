"""Losses of certified bounds: gradients beside finite differences, bounds beside the verifier's and beside points of the sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vlang import robust
from vlang.lower.spec import compile_spec
from vlang.results import VerifyRow
from vlang.runtime.execute import execute
from vlang.runtime.spectra.kreiss import kreiss
from vlang.text.source import Source

CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
METHODS: tuple[robust.Method, ...] = ("interval", "mixed", "planes")
FRAMES, SIZE, CLASSES = 3, 4, 3


class Net(nn.Module):
    def __init__(self, cell: str, hidden: int = 5, mean: bool = False) -> None:
        super().__init__()
        self.rnn = CELLS[cell](SIZE, hidden, batch_first=True)
        self.out = nn.Linear(hidden, CLASSES)
        self.mean = mean

    def forward(self, x: Tensor) -> Tensor:
        y = self.rnn(x)[0]
        logits: Tensor = self.out(y.mean(1) if self.mean else y[:, -1])
        return logits


def made(cell: str, seed: int = 0) -> tuple[Net, Tensor, Tensor]:
    torch.manual_seed(seed)
    net = Net(cell).double()
    for p in net.parameters():
        p.data *= 2
    x = torch.rand(6, FRAMES, SIZE, dtype=torch.float64)
    return net, x, net(x).argmax(1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cell", CELLS)
def test_the_gradient_is_that_of_finite_differences(cell: str, method: robust.Method) -> None:
    net, x, y = made(cell)
    reading = robust.read(net, x)

    def loss() -> Tensor:
        return robust.certified_loss(net, x, y, eps=0.05, norm=2, clip=(0, 1), method=method, reading=reading)

    loss().backward()  # type: ignore[no-untyped-call]
    generator = torch.Generator().manual_seed(1)
    for p in net.parameters():
        assert p.grad is not None
        direction = torch.randn(p.shape, generator=generator, dtype=p.dtype)
        slope, step, ends = float((p.grad * direction).sum()), 1e-6, []
        for sign in (1, -1):
            p.data += sign * step * direction
            with torch.no_grad():
                ends.append(float(loss()))
            p.data -= sign * step * direction
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(slope, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(("norm", "clip"), [("2", None), ("inf", (0.0, 1.0)), ("1", None)])
@pytest.mark.parametrize("method", ["interval", "planes"])
def test_the_bound_is_the_verifiers(method: robust.Method, norm: str, clip: tuple[float, float] | None, tmp_path: Path) -> None:
    net, x, y = made("lstm")
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    np.savez(tmp_path / "data.npz", inputs=x.numpy(), labels=y.numpy())
    more = "" if clip is None else ", clip = [0, 1]"
    text = f"""rspec 1
network net {{ checkpoint = "net.safetensors" }}
dataset data {{ source = "data.npz" }}
verify q {{
  network = net, input = data, eps = 0.02, target = each, perturbation = {{ frames = [0, 2], norm = {norm}{more} }}, engine = {{ method = {method} }}
}}
"""
    rows = execute(compile_spec(Source(str(tmp_path / "x.rspec"), text)), "test").queries[0].rows
    found = robust.margins(net, x, y, eps=0.02, norm=norm, frames=[0, 2], clip=clip, method=method)
    proved = torch.tensor([r.margin for r in rows if isinstance(r, VerifyRow)], dtype=torch.float64).reshape(len(x), -1)
    assert torch.allclose(found, proved, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("norm", [1, 2, "inf"])
def test_no_point_is_below_the_bound_and_planes_are_tighter(norm: int | str, method: robust.Method) -> None:
    net, x, y = made("gru", seed=3)
    asked = {"eps": torch.linspace(0.01, 0.2, len(x), dtype=torch.float64), "norm": norm, "frames": [1, 2]}
    with torch.no_grad():
        bound = robust.margins(net, x, y, method=method, **asked)  # type: ignore[arg-type]
        ball = robust.ball_of(x, **asked)  # type: ignore[arg-type]
        for _ in range(200):
            there = net(x + robust.project(robust.steepest(torch.randn_like(x), ball) * torch.rand(()), ball))
            margin = there.gather(1, y[:, None]) - there
            others = torch.stack([m[torch.arange(CLASSES) != label] for m, label in zip(margin, y, strict=True)])
            assert bool((others >= bound).all())
        assert bool((robust.margins(net, x, y, method="planes", **asked) >= bound - 1e-9).all())  # type: ignore[arg-type]


def test_small_boxes_lie_in_the_ball() -> None:
    """A share of eps about an attacked point: a loss between that of the point and that of the whole ball."""
    net, x, y = made("rnn")
    torch.manual_seed(0)
    whole, part, point = (float(robust.certified_loss(net, x, y, eps=0.1, norm=2, method="planes", share=s).detach()) for s in (1.0, 0.3, 1e-6))
    plain = float(nn.functional.cross_entropy(net(x), y))
    assert plain < point <= part <= whole
    assert point <= float(robust.adversarial_loss(net, x, y, eps=0.1, norm=2)) + 1e-3


def test_what_is_read_is_what_the_module_computes() -> None:
    torch.manual_seed(0)
    x = torch.rand(4, FRAMES, SIZE)
    with pytest.raises(robust.ReadingError, match="say how it is read"):
        robust.read(Net("lstm", mean=True), x)
    assert robust.read(Net("lstm", mean=True), x, say="readout = mean").frames == FRAMES
    relu = Net("rnn")
    relu.rnn = nn.RNN(SIZE, 5, nonlinearity="relu", batch_first=True)
    assert robust.read(relu, x).architecture.recurrent[0].word == "rnn_relu"


def test_spectral_penalties_fall_along_their_gradient() -> None:
    torch.manual_seed(0)
    net = Net("rnn").double()
    net.rnn.weight_hh_l0.data = torch.diag_embed(torch.full((5,), 0.9)) + torch.triu(torch.ones(5, 5), 1)
    net = net.double()
    matrix = net.rnn.weight_hh_l0.detach().numpy()
    known = kreiss(matrix)
    found = float(robust.spectral_penalty(net, "kreiss", most=0.0))
    assert 0.7 * known.upper <= found <= known.upper * (1 + 1e-9)
    for kind in ("norm", "kreiss"):
        penalty = robust.spectral_penalty(net, kind)  # type: ignore[arg-type]
        (gradient,) = torch.autograd.grad(penalty, net.rnn.weight_hh_l0)
        with torch.no_grad():
            net.rnn.weight_hh_l0 -= 1e-3 * gradient
        assert float(robust.spectral_penalty(net, kind)) < float(penalty)  # type: ignore[arg-type]
    assert float(robust.spectral_penalty(Net("lstm"), most=100.0)) == 0
    with pytest.raises(robust.ReadingError):
        robust.spectral_penalty(nn.Linear(2, 2))


def test_eps_grows_from_nothing_to_all() -> None:
    assert [robust.ramp(s, 10, 20, 0.5) for s in (0, 10, 15, 20, 30)] == [0, 0, 0.25, 0.5, 0.5]


def test_training_raises_what_is_certified() -> None:
    torch.manual_seed(0)
    x = torch.rand(300, FRAMES, SIZE)
    y = (x[:, -1].sum(1) * 0.75).long().clamp(max=CLASSES - 1)

    def trained(weight: float) -> tuple[float, float]:
        torch.manual_seed(1)
        net = Net("rnn", hidden=12)
        reading, optimizer = robust.read(net, x[:2]), torch.optim.Adam(net.parameters(), 0.02)
        for step in range(120):
            eps = robust.ramp(step, 20, 100, 0.05)
            loss = nn.functional.cross_entropy(net(x), y)
            if weight:
                loss = (1 - weight) * loss + weight * robust.certified_loss(net, x, y, eps=eps, norm="inf", method="interval", reading=reading)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.no_grad():
            sure = (robust.margins(net, x, y, eps=0.05, norm="inf", method="planes") > 0).all(1)
            return float(sure.float().mean()), float((net(x).argmax(1) == y).float().mean())

    assert trained(0.7)[0] > trained(0.0)[0] + 0.1
