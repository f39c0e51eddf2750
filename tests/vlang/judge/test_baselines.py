"""Answers of earlier runs: found by question, compared with proofs, and never passed where they are missing."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from vlang.cli import main
from vlang.known import Known, verdict
from vlang.lower.baselines import read

HEAD = """rspec 1
network net {{ checkpoint = "{world}/{cell}.safetensors" }}
dataset data {{ source = "{world}/data.npz", pick = first(3) }}
perturbation p {{ frames = {frames}, norm = {norm} }}
"""
RADIUS = "radius q {{ network = net, input = data, perturbation = p, engine = {{ method = interval, tolerance = 0.1 }}\n  {gates} }}\n"
ATTACK = "attack a {{ network = net, input = data, perturbation = p, restarts = 2, steps = 10\n  {gates} }}\n"
BASELINE = 'baseline released { file = "v1.jsonl" }\n'


def run(folder: Path, world: Path, body: str, cell: str = "lstm", frames: str = "all", norm: str = "2", said: str = "") -> tuple[int, Any]:
    """The exit code and the report of a spec."""
    (folder / "s.rspec").write_text(HEAD.format(world=world, cell=cell, frames=frames, norm=norm) + said + body)
    code = main([str(folder / "s.rspec"), "--json", str(folder / "s.json")])
    return code, json.loads((folder / "s.json").read_text()) if code != 2 else None


@pytest.fixture
def earlier(world: Path, tmp_path: Path) -> list[dict[str, Any]]:
    """A baseline of a run, in v1.jsonl."""
    run(tmp_path, world, RADIUS.format(gates="") + ATTACK.format(gates=""))
    assert main(["baseline", "update", str(tmp_path / "v1.jsonl"), str(tmp_path / "s.json")]) == 0
    lines = [json.loads(line) for line in (tmp_path / "v1.jsonl").read_text().splitlines()]
    assert [x["of"] for x in lines] == sorted(x["of"] for x in lines)
    assert all(0 <= x["certified"] <= x.get("attacked", math.inf) for x in lines)
    return lines


def rewritten(folder: Path, lines: list[dict[str, Any]]) -> None:
    (folder / "v1.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))


def test_a_baseline_of_one_question_is_read(earlier: list[dict[str, Any]], tmp_path: Path) -> None:
    """One line of JSON lines is JSON, too."""
    rewritten(tmp_path, earlier[:1])
    assert list(read(str(tmp_path / "v1.jsonl"))) == [earlier[0]["question"]]


def test_rows_are_compared_with_their_own(earlier: list[dict[str, Any]], world: Path, tmp_path: Path) -> None:
    same = RADIUS.format(gates="expect all(radius >= 0.95 * released.radius)\n  expect count(proved_better) == 0")
    assert run(tmp_path, world, same, said=BASELINE)[0] == 0
    more = {"question": "gone", "of": "another sample", "queries": ["q"], "certified": 0.1}
    rewritten(tmp_path, [*earlier, more])  # that was answered then, and is not now
    code, report = run(tmp_path, world, same, said=BASELINE)
    assert code == 4
    assert "no answer now to: another sample" in report["queries"][0]["expectations"][0]["actual"]
    rewritten(tmp_path, [*earlier, more | {"queries": ["elsewhere"]}])
    assert run(tmp_path, world, same, said=BASELINE)[0] == 0
    best = max(range(3), key=lambda k: earlier[k]["certified"])
    for k in range(3):  # whichever it is, it is seen
        changed = [x | {"certified": x["certified"] * 2 + 1} if j == k else x for j, x in enumerate(earlier)]
        rewritten(tmp_path, changed)
        code, report = run(tmp_path, world, same, said=BASELINE)
        assert code == 1
        (row,) = report["queries"][0]["expectations"][0]["rows"]
        assert report["queries"][0]["rows"][row]["question"] == earlier[k]["question"]
        rewritten(tmp_path, [x for j, x in enumerate(earlier) if j != k])  # a row that is missing never passes
        assert run(tmp_path, world, same, said=BASELINE)[0] == 4
        rewritten(tmp_path, [{**x, "certified": None} if j == k else x for j, x in enumerate(earlier)])
        assert run(tmp_path, world, same, said=BASELINE)[0] == 4
    rewritten(tmp_path, [x | {"attacked": x["certified"] / 2} if k == best else x for k, x in enumerate(earlier)])
    assert run(tmp_path, world, RADIUS.format(gates="expect count(released.proved_better) == 1"), said=BASELINE)[0] == 0


def test_what_an_attack_proves(earlier: list[dict[str, Any]], world: Path, tmp_path: Path) -> None:
    gate = ATTACK.format(gates="expect count(proved_worse) == 0")
    assert run(tmp_path, world, gate, said=BASELINE)[0] == 0
    near = next(x for x in earlier if 0 < x.get("attacked", 0.0) < math.inf)
    rewritten(tmp_path, [x | {"certified": x["attacked"] * 1.01} if x is near else x for x in earlier])
    code, report = run(tmp_path, world, gate, said=BASELINE)
    assert code == 1
    assert "= 1" in report["queries"][0]["expectations"][0]["actual"]


def test_a_question_is_its_input_and_set(world: Path, tmp_path: Path) -> None:
    """Whatever network answers, wherever it lies; not whatever is asked."""

    def asked(**changed: str) -> list[str]:
        return [row["question"] for row in run(tmp_path, world, RADIUS.format(gates=""), **changed)[1]["queries"][0]["rows"]]

    first = asked()
    assert len(set(first)) == 3
    assert asked(cell="gru") == first
    for other in ({"frames": "[0]"}, {"frames": "any(1)"}, {"norm": "inf"}):
        assert not set(asked(**other)) & set(first)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (Known("q", "", 0.5, asked=True), Known("q", "", 0.1, 0.4999, asked=True), "proved worse"),
        (Known("q", "", 0.5, asked=True), Known("q", "", 0.1, 0.5, asked=True), "worse"),
        (Known("q", "", 0.5, 0.6, asked=True), Known("q", "", 0.61, asked=True), "proved better"),
        (Known("q", "", 0.5, asked=True), Known("q", "", 0.61, asked=True), "better"),
        (Known("q", "", 0.5, asked=True), Known("q", "", 0.499, asked=True), "the same"),
        (Known("q", "", 0.5, asked=True), Known("q", "", 0.1, asked=True, complete=False), "undecided"),
        (Known("q", "", 0.0, 0.7), Known("q", "", 0.0, 0.6), "undecided"),
        (Known("q", "", 0.5, asked=True), Known("q", "", 0.0, 0.4), "proved worse"),
    ],
)
def test_verdicts(old: Known, new: Known, found: str) -> None:
    assert verdict(old, new) == found


def test_diff(earlier: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other, comment = (str(tmp_path / name) for name in ("s.json", "v2.jsonl", "comment.md"))
    assert main(["diff", one, str(tmp_path / "v1.jsonl"), "--fail-on", "worse"]) == 0
    assert "3 the same" in capsys.readouterr().out
    near = next(x for x in earlier if x["certified"] > 0)
    lines = [x | {"certified": 0.0, "attacked": x["certified"] / 2} if x is near else x for x in earlier]
    Path(other).write_text("".join(json.dumps(x) + "\n" for x in lines))
    assert main(["diff", one, other]) == 0
    assert main(["diff", one, other, "--fail-on", "proved-worse", "--markdown", comment]) == 1
    assert "1 proved worse, 2 the same" in capsys.readouterr().out
    assert "| proved worse |" in Path(comment).read_text()
    Path(other).write_text("".join(json.dumps(x) + "\n" for x in earlier[1:]) + json.dumps({"question": "new", "certified": 1}) + "\n")
    assert main(["diff", one, other, "--fail-on", "worse"]) == 1
    assert "1 vanished, 1 appeared, 2 the same" in capsys.readouterr().out
    held = Path(one).read_bytes()
    assert main(["baseline", "update", one, str(tmp_path / "v1.jsonl")]) == 2  # the report, in place of the baseline
    assert Path(one).read_bytes() == held
    assert main(["baseline", "show", other]) == 0
    assert "3 questions" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text", ["", "[1]", "{}", '{"question": "q", "certified": -1}\n', '{"question": "q", "certified": "1"}\n', "rspec 1\n", "null"]
)
def test_files_that_hold_no_answers_are_errors(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "v.jsonl"
    path.write_text(text)
    if text == "":
        assert read(str(path)) == {}
        return
    assert main(["diff", str(path), str(path)]) == 2
    assert "R317" in capsys.readouterr().err


def test_what_only_an_attack_can_prove_is_not_asked_of_a_certificate(earlier: list[dict[str, Any]], world: Path, tmp_path: Path) -> None:
    """It would hold of every network."""
    del earlier
    for body, said, code in (
        (RADIUS.format(gates="expect count(proved_worse) == 0"), BASELINE, 2),
        (ATTACK.format(gates="expect count(proved_better) == 0"), BASELINE, 2),
        (ATTACK.format(gates="expect count(proved_worse) == 0"), "", 2),
        (ATTACK.format(gates="expect count(proved_worse) == 0"), BASELINE + BASELINE.replace("released", "older"), 2),
        (ATTACK.format(gates="expect count(older.proved_worse) == 0"), BASELINE + BASELINE.replace("released", "older"), 0),
        (RADIUS.format(gates="expect all(radius >= 0)"), BASELINE.replace("v1", "v9"), 2),
        (RADIUS.format(gates="expect all(radius >= 0)"), "baseline released { }\n", 2),
    ):
        assert run(tmp_path, world, body, said=said)[0] == code, (body, said)
