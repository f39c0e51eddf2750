"""What a plan will cost: rows, graph nodes, floating-point operations and memory, before anything is computed.

The model is that of runtime/README.md, section 7: every bounded row of step t is substituted back through t steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from vlang.plan import Architecture, DatasetInput, InputPlan, QueryPlan, TextInput, ValuesInput, Variant
from vlang.words.cells import CELLS
from vlang.words.methods import LARGEST_FORM, LARGEST_POLYTOPE, METHODS

#: Passes of a radius search (measured: 4 for one row, 9 for many).
SEARCH_PASSES = 9
LIVE_TENSORS = 6
#: FLOP of a form's eigenvalues per D^3 (the 1-norm needs none).
EIGENVALUE_FLOP = 25


@dataclass(frozen=True)
class Cost:
    """rows of answers; nodes of one unrolled graph; FLOP of the whole query; bytes of one row of a batch."""

    rows: int
    nodes: int
    flop: float
    row_bytes: int


def frames_of(data: InputPlan) -> int:
    match data:
        case TextInput(tokens=tokens):
            return len(tokens)
        case ValuesInput(values=values):
            return len(values)
    return data.frames


def samples_of(data: InputPlan) -> int:
    return len(data.indices) if isinstance(data, DatasetInput) else 1


def cost(query: QueryPlan) -> Cost:
    """Upper estimates: samples that turn out misclassified cost nothing."""
    per = [(_rows(v), v) for v in query.variants]
    passes = SEARCH_PASSES if query.kind == "radius" else 1
    flop = sum(samples_of(v.input) * _targets(v) * _frame_flop(v) for _, v in per) * passes
    architecture = query.variants[0].network.architecture
    return Cost(
        rows=sum(rows for rows, _ in per),
        nodes=nodes(architecture, frames_of(query.variants[0].input)),
        flop=flop,
        row_bytes=max(_row_bytes(v) for _, v in per),
    )


def _targets(variant: Variant) -> int:
    return variant.network.architecture.classes - 1 if variant.target.kind == "each" else 1


def _rows(variant: Variant) -> int:
    return samples_of(variant.input) * len(variant.perturbation.frames.rows) * _targets(variant)


def _frame_flop(variant: Variant) -> float:
    """FLOP of one pass over one sample: steps before the first perturbed frame are constants."""
    frames, a = frames_of(variant.input), variant.network.architecture
    return sum(pass_flop(a, frames if a.bidirectional else frames - row[0]) + _form_flop(variant, row) for row in variant.perturbation.frames.rows)


def form_sizes(variant: Variant, row: tuple[int, ...]) -> list[int]:
    """Coordinates of the quadratic forms at every step after the first perturbed frame; none where no forms are made."""
    a = variant.network.architecture
    l1 = variant.perturbation.norm == 1
    width = a.input_size if l1 else min(a.input_size, CELLS[a.cell].rows * a.hidden * a.directions)
    if not METHODS[variant.engine.method].forms:
        return []
    first = 0 if a.bidirectional else row[0]
    sizes = [width * (len(row) if a.bidirectional else sum(k <= t for k in row)) for t in range(first, frames_of(variant.input))]
    return [d for d in sizes if d <= (LARGEST_POLYTOPE if l1 else LARGEST_FORM)]


def _form_flop(variant: Variant, row: tuple[int, ...]) -> float:
    """FLOP of one pass's quadratic forms: for every bounded row the nodes' products are added up, then the form's eigenvalues found."""
    a = variant.network.architecture
    cell = CELLS[a.cell]
    eigenvalues = 0 if variant.perturbation.norm == 1 else EIGENVALUE_FLOP
    return (
        a.layers
        * a.directions
        * sum(
            2 * cell.bounded * a.hidden * (cell.products * a.hidden * (t + 1) * d * d + eigenvalues * d**3)
            for t, d in enumerate(form_sizes(variant, row))
        )
    )


def pass_flop(a: Architecture, steps: int) -> float:
    """FLOP to bound one row's whole graph once with linear bounds, lower and upper."""
    cell = CELLS[a.cell]
    total = 0.0
    for layer in range(a.layers):
        width = a.input_size if layer == 0 else a.hidden * a.directions
        below = 0.0 if layer == 0 else steps * 2 * cell.rows * a.hidden * (a.input_size + a.hidden) * layer
        substituted = 2 * cell.rows * a.hidden * (width + a.hidden) * steps * (steps + 1) / 2 + below * steps
        total += 2 * cell.bounded * a.hidden * substituted * a.directions
    return total


def nodes(a: Architecture, frames: int) -> int:
    """Nodes of the unrolled graph, without those of the readout."""
    cell = CELLS[a.cell]
    joined = frames * a.directions * (a.layers - 1) if a.bidirectional else 0
    head = len(a.head) + sum(x != "none" for x in a.head_activations) + (a.readout_activation != "none") * a.directions
    return frames + a.layers * a.directions * (len(cell.states) + frames * cell.nodes) + joined + head


def _row_bytes(variant: Variant) -> int:
    a = variant.network.architecture
    cell = CELLS[a.cell]
    widest = max(cell.rows * a.hidden, a.input_size)
    forms = 0
    for row in variant.perturbation.frames.rows:
        sizes = form_sizes(variant, row)
        forms = max(forms, len(sizes) * cell.products * a.hidden * max(sizes, default=0) ** 2 // 2 * 8)
    return LIVE_TENSORS * 2 * cell.rows * a.hidden * widest * 8 + forms
