"""A report's picture: its first heat map, or where it has none the brackets of its rows."""

from __future__ import annotations

from vlang.formats import pictures
from vlang.report import Page


def render(page: Page) -> str:
    drawn = pictures.heat(page.heats[0]) if page.heats else pictures.brackets(page.brackets, page.name)
    return '<?xml version="1.0" encoding="utf-8" standalone="no"?>\n' + drawn
