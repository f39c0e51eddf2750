"""A run in tasks: rows of one query each, answered alone as they are answered together, by whoever takes them.

A task is pure: the plan's data in, rows and the files that they name out. Its rows are as many as make about so much work, whatever the machine, so
that what is lost with one that dies is small, and answers do not depend on who computed them.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import torch

from vlang.cost import afforded, cost, together
from vlang.plan import Plan, QueryPlan
from vlang.results import Row, Saved, Solved, named
from vlang.runtime.evidence.certificate import Certificates
from vlang.runtime.evidence.statement import Producer
from vlang.runtime.evidence.witness_files import Witnesses
from vlang.runtime.queries import QUERIES, Context
from vlang.runtime.queries.base import key
from vlang.runtime.queries.batches import Loaded, text_of
from vlang.runtime.queries.cases import Case
from vlang.runtime.queries.choices import choices_of
from vlang.words.methods import METHODS
from vlang.words.queries import QUERIES as WORDS

#: FLOP of a task, about: seconds of a core, where its operations are large; and the most rows of one.
WORK, MOST_ROWS = 3e10, 64
#: A file of evidence, without the number by which rows of one question are told apart.
NUMBERED = re.compile(r"(?P<of>.+-[0-9a-f]{12})(-\d+)?(?P<suffix>\.\w+)")


def lying(path: str) -> str:
    return str(Path(path).resolve())


@dataclass(frozen=True)
class Task:
    """query, variant: by number. cases: of the variant's rows, by number."""

    query: int
    variant: int
    cases: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Asked:
    """What tasks are about. queries: loaded. version: of this program. hash_of: the sha256 of a file that was read; path_of: where it really lies."""

    plan: Plan
    version: str
    saved: Saved
    queries: Sequence[tuple[QueryPlan, Sequence[Loaded[Any]]]]
    hash_of: Callable[[str], str]
    path_of: Callable[[str], str] = lying


class Kept(Protocol):
    """Answers of earlier runs. They are found by all that they depend on (`answered_by`), and say nothing of the question.

    computes: whether what is missing may be computed. trusted: of files that others may have written, what of an answer its
    evidence proves, of what is stated; None where they are believed.
    """

    @property
    def computes(self) -> bool: ...

    @property
    def trusted(self) -> Callable[[Solved, Mapping[str, Any], str], Solved | None] | None: ...

    def key(self, said: Mapping[str, Any]) -> str: ...

    def find(self, key: str, question: Mapping[str, Any], kind: str) -> Solved | None: ...

    def planned(self, queries: Sequence[tuple[QueryPlan, int, int]]) -> None:
        """Told of every query how many rows were found, of all."""

    def keep(self, query: QueryPlan, solved: Sequence[tuple[str, Solved]]) -> None:
        """Those that are finished, by their keys; on the disk when this returns."""


class Solver(Protocol):
    """Answers tasks, in whatever order, and rows of a task that was left undone with complete = False. context: of a task."""

    def __call__(self, asked: Asked, tasks: Sequence[Task], context: Callable[[Task], Context]) -> Iterable[tuple[Task, Sequence[Solved]]]: ...


def here(asked: Asked, tasks: Sequence[Task], context: Callable[[Task], Context]) -> Iterator[tuple[Task, Sequence[Solved]]]:
    """One after the other, in this process."""
    for task in tasks:
        yield task, solve(asked, task, context(task))


def solve(asked: Asked, task: Task, context: Context) -> list[Solved]:
    """The task's rows, in order."""
    query, variants = asked.queries[task.query]
    whole, files = variants[task.variant], dict[str, bytes]()
    loaded = replace(whole, cases=tuple(whole.cases[i] for i in task.cases))

    def save(name: str, content: bytes) -> None:
        files[name] = content

    def by() -> Producer:
        return Producer(save, asked.version, asked.plan.path, asked.plan.sha256, asked.plan.words, asked.hash_of, asked.path_of)

    with torch.no_grad():
        rows = QUERIES[query.kind](loaded, context)
        if asked.saved.certificates and WORDS[query.kind].certified:
            rows = Certificates(by()).confirm(loaded, query.name, rows, context.stopped)
        if asked.saved.witnesses:
            rows = Witnesses(by()).keep(loaded, query.name, rows)
    uncut = not context.late()
    return [replace(_solved(row, files), whole=uncut and row.complete) for row in rows]


def _solved(row: Row, files: Mapping[str, bytes]) -> Solved:
    own = {}
    for field, name in named(row).items():
        found = NUMBERED.fullmatch(name)
        assert found is not None
        plain = found["of"] + found["suffix"]
        own[plain] = files[name]
        changed: dict[str, Any] = {field: plain}
        row = replace(row, **changed)
    networks = {name: content for name, content in files.items() if name.endswith(".safetensors")} if own else {}
    return Solved(row, own | networks)


def tasks_of(number: int, variant: int, query: QueryPlan, loaded: Loaded[Any], missing: Sequence[int]) -> Iterator[Task]:
    """Of some rows of a variant. Rows that share a group are kept together: they are bounded as one batch."""
    place = {id(case): i for i, case in enumerate(loaded.cases)}
    wanted = set(missing)
    said = cost(query)
    most = max(1, min(MOST_ROWS, max(together(loaded.variant), int(WORK / max(1.0, said.flop / max(1, said.rows))))))
    wrong = [i for i in missing if not loaded.cases[i].correct]
    for group in (wrong, *([place[id(c)] for c in group if place[id(c)] in wanted] for group in loaded.groups())):
        parts = -(-len(group) // most)
        ends = [len(group) * k // max(1, parts) for k in range(parts + 1)]  # as equal as can be: workers end together
        yield from (Task(number, variant, tuple(group[a:b])) for a, b in itertools.pairwise(ends))


def answered_by(asked: Asked, query: QueryPlan, loaded: Loaded[Any], case: Case) -> dict[str, Any]:
    """All that a row's answer depends on, as JSON, but for the program itself: what is asked, the network as it is read, how it is computed."""
    variant, text = loaded.variant, text_of(loaded.variant, case)
    network, engine = variant.network, variant.engine
    own = {k: v for k, v in vars(variant).items() if k in ("attack", "estimate")}
    chooses = bool(METHODS[engine.method].ladder)
    return {
        "kind": query.kind,
        "question": key(loaded, case),
        # what random numbers are drawn by, and what tokens mean
        "sample": case.sample,
        "step": case.step,
        "tokens": None if text is None else list(text.ids),
        "shape": list(loaded.inputs.shape[1:]),
        "others": None if variant.perturbation.alternatives is None else [list(x) for x in choices_of(loaded, case).others],
        "network": {
            "files": [asked.hash_of(path) for path in (network.checkpoint, *network.beside)],
            "inside": network.inside,
            "reading": network.architecture.reading(),
            "normalize": None if network.normalize is None else str(network.normalize),
            "outputs": None if variant.steps is None else variant.steps.outputs,
        },
        "engine": [engine.method, str(engine.tolerance), str(engine.max_radius), engine.semantics, engine.seed, str(loaded.network.dtype)],
        "own": {name: {k: _digest(v) if isinstance(v, tuple) else str(v) for k, v in vars(plan).items()} for name, plan in own.items()},
        "budget": [str(engine.budget), afforded(variant)] if chooses and engine.budget is not None else None,
        "evidence": [asked.plan.path, asked.plan.sha256, asked.plan.words, query.name, *astuple(asked.saved)] if any(astuple(asked.saved)) else None,
    }


@lru_cache(16)
def _digest(words: tuple[str, ...]) -> str:
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()
