"""The contract's specs run as written, paths filled in (../shared/contract; skipped without it)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

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


def test_layers_contract(shared: Path, tmp_path: Path) -> None:
    """A network that its state dict does not say the order of, on raw numbers; torch's own outputs are the reference."""

    class Raw(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out, self.inner, self.rnn = nn.Linear(6, 3), nn.Linear(4, 5), nn.LSTM(5, 6, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(torch.relu(self.inner((x - 0.5) / 0.25)))[0][:, -1])  # type: ignore[no-any-return]

    torch.manual_seed(0)
    model, x = Raw(), torch.rand(8, 6, 4)
    torch.save(model.state_dict(), tmp_path / "net.pt")
    with torch.no_grad():
        outputs = model(x)
    for name, array in (("inputs", x), ("reference", outputs), ("labels", outputs.argmax(1))):
        np.save(tmp_path / f"{name}.npy", array.numpy())
    text = (shared / "contract" / "layers.rspec").read_text()
    for key, value in {"checkpoint": "net.pt", "inputs": "inputs.npy", "labels": "labels.npy", "reference": "reference.npy"}.items():
        text = text.replace(f"@{key}@", value)
    (tmp_path / "layers.rspec").write_text(text)
    assert main(["run", str(tmp_path / "layers.rspec"), "--json", str(tmp_path / "report.json")]) == 0
    (query,) = json.loads((tmp_path / "report.json").read_text())["queries"]
    assert len(query["rows"]) == 5
    assert all(row["radius"] > 0.001 for row in query["rows"])


class Stepwise(nn.Module):
    """An output a frame, or the last frame's alone."""

    def __init__(self, cell: type[nn.GRU] | type[nn.LSTM], n: int, outputs: int, last: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.out, self.last = cell(n, 8, batch_first=True), nn.Linear(8, outputs), last

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.rnn(x)[0])
        return y[:, -1] if self.last else y


def filled(name: str, shared: Path, tmp_path: Path, places: dict[str, str]) -> list[dict[str, Any]]:
    """The queries of a contract's report, its paths filled in."""
    text = (shared / "contract" / f"{name}.rspec").read_text()
    for key, value in places.items():
        text = text.replace(f"@{key}@", value)
    (tmp_path / f"{name}.rspec").write_text(text)
    assert main(["run", str(tmp_path / f"{name}.rspec"), "--json", str(tmp_path / "report.json")]) == 0
    found: list[dict[str, Any]] = json.loads((tmp_path / "report.json").read_text())["queries"]
    return found


def test_directions_contract(shared: Path, tmp_path: Path) -> None:
    with np.load(ROOT / "specs/data/digits_test.npz") as data:
        np.save(tmp_path / "inputs.npy", data["inputs"])
        np.save(tmp_path / "labels.npy", data["labels"])
        np.save(tmp_path / "directions.npy", np.random.default_rng(0).normal(size=(3, *data["inputs"].shape[1:])))
    places = {name: f"{name}.npy" for name in ("inputs", "labels", "directions")}
    places["checkpoint"] = str(ROOT / "specs/checkpoints/digits_lstm.safetensors")
    drifting, nearest, named = filled("directions", shared, tmp_path, places)
    for cert, attack in zip(drifting["rows"], nearest["rows"], strict=True):
        assert 0.99 * attack["radius"] < cert["radius"] <= attack["radius"]
        assert cert["pieces"] > 1
    assert {r["verdict"] for r in named["rows"]} == {"certified"}


def test_alternatives_contract(shared: Path, tmp_path: Path) -> None:
    lines = (shared / "data/trec/TREC_10.label").read_text("latin-1").splitlines()[:5]
    (tmp_path / "q.tsv").write_text("".join(f"{line.split(':')[0]}\t{line.split(' ', 1)[1]}\n" for line in lines))
    (tmp_path / "synonyms.json").write_text(json.dumps({"name": ["title", "term"], "city": ["town"], "what": ["which", "who"], "was": ["is"]}))
    places = {"checkpoint": str(ROOT / "specs/checkpoints/questions_lstm.safetensors"), "tsv": "q.tsv", "synonyms": "synonyms.json"}
    listed, nearby, counted = filled("alternatives", shared, tmp_path, places)
    for verify, radius in zip(nearby["rows"], counted["rows"], strict=True):
        assert radius["radius"] == (verify["verdict"] == "certified")
    assert {r["verdict"] for r in listed["rows"]} == {"certified", "falsified"}


def test_outputs_contract(shared: Path, tmp_path: Path) -> None:
    model = Stepwise(nn.GRU, 3, 2, last=True)
    torch.save(model.state_dict(), tmp_path / "net.pt")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(6, 5, 3)).astype(np.float32))
    steady, ceiling, nearest = filled("outputs", shared, tmp_path, {"checkpoint": "net.pt", "inputs": "x.npy"})
    assert all(r["verdict"] == "certified" for r in ceiling["rows"])
    for cert, attack in zip(steady["rows"], nearest["rows"], strict=True):
        assert 0.2 * attack["radius"] < cert["radius"] <= attack["radius"]


def test_steps_contract(shared: Path, tmp_path: Path) -> None:
    model, x = Stepwise(nn.LSTM, 4, 3, last=False), torch.randn(4, 5, 4, generator=torch.Generator().manual_seed(0))
    torch.save(model.state_dict(), tmp_path / "net.pt")
    with torch.no_grad():
        np.savez(tmp_path / "d.npz", inputs=x.numpy(), labels=model(x).argmax(-1).numpy())
    tags, together, silent = filled("steps", shared, tmp_path, {"checkpoint": "net.pt", "source": "d.npz"})
    assert [(r["sample"], r["step"]) for r in tags["rows"]] == [(i, t) for i in range(3) for t in range(5)]
    for i, row in enumerate(together["rows"]):
        least = min(r["radius"] for r in tags["rows"] if r["sample"] == i)
        assert 0.95 * least < row["radius"] < 1.05 * least
    assert all(r["target"] == "word word word" for r in silent["rows"])


def test_text_contract(shared: Path, tmp_path: Path) -> None:
    lines = [line.split(" ", 1) for line in (shared / "data" / "trec" / "TREC_10.label").read_text("latin-1").splitlines()]
    short = [(label.split(":")[0], text) for label, text in lines if len(text.split()) <= 6]
    (tmp_path / "q.tsv").write_text("".join(f"{label}\t{text}\n" for label, text in short[:30]))
    (words,) = filled("text", shared, tmp_path, {"checkpoint": str(ROOT / "specs/checkpoints/questions_lstm.safetensors"), "tsv": "q.tsv"})
    assert len({r["sample"] for r in words["rows"]}) > 10
    assert all(r["radius"] > 0.01 and len(r["tokens"]) == 1 for r in words["rows"])
