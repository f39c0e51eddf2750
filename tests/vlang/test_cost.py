"""`vrun plan` counts what the runtime builds, without torch."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.helpers import random_network
from vlang.cli import main
from vlang.cost import Pace, in_words, nodes, pass_flop, seconds
from vlang.lower.spec import compile_spec
from vlang.plan import Architecture, LayerPlan
from vlang.runtime.graph.nodes import Nonlinear
from vlang.text.source import Source
from vlang.words.cells import CELLS


def architecture(cell: str, layers: int, bidirectional: bool, head: tuple[str, ...], s: int = 4, n: int = 3) -> Architecture:
    directions = 1 + bidirectional
    stack = LayerPlan(cell, (-1,), s * directions, "", (), (("layers", layers), ("directions", directions), ("initial", ())))
    above = ["last", *(x for op in ("none", *head) for x in ([] if op == "none" else [op]) + ["linear"])]
    plans = tuple(LayerPlan(word, (k,), 3, roles=("weight",) if word == "linear" else ()) for k, word in enumerate(above))
    return Architecture((stack, *plans), n)


@pytest.mark.parametrize("cell", list(CELLS))
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("head", [(), ("relu",), ("none", "tanh")])
def test_node_count_is_the_graphs(cell: str, layers: int, bidirectional: bool, head: tuple[str, ...]) -> None:
    network = random_network(cell, layers=layers, bidirectional=bidirectional, head=head)
    assert nodes(architecture(cell, layers, bidirectional, head), 5) == len(network.unroll(5).nodes)


def test_flop_follows_the_model() -> None:
    """runtime/README.md, section 7: 40 m^2 s^2 (s + n) for an LSTM, 2 m^2 s^2 (s + n) for a vanilla RNN."""
    for cell, factor in (("lstm", 40), ("rnn_tanh", 2)):
        for m, s, n in ((7, 32, 112), (28, 128, 28)):
            assert 0.9 <= pass_flop(architecture(cell, 1, False, (), s, n), m) / (factor * m * m * s * s * (s + n)) <= 1.2


@pytest.mark.parametrize("cell", list(CELLS))
def test_quadratic_forms_are_counted_as_the_engine_makes_them(cell: str) -> None:
    steps = [n for n in random_network(cell, s=4).unroll(5).nodes if isinstance(n, Nonlinear)]
    assert sum(n.width * (1 if len(n.args) == 1 else 3) for n in steps) == CELLS[cell].products * 4 * 5


def test_a_plan_in_json_has_the_rows_of_the_run(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, report = tmp_path / "s.rspec", tmp_path / "s.json"
    spec.write_text(f"""rspec 1
network net {{ checkpoint = "{world}/lstm.safetensors" }}
dataset data {{ source = "{world}/data.npz", pick = first(3) }}
perturbation p {{ frames = each, norm = 2 }}
radius q {{ network = net, input = data, perturbation = p, engine = {{ method = interval, tolerance = 0.5 }}
  sweep perturbation.norm in [1, inf]
  expect min(radius) >= 0 }}
attack a {{ network = net, input = data[0], perturbation = p, target = runner_up, steps = 2, restarts = 1 }}
spectrum s {{ of = net.jacobian(data[0], 1) }}
""")
    assert main(["plan", "--json", str(spec)]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert main([str(spec), "--json", str(report)]) == 0
    ran = json.loads(report.read_text())
    assert plan["spec"] == {**ran["spec"], "params": {}}
    for planned, query in zip(plan["queries"], ran["queries"], strict=True):
        assert (planned["name"], planned["kind"]) == (query["name"], query["kind"])
        assert planned["seconds"] > 0
        assert [{k: row[k] for k in asked} for row, asked in zip(query["rows"], planned["rows"], strict=True)] == planned["rows"]
        assert all(len(row["question"]) == 24 for row in planned["rows"])
    assert plan["seconds"] == sum(q["seconds"] for q in plan["queries"])
    assert plan["spectra"] == [{"name": "s", "matrices": 1}]


def test_what_is_left_out_is_said_with_its_budget(world: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A method that chooses makes no forms that take longer than it may spend; the budget that is named pays them."""
    monkeypatch.setattr("vlang.cost.AFFORDED", 1e-3)
    spec = world / "left.rspec"

    def planned(engine: str) -> str:
        spec.write_text(f"""rspec 1
network net {{ checkpoint = "lstm.safetensors" }}
dataset data {{ source = "data.npz", pick = first(3) }}
radius q {{ network = net, input = data, perturbation = {{ frames = all, norm = 2 }}, engine = {{ {engine} }} }}
""")
        assert main(["plan", str(spec)]) == 0
        return capsys.readouterr().out

    said = re.search(r"left out: quadratic bounds, about \d+ s of a core a row; budget = (\d+) pays them", planned("method = auto"))
    assert said is not None
    assert "left out: quadratic" not in planned(f"method = auto, budget = {said[1]} s")
    assert "left out" not in planned("method = quadratic")
    assert "left out" not in planned("method = planes")


def test_seconds_follow_what_is_asked(world: Path) -> None:
    """More of anything takes longer; a machine of half the pace takes twice as long."""

    def planned(frames: str = "all", samples: int = 3, asked: str = "radius q {", network: str = "lstm", slower: int = 1) -> float:
        text = f"""rspec 1
network net {{ checkpoint = "{world}/{network}.safetensors" }}
dataset data {{ source = "{world}/data.npz", pick = first({samples}) }}
{asked} network = net, input = data, perturbation = {{ frames = {frames}, norm = 2 }} }}
"""
        (query,) = compile_spec(Source(str(world / "x.rspec"), text)).queries
        return seconds(query, Pace(1e10 / slower, 1e10 / slower, 1e-5 * slower))

    base = planned()
    assert planned(slower=2) == pytest.approx(2 * base)
    assert planned(samples=8) > base
    assert planned(frames="[3]") < base
    assert planned(network="rnn") < base
    assert planned(asked="verify q { eps = 0.1, ") < base
    assert planned(asked="radius q { engine = { method = interval }, ") < planned(asked="radius q { engine = { method = planes }, ") <= base
    attack = planned(asked="attack q { ")
    assert planned(asked="attack q { steps = 200, ") == pytest.approx(2 * attack)
    assert planned(asked="attack q { method = cw, ") > attack
    assert planned(asked="estimate q { batches = 100, ") == pytest.approx(2 * planned(asked="estimate q { "))
    assert [in_words(x) for x in (0.2, 8.4, 89, 91, 5000, 5500)] == ["1 s", "8 s", "89 s", "2 min", "83 min", "2 h"]
