"""What of a run is remembered: in the journal that was asked for, or that a long run gets by itself; said before anything is computed."""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vlang import __version__
from vlang.cost import CORE, Pace, cost, in_words, seconds
from vlang.plan import Plan, QueryPlan
from vlang.results import QueryResult, Results, Saved
from vlang.shell.arguments import CallError
from vlang.store.journal import Journal, Journals
from vlang.store.store import Store
from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError
from vlang.text.printable import printable

if TYPE_CHECKING:
    from vlang.runtime.tasks import Solver
    from vlang.shell.commands import Saver

#: Where a journal lies that nobody named, beside the spec; and from how many seconds on a run gets one.
HERE, LONG = ".rspec", 60.0
#: Up to so many seconds, no machine is measured.
SHORT = 20.0
#: Of workers on one machine.
MOST_LOCAL = 1024
#: Rows for each core from which on a long run has a process for each.
MANY = 8


def pace_of(queries: Sequence[QueryPlan]) -> Pace:
    """This machine's, measured where it matters: half a second, and torch."""
    if sum(seconds(q, CORE) for q in queries) < SHORT:
        return CORE
    from vlang.runtime.pace import measured

    return measured()


def store_of(args: argparse.Namespace, plan: Plan) -> Store | None:
    """None where nothing is remembered. Raises SpecError where the journal cannot be written, if it was asked for; CallError."""
    if args.merge:
        given = ("journal", "cache", "cache_verify", "no_journal", "shard", "jobs", "cluster")
        wrong = next((x for x in given if getattr(args, x) not in (None, False)), None)
        if wrong is not None:
            raise CallError(f"--{wrong.replace('_', '-')} does not go with merge, which computes nothing: it judges what journals hold")
        return Store(Journals([Journal(Path(x)) for x in args.merge]), plan, "replay")
    wanted = args.journal is not None or args.cache is not None or args.shard is not None or args.cache_verify
    if args.no_journal:
        if wanted:
            raise CallError("--no-journal does not go with --journal, --cache, --cache-verify or --shard")
        return None
    if args.cache_verify and args.certificates is None:
        raise CallError("--cache-verify checks the certificates of answers that are taken: name a folder for them with --certificates")
    predicted = sum(seconds(q, CORE) for q in plan.queries)
    if not wanted and (predicted < LONG or not Path(plan.path).is_file()):  # a text that is typed has no place of its own
        return None
    folder = Path(args.journal) if args.journal is not None else Path(plan.path).parent / HERE
    if args.cache in ("replay", "offline") and not (folder / "rows.jsonl").is_file():
        raise CallError(f"there is no journal in {folder}")
    try:
        journal = Journal(folder)
    except SpecError:
        if wanted:
            raise
        return None
    found = Store(journal, plan, args.cache or "update", wanted=wanted)
    found.warned = lambda why: print(printable(f"{plan.path}: warning: no more rows are kept: {why}"), file=sys.stderr)
    if not wanted:
        print(printable(f"{plan.path}: finished rows are kept in {folder} (--no-journal leaves it out)"), file=sys.stderr)
    found.told = lambda queries: _told(plan, folder, queries)
    if args.cache_verify:
        from vlang.store.trust import examined

        found.trusted = examined
    return found


def solver_of(args: argparse.Namespace, plan: Plan) -> Solver | None:
    """Who computes, if not this process alone. Raises CallError."""
    if args.cluster is not None:
        return _cluster(args)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    long_ = sum(cost(q).rows for q in plan.queries) >= MANY * cores and sum(seconds(q, CORE) for q in plan.queries) >= LONG
    forks = "fork" in multiprocessing.get_all_start_methods()
    jobs = args.jobs or (cores if long_ and forks else 1)
    if jobs == 1:
        return None
    import torch

    devices = {args.device or v.engine.device for q in plan.queries for v in q.variants}
    elsewhere = (torch.cuda.is_available() and devices != {"cpu"}) or "cuda" in devices
    if args.jobs is None and elsewhere:
        return None
    if not forks:
        raise CallError("--jobs needs a system whose processes can be forked")
    if elsewhere:
        raise CallError("--jobs shares the cores of this machine, not an accelerator: leave it out, or write --device cpu")
    from vlang.runtime.workers import Pooled

    torch.set_num_threads(1)  # before anything is computed: threads do not survive a fork
    return Pooled(jobs)


