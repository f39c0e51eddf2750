"""Every row behind a report's page as comma-separated values, numbers in full."""

from __future__ import annotations

import csv
import io

from vlang.report import Page


def render(page: Page) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(page.records.head)
    writer.writerows([inert(cell) for cell in line] for line in page.records.lines)
    return text.getvalue()


def inert(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    if not cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return cell
    try:
        float(cell)
    except ValueError:
        return "'" + cell
    return cell
