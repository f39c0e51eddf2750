"""Networks as people save them: each is read as the network that torch computes, or not at all. Torch's own outputs are the reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vlang.lower.spec import compile_spec
from vlang.plan import DataError
from vlang.runtime.execute import execute
from vlang.text.diagnostics import SpecError
from vlang.text.source import Source

X = torch.randn(6, 5, 4, generator=torch.Generator().manual_seed(3))


class Tail(nn.Module):
    """A recurrent network, what is read out of it, and a head."""

    def __init__(self, body: nn.Module, head: nn.Module, read: Callable[[Tensor, Any], Tensor]) -> None:
        super().__init__()
        self.rnn, self.head, self._read = body, head, read

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self._read(*self.rnn(x)))  # type: ignore[no-any-return]


class Scale(nn.Module):
    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        return self.by * x


def last_frame(output: Tensor, _: Any) -> Tensor:
    return output[:, -1]


def states(_: Tensor, final: Any) -> Tensor:
    h = final[0] if isinstance(final, tuple) else final
    return torch.cat(list(h[-2:]), 1)


def read(folder: Path, state: dict[str, Any], model: nn.Module, said: str = "", name: str = "net.pt", **options: Any) -> str:
    """What comes of a checkpoint: 'right', or the code of the error."""
    torch.manual_seed(0)
    if name.endswith(".pt"):
        torch.save(state, folder / name, **options)
    else:
        save_file({k: v.contiguous() for k, v in state.items()}, folder / name, **options)
    np.save(folder / "x.npy", X.numpy())
    with torch.no_grad():
        np.save(folder / "reference.npy", model(X).numpy())
    text = (
        f'rspec 1\nnetwork net {{ checkpoint = "{name}", reference = "reference.npy"{said} }}\ndataset d {{ inputs = "x.npy", pick = [1:4] }}\n'
        "verify q { network = net, input = d, perturbation = { frames = all, norm = 2 }, eps = 1e-9, engine = { method = interval } }\n"
    )
    try:
        execute(compile_spec(Source(str(folder / "q.rspec"), text)), "test")
    except SpecError as e:
        return e.diagnostics[0].code
    except DataError as e:
        return e.problems[0].kind
    return "right"


def test_an_rnn_says_its_activation(tmp_path: Path) -> None:
    model = Tail(nn.RNN(4, 8, nonlinearity="relu", batch_first=True), nn.Linear(8, 3), last_frame)
    assert read(tmp_path, model.state_dict(), model) == "R427"
    assert read(tmp_path, model.state_dict(), model, ", activation = relu") == "right"
    assert read(tmp_path, model.state_dict(), model, ", cell = rnn_relu") == "right"
    assert read(tmp_path, model.state_dict(), model, ", layers = [rnn_relu, last, linear]") == "right"
    assert read(tmp_path, model.state_dict(), model, ", activation = tanh") == "reference_differs"


def test_two_directions_say_what_is_read_out(tmp_path: Path) -> None:
    for wanted, way in (("last_frame", last_frame), ("last", states)):
        model = Tail(nn.GRU(4, 8, batch_first=True, bidirectional=True), nn.Linear(16, 3), way)
        assert read(tmp_path, model.state_dict(), model) == "R427"
        for said in ("last", "last_frame"):
            found = read(tmp_path, model.state_dict(), model, f", readout = {said}")
            assert found == ("right" if said == wanted else "reference_differs")


def test_an_activation_before_the_only_linear_layer_can_be_said(tmp_path: Path) -> None:
    model = Tail(nn.LSTM(4, 8, batch_first=True), nn.Sequential(nn.ReLU(), nn.Linear(8, 3)), last_frame)
    assert read(tmp_path, model.state_dict(), model) == "reference_differs"
    assert read(tmp_path, model.state_dict(), model, ", layers = [lstm, last, relu, linear]") == "right"


class Before(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.rnn = nn.LSTM(4, 4, batch_first=True)
        self.out = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(self.inner(x))[0][:, -1])  # type: ignore[no-any-return]


def test_a_layer_that_may_stand_before_or_behind_is_asked_about(tmp_path: Path) -> None:
    model = Before()
    assert read(tmp_path, model.state_dict(), model, ", head = [none]") == "R428"
    said = ', layers = [lstm, last, linear("inner"), none, linear("out")]'
    assert read(tmp_path, model.state_dict(), model, said) == "reference_differs"


class Ordered(nn.Module):
    """A head under any names, applied in the order given."""

    def __init__(self, names: list[str], widths: list[int]) -> None:
        super().__init__()
        self.rnn, self.names = nn.GRU(4, widths[0], batch_first=True), names
        for name, a, b in zip(names, widths[:-1], widths[1:], strict=True):
            setattr(self, name, nn.Linear(a, b))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.rnn(x)[0][:, -1]
        for i, name in enumerate(self.names):
            y = getattr(self, name)(torch.relu(y) if i else y)
        return y


@pytest.mark.parametrize(
    ("names", "widths", "found"),
    [
        (["hidden", "classifier"], [6, 5, 3], "right"),  # only one order fits
        (["fc2", "fc1"], [6, 5, 3], "right"),
        (["hidden", "classifier"], [3, 3, 3], "R428"),
        (["fc1", "fc2"], [6, 6, 6], "right"),
        (["fc2", "fc10"], [6, 6, 6], "right"),
        (["fc2", "fc1"], [6, 6, 6], "R428"),  # numbered against the order in which they were made
    ],
)
def test_the_heads_order_is_the_one_that_fits_or_is_asked_about(names: list[str], widths: list[int], found: str, tmp_path: Path) -> None:
    model = Ordered(names, widths)
    assert read(tmp_path, model.state_dict(), model, ", head = [relu]") == found
    said = ", ".join(["gru", "last", *(x for i, n in enumerate(names) for x in ([*(["relu"] if i else [])], [f'linear("{n}")']) for x in x)])
    assert read(tmp_path, model.state_dict(), model, f", layers = [{said}]") == "right"


def test_state_dicts_inside_what_training_loops_save(tmp_path: Path) -> None:
    model = Tail(nn.GRU(4, 8, batch_first=True), nn.Linear(8, 3), last_frame)
    state, optimizer = model.state_dict(), torch.optim.Adam(model.parameters())
    model(X).sum().backward()
    optimizer.step()
    state = model.state_dict()
    assert read(tmp_path, {"model_state_dict": state, "optimizer_state_dict": optimizer.state_dict(), "epoch": 3, "loss": 0.5}, model) == "right"
    lightning = {f"model.{k}": v for k, v in state.items()}
    assert read(tmp_path, {"state_dict": lightning, "hyper_parameters": {"lr": 0.1}, "callbacks": {}, "lr_schedulers": []}, model) == "right"
    assert read(tmp_path, {f"module.{k}": v for k, v in state.items()}, model) == "right"
    assert read(tmp_path, state, model, _use_new_zipfile_serialization=False) == "right"
    assert read(tmp_path, {"state_dict": state}, model, _use_new_zipfile_serialization=False) == "right"
    assert read(tmp_path, {"model": state, "ema": state}, model) == "R312"
    assert read(tmp_path, {"epoch": 3}, model) == "R305"


@pytest.mark.parametrize(
    ("more", "cure"),
    [
        ({"bn.weight": (8,), "bn.bias": (8,), "bn.running_mean": (8,), "bn.running_var": (8,)}, "list all layers"),
        ({"norm.weight": (8,), "norm.bias": (8,)}, "layer normalisation"),
        ({"rnn.weight_hh_l0_raw": (24, 8)}, "without '_raw'"),
        ({"head.parametrizations.weight.original0": (3, 1)}, "remove_parametrizations"),
        ({"head.weight_g": (3, 1), "head.weight_v": (3, 8)}, "remove_weight_norm"),
        ({"mean": (4,), "std": (4,)}, "normalize("),
        ({"start": (1, 8)}, "h0"),
        ({"conv.weight": (8, 4, 3)}, "convolution"),
        ({"attn.in_proj_weight": (24, 8)}, "attention"),
    ],
)
def test_what_is_not_read_is_recognised(more: dict[str, tuple[int, ...]], cure: str, tmp_path: Path) -> None:
    model = Tail(nn.GRU(4, 8, batch_first=True), nn.Linear(8, 3), last_frame)
    state = {**model.state_dict(), **{k: torch.ones(shape) for k, shape in more.items()}}
    torch.save(state, tmp_path / "net.pt")
    with pytest.raises(SpecError) as caught:
        compile_spec(Source(str(tmp_path / "q.rspec"), 'rspec 1\nnetwork net { checkpoint = "net.pt" }\n'))
    assert [x.code for x in caught.value.diagnostics] == ["R401"]
    assert cure in caught.value.diagnostics[0].hint or cure in caught.value.diagnostics[0].message


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.complex64])
def test_numbers_that_are_not_read_are_said(dtype: torch.dtype, tmp_path: Path) -> None:
    model = Tail(nn.GRU(4, 8, batch_first=True), nn.Linear(8, 3), last_frame)
    assert read(tmp_path, {k: v.to(dtype) for k, v in model.state_dict().items()}, model) in ("R311", "R401")
    sparse = {k: v.to_sparse() if v.dim() == 2 else v for k, v in model.state_dict().items()}
    assert read(tmp_path, sparse, model) == "R311"


@pytest.mark.parametrize(
    ("layers", "code"),
    [
        ("[gru, last, linear]", None),
        ("[gru, last, tanh, linear]", None),
        ("[lstm, last, linear]", "R403"),
        ("[gru, linear]", None),
        ("[gru, last]", "R430"),
        ("[gru, last, linear, relu]", None),
        ("[linear, gru, last, linear]", "R430"),
        ("[gru, last, linear, linear]", "R430"),
        ('[gru, last, linear("fc")]', "R206"),
        ("[embedding, gru, last, linear]", "R430"),
        ("[gru, last, dense]", "R208"),
        ("[]", "R429"),
        ("[last, gru, linear]", "R429"),
        ("gru", "R207"),
        ("[gru, last, linear(3)]", "R218"),
    ],
)
def test_layers_that_are_not_the_checkpoints(layers: str, code: str | None, tmp_path: Path) -> None:
    model = Tail(nn.GRU(4, 8, batch_first=True), nn.Linear(8, 3), last_frame)
    torch.save(model.state_dict(), tmp_path / "net.pt")
    source = Source(str(tmp_path / "q.rspec"), f'rspec 1\nnetwork net {{ checkpoint = "net.pt", layers = {layers} }}\n')
    if code is None:
        compile_spec(source)
        return
    with pytest.raises(SpecError) as caught:
        compile_spec(source)
    assert [x.code for x in caught.value.diagnostics] == [code]


def test_a_reference_must_fit_and_be_of_logits(tmp_path: Path) -> None:
    model = Tail(nn.GRU(4, 8, batch_first=True), nn.Linear(8, 3), last_frame)
    assert read(tmp_path, model.state_dict(), model) == "right"
    scaled = Tail(model.rnn, nn.Sequential(model.head, Scale(1.01)), last_frame)
    assert read(tmp_path, model.state_dict(), scaled) == "reference_differs"
    assert read(tmp_path, model.state_dict(), scaled, ", reference_tolerance = 5%") == "right"
    soft = nn.Sequential(model, nn.Softmax(1))
    assert read(tmp_path, model.state_dict(), soft) == "reference_differs"
    assert read(tmp_path, model.state_dict(), nn.Sequential(model, nn.Linear(3, 2))) == "reference_shape"
