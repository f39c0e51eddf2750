"""Every code is explained; its example fails with it and, mended, no longer does."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Literal

import numpy
import pytest
import torch

from vlang.cli import main
from vlang.text.explained import EXAMPLE, explained

ROOT = Path(__file__).parents[3]
KERAS = ROOT / "tests/vlang/convert/keras"
#: By code, the library that the cure of its example needs.
LIBRARIES = {"R438": "h5py", "R439": "h5py"}
CODE = re.compile(r"Diagnostic\(\s*\"([RL]\d+)\"")
TOLD = re.compile(r"(?:error|warning)\[([RL]\d+)\]")


def written() -> set[str]:
    """The codes of all constructors."""
    return {code for path in ("vlang/text/diagnostics.py", "vlang/shell/lint.py") for code in CODE.findall((ROOT / path).read_text())}


def test_every_code_is_explained() -> None:
    assert set(explained()) == written()
    assert list(explained()) == sorted(explained(), key=lambda x: (x[0] == "L", x))


@pytest.fixture(scope="module")
def folder(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What examples may name: the files of the tests, and a model of Keras in both of its formats."""
    made = Path(shutil.copytree(world, tmp_path_factory.mktemp("explained") / "files"))
    for name in ("gru.h5", "gru.keras"):
        shutil.copy(KERAS / name, made)
    return made


@pytest.fixture
def library(code: str) -> None:
    """What an example's files are read with, where that is an extra."""
    if code in LIBRARIES:
        pytest.importorskip(LIBRARIES[code])


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("code", sorted(written()))
def test_its_example_fails_with_it_and_its_cure_passes(
    code: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def told(side: Literal["-", "+"]) -> tuple[int, list[str], str]:
        """The exit code, the codes that are told, and all that is said."""
        example = explained()[code].side(side)
        Path(EXAMPLE).write_text(example.spec)
        modules = dict(sys.modules)
        exec(example.code, {"numpy": numpy, "torch": torch, "Path": Path, "sys": sys})
        exit_code = main(shlex.split(example.call)[1:])
        for name in [k for k, module in sys.modules.items() if module is None]:  # a library that the example hides
            sys.modules[name] = modules[name]
        said = capsys.readouterr().err
        return exit_code, TOLD.findall(said), said

    exit_code, codes, said = told("-")
    assert set(codes) == {code}, said
    assert exit_code == (1 if code[0] == "L" else 2)
    exit_code, codes, said = told("+")
    assert codes == [], said
    assert exit_code in (0, 1, 4, 5)


def test_explain_says_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "r213", "R101"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("R213: ")
    assert "\n    + " in said
    assert main(["explain", "--all", "--json"]) == 0
    held = json.loads(capsys.readouterr().out)
    assert [x["code"] for x in held] == list(explained())
    assert main(["explain", "--all"]) == 0
    assert capsys.readouterr().out == (ROOT / "docs" / "errors.md").read_text(), "vrun explain --all > docs/errors.md"
    for wrong in (["R21"], [], ["R213", "--all"]):
        assert main(["explain", *wrong]) == 2
