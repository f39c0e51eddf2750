"""What a plan will cost: rows, graph nodes, floating-point operations and memory, before anything is computed.

The model is that of runtime/README.md, section 7: every bounded row of step t is substituted back through t steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
from vlang.words.methods import CONSTRAINED, LARGEST_FORM, LARGEST_JOINT, LARGEST_POLYTOPE, METHODS

#: Passes of a query: a radius search's (measured: 4 for one row, 6 for many), and of a verdict and the attack that follows it.
PASSES = {"radius": 6, "verify": 2, "bounds": 1, "attack": 1, "estimate": 1}
LIVE_TENSORS = 6
#: Below this many rows a pass is bound by launches, not arithmetic: those that begin at other frames are bounded together.
SMALLEST_GROUP = 16
#: Layers that leave every number of a frame where it is.
SCALING = frozenset({"normalize", "batchnorm", "dropout", "none"})
#: FLOP of finding and proving a form's multipliers per D^3 (the 1-norm needs none).
FACTORISED = 5
#: FLOP of joint bounds in a pass per cube of their unknowns and row of the answer, and the passes of a search that they take part in.
SEARCHED, PASSES_OF_JOINT = 20, 7
#: Seconds that a method that chooses spends on a row's forms, where no budget was given.
AFFORDED = 10.0


#: Of a complete search along directions, a pass each: boxes of one direction, of which more need their square, the most, and how many a pass takes.
BOXES, MOST_BOXES, BOXES_AT_ONCE = 100, 2000, 64
#: Of a pass: FLOP that it takes as long to choose one coefficient's slope as; small operations for each node, and for each pair of nodes that it goes
#: back through, by planes and by forms. An attack's FLOP beside a forward pass's, and CLEVER's small operations for each node. Measured on shipped
#: specs and networks: tests/benchmarks/seconds.py.
TOUCHED, PER_NODE, PER_PAIR, PER_PAIR_OF_FORMS, BACKWARD, PER_GRADIENT = 550, 220, 50, 400, 5, 130
#: Passes of a radius search that make forms: it begins where planes end.
PASSES_OF_FORMS = 5
#: Passes that slices of one set take, mostly.
PASSES_OF_SLICES = 8
#: Rows of small forms that share a pass.
FORMS_AT_ONCE = 16


@dataclass(frozen=True)
class Pace:
    """Of a machine (vlang.runtime.pace): flop a second where coefficients are put through layers, and where forms are made and factorised; launch
    seconds of one small operation."""

    flop: float
    forms: float
    launch: float


#: A core, as far as that can be said without measuring one: what a method does must not depend on who computes it.
CORE = Pace(flop=1.5e10, forms=6e10, launch=3.5e-6)


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
    per = [(rows_of(v), v) for v in query.variants]
    passes = PASSES[query.kind]
    flop = sum(samples_of(v.input) * _targets(v) * _frame_flop(query.kind, v) for _, v in per) * passes
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
    forward = rows_of(v) * BACKWARD * forward_flop(v.network.architecture, frames_of(v.input)) / pace.flop
    match v:
        case AttackVariant(attack=attack):
            word = ATTACKS[attack.method]
            points = 0 if word.substitutes else attack.steps * attack.restarts
            return forward * points + attack.steps * count * word.kernels * pace.launch
        case EstimateVariant(estimate=estimate):
            return forward * estimate.batches * estimate.samples + rows_of(v) * estimate.batches * count * PER_GRADIENT * pace.launch
    passes = PASSES[query.kind]
    if v.perturbation.directions is not None and METHODS[v.engine.method].complete:
        boxes = min(MOST_BOXES, BOXES * v.perturbation.directions.count**2)
        launches = boxes / BOXES_AT_ONCE * count**2 / 2 * PER_PAIR * pace.launch
        return rows_of(v) * (boxes * pass_flop(v.network.architecture, frames_of(v.input), TOUCHED) / pace.flop + launches)
    if not METHODS[v.engine.method].substitutes:
        return passes * (forward + count * PER_NODE * pace.launch)
    frames, firsts = frames_of(v.input), sorted(row[0] for row in v.perturbation.frames.rows)
    groups = min(len(set(firsts)), max(1, rows_of(v) // SMALLEST_GROUP))
    begins = [firsts[len(firsts) * k // groups] for k in range(groups)]
    pairs = sum((count * (1 - first / frames)) ** 2 / 2 for first in begins)
    apart = samples_of(v.input) * _targets(v)  # rows of one set of frames
    begun = [(row, _moving(v, row)) for row in v.perturbation.frames.rows]
    substituted = apart * sum(pass_flop(v.network.architecture, steps, TOUCHED) for _, steps in begun)
    planes = passes * (substituted / pace.flop + pairs * PER_PAIR * pace.launch)
    made = [row for row in v.perturbation.frames.rows if forgone(query.kind, v, row) is None]
    forms = sum(form_seconds(v, row, apart, pace) for row in made) * (PASSES_OF_FORMS if query.kind == "radius" else 1)
    joint = apart * len(begun) * (joint_seconds(v, query.kind, pace) or 0.0) if METHODS[v.engine.method].joint else 0.0
    if v.engine.budget is None:
        return planes + forms + joint
    return float(v.engine.budget) if METHODS[v.engine.method].refinement else min(float(v.engine.budget), planes + forms + joint)


def spared(query: QueryPlan) -> dict[str, tuple[float, float]]:
    """What methods that choose leave out of a query: by word, seconds of a core for a row, and the budget of all rows that pays them."""
    found: dict[str, tuple[float, float]] = {}
    for v in query.variants:
        sets = v.perturbation
        if not METHODS[v.engine.method].refinement or sets.directions is not None or sets.alternatives is not None:
            continue
        forms = max((forgone(query.kind, v, row) or 0.0 for row in sets.frames.rows), default=0.0)
        left = {"quadratic": forms} if forms else {}
        joint = joint_seconds(v, query.kind, CORE)
        if joint is not None and (afforded(v) < joint or v.engine.budget is None) and query.kind == "radius":
            left["joint"] = joint
        for word, row in left.items():
            before = found.get(word, (0.0, 0.0))
            found[word] = max(before[0], row), before[1] + row * rows_of(v)
    return found


def together(v: Variant) -> int:
    """Rows that take as long in one pass as its small operations themselves: fewer would be bounded at more than twice their price."""
    a, frames = v.network.architecture, frames_of(v.input)
    launches = nodes(a, frames) ** 2 / 2 * PER_PAIR * CORE.launch
    return math.ceil(launches * CORE.flop / max(1.0, pass_flop(a, frames, TOUCHED)))


def _moving(v: Variant, row: tuple[int, ...]) -> int:
    """Steps from the first perturbed frame on."""
    frames = frames_of(v.input)
    return frames if v.network.architecture.bidirectional else frames - row[0]


def afforded(variant: Variant) -> float:
    """Seconds of a core that a method that chooses may spend on a row's forms: more than by itself only where a budget leaves each row more."""
    budget = variant.engine.budget
    return max(AFFORDED, 0.0 if budget is None else float(budget) / max(1, rows_of(variant)))


