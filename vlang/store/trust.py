"""Answers of a store that others may have written: what counts is what their evidence proves, examined here and now."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vlang.lower.files import strictly
from vlang.results import RadiusRow, Solved, VerifyRow
from vlang.words.methods import METHODS

#: What a claim may say of what holds in its set.
CLAIMED = ("property", "some", "label", "against")
#: The checker, in a process of its own.
VCHECK = "import sys; from vlang.vcheck.cli import main; sys.exit(main())"


def examined(solved: Solved, said: Mapping[str, Any], checkpoint: str) -> Solved | None:
    """The answer as far as its certificate proves it, where `vcheck` accepts that and it states what is asked; None of all other answers.

    said: of the question at the answer's eps (`vlang.runtime.evidence.statement`), the network's digest apart: the checkpoint's own counts.
    """
    row = solved.row
    if not isinstance(row, RadiusRow | VerifyRow) or row.verdict != "certified" or row.certificate is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "row.cert"
        content = solved.files[row.certificate]
        path.write_bytes(content)
        with open(checkpoint, "rb") as f:
            sha256 = hashlib.file_digest(f, "sha256").hexdigest()
        wanted = {**said, "network": {**said["network"], "sha256": sha256}}
        claim = _claim(content)
        apart = set(CLAIMED) - set(wanted)  # a property beside a label would be what is proved
        if any(claim.get(name) != value for name, value in wanted.items()) or not apart.isdisjoint(claim):
            return None
        # The checker is a program of its own, which nothing here is part of.
        said_so = subprocess.run([sys.executable, "-c", VCHECK, str(path), "--network", checkpoint], capture_output=True, text=True, check=False)
        if said_so.returncode != 0 or ": valid: " not in said_so.stdout:
            return None
    files = {row.certificate: content}
    plain: dict[str, Any] = {"method": row.method if row.method in METHODS else None, "reason": None, "pieces": None, "depth": None}
    if isinstance(row, RadiusRow):
        return replace(solved, row=replace(row, **plain, attacked=None, capped=False), files=files)
    proved = replace(row, **plain, margin=0.0, witness=None, witness_file=None, replaced=None)  # that it is more than 0 is what is proved
    return replace(solved, row=proved, files=files)


def _claim(content: bytes) -> dict[str, Any]:
    """What a certificate says, whether it is true or not; nothing where it is none."""
    try:
        # Strictly: of two entries of one name a reader may take either, and vcheck is to read what is compared here.
        head = strictly(content[8 : 8 + int.from_bytes(content[:8], "little")].decode())
        found: dict[str, Any] = strictly(head["__metadata__"]["certificate"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
