"""A journal: a file of JSON lines, one a finished row, each on the disk before the next is begun; and beside it an index, and what rows name.

`rows.jsonl` is all there is to know; `index.sqlite` says where each key's last line is, and is made again where it is missing or wrong, and lets one
run write at a time; `files/` holds certificates, witnesses and networks by their digests. A line holds a digest of itself: one that is torn or was
changed counts as missing, and its row is computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError

SCHEMA = "rspec-journal/2"
#: Seconds that a run waits for another one's line.
PATIENCE = 60.0
TABLES = "CREATE TABLE lines (key TEXT PRIMARY KEY, at INTEGER, size INTEGER); CREATE TABLE seen (bytes INTEGER); INSERT INTO seen VALUES (0)"
Line = dict[str, Any]
T = TypeVar("T")
#: Digits of a file's digest.
DIGEST = 64


@dataclass(eq=False)
class Journal:
    """folder: is made where it is not there. Raises SpecError where it cannot be written."""

    folder: Path
    index: sqlite3.Connection = field(init=False)

    def __post_init__(self) -> None:
        try:
            (self.folder / "files").mkdir(parents=True, exist_ok=True)
            self.rows.touch()
            self._again(self._open)
        except OSError as e:
            raise SpecError(d.cannot_write(str(self.folder), e.strerror or str(e))) from None
        except sqlite3.Error as e:
            raise SpecError(d.cannot_write(str(self.folder / "index.sqlite"), str(e))) from None

    @property
    def name(self) -> str:
        return str(self.folder)

    @property
    def rows(self) -> Path:
        return self.folder / "rows.jsonl"

    def _again(self, work: Callable[[], T]) -> T:
        """Once more with a new index, where it is none any more: the rows are all that counts."""
        try:
            return work()
        except (sqlite3.DatabaseError, TypeError, AttributeError) as e:
            if isinstance(e, sqlite3.OperationalError) and "locked" in str(e):  # it is another run's
                raise
            if hasattr(self, "index"):
                self.index.close()
            (self.folder / "index.sqlite").unlink()
            self._open()
            return work()

    def find(self, key: str) -> Line | None:
        """The last whole line of a key."""
        found = self._again(lambda: self.index.execute("SELECT at, size FROM lines WHERE key = ?", (key,)).fetchone())
        if found is None:
            return None
        with self.rows.open("rb") as f:
            f.seek(found[0])
            line = _line(f.read(found[1]))
        return line if line is not None and line["key"] == key else None

    def keys(self) -> set[str]:
        return {key for (key,) in self.index.execute("SELECT key FROM lines")}

    def append(self, lines: Iterable[Line]) -> None:
        """Each with its `key`; all on the disk when this returns. Raises SpecError."""
        try:
            with self._writing():
                self._look()  # what a run that was killed has written, and not indexed
                with self.rows.open("r+b") as f:
                    end = f.seek(0, os.SEEK_END)
                    f.seek(max(0, end - 1))
                    if f.read(1) not in (b"", b"\n"):  # torn by a run that was killed
                        f.write(b"\n")
                        end += 1
                    for line in lines:
                        text = _text(line)
                        f.write(text)
                        self.index.execute("INSERT OR REPLACE INTO lines VALUES (?, ?, ?)", (line["key"], end, len(text)))
                        end += len(text)
                    f.flush()
                    os.fsync(f.fileno())
                self.index.execute("UPDATE seen SET bytes = ?", (end,))
        except OSError as e:
            raise SpecError(d.cannot_write(str(self.rows), e.strerror or str(e))) from None
        except sqlite3.Error as e:
            raise SpecError(d.cannot_write(str(self.folder / "index.sqlite"), str(e))) from None

    def keep(self, content: bytes) -> str:
        """A file by its digest, whole or not at all. Raises SpecError."""
        digest = hashlib.sha256(content).hexdigest()
        path = self.folder / "files" / digest
        try:
            if not path.exists() or path.stat().st_size != len(content):
                partial = path.with_name(f"{digest}.{os.getpid()}")
                with partial.open("wb") as f:
                    f.write(content)
                    f.flush()
                    os.fsync(f.fileno())
                os.replace(partial, path)
        except OSError as e:
            raise SpecError(d.cannot_write(str(path), e.strerror or str(e))) from None
        return digest

    def held(self, digest: str) -> bytes | None:
        """A file that was kept; None where it is not there as it was."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            content = (self.folder / "files" / digest).read_bytes()
            return content if hashlib.sha256(content).hexdigest() == digest else None
        return None

    def forget(self, kept: Collection[str]) -> int:
        """Drop every line but the last one of each of some keys, and files that none of those names; how many keys are gone. Raises SpecError."""
        before = self.keys()
        try:
            with self._writing():
                lines = [line for key in sorted(before & set(kept)) if (line := self.find(key)) is not None]
                partial = self.rows.with_suffix(f".{os.getpid()}")
                partial.write_bytes(b"".join(map(_text, lines)))
                os.replace(partial, self.rows)
                self.index.execute("DELETE FROM lines")
                self.index.execute("UPDATE seen SET bytes = 0")
                named = {digest for line in lines for digest in line.get("files", {}).values()}
                for path in (self.folder / "files").iterdir():
                    if path.name not in named and len(path.name) == DIGEST:  # longer names are being written
                        path.unlink()
                self._look()
        except (OSError, sqlite3.Error) as e:
            raise SpecError(d.cannot_write(str(self.folder), str(e))) from None
        return len(before - set(kept))

    def _open(self) -> None:
        self.index = sqlite3.connect(self.folder / "index.sqlite", timeout=PATIENCE, isolation_level=None)
        with self._writing():
            if self.index.execute("SELECT name FROM sqlite_master WHERE name = 'lines'").fetchone() is None:
                for statement in TABLES.split("; "):
                    self.index.execute(statement)
            self._look()

    def _look(self) -> None:
        """Index what others have appended; all of it, where the file is not what was indexed."""
        (seen,) = self.index.execute("SELECT bytes FROM seen").fetchone()
        if seen > self.rows.stat().st_size or not self._is_of_these():
            self.index.execute("DELETE FROM lines")
            seen = 0
        with self.rows.open("rb") as f:
            f.seek(seen)
            for raw in f:
                line = _line(raw) if raw.endswith(b"\n") else None
                if line is not None:
                    self.index.execute("INSERT OR REPLACE INTO lines VALUES (?, ?, ?)", (line["key"], seen, len(raw)))
                seen += len(raw) if raw.endswith(b"\n") else 0
        self.index.execute("UPDATE seen SET bytes = ?", (seen,))

    def _is_of_these(self) -> bool:
        """Whether the first and the last line of the index stand where it says."""
        for order in ("ASC", "DESC"):
            found = self.index.execute(f"SELECT key, at, size FROM lines ORDER BY at {order} LIMIT 1").fetchone()
            if found is not None:
                with self.rows.open("rb") as f:
                    f.seek(found[1])
                    line = _line(f.read(found[2]))
                if line is None or line["key"] != found[0]:
                    return False
        return True

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Alone: sqlite lets one at a time, and lets go of one that was killed."""
        self.index.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.index.execute("ROLLBACK")
            raise
        self.index.execute("COMMIT")


@dataclass(frozen=True)
class Journals:
    """Several, of parts of one run: what one of them holds is there; what two say otherwise is an error."""

    of: list[Journal]

    @property
    def name(self) -> str:
        return ", ".join(x.name for x in self.of)

    def find(self, key: str) -> Line | None:
        """Raises SpecError where they disagree."""
        found = [(x, line) for x in self.of if (line := x.find(key)) is not None]
        for journal, line in found[1:]:
            if (line.get("answer"), line.get("rows")) != (found[0][1].get("answer"), found[0][1].get("rows")):
                raise SpecError(d.journals_disagree(found[0][0].name, journal.name, str(line.get("query", line.get("together")))))
        return found[0][1] if found else None

    def held(self, digest: str) -> bytes | None:
        return next((content for x in self.of if (content := x.held(digest)) is not None), None)


def _text(line: Mapping[str, Any]) -> bytes:
    said = {k: v for k, v in line.items() if k != "sha256"}
    whole = {**said, "sha256": _digest(said)}
    return (json.dumps(whole, allow_nan=False) + "\n").encode()


def _line(raw: bytes) -> Line | None:
    """None where it is no line of a journal, or not as it was written."""
    try:
        found = json.loads(raw)
        digest = found.pop("sha256")
        return found if isinstance(found["key"], str) and digest == _digest(found) else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _digest(said: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
