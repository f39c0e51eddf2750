"""Graphs of layers beside torch: forward passes to 1e-12 in float64, and names that leave one reading or are asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vlang.lower.spec import compile_spec
from vlang.plan import Architecture, LayerPlan
from vlang.runtime.graph.concrete import logits
from vlang.runtime.network import load
from vlang.runtime.network.unroll import Network
from vlang.text.diagnostics import SpecError
from vlang.text.source import Source

M, N = 9, 4


class Of(nn.Module):
    """A function of what comes in."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Frames(nn.Module):
    """A module over channels first, as torch's convolutions, pooling and batch normalisation are, on [batch, frames, channels]."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.transpose(1, 2)).transpose(1, 2) if x.dim() == 3 else self.inner(x)  # type: ignore[no-any-return]


class Rnn(nn.Module):
    """A recurrent module's outputs; `final`: each direction's own last state instead."""

    def __init__(self, inner: nn.Module, final: bool = False) -> None:
        super().__init__()
        self.inner, self.final = inner, final

    def forward(self, x: Tensor) -> Tensor:
        output, state = self.inner(x)
        h = state[0] if isinstance(state, tuple) else state
        return torch.cat(list(h[-2:] if self.inner.bidirectional else h[-1:]), 1) if self.final else output  # type: ignore[no-any-return]


class Residual(nn.Module):
    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Frames weighted by the softmax of their scores."""

    def __init__(self, scores: nn.Module) -> None:
        super().__init__()
        self.scores = scores

    def forward(self, x: Tensor) -> Tensor:
        return (torch.softmax(self.scores(x), 1) * x).sum(1)  # type: ignore[no-any-return]


