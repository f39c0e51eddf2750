"""What a call of vrun may say."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from types import MappingProxyType
from typing import Literal, NoReturn

from vlang.text import syntax as s
from vlang.text.parser import parse_expression
from vlang.text.source import Span
from vlang.words.formats import RUNS
from vlang.words.modes import MODES


@dataclass(frozen=True)
class Command:
    """doc: in a line. options: adds what it takes beside files; files: what they are called, and how many there may be."""

    doc: str
    options: Callable[[argparse.ArgumentParser], None]
    files: str = "FILE"
    many: Literal["+", "*"] = "+"


class CallError(Exception):
    """The call is wrong."""


class _Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CallError(message)


def _nothing(top: argparse.ArgumentParser) -> None:
    pass


def _spec(top: argparse.ArgumentParser) -> None:
    top.add_argument("-p", "--param", action="append", default=[], metavar="NAME=VALUE", help="set a param of the spec")
    top.add_argument(
        "-q", "--query", action="append", default=[], metavar="NAME", help="only this query, or report and its queries (several times: only these)"
    )


def _reported(top: argparse.ArgumentParser) -> None:
    _spec(top)
    top.add_argument(
        "--report", action="append", default=[], metavar="[FORMAT:]FILE", help=f"also write a report ({', '.join(RUNS)}; several times: several)"
    )


def _run(top: argparse.ArgumentParser) -> None:
    _reported(top)
    top.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="whether tables are coloured (auto: on a terminal)")
    top.add_argument("--quiet", action="store_true", help="no tables: errors, what is written and the exit code alone")
    for word, run in RUNS.items():
        top.add_argument(f"--{word}", metavar="FILE", help=run.doc)
    top.add_argument("--certificates", metavar="DIR", help="also write a certificate of every certified row, for vcheck")
    top.add_argument("--witnesses", metavar="DIR", help="also write every counterexample, for vrun replay")
    top.add_argument(
        "--journal", metavar="DIR", help="keep every finished row there, and take those that are: a run that was killed goes on (.rspec)"
    )
    top.add_argument("--no-journal", action="store_true", help="keep nothing (runs of more than a minute, about, have a journal by themselves)")
    top.add_argument("--cache", choices=tuple(MODES), help="; ".join(f"{word}: {doc}" for word, doc in MODES.items()))
    top.add_argument("--cache-verify", action="store_true", help="take only rows whose certificates vcheck accepts, now (with --certificates)")
    top.add_argument("--jobs", type=_count, metavar="N", help="so many processes with a thread each (one; of long runs of many rows, the cores)")
    top.add_argument("--cluster", metavar="ADDRESS", help="workers of Dask: a scheduler's address, or local:N (extra cluster; docs/cluster.md)")
    top.add_argument("--shard", type=_part, metavar="K/N", help="compute only part K of N of all rows, into the journal; vrun merge judges them all")
    top.add_argument("--device", metavar="DEVICE", choices=("auto", "cpu", "cuda"), help="where to compute: auto, cpu or cuda")
    top.add_argument(
        "--no-progress", action="store_true", help="no progress: neither bars, nor the lines every ten seconds where stderr is no terminal"
    )


def _merge(top: argparse.ArgumentParser) -> None:
    _run(top)
    top.add_argument("--spec", metavar="FILE", required=True, help="the spec whose parts these are")


def _plan(top: argparse.ArgumentParser) -> None:
    _spec(top)
    top.add_argument("--json", action="store_true", help="as JSON: every row with the key of its question, and seconds on this machine")
    top.add_argument("--journal", metavar="DIR", help="also say how many rows lie in a journal (of runs without certificates), and how many are left")


def _fmt(top: argparse.ArgumentParser) -> None:
    top.add_argument("--check", action="store_true", help="write nothing; exit 1 where a spec is laid out otherwise")
    top.add_argument("--diff", action="store_true", help="write nothing; show what would change")


def _explain(top: argparse.ArgumentParser) -> None:
    top.add_argument("--all", action="store_true", help="all codes, as a page in Markdown")
    top.add_argument("--json", action="store_true", help="as JSON")


def _replay(top: argparse.ArgumentParser) -> None:
    top.add_argument("--network", action="append", default=[], metavar="FILE", help="a checkpoint that is not where it was (may be given again)")


def _describe(top: argparse.ArgumentParser) -> None:
    top.add_argument("--say", metavar="KEYS", help="what a spec would say of the network: --say 'layers = [lstm, last, linear]'")
    top.add_argument("--frames", type=_count, metavar="N", help="frames of a sequence (10; one, where all are flattened first)")
    top.add_argument("--input", metavar="FILE", help="a .npy file of samples [samples, frames, numbers], in place of a random one")


def _init(top: argparse.ArgumentParser) -> None:
    top.add_argument("--say", metavar="KEYS", help="what the spec says of the network: --say 'layers = [lstm, last, linear]'")
    top.add_argument("--output", metavar="FILE", help="the spec ('-' for standard output; MODEL.rspec)")


def _diff(top: argparse.ArgumentParser) -> None:
    top.add_argument("--fail-on", choices=("worse", "proved-worse"), help="exit 1 where a row is worse, or proved worse, or missing on one side")
    top.add_argument("--markdown", metavar="FILE", help="also write a comment for a pull request")


COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "run": Command("compute, and judge every expectation (vrun FILE... is vrun run FILE...)", _run),
        "check": Command("check the spec against the files' headers; computes nothing", _reported),
        "lint": Command(
            "what is no error and surely not meant: gates without a reason, or that no search can reach; exit 1 where there is some", _reported
        ),
        "explain": Command("what the code of an error means, with an example and its cure (--all; --json)", _explain, "CODE", "*"),
        "fmt": Command("write specs back in their one layout (--check, --diff; '-' from standard input to standard output)", _fmt),
        "merge": Command("judge a run whose parts (--shard) lie in these journals: all of its rows have to be there", _merge, "JOURNAL"),
        "plan": Command("print what would be computed, and what it costs", _plan),
        "watch": Command("run again whenever the spec changes, or a file that it reads (options of run)", _run),
        "replay": Command("test counterexamples that a run has saved once more", _replay, "WITNESS"),
        "describe": Command("what a checkpoint holds, how it is read, and what the network says of an input", _describe, "CHECKPOINT"),
        "init": Command("MODEL [DATA]: a spec to begin with, that runs, with comments", _init, "MODEL [DATA]"),
        "diff": Command("two runs (reports, journals or baselines) question by question: what is better or worse, and what is proved", _diff, "RUN"),
        "baseline": Command("update FILE REPORT...: keep answers to compare later runs with; show FILE", _nothing, "update|show FILE ..."),
        "lsp": Command("a language server on standard input and output, for editors", _nothing, "", "*"),
        "completion": Command("bash, zsh or tcsh: what makes the shell complete vrun's arguments", _nothing, "SHELL"),
    }
)
USAGE = (
    "usage: vrun [COMMAND] FILE... [options]\n\n"
    + "".join(f"  vrun {k:10} {v.doc}\n" for k, v in COMMANDS.items())
    + "\nvrun COMMAND --help lists the options."
)


def parser(command: str) -> argparse.ArgumentParser:
    top = _Arguments(prog=f"vrun {command}", description=COMMANDS[command].doc)
    _add(top, COMMANDS[command])
    return top


def _add(top: argparse.ArgumentParser, command: Command) -> None:
    top.add_argument("files", nargs=command.many, metavar=command.files or None)
    top.add_argument("--debug", action="store_true", help="show a traceback on internal errors")
    command.options(top)


def every() -> argparse.ArgumentParser:
    """All commands in one parser, for the completion of shells."""
    top = _Arguments(prog="vrun")
    commands = top.add_subparsers()
    for word, command in COMMANDS.items():
        _add(commands.add_parser(word, help=command.doc), command)
    return top


def _count(text: str) -> int:
    """Raises ArgumentTypeError."""
    if not text.isdecimal() or not 1 <= int(text) <= 10**6:
        raise argparse.ArgumentTypeError("a whole number from 1")
    return int(text)


def _part(text: str) -> tuple[int, int]:
    """'2/8' as (1, 8): which part, from 0, of how many. Raises ArgumentTypeError."""
    which, _, of = text.partition("/")
    if not (which.isdecimal() and of.isdecimal() and 1 <= int(which) <= int(of)):
        raise argparse.ArgumentTypeError("a part of so many, such as 2/8")
    return int(which) - 1, int(of)


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
