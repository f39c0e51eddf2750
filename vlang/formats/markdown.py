"""A report's page as Markdown."""

from __future__ import annotations

import re

from vlang.formats.text import VERDICTS
from vlang.report import Page, Table


def render(page: Page) -> str:
    parts = [f"# {page.name}", *([] if page.note is None else [escape(page.note)]), _table(page.table)]
    if page.expectations:
        gates = [f"* **{VERDICTS[g.verdict]}**: {g.kind} `{g.text}`, found {escape(g.actual)}" for g in page.expectations]
        parts.append("\n".join(gates))
    parts += ["## Every row", _table(page.records), "## What produced it", "\n".join(f"* {k}: {escape(v)}" for k, v in page.provenance)]
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    rule = ["---" if i < table.labels else "---:" for i in range(len(table.head))]
    return "\n".join("| " + " | ".join(map(escape, line)) + " |" for line in (table.head, tuple(rule), *table.lines))


def escape(text: str) -> str:
    return re.sub(r"([\\|`*\[\]])", r"\\\1", text).replace("<", "&lt;").replace("\n", " ")
