"""`vrun watch FILE...`: a run, begun again whenever a spec or a file that it reads changes."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from vlang.lower.spec import compile_spec
from vlang.shell.arguments import CallError
from vlang.shell.commands import Overrides
from vlang.text.diagnostics import SpecError
from vlang.text.read import read_source

_TEXTS = re.compile(r'"([^"\\\n]+)"')
#: Seconds from one look to the next.
PAUSE = 0.3


def watch(files: Sequence[str], overrides: Overrides, argv: Sequence[str]) -> int:
    """argv: of `vrun run`. Ends with Ctrl-C or SIGTERM, with the exit code of the last run that ended; a run that a change overtakes is stopped.

    Raises CallError.
    """
    if "-" in files:
        raise CallError("standard input does not change: name a file to watch")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # its run must not go on alone
    code, run = 0, None
    reads: dict[str, set[str]] = {path: {str(Path(path).resolve())} for path in files}
    before: dict[str, tuple[int, int] | None] = {}
    try:
        while True:
            now = {path: _state(path) for held in reads.values() for path in held}
            if now != before:
                if run is not None:
                    _stop(run)
                for path in files:
                    reads[path] |= _read(path, overrides)
                before = {path: _state(path) for held in reads.values() for path in held}
                print(f"-- {time.strftime('%H:%M:%S')} --", file=sys.stderr, flush=True)
                run = subprocess.Popen([sys.executable, "-m", "vlang.cli", "run", *argv])
            if run is not None and run.poll() is not None:
                code, run = run.returncode, None
                print(f"-- exit {code}; waiting for changes --", file=sys.stderr, flush=True)
            time.sleep(PAUSE)
    except KeyboardInterrupt:
        if run is not None:
            _stop(run)
        return code


def _state(path: str) -> tuple[int, int] | None:
    """None where there is no such file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _read(path: str, overrides: Overrides) -> set[str]:
    """The files that a spec reads; of one with errors, all that its texts may name."""
    try:
        source = read_source(path)
        return set(compile_spec(source, overrides).reads)
    except SpecError:
        with contextlib.suppress(SpecError):
            source = read_source(path)
            return {str((source.folder / x).resolve()) for x in _TEXTS.findall(source.text) if "." in x}
    return set()


def _stop(run: subprocess.Popen[bytes]) -> None:
    run.terminate()
    try:
        run.wait(5)
    except subprocess.TimeoutExpired:
        run.kill()
        run.wait()
