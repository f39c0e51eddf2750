"""What a call of vrun may say."""

from __future__ import annotations

import argparse
from pathlib import PurePath
from typing import NoReturn

from vlang.text import syntax as s
from vlang.text.parser import parse_expression
from vlang.text.source import Span
from vlang.words.formats import RUNS

COMMANDS = {
    "run": "compute, and judge every expectation (vrun FILE... is vrun run FILE...)",
    "check": "check the spec against the files' headers; computes nothing",
    "lint": "what is no error and surely not meant: gates without a reason, or that no search can reach; exit 1 where there is some",
    "fmt": "write specs back in their one layout (--check, --diff; '-' from standard input to standard output)",
    "plan": "print what would be computed, and what it costs",
    "replay": "test counterexamples that a run has saved once more",
    "describe": "what a checkpoint holds, how it is read, and what the network says of an input",
    "init": "MODEL [DATA]: a spec to begin with, that runs, with comments",
    "diff": "two runs (reports, journals or baselines) question by question: what is better or worse, and what of it is proved",
    "lsp": "a language server on standard input and output, for editors",
    "baseline": "update FILE REPORT...: keep answers to compare later runs with; show FILE",
}
USAGE = (
    "usage: vrun [COMMAND] FILE... [options]\n\n"
    + "".join(f"  vrun {k:8} {v}\n" for k, v in COMMANDS.items())
    + "\nvrun COMMAND --help lists the options."
)


class CallError(Exception):
    """The call is wrong."""


class _Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CallError(message)


def parser(command: str) -> argparse.ArgumentParser:
    top = _Arguments(prog=f"vrun {command}", description=COMMANDS[command])
    names = {"replay": "WITNESS", "describe": "CHECKPOINT", "init": "MODEL [DATA]", "diff": "RUN", "baseline": "update|show FILE ..."}
    top.add_argument("files", nargs="+", metavar=names.get(command, "FILE"))
    top.add_argument("--debug", action="store_true", help="show a traceback on internal errors")
    if command == "replay":
        top.add_argument("--network", action="append", default=[], metavar="FILE", help="a checkpoint that is not where it was (may be given again)")
        return top
    if command == "init":
        top.add_argument("--say", metavar="KEYS", help="what the spec says of the network: --say 'layers = [lstm, last, linear]'")
        top.add_argument("--output", metavar="FILE", help="the spec ('-' for standard output; MODEL.rspec)")
        return top
    if command == "baseline":
        return top
    if command == "fmt":
        top.add_argument("--check", action="store_true", help="write nothing; exit 1 where a spec is laid out otherwise")
        top.add_argument("--diff", action="store_true", help="write nothing; show what would change")
        return top
    if command == "diff":
        top.add_argument("--fail-on", choices=("worse", "proved-worse"), help="exit 1 where a row is worse, or proved worse, or missing on one side")
        top.add_argument("--markdown", metavar="FILE", help="also write a comment for a pull request")
        return top
    if command == "describe":
        top.add_argument("--say", metavar="KEYS", help="what a spec would say of the network: --say 'layers = [lstm, last, linear]'")
        top.add_argument("--frames", type=_count, metavar="N", help="frames of a sequence (10; one, where all are flattened first)")
        top.add_argument("--input", metavar="FILE", help="a .npy file of samples [samples, frames, numbers], in place of a random one")
        return top
    top.add_argument("-p", "--param", action="append", default=[], metavar="NAME=VALUE", help="set a param of the spec")
    top.add_argument(
        "-q", "--query", action="append", default=[], metavar="NAME", help="only this query, or report and its queries (several times: only these)"
    )
    if command in ("run", "check"):
        top.add_argument(
            "--report", action="append", default=[], metavar="[FORMAT:]FILE", help=f"also write a report ({', '.join(RUNS)}; several times: several)"
        )
    if command == "run":
        top.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="whether tables are coloured (auto: on a terminal)")
        top.add_argument("--quiet", action="store_true", help="no tables: errors, what is written and the exit code alone")
        for word, run in RUNS.items():
            top.add_argument(f"--{word}", metavar="FILE", help=run.doc)
        top.add_argument("--certificates", metavar="DIR", help="also write a certificate of every certified row, for vcheck")
        top.add_argument("--witnesses", metavar="DIR", help="also write every counterexample, for vrun replay")
        top.add_argument("--journal", metavar="DIR", help="also append every query's rows to a file of JSON lines there, as soon as it is answered")
        top.add_argument("--device", metavar="DEVICE", choices=("auto", "cpu", "cuda"), help="where to compute: auto, cpu or cuda")
        top.add_argument("--no-progress", action="store_true", help="no live progress")
    return top


def _count(text: str) -> int:
    """Raises ArgumentTypeError."""
    if not text.isdecimal() or not 1 <= int(text) <= 10**6:
        raise argparse.ArgumentTypeError("a whole number from 1")
    return int(text)


def reports(args: argparse.Namespace) -> dict[str, str]:
    """The files that are written of the whole run, and the format of each. Raises CallError."""
    asked = [(path, word) for word in RUNS if (path := getattr(args, word, None)) is not None]
    asked += map(_report, args.report)
    twice = next((path for k, (path, _) in enumerate(asked) if path in [x for x, _ in asked[:k]]), None)
    if twice is not None:
        raise CallError(f"two reports would be written to {twice}")
    return dict(asked)


def _report(text: str) -> tuple[str, str]:
    word, colon, path = text.partition(":")
    if colon and word in RUNS:
        return path, word
    named = {run.name: word for word, run in RUNS.items() if run.name is not None}
    suffixes = {run.suffix: word for word, run in RUNS.items() if run.suffix is not None}
    found = named.get(PurePath(text).name) or suffixes.get(PurePath(text).suffix)
    if found is None:
        raise CallError(f"--report {text}: its name does not say the format; write FORMAT:FILE with one of {', '.join(RUNS)}")
    return text, found


def override(text: str) -> tuple[str, s.Given]:
    """A param's name and value, of -p NAME=VALUE. A text needs no quotes of its own there."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise CallError(f"-p {text}: write -p NAME=VALUE")
    try:
        return name.strip(), s.Given(Span(1, 1), value, parse_expression(value), "")
    except ValueError as e:
        return name.strip(), s.Given(Span(1, 1), value, None, str(e))
