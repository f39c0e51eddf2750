"""The tables of formats. To add one: write vlang/formats/x.py, add its line here and its word to vlang/words/formats.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType

from vlang.formats import csv, github, gitlab, html, json, junit, latex, markdown, metrics, rows, sarif, summary, svg, text
from vlang.report import Outcome, Page
from vlang.text.printable import shown


def _printable(render: Callable[[Page], str], page: Page) -> str:
    return render(shown(page))


#: Of all that a run computed.
FORMATS: Mapping[str, Callable[[Sequence[Outcome], bool], str]] = MappingProxyType(
    {
        "json": json.render,
        "junit": junit.render,
        "sarif": sarif.render,
        "gitlab": gitlab.render,
        "github": github.render,
        "summary": summary.render,
        "metrics": metrics.render,
        "csv": rows.render,
    }
)
#: Of one of a spec's own reports.
_PAGES = {"text": text.render, "markdown": markdown.render, "latex": latex.render, "csv": csv.render, "html": html.render, "svg": svg.render}
#: The same, with nothing in a text that a reader would not see.
PAGES: Mapping[str, Callable[[Page], str]] = MappingProxyType({word: partial(_printable, render) for word, render in _PAGES.items()})
