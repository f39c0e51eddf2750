"""Files that are written: whole or not at all."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError

#: How reports of the whole run begin, in each of their formats.
BEGINNINGS = (b"{", b"[", b"<?xml", b"## ", b"::", b"spec,query,kind")


def probe(path: str) -> None:
    """Refuse an unwritable report path before hours of work."""
    if path == "-":
        return
    if not path:
        raise SpecError(d.empty_path(None))
    target = Path(path)
    if target.is_dir():
        raise SpecError(d.cannot_write(path, "it is a directory"))
    if not target.parent.is_dir():
        raise SpecError(d.cannot_write(path, "its folder does not exist"))
    if not os.access(target.parent, os.W_OK) or (target.exists() and not os.access(target, os.W_OK)):
        raise SpecError(d.cannot_write(path, "permission denied"))


def clear(path: str, kept: Collection[str]) -> None:
    """Take an earlier run's report away, which must not be taken for this one's. kept: files that a spec reads. Raises SpecError."""
    if path == "-":
        return
    if is_kept(path, kept):
        raise SpecError(d.cannot_write(path, "the spec reads it"))
    reported(path)
    try:
        if Path(path).is_file():
            Path(path).unlink()
    except OSError as e:
        raise SpecError(d.cannot_write(path, (e.strerror or str(e)).lower())) from None


def is_kept(path: str, kept: Collection[str]) -> bool:
    """Whether a spec reads what would be written over."""
    return path != "-" and str(Path(path).resolve()) in kept


def mentioned(spec: str, paths: Collection[str]) -> list[str]:
    """The files whose names stand in a spec's text."""
    try:
        text = Path(spec).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [x for x in paths if Path(x).name in text]


def reported(path: str) -> None:
    """Refuse to write over what is no report. Raises SpecError."""
    if path == "-" or not Path(path).is_file():
        return
    try:
        with open(path, "rb") as f:
            begin = f.read(len(max(BEGINNINGS, key=len)))
    except OSError as e:
        raise SpecError(d.cannot_write(path, (e.strerror or str(e)).lower())) from None
    if begin and not begin.startswith(BEGINNINGS):
        raise SpecError(d.cannot_write(path, "it is there already, and is no report"))


def write(path: str, content: str | bytes) -> None:
    """Write aside, then rename: never half a report."""
    if path == "-":
        try:
            sys.stdout.write(content if isinstance(content, str) else content.decode())
            sys.stdout.flush()
        except BrokenPipeError:  # the reader stopped early; the verdict stands
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    target, raw = Path(path), content if isinstance(content, bytes) else content.encode("utf-8")
    try:
        if target.exists() and not target.is_file():  # /dev/stdout, a pipe
            target.write_bytes(raw)
            return
        handle, aside = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as f:
                f.write(raw)
            os.chmod(aside, 0o666 & ~_umask())
            os.replace(aside, target)
        except BaseException:
            os.unlink(aside)
            raise
    except OSError as e:
        raise SpecError(d.cannot_write(path, e.strerror or str(e))) from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def place(path: str) -> str:
    """A file as others know it: from the root of its repository, else from here, with slashes."""
    whole = Path(path).resolve()
    root = next((x for x in whole.parents if (x / ".git").exists()), Path.cwd())
    return whole.relative_to(root).as_posix() if whole.is_relative_to(root) else Path(path).as_posix()


def append(path: str, content: str) -> None:
    """Raises SpecError."""
    try:
        with open(path, "a", encoding="utf-8") as f:
            f.write(content)
    except OSError as e:
        raise SpecError(d.cannot_write(path, e.strerror or str(e))) from None


def folder(path: str) -> None:
    """Make a folder for files, or say why not, before hours of work."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise SpecError(d.cannot_write(path, (e.strerror or str(e)).lower())) from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise SpecError(d.cannot_write(path, "permission denied"))
