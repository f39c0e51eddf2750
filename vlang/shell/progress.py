"""Progress on stderr, with an estimate of the time left: a live bar on a terminal, and elsewhere a line every ten seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vlang.cost import in_words

#: Seconds from one line to the next, where nobody watches a bar.
EVERY = 10.0
#: Told a query's name, rows decided and rows in all.
Progress = Callable[[str, int, int], None]


@contextmanager
def live(enabled: bool, bars: bool) -> Iterator[tuple[Progress | None, Callable[[Callable[[], None]], None]]]:
    """Yields what the runtime calls (None where nothing is wanted), and what prints between bars. bars: on a terminal."""
    if not enabled:
        yield None, lambda print_: print_()
    elif not bars:
        yield lines(), lambda print_: print_()
    else:
        with _bars() as found:
            yield found


def lines(now: Callable[[], float] = time.monotonic) -> Progress:
    """A line of a query's rows whenever the last one is so many seconds old."""
    begun: dict[str, tuple[float, int]] = {}
    said = now()

    def progress(query: str, done: int, total: int) -> None:
        nonlocal said
        at = now()
        start, before = begun.setdefault(query, (at, done))
        if at - said < EVERY or done >= total:
            return
        said = at
        rate = (done - before) / (at - start) if at > start else 0.0  # of this run: what was there already took no time
        left = f", about {in_words((total - done) / rate)} left" if rate > 0 else ""
        print(f"{query}: {done} of {total} rows{left}", file=sys.stderr, flush=True)

    return progress


@contextmanager
def _bars() -> Iterator[tuple[Progress, Callable[[Callable[[], None]], None]]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bars:
        tasks: dict[str, TaskID] = {}

        def progress(query: str, done: int, total: int) -> None:
            if query not in tasks:
                tasks[query] = bars.add_task(query, total=total)
            bars.update(tasks[query], completed=done, total=total)

        def between(print_: Callable[[], None]) -> None:
            bars.stop()
            print_()
            bars.start()

        yield progress, between
