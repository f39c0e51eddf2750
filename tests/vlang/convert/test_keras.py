"""Keras' own files: what is read gives Keras' outputs (kept beside them), what is not read names its layer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

h5py = pytest.importorskip("h5py")

from vlang.convert.converted import ConversionError  # noqa: E402
from vlang.convert.keras import read  # noqa: E402
from vlang.runtime.network.reading import outputs  # noqa: E402

FILES = Path(__file__).parent / "keras"
NAMES = ("gru", "gru_before", "lstm_both", "rnn", "conv", "dense")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_what_is_read_gives_keras_outputs(name: str, suffix: str) -> None:
    found = read(str(FILES / f"{name}.{suffix}"))
    with np.load(FILES / "outputs.npz") as held:
        x, expected = torch.from_numpy(held["inputs"]), held[name]
    ours = outputs(found.architecture, {k: torch.from_numpy(v) for k, v in found.tensors.items()}, x)
    assert np.abs(ours.numpy() - expected).max() < 2e-6


def changed(name: str, folder: Path, change: Callable[[list[dict[str, Any]]], None]) -> str:
    """An .h5 file with another configuration."""
    path = folder / "net.h5"
    path.write_bytes((FILES / f"{name}.h5").read_bytes())
    with h5py.File(path, "r+") as f:
        config = json.loads(f.attrs["model_config"])
        change(config["config"]["layers"])
        f.attrs["model_config"] = json.dumps(config)
    return str(path)


def said(k: int, **values: Any) -> Callable[[list[dict[str, Any]]], None]:
    return lambda layers: layers[k]["config"].update(values)


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("gru", said(1, activation="relu"), "activation = 'relu'"),
        ("gru", said(1, recurrent_activation="hard_sigmoid"), "hard_sigmoid"),
        ("gru", said(1, go_backwards=True), "go_backwards"),
        ("gru", said(1, stateful=True), "stateful"),
        ("lstm_both", said(1, merge_mode="sum"), "merge_mode"),
        ("lstm_both", said(3, activation="mish"), "mish"),
        ("conv", said(1, padding="causal"), "causal"),
        ("conv", said(1, strides=[2]), "two sides"),
        ("conv", said(2, axis=[1]), "axis"),
        ("conv", said(4, padding="same"), "padding"),
        ("conv", lambda layers: layers[1].update(class_name="Conv2D"), "Conv2D is not read"),
        ("lstm_both", lambda layers: layers[1]["config"]["layer"]["config"].update(go_backwards=True), "go_backwards"),
        ("lstm_both", lambda layers: layers[1]["config"]["backward_layer"]["config"].update(go_backwards=False), "read forward"),
        ("conv", said(5, data_format="channels_first"), "channels_first"),
        ("conv", said(8, data_format="channels_first"), "channels_first"),
        ("dense", said(2, activation="softmax"), "behind a softmax"),
        ("conv", lambda layers: layers[3].update(class_name="ReLU", config={"name": "relu", "max_value": 6.0}), "max_value"),
        ("dense", lambda layers: layers.insert(0, {"class_name": "Masking", "config": {"name": "masking"}}), "Masking is not read"),
    ],
)
def test_what_is_not_read_is_named(name: str, change: Callable[[list[dict[str, Any]]], None], why: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=why) as caught:
        read(changed(name, tmp_path, change))
    assert caught.value.where.startswith("layer '")


def test_a_spec_runs_a_keras_file_with_a_softmax(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from vlang.cli import main
    from vlang.vcheck.cli import main as vcheck

    with np.load(FILES / "outputs.npz") as held:
        np.save(tmp_path / "x.npy", held["inputs"])
        np.save(tmp_path / "reference.npy", held["gru_before"])
    text = f"""rspec 1
network net {{ checkpoint = "{FILES}/gru_before.keras", reference = "reference.npy" }}
dataset d {{ inputs = "x.npy", pick = first(2) }}
radius q {{ network = net, input = d, perturbation = {{ frames = all, norm = 2 }}, engine = {{ method = planes, tolerance = 0.2 }}
  expect min(radius) > 0 }}
"""
    (tmp_path / "q.rspec").write_text(text)
    assert main(["run", str(tmp_path / "q.rspec"), "--certificates", str(tmp_path / "proofs")]) == 0
    assert "softmax" in capsys.readouterr().out
    (network,) = (tmp_path / "proofs").glob("net-*.safetensors")
    assert vcheck([*map(str, (tmp_path / "proofs").glob("*.cert")), "--network", str(network)]) == 0


def test_files_that_are_none(tmp_path: Path) -> None:
    for name, content in (("a.h5", b"no"), ("a.keras", b"PK\x03\x04no"), ("b.keras", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises((ConversionError, OSError)):
            read(str(tmp_path / name))
    with h5py.File(tmp_path / "w.h5", "w") as f:
        f["x"] = 1
    with pytest.raises(ConversionError, match="weights alone"):
        read(str(tmp_path / "w.h5"))
