"""Tasks in several processes of one machine: a thread each, the plan's data shared with them as they are forked.

A worker has one task at a time. One that dies takes nothing with it: its task is given to another, and given up once three have died of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess

import torch

from vlang.results import Solved
from vlang.runtime.queries.base import Context
from vlang.runtime.resume import undone
from vlang.runtime.tasks import Asked, Task, solve

#: How many workers a task may kill; and seconds between looks at whether somebody wants an end.
DEATHS, LOOK = 3, 0.2
POISON = f"{DEATHS} workers died of it, one after the other: too little memory, or an error of a library"
#: prctl's number for the signal that a process gets when its parent dies.
PR_SET_PDEATHSIG = 1


@dataclass(eq=False)
class Worker:
    """task: what it is at."""

    process: ForkProcess
    pipe: Connection
    task: Task | None = None

    @classmethod
    def begun(cls, asked: Asked) -> Worker:
        forked = multiprocessing.get_context("fork")
        here, there = forked.Pipe()
        process = forked.Process(target=_work, args=(asked, there), daemon=True)
        process.start()
        there.close()
        return cls(process, here)

    def give(self, task: Task, deadline: float | None) -> None:
        self.task = task
        with contextlib.suppress(OSError):  # it is dead: seen where its answer is waited for
            self.pipe.send((task, deadline))

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


@dataclass(frozen=True)
class Pooled:
    """So many processes: where they can be forked, and nothing computes on an accelerator."""

    jobs: int

    def __call__(self, asked: Asked, tasks: Sequence[Task], context: Callable[[Task], Context]) -> Iterator[tuple[Task, Sequence[Solved]]]:
        left, deaths = deque(tasks), dict.fromkeys(tasks, 0)
        workers = [Worker.begun(asked) for _ in range(min(self.jobs, len(tasks)))]
        try:
            while left or any(w.task is not None for w in workers):
                if context(tasks[0]).stopped():
                    for task in [*(w.task for w in workers if w.task is not None), *left]:
                        yield task, undone(asked, task)
                    return
                for worker in workers:
                    if worker.task is None and left:
                        task = left.popleft()
                        worker.give(task, context(task).deadline)
                for pipe in wait([w.pipe for w in workers if w.task is not None], LOOK):
                    number = next(i for i, w in enumerate(workers) if w.pipe is pipe)
                    at = workers[number].task
                    assert at is not None
                    try:
                        found = workers[number].pipe.recv()
                    except (EOFError, OSError):
                        workers[number].end()
                        workers[number] = Worker.begun(asked)
                        deaths[at] += 1
                        if deaths[at] < DEATHS:
                            left.append(at)
                        else:
                            yield at, given_up(asked, at)
                        continue
                    if isinstance(found, Exception):
                        raise found
                    workers[number].task = None
                    yield at, found
        finally:
            for worker in workers:
                worker.end()


def given_up(asked: Asked, task: Task) -> list[Solved]:
    """The rows of a task that workers died of."""
    return [replace(x, row=replace(x.row, reason=POISON, complete=False), whole=False) for x in undone(asked, task)]


def _work(asked: Asked, pipe: Connection) -> None:
    """A process of its own: deaf to what its parent hears, and dead with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(OSError, AttributeError):  # another system
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    torch.set_num_threads(1)
    while True:
        try:
            task, deadline = pipe.recv()
        except EOFError:
            return
        try:
            found: object = solve(asked, task, Context(lambda _: None, deadline))
        except Exception as e:
            found = e
        pipe.send(found)
