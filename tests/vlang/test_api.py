"""What a program in Python may ask; the documentation's examples run."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vlang
from vlang.results import RadiusRow, VerifyRow
from vlang.text.diagnostics import SpecError

ROOT = Path(__file__).parents[2]


def test_nothing_else_is_public() -> None:
    assert sorted(x for x in dir(vlang) if not x.startswith("_")) == ["certify", "check", "run"]
    code = "import sys, vlang; print(vlang.__version__, 'torch' in sys.modules, 'lark' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split()[1:] == ["False", "False"]
    with pytest.raises(AttributeError):
        vlang.nothing  # noqa: B018


def test_the_documentation_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx")
    monkeypatch.chdir(ROOT)
    held: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.S):
        exec(compile(block, "docs/python.md", "exec"), held)
    out = capsys.readouterr().out
    assert "did you mean 'checkpoint'?" in out
    assert out.splitlines()[-1] == "['certified', 'certified']"


def test_the_notebook_runs() -> None:
    """Cell by cell, as it would be shown."""
    pytest.importorskip("onnx")
    held: dict[str, object] = {}
    cells = [c for c in json.loads((ROOT / "docs/python.ipynb").read_text())["cells"] if c["cell_type"] == "code"]
    shown: list[object] = []
    for cell in cells:
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "docs/python.ipynb", "exec"), held)
        if last is not None:
            shown.append(eval(compile(ast.Expression(last.value), "docs/python.ipynb", "eval"), held))
    radii, verdicts, frames, errors, report = shown
    assert isinstance(radii, list)
    assert all(0 < x < 10 for x in radii)
    assert verdicts == ["certified"] * 3
    assert isinstance(frames, dict)
    assert list(frames) == list(range(5))
    assert isinstance(errors, list)
    assert errors[0][0] == "R203"
    assert "<b>passed</b>" in report._repr_html_()  # type: ignore[attr-defined]
    assert not any(cell["outputs"] for cell in cells)  # kept without outputs, so that a diff shows what was written


def test_a_spec_and_one_question_say_the_same(world: Path, tmp_path: Path) -> None:
    (tmp_path / "s.rspec").write_text(f"""rspec 1
param norm: norm = 2
network net {{ checkpoint = "{world}/lstm.safetensors" }}
dataset data {{ source = "{world}/data.npz", pick = first(3) }}
radius q {{ network = net, input = data, perturbation = {{ frames = [1], norm = norm }}, engine = {{ method = planes }}
  expect min(radius) > 1e6 }}
""")
    report = vlang.run(tmp_path / "s.rspec", params={"norm": "inf"})
    assert report.verdict == "failed"
    assert "min(radius)" in report._repr_html_()
    with np.load(world / "data.npz") as data:
        inputs, labels = data["inputs"][:3], data["labels"][:3].tolist()
    path = world / "lstm.safetensors"
    found = vlang.certify(path, inputs, labels=labels, frames="[1]", norm="inf", method="planes")
    assert [r.radius for r in found.rows if isinstance(r, RadiusRow)] == [r.radius for r in report.rows if isinstance(r, RadiusRow)]
    eps = max(r.radius for r in found.rows if isinstance(r, RadiusRow))
    rows = vlang.certify(path, inputs, labels=labels, frames="[1]", norm="inf", method="planes", eps=eps).rows
    assert any(isinstance(r, VerifyRow) and r.verdict == "certified" for r in rows)
    with pytest.raises(SpecError):
        vlang.run(tmp_path / "none.rspec")
    for network, norm in ((path, "two"), ("no.pt", 2)):
        with pytest.raises(SpecError):
            vlang.certify(network, inputs, norm=norm)
