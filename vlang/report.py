"""The Report: what was computed, as frozen values without tensors. Its JSON form is the schema rspec-report/1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vlang.plan import Swept

Verdict = Literal["certified", "falsified", "unknown", "estimate"]
GateVerdict = Literal["passed", "failed", "unknown", "warned"]
Overall = Literal["passed", "failed", "inconclusive", "empty"]


@dataclass(frozen=True)
class Row:
    """One answer. Fields that do not apply are None and left out of the JSON.

    radius is always a value that was certified, or in an attack's row (verdict falsified) the distance of a counterexample that was replayed;
    `complete` is False where a budget ended the search early, so that the true answer of the method may be larger (an attack's: smaller).
    estimate: a number that proves nothing; fit: of its distributions, the least p-value of a Kolmogorov-Smirnov test; points: how many
    were sampled. method: which of `auto`'s methods certified the row. certificate, witness_file: the files that prove or show it.
    capped: the search ended at max_radius, so that the answer may be larger.
    replaced: the words that stand in for tokens. witness, values: a counterexample, and the sample's own frames (not in the JSON of every kind).
    """

    sample: int
    label: str | int
    predicted: str | int
    target: str | int
    frames: tuple[int, ...]
    norm: float | str
    verdict: Verdict
    tokens: tuple[str, ...] | None = None
    radius: float | None = None
    eps: float | None = None
    margin: float | None = None
    reason: str | None = None
    lower: tuple[float, ...] | None = None
    upper: tuple[float, ...] | None = None
    witness: tuple[tuple[float, ...], ...] | None = None
    at_most: int | None = None
    method: str | None = None
    certificate: str | None = None
    witness_file: str | None = None
    replaced: tuple[str, ...] | None = None
    estimate: float | None = None
    fit: float | None = None
    points: int | None = None
    values: tuple[tuple[float, ...], ...] | None = None
    swept: Swept = ()
    complete: bool = True
    capped: bool = False


def size_of(row: Row) -> float | None:
    """The number that a row is about: its radius, its estimate, or its margin."""
    return next((x for x in (row.radius, row.estimate, row.margin) if x is not None), None)


@dataclass(frozen=True)
class GateResult:
    """What an expectation asked and what was found."""

    kind: Literal["expect", "warn"]
    text: str
    verdict: GateVerdict
    actual: str
    because: str | None
    line: int
    column: int


@dataclass(frozen=True)
class LeftOut:
    """Samples that a dataset's `where = correct` left out of a query, at one point of its sweeps: so many, of so many."""

    network: str
    samples: int
    of: int


@dataclass(frozen=True)
class QueryResult:
    name: str
    kind: str
    seconds: float
    rows: tuple[Row, ...]
    left_out: tuple[LeftOut, ...] = ()


def left_out(result: QueryResult) -> list[str]:
    """What a reader must know who compares networks: each may have lost other samples."""
    return [f"{x.samples} of {x.of} samples left out: {x.network} classifies them wrongly (where = correct)" for x in result.left_out]


@dataclass(frozen=True)
class Pseudospectrum:
    """How far the epsilon-pseudospectrum reaches: from the origin, and to the right."""

    eps: float
    radius: float
    abscissa: float


@dataclass(frozen=True)
class Landscape:
    """The smallest singular value of zI - A on a grid, and the numerical range's border: what is drawn. shape: values [len(y)][len(x)]."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]
    border: tuple[complex, ...]


@dataclass(frozen=True)
class SpectrumRow:
    """What is known of one matrix. Nothing here is proved; an interval (low, high) says what a method leaves open.

    power_radius: the spectral radius again, by power iteration. eigenvalue_conditions: in the eigenvalues' order. henrici: departure from
    normality, Frobenius norm. kreiss: of powers, infinite for an unstable matrix. growth: the largest norm of a power; growth_at: which.
    product_growth: of the Jacobians' products along the trajectory up to the frame. defective: to the nearest matrix found that cannot be
    diagonalised.
    """

    of: str
    size: int
    eigenvalues: tuple[complex, ...]
    spectral_radius: float
    power_radius: float
    spectral_norm: float
    numerical_radius: float
    henrici: float
    eigenvalue_conditions: tuple[float, ...]
    eigenvector_condition: float
    pseudospectra: tuple[Pseudospectrum, ...]
    kreiss: tuple[float, float]
    growth: tuple[float, float]
    growth_at: int
    product_growth: float | None
    defective: float
    landscape: Landscape | None = None
    swept: Swept = ()

    @property
    def eigenvalue_condition(self) -> float:
        """The worst one."""
        return max(self.eigenvalue_conditions)


@dataclass(frozen=True)
class SpectrumResult:
    """complete: False where the run was interrupted before all rows. network names are those in `of`."""

    name: str
    seconds: float
    rows: tuple[SpectrumRow, ...]
    complete: bool = True


@dataclass(frozen=True)
class EngineInfo:
    version: str
    torch: str
    device: str
    dtype: str


@dataclass(frozen=True)
class Results:
    """What the runtime returns: rows, not yet judged."""

    engine: EngineInfo
    queries: tuple[QueryResult, ...]
    spectra: tuple[SpectrumResult, ...] = ()


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


@dataclass(frozen=True)
class Table:
    """Text in cells; the first `labels` columns say which rows a line is about."""

    head: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    labels: int


@dataclass(frozen=True)
class Heat:
    """Frames and their numbers, for a heat map. kind: words (marks are tokens) or strokes (marks are a pen's relative moves, in values).

    measure: what the numbers are.
    """

    kind: Literal["words", "strokes"]
    title: str
    measure: str
    marks: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    sizes: tuple[float, ...]


@dataclass(frozen=True)
class Bracket:
    """One row's certified radius, estimate and attack, where it has them, and what it is."""

    title: str
    certified: float | None
    estimate: float | None
    attack: float | None


@dataclass(frozen=True)
class Page:
    """A report of the spec's own: its table, every row behind it, what was gated, pictures. formats, path: how and where it is written."""

    name: str
    table: Table
    records: Table
    brackets: tuple[Bracket, ...]
    heats: tuple[Heat, ...]
    expectations: tuple[GateResult, ...]
    provenance: tuple[tuple[str, str], ...]
    formats: tuple[str, ...]
    path: str | None
    note: str | None = None
    spectra: tuple[SpectrumResult, ...] = ()


@dataclass(frozen=True)
class Report:
    path: str
    sha256: str
    params: Swept
    engine: EngineInfo
    verdict: Overall
    queries: tuple[JudgedQuery, ...]
    pages: tuple[Page, ...] = ()
    spectra: tuple[JudgedSpectrum, ...] = ()
