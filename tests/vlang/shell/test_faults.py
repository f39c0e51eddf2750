"""What a run has found survives whatever happens to it: a full disk at any write, a signal in any phase, names that are not what they seem."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
import unicodedata
import xml.dom.minidom
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.conftest import Classifier
from vlang.cli import main

BODY = """rspec 1
network net {{ checkpoint = "{world}/lstm.safetensors" }}
dataset d {{ source = "{world}/data.npz", pick = first(3) }}
engine quick {{ method = interval, tolerance = 0.1 }}
radius cert {{ network = net, input = d, perturbation = {{ frames = all, norm = 2 }}, engine = quick }}
attack pgd {{ network = net, input = d, perturbation = {{ frames = all, norm = 2 }}, steps = 3, restarts = 2 }}
report table {{ of = [cert, pgd], format = [csv, html, svg, latex, markdown, text], path = "table" }}
"""


@pytest.fixture
def spec(world: Path, tmp_path: Path) -> Path:
    path = tmp_path / "x.rspec"
    path.write_text(BODY.format(world=world))
    return path


def arguments(spec: Path) -> list[str]:
    folder = spec.parent
    return [str(spec), "--json", str(folder / "r.json"), "--certificates", str(folder / "c"), "--witnesses", str(folder / "w")]


def written(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.name != "x.rspec"}


def test_a_full_disk_at_any_write_loses_that_file_alone(spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(spec)) == 0
    whole, table = written(spec.parent), capsys.readouterr().out
    moved, calls = os.replace, 0
    for broken in range(len(whole)):
        for name in whole:
            (spec.parent / name).unlink(missing_ok=True)
        calls = 0

        def replace(source: str, target: Path, broken: int = broken) -> None:
            nonlocal calls
            calls += 1
            if calls == broken + 1:
                raise OSError(28, "No space left on device")
            moved(source, target)

        monkeypatch.setattr("os.replace", replace)
        assert main(arguments(spec)) == 2
        out, err = capsys.readouterr()
        assert "R308" in err
        assert "No space left" in err
        assert len(whole - written(spec.parent)) == 1
        assert not written(spec.parent) - whole
        assert out.split("PASSED")[0].count("\n") >= table.split("PASSED")[0].count("\n")  # the rows, and why one has no certificate
        assert calls == len(whole)


def test_a_journal_has_every_row_that_was_answered(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in its second query, a run leaves the first one's rows; the next run goes on behind a torn line."""
    code = "import os, sys, vlang.runtime.queries.attack as a; a._attack = lambda *_: os._exit(9); from vlang.cli import main; main(sys.argv[1:])"
    killed = subprocess.run([sys.executable, "-c", code, str(spec), "--journal", str(spec.parent / "j")], cwd=Path(__file__).parents[3], check=False)
    assert killed.returncode == 9
    journal = spec.parent / "j" / "rows.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert {x["row"]["sample"] for x in lines if x["query"] == "cert"} == {0, 1, 2}
    assert len(lines) < 6
    journal.write_bytes(journal.read_bytes()[:-7])
    assert main([str(spec), "--journal", str(spec.parent / "j")]) == 0
    assert sum('"revision"' in line for line in journal.read_text().splitlines()) == 7  # one of them is torn


