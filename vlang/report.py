"""The Report: results, judged, as frozen values. Its JSON form is the schema rspec-report/1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vlang.plan import NetworkPlan, Swept
from vlang.results import EngineInfo, QueryResult, Row, SpectrumResult
from vlang.text.diagnostics import Diagnostic

GateVerdict = Literal["passed", "failed", "unknown", "warned"]
Overall = Literal["passed", "failed", "inconclusive", "empty"]


@dataclass(frozen=True)
class GateResult:
    """What an expectation asked and what was found. line, column, end_line, end_column: where it stands, the end exclusive.

    rows: by number, those that alone would not have held it.
    """

    kind: Literal["expect", "warn"]
    text: str
    verdict: GateVerdict
    actual: str
    because: str | None
    line: int
    column: int
    end_line: int
    end_column: int
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class Gate:
    """A gate of a query, of matrices or of a report's rows. rows: those of the query, of its kind."""

    about: str
    result: GateResult
    seconds: float = 0.0
    rows: tuple[Row, ...] = ()
    kind: str | None = None


@dataclass(frozen=True)
class JudgedQuery:
    result: QueryResult
    method: str
    semantics: str
    expectations: tuple[GateResult, ...]


@dataclass(frozen=True)
class JudgedSpectrum:
    """picture: the file that it is drawn to."""

    result: SpectrumResult
    expectations: tuple[GateResult, ...]
    picture: str | None


def gates_of(queries: Iterable[JudgedQuery], spectra: Iterable[JudgedSpectrum]) -> Iterator[Gate]:
    """Their gates, in order."""
    for query in queries:
        yield from (Gate(query.result.name, g, query.result.seconds, query.result.rows, query.result.kind) for g in query.expectations)
    for spectrum in spectra:
        yield from (Gate(spectrum.result.name, g, spectrum.result.seconds) for g in spectrum.expectations)


@dataclass(frozen=True)
class Table:
    """Text in cells; the first `labels` columns say which rows a line is about."""

    head: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    labels: int


@dataclass(frozen=True)
class Heat:
    """Frames and their numbers, for a heat map; measure: what the numbers are.

    kind: words (marks are tokens), strokes (values are a pen's relative moves) or frames (a line of values for each sample, named by the marks).
    """

    kind: Literal["words", "strokes", "frames"]
    title: str
    measure: str
    marks: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    sizes: tuple[float, ...]


@dataclass(frozen=True)
class Bracket:
    """One row's certified radius, estimate and attack, where it has them, and what it is. norm: radii of one norm share a scale."""

    title: str
    norm: str
    certified: float | None
    estimate: float | None
    attack: float | None


@dataclass(frozen=True)
class Page:
    """A report of the spec's own: its table, every row behind it, what was gated, pictures. formats, path: how and where it is written.

    records: numbers in full; listed: the same rows for people. spec: the file's name. gates: its own and those of the queries that it is about, and
    verdict: what they come to. floors: radii that they want to be exceeded, and their texts.
    """

    name: str
    spec: str
    verdict: Overall
    table: Table
    records: Table
    listed: Table
    gates: tuple[Gate, ...]
    floors: tuple[tuple[float, str], ...]
    brackets: tuple[Bracket, ...]
    heats: tuple[Heat, ...]
    expectations: tuple[GateResult, ...]
    provenance: tuple[tuple[str, str], ...]
    formats: tuple[str, ...]
    path: str | None
    note: str | None = None
    spectra: tuple[SpectrumResult, ...] = ()


@dataclass(frozen=True)
class ReadNetwork:
    """A network as it was read. sha256: of its checkpoint; reading: cell, layers, readout, head and so on, by name."""

    plan: NetworkPlan
    sha256: str

    @property
    def reading(self) -> Mapping[str, Any]:
        return self.plan.architecture.reading()


@dataclass(frozen=True)
class Report:
    """networks: as they were read. data: files of samples, with the sha256 of each."""

    path: str
    sha256: str
    params: Swept
    engine: EngineInfo
    verdict: Overall
    queries: tuple[JudgedQuery, ...]
    pages: tuple[Page, ...] = ()
    spectra: tuple[JudgedSpectrum, ...] = ()
    networks: tuple[ReadNetwork, ...] = ()
    data: tuple[tuple[str, str], ...] = field(default=())


@dataclass(frozen=True)
class Outcome:
    """What became of one spec: its report, or why there is none. place: its path as other tools know it, from the root of the repository."""

    place: str
    report: Report | None = None
    problems: tuple[Diagnostic, ...] = ()
