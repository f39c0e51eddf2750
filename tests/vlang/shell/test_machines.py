"""What machines read of a run: every format says the same, holds whatever names hold, and keeps to its reader's limits."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from junitparser import Error, Failure, JUnitXml

from vlang.cli import main
from vlang.formats import FORMATS
from vlang.report import Outcome
from vlang.text.diagnostics import Diagnostic
from vlang.text.source import Span
from vlang.words.formats import RUNS
from vlang.words.queries import QUERIES

ROOT = Path(__file__).parents[3]

GATES = """  expect min(radius) > 1000 because "100% of it, or: nothing"
  expect max(radius) > 0
  expect count(radius > 0) >= 1000
  warn median(radius) > 1000
"""
HOSTILE = "a%b,c:d <&> 'e\" \x1b[31m\u202e.rspec"


def spec(folder: Path, world: Path, name: str = "s.rspec", gates: str = GATES) -> str:
    path = folder / name
    path.write_text(f"""rspec 1
network net {{ checkpoint = "{world}/lstm.safetensors" }}
dataset data {{ source = "{world}/data.npz", pick = first(3) }}
radius q {{ network = net, input = data, perturbation = {{ frames = [1], norm = 2 }}, engine = {{ method = interval, tolerance = 0.5 }}
{gates}}}
""")
    return str(path)


def reported(folder: Path, *files: str, command: str = "run") -> tuple[int, dict[str, str]]:
    """The exit code, and what every format says."""
    paths = {word: folder / f"out.{word}" for word in FORMATS}
    code = main([command, *files, *(x for word, path in paths.items() for x in ("--report", f"{word}:{path}"))])
    return code, {word: path.read_text() for word, path in paths.items()}


@pytest.mark.parametrize("name", ["s.rspec", HOSTILE])
def test_every_format_tells_what_does_not_hold(name: str, world: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.rspec"
    bad.write_text("rspec 1\nradis q { }\n")
    code, said = reported(tmp_path, spec(tmp_path, world, name), str(bad))
    assert code == 2
    suite, other = JUnitXml.fromstring(said["junit"].encode())
    cases = [[type(x) for x in case.result] for case in suite]
    assert cases == [[Failure], [], [Failure], []]
    assert [type(x) for case in other for x in case.result] == [Error]
    assert (suite.tests, suite.failures, suite.errors, other.errors) == (4, 2, 0, 1)
    runs = json.loads(said["sarif"])["runs"]
    assert [[r["ruleId"] for r in run["results"]] for run in runs] == [["gate-failed", "gate-failed", "gate-warned"], ["R201"]]
    for run in runs:
        rules = [r["id"] for r in run["tool"]["driver"]["rules"]]
        for r in run["results"]:
            (place,) = r["locations"]
            assert rules[r["ruleIndex"]] == r["ruleId"]
            assert set(place["physicalLocation"]["region"]) == {"startLine", "startColumn", "endLine", "endColumn"}
            assert not set('<>" ') & set(place["physicalLocation"]["artifactLocation"]["uri"])
    quality = json.loads(said["gitlab"])
    assert [(x["check_name"], x["severity"]) for x in quality] == [("gate-failed", "critical")] * 2 + [("R201", "critical"), ("gate-warned", "minor")]
    assert len({x["fingerprint"] for x in quality}) == 4
    lines = said["github"].splitlines()
    assert [x.split(" ")[0] for x in lines] == ["::error"] * 3 + ["::warning"]
    assert all("\x1b" not in x and "\u202e" not in x for x in lines)
    assert ["3 of 3 rows" in x for x in lines] == [True, False, False, True]  # all are too few for a count
    assert json.loads(said["metrics"])[f"{name.removesuffix('.rspec')}.gates_passed"] == 1
    rows = list(csv.DictReader(said["csv"].splitlines()))
    report, error = json.loads(said["json"])
    assert [float(r["radius"]) for r in rows] == [r["radius"] for r in report["queries"][0]["rows"]]
    assert (error["verdict"], [x["code"] for x in error["errors"]]) == ("error", ["R201"])
    assert "\x1b" not in said["summary"]
    assert said["summary"].count("\n| ") >= 5


def test_failing_rows_are_named(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two of the three samples are misclassified: of radius 0."""
    _, said = reported(tmp_path, spec(tmp_path, world, gates="  expect min(radius) > 0\n"))
    (query,) = json.loads(said["json"])["queries"]
    wrong = query["expectations"][0]["rows"]
    assert wrong == [k for k, row in enumerate(query["rows"]) if row["radius"] == 0]
    assert 0 < len(wrong) < 3
    named = f"{len(wrong)} of 3 rows do not hold it: sample {wrong[0]} frames 1 (0), "
    for text in (said["junit"], said["github"], said["summary"], capsys.readouterr().out):
        assert named in text


