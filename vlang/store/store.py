"""Answers of earlier runs, found by all that they depend on: a journal that a killed run goes on from, and a cache that runs share."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from vlang import __version__
from vlang.formats.json import row_as_json
from vlang.plan import Plan, QueryPlan
from vlang.results import Coverage, EngineInfo, QueryResult, Results, Row, Saved, Solved, named
from vlang.revision import revision, version_of
from vlang.store.answers import answer_as_json, question_as_json, row_of
from vlang.store.journal import SCHEMA, Journal, Journals, Line
from vlang.store.keys import canonical, key_of
from vlang.text.diagnostics import SpecError

#: A query of more rows is not remembered as a whole.
MOST_TOGETHER = 10_000
#: How runs call files of evidence, and networks beside them.
PLAIN = re.compile(r"\w+-[0-9a-f]{12}(-\d+)?\.(cert|witness)|\w+-[0-9a-f]{8}\.safetensors")


@dataclass(eq=False)
class Store:
    """mode: of `vlang.words.modes`. told: takes what is to be said before anything is computed. asked: keys that this run has looked for.

    trusted: as of `vlang.runtime.tasks.Kept`.
    """

    journal: Journal | Journals
    plan: Plan
    mode: str = "update"
    told: Callable[[Sequence[tuple[QueryPlan, int, int]]], None] = lambda _: None
    trusted: Callable[[Solved, Mapping[str, Any], str], Solved | None] | None = None
    asked: set[str] = field(default_factory=set)
    #: Whether somebody asked for it; if not, a disk that is full ends no run. warned: told why nothing more is kept.
    wanted: bool = True
    warned: Callable[[str], None] = lambda _: None
    cut: bool = False
    full: bool = False

    @property
    def computes(self) -> bool:
        return self.mode != "replay"

    def key(self, said: Mapping[str, Any]) -> str:
        found = key_of({"revision": revision(), "answer": said})
        self.asked.add(found)
        return found

    def find(self, key: str, question: Mapping[str, Any], kind: str) -> Solved | None:
        """The answer of a row; None where there is none, or not all of it as it was written."""
        line = None if self.mode == "rebuild" else self.journal.find(key)
        if line is None:
            return None
        try:
            files, row = self._files(line), row_of(kind, {}, {**line["answer"]}, question)
        except (AttributeError, KeyError, TypeError, ValueError):
            return None
        return None if files is None or not set(named(row).values()) <= set(files) else Solved(row, files)

    def keep(self, query: QueryPlan, solved: Sequence[tuple[str, Solved]]) -> None:
        """Raises SpecError."""
        if self.mode in ("replay", "offline") or isinstance(self.journal, Journals):
            return
        self.cut = self.cut or not all(x.whole for _, x in solved)
        if self.full:
            return
        try:
            self.journal.append([self._line(self.journal, key, query, x) for key, x in solved if x.whole])
        except SpecError as e:
            if self.wanted:
                raise
            self.full = True
            self.warned(str(e))

    def planned(self, queries: Sequence[tuple[QueryPlan, int, int]]) -> None:
        self.told(queries)

    def whole(self, saved: Saved, device: str | None) -> tuple[Results, Mapping[str, bytes]] | None:
        """All answers of a plan that was run before, by files that are the same: without loading what computes."""
        if self.mode in ("rebuild", "cleanup") or self.trusted is not None or self.plan.spectra:
            return None
        found, files = [], dict[str, bytes]()
        engine = EngineInfo(__version__, version_of("torch"), "", "")
        for query in self.plan.queries:
            line = self.journal.find(self._together(query, saved, device))
            if line is None:
                return None
            try:
                held = self._files(line)
                if held is None:
                    return None
                rows = tuple(row_of(query.kind, x["question"], x["answer"]) for x in line["rows"])
                coverage = tuple(Coverage(**x) for x in line["coverage"])
                engine = replace(engine, device=line["device"], dtype=line["dtype"])
            except (AttributeError, KeyError, TypeError, ValueError):
                return None
            if not {name for row in rows for name in named(row).values()} <= set(held):
                return None
            files |= held
            found.append(QueryResult(query.name, query.kind, 0.0, rows, coverage))
        return Results(engine, tuple(found), (), tuple(self._digests.items())), files

    def remember(self, results: Results, files: Mapping[str, bytes], saved: Saved, device: str | None) -> None:
        """Queries as a whole, of which every row is finished, and has what evidence it should have. Raises SpecError."""
        if self.mode in ("replay", "offline") or isinstance(self.journal, Journals) or self.cut or self.full or self.trusted is not None:
            return
        if any(name.endswith(".safetensors") for name in files):  # which of them is whose is not known here: rows know it
            return
        digests, lines = {name: self.journal.keep(content) for name, content in files.items()}, []
        for query, result in zip(self.plan.queries, results.queries, strict=True):
            if len(result.rows) <= MOST_TOGETHER and all(row.complete for row in result.rows):
                names = {name for row in result.rows for name in named(row).values()}
                own = {k: v for k, v in digests.items() if k in names}
                rows = [{"question": question_as_json(row), "answer": answer_as_json(row)} for row in result.rows]
                coverage = [vars(x) for x in result.coverage]
                engine = {"device": results.engine.device, "dtype": results.engine.dtype}
                key = self._together(query, saved, device)
                lines.append({"schema": SCHEMA, "key": key, "together": query.name, "rows": rows, "coverage": coverage, **engine, "files": own})
        self.journal.append(x for x in lines if self.journal.find(str(x["key"])) != x)

    def _together(self, query: QueryPlan, saved: Saved, device: str | None) -> str:
        evidence = [self.plan.path, self.plan.sha256, self.plan.words, query.name] if saved.certificates or saved.witnesses else None
        said = {"kind": query.kind, "variants": canonical(query.variants, self._digests), "saved": vars(saved), "device": device}
        found = key_of({"revision": revision(), "together": {**said, "evidence": evidence, "paths": sorted(self.plan.paths)}})
        self.asked.add(found)
        return found

    @cached_property
    def _digests(self) -> dict[str, str]:
        """Of every file that the plan reads."""
        found = {}
        for path in self.plan.paths:
            with open(path, "rb") as f:
                found[path] = hashlib.file_digest(f, "sha256").hexdigest()
        return found

    def _line(self, journal: Journal, key: str, query: QueryPlan, solved: Solved) -> Line:
        files = {name: journal.keep(content) for name, content in solved.files.items()}
        said = {"schema": SCHEMA, "engine": __version__, "revision": revision(), "spec": self.plan.sha256, "params": dict(self.plan.params)}
        row: Row = solved.row
        return said | {
            "key": key,
            "query": query.name,
            "kind": query.kind,
            "row": row_as_json(row),
            "answer": answer_as_json(row),
            "files": files,
        }

    def _files(self, line: Line) -> dict[str, bytes] | None:
        found = {}
        for name, digest in line.get("files", {}).items():
            content = self.journal.held(digest) if PLAIN.fullmatch(name) else None  # a name is all that it is: no folder stands in it
            if content is None:
                return None
            found[name] = content
        return found
