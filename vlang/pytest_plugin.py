"""A plugin of pytest: `pytest --rspec` runs .rspec files, every gate a test; one run a spec."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from vlang.api import Found
    from vlang.plan import QueryPlan, ReportPlan, SpectrumQuery
    from vlang.report import Gate


class GateWarning(UserWarning):
    """A condition of `warn` that does not hold."""


class UnheldError(Exception):
    """A gate that failed, or is undecided."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("rspec").addoption("--rspec", action="store_true", help="run .rspec files too: every gate is a test")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "xdist_group(name): tests that share one run of a spec, for pytest-xdist")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.suffix == ".rspec" and file_path.stem and parent.config.getoption("--rspec"):
        return SpecFile.from_parent(parent, path=file_path)
    return None


class SpecFile(pytest.File):
    """A spec: checked when it is collected, run when the first of its gates is."""

    def collect(self) -> Iterator[pytest.Item]:
        from vlang.lower.spec import compile_spec
        from vlang.text.diagnostics import SpecError, render
        from vlang.text.read import read_source
        from vlang.text.source import Source

        source = Source(str(self.path), "")
        try:
            source = read_source(str(self.path))
            plan = compile_spec(source)
        except SpecError as e:
            raise self.CollectError("\n".join(render(x, source) for x in e.diagnostics)) from None
        asked: list[QueryPlan | SpectrumQuery | ReportPlan] = [*plan.queries, *plan.spectra, *plan.reports]
        named = [(q.name, g) for q in asked for g in q.expectations]
        for k, (about, gate) in enumerate(named):
            yield GateItem.from_parent(self, name=f"{about}: {gate.kind} {gate.text}", number=k, line=gate.line)
        if not named:
            yield GateItem.from_parent(self, name="evaluated", number=None, line=1)

    @cached_property
    def found(self) -> Found:
        from vlang.api import run

        return run(self.path)

    @cached_property
    def judged(self) -> list[Gate]:
        from vlang.formats.findings import gates

        return list(gates(self.found))


class GateItem(pytest.Item):
    """One expectation. number: which of the spec's; None where it has none, and the run alone is tested."""

    parent: SpecFile

    def __init__(self, *, number: int | None, line: int, **rest: Any) -> None:
        super().__init__(**rest)
        self.number, self.line = number, line
        self.add_marker(pytest.mark.xdist_group(str(self.path)))  # workers of pytest-xdist do not each run the spec

    def runtest(self) -> None:
        from vlang.formats.findings import named_rows

        if self.number is None:
            if self.parent.found.verdict in ("inconclusive", "empty"):
                raise UnheldError(f"the run is {self.parent.found.verdict}")
            return
        gate = self.parent.judged[self.number]
        g = gate.result
        self.user_properties.append(("found", g.actual))
        said = "\n".join(x for x in (f"{g.kind} {g.text}", f"found {g.actual}", named_rows(gate), f"because {g.because}" if g.because else "") if x)
        if g.verdict == "warned":
            warnings.warn(GateWarning(said), stacklevel=1)
        elif g.verdict != "passed":
            raise UnheldError(said if g.verdict == "failed" else f"undecided: {said}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        from vlang.text.diagnostics import SpecError

        if isinstance(excinfo.value, UnheldError | SpecError | ImportError):
            return f"{self.path}:{self.line}: {excinfo.value}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.line - 1, self.name
