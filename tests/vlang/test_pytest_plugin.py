"""`pytest --rspec`: a gate is a test, a spec is run once, an error of a spec is one of collecting it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(folder: Path, *options: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-p", "vlang.pytest_plugin", "-p", "no:cacheprovider", "-p", "no:xdist", "-rA", *options, str(folder)]
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=env)
    return done.returncode, done.stdout


def test_gates_are_tests(world: Path, tmp_path: Path) -> None:
    head = f"""rspec 1
network net {{ checkpoint = "{world}/lstm.safetensors" }}
dataset data {{ source = "{world}/data.npz", pick = first(3) }}
radius q {{ network = net, input = data, perturbation = {{ frames = [1], norm = 2 }}, engine = {{ method = interval, tolerance = 0.5 }}
"""
    (tmp_path / "gates.rspec").write_text(
        head + '  expect max(radius) > 0\n  expect min(radius) > 1000 because "it must"\n  warn min(radius) > 1000\n  expect max(radius) > 1e9 }\n'
    )
    (tmp_path / "none.rspec").write_text(head + "}\n")
    (tmp_path / "wrong.rspec").write_text(head.replace("radius q", "radis q") + "}\n")
    code, out = run(tmp_path)
    assert (code, "no tests ran" in out) == (5, True)
    code, out = run(tmp_path, "--rspec", "--continue-on-collection-errors", "--durations=0", "-vv")
    assert code == 1
    assert "2 failed, 3 passed, 1 warning, 1 error" in out
    assert "gates.rspec:6: expect min(radius) > 1000" in out
    assert "rows do not hold it: sample" in out
    assert "because it must" in out
    assert "GateWarning" in out
    assert "error[R201]: unknown kind 'radis'" in out