def _cluster(args: argparse.Namespace) -> Solver:
    """Raises CallError."""
    kind, _, count = args.cluster.partition(":")
    if kind == "local" and not (count.isdecimal() and 1 <= int(count) <= MOST_LOCAL):
        raise CallError(f"--cluster {args.cluster}: write local:N with 1 to {MOST_LOCAL} workers, or a scheduler's address")
    if args.jobs is not None:
        raise CallError("--jobs and --cluster are two ways of running: choose one")
    try:
        import distributed  # noqa: F401
    except ModuleNotFoundError:
        raise CallError("--cluster needs Dask's distributed: pip install 'rspec-verify[cluster]'") from None
    from vlang.runtime.cluster import Clustered

    return Clustered(args.cluster)


def left(plan: Plan, folder: Path) -> str:
    """What of a plan lies in a journal, in words; nothing is computed. Raises SpecError and DataError."""
    if not (folder / "rows.jsonl").is_file():
        raise CallError(f"there is no journal in {folder}")
    from vlang.runtime.execute import execute
    from vlang.runtime.resume import MissingError

    said: list[str] = []
    store = Store(Journal(folder), plan, "replay", lambda queries: said.append(_in_words(folder, queries)))
    with contextlib.suppress(MissingError):
        execute(plan, __version__, kept=store)
    return said[0]


def _told(plan: Plan, folder: Path, queries: Sequence[tuple[QueryPlan, int, int]]) -> None:
    print(printable(f"{plan.path}: {_in_words(folder, queries)}"), file=sys.stderr)


def _in_words(folder: Path, queries: Sequence[tuple[QueryPlan, int, int]]) -> str:
    known, of = sum(found for _, found, _ in queries), sum(rows for _, _, rows in queries)
    pace = pace_of([query for query, found, rows in queries if found < rows])
    more = sum(seconds(query, pace) * (rows - found) / max(1, rows) for query, found, rows in queries)
    rest = f"{of - known} to compute, about {in_words(more)}" if known < of else "nothing to compute"
    return f"{of} row{'' if of == 1 else 's'}, {known} from {folder}, {rest}"


def lacking(store: Store, rows: int, of: int) -> SpecError:
    """What a run says that may compute nothing."""
    return SpecError(d.cannot_replay(f"{rows} of {of} rows are not in {store.journal.name}"))


def answers(
    plan: Plan,
    args: argparse.Namespace,
    store: Store | None,
    saver: Saver,
    progress: Callable[[str, int, int], None] | None,
    stopped: Callable[[], bool],
    answered: Callable[[QueryResult], None],
) -> Results:
    """What is remembered of a plan, and what has to be computed. Raises SpecError and DataError."""
    saves = saver.into(args.certificates), saver.into(args.witnesses)
    saved = Saved(*(save is not None for save in saves))
    whole = None if store is None or args.shard is not None else store.whole(saved, args.device)
    if store is not None and whole is not None:
        store.planned([(q, len(r.rows), len(r.rows)) for q, r in zip(plan.queries, whole[0].queries, strict=True)])
        for name, content in whole[1].items():
            of = [saves[name.endswith(".witness")]] if not name.endswith(".safetensors") else saves
            for save in of:
                if save is not None:
                    save(name, content)
        for result in whole[0].queries:
            answered(result)
        return whole[0]
    from vlang.runtime.execute import execute
    from vlang.runtime.resume import ClusterError, MissingError

    solver = solver_of(args, plan)
    try:
        found = execute(plan, __version__, args.device, progress, stopped, *saves, answered, store, solver, args.shard)
    except ClusterError as e:
        raise SpecError(d.cluster_fails(str(e))) from None
    except MissingError as e:
        assert store is not None
        raise lacking(store, e.rows, e.of) from None
    if store is not None and args.shard is None and not saver.problems:
        evidence = {path.name: path.read_bytes() for path in saver.saved}
        try:
            store.remember(found, evidence, saved, args.device)
        except SpecError as e:
            if store.wanted:
                raise
            store.warned(str(e))
    if store is not None and store.mode == "cleanup" and isinstance(store.journal, Journal):
        store.journal.forget(store.asked)
    return found
