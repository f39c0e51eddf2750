"""A run that takes what is known, computes the rest in tasks, and keeps each row as soon as it is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from vlang.plan import VerifyVariant
from vlang.results import BoundsRow, Row, Solved, VerifyRow, named
from vlang.runtime.evidence.statement import statement
from vlang.runtime.queries.base import Context, question_of
from vlang.runtime.tasks import Asked, Kept, Solver, Task, answered_by, solve, tasks_of

#: Called with a query's name, rows decided and rows in all.
Progress = Callable[[str, int, int], None]
#: Writes a file of evidence by its name; says why it could not.
Save = Callable[[str, bytes], str | None]
#: A row's place: its query, variant and number.
Place = tuple[int, int, int]
UNWRITTEN = {"certificate": "certified, but its certificate could not be written: {}", "witness_file": "its witness could not be written: {}"}


class ClusterError(Exception):
    """A cluster cannot be used: it is not there, or its workers run another program."""


class MissingError(Exception):
    """Rows are not known, and nothing may be computed. rows: how many of all."""

    def __init__(self, rows: int, of: int) -> None:
        super().__init__(rows, of)
        self.rows, self.of = rows, of


@dataclass(frozen=True)
class Answered:
    """A query's rows, in order (of a shard those that are known), and the seconds that they took."""

    rows: list[Row]
    seconds: float


class Run:
    """shard: of so many parts of all rows, the only one that is computed, from 0. saves: of certificates, of witnesses. stopped: as of `execute`."""

    def __init__(
        self, asked: Asked, kept: Kept | None, shard: tuple[int, int] | None, progress: Progress | None, stopped: Callable[[], bool]
    ) -> None:
        self.asked, self.kept, self.shard, self.progress, self.stopped = asked, kept, shard, progress, stopped
        self.keys: dict[Place, str] = {}
        self.solved: dict[Place, Solved] = {}
        self.seconds = [0.0] * len(asked.queries)
        self.begun: dict[int, float] = {}
        #: Names of files of evidence that were given.
        self.taken: set[str] = set()

    def answers(self, solver: Solver, saves: Mapping[str, Save | None]) -> Iterator[Answered]:
        """Query by query, each as soon as it is done. Raises MissingError."""
        tasks = self._look()
        left = [sum(len(t.cases) for t in tasks if t.query == q) for q in range(len(self.asked.queries))]
        shown = 0
        while shown < len(left) and not left[shown]:
            yield self._answered(shown, saves)
            shown += 1
        before = time.perf_counter()
        for task, solved in solver(self.asked, tasks, self._context):
            now = time.perf_counter()
            self.seconds[task.query] += now - before
            before = now
            self._take(task, solved)
            left[task.query] -= len(task.cases)
            if self.progress:
                query, total = self.asked.queries[task.query][0], self._total(task.query)
                self.progress(query.name, total - left[task.query], total)
            while shown < len(left) and not left[shown]:
                yield self._answered(shown, saves)
                shown += 1

    def _total(self, query: int) -> int:
        return sum(len(v.cases) for v in self.asked.queries[query][1])

    def _look(self) -> list[Task]:
        """Take what is known; the tasks that are left."""
        tasks: list[Task] = []
        found: list[int] = []
        for q, (query, variants) in enumerate(self.asked.queries):
            for v, loaded in enumerate(variants):
                missing = []
                for i in range(len(loaded.cases)):
                    if self.kept is None and self.shard is None:
                        missing.append(i)
                        continue
                    self._find(q, v, i)
                    if (q, v, i) not in self.solved and self._mine(q, v, i):
                        missing.append(i)
                tasks += tasks_of(q, v, query, loaded, missing)
            found.append(sum(place[0] == q for place in self.solved))
            if self.progress:
                self.progress(query.name, found[-1], self._total(q))
        if self.kept is not None:
            self.kept.planned([(query, found[q], self._total(q)) for q, (query, _) in enumerate(self.asked.queries)])
            if tasks and not self.kept.computes:
                raise MissingError(sum(len(t.cases) for t in tasks), sum(map(self._total, range(len(found)))))
        return tasks

    def _find(self, q: int, v: int, i: int) -> None:
        (query, variants), place = self.asked.queries[q], (q, v, i)
        loaded, case = variants[v], variants[v].cases[i]
        assert self.kept is not None
        self.keys[place] = self.kept.key(answered_by(self.asked, query, loaded, case))
        found = self.kept.find(self.keys[place], question_of(loaded, case), query.kind)
        if found is None or (isinstance(found.row, VerifyRow | BoundsRow) and found.row.eps != float(loaded.variant.eps)):
            return
        if self.kept.trusted is not None:
            eps = loaded.variant.eps if isinstance(loaded.variant, VerifyVariant) else Fraction(found.row.size or 0.0)
            said = statement(loaded, case, eps, "") | {"query": query.name}
            found = self.kept.trusted(found, said, loaded.variant.network.checkpoint)
        if found is not None:
            self.solved[place] = found

    def _mine(self, q: int, v: int, i: int) -> bool:
        return self.shard is None or int(self.keys[q, v, i], 16) % self.shard[1] == self.shard[0]

    def _context(self, task: Task) -> Context:
        """A variant's budget begins with its query's first task."""
        budget = self.asked.queries[task.query][1][task.variant].variant.engine.budget
        begun = self.begun.setdefault(task.query, time.monotonic())
        return Context(lambda _: None, None if budget is None else begun + float(budget), self.stopped)

    def _take(self, task: Task, solved: Sequence[Solved]) -> None:
        places, loaded = [(task.query, task.variant, i) for i in task.cases], self.asked.queries[task.query][1][task.variant]
        # What a row says of its question is said here: a worker's files lie elsewhere.
        asked = [question_of(loaded, loaded.cases[i]) for i in task.cases]
        solved = [replace(x, row=replace(x.row, **said)) for x, said in zip(solved, asked, strict=True)]
        self.solved.update(zip(places, solved, strict=True))
        if self.kept is not None:
            self.kept.keep(self.asked.queries[task.query][0], [(self.keys[p], x) for p, x in zip(places, solved, strict=True)])

    def _answered(self, q: int, saves: Mapping[str, Save | None]) -> Answered:
        _, variants = self.asked.queries[q]
        places = [(q, v, i) for v, loaded in enumerate(variants) for i in range(len(loaded.cases))]
        rows = [self._filed(self.solved[p], saves) for p in places if p in self.solved]
        return Answered(rows, self.seconds[q])

    def _filed(self, solved: Solved, saves: Mapping[str, Save | None]) -> Row:
        """The row, its files of evidence written, and numbered where rows share a question."""
        row = solved.row
        for field, name in named(row).items():
            save = saves[field]
            assert save is not None
            stem, _, suffix = name.rpartition(".")
            number = next(k for k in range(1, len(self.taken) + 2) if _numbered(stem, suffix, k) not in self.taken)
            own = _numbered(stem, suffix, number)
            self.taken.add(own)
            problems = [save(file, content) for file, content in solved.files.items() if file.endswith(".safetensors")]
            problem = next((p for p in [*problems, save(own, solved.files[name])] if p is not None), None)
            changed: dict[str, Any] = {field: own} if problem is None else {field: None, "reason": UNWRITTEN[field].format(problem)}
            row = replace(row, **changed)
        return row


def _numbered(stem: str, suffix: str, number: int) -> str:
    return f"{stem}{'' if number == 1 else f'-{number}'}.{suffix}"


def undone(asked: Asked, task: Task) -> list[Solved]:
    """The rows of a task that nobody took, with the reason."""
    return solve(asked, task, Context(lambda _: None, None, lambda: True))
