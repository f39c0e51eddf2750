"""The contract's specs run as written, paths filled in (../shared/contract; skipped without it)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vlang.cli import main

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("table", "lstm"),
        ("table", "gru"),
        ("table", "rnn"),
        ("frames", "rnn"),
        ("verify", "lstm"),
        ("verify", "rnn"),
    ],
)
def test_digit_contracts(name: str, cell: str, shared: Path, tmp_path: Path) -> None:
    report = run(name, shared, tmp_path, checkpoint=f"digits_{cell}", cell=cell)
    assert report["schema"] == "rspec-report/1"
    assert report["verdict"] == "passed"
    for query in report["queries"]:
        assert query["rows"]
        assert all(e["verdict"] == "passed" for e in query["expectations"])
    rows = {q["name"]: [r.get("radius") for r in q["rows"]] for q in report["queries"]}
    if name == "frames":
        assert rows["any_four"] == rows["every"]
        assert all(a >= b for a, b in zip(rows["first_half"], rows["every"], strict=True))
        assert all(a >= b for a, b in zip(rows["any_one"], rows["any_four"], strict=True))
        assert all(a >= b for a, b in zip(rows["weighted"], rows["every"], strict=True))
    if name == "table":
        by_norm = {n: [r["radius"] for r in report["queries"][0]["rows"] if r["norm"] == n] for n in (1, 2, "inf")}
        assert all(a >= b >= c for a, b, c in zip(*by_norm.values(), strict=True))
        assert {r["sweep"]["perturbation.norm"] for r in report["queries"][0]["rows"]} == {"1", "2", "inf"}


def test_word_contract(shared: Path, tmp_path: Path) -> None:
    report = run("word", shared, tmp_path, checkpoint="questions_lstm", cell="lstm")
    assert [q["name"] for q in report["queries"]] == ["word3", "words"]
    (word,) = report["queries"][0]["rows"]
    assert word["tokens"] == ["name"]
    assert word["frames"] == [3]
    assert len(report["queries"][1]["rows"]) == 10
    assert [e["verdict"] for e in report["queries"][1]["expectations"]] == ["passed", "warned"]


def run(name: str, shared: Path, tmp_path: Path, checkpoint: str, cell: str) -> dict:  # type: ignore[type-arg]
    import numpy as np

    with np.load(ROOT / "specs/data/digits_test.npz") as data:
        np.save(tmp_path / "inputs.npy", data["inputs"])
        np.save(tmp_path / "labels.npy", data["labels"])
    text = (shared / "contract" / f"{name}.rspec").read_text()
    places = {"checkpoint": str(ROOT / f"specs/checkpoints/{checkpoint}.safetensors"), "inputs": "inputs.npy", "labels": "labels.npy", "cell": cell}
    for key, value in places.items():
        text = text.replace(f"@{key}@", value)
    spec = tmp_path / f"{name}.rspec"
    spec.write_text(text)
    assert main(["run", str(spec), "--json", str(tmp_path / "report.json")]) == 0
    return json.loads((tmp_path / "report.json").read_text())  # type: ignore[no-any-return]
