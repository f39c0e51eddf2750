"""Live progress on stderr, with an estimate of the time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def live(enabled: bool) -> Iterator[tuple[Callable[[str, int, int], None] | None, Callable[[Callable[[], None]], None]]]:
    """Yields what the runtime calls with a query's name, rows decided and rows in all (None where nobody watches), and what prints between bars."""
    if not enabled:
        yield None, lambda print_: print_()
        return
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
