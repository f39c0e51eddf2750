"""What a repository does with the tool: the example's gate, and the action's steps, run with bash as a job runs them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vlang.cli import main

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "ci"


def test_the_planted_model_is_proved_worse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "ci")
    spec, report = str(tmp_path / "ci/specs/robust.rspec"), tmp_path / "new.json"
    old = tmp_path / "ci/baselines/v1.jsonl"
    assert main([spec]) == 0
    assert main([spec, "-p", "model=../models/v2.safetensors", "--json", str(report)]) == 1
    capsys.readouterr()
    gates = [g for q in json.loads(report.read_text())["queries"] for g in q["expectations"]]
    assert [g["verdict"] for g in gates] == ["failed", "failed"]
    assert main(["diff", str(old), str(report), "--fail-on", "proved-worse"]) == 1
    assert re.search(r": \d+ proved worse, ", capsys.readouterr().out)


def test_the_actions_step_runs(tmp_path: Path) -> None:
    """The script of the step that verifies, from action.yml, with its inputs in the environment."""
    text = (ROOT / "action.yml").read_text()
    step = text[text.index("name: Verify") :]
    script = "\n".join(line[8:] for line in step[step.index("run: |") :].split("\n    - name")[0].splitlines()[1:])
    assert "${{" not in script  # inputs come through the environment alone
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "vrun").write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m vlang.cli "$@"\n')
    (bin_ / "vrun").chmod(0o755)
    bad = tmp_path / "bad.rspec"
    bad.write_text("rspec 1\nradis q { }\n")
    env = {"PATH": f"{bin_}:{os.environ['PATH']}", "SPECS": "bad.rspec", "ARGS": "-p x=1", "REPORTS": "out", "HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert json.loads((tmp_path / "out/rspec.sarif").read_text())["runs"][0]["results"]
    assert (tmp_path / "out/rspec.xml").is_file()
