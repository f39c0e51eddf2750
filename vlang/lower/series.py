"""Time series: windows of one long sequence are its samples."""

from __future__ import annotations

from pathlib import Path

from vlang.array import TABLES, ArrayPlan, table
from vlang.lower import files
from vlang.lower.networks import LoweredNetwork
from vlang.lower.once import Once, refuse
from vlang.lower.samples import open_arrays, pick_of
from vlang.plan import DatasetInput
from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError
from vlang.text.source import Span
from vlang.typed.tree import Dataset, SampleIndex
from vlang.typed.types import Located


def is_series(form: Dataset) -> bool:
    return form.window is not None or form.stride is not None


def data(once: Once, form: Dataset, index: SampleIndex | None, network: LoweredNetwork, folder: Path) -> tuple[DatasetInput]:
    """The windows asked about: number k begins at row k stride. Raises SpecError."""
    architecture = network.plan.architecture
    for key in ("frames", "labels", "where", "reference", "reference_tolerance"):
        given: Located[object] | None = getattr(form, key)
        once(refuse, given is not None, d.does_not_apply, form.span if given is None else given.span, key, "the samples are windows of a series")
    series = once(read, form, folder)
    assert form.window is not None
    rows, size = series.shape
    window, stride = form.window.value, 1 if form.stride is None else form.stride.value
    once(refuse, architecture.embedding is not None, d.embeds_values, form.span, network.plan.name)
    once(refuse, architecture.input_size not in (0, size), d.network_input, series.span, size, architecture.input_size)
    once(refuse, window > rows, d.out_of_range, form.window.span, "window", str(window), f"at most {rows}, the rows of the series")
    of = (rows - window) // stride + 1
    picked = pick_of(once, form, index, of)
    return (DatasetInput(series, None, picked, window, size, False, of, tuple(k * stride for k in picked)),)


def read(form: Dataset, folder: Path) -> ArrayPlan:
    """An array [rows, numbers]. Raises SpecError."""
    if form.window is None:
        raise SpecError(d.missing_key(form.span, "window", "dataset", "how many rows of the series are a sample"))
    named = form.source or form.inputs
    if named is not None and Path(named.value).suffix.lower() in TABLES:
        other = form.inputs if form.source is not None else None
        if other is not None:
            raise SpecError(d.conflicting_keys(other.span, "source", "inputs", "dataset"))
        return _table(files.locate(folder, named.value, named.span), named.span)
    arrays = open_arrays(form, folder)
    if len(arrays.inputs.shape) != 2 or arrays.labels is not None or arrays.offsets is not None or arrays.lengths is not None:
        what = f"the inputs have the shape {list(arrays.inputs.shape)}"
        raise SpecError(d.shapes_do_not_fit(arrays.where, what, "windows are those of a series alone, an array [rows, numbers]"))
    return arrays.inputs


def _table(path: str, span: Span) -> ArrayPlan:
    try:
        rows = table(path)
    except ValueError as e:
        cure = "keep the columns that the network reads, as numbers"
        raise SpecError(d.shapes_do_not_fit(span, f"{Path(path).name}: {e}", cure)) from None
    if not rows:
        raise SpecError(d.no_samples(span, "the file has no rows"))
    return ArrayPlan(path, None, (len(rows), len(rows[0])), span)
