"""A run for an editor, as a process of its own that ends with whoever started it.

Standard input holds one line of JSON, {"argv": [...], "text": the spec}, and stays open as long as the answer is wanted.
"""

from __future__ import annotations

import io
import json
import os
import sys
import threading

#: What is returned where nobody waits for the answer any more.
ABANDONED = 4


def main() -> int:
    asked = json.loads(sys.stdin.buffer.readline())
    wanted = sys.stdin.buffer

    def watch() -> None:
        wanted.read()
        os._exit(ABANDONED)

    threading.Thread(target=watch, daemon=True).start()
    sys.stdin = io.TextIOWrapper(io.BytesIO(asked["text"].encode()))
    from vlang.cli import main as run

    return run(asked["argv"])


if __name__ == "__main__":
    os._exit(main())  # the watching thread would hold the interpreter
