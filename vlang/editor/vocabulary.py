"""What the language's words mean, in the words of their tables: for completion and hover."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vlang.numbers import exactly
from vlang.text import syntax as s
from vlang.typed.conditions import FIELDS
from vlang.typed.layers import LayerType
from vlang.typed.matrices import MatrixType, NormalizeType
from vlang.typed.module import PARAM_TYPES
from vlang.typed.signatures import ATTRIBUTES, KINDS, Key
from vlang.typed.sources import AttributeType
from vlang.typed.types import FramesType, NormType, PickType, TargetType, Type, WordType
from vlang.words.aggregates import AGGREGATES
from vlang.words.attacks import ATTACKS
from vlang.words.baselines import BARE
from vlang.words.baselines import FIELDS as BASELINE
from vlang.words.cells import CELLS
from vlang.words.layers import LAYERS
from vlang.words.methods import METHODS
from vlang.words.queries import COVERAGE, QUERIES

#: What begins an entry, beside keys.
ENTRIES = {
    "expect": "expect CONDITION because \"...\": exit 1 where it does not hold",
    "warn": "warn CONDITION: told where it does not hold",
    "sweep": "sweep KEY in [...]: asks the query once a value",
}  # fmt: skip
#: What stands at the top level, beside kinds.
TOP = {"rspec": "rspec 1: the version of the language, on the first line", "param": "param NAME: TYPE = VALUE, set by vrun -p NAME=VALUE"}
#: Values that types with calls of their own know.
VALUES: dict[type[Type[Any]], dict[str, str]] = {
    FramesType: {"all": "every frame at once", "each": "one frame at a time, a row each", "any(2)": "any two frames at once, whichever"},
    NormType: {"1": "the sum of distances", "2": "the Euclidean distance", "inf": "the largest distance"},
    PickType: {"first(10)": "the first ten samples", "sample(10, seed=0)": "ten samples at random", "[0:10]": "samples 0 to 9"},
    TargetType: {
        "any": "any other class (untargeted)",
        "each": "each other class, a row each",
        "runner_up": "the second best class",
        "random(seed=0)": "a class at random",
    },
    MatrixType: {
        "net.weight_hh": "a recurrent matrix",
        "net.gate(f).weight_hh": "a gate's",
        "net.jacobian(data[0], 0)": "of the step along an input",
    },
    NormalizeType: {"spectral_radius(1.0)": "scales recurrent matrices onto the unit disk"},
}


@dataclass(frozen=True)
class Word:
    """text: as it is written. of: what kind of word, for the editor's icon. doc: in a line or two."""

    text: str
    of: str
    doc: str


def kinds() -> Iterator[Word]:
    for kind, signature in KINDS.items():
        yield Word(kind, "kind", f"{kind} NAME {{ {', '.join(signature.keys)} }}" + (f": {QUERIES[kind].claim}" if kind in QUERIES else ""))
    yield from (Word(word, "keyword", doc) for word, doc in TOP.items())


def keys(kind: str) -> Iterator[Word]:
    yield from (Word(key, "key", key_doc(of)) for key, of in KINDS[kind].keys.items())


def key_doc(key: Key) -> str:
    default = "" if key.default is None or (shown := _shown(key.default)) is None else f" (without it: {shown})"
    needed = " (needed)" if key.required else default
    return f"{key.doc}{needed}; {key.type.wanted}"


def _shown(default: s.Expr) -> str | None:
    match default:
        case s.Name(name=name):
            return name
        case s.Number(value=value):
            return exactly(value)
    return None


def values(of: Type[Any] | None) -> Iterator[Word]:
    """Words that a value of a type may be."""
    match of:
        case WordType(words=words):
            yield from (Word(x, "word", word_doc(x)) for x in words)
        case LayerType():
            yield from (Word(x, "word", word_doc(x)) for x in (*LAYERS, *(c for c, cell in CELLS.items() if not cell.foreign)))
        case AttributeType():
            yield from (Word(x, "word", "tells rows apart") for x in ATTRIBUTES)
        case _:
            yield from (Word(x, "word", doc) for x, doc in VALUES.get(type(of), {}).items())  # type: ignore[arg-type]


def word_doc(word: str) -> str:
    if word in METHODS:
        return METHODS[word].doc
    if word in ATTACKS:
        return ATTACKS[word].doc
    return LAYERS[word].doc if word in LAYERS else ""


def of_conditions(kind: str) -> Iterator[Word]:
    """What may stand in the gates of a query of this kind."""
    query = QUERIES.get(kind)
    for field, of in FIELDS[kind].items():
        claim = query.claim if query is not None and field == query.number else ""
        yield Word(field, "field", f"a {of} of each row" + (f": {claim}" if claim else ""))
    if query is not None:
        yield Word(COVERAGE, "field", "the share of samples that the network classifies as labelled")
    for word in BASELINE.get(kind, {}):
        if word in BARE:
            yield Word(word, "field", "a condition of each row, where the spec has one baseline")


def aggregates() -> Iterator[Word]:
    for name, aggregate in AGGREGATES.items():
        yield Word(name, "function", f"{aggregate.usage}: a {aggregate.gives} of many rows")


def of_baseline(kind: str) -> Iterator[Word]:
    yield from (Word(x, "field", "of the earlier run's answer to the same question") for x in BASELINE.get(kind, {}))


def param_types() -> Iterator[Word]:
    yield from (Word(x, "word", of.wanted) for x, of in PARAM_TYPES.items())
