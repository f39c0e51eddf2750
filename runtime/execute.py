"""Plan to Results: load everything, so that all that is wrong with the data is said before anything is computed; then answer."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from vlang.plan import DataError, DatasetInput, InputPlan, NetworkPlan, Plan, Problem, QueryPlan, SpectrumPlan, SpectrumQuery, TextsInput
from vlang.results import Coverage, EngineInfo, QueryResult, Results, Row, Saved, SpectrumResult
from vlang.runtime import device
from vlang.runtime.evidence.certificate import Certificates, refuse
from vlang.runtime.evidence.statement import Producer
from vlang.runtime.evidence.witness_files import Witnesses
from vlang.runtime.network import load
from vlang.runtime.network.unroll import Network
from vlang.runtime.queries import QUERIES, Context
from vlang.runtime.queries.base import question_of
from vlang.runtime.queries.batches import Loaded, prepare
from vlang.runtime.queries.samples import Samples
from vlang.runtime.resume import Progress, Run
from vlang.runtime.tasks import Asked, Kept, Solver, here
from vlang.words.queries import QUERIES as WORDS

DTYPE = torch.float64


def execute(
    plan: Plan,
    version: str,
    asked_device: str | None = None,
    progress: Progress | None = None,
    stopped: Callable[[], bool] = lambda: False,
    save: Callable[[str, bytes], str | None] | None = None,
    save_witness: Callable[[str, bytes], str | None] | None = None,
    answered: Callable[[QueryResult], None] = lambda _: None,
    kept: Kept | None = None,
    solver: Solver | None = None,
    shard: tuple[int, int] | None = None,
) -> Results:
    """Answer every query of a plan. Raises DataError with every problem of the data.

    stopped: asked inside passes; once it is true every row is left at what has been certified, marked incomplete. save: where certificates go,
    by name; every row is then confirmed once more; it returns why a file could not be written. save_witness: where counterexamples go.
    answered: told every query's answer as soon as it is there. kept: answers of earlier runs, and where those of this one go, row by row. solver: who
    answers tasks, if not this process, one after the other. shard: the only part that is computed, from 0, of so many (by rows' keys); others' rows
    are answered where they are known. Raises MissingError where nothing may be computed.
    """
    hash_of = cache(_sha256)
    by = None if save is None else Certificates(Producer(save, version, plan.path, plan.sha256, plan.words, hash_of))
    witnesses = None if save_witness is None else Witnesses(Producer(save_witness, version, plan.path, plan.sha256, plan.words, hash_of))
    data = loaded(plan, asked_device, by is not None)
    info = EngineInfo(version, torch.__version__, ", ".join(data.devices), str(DTYPE).removeprefix("torch."))
    files = tuple((path, hash_of(path)) for path in plan.paths)
    answers = []
    if kept is not None or solver is not None:
        asked_ = Asked(plan, version, Saved(save is not None, save_witness is not None), data.queries, hash_of)
        run = Run(asked_, kept, shard, progress, stopped)
        found = run.answers(solver or here, {"certificate": save, "witness_file": save_witness})
        for (query, variants), answer in zip(data.queries, found, strict=True):
            answers.append(_result(query, variants, answer.rows, answer.seconds))
            answered(answers[-1])
        return Results(info, tuple(answers), _spectra(plan.spectra, data.matrices, stopped), files)
    for query, variants in data.queries:
        answers.append(_answer(query, variants, progress, stopped, by if WORDS[query.kind].certified else None, witnesses))
        answered(answers[-1])
    return Results(info, tuple(answers), _spectra(plan.spectra, data.matrices, stopped), files)


def asked(plan: Plan, asked_device: str | None = None) -> list[tuple[str, list[dict[str, Any]]]]:
    """The rows of every query, by its name, as the report says what they are about. Computes no bound. Raises DataError as `execute` does."""
    return [(query.name, [question_of(v, case) for v in variants for case in v.cases]) for query, variants in loaded(plan, asked_device).queries]


@dataclass(frozen=True)
class Data:
    """Everything that a plan reads, in memory."""

    queries: list[tuple[QueryPlan, list[Loaded[Any]]]]
    matrices: Mapping[SpectrumPlan, tuple[Network, Tensor | None]]
    devices: tuple[str, ...]


def loaded(plan: Plan, asked_device: str | None, certified: bool = False) -> Data:
    """What a plan reads, in memory. certified: whether certificates are wanted. Raises DataError with every problem of the data."""
    torch.backends.cuda.matmul.allow_tf32 = False
    device.keep_memory()
    networks: dict[tuple[NetworkPlan, str], Network] = {}
    samples: dict[tuple[InputPlan, NetworkPlan, str], Samples] = {}
    devices: dict[str, None] = {}
    queries: list[tuple[QueryPlan, list[Loaded[Any]]]] = []
    problems: list[Problem] = []
    with torch.no_grad():
        for query in plan.queries:
            variants = []
            for variant in query.variants:
                try:
                    where = device.choose(variant.engine, asked_device)
                    devices[str(where)] = None
                    key = (variant.network, str(where))
                    if key not in networks:
                        networks[key] = load.network(variant.network, DTYPE, where)
                    if (variant.input, *key) not in samples:
                        samples[variant.input, *key] = Samples.load(variant, networks[key])
                    if certified and WORDS[query.kind].certified:
                        refuse(variant)
                    variants.append(prepare(variant, samples[variant.input, *key]))
                except DataError as e:
                    problems.extend(p for p in e.problems if p not in problems)
            queries.append((query, variants))
        cpu, matrices = torch.device("cpu"), {}
        for matrix in (v for q in plan.spectra for v in q.variants):
            devices[str(cpu)] = None
            try:
                if (matrix.network, str(cpu)) not in networks:
                    networks[matrix.network, str(cpu)] = load.network(matrix.network, DTYPE, cpu)
                network = networks[matrix.network, str(cpu)]
                matrices[matrix] = network, None if matrix.input is None else load.samples(matrix.input, network)[0][0]
            except DataError as e:
                problems.extend(p for p in e.problems if p not in problems)
    if problems:
        raise DataError(*problems)
    return Data(queries, matrices, tuple(devices))


def _sha256(path: str) -> str:
    """Of a file, read piece by piece."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _spectra(
    queries: tuple[SpectrumQuery, ...], loaded: Mapping[SpectrumPlan, tuple[Network, Tensor | None]], stopped: Callable[[], bool]
) -> tuple[SpectrumResult, ...]:
    if not queries:
        return ()
    from vlang.runtime.queries import spectrum  # scipy takes its time to load

    with torch.no_grad():
        return tuple(spectrum.answer(query, loaded, stopped) for query in queries)


