"""What an editor asks of the language: `vrun lsp`. No torch; what computes is a process of its own."""

from __future__ import annotations

import argparse
import gc

from vlang.shell.arguments import CallError


def lsp(args: argparse.Namespace) -> int:
    """Serve an editor on standard input and output until it says goodbye. Raises CallError."""
    if args.files:
        raise CallError("vrun lsp takes no arguments: it speaks the language server protocol on standard input and output")
    try:
        from vlang.editor.server import server
    except ModuleNotFoundError as e:
        if e.name is None or e.name.split(".")[0] not in ("pygls", "lsprotocol"):
            raise
        raise CallError("the language server needs pygls: pip install 'rspec-verify[lsp]'") from None
    made = server()
    gc.freeze()  # modules stay: a collection in the middle of a keystroke looks at documents alone
    gc.set_threshold(100_000, 50, 50)
    made.start_io()
    return 0
