"""Answers of a store that others may have written: what counts is what their evidence proves, examined here and now."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vlang.results import RadiusRow, Solved, VerifyRow
from vlang.vcheck.certificate import check, claim_of, read
from vlang.vcheck.errors import InvalidError, UnreadableError


def examined(solved: Solved, said: Mapping[str, Any], checkpoint: str) -> Solved | None:
    """The answer as far as its certificate proves it, where `vcheck` accepts that and it states what is asked; None of all other answers.

    said: of the question at the answer's eps (`vlang.runtime.evidence.statement`), the network's digest apart: the checkpoint's own counts.
    """
    row = solved.row
    if not isinstance(row, RadiusRow | VerifyRow) or row.verdict != "certified" or row.certificate is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "row.cert"
        path.write_bytes(solved.files[row.certificate])
        try:
            claim = claim_of(str(path))
            with open(checkpoint, "rb") as f:
                sha256 = hashlib.file_digest(f, "sha256").hexdigest()
            wanted = {**said, "network": {**said["network"], "sha256": sha256}}
            if any(claim.get(name) != value for name, value in wanted.items()):
                return None
            tensors, metadata, own = read(checkpoint)
            check(str(path), {own: (tensors, metadata)})
        except (InvalidError, UnreadableError, OSError, KeyError, TypeError, ValueError):
            return None
    if isinstance(row, RadiusRow):
        return replace(solved, row=replace(row, attacked=None))
    return replace(solved, row=replace(row, margin=0.0))  # more than 0 is what it proves
