"""Plan to batches: every row of a query, with its tensors, grouped so that a group shares one graph."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Generic, TypeVar

import torch
from torch import Tensor

from vlang.cost import SMALLEST_GROUP
from vlang.plan import DataError, DatasetInput, Problem, TextInput, Variant
from vlang.property import Inequality, Property
from vlang.runtime.attacks.base import Question
from vlang.runtime.attacks.witness import Limits
from vlang.runtime.bounds.joint import Known
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.bounds.sharpen import sharpened
from vlang.runtime.device import batch_rows
from vlang.runtime.graph.concrete import logits
from vlang.runtime.graph.nodes import Graph
from vlang.runtime.late import never
from vlang.runtime.methods.questions import Asked
from vlang.runtime.network import load
from vlang.runtime.network.reading import as_saved
from vlang.runtime.network.reference import compare
from vlang.runtime.network.unroll import Network
from vlang.runtime.queries.demands import demand, outputs_in_words, rows_of
from vlang.runtime.rounding import at_least, at_most, spacing
from vlang.runtime.sets.ball import Ball
from vlang.words.methods import METHODS

#: The same for methods that fill the machine with fewer: those of quadratic forms.
SMALLEST_FILLING_GROUP = 4
#: Samples whose logits are computed at once.
AT_ONCE = 1024
V = TypeVar("V", bound=Variant)
#: A target as the report names it, and the classes it is about.
TargetRow = tuple[str | int, tuple[int, ...]]


@dataclass(frozen=True)
class Case:
    """One row to be answered. `position`: of the sample in its batch of inputs.

    wanted: of a property, what has to hold in place of the label's lead; holds: whether it does at the centre, where the outputs are as `said`.
    constants: of what is wanted, everything that is no output, from below and from above.
    """

    position: int
    sample: int
    label: int
    predicted: int
    target: str | int
    classes: tuple[int, ...]
    frames: tuple[int, ...]
    wanted: tuple[Inequality, ...] = ()
    constants: tuple[tuple[float, float], ...] = ()
    holds: bool = True
    said: str = ""

    @property
    def correct(self) -> bool:
        return self.holds if self.wanted else self.label == self.predicted

    @property
    def rows(self) -> int:
        """Rows over the outputs that must stay below 0."""
        return len(self.wanted or self.classes)

    def generator(self, seed: int) -> torch.Generator:
        """Random numbers of this row's own: the same in whatever company it is asked about."""
        text = f"{seed}:{self.sample}:{self.label}:{self.classes}:{self.frames}"
        return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1)


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs and what the network says of them. shape: inputs [S, m, n], logits [S, classes]."""

    network: Network
    graph: Graph
    inputs: Tensor
    logits: Tensor
    labels: list[int] | None
    numbers: tuple[int, ...]

    @classmethod
    def load(cls, variant: Variant, network: Network) -> Samples:
        """Of a variant's input in its network. Raises DataError, also where outputs are not those of a reference."""
        plan, read = variant.input, variant.network
        inputs, labels, numbers = load.samples(plan, network, read.labels)
        graph = network.unroll(inputs.shape[1])
        values = torch.cat([logits(graph, part) for part in torch.split(inputs, AT_ONCE)])
        of, own = (plan.of, plan.reference) if isinstance(plan, DatasetInput) else (1, None)
        for reference in (x for x in (read.reference, own) if x is not None and read.normalize is None):
            compare(reference, as_saved(values, read.architecture), numbers, of)
        return cls(network, graph, inputs, values, labels, numbers)


