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
    """doc: of the option --WORD FILE that writes it. suffix, name: of files that are of this format without being told."""

    doc: str
    suffix: str | None = None
    name: str | None = None


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
RUNS: Mapping[str, Run] = MappingProxyType(
    {
        "json": Run("also write the report as JSON ('-' for stdout instead of tables)", ".json"),
        "junit": Run("also write every gate as a test case (JUnit XML)", ".xml"),
        "sarif": Run("also write what does not hold as SARIF 2.1.0 (code scanning)", ".sarif"),
        "gitlab": Run("also write what does not hold for GitLab's code quality", name="gl-code-quality-report.json"),
        "github": Run("also write what does not hold as GitHub's annotations (by themselves under GITHUB_ACTIONS)"),
        "summary": Run("also write gates and queries as Markdown", ".md"),
        "metrics": Run("also write the numbers that gates are about, flat, as JSON", name="metrics.json"),
        "csv": Run("also write every row as comma-separated values", ".csv"),
    }
)
#: What a report's pictures show of frames.
PICTURES = ("auto", "words", "strokes", "frames", "none")
