"""The signature table: every kind, its keys, their types and defaults. To add a kind or a key, add it here.

A kind's typed form is a frozen dataclass whose fields are its keys (with their places); `None` stands for a key left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from vlang.text import syntax as s
from vlang.text.source import Span
from vlang.typed.matrices import MatrixReference, MatrixType, NormalizeType
from vlang.typed.sources import AttributeType, CellsType, Source, SourcesType
from vlang.typed.types import (
    ClipType,
    DurationType,
    Frames,
    FramesType,
    IntegerType,
    LabelType,
    ListType,
    Located,
    LocatedType,
    NormType,
    NumberType,
    Pick,
    PickType,
    Reference,
    ReferenceType,
    TableType,
    Target,
    TargetType,
    TextType,
    Type,
    WordType,
)

METHODS = ("auto", "interval", "lines", "planes", "quadratic", "sliced", "optimized")
ATTACK_WORDS = ("pgd", "fgsm", "cw", "words")
FORMAT_WORDS = ("text", "markdown", "latex", "csv", "html", "svg")
PICTURE_WORDS = ("auto", "words", "strokes", "none")
#: What tells a query's rows apart besides what it sweeps.
ATTRIBUTES = ("network", "sample", "label", "target", "frames", "norm", "matrix")
#: A cell's gates in the order of its weights; none where it has one recurrent matrix.
GATE_WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType({"rnn_tanh": (), "rnn_relu": (), "gru": ("r", "z", "n"), "lstm": ("i", "f", "g", "o")})
CELL_WORDS = ("rnn", "rnn_tanh", "rnn_relu", "lstm", "gru")
HEAD_WORDS = ("relu", "tanh", "sigmoid", "none")
ROW_FIELDS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "radius": {"radius": "number", "correct": "condition"},
        "verify": {"certified": "condition", "falsified": "condition", "unknown": "condition", "margin": "number", "correct": "condition"},
        "bounds": {"margin": "number", "correct": "condition"},
        "attack": {"radius": "number", "found": "condition", "correct": "condition"},
        "estimate": {"estimate": "number", "correct": "condition"},
        "spectrum": dict.fromkeys(
            (
                "spectral_radius",
                "spectral_norm",
                "numerical_radius",
                "henrici",
                "eigenvalue_condition",
                "eigenvector_condition",
                "pseudospectral_radius",
                "pseudospectral_abscissa",
                "kreiss",
                "growth",
                "product_growth",
                "defective",
            ),
            "number",
        ),
    }
)


#: Functions that make one value of many rows; vlang/conditions.py computes them.
AGGREGATES = ("min", "max", "mean", "median", "quantile", "count", "rate", "all", "any")


@dataclass(frozen=True)
class Network:
    span: Span
    checkpoint: Located[str] | None
    from_: Located[Reference] | None
    normalize: Located[Fraction] | None
    cell: Located[str] | None
    activation: Located[str] | None
    readout: Located[str] | None
    head: Located[tuple[str, ...]] | None
    vocabulary: Located[str] | None
    labels: Located[tuple[str | int, ...]] | None

    @property
    def source(self) -> Located[str]:
        """The checkpoint of a network that is not derived."""
        assert self.checkpoint is not None
        return self.checkpoint


@dataclass(frozen=True)
class Input:
    span: Span
    text: Located[str] | None
    values: Located[tuple[tuple[float, ...], ...]] | None
    label: Located[str | int] | None


@dataclass(frozen=True)
class Dataset:
    span: Span
    inputs: Located[str] | None
    labels: Located[str] | None
    source: Located[str] | None
    frames: Located[int] | None
    pick: Located[Pick] | None
    where: Located[str] | None


@dataclass(frozen=True)
class Perturbation:
    span: Span
    frames: Located[Frames]
    norm: Located[Fraction | None]
    space: Located[str] | None
    clip: Located[tuple[Fraction, Fraction]] | None
    weights: Located[tuple[Fraction, ...]] | None


@dataclass(frozen=True)
class Engine:
    span: Span
    method: Located[str]
    tolerance: Located[Fraction]
    max_radius: Located[Fraction]
    budget: Located[Fraction] | None
    device: Located[str]
    seed: Located[int]
    semantics: Located[str]


@dataclass(frozen=True)
class Query:
    span: Span
    network: Located[Reference]
    input: Located[Reference]
    perturbation: Located[Reference]
    target: Located[Target]
    engine: Located[Reference] | None
    eps: Located[Fraction] | None = None
    method: Located[str] | None = None
    steps: Located[int] | None = None
    restarts: Located[int] | None = None
    samples: Located[int] | None = None
    batches: Located[int] | None = None


@dataclass(frozen=True)
class Spectrum:
    span: Span
    of: Located[MatrixReference]
    eps: Located[tuple[Fraction, ...]]
    layer: Located[int]
    direction: Located[str]
    points: Located[int]
    picture: Located[str] | None


@dataclass(frozen=True)
class Report:
    span: Span
    of: Located[tuple[Located[Source], ...]]
    rows: Located[tuple[Located[str], ...]] | None
    cols: Located[tuple[Located[str], ...]] | None
    cell: Located[tuple[tuple[str | None, s.Expr], ...]] | None
    format: Located[tuple[str, ...]] | None
    path: Located[str] | None
    picture: Located[str]
    note: Located[str] | None


@dataclass(frozen=True)
class Key:
    """default: the expression that stands for a key left out; None makes the field None. required: an error if left out.

    raw: whether the expression is over rows, with nothing to work out yet.
    """

    type: Type[Any]
    doc: str
    default: s.Expr | None = None
    required: bool = False
    raw: bool = False


@dataclass(frozen=True)
class Signature:
    """form: the typed dataclass. query: whether it is run (and may hold sweep). gated: whether it may hold expect and warn."""

    form: type[Any]
    keys: Mapping[str, Key]
    query: bool = False
    gated: bool = False


_HERE = Span(1, 1)


def _word(text: str) -> s.Expr:
    return s.Name(_HERE, text)


def _number(value: Fraction | int) -> s.Expr:
    return s.Number(_HERE, Fraction(value), "", Fraction(value).denominator == 1)


_ASK = {
    "network": Key(ReferenceType(("network",)), "the network", required=True),
    "input": Key(ReferenceType(("input", "dataset")), "an input or a dataset", required=True),
    "perturbation": Key(ReferenceType(("perturbation",)), "the perturbation set", required=True),
    "target": Key(TargetType(), "any (untargeted), a class, each, random(seed=s) or runner_up", _word("any")),
    "engine": Key(ReferenceType(("engine",)), "how to compute"),
}
_ATTRIBUTES = ListType(LocatedType(AttributeType()), "a list of attributes", lone=True)
_EPS = Key(NumberType(Fraction(0)), "the radius asked about", required=True)

KINDS: Mapping[str, Signature] = MappingProxyType(
    {
        "network": Signature(
            Network,
            {
                "checkpoint": Key(TextType(), "a .safetensors file, or a torch state dict"),
                "from": Key(ReferenceType(("network",)), "a network that this one is derived from, in place of a checkpoint"),
                "normalize": Key(NormalizeType(), "what a derived network's recurrent matrices are scaled to"),
                "cell": Key(WordType(CELL_WORDS), "an assertion about the cell; it is read from the weights"),
                "activation": Key(WordType(("tanh", "relu")), "of an nn.RNN"),
                "readout": Key(WordType(("last", "mean", "max")), "how frames become one vector"),
                "head": Key(ListType(WordType(HEAD_WORDS), "a list of activations", lone=True), "activations between the head's linear layers"),
                "vocabulary": Key(TextType(), "a text file, one token a line"),
                "labels": Key(ListType(LabelType(), "a list of class names"), "class names in order"),
            },
        ),
        "input": Signature(
            Input,
            {
                "text": Key(TextType(), "a text, split on white space"),
                "values": Key(TableType(), "a list of frames"),
                "label": Key(LabelType(), "the true class; without it, the network's own prediction"),
            },
        ),
        "dataset": Signature(
            Dataset,
            {
                "inputs": Key(TextType(), "a .npy file of samples"),
                "labels": Key(TextType(), "a .npy file of classes"),
                "source": Key(TextType(), "an .npz file with arrays inputs and labels"),
                "frames": Key(IntegerType(1), "cuts flat samples into so many frames"),
                "pick": Key(PickType(), "which samples, before `where`"),
                "where": Key(WordType(("correct",)), "only correctly classified samples"),
            },
        ),
        "perturbation": Signature(
            Perturbation,
            {
                "frames": Key(FramesType(), "which frames move", required=True),
                "norm": Key(NormType(), "1, 2, inf or any p >= 1", required=True),
                "space": Key(WordType(("input", "embedding")), "what moves"),
                "clip": Key(ClipType(), "the valid range of every number"),
                "weights": Key(ListType(NumberType(Fraction(0)), "a list of weights >= 0"), "frame k moves by weight_k eps"),
            },
        ),
        "engine": Signature(
            Engine,
            {
                "method": Key(WordType(METHODS), "the relaxation", _word("auto")),
                "tolerance": Key(NumberType(Fraction(1, 10**12), most=Fraction(1)), "relative, of a radius", _number(Fraction(1, 1000))),
                "max_radius": Key(NumberType(Fraction(0), strict=True), "where a search stops", _number(10_000)),
                "budget": Key(DurationType(), "time for a query"),
                "device": Key(WordType(("auto", "cpu", "cuda")), "where to compute", _word("auto")),
                "seed": Key(IntegerType(), "of everything random", _number(0)),
                "semantics": Key(
                    WordType(("real", "deployed32")), "what is proved: of real arithmetic, or of float32 forward passes too", _word("real")
                ),
            },
        ),
        "radius": Signature(Query, {**_ASK}, query=True, gated=True),
        "verify": Signature(Query, {**_ASK, "eps": _EPS}, query=True, gated=True),
        "bounds": Signature(Query, {**_ASK, "eps": _EPS}, query=True, gated=True),
        "attack": Signature(
            Query,
            {
                **_ASK,
                "method": Key(WordType(ATTACK_WORDS), "how to look for counterexamples", _word("pgd")),
                "steps": Key(IntegerType(1, 100_000), "gradient steps from each start", _number(100)),
                "restarts": Key(IntegerType(1, 10_000), "starts", _number(40)),
            },
            query=True,
            gated=True,
        ),
        "report": Signature(
            Report,
            {
                "of": Key(SourcesType(), "the queries that it is about", required=True),
                "rows": Key(_ATTRIBUTES, "what makes a line of the table"),
                "cols": Key(_ATTRIBUTES, "what makes a column"),
                "cell": Key(CellsType(), "what stands in a cell", raw=True),
                "format": Key(ListType(WordType(FORMAT_WORDS), "a list of formats", lone=True), "how it is written"),
                "path": Key(TextType(), "where it is written; left out, to standard output"),
                "picture": Key(WordType(PICTURE_WORDS), "a heat map of words, or of a pen's strokes", _word("auto")),
                "note": Key(TextType(), "what a reader should know, printed under the title"),
            },
            gated=True,
        ),
        "spectrum": Signature(
            Spectrum,
            {
                "of": Key(MatrixType(), "a recurrent matrix: net.weight_hh, net.gate(f).weight_hh or net.jacobian(input, frame)", required=True),
                "eps": Key(
                    ListType(NumberType(Fraction(0), strict=True), "a list of numbers > 0", lone=True),
                    "of the pseudospectra",
                    _number(Fraction(1, 100)),
                ),
                "layer": Key(IntegerType(0, 10_000), "which layer", _number(0)),
                "direction": Key(WordType(("forward", "backward")), "which direction of a bidirectional layer", _word("forward")),
                "points": Key(IntegerType(8, 2000), "a side of the picture's grid", _number(200)),
                "picture": Key(TextType(), "a .svg or .png file for the pseudospectra"),
            },
            query=True,
            gated=True,
        ),
        "estimate": Signature(
            Query,
            {
                **_ASK,
                "samples": Key(IntegerType(1, 1_000_000), "points in a batch, of which the steepest counts", _number(128)),
                "batches": Key(IntegerType(10, 100_000), "such maxima, to which the distribution is fitted", _number(50)),
            },
            query=True,
            gated=True,
        ),
    }
)
