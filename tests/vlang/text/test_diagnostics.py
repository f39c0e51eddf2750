"""Bad specs with their expected errors written beside the offending lines: `#! CODE part of the message ;; CODE ...`.

Exactly those errors are reported, in one run of `vrun`, with exit code 2, a place, a cure, and no traceback.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from vlang.cli import main

FOLDER = Path(__file__).parents[2] / "diagnostics"
LINE = re.compile(r"^(?P<path>.+?):(?P<line>\d+):(?P<column>\d+): error\[(?P<code>R\d+)\]: (?P<message>.*)$")


def expected(spec: Path) -> list[tuple[int, str, str]]:
    marks = []
    for number, line in enumerate(spec.read_text().split("\n"), 1):
        if "#!" in line:
            for mark in line.split("#!", 1)[1].split(";;"):
                code, _, text = mark.strip().partition(" ")
                marks.append((number, code, text))
    return marks


@pytest.mark.parametrize("name", sorted(p.name for p in FOLDER.glob("*.rspec")))
def test_every_error_is_reported_where_it_is(name: str, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = world / name
    shutil.copy(FOLDER / name, spec)
    wanted = expected(spec)
    assert wanted, "a bad spec says what is wrong with it"
    assert main(["run", str(spec), "--json", str(world / "never.json")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert not (world / "never.json").exists()
    blocks = [m for m in map(LINE.match, err.split("\n")) if m]
    found = [(int(m["line"]), m["code"], m["message"]) for m in blocks]
    for line, code, text in wanted:
        match = next((f for f in found if f[0] == line and f[1] == code and text in f[2]), None)
        assert match is not None, f"{name}:{line}: expected {code} {text!r}\n{err}"
        found.remove(match)
    assert not found, f"unexpected: {found}\n{err}"
    assert err.count("hint:") == len(blocks), "every error has a cure"
    for m in blocks:
        assert m["path"] == str(spec)
        assert int(m["column"]) >= 1


def test_nothing_malicious_ran() -> None:
    assert not Path("/tmp/rspec_evil_was_here").exists()
