"""Tasks on many machines: workers of Dask (extra `cluster`), which are sent the plan and what its files hold, and give back rows.

Whoever runs the spec alone decides what is asked, keeps the journal and writes files; workers have what they are sent. A task whose worker
dies is tried again when nothing else runs, so that no other is blamed, and given up once three workers died of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from vlang.plan import Plan
from vlang.results import Saved, Solved
from vlang.revision import revision
from vlang.runtime.execute import loaded
from vlang.runtime.queries.base import Context
from vlang.runtime.resume import ClusterError, undone
from vlang.runtime.tasks import Asked, Task, solve
from vlang.runtime.workers import DEATHS, given_up

#: Seconds between looks at whether somebody wants an end, and for which a cluster is waited for.
LOOK, PATIENCE = 0.5, 60


@dataclass(frozen=True)
class Sent:
    """What a worker needs. files: by digest, what they hold. paths: that the plan has, each with its file's digest, and where that really lies."""

    plan: Plan
    version: str
    saved: Saved
    revision: str
    paths: tuple[tuple[str, str, str], ...]
    files: Mapping[str, bytes]
    digest: str

    @classmethod
    def of(cls, asked: Asked) -> Sent:
        held = {path: Path(path).read_bytes() for path in asked.plan.paths}
        paths = [(path, hashlib.sha256(content).hexdigest(), str(Path(path).resolve())) for path, content in held.items()]
        changed = next((path for path, digest, _ in paths if asked.hash_of(path) != digest), None)
        if changed is not None:
            raise ClusterError(f"{changed} has changed since it was read")
        files = {digest: held[path] for path, digest, _ in paths}
        digest = hashlib.sha256(repr((asked.plan, asked.saved, paths)).encode()).hexdigest()
        return cls(asked.plan, asked.version, asked.saved, revision(), tuple(paths), files, digest)


@dataclass(frozen=True)
class Clustered:
    """address: of a scheduler, or 'local:N' for one with so many workers on this machine."""

    address: str

    def __call__(self, asked: Asked, tasks: Sequence[Task], context: Callable[[Task], Context]) -> Iterator[tuple[Task, Sequence[Solved]]]:
        if not tasks:
            return
        dask, distributed = importlib.import_module("dask"), importlib.import_module("distributed")
        with dask.config.set({"distributed.scheduler.allowed-failures": 0, "distributed.comm.timeouts.connect": PATIENCE}):
            kind, _, count = self.address.partition(":")
            cluster = distributed.LocalCluster(n_workers=int(count), threads_per_worker=1, dashboard_address=None) if kind == "local" else None
            try:
                client = distributed.Client(cluster or self.address, timeout=PATIENCE)
            except (OSError, ValueError) as e:
                raise ClusterError(f"there is no scheduler at {self.address}: {e}") from None
            try:
                client.wait_for_workers(1, timeout=PATIENCE)
                sent = client.scatter(Sent.of(asked), broadcast=True, hash=False)
                left, suspects, deaths = deque(tasks), deque[Task](), dict.fromkeys(tasks, 0)
                running: dict[Any, Task] = {}
                stopped = context(tasks[0]).stopped
                while left or suspects or running:
                    if stopped():
                        client.cancel(list(running))
                        for task in [*running.values(), *left, *suspects]:
                            yield task, undone(asked, task)
                        return
                    room = sum(client.nthreads().values())
                    while left and len(running) < max(1, 2 * room):
                        self._give(client, sent, left.popleft(), running, context)
                    if not running and suspects:  # alone: nobody else can be to blame
                        self._give(client, sent, suspects.popleft(), running, context)
                    with contextlib.suppress(TimeoutError):
                        distributed.wait(list(running), timeout=LOOK, return_when="FIRST_COMPLETED")
                    for future in [f for f in running if f.done()]:
                        task = running.pop(future)
                        if future.status == "finished":
                            yield task, future.result()
                            continue
                        if not isinstance(future.exception(), distributed.KilledWorker):
                            raise ClusterError(f"{type(future.exception()).__name__}: {future.exception()}")
                        deaths[task] += 1
                        if deaths[task] < DEATHS:
                            suspects.append(task)
                        else:
                            yield task, given_up(asked, task)
            except OSError as e:  # no worker came, or the scheduler is gone
                raise ClusterError(f"{self.address} does not answer: {type(e).__name__}: {e}") from None
            finally:
                client.close()
                if cluster is not None:
                    cluster.close()

    def _give(self, client: Any, sent: Any, task: Task, running: dict[Any, Task], context: Callable[[Task], Context]) -> None:
        deadline = context(task).deadline
        left = None if deadline is None else deadline - time.monotonic()  # clocks differ from machine to machine
        running[client.submit(answer, sent, task, left, pure=False)] = task


def answer(sent: Sent, task: Task, left: float | None = None) -> list[Solved]:
    """On a worker. left: seconds of a budget. Raises ClusterError where its program is another one."""
    if revision() != sent.revision:
        raise ClusterError("a worker runs another program, or other libraries: install the same release on all machines")
    torch.set_num_threads(1)
    return solve(_held(_Key(sent)).asked, task, Context(lambda _: None, None if left is None else time.monotonic() + left))


@dataclass(frozen=True, eq=False)
class _Key:
    """What was sent, by its digest."""

    sent: Sent

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.sent.digest == self.sent.digest

    def __hash__(self) -> int:
        return hash(self.sent.digest)


@dataclass(frozen=True, eq=False)
class _Held:
    """folder: of the files that were sent, for as long as this is there."""

    asked: Asked
    folder: tempfile.TemporaryDirectory[str]


@lru_cache(2)
def _held(key: _Key) -> _Held:
    """The plan on files of the worker's own, and its data in memory."""
    sent, folder = key.sent, tempfile.TemporaryDirectory(prefix="rspec-")
    own, known = {}, {}
    for path, digest, resolved in sent.paths:
        here = Path(folder.name) / Path(path).relative_to(Path(path).anchor)  # beside each other where they were
        here.parent.mkdir(parents=True, exist_ok=True)
        here.write_bytes(sent.files[digest])
        own[path], known[str(here)] = str(here), (digest, resolved)
    data = loaded(moved(sent.plan, own), None, sent.saved.certificates)
    asked = Asked(sent.plan, sent.version, sent.saved, data.queries, lambda p: known[p][0], lambda p: known[p][1])
    return _Held(asked, folder)


def moved(value: Any, paths: Mapping[str, str]) -> Any:
    """A plan whose files lie elsewhere."""
    if isinstance(value, str):
        return paths.get(value, value)
    if isinstance(value, tuple):
        return tuple(moved(x, paths) for x in value)
    if is_dataclass(value) and not isinstance(value, type):
        changed = {f.name: new for f in fields(value) if f.init and (new := moved(old := getattr(value, f.name), paths)) is not old}
        return replace(value, **changed) if changed else value
    return value
