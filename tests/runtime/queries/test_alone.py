"""A row's answer is the same bytes alone, in a batch, and in another order (with the words' tables of methods and attacks)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FAMILIES
from vlang.cli import main
from vlang.words.attacks import ATTACKS
from vlang.words.methods import METHODS
from vlang.words.queries import QUERIES

SPECS = Path(__file__).parents[3] / "specs"
#: What is asked of each kind beside network, input and perturbation.
KEYS = {
    "radius": "engine = { max_radius = 4, tolerance = 1/20 }",
    "verify": "eps = 1/8",
    "bounds": "eps = 1/8",
    "attack": "restarts = 5, steps = 10, engine = { max_radius = 4 }",
    "estimate": "samples = 20, batches = 10",
}


def rows(folder: Path, text: str, *options: str) -> list[dict[str, Any]]:
    (folder / "a.rspec").write_text(text)
    main([str(folder / "a.rspec"), "--json", str(folder / "a.json"), *options])
    report = json.loads((folder / "a.json").read_text())
    return [{k: v for k, v in row.items() if k != "sweep"} for query in report["queries"] for row in query["rows"]]


def compare(folder: Path, head: str, kind: str, keys: str, samples: tuple[int, ...]) -> None:
    """All samples at once; one after the other; in another order; one query of several."""
    data = "input = data, " + keys
    together = rows(folder, f"{head}\n{kind} q {{ network = net, perturbation = p, {data} }}\n")
    assert together
    turned = ", ".join(f"data[{i}]" for i in reversed(samples))
    order = rows(folder, f"{head}\n{kind} q {{ network = net, perturbation = p, {keys}\n  sweep input in [{turned}]\n}}\n")
    assert sorted(map(json.dumps, order)) == sorted(map(json.dumps, together))
    first = f"{kind} first {{ network = net, perturbation = p, {data} }}"
    one = f"{kind} q {{ network = net, perturbation = p, input = data[1], {keys} }}"
    alone = rows(folder, f"{head}\n{first}\n{one}\n", "-q", "q")
    assert alone == [row for row in together if row["sample"] == alone[0]["sample"]]


@pytest.mark.parametrize("kind", sorted(QUERIES))
@pytest.mark.parametrize(("cell", "frames"), [("lstm", "each"), ("lstm", "all"), ("rnn", "each")])
def test_every_kind(kind: str, cell: str, frames: str, world: Path, tmp_path: Path) -> None:
    head = f"""rspec 1
network net {{ checkpoint = "{world}/{cell}.safetensors" }}
dataset data {{ source = "{world}/data.npz", pick = first(4) }}
perturbation p {{ frames = {frames}, norm = 2 }}
"""
    compare(tmp_path, head, kind, KEYS[kind], tuple(range(4)))


#: The slowest methods over the cells whose nonlinearities others do not have.
EVERY = [(method, cell) for method in sorted(METHODS) for cell in sorted(FAMILIES) if cell != "mgu" or method not in ("optimized", "sliced", "joint")]


@pytest.mark.parametrize(("method", "cell"), EVERY)
def test_every_method(method: str, cell: str, world: Path, tmp_path: Path) -> None:
    head = f"""rspec 1
network net {{ checkpoint = "{world}/{cell}.safetensors" }}
dataset data {{ source = "{world}/data.npz", pick = first(3) }}
perturbation p {{ frames = each, norm = inf }}
"""
    tolerance = "1/4" if method in ("optimized", "sliced") else "1/20"  # by far the slowest
    compare(tmp_path, head, "radius", f"engine = {{ method = {method}, max_radius = 4, tolerance = {tolerance} }}", tuple(range(3)))


@pytest.mark.parametrize("method", sorted(m for m, word in ATTACKS.items() if not word.substitutes))
@pytest.mark.parametrize("norm", ["1", "2", "inf"])
def test_every_attack_on_a_trained_network(method: str, norm: str, tmp_path: Path) -> None:
    head = f"""rspec 1
network net {{ checkpoint = "{SPECS}/checkpoints/digits_lstm.safetensors" }}
dataset data {{ source = "{SPECS}/data/digits_test.npz", pick = first(5) }}
perturbation p {{ frames = any(2), norm = {norm}, clip = [0, 1] }}
"""
    compare(tmp_path, head, "attack", f"method = {method}, restarts = 2, steps = 10", tuple(range(5)))


def test_words_of_a_question(tmp_path: Path) -> None:
    """Where every word's own set begins at another frame, and a batch bounds what does not move in some of its rows."""
    head = f"""rspec 1
network net {{ checkpoint = "{SPECS}/checkpoints/questions_gru.safetensors" }}
input question {{ text = "Who wrote the book ?" }}
"""
    ask = "radius q { network = net, input = question, engine = { method = planes }, perturbation = { frames = FRAMES, norm = 2 } }\n"
    together = rows(tmp_path, head + ask.replace("FRAMES", "each"))
    assert [together[k]["radius"] for k in (0, 2, 4)] == [rows(tmp_path, head + ask.replace("FRAMES", f"[{k}]"))[0]["radius"] for k in (0, 2, 4)]
