"""What does not hold as GitLab's code quality report."""

from __future__ import annotations

import json
from collections.abc import Sequence

from vlang.formats.findings import findings
from vlang.report import Outcome

SEVERITY = {"error": "critical", "warning": "minor", "note": "info"}


def render(outcomes: Sequence[Outcome], several: bool = False) -> str:
    found = [
        {
            "description": f.message,
            "check_name": f.rule,
            "fingerprint": f.fingerprint,
            "severity": SEVERITY[f.level],
            "location": {"path": f.place, "lines": {"begin": f.line}},
        }
        for f in findings(outcomes)
    ]
    return json.dumps(found, indent=1).encode("utf-8", "backslashreplace").decode() + "\n"
