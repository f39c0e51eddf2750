"""What does not hold as SARIF 2.1.0 (OASIS), as code scanning services read it: one run a spec, every result with one place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from vlang import __version__
from vlang.formats.findings import Finding, findings, level_of, text_of
from vlang.report import Outcome
from vlang.text.explained import explained

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
#: What GitHub takes of one file: results, of which it keeps the first, and runs.
MOST_RESULTS, MOST_RUNS = 5000, 20


def render(outcomes: Sequence[Outcome], several: bool = False) -> str:
    every = findings(outcomes)[:MOST_RESULTS]
    places = list(dict.fromkeys(o.place for o in outcomes))
    apart = len(places) <= MOST_RUNS
    runs = [_run(p, [f for f in every if f.place == p]) for p in places] if apart else [_run("all", every)]
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": runs}, indent=1, ensure_ascii=False) + "\n"


def _run(place: str, found: Sequence[Finding]) -> dict[str, Any]:
    rules = sorted({f.rule for f in found})
    return {
        "tool": {
            "driver": {
                "name": "rspec-verify",
                "semanticVersion": __version__,
                "rules": [_rule(x) for x in rules],
            }
        },
        "automationDetails": {"id": f"rspec/{_text(place)}/"},
        "columnKind": "unicodeCodePoints",
        "results": [_result(f, rules.index(f.rule)) for f in found],
    }


def _rule(rule: str) -> dict[str, Any]:
    said = text_of(rule)
    full, text, markdown = f"{said} (rspec-verify).", f"{said}.", f"{said}."
    if rule in explained():
        x = explained()[rule]
        said, full = x.what, f"{x.what} {x.why}"
        text, markdown = f"{full}\n\n{x.example}", f"{full}\n\n```diff\n{x.example}\n```"
    return {
        "id": rule,
        "shortDescription": {"text": said},
        "fullDescription": {"text": full},
        "help": {"text": text, "markdown": markdown},
        "properties": {"tags": ["robustness"], "precision": "very-high", "problem.severity": level_of(rule)},
    }


def _result(f: Finding, index: int) -> dict[str, Any]:
    end = max(f.end_column, f.column + 1) if f.line == f.end_line else f.end_column
    region = {"startLine": f.line, "startColumn": f.column, "endLine": f.end_line, "endColumn": end}
    hint = f"\nhint: {f.hint}" if f.hint else ""
    return {
        "ruleId": f.rule,
        "ruleIndex": index,
        "level": f.level,
        "message": {"text": _text(f.message + hint)},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(f.place)}, "region": region}}],
        "partialFingerprints": {"primaryLocationLineHash": f.fingerprint},
    }


def _uri(place: str) -> str:
    from urllib.parse import quote

    return quote(place.encode("utf-8", "surrogateescape"), safe="/")


def _text(text: str) -> str:
    """JSON is UTF-8, which a path need not be."""
    return text.encode("utf-8", "backslashreplace").decode()
