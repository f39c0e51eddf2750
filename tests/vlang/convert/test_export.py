"""A live module saved with its graph of layers: the file is the module, or is not written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

pytest.importorskip("onnx")

from tests.runtime.network.test_layers import MODELS, M, N, made
from vlang.cli import main
from vlang.export import ExportError, export
from vlang.export import main as command

ASK = "verify q { network = net, input = d, perturbation = { frames = all, norm = 2 }, eps = 1e-9, engine = { method = interval } }\n"


def run(folder: Path, x: np.ndarray, outputs: np.ndarray, said: str = "") -> int:  # type: ignore[type-arg]
    """The exit code of a spec that says nothing of the network but the file, and compares all outputs."""
    np.save(folder / "x.npy", x)
    np.save(folder / "reference.npy", outputs)
    (folder / "q.rspec").write_text(
        f'rspec 1\nnetwork net {{ checkpoint = "net.safetensors", reference = "reference.npy"{said} }}\ndataset d {{ inputs = "x.npy" }}\n{ASK}'
    )
    return main(["run", str(folder / "q.rspec")])


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"projections"}))  # torch cannot write those to ONNX
def test_what_is_saved_is_the_module(name: str, tmp_path: Path) -> None:
    model, x = made(name).float(), torch.randn(3, M, N)
    export(model, tmp_path / "net.safetensors", x)
    with torch.no_grad():
        assert run(tmp_path, x.numpy(), model(x).numpy()) in (0, 4)


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.GRU(N, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x)[0][:, -1].cumsum(1))  # type: ignore[no-any-return]


def test_what_cannot_be_said_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="CumSum"):
        export(Odd(), tmp_path / "net.safetensors", torch.randn(3, M, N))
    with pytest.raises(ExportError):
        export(nn.Sequential(nn.Linear(N, 3)), tmp_path / "net.safetensors", torch.randn(3, M, N))  # an output a frame
    with pytest.raises(ExportError, match="proj_size"):
        export(made("projections").float(), tmp_path / "net.safetensors", torch.randn(3, M, N))
    assert not list(tmp_path.iterdir())


def test_a_file_that_was_changed_is_noticed(tmp_path: Path) -> None:
    model, x = made("convolution").float(), torch.randn(3, M, N)
    export(model, tmp_path / "net.safetensors", x)
    with torch.no_grad():
        expected = model(x).numpy()
    path = tmp_path / "net.safetensors"
    tensors = load_file(path)
    with safe_open(path, "pt") as f:
        said = f.metadata()
    name = next(k for k in tensors if k.endswith("linear.weight"))
    save_file({**tensors, name: tensors[name] * 1.1}, path, said)
    np.save(tmp_path / "x.npy", x.numpy())
    (tmp_path / "q.rspec").write_text(f'rspec 1\nnetwork net {{ checkpoint = "net.safetensors" }}\ndataset d {{ inputs = "x.npy" }}\n{ASK}')
    assert main(["run", str(tmp_path / "q.rspec")]) == 2
    for change in (
        lambda layers: layers[:-1],
        lambda layers: [layers[0] | {"padding": 0, "prefix": "x."}, *layers[1:]],
        lambda layers: [layers[0] | {"of": [3]}, *layers[1:]],
        lambda layers: [*layers[:-1], layers[-1] | {"eps": 1}],
    ):
        graph = json.loads(said["layers"])
        save_file(tensors, path, said | {"layers": json.dumps(graph | {"layers": change(graph["layers"])})})
        assert main(["check", str(tmp_path / "q.rspec")]) == 2
    save_file(tensors, path, said)
    assert run(tmp_path, x.numpy(), expected) in (0, 4)
    assert run(tmp_path, x.numpy(), expected, ", layers = [conv1d, relu, gru, mean, linear]") == 2


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\ndef make():\n    torch.manual_seed(0)\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 3))\n"
    )
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.random.default_rng(0).standard_normal((2, M, N)).astype(np.float32))
    assert command(["mine:make", "net.safetensors", "--example", "x.npy"]) == 0
    assert main(["describe", "net.safetensors", "--frames", "9"]) == 0
    assert command(["mine:nothing", "net2.safetensors", "--example", "x.npy"]) == 2
    assert not Path("net2.safetensors").exists()


def test_words(tmp_path: Path) -> None:
    class Text(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb, self.rnn, self.out = nn.Embedding(7, 4), nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(self.emb(x))[1][0][-1])  # type: ignore[no-any-return]

    export(Text(), tmp_path / "net.safetensors", torch.randint(0, 7, (3, 5)), ["no", "yes"])
    (tmp_path / "words.txt").write_text("\n".join("abcdefg"))
    spec = 'rspec 1\nnetwork net { checkpoint = "net.safetensors", vocabulary = "words.txt" }\ninput d { text = "a c b" }\n'
    (tmp_path / "q.rspec").write_text(spec + ASK)
    assert main(["run", str(tmp_path / "q.rspec")]) in (0, 4)


def test_pictures_are_samples_of_four_axes(tmp_path: Path) -> None:
    """Convolutions, batch normalisation and pooling on [samples, channels, rows, columns]; certified and proved again."""
    from tests.vlang.convert.test_onnx import Picture
    from vlang.vcheck.cli import main as vcheck

    torch.manual_seed(0)
    model, x = Picture().eval(), torch.rand(2, 2, 8, 7)
    export(model, tmp_path / "net.safetensors", x)
    with torch.no_grad():
        assert run(tmp_path, x.numpy(), model(x).numpy()) == 0
    assert main(["run", str(tmp_path / "q.rspec"), "--certificates", str(tmp_path / "proofs")]) == 0
    proofs = list(map(str, (tmp_path / "proofs").glob("*.cert")))
    assert len(proofs) == 2
    assert vcheck([*proofs, "--network", str(tmp_path / "net.safetensors")]) == 0
    np.save(tmp_path / "x.npy", x.movedim(1, 3).numpy())  # channels last: another network's
    assert main(["check", str(tmp_path / "q.rspec")]) == 2
