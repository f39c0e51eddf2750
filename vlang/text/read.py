"""Specs from files."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from pathlib import Path

from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError, nearest
from vlang.text.source import Source

#: A larger spec file is a mistake.
LARGEST_SPEC = 16 * 2**20


#: What standard input is called; its paths are relative to here.
STDIN = "<stdin>"


def _decoded(path: str, raw: bytes) -> Source:
    if len(raw) > LARGEST_SPEC:
        raise SpecError(d.not_text(f"it is larger than {LARGEST_SPEC >> 20} MiB"))
    return Source(path, raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n"), hashlib.sha256(raw).hexdigest())


def read_source(path: str) -> Source:
    """The text of a spec; of standard input for '-'. Raises SpecError."""
    try:
        if not path:
            raise SpecError(d.empty_path(None))
        if path == "-":
            return _decoded(STDIN, sys.stdin.buffer.read(LARGEST_SPEC + 1))
        if os.path.isdir(path):
            raise SpecError(d.is_directory(None, path))
        if stat.S_ISFIFO(os.stat(path).st_mode) and not os.path.realpath(path).startswith("/proc/"):
            raise SpecError(d.unreadable(None, path, "it is a pipe, which may never be written to"))
        with open(path, "rb") as f:
            raw = f.read(LARGEST_SPEC + 1)
        return _decoded(path, raw)
    except FileNotFoundError:
        folder = Path(path).parent
        siblings = [p.name for p in folder.iterdir()] if folder.is_dir() else []
        near = nearest(Path(path).name, siblings)
        raise SpecError(d.missing_file(None, path, None if near is None else str(folder / near), path)) from None
    except UnicodeDecodeError as e:
        raise SpecError(d.not_text(f"byte {e.start} is not UTF-8")) from None
    except (OSError, ValueError) as e:
        raise SpecError(d.unreadable(None, path, str(getattr(e, "strerror", None) or e))) from None
