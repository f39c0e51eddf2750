"""The signature table: every kind, its keys, their types and defaults. To add a kind or a key, add it here.

A kind's typed form is a frozen dataclass (vlang/typed/tree.py) whose fields are its keys, with their places; `None` stands for a key left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from vlang.text import syntax as s
from vlang.text.source import Span
from vlang.typed import tree
from vlang.typed.layers import LayerType
from vlang.typed.matrices import MatrixType, NormalizeType
from vlang.typed.properties import PropertyType
from vlang.typed.sets import AlternativesType, DirectionsType
from vlang.typed.sources import AttributeType, CellsType, SourcesType
from vlang.typed.types import (
    AttackStepsType,
    ClipType,
    DurationType,
    FramesType,
    IntegerType,
    LabelType,
    ListType,
    LocatedType,
    NormType,
    NumberType,
    PickType,
    ReferenceType,
    ScaleType,
    StepsType,
    TableType,
    TargetType,
    TextType,
    Type,
    UnknownType,
    WordType,
)
from vlang.words import cells, layers
from vlang.words.attacks import ATTACKS
from vlang.words.formats import PAGES, PICTURES
from vlang.words.methods import METHODS
from vlang.words.properties import USAGE
from vlang.words.sets import SPACES

#: What tells a query's rows apart besides what it sweeps.
ATTRIBUTES = ("network", "sample", "step", "label", "target", "frames", "norm", "matrix")


@dataclass(frozen=True)
class Key:
    """default: the expression that stands for a key left out; None makes the field None. required: an error if left out.

    unless: of the record's other values, and of the keys that are written or swept in it, whether it is not required.
    raw: whether the expression is over rows, with nothing to work out yet.
    """

    type: Type[Any]
    doc: str
    default: s.Expr | None = None
    required: bool = False
    raw: bool = False
    unless: Callable[[Mapping[str, Any], Collection[str]], bool] = lambda _values, _written: False


@dataclass(frozen=True)
class Signature:
    """form: the typed dataclass. query: whether it is run (and may hold sweep). gated: whether it may hold expect and warn.

    fixed: keys that no sweep may set.
    """

    form: type[Any]
    keys: Mapping[str, Key]
    query: bool = False
    gated: bool = False
    fixed: tuple[str, ...] = ()


_HERE = Span(1, 1)


def _word(text: str) -> s.Expr:
    return s.Name(_HERE, text)


def _number(value: Fraction | int) -> s.Expr:
    return s.Number(_HERE, Fraction(value), "", Fraction(value).denominator == 1)


def _given(*keys: str) -> Callable[[Mapping[str, Any], Collection[str]], bool]:
    return lambda _, written: any(key in written for key in keys)


def _counted(values: Mapping[str, Any], _: Collection[str]) -> bool:
    """Whether words may be counted, which needs no eps; where the set is wrong, or a part of it swept, that is looked at later."""
    return values["perturbation"] is None or values["perturbation"].value.norm is None


_ASK = {
    "network": Key(ReferenceType(("network",)), "the network", required=True),
    "input": Key(ReferenceType(("input", "dataset")), "an input or a dataset", required=True),
    "perturbation": Key(ReferenceType(("perturbation",)), "the perturbation set", required=True),
    "target": Key(TargetType(), "any (untargeted; the default), a class, each, random(seed=s), runner_up, or a list of classes, one a step"),
    "property": Key(PropertyType(), f"what has to hold of the outputs, in place of a target: {USAGE}", raw=True),
    "steps": Key(StepsType(), "of a network with an output a frame: last, all (together), each (a row each), [i, ...] or [i:j]"),
    "engine": Key(ReferenceType(("engine",)), "how to compute", s.Record(_HERE, ())),
}
_ATTRIBUTES = ListType(LocatedType(AttributeType()), "a list of attributes", lone=True)
_APART = Key(NumberType(Fraction(0), strict=True, most=Fraction(1)), "how far outputs may be from the reference's, of their spread")
_EPS = Key(NumberType(Fraction(0)), "the radius asked about", required=True)

KINDS: Mapping[str, Signature] = MappingProxyType(
    {
        "network": Signature(
            tree.Network,
            {
                "checkpoint": Key(TextType(), "a .safetensors file, or a torch state dict"),
                "from": Key(ReferenceType(("network",)), "a network that this one is derived from, in place of a checkpoint"),
                "normalize": Key(NormalizeType(), "what a derived network's recurrent matrices are scaled to"),
                "cell": Key(WordType(cells.STATED), "an assertion about the cell; it is read from the weights"),
                "activation": Key(WordType(cells.ACTIVATIONS), "of an nn.RNN"),
                "readout": Key(WordType(layers.READOUTS), "how frames become one vector"),
                "head": Key(
                    ListType(WordType(layers.ACTIVATIONS), "a list of activations", lone=True), "activations between the head's linear layers"
                ),
                "layers": Key(
                    ListType(LayerType(), "a list of layers"),
                    "all of them in order, where the file does not say it: [linear, relu, lstm, last, linear]",
                ),
                "reference": Key(TextType(), "a .npy file of the framework's own outputs for the samples, compared before anything is computed"),
                "reference_tolerance": _APART,
                "vocabulary": Key(TextType(), "a text file, one token a line; JSON; or a tokenizer.json of Hugging Face"),
                "unknown": Key(
                    UnknownType(), "words that the vocabulary has not: read as its '<unk>' (allow, the default) or as a token, or an error"
                ),
                "special_tokens": Key(WordType(("add", "none")), "whether a tokenizer.json adds its special tokens to a text"),
                "labels": Key(ListType(LabelType(), "a list of class names"), "class names in order"),
            },
        ),
        "input": Signature(
            tree.Input,
            {
                "text": Key(TextType(), "a text, split on white space"),
                "values": Key(TableType(), "a list of frames"),
                "label": Key(LabelType(), "the true class; without it, the network's own prediction"),
            },
        ),
        "dataset": Signature(
            tree.Dataset,
            {
                "inputs": Key(TextType(), "a .npy file of samples"),
                "labels": Key(TextType(), "a .npy file of classes"),
                "source": Key(TextType(), "an .npz file with arrays inputs and labels"),
                "frames": Key(IntegerType(1), "cuts flat samples into so many frames"),
                "window": Key(IntegerType(1), "of a series [rows, numbers] (.npy, .csv): so many rows, one after the other, are a sample"),
                "stride": Key(IntegerType(1), "of a series, by how many rows a window begins after the one before (1)"),
                "pick": Key(PickType(), "which samples, before `where`"),
                "where": Key(WordType(("correct",)), "only correctly classified samples"),
                "reference": Key(TextType(), "a .npy file of the framework's own outputs for the samples, compared before anything is computed"),
                "reference_tolerance": _APART,
            },
        ),
        "baseline": Signature(
            tree.Baseline, {"file": Key(TextType(), "answers of an earlier run: vrun baseline update FILE, or a JSON report", required=True)}
        ),
        "perturbation": Signature(
            tree.Perturbation,
            {
                "frames": Key(FramesType(), "which frames move", required=True, unless=_given("directions")),
                "norm": Key(NormType(), "1, 2, inf or any p >= 1", required=True, unless=_given("words", "alternatives")),
                "space": Key(WordType(SPACES), "what moves"),
                "clip": Key(ClipType(), "the valid range of every number"),
                "weights": Key(ListType(NumberType(Fraction(0)), "a list of weights >= 0"), "frame k moves by weight_k eps"),
                "scale": Key(ScaleType(), "units of a frame's numbers: |delta / scale| is what the norm is of; 0 for one that does not move"),
                "directions": Key(DirectionsType(), f"what a sample moves along as a whole, in place of frames: {DirectionsType.wanted}"),
                "words": Key(AlternativesType(), f"what words of a text become, in place of a norm: {AlternativesType.wanted}"),
                "alternatives": Key(
                    TextType(),
                    "a .npy file of what each frame may become, in place of a norm: [frames, k, numbers], or [samples, frames, k, numbers]",
                ),
            },
        ),
        "engine": Signature(
            tree.Engine,
            {
                "method": Key(WordType(tuple(METHODS)), "the relaxation", _word("auto")),
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
        "radius": Signature(tree.Radius, {**_ASK}, query=True, gated=True),
        "verify": Signature(tree.Verify, {**_ASK, "eps": replace(_EPS, unless=_counted)}, query=True, gated=True),
        "bounds": Signature(tree.Bounds, {**_ASK, "eps": _EPS}, query=True, gated=True),
        "attack": Signature(
            tree.Attack,
            {
                **_ASK,
                "method": Key(WordType(tuple(ATTACKS)), "how to look for counterexamples", _word("pgd")),
                "steps": Key(AttackStepsType(), "gradient steps from each start (100); or outputs, as in other queries, beside `iterations`"),
                "iterations": Key(IntegerType(1, 100_000), "gradient steps from each start, where `steps` are outputs"),
                "restarts": Key(IntegerType(1, 10_000), "starts", _number(40)),
            },
            query=True,
            gated=True,
        ),
        "report": Signature(
            tree.Report,
            {
                "of": Key(SourcesType(), "the queries that it is about", required=True),
                "rows": Key(_ATTRIBUTES, "what makes a line of the table"),
                "cols": Key(_ATTRIBUTES, "what makes a column"),
                "cell": Key(CellsType(), "what stands in a cell", raw=True),
                "format": Key(ListType(WordType(tuple(PAGES)), "a list of formats", lone=True), "how it is written"),
                "path": Key(TextType(), "where it is written; left out, to standard output"),
                "picture": Key(WordType(PICTURES), "a heat map of words, of a pen's strokes, or of frames by number", _word("auto")),
                "note": Key(TextType(), "what a reader should know, printed under the title"),
            },
            gated=True,
        ),
        "spectrum": Signature(
            tree.Spectrum,
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
            fixed=("points", "picture"),
        ),
        "estimate": Signature(
            tree.Estimate,
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
