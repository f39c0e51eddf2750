"""Every row behind a report's page as comma-separated values, numbers in full."""

from __future__ import annotations

import csv
import io

from vlang.report import Page


def render(page: Page) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(page.records.head)
    writer.writerows(page.records.lines)
    return text.getvalue()