@dataclass(frozen=True, eq=False)
class Loaded(Generic[V]):
    """A variant with its data in memory."""

    variant: V
    samples: Samples
    cases: tuple[Case, ...]
    #: How many samples are classified as labelled.
    correct: int
    #: The network's, and for properties the number 1 beside its outputs.
    graph: Graph
    #: By row, what joint bounds found: a search's last proofs are those of its certificates.
    known: dict[Case, Known] = field(default_factory=dict)

    @property
    def only_correct(self) -> bool:
        """Whether the others are left out."""
        return isinstance(self.variant.input, DatasetInput) and self.variant.input.correct

    @property
    def network(self) -> Network:
        return self.samples.network

    @property
    def inputs(self) -> Tensor:
        return self.samples.inputs

    def groups(self) -> Iterator[tuple[Case, ...]]:
        """Correctly classified cases with one number of rows, sorted by first perturbed frame and cut into groups of about
        `SMALLEST_GROUP` or more: what lies before a group's first frame is computed once, not bounded."""
        smallest = SMALLEST_FILLING_GROUP if METHODS[self.variant.engine.method].forms else SMALLEST_GROUP
        for rows in sorted({c.rows for c in self.cases}):
            group: list[Case] = []
            for case in sorted((c for c in self.cases if c.correct and c.rows == rows), key=lambda c: c.frames[0]):
                if len(group) >= smallest and case.frames[0] != group[-1].frames[0]:
                    yield tuple(group)
                    group = []
                group.append(case)
            if group:
                yield tuple(group)

    def ball(self, cases: tuple[Case, ...]) -> Ball:
        """The perturbation sets at eps = 1."""
        p, x = self.variant.perturbation, self.inputs
        weights = [1.0 if p.weights is None else at_least(p.weights[k]) for k in range(x.shape[1])]
        table = [[w if k in case.frames else 0.0 for k, w in enumerate(weights)] for case in cases]
        radii = torch.tensor(table, dtype=x.dtype, device=x.device)
        clip = None
        if p.clip is not None:
            at = x[[c.position for c in cases]]
            lo, hi = float(p.clip[0]), float(p.clip[1])
            spread = spacing(lo, hi, x.dtype)  # the ends' own rounding is in it
            clip = ((at - lo).clamp(min=0) + spread, (hi - at).clamp(min=0) + spread)
        return Ball(radii, p.norm, p.frames.at_most, clip)

    def limits(self, case: Case) -> Limits:
        """The perturbation set of one row at eps = 1, exactly."""
        p, frames = self.variant.perturbation, self.inputs.shape[1]
        weights = tuple((Fraction(1) if p.weights is None else p.weights[k]) if k in case.frames else Fraction(0) for k in range(frames))
        return Limits(weights, p.norm, p.frames.at_most, p.clip)

    def clipped(self, points: Tensor, centre: Tensor) -> Tensor:
        """The points put exactly into the clip where they have moved."""
        clip = self.variant.perturbation.clip
        if clip is None:
            return points
        return torch.where(points == centre, points, points.clamp(at_least(clip[0]), at_most(clip[1])))

    def question(self, cases: tuple[Case, ...], most: float, late: Callable[[], bool] = never) -> Question:
        """What an attack is asked: counterexamples no further than `most`. late: once it is true, what was found by then is the answer."""
        return Question(self.graph, self.inputs[[c.position for c in cases]], self.ball(cases), self.rows(cases, surely_above=True), most, late=late)

    def rows(self, cases: tuple[Case, ...], surely_above: bool = False) -> Tensor:
        """What must stay below 0: output differences y_j - y_label, one a class, or those of a property. shape: [B, T, outputs].

        surely_above: for counterexamples, where it must not be larger than the truth; for proofs not smaller.
        """
        if cases[0].wanted:
            end, outputs = 0 if surely_above else 1, self.network.classes
            return torch.stack([rows_of(c.wanted, [ends[end] for ends in c.constants], outputs) for c in cases]).to(self.inputs)
        eye = torch.eye(self.network.classes, dtype=self.network.dtype, device=self.network.device)
        asked = torch.tensor([c.classes for c in cases], device=eye.device)
        labels = torch.tensor([c.label for c in cases], device=eye.device)
        return eye[asked] - eye[labels][:, None]

    def asked(self, cases: tuple[Case, ...], late: Callable[[], bool] = never) -> Asked:
        """late: once it is true, bounds raise LateError."""
        at_once = batch_rows(self.graph, cases[0].rows, self.network.device)
        method = METHODS[self.variant.engine.method]
        by_name = not (method.ladder or method.joint)
        known = [self.known.setdefault(c, Known()) for c in cases]
        return Asked(self.centre(cases, late), self.ball(cases), self.rows(cases), at_once, by_name=by_name, known=known)

    def centre(self, cases: tuple[Case, ...], late: Callable[[], bool] = never) -> Nominal:
        centre = Nominal.at(self.graph, self.inputs[[c.position for c in cases]], self.variant.engine.semantics == "deployed32", late)
        return sharpened(centre, self.ball(cases).moved)