class Planes(nn.Module):
    """Channels of several pictures, side by side."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([b(x) for b in self.branches], 1)


class Side(nn.Module):
    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([b(x) for b in self.branches], -1)


def last_frame() -> nn.Module:
    return Of(lambda x: x[:, -1])


def average() -> nn.Module:
    return Of(lambda x: x.mean(1))


def lstm(n: int, s: int, **more: bool) -> nn.Module:
    return nn.LSTM(n, s, batch_first=True, **more)


def gru(n: int, s: int, **more: bool) -> nn.Module:
    return nn.GRU(n, s, batch_first=True, **more)


#: What torch computes, and how a spec lists it.
MODELS: dict[str, tuple[Callable[[], list[nn.Module]], str]] = {
    "dense in front": (
        lambda: [nn.Linear(N, 5), nn.ReLU(), Rnn(lstm(5, 6)), last_frame(), nn.Linear(6, 3)],
        "[linear, relu, lstm, last_frame, linear]",
    ),
    "normalized": (
        lambda: [Of(lambda x: (x - 0.5) / 0.25), Rnn(gru(N, 5)), last_frame(), nn.Linear(5, 3)],
        "[normalize(mean = 0.5, std = 0.25), gru, last, linear]",
    ),
    "normalized by channel": (
        lambda: [
            Of(lambda x: (x - torch.arange(4.0, dtype=x.dtype)) / torch.tensor([1.0, 2, 3, 7], dtype=x.dtype)),
            Rnn(gru(N, 5)),
            last_frame(),
            nn.Linear(5, 3),
        ],
        "[normalize(mean = [0, 1, 2, 3], std = [1, 2, 3, 7]), gru, last, linear]",
    ),
    "two blocks": (
        lambda: [Rnn(gru(N, 5, bidirectional=True)), nn.Linear(10, 6), nn.Tanh(), Rnn(lstm(6, 4)), last_frame(), nn.Linear(4, 3)],
        "[gru, linear, tanh, lstm, last, linear]",
    ),
    "convolution": (
        lambda: [Frames(nn.Conv1d(N, 6, 3, padding=1)), nn.ReLU(), Rnn(gru(6, 5, bidirectional=True)), average(), nn.Linear(10, 3)],
        "[conv1d(padding = 1), relu, gru, mean, linear]",
    ),
    "strided groups": (
        lambda: [Frames(nn.Conv1d(N, 6, 3, stride=2, padding=3, dilation=2, groups=2)), nn.Sigmoid(), Rnn(lstm(6, 5)), last_frame(), nn.Linear(5, 3)],
        "[conv1d(stride = 2, padding = 3, dilation = 2, groups = 2), sigmoid, lstm, last, linear]",
    ),
    "pooled": (
        lambda: [
            Frames(nn.Conv1d(N, 5, 2)),
            Frames(nn.MaxPool1d(2)),
            nn.Dropout(),
            Frames(nn.AvgPool1d(3, stride=1)),
            nn.Flatten(),
            nn.Linear(10, 3),
        ],
        "[conv1d, max_pool(size = 2), dropout, avg_pool(size = 3, stride = 1), flatten(order = frames), linear]",
    ),
    "flattened by channel": (
        lambda: [Frames(nn.Conv1d(N, 5, 3)), nn.ReLU(), Of(lambda x: x.transpose(1, 2)), nn.Flatten(), nn.Linear(35, 6), nn.ReLU(), nn.Linear(6, 3)],
        "[conv1d, relu, flatten(order = channels), linear, relu, linear]",
    ),
    "batch normalisation": (
        lambda: [Rnn(gru(N, 6)), Frames(nn.BatchNorm1d(6)), nn.ReLU(), last_frame(), nn.Linear(6, 3), nn.BatchNorm1d(3, affine=False, eps=0.1)],
        "[gru, batchnorm, relu, last, linear, batchnorm(eps = 0.1)]",
    ),
    "residual": (
        lambda: [
            nn.Linear(N, 6),
            Residual(Rnn(lstm(6, 6))),
            Residual(nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 6))),
            average(),
            nn.Linear(6, 3),
        ],
        "[linear, residual([lstm]), residual([linear, tanh, linear]), mean, linear]",
    ),
    "side by side": (
        lambda: [Side(Rnn(lstm(N, 5), final=True), nn.Sequential(Rnn(gru(N, 4, bidirectional=True)), average())), nn.Linear(13, 3)],
        "[concat([lstm, last], [gru, mean]), linear]",
    ),
    "directions kept through an activation": (
        lambda: [Rnn(gru(N, 4, bidirectional=True), final=True), nn.ReLU(), nn.Linear(8, 3)],
        "[gru, relu, last, linear]",
    ),
    "layer normalisation": (
        lambda: [nn.Linear(N, 6), nn.LayerNorm(6), nn.LeakyReLU(0.2), Rnn(gru(6, 5)), nn.LayerNorm(5, eps=1e-3), last_frame(), nn.Linear(5, 3)],
        "[linear, layernorm, leaky_relu(slope = 0.2), gru, layernorm(eps = 1e-3), last, linear]",
    ),
    "attention": (
        lambda: [Rnn(gru(N, 4, bidirectional=True)), Attention(nn.Sequential(nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 1))), nn.Linear(8, 3)],
        "[gru, attention([linear, tanh, linear]), linear]",
    ),
    "activations": (
        lambda: [
            *(x for a in (nn.ELU(), nn.SELU(), nn.GELU(), nn.SiLU(), nn.Softplus(), nn.Hardtanh(), nn.Hardsigmoid()) for x in (nn.Linear(4, 4), a)),
            average(),
            nn.Linear(4, 3),
        ],
        "[linear, elu, linear, selu, linear, gelu, linear, silu, linear, softplus, linear, hardtanh, linear, hardsigmoid, mean, linear]",
    ),
    "no recurrence": (lambda: [nn.Flatten(), nn.Linear(M * N, 8), nn.ReLU(), nn.Linear(8, 3)], "[flatten, linear, relu, linear]"),
    "projections": (
        lambda: [Rnn(nn.LSTM(N, 6, num_layers=2, proj_size=3, bidirectional=True, batch_first=True), final=True), nn.Linear(6, 3)],
        "[lstm, last, linear]",
    ),
    "pictures": (
        lambda: [
            Of(lambda x: x.reshape(-1, 1, 6, 6)),
            nn.Conv2d(1, 3, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(3, 4, 2),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(16, 3),
        ],
        "[reshape(channels = 1, height = 6, width = 6), conv2d(padding = 1), relu, max_pool2d(size = 2), conv2d, tanh, flatten, linear]",
    ),
    "pictures of all kinds": (
        lambda: [
            Of(lambda x: (x.reshape(-1, 4, 3, 3) - 0.5) / torch.tensor([1.0, 2, 3, 7], dtype=x.dtype)[:, None, None]),
            nn.Conv2d(4, 4, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2),
            nn.BatchNorm2d(4),
            Residual(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.Sigmoid())),
            Planes(nn.Conv2d(4, 2, (1, 2)), nn.AvgPool2d((1, 2), stride=1)),
            nn.LeakyReLU(0.1),
            nn.MaxPool2d((2, 1), stride=(1, 2)),
            nn.Flatten(),
            nn.Linear(12, 3),
        ],
        "[reshape(channels = 4, height = 3, width = 3), normalize(mean = 0.5, std = [1, 2, 3, 7]), "
        "conv2d(stride = [2, 1], padding = [1, 2], dilation = [1, 2], groups = 2), batchnorm, residual([conv2d(padding = 1), sigmoid]), "
        "concat([conv2d], [avg_pool2d(size = [1, 2], stride = 1)]), leaky_relu(slope = 0.1), max_pool2d(size = [2, 1], stride = [1, 2]), "
        "flatten, linear]",
    ),
    "no head": (lambda: [Rnn(lstm(N, 3)), last_frame()], "[lstm, last]"),
}


def made(name: str, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    model = nn.Sequential(*MODELS[name][0]()).double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model


def saved(name: str, folder: Path, seed: int = 0) -> nn.Sequential:
    model = made(name, seed)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "net.safetensors")
    return model


def read(folder: Path, layers: str) -> Network:
    text = f'rspec 1\nnetwork net {{ checkpoint = "net.safetensors", layers = {layers} }}\ninput x {{ values = {[[0] * N] * M} }}\n'
    text += "verify q { network = net, input = x, perturbation = { frames = all, norm = 2 }, eps = 1 }\n"
    plan = compile_spec(Source(str(folder / "q.rspec"), text)).queries[0].variants[0].network
    return load.network(plan, torch.float64, torch.device("cpu"))


@pytest.mark.parametrize("name", MODELS)
def test_forward_agrees_with_torch(name: str, tmp_path: Path) -> None:
    model, x = saved(name, tmp_path), torch.randn(5, M, N, dtype=torch.float64)
    ours = logits(read(tmp_path, MODELS[name][1]).unroll(M), x)
    assert torch.allclose(ours, model(x), rtol=0, atol=1e-12)


def test_what_flattens_behind_a_convolution_is_asked(tmp_path: Path) -> None:
    """torch flattens channel by channel there, what is written frame by frame does not: one of them is another network."""
    saved("flattened by channel", tmp_path)
    with pytest.raises(SpecError) as caught:
        read(tmp_path, "[conv1d, relu, flatten, linear, relu, linear]")
    assert [x.code for x in caught.value.diagnostics] == ["R427"]


def test_square_layers_without_numbers_are_asked_for_and_not_tried_for_ever(tmp_path: Path) -> None:
    names = "abcdefghijkl"
    save_file({f"{x}.weight": torch.eye(N) for x in names} | {"out.weight": torch.ones(3, N)}, tmp_path / "net.safetensors")
    for count, code in ((2, "R428"), (len(names), "R428")):
        held = {f"{x}.weight": torch.eye(N) for x in names[:count]} | {"out.weight": torch.ones(3, N)}
        save_file(held, tmp_path / "net.safetensors")
        with pytest.raises(SpecError) as caught:
            read(tmp_path, f"[mean, {'linear, ' * count}linear]")
        assert [x.code for x in caught.value.diagnostics] == [code]
    held = {f"{x}.weight": torch.eye(N) for x in names} | {"out.weight": torch.ones(3, N + 1)}  # fits nowhere: 12! ways
    save_file(held, tmp_path / "net.safetensors")
    with pytest.raises(SpecError) as caught:
        read(tmp_path, f"[mean, {'linear, ' * len(names)}linear]")
    assert "name them" in caught.value.diagnostics[0].message


def test_nothing_stands_behind_a_softmax(tmp_path: Path) -> None:
    saved("dense in front", tmp_path)
    with pytest.raises(SpecError) as caught:
        read(tmp_path, "[linear, softmax, lstm, last_frame, linear]")
    assert [x.code for x in caught.value.diagnostics] == ["R429"]
    with pytest.raises(ValueError, match="softmax"):
        Architecture((LayerPlan("softmax", (-1,), 3), LayerPlan("relu", (0,), 3)), 3)


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        ("[conv2d, relu, flatten, linear]", "reshape"),
        ("[reshape(channels = 1, height = 6, width = 5), conv2d, relu, flatten, linear]", "24 numbers"),
        ("[reshape(channels = 2, height = 6, width = 3), conv2d, relu, flatten, linear]", "1 channels"),
        ("[reshape(channels = 1, height = 12, width = 3), conv2d(stride = 3), relu, avg_pool2d(size = 2), flatten, linear]", "no window of 2 x 2"),
        ("[reshape(channels = 1, height = 6, width = 6), conv2d, relu, linear]", "flatten between"),
        ("[reshape(channels = 1, height = 6, width = 6), conv2d, lstm, linear]", "cannot stand here"),
        ("[reshape(channels = 1, height = 6, width = 6), concat([conv2d, avg_pool2d(size = 2)], []), flatten, linear]", "joins"),
    ],
)
def test_pictures_that_do_not_fit_are_told_so(layers: str, why: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "net.safetensors")
    assert read(tmp_path, "[reshape(channels = 1, height = 6, width = 6), conv2d, relu, flatten, linear]").classes == 3
    with pytest.raises(SpecError) as caught:
        read(tmp_path, layers)
    assert any(why in x.message for x in caught.value.diagnostics), [x.message for x in caught.value.diagnostics]


@pytest.mark.parametrize("name", ["convolution", "pictures", "layer normalisation", "attention"])
def test_what_float32_computes_in_ways_of_its_own_is_not_proved_of_it(name: str, tmp_path: Path) -> None:
    saved(name, tmp_path)
    text = f'rspec 1\nnetwork net {{ checkpoint = "net.safetensors", layers = {MODELS[name][1]} }}\ninput x {{ values = {[[0] * N] * M} }}\n'
    text += "verify q { network = net, input = x, perturbation = { frames = all, norm = 2 }, eps = 1, engine = { semantics = deployed32 } }\n"
    with pytest.raises(SpecError, match="differ by more than roundings"):
        compile_spec(Source(str(tmp_path / "q.rspec"), text))