def test_check_tells_of_errors_in_every_format(world: Path, tmp_path: Path) -> None:
    good, bad = spec(tmp_path, world), tmp_path / "bad.rspec"
    bad.write_text('rspec 1\nnetwork a { checkpoint = "no,where%.pt" }\nquery')
    code, said = reported(tmp_path, good, str(bad), command="check")
    assert code == 2
    codes = [x["code"] for x in json.loads(said["json"])[1]["errors"]]
    assert codes
    assert [r["ruleId"] for run in json.loads(said["sarif"])["runs"] for r in run["results"]] == codes
    assert len(said["github"].splitlines()) == len(json.loads(said["gitlab"])) == len(codes)
    code, said = reported(tmp_path, good, command="check")
    assert (code, json.loads(said["json"])["verdict"], json.loads(said["gitlab"]), said["github"]) == (0, "checked", [], "")


def test_names_say_formats_and_what_is_no_report_is_kept(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = spec(tmp_path, world)
    named = ["metrics.json", "gl-code-quality-report.json", *(f"r{run.suffix}" for run in RUNS.values() if run.suffix is not None)]
    for _ in range(2):  # its own reports it writes again
        assert main([path, *(x for name in named for x in ("--report", name))]) == 1
    assert all(Path(name).is_file() for name in named)
    for call in (["--report", "r.txt"], ["--report", "a.xml", "--junit", "a.xml"], ["--report", "missing/r.xml"]):
        assert main([path, *call]) == 2
    mine = Path("notes.md")
    mine.write_text("# Notes\n")
    assert main([path, "--report", "notes.md"]) == 2
    assert mine.read_text() == "# Notes\n"


def test_a_spec_that_is_wrong_loses_none_of_its_files(world: Path, tmp_path: Path) -> None:
    """What it reads is not known then; every file that it mentions is kept."""
    kept = tmp_path / "v1.jsonl"
    kept.write_text('{"of": "x", "question": "q", "queries": []}\n')
    path = Path(spec(tmp_path, world))
    path.write_text(path.read_text() + 'baseline released { file = "v1.jsonl" }\n')
    for text in (path.read_text(), path.read_text() + "radis r { }\n"):
        path.write_text(text)
        for command in ("run", "check"):
            assert main([command, str(path), "--report", f"json:{kept}"]) == 2
            assert kept.read_text().startswith('{"of"')
    report = tmp_path / "r.sarif"
    assert main([str(path), str(path), "--report", str(report)]) == 2  # one spec twice is told twice
    assert len(json.loads(report.read_text())["runs"][0]["results"]) == 2


def test_githubs_jobs_are_told_by_themselves(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "specs").mkdir()
    path, summary = spec(tmp_path / "specs", world), tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert main([path]) == 1
    out = capsys.readouterr().out.splitlines()
    assert "::error file=specs/s.rspec,line=5,endLine=5,col=3," in out[-3]  # from the root of the repository
    assert "title=expect min(radius) > 1000::" in out[-3]
    assert summary.read_text().startswith("before\n## ❌ specs/s.rspec: failed")
    assert main([path, "--json", "-"]) == 1
    assert json.loads(capsys.readouterr().out)["verdict"] == "failed"


def test_limits_are_kept() -> None:
    """Ten annotations of a step, failed gates first; results, runs and a summary that are taken."""
    problems = tuple(Diagnostic("R101", f"number {k} " + "x" * 300, "write less", Span(k + 1, 1)) for k in range(10_000))
    many = [replace(Outcome("a.rspec"), problems=problems), *(Outcome(f"{k}.rspec", None, problems[:1]) for k in range(40))]
    lines = FORMATS["github"](many, True).splitlines()
    assert len(lines) == 10
    assert f"{10_040 - 9} more" in lines[-1]
    sarif: dict[str, Any] = json.loads(FORMATS["sarif"](many, True))
    assert sum(len(run["results"]) for run in sarif["runs"]) == 5000
    assert len(sarif["runs"]) <= 20
    assert len(FORMATS["summary"](many, True).encode()) < 2**20
    assert len({x["fingerprint"] for x in json.loads(FORMATS["gitlab"](many, True))}) == 10_040


def test_folders_standard_input_and_silence(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "deep").mkdir()
    spec(tmp_path, world, "a.rspec", "")
    spec(tmp_path / "deep", world, "b.rspec", "")
    (tmp_path / ".rspec").write_text("--color\n")  # another tool's
    assert main(["check", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count(": ok, ") == 2
    (tmp_path / "empty").mkdir()
    assert main(["check", str(tmp_path / "empty")]) == 2
    assert main([str(tmp_path), "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    for color, coloured in (("always", True), ("never", False), ("auto", False)):
        assert main([str(tmp_path / "a.rspec"), "--color", color]) == 0
        assert ("\x1b[" in capsys.readouterr().out) == coloured
    text = (tmp_path / "a.rspec").read_bytes()
    for given, code in ((text, 0), (b"rspec 1\nradis q { }\n", 2), (b"\xff", 2)):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given)))
        assert main(["check", "-"]) == code
    assert "<stdin>:2:1: error[R201]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("gates", "codes"),
    [
        ('expect min(radius) > 0.1 because "so"\n  warn median(radius) > 1', []),
        ("expect min(radius) > 0.1", ["L101"]),
        ('expect min(radius) >= 4 because "so"', ["L102"]),
        ('expect all(5 < radius) and count(radius > 100) < 3 because "so"', ["L102", "L102"]),
        ('expect min(radius) > 5% because "so"', ["L103"]),
        ('expect rate(radius > 1) > 5% and max(radius) < 100 because "so"', []),
    ],
)
def test_what_is_surely_not_meant_is_said(gates: str, codes: list[str], world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(spec(tmp_path, world, gates=f"  {gates}\n"))
    path.write_text(path.read_text().replace("tolerance = 0.5", "max_radius = 4"))
    code, said = reported(tmp_path, str(path), command="lint")
    assert code == bool(codes)
    err = capsys.readouterr().err
    assert [line.split("[")[1][:4] for line in err.splitlines() if ": warning[" in line] == codes
    held = json.loads(said["json"])
    assert (held["verdict"], held["errors"], [x["code"] for x in held.get("warnings", ())]) == ("checked", [], codes)
    assert jsonschema.Draft202012Validator(json.loads((ROOT / "docs/report.schema.json").read_text())).is_valid(held)
    (run,) = json.loads(said["sarif"])["runs"]
    assert [(r["ruleId"], r["level"]) for r in run["results"]] == [(code, "warning") for code in codes]
    assert all("+ " in r["help"]["text"] for r in run["tool"]["driver"]["rules"])  # the code's example, and its cure
    assert [type(x) for case in next(iter(JUnitXml.fromstring(said["junit"].encode()))) for x in case.result] == [Failure for _ in codes]
    assert [x["severity"] for x in json.loads(said["gitlab"])] == ["minor" for _ in codes]


def test_the_schema_of_reports_holds(world: Path, tmp_path: Path) -> None:
    """docs/report.schema.json, of every kind of query and what else a report holds."""
    schema = json.loads((ROOT / "docs/report.schema.json").read_text())
    valid = jsonschema.Draft202012Validator(schema)
    valid.check_schema(schema)
    bad, good = tmp_path / "bad.rspec", tmp_path / "good.rspec"
    bad.write_text("rspec 1\nradis q { }\n")
    ask = "network = net, input = data, perturbation = p"
    good.write_text(f"""rspec 1
param floor: number = 0
network net {{ checkpoint = "{world}/lstm.safetensors" }}
network text {{ checkpoint = "{world}/text.safetensors" }}
dataset data {{ source = "{world}/data.npz", pick = first(3) }}
input words {{ text = "what is the name" }}
perturbation p {{ frames = any(1), norm = 2 }}
radius r {{ {ask}, engine = {{ method = interval, max_radius = 1 }}, sweep perturbation.norm in [1, inf]
  expect min(radius) > floor because "so" }}
verify v {{ {ask}, eps = 0.5 }}
bounds b {{ {ask}, eps = 1e9, engine = {{ method = interval }} }}
attack a {{ network = text, input = words, perturbation = {{ frames = each, norm = 2 }}, restarts = 2, steps = 5 }}
estimate e {{ {ask}, samples = 8, batches = 10 }}
spectrum s {{ of = net.gate(i).weight_hh }}
report page {{ of = r, format = csv, path = "page.csv" }}
""")
    _, said = reported(tmp_path, str(good), str(bad))
    both = json.loads(said["json"])
    valid.validate(both)
    assert {q["kind"] for q in both[0]["queries"]} == set(QUERIES)
    for one in both:
        valid.validate(one)
    valid.validate(json.loads(reported(tmp_path, str(good), command="check")[1]["json"]))
    for change in ({"verdict": "fine"}, {"more": 1}, {"queries": [{}]}):
        assert not valid.is_valid(both[0] | change)
