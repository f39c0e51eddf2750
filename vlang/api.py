"""What a program in Python may ask: a spec's report, a text's errors, one question without a file (docs/python.md)."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlang.lower.spec import compile_spec
from vlang.plan import DataError, Plan
from vlang.report import Report
from vlang.results import Row
from vlang.shell.arguments import override
from vlang.text.diagnostics import Diagnostic, SpecError
from vlang.text.printable import printable
from vlang.text.read import read_source
from vlang.text.source import Source

if TYPE_CHECKING:
    import numpy as np
    import torch

Value = str | int | float


class Found(Report):
    """A report, as notebooks and tables want it."""

    @property
    def rows(self) -> tuple[Row, ...]:
        """Of all queries."""
        return tuple(row for query in self.queries for row in query.result.rows)

    def _repr_html_(self) -> str:
        """The verdict, every gate and a line a query, for a notebook."""
        from html import escape

        from vlang.formats.findings import gates

        lines = [f"<b>{escape(self.verdict)}</b> {escape(printable(self.path))}"]
        for gate in gates(self):
            g = gate.result
            lines.append(f"{escape(g.verdict)}: {escape(printable(f'{gate.about}: {g.kind} {g.text}'))}, found {escape(printable(g.actual))}")
        lines += [f"{escape(q.result.kind)} {escape(q.result.name)}: {len(q.result.rows)} rows, {escape(q.method)}" for q in self.queries]
        return "<br>".join(lines)

    def to_pandas(self) -> Any:
        """Every row as a line of a pandas DataFrame. Raises ImportError where pandas is not installed."""
        from importlib import import_module

        from vlang.formats.json import row_as_json

        lines = [{"query": q.result.name, "kind": q.result.kind, **row_as_json(r)} for q in self.queries for r in q.result.rows]
        return import_module("pandas").DataFrame(lines)


def run(spec: str | os.PathLike[str], params: Mapping[str, Value] | None = None, only: Sequence[str] = (), device: str = "auto") -> Found:
    """What `vrun SPEC` finds: every row, every gate, the verdict.

    params: in place of the spec's own; only: the names of some queries. Raises SpecError, which holds every error of the spec.
    """
    overrides = dict(override(f"{name}={value}") for name, value in (params or {}).items())
    return _run(compile_spec(read_source(str(spec)), overrides, only), device)


def check(text: str, folder: str | os.PathLike[str] = ".") -> tuple[Diagnostic, ...]:
    """Every error of a spec's text, none where it is right; files are looked for from the folder. Computes nothing."""
    try:
        compile_spec(Source(str(Path(folder) / "spec.rspec"), text))
    except SpecError as e:
        return e.diagnostics
    return ()


def certify(
    network: torch.nn.Module | str | os.PathLike[str],
    inputs: np.ndarray[Any, Any] | torch.Tensor,
    *,
    labels: Sequence[int] | None = None,
    frames: str = "all",
    norm: float | str = 2,
    target: str | int = "any",
    eps: Value | None = None,
    method: str = "auto",
    tolerance: float = 1e-3,
    budget: float | None = None,
    say: str = "",
    device: str = "auto",
) -> Found:
    """The largest certified radius of every sample; with eps, whether that much is certified.

    network: a live torch module (extra `onnx`), or a checkpoint. inputs: samples [S, m, n], [S, n] or pictures [S, channels, rows, columns].
    labels: the true classes; without them the network's own predictions. frames, norm, target, method: as a spec writes them. budget: seconds.
    say: more of the network, as a spec writes it: 'layers = [gru, last, linear]'. Raises SpecError, or ExportError of a module.
    """
    try:
        import numpy as np
    except ModuleNotFoundError as e:
        raise ImportError("computing needs numpy and torch: pip install 'rspec-verify[run]'") from e
    samples = np.asarray(inputs.detach().cpu() if hasattr(inputs, "detach") else inputs)
    flat = ", frames = 1" if samples.ndim == 2 else ""
    truth = "" if labels is None else ', labels = "labels.npy"'
    kind, asked = ("radius", "") if eps is None else ("verify", f", eps = {eps}")
    limit = "" if budget is None else f", budget = {budget} s"
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        np.save(home / "inputs.npy", samples)
        if labels is not None:
            np.save(home / "labels.npy", np.asarray(labels))
        checkpoint = json.dumps(_checkpoint(network, samples, home), ensure_ascii=False)
        text = f"""rspec 1
network network {{ checkpoint = {checkpoint}{", " + say if say else ""} }}
dataset samples {{ inputs = "inputs.npy"{truth}{flat} }}
{kind} certified {{
  network = network, input = samples, target = {target}{asked}
  perturbation = {{ frames = {frames}, norm = {norm} }}
  engine = {{ method = {method}, tolerance = {tolerance}{limit} }}
}}
"""
        return _run(compile_spec(Source(str(home / "certify.rspec"), text)), device)


def _checkpoint(network: Any, samples: Any, home: Path) -> str:
    if isinstance(network, str | os.PathLike):
        return str(Path(network).resolve())
    import torch

    from vlang.export import export

    path = home / "network.safetensors"
    first = next(iter(network.parameters()), torch.zeros(()))
    export(network, path, torch.as_tensor(samples).to(first.device, first.dtype))
    return str(path)


def _run(plan: Plan, device: str) -> Found:
    from vlang import __version__
    from vlang.judge.verdict import judge

    try:
        from vlang.runtime.execute import execute
    except ModuleNotFoundError as e:
        raise ImportError(f"computing needs {e.name}, which is not installed: pip install 'rspec-verify[run]'") from e
    from vlang.shell.commands import data_problem

    try:
        report = judge(plan, execute(plan, __version__, None if device == "auto" else device))
    except DataError as e:
        raise SpecError(*(data_problem(p) for p in e.problems)) from None
    return Found(**vars(report))
