"""Plan to Results: load everything, so that all that is wrong with the data is said before anything is computed; then answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from vlang.plan import DataError, InputPlan, NetworkPlan, Plan, Problem, QueryPlan, SpectrumPlan, SpectrumQuery
from vlang.report import EngineInfo, LeftOut, QueryResult, Results, Row, SpectrumResult
from vlang.runtime import device
from vlang.runtime.evidence.certificate import Certificates, refuse
from vlang.runtime.evidence.witness_files import Witnesses
from vlang.runtime.network import load
from vlang.runtime.network.unroll import Network
from vlang.runtime.queries import QUERIES, Context
from vlang.runtime.queries.batches import Loaded, Samples, prepare

#: Called with a query's name, rows decided and rows in all.
Progress = Callable[[str, int, int], None]
DTYPE = torch.float64
#: Kinds whose rows are proved one by one.
CERTIFIED = ("radius", "verify")


def execute(
    plan: Plan,
    version: str,
    asked_device: str | None = None,
    progress: Progress | None = None,
    stopped: Callable[[], bool] = lambda: False,
    save: Callable[[str, bytes], None] | None = None,
    save_witness: Callable[[str, bytes], None] | None = None,
) -> Results:
    """Answer every query of a plan. Raises DataError with every problem of the data.

    stopped: asked between passes; once it is true every row is left at what has been certified, marked incomplete. save: where certificates go,
    by name; every row is then confirmed once more. save_witness: where counterexamples go.
    """
    by = None if save is None else Certificates(save, version, plan.path, plan.sha256)
    witnesses = None if save_witness is None else Witnesses(save_witness, version, plan.path, plan.sha256)
    torch.backends.cuda.matmul.allow_tf32 = False
    device.keep_memory()
    networks: dict[tuple[NetworkPlan, str], Network] = {}
    samples: dict[tuple[InputPlan, NetworkPlan, str], Samples] = {}
    devices: dict[str, None] = {}
    loaded: list[tuple[QueryPlan, list[Loaded]]] = []
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
                        samples[variant.input, *key] = Samples.load(variant.input, networks[key])
                    if by is not None and query.kind in CERTIFIED:
                        refuse(variant)
                    variants.append(prepare(variant, samples[variant.input, *key]))
                except DataError as e:
                    problems.extend(p for p in e.problems if p not in problems)
            loaded.append((query, variants))
        cpu, matrices = torch.device("cpu"), {}
        for asked in (v for q in plan.spectra for v in q.variants):
            devices[str(cpu)] = None
            try:
                if (asked.network, str(cpu)) not in networks:
                    networks[asked.network, str(cpu)] = load.network(asked.network, DTYPE, cpu)
                network = networks[asked.network, str(cpu)]
                matrices[asked] = network, None if asked.input is None else load.samples(asked.input, network)[0][0]
            except DataError as e:
                problems.extend(p for p in e.problems if p not in problems)
    if problems:
        raise DataError(*problems)
    info = EngineInfo(version, torch.__version__, ", ".join(devices), str(DTYPE).removeprefix("torch."))
    answers = tuple(_answer(query, variants, progress, stopped, by if query.kind in CERTIFIED else None, witnesses) for query, variants in loaded)
    return Results(info, answers, _spectra(plan.spectra, matrices, stopped))


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
    variants: list[Loaded],
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
            answered = answered if by is None else by.confirm(v, query.name, answered, len(rows), stopped)
            rows += answered if witnesses is None else witnesses.keep(v, query.name, answered, len(rows))
    left_out = (LeftOut(v.variant.network.name, v.left_out, len(v.samples.numbers)) for v in variants if v.left_out)
    return QueryResult(query.name, query.kind, time.perf_counter() - start, tuple(rows), tuple(dict.fromkeys(left_out)))
