"""Formats: of one report's page, and of all that a run computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Page:
    """suffix: of its files. pictures: whether it holds some. prints: whether it makes sense on standard output."""

    suffix: str
    pictures: bool = False
    prints: bool = True


@dataclass(frozen=True)
class Run:
    """doc: of the option --WORD FILE that writes it."""

    doc: str


PAGES: Mapping[str, Page] = MappingProxyType(
    {
        "text": Page(".txt"),
        "markdown": Page(".md"),
        "latex": Page(".tex"),
        "csv": Page(".csv"),
        "html": Page(".html", pictures=True, prints=False),
        "svg": Page(".svg", pictures=True, prints=False),
    }
)
RUNS: Mapping[str, Run] = MappingProxyType({"json": Run("also write the report as JSON ('-' for stdout instead of tables)")})
#: What a report's pictures show of frames.
PICTURES = ("auto", "words", "strokes", "none")