@pytest.mark.parametrize("phase", ["vlang.runtime.queries.radius.certified_radii", "vlang.formats.json.render", "vlang.formats.svg.render"])
def test_a_signal_in_any_phase_loses_nothing(phase: str, spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import importlib

    import vlang.formats as formats

    module, _, name = phase.rpartition(".")
    of = getattr(importlib.import_module(module), name)
    raised = []

    def interrupted(*args: object, **keywords: object) -> object:
        if not raised:
            raised.append(1)
            signal.raise_signal(signal.SIGTERM)
        return of(*args, **keywords)

    monkeypatch.setattr(phase, interrupted)
    if name == "render":
        word = module.rpartition(".")[2]
        table = "FORMATS" if word == "json" else "PAGES"
        monkeypatch.setattr(formats, table, {**getattr(formats, table), word: interrupted if word == "json" else lambda page: interrupted(page)})
    assert main(arguments(spec)) in (0, 4)
    assert raised
    report = json.loads((spec.parent / "r.json").read_text())
    assert [len(q["rows"]) for q in report["queries"]] == [3, 3]
    assert {"r.json", "table.csv", "table.html", "table.svg", "table.tex", "table.md", "table.txt"} <= written(spec.parent)
    assert report["verdict"] == ("inconclusive" if "radius" in phase else "passed")
    assert "attack pgd" in capsys.readouterr().out


def test_a_long_pass_ends_within_seconds_of_a_signal(tmp_path: Path) -> None:
    """120 frames in one pass of minutes; the row says that it is unfinished, and the report is there."""
    torch.manual_seed(0)
    body = nn.LSTM(8, 24, 2, batch_first=True)
    state = {f"rnn.{k}": v.detach() for k, v in body.state_dict().items()} | {"out.weight": torch.randn(3, 24)}
    save_file(state, tmp_path / "net.safetensors")
    frames = ", ".join(["[" + ", ".join(["0.5"] * 8) + "]"] * 120)
    (tmp_path / "x.rspec").write_text(
        f'rspec 1\nnetwork net {{ checkpoint = "net.safetensors" }}\ninput i {{ values = [{frames}] }}\n'
        "verify q { network = net, input = i, perturbation = { frames = all, norm = 2 }, eps = 1e-3, engine = { method = quadratic } }\n"
    )
    root = str(Path(__file__).parents[3])
    running = subprocess.Popen(
        [sys.executable, "-m", "vlang.cli", "x.rspec", "--json", "r.json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    threading.Event().wait(6)
    assert running.poll() is None
    asked = time.monotonic()
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    assert running.returncode == 4
    assert time.monotonic() - asked < 20  # 5 on a quiet machine; the suite has both cores
    row = json.loads((tmp_path / "r.json").read_text())["queries"][0]["rows"][0]
    assert (row["verdict"], row["complete"]) == ("unknown", False)


HOSTILE = [
    "\x1b[2J\x1b]0;pwn\x07", "\x9b31m", "\u202eevil", "a\rPASSED", "=cmd|x", "+1+1", "@SUM(1)", "<script>alert(1)</script>", "a|b`c`[d](e)",
    "\\write18{id}&%$#_{}~^", "\x00nul", "\u2028PASSED", '"><img/src=x>', "-->", "]]>",
]  # fmt: skip


def test_no_name_reaches_a_reader_as_anything_but_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Labels, words, the network's own and the file's name, through every format and the terminal."""
    labels = [HOSTILE[0] + HOSTILE[7], "=1+1\n", HOSTILE[9]]
    model = Classifier("lstm", 3, 4, 3, len(HOSTILE))
    state = model.state_dict()
    words = [w.replace("\r", "").replace("\u2028", "") for w in HOSTILE]
    name = "n\x1b[31m.safetensors"
    save_file(state, tmp_path / name, {"labels": json.dumps(labels), "vocabulary": json.dumps(words)})
    text = " ".join(words).replace("\\", "\\\\").replace('"', '\\"')
    path = tmp_path / "x.rspec"
    path.write_text(
        f'rspec 1\nnetwork net {{ checkpoint = "{name}" }}\ninput i {{ text = "{text}" }}\n'
        "radius cert { network = net, input = i, perturbation = { frames = each, norm = 2 }, engine = { method = interval, tolerance = 0.5 } }\n"
        'report r { of = [cert], rows = [frames, label], format = [csv, html, svg, latex, markdown, text], path = "r" }\n'
        "report s { of = [cert], rows = [frames, label] }\n"
    )
    assert main([str(path), "--json", str(tmp_path / "r.json")]) == 0
    seen = list(capsys.readouterr()) + [(tmp_path / f"r.{end}").read_text() for end in ("csv", "html", "svg", "tex", "md", "txt")]
    for content in seen:
        wrong = {c for c in content if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - {"\n", "\t"}
        assert not wrong
    xml.dom.minidom.parse(str(tmp_path / "r.svg"))
    with (tmp_path / "r.csv").open() as f:
        cells = [c for line in csv.reader(f) for c in line]
    assert not [c for c in cells if c[:1] in ("=", "+", "@") or (c[:1] == "-" and not c[1:].replace(".", "").isdigit())]
    page = (tmp_path / "r.html").read_text()
    assert "<script>alert" not in page
    assert "<img/src" not in page
    rows = json.loads((tmp_path / "r.json").read_text())["queries"][0]["rows"]  # JSON escapes by itself, and keeps what was there
    assert {r["label"] for r in rows} <= set(labels)
