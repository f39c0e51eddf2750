"""A journal: every answered query's rows, appended to a file of JSON lines as soon as they are there."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from vlang import __version__
from vlang.formats.json import row_as_json
from vlang.plan import Plan
from vlang.results import QueryResult
from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError

SCHEMA = "rspec-journal/1"


@dataclass(frozen=True)
class Journal:
    """path: a file of its own for every spec, by the spec's hash; runs of the same spec go on in it."""

    path: Path
    plan: Plan

    @classmethod
    def of(cls, folder: str, plan: Plan) -> Journal:
        return cls(Path(folder) / f"{Path(plan.path).stem}-{plan.sha256[:12]}.jsonl", plan)

    def append(self, result: QueryResult) -> None:
        """A line a row, on the disk when this returns; a line that an earlier run left torn is closed first. Raises SpecError."""
        said = {
            "schema": SCHEMA,
            "engine": __version__,
            "spec": self.plan.sha256,
            "params": dict(self.plan.params),
            "query": result.name,
            "kind": result.kind,
        }
        lines = [json.dumps(said | {"row": row_as_json(row)}, ensure_ascii=False, allow_nan=False) for row in result.rows]
        try:
            torn = self.path.exists() and self.path.read_bytes()[-1:] not in (b"\n", b"")
            with self.path.open("ab") as f:
                f.write(("\n" * torn + "\n".join(lines) + "\n").encode("utf-8", "backslashreplace") if lines else b"")
                f.flush()
                os.fsync(f.fileno())
        except OSError as e:
            raise SpecError(d.cannot_write(str(self.path), e.strerror or str(e))) from None
