"""Drops every error term once: each use of runtime/rounding.py is replaced by what it would be without rounding, and the tests must notice.

    python tests/fuzz/terms.py [--only walk.py] [--rooms] [--tests tests/runtime/test_terms.py ...]

Works on a copy of the tree in a temporary folder. Prints a line a term: where it stands, what was dropped, the first test that failed, or SURVIVED.
The tests are those in coarse arithmetic (tests/coarse.py), which need seconds a term; with --rooms what survives them meets all of its room's.
The terms of runtime/rounding.py itself are tests/runtime/test_rounding.py's.
"""

from __future__ import annotations

import argparse
import ast
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: What a call is without its rounding; {0}, {1}: its arguments.
WITHOUT = {
    "pad": "(({0}) * 0)",
    "deployed": "(({0}) * 0)",
    "up": "({0})",
    "down": "({0})",
    "enlarged": "({0})",
    "moved_out": "({0})",
    "product_up": "(({0}) * ({1}))",
    "exponent_down": "({0})",
    "around": "({0})",
    "reported": "({0})",
    "tried": "({0})",
    "at_least": "float({0})",
    "at_most": "float({0})",
    "gamma": "0.0",
    "tiny": "0.0",
    "unit_roundoff": "0.0",
    "lost_sigmoid": "0.0",
    "vanished": "0.0",
    "spacing": "0.0",
}
CONSTANTS = ("LITTLE_ROOM", "UNDERFLOWN")
#: Tests of error terms, after those of the same name in the term's own room.
COARSE, OTHERS = "test_coarse.py", ("tests/runtime/test_coarse.py", "tests/runtime/test_terms.py")


@dataclass(frozen=True)
class Term:
    """A use of rounding's. start, stop: in the file's bytes."""

    path: Path
    line: int
    start: int
    stop: int
    text: str
    without: str


def terms(path: Path) -> Iterator[Term]:
    """Those of a file, in its order."""
    source = path.read_text()
    starts = [0]
    for line in source.encode().split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)
    tree = ast.parse(source)
    bare = {x.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "vlang.runtime.rounding" for x in node.names}
    for node in ast.walk(tree):
        word = _word(node.func if isinstance(node, ast.Call) else node, bare) if isinstance(node, ast.Call | ast.Attribute) else None
        if isinstance(node, ast.Call) and word in WITHOUT:
            without = WITHOUT[str(word)].format(*(ast.get_source_segment(source, x) for x in node.args))
        elif isinstance(node, ast.Attribute) and word in CONSTANTS:
            without = "0.0"
        else:
            continue
        assert isinstance(node, ast.expr)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start, stop = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        yield Term(path, node.lineno, start, stop, ast.get_source_segment(source, node) or "", without)


def _word(node: ast.expr, bare: set[str]) -> str | None:
    """The name in rounding that an expression is; bare: those imported by themselves."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "rounding":
        return node.attr
    return node.id if isinstance(node, ast.Name) and node.id in bare else None


def tests_of(term: Term, rooms: bool) -> list[str]:
    room = f"tests/runtime/{term.path.relative_to(ROOT / 'runtime').parts[0]}"
    own = [f"{room}/{COARSE}"] if (ROOT / room / COARSE).exists() else []
    return [*own, *OTHERS, *([room] if rooms else [])]


def notice(term: Term | None, copy: Path, tests: list[str]) -> str | None:
    """The first test that fails without the term, in a copy of the tree; None: without nothing."""
    if term is None:
        return failure(copy, tests)
    file = copy / term.path.relative_to(ROOT)
    whole = file.read_bytes()
    file.write_bytes(whole[: term.start] + term.without.encode() + whole[term.stop :])
    try:
        return failure(copy, tests)
    finally:
        file.write_bytes(whole)


def failure(copy: Path, tests: list[str]) -> str | None:
    """The first test that fails."""
    command = [sys.executable, "-m", "pytest", "-x", "-n0", "-p", "no:cacheprovider", "--no-header", "-rfE", "--tb=no"]
    for test in tests:
        done = subprocess.run([*command, test], cwd=copy, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 5):
            failed = [x for x in done.stdout.splitlines() if x.startswith(("FAILED", "ERROR"))]
            return failed[0].split(" - ")[0] if failed else f"{test}: exit {done.returncode}"
    return None


def main() -> int:
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("--only", default="", help="terms of files whose path holds this, or of a place: walk.py:160")
    top.add_argument("--rooms", action="store_true", help="for what survives, all tests of the term's room too")
    top.add_argument("--tests", nargs="*", help="in place of all these")
    args = top.parse_args()
    files = sorted(x for x in (ROOT / "runtime").rglob("*.py") if x.name != "rounding.py")
    found = [x for path in files for x in sorted(terms(path), key=lambda x: x.start) if args.only in f"{x.path}:{x.line}"]
    survived = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tree"
        shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".hypothesis"))
        broken = notice(None, copy, args.tests or sorted({test for term in found for test in tests_of(term, args.rooms)}))
        if broken is not None:
            print(f"with every term in its place: {broken}")
            return 2
        for term in found:
            noticed = notice(term, copy, args.tests or tests_of(term, args.rooms))
            survived += noticed is None
            print(f"{term.path.relative_to(ROOT)}:{term.line}: {' '.join(term.text.split())}: {noticed or 'SURVIVED'}", flush=True)
    print(f"{len(found)} terms, {survived} survived")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
