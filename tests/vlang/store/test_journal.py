"""What is kept of a run: a run that goes on, is cut in parts, or is spread over processes says byte for byte what one run says."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.vlang.store.runs import computed, lines, radii_of, report, run
from tests.vlang.vcheck.certificates import load, seal
from vlang.cli import main
from vlang.results import AttackRow, BoundsRow, RadiusRow, VerifyRow
from vlang.shell import remembered
from vlang.store.answers import answer_as_json, question_as_json, row_of
from vlang.store.journal import Journal, Journals
from vlang.text.diagnostics import SpecError

#: Rows of the spec: 4 of radius, 4 of verify, 4 of attack, 4 of bounds.
ROWS = 16


def test_a_run_with_a_journal_is_a_run(spec: Path) -> None:
    """Also one that finds everything, with and without a query's rows together, and one in two processes."""
    wanted = run(spec, journal=None)
    assert len(wanted[2]) > 4
    assert run(spec) == wanted
    assert computed(spec) == ROWS
    assert run(spec) == wanted
    assert computed(spec) == ROWS
    rows = [json.dumps(x) for x in lines(spec) if "answer" in x]
    (spec.parent / "j" / "rows.jsonl").write_text("\n".join(rows) + "\n")
    shutil.rmtree(spec.parent / "c")
    assert run(spec) == wanted
    assert computed(spec) == ROWS
    assert run(spec, "--jobs", "2", journal="k") == wanted
    assert run(spec, "--jobs", "2", journal=None) == wanted


