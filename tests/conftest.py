"""Shared fixtures: a folder of small networks and data that specs in the tests refer to."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

# Every worker of pytest-xdist has a core; so have the processes that it starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)
# A job of GitHub's actions is told more than a person is (tests/vlang/shell/test_machines.py).
os.environ.pop("GITHUB_ACTIONS", None)

#: Files whose tests take longest: begun first, so that no worker is left alone with them at the end.
LONG = frozenset({"test_contract.py", "test_house.py", "test_certificate.py"})
SHARED = Path(__file__).resolve().parents[2] / "shared"
WORDS = ["what", "is", "the", "name", "of", "dog", "?"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONG)


class Mgu(nn.Module):
    """The weights of a cell that torch has no module of, named as torch names those of its own."""

    def __init__(self, n: int, s: int, batch_first: bool) -> None:
        super().__init__()
        for name, shape in (("weight_ih_l0", (2 * s, n)), ("weight_hh_l0", (2 * s, s)), ("bias_ih_l0", (2 * s,)), ("bias_hh_l0", (2 * s,))):
            self.register_parameter(name, nn.Parameter(torch.randn(shape) / 2))


#: By a cell's family, a module with its weights.
FAMILIES: dict[str, Any] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU, "mgu": Mgu}


class Classifier(nn.Module):
    """A recurrent classifier as users write it."""

    def __init__(self, cell: str, n: int, s: int, classes: int, tokens: int = 0) -> None:
        super().__init__()
        if tokens:
            self.embedding = nn.Embedding(tokens, n)
        self.rnn = FAMILIES[cell](n, s, batch_first=True)
        self.out = nn.Linear(s, classes)


class Evil:
    """A pickle that wants to run code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("touch /tmp/rspec_evil_was_here",)


def make_world(folder: Path) -> Path:
    """Networks (three cells, text, two-layer head), data, and broken files of every kind."""
    torch.manual_seed(0)
    labels = json.dumps(["A", "B", "C"])
    for cell in ("rnn", "lstm", "gru"):
        model = Classifier(cell, 3, 4, 3)
        save_file(dict(model.state_dict()), folder / f"{cell}.safetensors", metadata={"labels": labels, "activation": "tanh"})
        torch.save(model.state_dict(), folder / f"{cell}.pt")
    text = Classifier("lstm", 3, 4, 3, len(WORDS))
    save_file(dict(text.state_dict()), folder / "text.safetensors", metadata={"labels": labels, "vocabulary": "\n".join(WORDS)})
    save_file(dict(text.state_dict()), folder / "mute.safetensors", metadata={"labels": labels})
    (folder / "words.txt").write_text("\n".join(WORDS) + "\n")
    (folder / "few_words.txt").write_text("what\nis\n")
    deep = {**{k: v for k, v in model.state_dict().items() if k.startswith("rnn")}}
    deep |= {"head.0.weight": torch.randn(5, 4), "head.0.bias": torch.randn(5), "head.2.weight": torch.randn(3, 5), "head.2.bias": torch.randn(3)}
    save_file(deep, folder / "deep.safetensors")

    g = np.random.default_rng(0)
    inputs = g.standard_normal((8, 4, 3)).astype(np.float32)
    np.save(folder / "inputs.npy", inputs)
    np.save(folder / "labels.npy", np.arange(8) % 3)
    np.savez(folder / "data.npz", inputs=inputs, labels=np.arange(8) % 3)
    np.savez(folder / "ragged.npz", inputs=inputs.reshape(32, 3), offsets=np.array([0, 3, 8, 11, 11, 32]), labels=np.arange(5) % 3)
    np.savez(folder / "torn.npz", inputs=inputs.reshape(32, 3), offsets=np.array([0, 9, 5, 32]))
    (folder / "figures.csv").write_text("# from a paper\nsample,found\n0,0.5\n1,0.25\n")
    (folder / "typo.csv").write_text("smaple,found\n0,0.5\n1,0.25\n")
    (folder / "twice.csv").write_text("sample,found\n0,0.5\n0,0.25\n")
    (folder / "odd.csv").write_text("sample,netwrk,found\n0,rnn,0.5\n")
    (folder / "bom.csv").write_bytes(b"\xef\xbb\xbfsample,found\n0,0.5\n1,0.25\n")
    (folder / "torn.csv").write_text("sample,found\n0\n")
    np.save(folder / "flat.npy", inputs.reshape(8, 12))
    np.save(folder / "unit.npy", g.random((8, 4, 3)))
    np.save(folder / "seven.npy", np.arange(7) % 3)
    np.save(folder / "bad_labels.npy", np.arange(8))
    np.save(folder / "float_labels.npy", np.arange(8) / 2)
    np.save(folder / "no_samples.npy", np.zeros((0, 4, 3)))
    np.save(folder / "nan.npy", np.where(np.arange(96).reshape(8, 4, 3) == 50, np.nan, inputs))
    np.save(folder / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    (folder / "short.npy").write_bytes((folder / "inputs.npy").read_bytes()[:-9])
    (folder / "text.npy").write_text("not an array")
    (folder / "bad.npz").write_bytes(b"PK\x03\x04 nonsense")

    whole = (folder / "lstm.safetensors").read_bytes()
    (folder / "empty.safetensors").write_bytes(b"")
    (folder / "short.safetensors").write_bytes(whole[:-20])
    (folder / "shorter.safetensors").write_bytes(whole[:100])
    (folder / "garbage.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00this is no json!")
    (folder / "huge.safetensors").write_bytes(b"\xff\xff\xff\xff\xff\xff\xff\x7f{}")
    state = model.state_dict()
    save_file({k: v * (torch.nan if k == "out.bias" else 1) for k, v in state.items()}, folder / "nan.safetensors")
    save_file({k: v / (0 if k == "out.bias" else 1) for k, v in state.items()}, folder / "inf.safetensors")
    save_file({k: v for k, v in state.items() if not k.startswith("out")}, folder / "headless.safetensors")
    save_file({"fc.weight": torch.randn(3, 3)}, folder / "plain.safetensors")
    save_file({**state, "out.weight": torch.randn(3, 7)}, folder / "misfit.safetensors")
    save_file({**state, "norm.scale": torch.randn(3)}, folder / "extra.safetensors")
    with (folder / "evil.pkl").open("wb") as f:
        pickle.dump(Evil(), f)
    torch.save({"rnn.weight_ih_l0": Evil()}, folder / "evil.pt")
    torch.save(model, folder / "module.pt")
    (folder / "folder").mkdir()
    save_file(dict(Classifier("mgu", 3, 4, 3).state_dict()), folder / "mgu.safetensors", metadata={"labels": labels})
    return folder


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data beside the checkout; tests that need it skip without it."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared here")
    return SHARED