def pass_of_forms(flop: float, nodes: int, pace: Pace) -> float:
    """Seconds of a pass, of so many FLOP, on a graph of which so many nodes move."""
    return flop / pace.forms + nodes**2 / 2 * PER_PAIR_OF_FORMS * pace.launch


def form_seconds(variant: Variant, row: tuple[int, ...], rows: int, pace: Pace) -> float:
    """A pass of quadratic forms of so many rows that move the same frames; 0 where their method makes none."""
    sizes = form_sizes(variant, row)
    if not sizes:
        return 0.0
    passes = -(-rows // FORMS_AT_ONCE)
    return passes * pass_of_forms(rows / passes * _form_flop(variant, sizes), nodes(variant.network.architecture, _moving(variant, row)), pace)


def forgone(kind: str, variant: Variant, row: tuple[int, ...]) -> float | None:
    """What a row's quadratic forms would take, in seconds of a core, where its method chooses and they are more than it may spend."""
    alone = form_seconds(variant, row, 1, CORE) * (PASSES_OF_FORMS if kind == "radius" else 1)
    return alone if METHODS[variant.engine.method].ladder and alone > afforded(variant) else None


def joint_seconds(variant: Variant, kind: str, pace: Pace) -> float | None:
    """One row's search by joint bounds, from where others ended; None where they have too many unknowns."""
    a = variant.network.architecture
    steps = max(_moving(variant, row) for row in variant.perturbation.frames.rows)
    unknowns = CONSTRAINED * sum(x.setting("layers") * ((CELLS[x.word].products + 1) // 2) * x.width * steps for x in a.recurrent)
    if unknowns > LARGEST_JOINT:
        return None
    passes = PASSES_OF_JOINT if kind == "radius" else 1
    return passes * joint_pass(unknowns, a.classes - 1 if variant.target.kind == "any" else 1, pace)


def joint_pass(unknowns: int, rows: int, pace: Pace) -> float:
    return rows * SEARCHED * float(unknowns) ** 3 / pace.forms


def _targets(variant: Variant) -> int:
    classes = variant.network.architecture.classes if variant.steps is None else variant.steps.outputs
    return classes - 1 if variant.target.kind == "each" else 1


def rows_of(variant: Variant) -> int:
    steps = 1 if variant.steps is None else len(variant.steps.rows)
    return samples_of(variant.input) * len(variant.perturbation.frames.rows) * _targets(variant) * steps


def _frame_flop(kind: str, variant: Variant) -> float:
    """FLOP of one pass over one sample: steps before the first perturbed frame are constants."""
    rows = variant.perturbation.frames.rows
    forms = sum(_form_flop(variant, form_sizes(variant, row)) for row in rows if forgone(kind, variant, row) is None)
    return forms + sum(pass_flop(variant.network.architecture, _moving(variant, row)) for row in rows)


def form_sizes(variant: Variant, row: tuple[int, ...]) -> list[tuple[int, int]]:
    """Coordinates of the quadratic forms at every step after the first perturbed frame, of what does not see the step's own frame bent and of what
    does; none where no forms are made."""
    a = variant.network.architecture
    l1 = variant.perturbation.norm == 1
    width = a.input_size if l1 else min(a.input_size, _seen(a))
    if not METHODS[variant.engine.method].forms:
        return []
    first, most = 0 if a.bidirectional else row[0], LARGEST_POLYTOPE if l1 else LARGEST_FORM
    steps, whole = range(first, frames_of(variant.input)), len(row)
    counts = [(whole, whole) if a.bidirectional else (sum(k < t for k in row), sum(k <= t for k in row)) for t in steps]
    return [(width * before, width * until) for before, until in counts if width * until <= most]


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


def _form_flop(variant: Variant, sizes: Sequence[tuple[int, int]]) -> float:
    """FLOP of one pass's quadratic forms: for every bounded row the nodes' products are added up, then the form is factorised."""
    eigenvalues, total = 0 if variant.perturbation.norm == 1 else FACTORISED, 0.0

    def of(rows: int, d: int, below: int) -> float:
        return 2 * rows * (2 * below * d**2 + eigenvalues * d**3)

    for x in variant.network.architecture.recurrent:
        cell = CELLS[x.word]
        each = x.hidden * (cell.products if cell.products == 1 else 2 * cell.products // 3)
        for layer in range(x.setting("layers")):
            for t, (before, until) in enumerate(sizes):
                gates = of(cell.rows * x.width, until if layer else before, each * (t + layer * (t + 1)))
                total += gates + of((cell.bounded - cell.rows) * x.width, until, each * (layer + 1) * (t + 1))
    return total


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


def pass_flop(a: Architecture, steps: int, touched: float = 0) -> float:
    """FLOP to bound one row's whole graph once with linear bounds, lower and upper. touched: FLOP that it takes as long to choose a slope for one
    coefficient as."""
    total = below = 0.0  # below: of one row through everything under a layer, a step
    for layer, frames in zip(a.layers, a.frames(steps), strict=True):
        (width, *_) = a.read_by(layer)
        if layer.word in CELLS:
            cell, hidden = CELLS[layer.word], layer.hidden
            for _ in range(layer.setting("layers")):
                each = (2 * (width + hidden) + touched) * cell.rows * hidden
                substituted = each * frames * (frames + 1) / 2 + below * frames
                total += 2 * cell.bounded * layer.width * substituted
                below += frames * each
                width = layer.width
        elif layer.roles:
            below += frames * (2 * width * layer.window + touched) * layer.width
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
        forms = max(forms, len(sizes) * products * max((until for _, until in sizes), default=0) * 8)
    return LIVE_TENSORS * 2 * bounded * widest * 8 + forms