def test_a_warm_run_needs_nothing_that_computes(spec: Path) -> None:
    run(spec)
    code = "import sys; from vlang.cli import main; code = main(sys.argv[1:]); print('torch' in sys.modules, code)"
    options = [f"--{name}={spec.parent / name[0]}" for name in ("journal", "certificates", "witnesses")]
    said = subprocess.run(
        [sys.executable, "-c", code, str(spec), *options, "--quiet"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert said.stdout.split()[-2:] == ["False", "0"]
    assert "nothing to compute" in said.stderr


def test_parts_are_one_run(spec: Path) -> None:
    wanted = run(spec, journal=None)
    options = ["--certificates", str(spec.parent / "c"), "--witnesses", str(spec.parent / "w")]
    for k in (1, 2, 3):
        assert main([str(spec), "--shard", f"{k}/3", "--journal", str(spec.parent / f"p{k}"), *options]) == 0
    assert sum(computed(spec, f"p{k}") for k in (1, 2, 3)) == ROWS
    assert all(computed(spec, f"p{k}") for k in (1, 2, 3))
    parts = [str(spec.parent / f"p{k}") for k in (3, 1, 2)]
    for folder in "cw":
        shutil.rmtree(spec.parent / folder)
    assert report(spec, command=["merge", *parts, "--spec"]) == wanted


def test_a_part_that_is_missing_or_says_otherwise_is_refused(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for k in (1, 2):
        assert main([str(spec), "--shard", f"{k}/2", "--journal", str(spec.parent / f"p{k}")]) == 0
    one, two = (str(spec.parent / f"p{k}") for k in (1, 2))
    assert main(["merge", one, "--spec", str(spec)]) == 2
    assert re.search(r"R318.*rows are not in", capsys.readouterr().err)
    assert main(["merge", one, two, str(spec.parent / "p3"), "--spec", str(spec)]) == 2
    assert main(["merge", one, two, "--spec", str(spec)]) == 0
    key = next(x["key"] for x in lines(spec, "p1") if x.get("kind") == "radius")
    said = Journal(Path(one)).find(key)
    assert said is not None
    Journal(Path(two)).append([said | {"answer": said["answer"] | {"radius": 99.0}}])
    assert main(["merge", one, two, "--spec", str(spec)]) == 2
    assert "R319" in capsys.readouterr().err


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.8, 0.999])
def test_a_torn_journal_goes_on(keep: float, spec: Path) -> None:
    """Cut anywhere, with and without its index; nothing that is whole is computed again."""
    wanted = run(spec)
    path = spec.parent / "j" / "rows.jsonl"
    whole = path.read_bytes()
    cut = whole[: int(keep * len(whole))]
    kept = sum(b'"revision"' in line for line in cut.split(b"\n")[:-1])
    for index in (True, False):
        path.write_bytes(cut)
        if not index:
            (spec.parent / "j" / "index.sqlite").unlink()
        assert run(spec) == wanted
        assert sum(b'"revision"' in line for line in path.read_bytes()[len(cut) :].split(b"\n")) == ROWS - kept


def test_lines_that_were_changed_are_computed_again(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Reordered and doubled ones are not; another program's are not looked at."""
    wanted = run(spec)
    path = spec.parent / "j" / "rows.jsonl"
    whole = path.read_text().splitlines()
    path.write_text("\n".join([*reversed(whole), *whole[:3]]) + "\n")
    (spec.parent / "j" / "index.sqlite").unlink()
    assert run(spec) == wanted
    assert len(path.read_text().splitlines()) == len(whole) + 3
    rows = [line for line in whole if '"revision"' in line]
    lies = [re.sub(r'"radius": [0-9.]+', '"radius": 77.0', line) if '"kind": "radius"' in line else line for line in rows]
    assert lies != rows
    path.write_text("\n".join(lies) + "\n")
    assert run(spec) == wanted
    foreign = [line.replace(json.loads(line)["key"], "0" * 32) for line in rows]
    path.write_text("\n".join(foreign) + "\n[]\n7\nnot json\n{}\n")
    assert run(spec) == wanted


def test_files_that_were_changed_are_computed_again(spec: Path) -> None:
    wanted = run(spec)
    for path in (spec.parent / "j" / "files").iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert run(spec) == wanted


def test_what_changes_an_answer_changes_its_key(spec: Path, world: Path) -> None:
    """And what does not, does not: places, names, thresholds, comments."""
    plain = ["--query", "r"]
    assert main([str(spec), "--journal", str(spec.parent / "j"), *plain]) == 0
    text, before = spec.read_text(), computed(spec)
    for old, new, more in (
        ("radius r {", "# a comment\n\n\n  radius second {", 0),
        ("expect count(radius >= 0) == 4", 'expect count(radius >= 0) == 4 and min(radius) >= 0 because "so"', 0),
        ("network net", "network another", 0),
        ("tolerance = 0.1", "tolerance = 0.05", 4),
        ("norm = 2", "norm = 1", 4),
        ("first(4)", "first(3)", 0),
        ("first(4)", "[1:4]", 0),
        ("seed = 3", "seed = 4", 4),
    ):
        assert old in text
        changed = text.replace(old, new).replace("network = net", "network = another" if "another" in new else "network = net")
        spec.write_text(changed.replace("count(radius >= 0) == 4", "count(radius >= 0) >= 3"))
        assert main([str(spec), "--journal", str(spec.parent / "j"), "--query", "second" if "second" in new else "r"]) == 0
        assert computed(spec) == before + more, (old, new)
        before += more


def test_a_plan_says_what_is_left(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before and behind a change of the spec; nothing is computed."""
    journal = ["--journal", str(spec.parent / "j")]
    assert main([str(spec), *journal, "-q", "r", "-q", "a"]) == 0
    for old, new, left in (("", "", 8), ("iterations = 3", "iterations = 4", 12), ("tolerance = 0.1", "tolerance = 0.2", 16)):
        spec.write_text(spec.read_text().replace(old, new))
        capsys.readouterr()
        assert main(["plan", str(spec), *journal]) == 0
        assert f"16 rows, {16 - left} from" in capsys.readouterr().out
    assert computed(spec) == 8
    assert main(["plan", str(spec), "--journal", str(spec.parent / "none")]) == 2
    assert not (spec.parent / "none").exists()


def test_modes(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = run(spec)
    assert run(spec, "--cache", "replay") == wanted
    assert run(spec, "--cache", "rebuild") == wanted
    assert computed(spec) == 2 * ROWS
    for mode in ("offline", "replay"):
        assert main([str(spec), "--journal", str(spec.parent / "new"), "--cache", mode]) == 2
    assert not (spec.parent / "new").exists()
    Journal(spec.parent / "new")
    assert main([str(spec), "--journal", str(spec.parent / "new"), "--cache", "offline"]) == 0
    assert not lines(spec, "new")
    capsys.readouterr()
    assert main([str(spec), "--journal", str(spec.parent / "new"), "--cache", "replay"]) == 2
    assert "16 of 16 rows are not in" in capsys.readouterr().err
    assert run(spec, "-q", "r", "--cache", "cleanup")[0] == 0
    assert {x.get("query", x.get("together")) for x in lines(spec)} == {"r"}
    assert computed(spec) == 4
    assert main([str(spec), "--no-journal", "--cache", "update"]) == 2
    assert main([str(spec), "--shard", "3/2"]) == 2


def test_answers_of_others_count_by_their_certificates(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A store that lies, with lines that are whole: with --cache-verify what it says counts where vcheck accepts its certificate."""
    wanted = run(spec)
    honest = run(spec, "--cache-verify")
    assert radii_of(honest[1]) == radii_of(wanted[1])
    assert "4 from" in capsys.readouterr().err  # 2 radii and 2 verdicts: no others have certificates
    journal = Journal(spec.parent / "j")
    for line in [x for x in lines(spec) if x.get("kind") == "radius" and x["answer"].get("certificate")]:
        journal.append([line | {"answer": line["answer"] | {"radius": line["answer"]["radius"] * 1.5}}])
    path = spec.parent / "j" / "rows.jsonl"
    path.write_text("\n".join(x for x in path.read_text().splitlines() if '"together"' not in x) + "\n")
    (spec.parent / "j" / "index.sqlite").unlink()
    assert radii_of(run(spec, "--cache-verify", "--cache", "offline")[1]) == radii_of(wanted[1])
    assert radii_of(run(spec, "--cache", "offline")[1]) != radii_of(wanted[1])
    assert main([str(spec), "--journal", str(spec.parent / "j"), "--cache-verify"]) == 2


def test_a_forged_certificate_is_no_answer(spec: Path) -> None:
    """One that claims more, its digests right: vcheck looks at what it proves."""
    wanted = run(spec)
    journal = Journal(spec.parent / "j")
    forged = 0
    for line in [x for x in lines(spec) if x.get("kind") == "radius" and x["answer"].get("certificate")]:
        name, radius = line["answer"]["certificate"], 1.5 * line["answer"]["radius"]
        (spec.parent / "c.cert").write_bytes((spec.parent / "c" / name).read_bytes())
        claim, arrays = load(spec.parent)
        seal(spec.parent, claim | {"eps": str(Fraction(radius))}, arrays)
        files = {name: journal.keep((spec.parent / "c.cert").read_bytes())}
        journal.append([line | {"answer": line["answer"] | {"radius": radius}, "files": files}])
        forged += 1
    assert forged
    path = spec.parent / "j" / "rows.jsonl"
    path.write_text("\n".join(x for x in path.read_text().splitlines() if '"together"' not in x) + "\n")
    assert radii_of(run(spec, "--cache-verify", "--cache", "offline")[1]) == radii_of(wanted[1])
    assert radii_of(run(spec, "--cache", "offline")[1]) != radii_of(wanted[1])


def test_rows_are_read_back_bit_for_bit() -> None:
    asked: dict[str, Any] = {"sample": 1, "label": "a", "predicted": 0, "target": "any", "frames": (0, 2), "norm": "inf", "tokens": ("a", "b")}
    asked |= {"swept": (("norm", "2"),), "values": ((0.1, -0.0), (1e-320, 2.0)), "question": "x"}
    made = [
        RadiusRow(**asked, verdict="certified", radius=0.1 + 0.2, method="planes", capped=True, attacked=1e300, pieces=3, depth=0),
        VerifyRow(**asked, verdict="falsified", eps=0.5, witness=((0.1, 1 / 3),), replaced=("x", ""), witness_file="w"),
        AttackRow(**asked, verdict="unknown", radius=None),
        BoundsRow(**asked, verdict="unknown", eps=1.0, margin=-float("inf"), lower=(-float("inf"), 0.0), upper=(float("inf"), 1.0)),
    ]
    for row, kind in zip(made, ("radius", "verify", "attack", "bounds"), strict=True):
        said = json.loads(json.dumps([question_as_json(row), answer_as_json(row)]))
        assert row_of(kind, *said) == row
        assert repr(row_of(kind, *said)) == repr(row)
    with pytest.raises(ValueError, match="finished"):
        row_of("radius", question_as_json(made[0]), answer_as_json(made[0]) | {"complete": False})


def test_runs_share_a_journal(tmp_path: Path) -> None:
    """Two that have it open see each other's lines; one that is not of a journal's format is no journal; keys of two disagree loudly."""
    one, two = Journal(tmp_path / "j"), Journal(tmp_path / "j")
    for k in range(5):
        (one, two)[k % 2].append([{"key": f"{k}", "answer": {"radius": k}}])
    assert [two.find(f"{k}")["answer"]["radius"] for k in range(5)] == [one.find(f"{k}")["answer"]["radius"] for k in range(5)] == [*range(5)]  # type: ignore[index]
    other = Journal(tmp_path / "k")
    other.append([{"key": "1", "answer": {"radius": 2}, "query": "q"}])
    with pytest.raises(SpecError, match="differently"):
        Journals([one, other]).find("1")
    (tmp_path / "k" / "index.sqlite").write_bytes(b"no database at all, but some bytes that are longer than a header of one" * 9)
    assert Journal(tmp_path / "k").find("1") is not None
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError):
        Journal(tmp_path / "file")


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_run_goes_on(seed: int, spec: Path) -> None:
    """SIGKILL at a random moment; the same of many in `python -m tests.vlang.store.kill`."""
    from tests.vlang.store.kill import killed

    killed(spec, seed, jobs=1 + seed % 2)


def test_a_long_run_keeps_its_rows_by_itself(spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the spec, and by a process a core; told, and left out where that is asked for. One from standard input has no place of its own."""
    wanted = run(spec, journal=None)
    assert not (spec.parent / ".rspec").exists()
    monkeypatch.setattr(remembered, "LONG", 0.0)
    monkeypatch.setattr(remembered, "MANY", 0)
    assert run(spec, "--no-journal", journal=None) == wanted
    assert not (spec.parent / ".rspec").exists()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(spec.read_bytes())))
    monkeypatch.chdir(spec.parent)
    assert main(["-", "--quiet"]) == 0
    assert not (spec.parent / ".rspec").exists()
    capsys.readouterr()
    assert run(spec, journal=None) == wanted
    assert "--no-journal leaves it out" in capsys.readouterr().err
    assert computed(spec, ".rspec") == ROWS
    assert run(spec, journal=None) == wanted
    assert computed(spec, ".rspec") == ROWS


@pytest.mark.parametrize("broken", [1, 2, 5])
def test_a_full_disk_ends_a_run_that_goes_on_later(
    broken: int, spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = run(spec, journal=None)
    calls, sync = 0, os.fsync

    def full(file: int) -> None:
        nonlocal calls
        calls += 1
        if calls >= broken:
            raise OSError(28, "No space left on device")
        sync(file)

    monkeypatch.setattr("os.fsync", full)
    assert main([str(spec), "--journal", str(spec.parent / "j")]) == 2
    assert "No space left" in capsys.readouterr().err
    monkeypatch.setattr("os.fsync", sync)
    assert run(spec) == wanted
