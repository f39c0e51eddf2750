"""Results: what the runtime found, as frozen values without tensors; not yet judged (vlang/report.py)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Literal

from vlang.plan import Swept

Verdict = Literal["certified", "falsified", "unknown", "estimate"]
#: A sample's frames as numbers. shape: [m][n].
Frames = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Row(ABC):
    """One answer: the question, and what became of it. Fields that do not apply are None.

    norm: p, or 'inf'. tokens: of the frames. at_most: of any(k). complete: False where a budget or an interruption ended the search early.
    step: which output of a network with one a frame, where each has a row.
    values: the sample's own frames, where every frame is asked about alone. question: the same for the same input, perturbation, classes and eps,
    whatever network answers.
    """

    sample: int
    label: str | int
    predicted: str | int
    target: str | int
    frames: tuple[int, ...]
    norm: float | str
    verdict: Verdict
    tokens: tuple[str, ...] | None = None
    at_most: int | None = None
    reason: str | None = None
    values: Frames | None = None
    swept: Swept = ()
    step: int | None = None
    complete: bool = True
    question: str = ""

    @property
    def correct(self) -> bool:
        return self.label == self.predicted

    @property
    @abstractmethod
    def size(self) -> float | None:
        """The number that the row is about."""


def frames_in_words(frames: Sequence[int], tokens: Sequence[str] | None, at_most: int | None) -> str:
    """Frames with their tokens: '3:name', or '0-3' where there are no words."""
    if tokens and len(tokens) <= 6:
        text = " ".join(f"{k}:{t}" for k, t in zip(frames, tokens, strict=True))
    elif len(frames) > 2 and list(frames) == list(range(frames[0], frames[-1] + 1)):
        text = f"{frames[0]}-{frames[-1]}"
    else:
        text = ",".join(map(str, frames))
    return text if at_most is None else f"any {at_most} of {text}"


@dataclass(frozen=True, kw_only=True)
class CertifiableRow(Row):
    """method: which of `auto`'s methods certified it. certificate: the file that proves it."""

    method: str | None = None
    certificate: str | None = None


@dataclass(frozen=True, kw_only=True)
class FalsifiableRow(Row):
    """witness: a counterexample that was replayed; along directions, how far. witness_file: the file that holds it. replaced: words that stand in."""

    witness: Frames | None = None
    witness_file: str | None = None
    replaced: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class SearchedRow(CertifiableRow):
    """pieces, depth: of a complete search, how many it bounded, and how often the smallest had been cut."""

    pieces: int | None = None
    depth: int | None = None


@dataclass(frozen=True, kw_only=True)
class RadiusRow(SearchedRow):
    """radius: always a value that was certified; the method's true answer may be larger where the row is not complete.

    capped: the search ended at max_radius, so that the answer may be larger. attacked: of a complete search, the distance of the nearest
    counterexample, replayed.
    """

    radius: float
    capped: bool = False
    attacked: float | None = None

    @property
    def size(self) -> float:
        return self.radius


@dataclass(frozen=True, kw_only=True)
class VerifyRow(SearchedRow, FalsifiableRow):
    """margin: a certified lower bound of label minus best other class."""

    eps: float
    margin: float | None = None

    @property
    def size(self) -> float | None:
        return self.margin


@dataclass(frozen=True, kw_only=True)
class BoundsRow(Row):
    """lower, upper: of every output, infinite where there is none. margin: as of `VerifyRow`."""

    eps: float
    margin: float | None = None
    lower: tuple[float, ...] | None = None
    upper: tuple[float, ...] | None = None

    @property
    def size(self) -> float | None:
        return self.margin


@dataclass(frozen=True, kw_only=True)
class AttackRow(FalsifiableRow):
    """radius: the distance of a counterexample, rounded up until it surely is in the set."""

    radius: float | None = None

    @property
    def size(self) -> float | None:
        return self.radius


@dataclass(frozen=True, kw_only=True)
class EstimateRow(Row):
    """estimate: a number that proves nothing. fit: of its distributions, the least p-value of a Kolmogorov-Smirnov test. points: sampled ones."""

    estimate: float | None = None
    fit: float | None = None
    points: int | None = None

    @property
    def size(self) -> float | None:
        return self.estimate


#: The type of a kind's rows.
ROWS: Mapping[str, type[Row]] = MappingProxyType(
    {"radius": RadiusRow, "verify": VerifyRow, "bounds": BoundsRow, "attack": AttackRow, "estimate": EstimateRow}
)


@dataclass(frozen=True)
class Saved:
    """Which files of evidence a run saves."""

    certificates: bool = False
    witnesses: bool = False


@dataclass(frozen=True)
class Solved:
    """A row, and the files of evidence that it needs, by name: its own not numbered.

    whole: whether nothing of it can have been left out: no budget, and nobody, ended its task.
    """

    row: Row
    files: Mapping[str, bytes]
    whole: bool = True


def named(row: Row) -> dict[str, str]:
    """The files of evidence that a row names, by its field."""
    found = {"certificate": row.certificate} if isinstance(row, CertifiableRow) and row.certificate else {}
    return found | ({"witness_file": row.witness_file} if isinstance(row, FalsifiableRow) and row.witness_file else {})


@dataclass(frozen=True)
class Coverage:
    """How many of the samples asked about a network classifies as labelled, at one point of a query's sweeps.

    only: whether `where = correct` leaves out the others.
    """

    network: str
    correct: int
    of: int
    only: bool = False

    @property
    def share(self) -> Fraction:
        return Fraction(self.correct, self.of)


@dataclass(frozen=True)
class QueryResult:
    name: str
    kind: str
    seconds: float
    rows: tuple[Row, ...]
    coverage: tuple[Coverage, ...] = ()


#: Below this share a query says little about its data, or the network is not the one that was trained.
LITTLE = Fraction(1, 2)


def about_samples(result: QueryResult) -> list[str]:
    """What a reader must know: each network may have lost other samples, and one that is mostly wrong may have been read wrongly."""
    lost = [x for x in result.coverage if x.only and x.correct < x.of]
    told = [f"{x.of - x.correct} of {x.of} samples left out: {x.network} classifies them wrongly (where = correct)" for x in lost]
    few = [x for x in result.coverage if x.of > 1 and x.share < LITTLE]
    doubt = "is it read as it was trained, are the inputs scaled as then, do labels count from 0?"
    return told + [f"warning: {x.network} classifies only {x.correct} of {x.of} samples as labelled: {doubt}" for x in few]


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

    @property
    def _widest(self) -> Pseudospectrum:
        return max(self.pseudospectra, key=lambda p: p.eps)

    @property
    def pseudospectral_radius(self) -> float:
        """Of the largest eps."""
        return self._widest.radius

    @property
    def pseudospectral_abscissa(self) -> float:
        """Of the largest eps."""
        return self._widest.abscissa


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
    """files: the sha256 of every file that was read, by its path, as it was read."""

    engine: EngineInfo
    queries: tuple[QueryResult, ...]
    spectra: tuple[SpectrumResult, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
