"""The Plan: everything a spec asks for, resolved and checked, as frozen values without tensors or syntax.

`Plan` and `Results` (vlang/results.py) are the only things that the language and the runtime both know, beside the words (vlang/words).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from vlang.array import ArrayPlan
from vlang.expression import Expression
from vlang.known import Known
from vlang.perturbation import PerturbationPlan
from vlang.picture import Picture, reshaped
from vlang.property import Property
from vlang.text.source import Span
from vlang.words.cells import CELLS
from vlang.words.layers import JOINED, LAYERS

#: A swept value as shown in tables and reports.
Swept = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Problem:
    """Something wrong with the data, found only when it is loaded. `kind` is a key of the language's DATA_PROBLEMS."""

    kind: Literal[
        "not_finite",
        "label_out_of_range",
        "outside_clip",
        "target_is_label",
        "device",
        "damaged",
        "no_certificate",
        "not_float32",
        "reference_differs",
        "reference_shape",
        "label_not_found",
    ]
    span: Span | None
    details: tuple[str | int, ...]


class DataError(Exception):
    """Raised by the runtime before anything is computed, with every problem it found."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(f"{p.kind} {p.details}" for p in problems))
        self.problems = problems


#: What may be said of a layer.
Setting = int | float | str | tuple[float, ...] | tuple[str, ...]


@dataclass(frozen=True)
class LayerPlan:
    """One layer. word: a key of vlang/words/layers.py, or a cell. of: the layers that it reads, -1 for the input's frames.

    roles: of its tensors, which the file calls prefix + role (weight, bias; weight_ih_l0, ...). settings: what else is said of it, by name; of a
    cell `layers`, `directions` and `initial`, the names of its initial states, none for zeros. width: of each frame that it gives. window: of how
    many frames each of those is made.
    """

    word: str
    of: tuple[int, ...]
    width: int
    prefix: str = ""
    roles: tuple[str, ...] = ()
    settings: tuple[tuple[str, Setting], ...] = ()
    window: int = 1
    units: int = 0

    def setting(self, name: str) -> Any:
        return dict(self.settings)[name]

    def in_file(self, role: str) -> str:
        """What the file calls a tensor. Initial states have whole names of their own."""
        states: Any = dict(self.settings).get("initial", ())
        return role if role in states else self.prefix + role

    @property
    def names(self) -> tuple[str, ...]:
        """What the file calls its tensors."""
        states: Any = dict(self.settings).get("initial", ())
        return (*states, *(self.prefix + role for role in self.roles))

    @property
    def hidden(self) -> int:
        """Units of a cell."""
        return self.units or self.width // int(self.setting("directions"))

    @property
    def projected(self) -> bool:
        """Whether what a cell gives is projected."""
        return bool(self.units)

    @property
    def state_widths(self) -> tuple[int, ...]:
        """Numbers of each of a cell's states, in one direction of one layer."""
        return (self.width // int(self.setting("directions")), *[self.hidden] * (len(CELLS[self.word].states) - 1))

    def windows(self, frames: int) -> int:
        """How many windows fit into so many frames."""
        said: dict[str, Any] = dict(self.settings)
        reach = said.get("dilation", 1) * (self.window - 1) + 1
        room = frames + 2 * said.get("padding", 0) - reach
        return 0 if frames == 0 or room < 0 else int(room // (said["stride"] or self.window) + 1)

    def described(self) -> dict[str, Any]:
        """As reports, certificates and witnesses state it."""
        named = {"prefix": self.prefix} if self.roles else {}
        said = {k: list(v) if isinstance(v, tuple) else v for k, v in self.settings}
        return {"layer": self.word, "of": list(self.of), **named, **said}


@dataclass(frozen=True)
class Architecture:
    """A network: the layers that names and shapes of a checkpoint's tensors say, its metadata and the spec; the last one's values are the outputs.

    input_size: numbers of a frame; 0 where all frames are flattened before anything reads them, and only how many numbers they have together matters.
    embedding: the name of the table of tokens that the frames are rows of, if they are, and how many it has.
    """

    layers: tuple[LayerPlan, ...]
    input_size: int
    embedding: str | None = None
    tokens: int = 0

    def __post_init__(self) -> None:
        """No layer reads a softmax, which is taken for nothing because it keeps the order of the outputs. Raises ValueError."""
        behind = next((x.word for x in self.layers if any(k >= 0 and self.layers[k].word == "softmax" for k in x.of)), None)
        if behind is not None:
            raise ValueError(f"{behind} stands behind a softmax, which is only read of the outputs")

    @property
    def classes(self) -> int:
        return self.layers[-1].width

    @property
    def flattened(self) -> int:
        """Numbers of all frames together, where only that matters."""
        return next(x.width for x in self.layers if x.word in JOINED)

    @property
    def picture(self) -> Picture | None:
        """What all numbers of a sample are, if they are a picture."""
        first = next((x for x in self.layers if x.word in JOINED), None)
        return reshaped(dict(first.settings)) if first is not None and first.word == "reshape" and not self.input_size else None

    def behind_all_frames(self) -> frozenset[int]:
        """The layers that see the numbers of all frames in one vector."""
        found: set[int] = set()
        for k, x in enumerate(self.layers):
            if x.word in JOINED or not found.isdisjoint(x.of):
                found.add(k)
        return frozenset(found)

    @property
    def recurrent(self) -> tuple[LayerPlan, ...]:
        return tuple(x for x in self.layers if x.word in CELLS)

    @property
    def stacks(self) -> tuple[LayerPlan, ...]:
        """For every recurrent layer, counted through the network, the stack that it is in."""
        return tuple(x for x in self.recurrent for _ in range(x.setting("layers")))

    @property
    def bidirectional(self) -> bool:
        return any(x.setting("directions") == 2 for x in self.recurrent)

    def read_by(self, layer: LayerPlan) -> tuple[int, ...]:
        """The width of what a layer reads, for each thing that it reads."""
        return tuple(self.input_size if k < 0 else self.layers[k].width for k in layer.of)

    def frames(self, given: int) -> tuple[int, ...]:
        """How many frames every layer gives of so many that are given; none, where no window of a layer fits into them."""
        counts: list[int] = []
        for x in self.layers:
            read = given if x.of[0] < 0 else counts[x.of[0]]
            gives = LAYERS[x.word].gives if x.word in LAYERS else "frames"
            counts.append(min(read, 1) if gives == "vector" else x.windows(read) if gives == "windows" else read)
        return tuple(counts)

    def reading(self) -> dict[str, Any]:
        """How the checkpoint is read, as reports, certificates and witnesses state it."""
        return {"embedding": self.embedding, "layers": [x.described() for x in self.layers]}


@dataclass(frozen=True)
class ReferencePlan:
    """The framework's own outputs. tolerance: how far ours may be from them, of their spread."""

    array: ArrayPlan
    tolerance: Fraction


@dataclass(frozen=True)
class NetworkPlan:
    """normalize: the spectral radius to which every recurrent matrix is scaled; None leaves them as they are.

    inside: the entry of a torch file that holds the tensors, None for the whole. reference: the framework's own outputs for the samples.
    overrides: what the checkpoint's metadata say where the spec says otherwise. beside: files that hold a part of it.
    """

    name: str = field(compare=False)
    checkpoint: str
    format: Literal["safetensors", "torch", "onnx", "keras"]
    architecture: Architecture
    labels: tuple[str, ...]
    span: Span = field(compare=False)
    normalize: Fraction | None = None
    inside: str | None = None
    reference: ReferencePlan | None = None
    overrides: tuple[tuple[str, str], ...] = ()
    beside: tuple[str, ...] = ()

    def label_name(self, index: int) -> str | int:
        """The class's name, or its number where classes have no names."""
        return self.labels[index] if index < len(self.labels) else index


@dataclass(frozen=True)
class TextInput:
    """tokens: as shown; unknown: those that are read as '<unk>', as written. parts: places of tokens that are less than a word."""

    tokens: tuple[str, ...]
    ids: tuple[int, ...]
    label: int | None
    span: Span = field(compare=False)
    unknown: tuple[str, ...] = ()
    parts: frozenset[int] = frozenset()


@dataclass(frozen=True)
class ValuesInput:
    """shape: values [m][n]."""

    values: tuple[tuple[float, ...], ...]
    label: int | None
    span: Span = field(compare=False)


@dataclass(frozen=True)
class DatasetInput:
    """Samples `indices` of an array, each as `frames` frames of `size` numbers, of so many in the file. `correct`: only those classified correctly.

    starts: where each sample's frames begin in an array of the frames of all samples, one after the other; empty where every sample has a row.
    reference: the framework's own outputs for the samples of the file, or for those picked. parts: whether others, of other lengths, belong to them.
    padded: frames of a sample in the file, of which the first are its own. unused: whether there are labels, of no classes.
    """

    inputs: ArrayPlan
    labels: ArrayPlan | None
    indices: tuple[int, ...]
    frames: int
    size: int
    correct: bool
    of: int
    starts: tuple[int, ...] = ()
    reference: ReferencePlan | None = None
    parts: bool = False
    padded: int = 0
    unused: bool = False


@dataclass(frozen=True)
class TextsInput:
    """Texts of one length, and which lines of a file of `of` they are. correct: only those classified correctly."""

    texts: tuple[TextInput, ...]
    indices: tuple[int, ...]
    path: str
    of: int
    correct: bool
    span: Span = field(compare=False)


InputPlan = TextInput | TextsInput | ValuesInput | DatasetInput


@dataclass(frozen=True)
class TargetPlan:
    """any: untargeted. class: `index`. each: one row a class. random: drawn per sample from `seed`. runner_up: the second-best class.

    property: what has to hold of the outputs, in place of classes. phrase: classes that are not to be the best ones of all steps, one each.
    """

    kind: Literal["any", "class", "each", "random", "runner_up", "property", "phrase"]
    span: Span = field(compare=False)
    index: int = 0
    seed: int = 0
    property: Property | None = None
    phrase: tuple[int, ...] = ()


@dataclass(frozen=True)
class StepsPlan:
    """Which outputs of a network with several are asked about. rows: together, a row each. outputs: numbers of a step. apart: one step a row."""

    rows: tuple[tuple[int, ...], ...]
    outputs: int
    apart: bool


@dataclass(frozen=True)
class EnginePlan:
    """budget: seconds for a query. tolerance: relative width at which a radius search ends. semantics: real, or deployed32."""

    method: str
    tolerance: Fraction
    max_radius: Fraction
    budget: Fraction | None
    device: str
    seed: int
    semantics: str
    span: Span = field(compare=False)


@dataclass(frozen=True)
class AttackPlan:
    """words: by token number, for an attack that substitutes them; empty otherwise."""

    method: str
    steps: int
    restarts: int
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class EstimatePlan:
    """samples: points in a batch, of which the steepest counts; batches: how many such maxima are fitted."""

    samples: int
    batches: int


@dataclass(frozen=True)
class Variant:
    """One point of a query's sweeps."""

    swept: Swept
    network: NetworkPlan
    input: InputPlan
    perturbation: PerturbationPlan
    target: TargetPlan
    engine: EnginePlan
    steps: StepsPlan | None = None

    @property
    def method(self) -> str:
        """What computes the answer."""
        return self.engine.method


@dataclass(frozen=True)
class RadiusVariant(Variant):
    """Of `radius`."""


@dataclass(frozen=True, kw_only=True)
class VerifyVariant(Variant):
    eps: Fraction


@dataclass(frozen=True, kw_only=True)
class BoundsVariant(Variant):
    eps: Fraction


@dataclass(frozen=True, kw_only=True)
class AttackVariant(Variant):
    attack: AttackPlan

    @property
    def method(self) -> str:
        return self.attack.method


@dataclass(frozen=True, kw_only=True)
class EstimateVariant(Variant):
    estimate: EstimatePlan

    @property
    def method(self) -> str:
        return "CLEVER"


@dataclass(frozen=True)
class Expectation:
    """partial: asked of the rows that have all it mentions; otherwise one that lacks something leaves it undecided.

    line, column, end_line, end_column: where it stands, the end exclusive.
    """

    kind: Literal["expect", "warn"]
    text: str
    condition: Expression
    because: str | None
    line: int
    column: int
    end_line: int
    end_column: int
    partial: bool = False


@dataclass(frozen=True)
class BaselinePlan:
    """Answers of an earlier run, by question."""

    name: str
    path: str
    answers: Mapping[str, Known]


@dataclass(frozen=True)
class QueryPlan:
    """kind: a key of words.queries.QUERIES; every variant is of its type. baselines: what its conditions may compare rows with."""

    name: str
    kind: str
    variants: tuple[Variant, ...]
    expectations: tuple[Expectation, ...]
    baselines: tuple[BaselinePlan, ...] = ()


@dataclass(frozen=True)
class SpectrumPlan:
    """One recurrent matrix. gate: its number, of a gated cell's weights. input, frame: where the step's Jacobian is taken; None for weights.

    of: the matrix as written. points: a side of the picture's grid.
    """

    swept: Swept
    of: str
    network: NetworkPlan
    gate: int | None
    input: InputPlan | None
    frame: int | None
    layer: int
    reverse: bool
    eps: tuple[Fraction, ...]
    points: int
    span: Span = field(compare=False)


@dataclass(frozen=True)
class SpectrumQuery:
    """picture: the file that it is drawn to; span: of it. drawn: whether that or some report shows a picture."""

    name: str
    variants: tuple[SpectrumPlan, ...]
    expectations: tuple[Expectation, ...]
    picture: str | None
    span: Span
    drawn: bool = False

    @property
    def kind(self) -> Literal["spectrum"]:
        return "spectrum"


@dataclass(frozen=True)
class Reported:
    """Figures from elsewhere, e.g. a paper: a table whose columns are attributes of the rows, or numbers. name: the file's."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class CellPlan:
    """What a report's table shows of a group of rows. text: as written."""

    text: str
    value: Expression


@dataclass(frozen=True)
class ReportPlan:
    """sources: queries by the name that mentions their rows. rows, cols: attributes that make the table's lines and columns.

    path: the file without its suffix, None for standard output; span: of it.
    """

    name: str
    sources: Mapping[str, tuple[str, ...]]
    reported: Reported | None
    rows: tuple[str, ...]
    cols: tuple[str, ...]
    cells: tuple[CellPlan, ...]
    formats: tuple[str, ...]
    path: str | None
    picture: str
    note: str | None
    expectations: tuple[Expectation, ...]
    span: Span

    @property
    def queries(self) -> tuple[str, ...]:
        return tuple(name for names in self.sources.values() for name in names)


@dataclass(frozen=True)
class Plan:
    """params: the values they had, as text. reads: every file that the spec names, and the spec itself, as absolute paths.

    sha256: of the spec's bytes; words: of what it says, however it is laid out.
    """

    path: str
    sha256: str
    words: str
    params: Swept
    queries: tuple[QueryPlan, ...]
    reports: tuple[ReportPlan, ...] = ()
    spectra: tuple[SpectrumQuery, ...] = ()
    reads: frozenset[str] = frozenset()

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that answers depend on, each once."""
        asked: list[tuple[NetworkPlan, InputPlan | None, tuple[str, ...]]]
        asked = [(v.network, v.input, v.perturbation.paths) for q in self.queries for v in q.variants]
        asked += [(v.network, v.input, ()) for q in self.spectra for v in q.variants]
        found: dict[str, None] = {network.checkpoint: None for network, _, _ in asked}
        found |= {path: None for network, _, _ in asked for path in network.beside}
        found |= {network.reference.array.path: None for network, _, _ in asked if network.reference is not None}
        found |= {x.path: None for _, x, _ in asked if isinstance(x, TextsInput)}
        for data in (x for _, x, _ in asked if isinstance(x, DatasetInput)):
            found |= {array.path: None for array in (data.inputs, data.labels) if array is not None}
            found |= {} if data.reference is None else {data.reference.array.path: None}
        return tuple(found | {path: None for _, _, moved in asked for path in moved})
