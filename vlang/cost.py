"""What a plan will cost: rows, graph nodes, floating-point operations and memory, before anything is computed.

The model is that of runtime/README.md, section 7: every bounded row of step t is substituted back through t steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from vlang.plan import (
    Architecture,
    AttackVariant,
    DatasetInput,
    EstimateVariant,
    InputPlan,
    LayerPlan,
    QueryPlan,
    TextInput,
    TextsInput,
    ValuesInput,
    Variant,
)
from vlang.words.attacks import ATTACKS
from vlang.words.cells import CELLS
from vlang.words.layers import ACTIVATIONS, LAYERS, READOUTS
from vlang.words.methods import CONSTRAINED, LARGEST_FORM, LARGEST_JOINT, LARGEST_POLYTOPE, METHODS, WORTHWHILE

#: Passes of a query: a radius search's (measured: 4 for one row, 6 for many), and of a verdict and the attack that follows it.
PASSES = {"radius": 6, "verify": 2, "bounds": 1, "attack": 1, "estimate": 1}
LIVE_TENSORS = 6
#: Below this many rows a pass is bound by launches, not arithmetic: those that begin at other frames are bounded together.
SMALLEST_GROUP = 16
#: Layers that leave every number of a frame where it is.
SCALING = frozenset({"normalize", "batchnorm", "dropout", "none"})
#: FLOP of finding and proving a form's multipliers per D^3 (the 1-norm needs none).
FACTORISED = 5
#: FLOP of joint bounds in a pass per cube of their unknowns and row of the answer: some passes need none, others a score of factorisations.
SEARCHED = 1.4


#: Of a complete search along directions, a pass each: boxes of one direction, of which more need their square, the most, and how many a pass takes.
BOXES, MOST_BOXES, BOXES_AT_ONCE = 100, 2000, 64
#: What a pass reaches of the rate of plain products; its small operations for each node, and for each pair of nodes that it goes back through; an
#: attack's FLOP beside a forward pass's, and CLEVER's small operations for each node (measured on shipped specs: tests/benchmarks/seconds.py).
SHARE, PER_NODE, PER_PAIR, BACKWARD, PER_GRADIENT = 0.25, 150, 55, 3, 130


@dataclass(frozen=True)
class Pace:
    """Of a machine: flop a second of batched products, launch seconds of one small operation (vlang.runtime.pace)."""

    flop: float
    launch: float


#: A core, as far as that can be said without measuring one.
CORE = Pace(flop=1e10, launch=5e-6)


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
        case TextsInput(texts=texts):
            return len(texts[0].tokens)
        case ValuesInput(values=values):
            return len(values)
    return data.frames


def width_of(data: InputPlan) -> int | None:
    """Numbers of a frame; None for tokens, whose embedding says it."""
    match data:
        case TextInput() | TextsInput():
            return None
        case ValuesInput(values=values):
            return len(values[0])
    return data.size


def samples_of(data: InputPlan) -> int:
    return len(data.indices) if isinstance(data, DatasetInput | TextsInput) else 1


def cost(query: QueryPlan) -> Cost:
    """Upper estimates: samples that turn out misclassified cost nothing."""
    per = [(_rows(v), v) for v in query.variants]
    passes = PASSES[query.kind]
    flop = sum(samples_of(v.input) * _targets(v) * _frame_flop(v) for _, v in per) * passes
    architecture = query.variants[0].network.architecture
    return Cost(
        rows=sum(rows for rows, _ in per),
        nodes=nodes(architecture, frames_of(query.variants[0].input)),
        flop=flop,
        row_bytes=max(_row_bytes(v) for _, v in per),
    )


def seconds(query: QueryPlan, pace: Pace) -> float:
    """About how long a query takes, without what is loaded before; within a factor of two or so."""
    return sum(_seconds(query, v, pace) for v in query.variants)


def in_words(seconds: float) -> str:
    """No more exact than it is."""
    for size, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(1, round(seconds))} s"


def _seconds(query: QueryPlan, v: Variant, pace: Pace) -> float:
    count = nodes(v.network.architecture, frames_of(v.input))
    forward = _rows(v) * BACKWARD * forward_flop(v.network.architecture, frames_of(v.input)) / (SHARE * pace.flop)
    match v:
        case AttackVariant(attack=attack):
            word = ATTACKS[attack.method]
            points = 0 if word.substitutes else attack.steps * attack.restarts
            return forward * points + attack.steps * count * word.kernels * pace.launch
        case EstimateVariant(estimate=estimate):
            return forward * estimate.batches * estimate.samples + _rows(v) * estimate.batches * count * PER_GRADIENT * pace.launch
    passes = PASSES[query.kind]
    if v.perturbation.directions is not None and METHODS[v.engine.method].complete:
        boxes = min(MOST_BOXES, BOXES * v.perturbation.directions.count**2)
        launches = boxes / BOXES_AT_ONCE * count**2 / 2 * PER_PAIR * pace.launch
        return _rows(v) * (boxes * pass_flop(v.network.architecture, frames_of(v.input)) / (SHARE * pace.flop) + launches)
    if not METHODS[v.engine.method].substitutes:
        return passes * (forward + count * PER_NODE * pace.launch)
    frames, firsts = frames_of(v.input), sorted(row[0] for row in v.perturbation.frames.rows)
    groups = min(len(set(firsts)), max(1, _rows(v) // SMALLEST_GROUP))
    begins = [firsts[len(firsts) * k // groups] for k in range(groups)]
    pairs = sum((count * (1 - first / frames)) ** 2 / 2 for first in begins)
    flop = samples_of(v.input) * _targets(v) * _frame_flop(v)
    return passes * (flop / (SHARE * pace.flop) + pairs * PER_PAIR * pace.launch)


def _targets(variant: Variant) -> int:
    classes = variant.network.architecture.classes if variant.steps is None else variant.steps.outputs
    return classes - 1 if variant.target.kind == "each" else 1


def _rows(variant: Variant) -> int:
    steps = 1 if variant.steps is None else len(variant.steps.rows)
    return samples_of(variant.input) * len(variant.perturbation.frames.rows) * _targets(variant) * steps


def _frame_flop(variant: Variant) -> float:
    """FLOP of one pass over one sample: steps before the first perturbed frame are constants."""
    frames, a = frames_of(variant.input), variant.network.architecture
    begins = [(row, frames if a.bidirectional else frames - row[0]) for row in variant.perturbation.frames.rows]
    return sum(pass_flop(a, steps) + _form_flop(variant, row) + _joint_flop(variant, steps) for row, steps in begins)


def form_sizes(variant: Variant, row: tuple[int, ...]) -> list[int]:
    """Coordinates of the quadratic forms at every step after the first perturbed frame; none where no forms are made."""
    a = variant.network.architecture
    l1 = variant.perturbation.norm == 1
    width = a.input_size if l1 else min(a.input_size, _seen(a))
    if not METHODS[variant.engine.method].forms:
        return []
    first = 0 if a.bidirectional else row[0]
    sizes = [width * (len(row) if a.bidirectional else sum(k <= t for k in row)) for t in range(first, frames_of(variant.input))]
    return [d for d in sizes if d <= (LARGEST_POLYTOPE if l1 else LARGEST_FORM)]


def _seen(a: Architecture) -> int:
    """How many numbers the first layers that do more than scale see of a frame (`coordinates.chart_of`)."""
    total, as_it_is = 0, {-1}
    for k, x in enumerate(a.layers):
        if as_it_is.isdisjoint(x.of):
            continue
        if x.word in SCALING:
            as_it_is.add(k)
        else:
            total += CELLS[x.word].rows * x.width if x.word in CELLS else x.width * x.window if x.roles else a.input_size
    return total or a.input_size


def _form_flop(variant: Variant, row: tuple[int, ...]) -> float:
    """FLOP of one pass's quadratic forms: for every bounded row the nodes' products are added up, then the form is factorised."""
    eigenvalues = 0 if variant.perturbation.norm == 1 else FACTORISED
    total = 0.0
    for x in variant.network.architecture.recurrent:
        cell = CELLS[x.word]
        per_step = (cell.products * x.hidden * (t + 1) * d * d + eigenvalues * d**3 for t, d in enumerate(form_sizes(variant, row)))
        total += x.setting("layers") * 2 * cell.bounded * x.width * sum(per_step)
    return 0.0 if METHODS[variant.engine.method].ladder and total > WORTHWHILE else total


def _joint_flop(variant: Variant, steps: int) -> float:
    """FLOP of one pass's joint bounds, if there are any: of every class that is asked about."""
    a = variant.network.architecture
    units = sum(x.setting("layers") * ((CELLS[x.word].products + 1) // 2) * x.width * steps for x in a.recurrent)
    unknowns = CONSTRAINED * units
    if not METHODS[variant.engine.method].joint or unknowns > LARGEST_JOINT:
        return 0.0
    return SEARCHED * float(unknowns) ** 3 * (a.classes - 1 if variant.target.kind == "any" else 1)


def forward_flop(a: Architecture, steps: int) -> float:
    """FLOP of the network's own value on one sample."""
    total = 0.0
    for layer, frames in zip(a.layers, a.frames(steps), strict=True):
        (width, *_) = a.read_by(layer)
        if layer.word in CELLS:
            for _ in range(layer.setting("layers")):
                total += frames * 2 * CELLS[layer.word].rows * layer.hidden * (width + layer.hidden)
                width = layer.width
        elif layer.roles:
            total += frames * 2 * width * layer.width * layer.window
    return total


def pass_flop(a: Architecture, steps: int) -> float:
    """FLOP to bound one row's whole graph once with linear bounds, lower and upper."""
    total = below = 0.0  # below: of one row through everything under a layer, a step
    for layer, frames in zip(a.layers, a.frames(steps), strict=True):
        (width, *_) = a.read_by(layer)
        if layer.word in CELLS:
            cell, hidden = CELLS[layer.word], layer.hidden
            for _ in range(layer.setting("layers")):
                substituted = 2 * cell.rows * hidden * (width + hidden) * frames * (frames + 1) / 2 + below * frames
                total += 2 * cell.bounded * layer.width * substituted
                below += frames * 2 * cell.rows * hidden * (width + hidden)
                width = layer.width
        elif layer.roles:
            below += frames * 2 * width * layer.width * layer.window
        elif layer.word in ACTIVATIONS:
            total += 2 * layer.width * frames * below
    return total


def nodes(a: Architecture, frames: int) -> int:
    """Nodes of the unrolled graph, without those of joins and of what is read out of the frames."""
    total = frames
    for layer, given in zip(a.layers, a.frames(frames), strict=True):
        if layer.word not in CELLS:
            total += LAYERS[layer.word].nodes * given * (_parts(a, layer) if layer.word in ACTIVATIONS else 1)
            continue
        cell, directions, depth = CELLS[layer.word], layer.setting("directions"), layer.setting("layers")
        joined = given * directions * (depth - 1) if directions == 2 else 0
        total += depth * directions * (len(cell.states) + given * cell.nodes) + joined
    return total


def _parts(a: Architecture, layer: LayerPlan) -> int:
    """Of what a layer reads: both directions, where nothing has joined them yet."""
    below = None if layer.of[0] < 0 else a.layers[layer.of[0]]
    while below is not None and (below.word in ACTIVATIONS or below.word in READOUTS) and below.of[0] >= 0:
        below = a.layers[below.of[0]]
    return int(below.setting("directions")) if below is not None and below.word in CELLS else 1


def _row_bytes(variant: Variant) -> int:
    """Of what is held at once of the widest layer, and of the forms."""
    a = variant.network.architecture
    bounded = max((CELLS[x.word].rows * x.hidden if x.word in CELLS else x.width for x in a.layers), default=0)
    widest = max(bounded, a.input_size)
    products = max((CELLS[x.word].products * x.hidden for x in a.recurrent), default=a.input_size)
    forms = 0
    for row in variant.perturbation.frames.rows:
        sizes = form_sizes(variant, row)
        forms = max(forms, len(sizes) * products * max(sizes, default=0) * 8)
    return LIVE_TENSORS * 2 * bounded * widest * 8 + forms