def _answer(
    query: QueryPlan,
    variants: list[Loaded[Any]],
    progress: Progress | None,
    stopped: Callable[[], bool],
    by: Certificates | None,
    witnesses: Witnesses | None,
) -> QueryResult:
    start = time.perf_counter()
    total = sum(len(v.cases) for v in variants)
    done = 0

    def finished(count: int) -> None:
        nonlocal done
        done += count
        if progress:
            progress(query.name, done, total)

    if progress:
        progress(query.name, 0, total)
    rows: list[Row] = []
    begun = time.monotonic()
    with torch.no_grad():
        for v in variants:
            budget = v.variant.engine.budget
            deadline = None if budget is None else begun + float(budget)
            answered = QUERIES[query.kind](v, Context(finished, deadline, stopped))
            answered = answered if by is None else by.confirm(v, query.name, answered, stopped)
            rows += answered if witnesses is None else witnesses.keep(v, query.name, answered)
    return _result(query, variants, rows, time.perf_counter() - start)


def _result(query: QueryPlan, variants: Sequence[Loaded[Any]], rows: list[Row], seconds: float) -> QueryResult:
    if any(_whole(v.variant.input) is not None for v in variants):  # whose parts come by their lengths
        place = {swept: i for i, swept in enumerate(dict.fromkeys(v.variant.swept for v in variants))}
        rows.sort(key=lambda row: (place[row.swept], row.sample))
    return QueryResult(query.name, query.kind, seconds, tuple(rows), _coverage(variants))


def _whole(data: InputPlan) -> str | None:
    """The file of samples of several lengths that these are a part of."""
    if isinstance(data, DatasetInput):
        return data.inputs.path if data.parts else None
    return data.path if isinstance(data, TextsInput) else None


def _coverage(variants: Sequence[Loaded[Any]]) -> tuple[Coverage, ...]:
    """Of every network at every point; texts of several lengths are one dataset."""
    found: dict[object, Coverage] = {}
    for v in variants:
        name, path = v.variant.network.name, _whole(v.variant.input)
        key = (name, v.variant.swept, path) if path is not None else v
        old = found.get(key, Coverage(name, 0, 0, v.only_correct))
        found[key] = Coverage(name, old.correct + v.correct, old.of + len(v.samples.numbers), v.only_correct)
    return tuple(dict.fromkeys(found.values()))
