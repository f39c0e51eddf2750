"""Runs that an editor asks for, and what it shows of them beside every gate."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from vlang.cost import Pace
from vlang.expression import grows
from vlang.plan import Expectation, Plan, QueryPlan
from vlang.text import syntax as s
from vlang.text.source import Source
from vlang.words.queries import PROOFS, QUERIES

State = Literal["running", "passed", "failed", "unknown", "warned", "stopped"]
#: Of a gate's verdict, what stands beside it.
SHOWN = {"passed": "holds", "failed": "FAILED", "unknown": "undecided", "warned": "does not hold"}


@dataclass(frozen=True)
class GateState:
    """text: of the condition. state: of its run; found: what was found; proved: whether certificates stand behind it, where it holds."""

    text: str
    state: State
    found: str = ""
    proved: bool = False

    def shown(self, stale: bool) -> str:
        """Never that something is proved of a text that has changed since."""
        if self.state == "running":
            return "running ..."
        if self.state == "stopped":
            return "stopped"
        words = f"found {self.found}: {'proved' if self.proved and self.state == 'passed' else SHOWN[self.state]}"
        return f"stale ({words})" if stale else words


@dataclass
class Verification:
    """One run of one or all queries of a text. words: the digest of what that text says."""

    words: str
    process: subprocess.Popen[bytes]
    report: Path
    said: str = ""
    stopped: bool = False

    def stop(self) -> None:
        self.stopped = True
        with contextlib.suppress(OSError):
            self.process.kill()


@dataclass(frozen=True)
class Known:
    """What is known of a gate, of which text (by the digest of what it says) and of which files (when each was written)."""

    gate: GateState
    words: str
    files: Mapping[str, float]

    def shown(self, words: str) -> str:
        stale = self.words != words or any(_written(path) != when for path, when in self.files.items())
        return self.gate.shown(stale)


@dataclass
class Gates:
    """What is known of a document's gates, by query and number."""

    known: dict[tuple[str, int], Known] = field(default_factory=dict)

    def shown(self, query: str, number: int, text: str, words: str) -> str | None:
        held = self.known.get((query, number))
        return None if held is None or held.gate.text != text else held.shown(words)

    def begin(self, tree: s.File, plan: Plan, words: str, only: Sequence[str]) -> None:
        """Of those queries, or all, that they are running."""
        networks = [*(v.network for q in plan.queries for v in q.variants), *(v.network for q in plan.spectra for v in q.variants)]
        beside = {path for network in networks for path in network.beside}  # weights of an .onnx file
        files = {path: _written(path) for path in sorted(plan.reads | beside)}
        proofs = {(q.name, k): _is_proof(q, e) for q in plan.queries for k, e in enumerate(q.expectations)}
        for name, number, gate in gates(tree):
            if not only or name in only:
                self.known[name, number] = Known(GateState(gate.text, "running", proved=proofs.get((name, number), False)), words, files)

    def finish(self, report: dict[str, Any] | None) -> None:
        """What was found of what is running; of what was not answered, that it stopped."""
        parts = [query for part in ("queries", "spectra", "reports") for query in (report or {}).get(part, ())]
        found = {(query["name"], k): gate for query in parts for k, gate in enumerate(query["expectations"])}
        for key, held in self.known.items():
            if held.gate.state == "running":
                said = found.get(key)
                state = replace(held.gate, state="stopped") if said is None else replace(held.gate, state=said["verdict"], found=said["actual"])
                self.known[key] = replace(held, gate=state)


def _is_proof(query: QueryPlan, gate: Expectation) -> bool:
    """Whether it can only become truer as certificates grow, so that it is true of what they are about."""
    return QUERIES[query.kind].certified and grows(gate.condition, PROOFS) == 1


def gates(tree: s.File) -> list[tuple[str, int, s.Gate]]:
    """The name of what holds it, its number there, and the gate."""
    found = []
    for x in (e for e in tree.entries if isinstance(e, s.Declaration)):
        found += [(x.name, k, gate) for k, gate in enumerate(e for e in x.entries if isinstance(e, s.Gate))]
    return found


def _written(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def pace() -> Pace | None:
    """This machine's, measured in a process of its own; None where nothing can be computed."""
    try:
        said = subprocess.run([sys.executable, "-m", "vlang.runtime.pace"], capture_output=True, env=_environment(), timeout=60, check=True).stdout
        return Pace(**json.loads(said))
    except (OSError, subprocess.SubprocessError, ValueError, TypeError):
        return None


def _environment() -> dict[str, str]:
    """Modules are found as they are here."""
    found = os.environ | {"OMP_WAIT_POLICY": "passive", "PYTHONPATH": os.pathsep.join(x for x in sys.path if x)}
    found.pop("GITHUB_ACTIONS", None)
    return found


def start(source: Source, only: Sequence[str], done: Callable[[Verification, int, dict[str, Any] | None], None]) -> Verification:
    """Run a text in a process of its own; done is called from a thread with its exit code and report."""
    handle, name = tempfile.mkstemp(suffix=".json")
    os.close(handle)
    argv = ["run", "-", "--json", name, "--no-progress", "--quiet", *(x for query in only for x in ("-q", query))]
    asked = json.dumps({"argv": argv, "text": source.text}).encode() + b"\n"
    process = subprocess.Popen(
        [sys.executable, "-m", "vlang.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=source.folder,
        env=_environment(),
        start_new_session=True,
    )
    run = Verification(source.words_sha256, process, Path(name))
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(asked)
        process.stdin.flush()

    def wait() -> None:
        assert process.stderr is not None
        run.said = process.stderr.read().decode(errors="replace")
        code = process.wait()
        try:
            held = json.loads(run.report.read_text())
        except (OSError, ValueError):
            held = None
        run.report.unlink(missing_ok=True)
        if process.stdin is not None:
            process.stdin.close()
        done(run, code, held if isinstance(held, dict) and not run.stopped else None)

    threading.Thread(target=wait, daemon=True).start()
    return run
