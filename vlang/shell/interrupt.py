"""Ctrl-C and SIGTERM: the first asks the run to end with what it has, the second ends it at once."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Yields what says whether a signal has come. Outside the main thread, where signals cannot be caught, nobody ever asks."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = {s: signal.getsignal(s) for s in SIGNALS}

    def restore() -> None:
        for s, handler in before.items():
            signal.signal(s, handler)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        asked.set()
        restore()
        print("vrun: ending with what is certified so far; once more to end at once", file=sys.stderr)

    for s in SIGNALS:
        signal.signal(s, stop)
    try:
        yield asked.is_set
    finally:
        restore()