def prepare(variant: V, samples: Samples) -> Loaded[V]:
    """List a variant's rows. Raises DataError."""
    _check_clip(variant, samples.inputs, samples.numbers)
    if variant.engine.semantics == "deployed32":
        parameters = (*samples.network.parameters(), samples.inputs)
        if any(not torch.equal(v, v.to(torch.float32).to(v.dtype)) for v in parameters):
            raise DataError(Problem("not_float32", variant.engine.span, (variant.network.checkpoint,)))
    numbers = samples.numbers
    predicted = samples.logits.argmax(1).tolist()
    labels = predicted if samples.labels is None else samples.labels
    keep = [i for i in range(len(numbers)) if labels[i] == predicted[i] or not (isinstance(variant.input, DatasetInput) and variant.input.correct)]
    rows, wanted = variant.perturbation.frames.rows, variant.target.property
    if wanted is not None:
        cases = [replace(c, frames=frames) for i in keep for c in [_demanding(variant, wanted, samples, i)] for frames in rows]
        return Loaded(variant, samples, tuple(cases), sum(c.holds for c in cases) // len(rows), samples.graph.with_one())
    values = samples.logits.tolist()
    cases = [
        Case(i, numbers[i], labels[i], predicted[i], target, classes, frames)
        for i in keep
        for target, classes in _targets(variant, labels[i], values[i], numbers[i])
        for frames in rows
    ]
    if not cases and variant.target.kind == "class" and keep:
        raise DataError(Problem("target_is_label", variant.target.span, (variant.network.label_name(variant.target.index),)))
    return Loaded(variant, samples, tuple(cases), sum(a == b for a, b in zip(labels, predicted, strict=True)), samples.graph)


def _demanding(variant: Variant, wanted: Property, samples: Samples, i: int) -> Case:
    """A property's row of one sample, its frames still open."""
    deployed = variant.engine.semantics == "deployed32"
    found, constants, holds = demand(wanted, samples.graph, samples.inputs[i], samples.logits[i], deployed)
    return Case(i, samples.numbers[i], 0, 0, wanted.text, (), (), found, constants, holds, outputs_in_words(samples.logits[i].tolist()))


def _targets(variant: Variant, label: int, values: list[float], sample: int) -> list[TargetRow]:
    """The rows of a target on one sample; none where the target is the label itself."""
    others = [j for j in range(len(values)) if j != label]
    name = variant.network.label_name
    match variant.target.kind:
        case "any":
            return [("any", tuple(others))]
        case "each":
            return [(name(j), (j,)) for j in others]
        case "class":
            j = variant.target.index
            return [] if j == label else [(name(j), (j,))]
        case "random":
            j = random.Random(f"{variant.target.seed}:{sample}").choice(others)
            return [(name(j), (j,))]
    j = max(others, key=lambda c: values[c])  # runner_up
    return [(name(j), (j,))]


def _check_clip(variant: Variant, inputs: Tensor, numbers: tuple[int, ...]) -> None:
    clip = variant.perturbation.clip
    if clip is None:
        return
    lo, hi = float(clip[0]), float(clip[1])
    slack = spacing(lo, hi, inputs.dtype) / 2  # the literals are exact, the data rounded
    outside = ((inputs < lo - slack) | (inputs > hi + slack)).flatten(1).any(1).nonzero().flatten().tolist()
    if outside:
        raise DataError(Problem("outside_clip", variant.perturbation.span, (numbers[outside[0]], f"{lo:g}", f"{hi:g}")))


def tokens(variant: Variant, frames: tuple[int, ...]) -> tuple[str, ...] | None:
    return tuple(variant.input.tokens[k] for k in frames) if isinstance(variant.input, TextInput) else None
