"""Checkpoints: the same network from safetensors and torch files, by names and shapes; nothing in a file is run."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.conftest import Classifier
from vlang.lower.spec import compile_spec
from vlang.runtime.execute import execute
from vlang.text.diagnostics import SpecError
from vlang.text.source import Source

ASK = "radius q { network = net, input = d, perturbation = { frames = all, norm = 2 }, engine = { method = interval } }\n"


def spec(folder: Path, network: str, dataset: str = 'source = "data.npz", pick = first(3)') -> Source:
    return Source(str(folder / "x.rspec"), f"rspec 1\nnetwork net {{ {network} }}\ndataset d {{ {dataset} }}\n{ASK}")


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_torch_and_safetensors_files_are_the_same_network(cell: str, world: Path) -> None:
    said = ", activation = tanh" if cell == "rnn" else ""
    plans = [compile_spec(spec(world, f'checkpoint = "{cell}.{end}"{said}')) for end in ("safetensors", "pt")]
    a, b = (p.queries[0].variants[0].network.architecture for p in plans)
    assert a == b
    radii = [[r.radius for r in execute(p, "test").queries[0].rows] for p in plans]
    assert radii[0] == radii[1]


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_predictions_are_torchs(cell: str, bidirectional: bool, tmp_path: Path) -> None:
    """Two layers, an initial state, no biases, a two-layer head under odd names: read from names and shapes alone."""
    torch.manual_seed(1)
    module = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[cell](3, 4, 2, bidirectional=bidirectional, batch_first=True, bias=not bidirectional)
    directions = 2 if bidirectional else 1
    head = nn.Sequential(nn.Linear(4 * directions, 5), nn.Tanh(), nn.Linear(5, 3))
    start = torch.randn(2 * directions, 4)
    state = {f"encoder.{k}": v for k, v in module.state_dict().items()} | {f"classifier.{k}": v for k, v in head.state_dict().items()}
    state["h0"] = start
    if cell == "lstm":
        state["c0"] = start * 0.5
    said = {"head": json.dumps(["tanh"]), "activation": "tanh", "readout": "last"}
    save_file({k: v.clone() for k, v in state.items()}, tmp_path / "net.safetensors", metadata=said)
    x = np.random.default_rng(0).standard_normal((40, 5, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    h = start[:, None].expand(-1, 40, -1).contiguous()
    given = (h, h * 0.5) if cell == "lstm" else h
    final = module(torch.tensor(x), given)[1]
    h_n = (final[0] if cell == "lstm" else final).reshape(2, directions, 40, 4)[-1]
    expected = head(torch.cat(list(h_n), 1)).argmax(1).tolist()
    results = execute(compile_spec(spec(tmp_path, 'checkpoint = "net.safetensors"', 'inputs = "x.npy"')), "test")
    assert [r.predicted for r in results.queries[0].rows] == expected


def test_activation_and_readout_come_from_metadata_or_the_spec(tmp_path: Path) -> None:
    state = dict(Classifier("rnn", 3, 4, 3).state_dict())
    save_file(state, tmp_path / "net.safetensors", metadata={"activation": "relu", "readout": "mean"})
    np.save(tmp_path / "x.npy", np.zeros((1, 2, 3)))

    def read(extra: str) -> tuple[str, str]:
        a = compile_spec(spec(tmp_path, f'checkpoint = "net.safetensors" {extra}', 'inputs = "x.npy"')).queries[0].variants[0].network.architecture
        return a.layers[0].word, a.layers[1].word

    assert read("") == ("rnn_relu", "mean")
    assert read(", activation = tanh, readout = max") == ("rnn_tanh", "max")
    assert read(", cell = rnn_tanh") == ("rnn_tanh", "mean")


def header(tensors: object, data: bytes = b"") -> bytes:
    raw = tensors if isinstance(tensors, bytes) else json.dumps(tensors).encode()
    return struct.pack("<Q", len(raw)) + raw + data


BAD_HEADERS = [
    header({"rnn.weight_ih_l9999999": {"dtype": "F32", "shape": [4, 3], "data_offsets": [0, 48]}}, b"\0" * 48),
    header({"rnn.weight_ih_l0": {"dtype": "X9", "shape": [10**9, 4], "data_offsets": [0, 0]}}),
    header({"rnn.weight_ih_l0": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4]}}, b"\0" * 4),
    header({"rnn.weight_ih_l0": {"dtype": "F32", "shape": [-1, 4], "data_offsets": [0, 4]}}, b"\0" * 4),
    header({"rnn.weight_ih_l0": {"dtype": "F32", "shape": [1, 1], "data_offsets": [-4, 0]}}, b"\0" * 4),
    header(b'{"rnn.weight_ih_l0": {"dtype": "F32", "shape": [Infinity, 4], "data_offsets": [0, 4]}}', b"\0" * 4),
    header(b"[" * 100_000),
    header({"a": 3}),
    header({"__metadata__": {"labels": 3}}),
    header({"\u00b2.weight": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}}, b"\0" * 4),
]


@pytest.mark.parametrize("content", BAD_HEADERS, ids=range(len(BAD_HEADERS)))
def test_lying_headers_are_refused_before_anything_is_allocated(content: bytes, world: Path, tmp_path: Path) -> None:
    (tmp_path / "net.safetensors").write_bytes(content)
    with pytest.raises(SpecError) as e:
        compile_spec(spec(tmp_path, 'checkpoint = "net.safetensors"', f'source = "{world}/data.npz"'))
    assert e.value.diagnostics[0].code in ("R305", "R307", "R311", "R401")


def test_every_truncation_is_refused(world: Path, tmp_path: Path) -> None:
    for name in ("lstm.safetensors", "lstm.pt", "data.npz", "inputs.npy"):
        whole = (world / name).read_bytes()
        for length in [*range(1, min(200, len(whole)), 7), *range(200, len(whole) - 1, max(1, len(whole) // 40))]:
            (tmp_path / name).write_bytes(whole[:length])
            network = f'checkpoint = "{name}"' if name.startswith("lstm") else f'checkpoint = "{world}/lstm.safetensors"'
            data = f'source = "{name}"' if name == "data.npz" else f'inputs = "{name}"' if name == "inputs.npy" else f'source = "{world}/data.npz"'
            with pytest.raises(SpecError):
                compile_spec(spec(tmp_path, network, data))


def test_pickles_that_want_memory_or_code(tmp_path: Path, world: Path) -> None:
    for raw, code in ((b"\x80\x02Nr\xff\xff\xff\x3f.", "R305"), (pickle.dumps({"a": print}), "R306"), (b"\x80\x02.", "R305"), (b"garbage", "R305")):
        with zipfile.ZipFile(tmp_path / "net.pt", "w") as z:
            z.writestr("net/data.pkl", raw)
        with pytest.raises(SpecError) as e:
            compile_spec(spec(tmp_path, 'checkpoint = "net.pt"', f'source = "{world}/data.npz"'))
        assert e.value.diagnostics[0].code == code


def test_quantised_weights_are_refused(tmp_path: Path, world: Path) -> None:
    state = dict(Classifier("lstm", 3, 4, 3).state_dict())
    save_file({**state, "out.weight": torch.ones(3, 4, dtype=torch.int8)}, tmp_path / "net.safetensors")
    with pytest.raises(SpecError, match="not floating-point"):
        compile_spec(spec(tmp_path, 'checkpoint = "net.safetensors"', f'source = "{world}/data.npz"'))
