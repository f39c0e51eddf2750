"""The tables of formats. To add one: write vlang/formats/x.py, add its line here and its word to vlang/words/formats.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from vlang.formats import csv, html, json, latex, markdown, svg, text
from vlang.report import Page, Report

#: Of all that a run computed.
FORMATS: Mapping[str, Callable[[Sequence[Report], bool], str]] = MappingProxyType({"json": json.render})
#: Of one of a spec's own reports.
PAGES: Mapping[str, Callable[[Page], str]] = MappingProxyType(
    {"text": text.render, "markdown": markdown.render, "latex": latex.render, "csv": csv.render, "html": html.render, "svg": svg.render}
)
