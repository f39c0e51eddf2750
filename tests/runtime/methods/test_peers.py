"""Against the radii that published tools certify (../shared/peers; skipped without it)."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from vlang.lower.spec import compile_spec
from vlang.runtime.execute import execute
from vlang.text.source import Source

MODELS = ["vrnn_digits_4f_32h", "lstm_digits_4f_32h", "gru_digits_4f_32h", "vrnn_mnist_4f_32h", "vrnn_mnist_7f_32h"]
Key = tuple[str, str, str, str]
#: The tools ran in float32 without directed rounding.
FLOAT32 = 1e-4


@pytest.fixture(scope="module")
def records(shared: Path) -> dict[Key, dict[int, float]]:
    """Radii by (norm, frames, query, method) and sample, per model under its name."""
    table: dict[Key, dict[int, float]] = defaultdict(dict)
    for line in (shared / "peers" / "radii.jsonl").read_text().splitlines():
        r = json.loads(line)
        if r["radius"]:
            table[f"{r['model']}/{r['query']}", str(r["norm"]), str(r["frames"]), r["method"]][r["pos"]] = r["radius"]
    return table


def radii(
    shared: Path, tmp_path: Path, model: str, norm: str, method: str, positions: list[int], frames: str, target: str, tolerance: float = 1e-3
) -> dict[int, float]:
    with np.load(shared / "peers" / f"{model}.npz") as data:
        np.save(tmp_path / "inputs.npy", data["inputs"])
        np.save(tmp_path / "labels.npy", data["labels"])
        targets = data["targets"].tolist()
    said = ", activation = tanh" if model.startswith("vrnn") else ""
    text = [
        "rspec 1",
        f'network net {{ checkpoint = "{shared}/peers/{model}.safetensors"{said} }}',
        'dataset d { inputs = "inputs.npy", labels = "labels.npy" }',
    ]
    text += [
        f"radius q{i} {{ network = net, input = d[{i}], perturbation = {{ frames = {frames}, norm = {norm} }}, "
        f"target = {targets[i] if target == 'targeted' else 'any'}, engine = {{ method = {method}, tolerance = {tolerance} }} }}"
        for i in positions
    ]
    results = execute(compile_spec(Source(str(tmp_path / "peers.rspec"), "\n".join(text))), "test")
    return {i: q.rows[0].radius or 0.0 for i, q in zip(positions, results.queries, strict=True)}


@pytest.mark.parametrize("norm", ["1", "2", "inf"])
@pytest.mark.parametrize("model", MODELS)
def test_all_frames_targeted(model: str, norm: str, shared: Path, tmp_path: Path, records: dict[Key, dict[int, float]]) -> None:
    """planes reaches the CROWN column (median of per-sample ratios, to 0.5 %), interval the IBP column; neither exceeds an attack."""
    key = (f"{model}/targeted", norm, "all")
    crown, ibp, attack = (records.get((*key, m), {}) for m in ("CROWN", "IBP", "PGD multi-restart"))
    positions = sorted(attack)[:2]
    planes = radii(shared, tmp_path, model, norm, "planes", positions, "all", "targeted")
    interval = radii(shared, tmp_path, model, norm, "interval", positions, "all", "targeted")
    for i in positions:
        assert interval[i] <= planes[i] * (1 + 1e-3)
        assert planes[i] <= attack[i] * (1 + FLOAT32)
    assert statistics.median(planes[i] / crown[i] for i in positions if i in crown) >= 0.995
    shared_ibp = [interval[i] / ibp[i] for i in positions if i in ibp]
    if shared_ibp:
        assert statistics.median(shared_ibp) >= 0.995


@pytest.mark.parametrize(("model", "query"), [("lstm_digits_4f_32h", "untargeted"), ("vrnn_mnist_4f_32h", "targeted")])
def test_single_frames(model: str, query: str, shared: Path, tmp_path: Path, records: dict[Key, dict[int, float]]) -> None:
    """One perturbed frame: the frames before it are fixed, where a released tool claims radii above real adversarial inputs."""
    for frame in range(4):
        key = (f"{model}/{query}", "2", f"[{frame}]")
        crown, attack = records[(*key, "CROWN")], records[(*key, "PGD multi-restart")]
        positions = sorted(attack)[:5]
        planes = radii(shared, tmp_path, model, "2", "planes", positions, f"[{frame}]", query)
        assert all(planes[i] <= attack[i] * (1 + FLOAT32) for i in positions)
        assert statistics.median(planes[i] / crown[i] for i in positions if i in crown) >= 0.995


@pytest.mark.parametrize("norm", ["1", "2", "inf"])
@pytest.mark.parametrize(("model", "gain"), [("vrnn_digits_4f_32h", 1.08), ("lstm_digits_4f_32h", 1.15), ("gru_digits_4f_32h", 1.3)])
def test_quadratic_bounds_go_well_beyond(
    model: str, gain: float, norm: str, shared: Path, tmp_path: Path, records: dict[Key, dict[int, float]]
) -> None:
    """The default method: above CROWN by a margin, never above an attack."""
    key = (f"{model}/targeted", norm, "all")
    crown, attack = records[(*key, "CROWN")], records[(*key, "PGD multi-restart")]
    positions = sorted(attack)[:1]
    found = radii(shared, tmp_path, model, norm, "auto", positions, "all", "targeted", tolerance=0.03)
    assert all(found[i] <= attack[i] * (1 + FLOAT32) for i in positions)
    assert all(found[i] >= crown[i] * gain for i in positions)
