"""Runs over processes and workers: the same bytes, whoever dies on the way."""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from tests.vlang.store.kill import ROOT
from tests.vlang.store.runs import report, timeless
from vlang.cli import main
from vlang.lower.spec import compile_spec
from vlang.results import Solved
from vlang.runtime import workers
from vlang.runtime.cluster import moved
from vlang.runtime.queries.base import Context
from vlang.runtime.tasks import Asked, Task, solve
from vlang.text.source import Source


def test_a_row_of_which_workers_die_is_given_up(spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """After three; all others are what they are, and the journal has them."""
    wanted = report(spec)
    deaths = spec.parent / "deaths"
    deaths.mkdir()

    def deadly(asked: Asked, task: Task, context: Context) -> list[Solved]:
        query, variants = asked.queries[task.query]
        if query.name == "v" and any(variants[task.variant].cases[i].sample == 3 for i in task.cases):
            (deaths / f"{os.getpid()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return solve(asked, task, context)

    monkeypatch.setattr(workers, "solve", deadly)
    code, found, _ = report(spec, "--jobs", "2", "--journal", str(spec.parent / "j"))
    assert code == 4
    assert len(list(deaths.iterdir())) == workers.DEATHS
    assert "workers died of it" in found.decode()
    monkeypatch.undo()
    assert report(spec, "--journal", str(spec.parent / "j")) == wanted
    said = capsys.readouterr().err
    lost = re.findall(r"16 rows, (\d+) from", said)
    assert int(lost[-1]) == 14  # all but the two of the task


def test_rows_of_a_task_that_is_given_up_are_not_kept(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that need no computing."""
    wanted = report(spec)

    def deadly(asked: Asked, task: Task, context: Context) -> list[Solved]:
        query, variants = asked.queries[task.query]
        if query.name == "r" and not variants[task.variant].cases[task.cases[0]].correct:
            os.kill(os.getpid(), signal.SIGKILL)
        return solve(asked, task, context)

    monkeypatch.setattr(workers, "solve", deadly)
    assert "workers died of it" in report(spec, "--jobs", "2", "--journal", str(spec.parent / "j"))[1].decode()
    monkeypatch.undo()
    assert report(spec, "--journal", str(spec.parent / "j")) == wanted


def test_a_worker_that_dies_once_loses_nothing(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = report(spec)
    mark = spec.parent / "dead"

    def dies(asked: Asked, task: Task, context: Context) -> list[Solved]:
        if task.query == 2 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return solve(asked, task, context)

    monkeypatch.setattr(workers, "solve", dies)
    assert report(spec, "--jobs", "2") == wanted
    assert mark.exists()


def test_an_error_of_a_worker_is_one_of_the_run(spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def wrong(asked: Asked, task: Task, context: Context) -> list[Solved]:
        raise ZeroDivisionError("so")

    monkeypatch.setattr(workers, "solve", wrong)
    assert main([str(spec), "--jobs", "2"]) == 3
    assert "ZeroDivisionError: so" in capsys.readouterr().err


def clustered(spec: Path, *options: str) -> subprocess.Popen[bytes]:
    home = spec.parent
    written = [f"--certificates={home / 'c'}", f"--witnesses={home / 'w'}", f"--json={home / 'r.json'}", f"--journal={home / 'j'}"]
    command = [sys.executable, "-m", "vlang.cli", str(spec), "--quiet", "--cluster", "local:2", *written, *options]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)


def descendants(pid: int) -> Sequence[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def test_a_cluster_is_one_run_though_a_worker_dies(spec: Path) -> None:
    """A worker is killed while rows are computed; then the whole run, which goes on from its journal."""
    wanted = report(spec)
    run = clustered(spec)
    journal = spec.parent / "j" / "rows.jsonl"
    for _ in range(600):
        if journal.exists() and journal.read_bytes():
            break
        time.sleep(0.05)
    spawned = [p for p in descendants(run.pid) if "spawn_main" in " ".join(p.cmdline())]
    if spawned:  # else it was done already
        spawned[-1].kill()
    assert run.wait(120) == 0
    assert timeless(spec.parent / "r.json") == wanted[1]
    assert {p.name: p.read_bytes() for folder in ("c", "w") for p in sorted((spec.parent / folder).iterdir())} == wanted[2]


def test_plans_travel(spec: Path) -> None:
    """Pickled, and with their files elsewhere; nothing else of them changes."""
    plan = compile_spec(Source(str(spec), spec.read_text()))
    assert pickle.loads(pickle.dumps(plan)) == plan
    there = moved(plan, {path: f"/elsewhere{path}" for path in plan.paths})
    assert set(there.paths) == {f"/elsewhere{path}" for path in plan.paths}
    assert moved(there, {f"/elsewhere{path}": path for path in plan.paths}) == plan


def test_calls_that_are_wrong(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options, why in (
        (["--cluster", "local:0"], "local:N"),
        (["--cluster", "local:x"], "local:N"),
        (["--cluster", "local:1", "--jobs", "2"], "choose one"),
        (["--jobs", "0"], "whole number"),
        (["--jobs", "2", "--device", "cuda"], ""),
    ):
        assert main([str(spec), *options]) == 2, options
        assert why in capsys.readouterr().err
