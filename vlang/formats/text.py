"""A report's page as plain text."""

from __future__ import annotations

from collections.abc import Mapping

from vlang.report import Page, Table

VERDICTS: Mapping[str, str] = {"passed": "passed", "failed": "FAILED", "unknown": "undecided", "warned": "warned"}


def render(page: Page) -> str:
    lines = [f"report {page.name}", *([] if page.note is None else [page.note]), *table(page.table)]
    lines += [f"  {VERDICTS[g.verdict]}: {g.kind} {g.text}  found {g.actual}" for g in page.expectations]
    lines += [f"  {k}: {v}" for k, v in page.provenance]
    return "\n".join(lines) + "\n"


def table(found: Table) -> list[str]:
    """Columns aligned: labels to the left, numbers to the right."""
    rows = tuple(tuple(" ".join(c.split()) for c in row) for row in (found.head, *found.lines))
    widths = [max(len(row[i]) for row in rows) for i in range(len(found.head))]
    return [
        "  ".join(c.ljust(w) if i < found.labels else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))).rstrip() for row in rows
    ]
