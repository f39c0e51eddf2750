"""The Report: what was computed, as frozen values without tensors. Its JSON form is the schema rspec-report/1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vlang.plan import Swept

Verdict = Literal["certified", "falsified", "unknown"]
GateVerdict = Literal["passed", "failed", "unknown", "warned"]
Overall = Literal["passed", "failed", "inconclusive", "empty"]


@dataclass(frozen=True)
class Row:
    """One answer. Fields that do not apply are None and left out of the JSON.

    radius is always a value that was certified; `complete` is False where a budget ended the search early, so that the true
    answer of the method may be larger. method: which of `auto`'s methods certified the row. certificate: the file that proves it.
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
    swept: Swept = ()
    complete: bool = True


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
class QueryResult:
    name: str
    kind: str
    seconds: float
    rows: tuple[Row, ...]


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


@dataclass(frozen=True)
class JudgedQuery:
    result: QueryResult
    method: str
    semantics: str
    expectations: tuple[GateResult, ...]


@dataclass(frozen=True)
class Report:
    path: str
    sha256: str
    params: Swept
    engine: EngineInfo
    verdict: Overall
    queries: tuple[JudgedQuery, ...]
