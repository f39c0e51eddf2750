"""The typed tree: what a spec says once every key has its type and every reference its meaning. Frozen values without syntax.

Between the syntax tree (vlang/text/syntax.py) and the Plan (vlang/plan.py): no file has been looked at yet. A form's fields are its kind's keys, each
with its place; None stands for a key left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from vlang.expression import Expression
from vlang.property import Property
from vlang.text.source import Span
from vlang.typed.layers import Listed
from vlang.typed.sets import Alternatives, Directions
from vlang.typed.types import Frames, Located, Pick, Range, Target

Swept = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Form:
    """name: as declared; empty for a record written in place."""

    span: Span
    name: str


@dataclass(frozen=True)
class Network(Form):
    checkpoint: Located[str] | None
    from_: Located[Network] | None
    normalize: Located[Fraction] | None
    cell: Located[str] | None
    activation: Located[str] | None
    readout: Located[str] | None
    head: Located[tuple[str, ...]] | None
    layers: Located[tuple[Listed, ...]] | None
    reference: Located[str] | None
    reference_tolerance: Located[Fraction] | None
    vocabulary: Located[str] | None
    unknown: Located[str | None] | None
    special_tokens: Located[str] | None
    labels: Located[tuple[str | int, ...]] | None

    @property
    def source(self) -> Located[str]:
        """The checkpoint of a network that is not derived."""
        assert self.checkpoint is not None
        return self.checkpoint


@dataclass(frozen=True)
class Input(Form):
    text: Located[str] | None
    values: Located[tuple[tuple[float, ...], ...]] | None
    label: Located[str | int] | None


@dataclass(frozen=True)
class Dataset(Form):
    inputs: Located[str] | None
    labels: Located[str] | None
    source: Located[str] | None
    frames: Located[int] | None
    window: Located[int] | None
    stride: Located[int] | None
    pick: Located[Pick] | None
    where: Located[str] | None
    reference: Located[str] | None
    reference_tolerance: Located[Fraction] | None


#: d[3] or d[0:10].
SampleIndex = Located[int | tuple[int | None, int | None]]


@dataclass(frozen=True)
class Data:
    """What is asked about: an input, or samples of a dataset."""

    form: Input | Dataset
    index: SampleIndex | None = None

    @property
    def single(self) -> bool:
        """Whether it surely is one sample."""
        return isinstance(self.form, Input) or (self.index is not None and isinstance(self.index.value, int))


@dataclass(frozen=True)
class Perturbation(Form):
    """frames, norm: None where they are not asked for: with directions, and with words and alternatives."""

    frames: Located[Frames] | None
    norm: Located[Fraction | None] | None
    space: Located[str] | None
    clip: Located[tuple[Range, ...]] | None
    weights: Located[tuple[Fraction, ...]] | None
    scale: Located[tuple[tuple[Fraction, ...], ...] | str] | None
    directions: Located[Directions] | None
    words: Located[Alternatives] | None
    alternatives: Located[str] | None


@dataclass(frozen=True)
class Engine(Form):
    method: Located[str]
    tolerance: Located[Fraction]
    max_radius: Located[Fraction]
    budget: Located[Fraction] | None
    device: Located[str]
    seed: Located[int]
    semantics: Located[str]


@dataclass(frozen=True)
class Ask(Form):
    """What every query about rows asks."""

    network: Located[Network]
    input: Located[Data]
    perturbation: Located[Perturbation]
    target: Located[Target] | None
    property: Located[Property] | None
    steps: Located[Frames | int] | None
    engine: Located[Engine]


@dataclass(frozen=True)
class Radius(Ask):
    """The largest certified eps."""


@dataclass(frozen=True)
class Verify(Ask):
    """eps: None where words are counted."""

    eps: Located[Fraction] | None


@dataclass(frozen=True)
class Bounds(Ask):
    eps: Located[Fraction]


@dataclass(frozen=True)
class Attack(Ask):
    """steps: outputs, or a number of gradient steps."""

    method: Located[str]
    iterations: Located[int] | None
    restarts: Located[int]


@dataclass(frozen=True)
class Estimate(Ask):
    samples: Located[int]
    batches: Located[int]


@dataclass(frozen=True)
class Matrix:
    """A recurrent matrix: a network's weights, of one gate where it has gates, or the Jacobian of its step at a frame of an input."""

    network: Located[Network]
    gate: Located[str] | None = None
    input: Located[Data] | None = None
    frame: Located[int] | None = None


@dataclass(frozen=True)
class Spectrum(Form):
    of: Located[Matrix]
    eps: Located[tuple[Fraction, ...]]
    layer: Located[int]
    direction: Located[str]
    points: Located[int]
    picture: Located[str] | None


@dataclass(frozen=True)
class Gate:
    """An expectation, its condition typed. end: line and column behind it."""

    kind: Literal["expect", "warn"]
    text: str
    condition: Expression
    because: str | None
    span: Span
    end: tuple[int, int]


@dataclass(frozen=True)
class Point:
    """A query at one point of its sweeps. swept: keys and values as shown."""

    swept: Swept
    form: Ask | Spectrum


@dataclass(frozen=True)
class Query:
    """A query of a kind at every point of its sweeps."""

    kind: str
    name: str
    span: Span
    points: tuple[Point, ...]
    gates: tuple[Gate, ...]


@dataclass(frozen=True)
class Stack:
    """Where rows of a report come from: queries of one kind whose rows are mentioned by one name, or (path) a file of reported figures."""

    name: str
    kind: str
    queries: tuple[Located[str], ...]
    path: str | None = None


@dataclass(frozen=True)
class Cell:
    """What stands in a report's table. name: None for the expression as text."""

    name: str | None
    value: Expression


@dataclass(frozen=True)
class Report(Form):
    of: Located[tuple[Located[Stack], ...]]
    rows: Located[tuple[Located[str], ...]] | None
    cols: Located[tuple[Located[str], ...]] | None
    cell: Located[tuple[Cell, ...]] | None
    format: Located[tuple[str, ...]] | None
    path: Located[str] | None
    picture: Located[str]
    note: Located[str] | None
    gates: tuple[Gate, ...] = ()


@dataclass(frozen=True)
class Baseline(Form):
    """Answers of an earlier run, by question."""

    file: Located[str]


@dataclass(frozen=True)
class Spec:
    """Every declaration that is sound by itself, in the spec's order. params: the values they had, as text."""

    params: Swept
    networks: tuple[Network, ...]
    data: tuple[Input | Dataset, ...]
    queries: tuple[Query, ...]
    spectra: tuple[Query, ...]
    reports: tuple[Report, ...]
    baselines: tuple[Baseline, ...] = ()
