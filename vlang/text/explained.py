"""What every code of a diagnostic means: read from codes.toml, for `vrun explain`, SARIF's help and docs/errors.md.

An example is a spec in which lines that begin with '-' fail and lines that begin with '+' stand in their place once it is mended; lines
with '>>>' are Python that makes a file it reads, a line with '$' the call (without one: vrun check example.rspec).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Literal

#: What the spec of an example is called, and how it is read where no call is given.
EXAMPLE = "example.rspec"
CALL = f"vrun check {EXAMPLE}"


@dataclass(frozen=True)
class Explained:
    """what: is wrong. why: it is an error, and how it comes about. example: a spec with its cure, as of this module's docstring."""

    code: str
    what: str
    why: str
    example: str

    def side(self, of: Literal["-", "+"]) -> Example:
        """The example as it fails ('-'), or as it is mended ('+')."""
        lines = [x[2:] for x in self.example.splitlines() if x[:1] in (" ", "", of)]
        calls = [x[2:] for x in lines if x.startswith("$ ")]
        code = [x[4:] for x in lines if x.startswith((">>> ", "... "))]
        spec = [x for x in lines if not x.startswith(("$ ", ">>> ", "... "))]
        return Example("\n".join(spec) + "\n", "\n".join(code), calls[-1] if calls else CALL)


@dataclass(frozen=True)
class Example:
    """A spec, the Python that makes its files, and the call."""

    spec: str
    code: str
    call: str


@cache
def explained() -> Mapping[str, Explained]:
    """By code, in order."""
    held = tomllib.loads(resources.files("vlang.text").joinpath("codes.toml").read_text(encoding="utf-8"))
    return MappingProxyType({code: Explained(code, x["what"], x["why"], x["example"].strip("\n")) for code, x in held.items()})
