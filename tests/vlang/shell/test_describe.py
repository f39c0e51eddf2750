"""`vrun describe`: what a user runs first on an unknown file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.runtime.network.test_layers import M, N, saved
from vlang.cli import main


def told(capsys: pytest.CaptureFixture[str], *call: str) -> tuple[int, str]:
    code = main(["describe", *call])
    return code, capsys.readouterr().out


def test_a_file_is_told_tensor_by_tensor_and_layer_by_layer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The cure of a file that is not understood is a list of its own layers; said to it, the outputs are torch's."""
    model, path = saved("convolution", tmp_path), str(tmp_path / "net.safetensors")
    code, out = told(capsys, path)
    assert code == 2
    assert "0.inner.weight" in out
    assert 'layers = [conv1d("0.inner"), gru("2.inner"), last, linear("4")]' in out
    x = np.random.default_rng(0).standard_normal((2, M, N))
    np.save(tmp_path / "x.npy", x)
    code, out = told(
        capsys, path, "--say", "layers = [conv1d(padding = 1), relu, gru, mean, linear]", "--input", str(tmp_path / "x.npy"), "--frames", "9"
    )
    assert code == 0
    assert "9 x 6  conv1d" in out
    with torch.no_grad():
        expected = model(torch.from_numpy(x))
    for row in expected.tolist():
        assert ", ".join(f"{v:.6g}" for v in row) in out


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (["--frames", "0"], "whole number"),
        (["--input", "nothere.npy"], "--input nothere.npy"),
        (["--say", "layers = ["], "not read as a network"),
        (["--say", "chekpoint = 3"], "chekpoint"),
    ],
)
def test_what_is_wrong_is_said(call: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved("dense in front", tmp_path)
    said = [] if "--say" in call else ["--say", "layers = [linear, relu, lstm, last, linear]"]
    assert main(["describe", str(tmp_path / "net.safetensors"), *said, *call]) == 2
    captured = capsys.readouterr()
    assert why in captured.out + captured.err
    assert "Traceback" not in captured.err


def test_files_that_are_no_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.pt").write_bytes(b"no")
    for name in ("nothere.pt", "a.pt"):
        code, out = told(capsys, str(tmp_path / name))
        assert code == 2
        assert "not read as a network" in out


def test_a_spec_to_begin_with_runs(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    for model, data in (("lstm.safetensors", "data.npz"), ("gru.pt", None), ("text.safetensors", None)):
        said = [str(world / model), *([] if data is None else [str(world / data)])]
        assert main(["init", *said]) == 0
        spec = Path(model).stem + ".rspec"
        assert main([spec]) in (0, 4)
        assert "\n# Read as " in Path(spec).read_text()
        assert main(["init", *said]) == 2  # it is there already
    capsys.readouterr()
    assert main(["init", str(world / "lstm.safetensors"), "--output", "-"]) == 0
    assert capsys.readouterr().out.startswith("# Certified robustness of lstm.safetensors")
    for wrong in ([str(world / "nothing.pt")], [str(world / "lstm.safetensors"), "nothing.npy"], ["a", "b", "c"]):
        assert main(["init", *wrong, "--output", "new.rspec"]) == 2
        assert not Path("new.rspec").exists()
