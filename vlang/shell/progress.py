"""Live progress on stderr, with an estimate of the time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def live(enabled: bool) -> Iterator[Callable[[str, int, int], None] | None]:
    """Yields what the runtime calls with a query's name, rows decided and rows in all; None where nobody watches."""
    if not enabled:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def progress(query: str, done: int, total: int) -> None:
            if query not in tasks:
                tasks[query] = bars.add_task(query, total=total)
            bars.update(tasks[query], completed=done, total=total)

        yield progress
