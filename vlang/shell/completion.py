"""`vrun completion SHELL`: a script for the shell, made by shtab of the same table that the arguments are parsed with."""

from __future__ import annotations

import argparse
from typing import Any

from vlang.shell.arguments import CallError, every

SHELLS = ("bash", "zsh", "tcsh")


def completion(args: argparse.Namespace) -> int:
    """Raises CallError."""
    if len(args.files) != 1 or args.files[0] not in SHELLS:
        raise CallError(f"write vrun completion with one of {', '.join(SHELLS)}")
    try:
        import shtab
    except ModuleNotFoundError:
        raise CallError("completion needs shtab: pip install 'rspec-verify[shell]'") from None
    top = every()
    _files(top, shtab.FILE)
    print(shtab.complete(top, args.files[0]))
    return 0


def _files(top: argparse.ArgumentParser, file: Any) -> None:
    """Files complete what is called one."""
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                _files(sub, file)
        elif action.dest == "files" or "FILE" in str(action.metavar):
            action.complete = file  # type: ignore[attr-defined]
