"""Runs that are killed at random moments and begun again: the same report, and no row twice that was finished before.

    python -m tests.vlang.store.kill [--times 50] [--jobs 1 2]

Each run is killed up to three times; of a run of several processes a worker, or all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.vlang.store.runs import report, spec_text

ROOT = Path(__file__).parents[3]


def killed(spec: Path, seed: int, jobs: int, times: int = 2) -> int:
    """How many rows had to be computed twice: those in flight."""
    g, home = random.Random(seed), spec.parent
    wanted = report(spec)
    journal = home / f"killed{seed}"
    command = [
        sys.executable,
        "-m",
        "vlang.cli",
        str(spec),
        "--journal",
        str(journal),
        "--certificates",
        str(home / "c"),
        "--witnesses",
        str(home / "w"),
    ]
    begun = time.perf_counter()
    subprocess.run([*command[:4], "--no-journal", "--quiet"], cwd=ROOT, check=True)
    lasts = time.perf_counter() - begun
    again = 0
    for _ in range(times):
        before = finished(journal)
        run = subprocess.Popen([*command, "--jobs", str(jobs), "--quiet"], cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(g.uniform(0.4, 1.0) * lasts)
        children = [int(pid) for pid in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()] if run.poll() is None else []
        with contextlib.suppress(ProcessLookupError):
            if children and g.random() < 0.5:
                os.kill(g.choice(children), signal.SIGKILL)
                assert run.wait(120) == 0
            else:
                run.kill()
        run.wait(60)
        after = finished(journal)
        assert before <= after
        again += len(after) - len(set(after))
    assert report(spec, "--journal", str(journal)) == wanted
    lines = [json.loads(x) for x in (journal / "rows.jsonl").read_text().splitlines() if x.endswith("}") and '"revision"' in x]
    assert len(lines) == len({x["key"] for x in lines}), "a row was computed again that was there"
    shutil.rmtree(journal)
    return again


def finished(journal: Path) -> set[str]:
    path = journal / "rows.jsonl"
    found = set()
    for line in path.read_text().splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            found.add(json.loads(line)["key"])
    return found


def run_many() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    from tests.conftest import make_world

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "world").mkdir()
        make_world(home / "world")
        spec = home / "x.rspec"
        spec.write_text(spec_text(home / "world"))
        count = 0
        for seed in range(-(-args.times // 3)):
            killed(spec, seed, args.jobs[seed % len(args.jobs)], 3)
            count += 3
    print(f"{count} kills: the same report each time, and no finished row computed again")


if __name__ == "__main__":
    run_many()
