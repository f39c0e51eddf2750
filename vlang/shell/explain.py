"""`vrun explain CODE...`: what a diagnostic's code means, with an example and its cure."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from vlang.shell.arguments import CallError
from vlang.text import diagnostics as d
from vlang.text.explained import Explained, explained


def explain(args: argparse.Namespace) -> int:
    """Raises CallError."""
    known = explained()
    if bool(args.files) == args.all:
        raise CallError("name some codes, as in vrun explain R213, or say --all")
    for code in args.files:
        if code.upper() not in known:
            meant = d.nearest(code.upper(), known)
            raise CallError(
                f"there is no code '{code}'" + (f"; did you mean {meant}?" if meant is not None else ": codes are those in brackets behind 'error'")
            )
    chosen = list(known.values()) if args.all else [known[code.upper()] for code in args.files]
    if args.json:
        print(json.dumps([in_json(x) for x in chosen], indent=1, ensure_ascii=False))
    elif args.all:
        print("\n".join(page(chosen)))
    else:
        print("\n\n".join("\n".join(_text(x)) for x in chosen))
    return 0


def in_json(x: Explained) -> dict[str, str]:
    fails, mended = x.side("-"), x.side("+")
    return {"code": x.code, "what": x.what, "why": x.why, "example": x.example, "fails": fails.spec, "mended": mended.spec, "call": fails.call}


def page(codes: list[Explained]) -> Iterator[str]:
    """Markdown of all codes: docs/errors.md."""
    yield "# Every error, and its cure\n"
    yield (
        "Written by `vrun explain --all`; `vrun explain R213` says one of them. In the examples, lines with `-` fail and lines with `+` stand in "
        "their place once it is mended; `>>>` is Python that makes a file, `$` the call.\n"
    )
    for x in codes:
        yield f"## {x.code}\n\n{x.what} {x.why}\n\n```diff\n{x.example}\n```\n"


def _text(x: Explained) -> Iterator[str]:
    yield f"{x.code}: {x.what}"
    yield ""
    yield x.why
    yield ""
    yield "An example (-) and its cure (+):"
    yield ""
    yield from (f"    {line}".rstrip() for line in x.example.splitlines())
