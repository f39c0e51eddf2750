"""vrun watch begins again when something changes; vrun completion makes scripts that shells take."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from vlang.cli import main

ROOT = Path(__file__).parents[3]


def at_once(path: Path, content: bytes) -> None:
    """A watcher that looks in between sees one change, not a file that is empty yet."""
    new = path.with_name("new")
    new.write_bytes(content)
    new.replace(path)


def test_watch_runs_again_when_what_is_read_changes(world: Path, tmp_path: Path) -> None:
    path, data = tmp_path / "s.rspec", tmp_path / "data.npz"
    shutil.copy(world / "data.npz", data)
    text = f"""rspec 1
network net {{ checkpoint = "{world}/lstm.safetensors" }}
dataset data {{ source = "data.npz", pick = first(2) }}
radius q {{ network = net, input = data, perturbation = {{ frames = [1], norm = 2 }}, engine = {{ method = interval, tolerance = 0.5 }} }}
"""
    path.write_text(text)
    said: list[str] = []
    heard = threading.Condition()
    with subprocess.Popen(
        [sys.executable, "-m", "vlang.cli", "watch", str(path), "--quiet"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        start_new_session=True,
    ) as process:

        def listen() -> None:
            assert process.stderr is not None
            for line in process.stderr:
                with heard:
                    said.append(line)
                    heard.notify_all()

        threading.Thread(target=listen, daemon=True).start()

        def ended(runs: int, code: int) -> Callable[[], bool]:
            return lambda: [x for x in said if x.startswith("-- exit")][runs - 1 :] == [f"-- exit {code}; waiting for changes --\n"]

        try:
            with heard:
                assert heard.wait_for(ended(1, 0), 60), said
            at_once(path, text.replace("pick = first(2)", 'reference = "later.npy"').encode())
            with heard:
                assert heard.wait_for(ended(2, 2), 60), said
            at_once(tmp_path / "later.npy", b"no array")  # a file that was missing is waited for
            with heard:
                assert heard.wait_for(ended(3, 2), 60), said
            at_once(path, text.encode())
            with heard:
                assert heard.wait_for(ended(4, 0), 60), said
            at_once(data, data.read_bytes()[:-40])
            with heard:
                assert heard.wait_for(ended(5, 2), 60), said
        finally:  # or the test waits for it for ever
            os.killpg(process.pid, signal.SIGINT)
        assert process.wait(20) == 2


def test_standard_input_is_not_watched(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "-"]) == 2
    assert "name a file" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_is_a_script_of_the_shell(shell: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("shtab")
    assert main(["completion", shell]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    assert "baseline" in script.read_text()
    if shutil.which(shell) is not None and shell != "tcsh":
        subprocess.run([shell, "-n", str(script)], check=True)
    if shell == "bash":
        ask = f'source {script}; COMP_WORDS=(vrun check --rep); COMP_CWORD=2; _shtab_vrun; echo "${{COMPREPLY[@]}}"'
        assert subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True).stdout.strip() == "--report"


def test_completion_of_no_shell(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "fish"]) == 2
    assert "bash, zsh, tcsh" in capsys.readouterr().err
