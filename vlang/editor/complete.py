"""What may be typed at a place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from vlang.editor import vocabulary as v
from vlang.editor.context import Context
from vlang.editor.names import ASKED, declarations
from vlang.editor.vocabulary import Word
from vlang.plan import Plan, TextInput, TextsInput
from vlang.text import syntax as s
from vlang.typed.conditions import FIELDS
from vlang.typed.signatures import KINDS
from vlang.typed.sources import CellsType, SourcesType
from vlang.typed.types import LabelType, ReferenceType, TargetType, TextType

#: Keys whose texts are files, with the suffixes that those mostly have.
FILES = {
    "checkpoint": (".safetensors", ".pt", ".pth", ".onnx", ".h5", ".keras"),
    "reference": (".npy",),
    "inputs": (".npy",),
    "labels": (".npy",),
    "source": (".npz",),
    "vocabulary": (".txt", ".json"),
    "file": (".jsonl", ".json"),
}
#: Tokens and files that are listed at once.
MOST = 200


def complete(at: Context, tree: s.File, plan: Plan | None, folder: Path, vocabulary: Sequence[str] = ()) -> list[Word]:
    """tree, plan: of the last text that had some. vocabulary: tokens of the spec's networks."""
    found = list(dict.fromkeys(_found(at, tree, plan, folder, vocabulary)))
    begin = at.typed.lower() if at.quoted is None else at.quoted.rsplit("/", 1)[-1].rsplit(" ", 1)[-1].lower()
    begins = [x for x in found if x.text.lower().startswith(begin)]
    return (begins or [x for x in found if begin in x.text.lower()])[:MOST]


def _found(at: Context, tree: s.File, plan: Plan | None, folder: Path, vocabulary: Sequence[str]) -> Iterator[Word]:
    if at.comment:
        return
    if at.quoted is not None:
        if at.key in FILES:
            yield from _files(folder, at.quoted, FILES[at.key])
        elif at.key == "text":
            yield from (Word(x, "token", "of the vocabulary") for x in vocabulary)
        elif isinstance(at.type, LabelType):
            yield from _labels(plan, quoted=True)
        return
    first = at.words[0] if at.words else None
    if first in ("expect", "warn") or isinstance(at.type, CellsType):
        yield from _condition(at, tree)
    elif first == "sweep" and "in" not in at.words:
        yield from _paths(at)
    elif first == "param":
        yield from v.param_types() if at.words[-1] == ":" else ()
    elif at.key is not None or (first == "sweep" and at.words[-1:] != ("in",)):
        yield from _value(at, tree, plan)
    elif not at.words and at.kind == "":
        yield from v.kinds()
    elif not at.words and at.kind in KINDS:
        signature = KINDS[at.kind]
        yield from (x for x in v.keys(at.kind) if x.text not in at.given)
        yield from (Word(x, "keyword", doc) for x, doc in v.ENTRIES.items() if signature.gated and (x != "sweep" or signature.query))


def _named(tree: s.File, kinds: Sequence[str]) -> Iterator[Word]:
    for x in declarations(tree):
        kind = x.kind if isinstance(x, s.Declaration) else "param"
        if kind in kinds:
            yield Word(x.name, "name", f"{kind}, line {x.span.line}")


def _value(at: Context, tree: s.File, plan: Plan | None) -> Iterator[Word]:
    of = at.type
    if at.words[0] == "sweep":
        path = [x for x in at.words[1 : at.words.index("in")] if x != "."]
        kind = at.kind if len(path) == 1 else path[0]
        of = KINDS[kind].keys[path[-1]].type if kind in KINDS and path[-1] in KINDS[kind].keys else None
    if isinstance(of, ReferenceType):
        yield from _named(tree, of.kinds)
    elif isinstance(of, SourcesType):
        yield from _named(tree, ASKED)
    else:
        yield from v.values(of)
    if isinstance(of, LabelType | TargetType):
        yield from _labels(plan, quoted=False)
    if not isinstance(of, TextType):
        yield from _named(tree, ("param",))


def _condition(at: Context, tree: s.File) -> Iterator[Word]:
    kinds = {x.name: x.kind for x in declarations(tree) if isinstance(x, s.Declaration) and x.kind in FIELDS}
    if at.words[-1] == "." and len(at.words) > 1:
        if at.kind == "report":
            yield from v.of_conditions(kinds[at.words[-2]]) if at.words[-2] in kinds else ()
        else:
            yield from v.of_baseline(at.kind)
        return
    if at.kind == "report":
        yield from _named(tree, tuple(FIELDS))
    elif at.kind in FIELDS:
        yield from v.of_conditions(at.kind)
        yield from _named(tree, ("baseline",))
    yield from v.aggregates()
    yield from _named(tree, ("param",))
    yield from (Word(x, "keyword", "") for x in ("and", "or", "not", "because"))


def _paths(at: Context) -> Iterator[Word]:
    """Keys that a sweep may set."""
    if at.kind not in KINDS:
        return
    if at.words[-1] == "." and at.words[-2] in KINDS:
        yield from v.keys(at.words[-2])
        return
    for key, of in KINDS[at.kind].keys.items():
        yield Word(key, "key", v.key_doc(of))
    yield from (Word(x, "keyword", "") for x in ("in",))


def _labels(plan: Plan | None, quoted: bool) -> Iterator[Word]:
    networks = {v.network for q in (plan.queries if plan is not None else ()) for v in q.variants}
    for label in dict.fromkeys(x for network in networks for x in network.labels):
        if quoted or label.isidentifier():
            yield Word(label, "label", "a class")
        else:
            yield Word(f'"{label}"', "label", "a class")


def tokens(plan: Plan) -> list[str]:
    """Those of the plan's texts, in order."""
    inputs = [v.input for q in plan.queries for v in q.variants]
    texts = [t for x in inputs for t in ([x] if isinstance(x, TextInput) else x.texts if isinstance(x, TextsInput) else [])]
    return list(dict.fromkeys(token for text in texts for token in text.tokens))


def _files(folder: Path, begun: str, suffixes: Sequence[str]) -> Iterator[Word]:
    """Folders, and files that may be meant."""
    inside = folder / begun.rpartition("/")[0]
    try:
        listed = sorted(x for x in inside.iterdir() if not x.name.startswith("."))
    except OSError:
        return
    for x in listed[:10_000]:
        if x.is_dir():
            yield Word(x.name + "/", "folder", "")
        elif x.suffix.lower() in suffixes:
            yield Word(x.name, "file", "")
