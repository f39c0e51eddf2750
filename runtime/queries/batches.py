"""Plan to batches: every row of a query, with its tensors, grouped so that a group shares one graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from vlang.cost import AFFORDED, PASSES_OF_FORMS, SMALLEST_GROUP, afforded
from vlang.perturbation import DirectionsPlan, PerturbationPlan
from vlang.plan import DataError, DatasetInput, Problem, RadiusVariant, TextInput, TextsInput, Variant
from vlang.runtime.attacks.base import Question
from vlang.runtime.attacks.witness import Limits
from vlang.runtime.bounds.joint import Known
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.bounds.sharpen import sharpened
from vlang.runtime.device import batch_rows
from vlang.runtime.graph.nodes import Graph
from vlang.runtime.late import never
from vlang.runtime.methods.questions import Asked
from vlang.runtime.network.load import array
from vlang.runtime.network.unroll import Network
from vlang.runtime.queries.cases import Case, cases_of
from vlang.runtime.queries.demands import rows_of
from vlang.runtime.queries.samples import Samples
from vlang.runtime.rounding import at_least, at_most, spacing
from vlang.runtime.searches.substitutions import Choices
from vlang.runtime.sets.ball import Ball
from vlang.runtime.sets.directed import Directed
from vlang.runtime.sets.stretched import Stretched
from vlang.words.methods import METHODS

#: The same for methods that fill the machine with fewer: those of quadratic forms.
SMALLEST_FILLING_GROUP = 4
V = TypeVar("V", bound=Variant)


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
    #: In which samples move, if that is what they do.
    directed: Directed | None = None
    #: By row, of sets of alternatives.
    choices: dict[Case, Choices] = field(default_factory=dict)
    #: By row, what joint bounds found: a search's last proofs are those of its certificates.
    known: dict[Case, Known] = field(default_factory=dict)

    @property
    def only_correct(self) -> bool:
        """Whether the others are left out."""
        return isinstance(self.variant.input, DatasetInput | TextsInput) and self.variant.input.correct

    @property
    def some(self) -> bool:
        """Whether one of a row's inequalities is enough: a phrase is not said if one of its words is not."""
        return self.variant.target.kind == "phrase"

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
            for case in sorted((c for c in self.cases if c.correct and c.rows == rows), key=self._place):
                apart = bool(group) and self._place(case) != self._place(group[-1])
                if apart and (len(group) >= smallest or self.directed is not None):
                    yield tuple(group)
                    group = []
                group.append(case)
            if group:
                yield tuple(group)

    def apart(self, cases: tuple[Case, ...], most: int) -> Iterator[tuple[Case, ...]]:
        """Cases in their order, so many at once that share a graph and have as many rows."""
        start = 0
        for i in range(1, len(cases) + 1):
            split = i < len(cases) and (
                cases[i].rows != cases[i - 1].rows or (self.directed is not None and cases[i].position != cases[i - 1].position)
            )
            if i == len(cases) or i - start == most or split:
                yield cases[start:i]
                start = i

    def _place(self, case: Case) -> int:
        """Cases of one place stay in one group: of one first frame; or of one sample, where each has a graph of its own."""
        return case.frames[0] if self.directed is None else case.position

    def seen(self, case: Case, up: bool = True) -> Graph:
        """The network as proofs (up) and attacks see it, for all cases of a group."""
        if self.directed is not None:
            return self.directed.graph(self.graph, self.inputs[case.position])
        stretched = stretch(self.variant.perturbation, self.inputs, up)
        return self.graph if stretched is None else stretched.graph(self.graph)

    def at(self, cases: tuple[Case, ...]) -> Tensor:
        """The sets' centres, as proofs and attacks see them. shape: [B, m, n]; in units of their own [B, 2 m, n]; of directions, theta, [B, 1, d]."""
        x = self.inputs[[c.position for c in cases]]
        if self.directed is not None:
            return x.new_zeros(len(cases), 1, self.directed.count)
        stretched = stretch(self.variant.perturbation, x, up=True)
        return x if stretched is None else stretched.inputs(x)

    def moved(self, cases: tuple[Case, ...], delta: Tensor) -> Tensor:
        """The points of sets that an attack has found, in the inputs' own units; of directions theta. shape: -> as inputs, or [B, 1, d]."""
        if self.directed is not None:
            return delta
        x = self.inputs[[c.position for c in cases]]
        stretched = stretch(self.variant.perturbation, x, up=False)
        return self.clipped(x + delta if stretched is None else stretched.points(x, delta), x)

    def tested(self, case: Case) -> tuple[Graph, Tensor]:
        """What a counterexample is tried on, and the set's centre there: the network and the input, or of directions the graph that theta enters."""
        return (self.graph, self.inputs[case.position]) if self.directed is None else (self.seen(case), self.at((case,))[0])

    def ball(self, cases: tuple[Case, ...]) -> Ball:
        """The perturbation sets at eps = 1."""
        p, x = self.variant.perturbation, self.inputs
        if self.directed is not None:
            return Ball(x.new_ones(len(cases), 1), p.norm)
        weights = [1.0 if p.weights is None else at_least(p.weights[k]) for k in range(x.shape[1])]
        rest = [0.0] * (len(weights) if p.scale is not None else 0)
        table = [rest + [w if k in case.frames else 0.0 for k, w in enumerate(weights)] for case in cases]
        radii = torch.tensor(table, dtype=x.dtype, device=x.device)
        clip = None
        if p.clip is not None:
            at = x[[c.position for c in cases]]
            lo, hi, spread = _ranges(p.clip, x)  # the ends' own rounding is in it
            clip = ((at - lo).clamp(min=0) + spread, (hi - at).clamp(min=0) + spread)
            stretched = stretch(p, x, up=True)
            clip = clip if stretched is None else stretched.room(clip)
        return Ball(radii, p.norm, p.frames.at_most, clip)

    def limits(self, case: Case) -> Limits:
        """The perturbation set of one row at eps = 1, exactly."""
        p, frames = self.variant.perturbation, self.inputs.shape[1]
        if self.directed is not None:
            return Limits((Fraction(1),), p.norm, None, None)
        weights = tuple((Fraction(1) if p.weights is None else p.weights[k]) if k in case.frames else Fraction(0) for k in range(frames))
        return Limits(weights, p.norm, p.frames.at_most, p.clip, p.scale)

    def clipped(self, points: Tensor, centre: Tensor) -> Tensor:
        """The points put exactly into the clip where they have moved."""
        clip = self.variant.perturbation.clip
        if clip is None:
            return points
        ends = [[at_least(lo), at_most(hi)] for lo, hi in clip]
        return torch.where(points == centre, points, points.clamp(*points.new_tensor(ends).unbind(1)))

    def question(self, cases: tuple[Case, ...], most: float, late: Callable[[], bool] = never) -> Question:
        """What an attack is asked: counterexamples no further than `most`. late: once it is true, what was found by then is the answer."""
        return Question(
            self.seen(cases[0], up=False), self.at(cases), self.ball(cases), self.rows(cases, surely_above=True), most, late=late, some=self.some
        )

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
        passes = PASSES_OF_FORMS if isinstance(self.variant, RadiusVariant) else 1
        affords = (afforded(self.variant) if method.ladder else AFFORDED if method.joint else math.inf) / passes
        known = [self.known.setdefault(c, Known()) for c in cases]
        return Asked(self.centre(cases, late), self.ball(cases), self.rows(cases), at_once, affords=affords, known=known, some=self.some)

    def centre(self, cases: tuple[Case, ...], late: Callable[[], bool] = never) -> Nominal:
        centre = Nominal.at(self.seen(cases[0]), self.at(cases), self.variant.engine.semantics == "deployed32", late)
        return sharpened(centre, self.ball(cases).moved)


def prepare(variant: V, samples: Samples) -> Loaded[V]:
    """List a variant's rows. Raises DataError."""
    _check_clip(variant, samples.inputs, samples.numbers)
    if variant.engine.semantics == "deployed32":
        parameters = (*samples.network.parameters(), samples.inputs)
        if any(not torch.equal(v, v.to(torch.float32).to(v.dtype)) for v in parameters):
            raise DataError(Problem("not_float32", variant.engine.span, (variant.network.checkpoint,)))
    asked = cases_of(variant, samples)
    if not asked.rows and variant.target.kind == "class" and samples.numbers:
        raise DataError(Problem("target_is_label", variant.target.span, (variant.network.label_name(variant.target.index),)))
    extended = variant.target.property is not None or variant.steps is not None
    graph = samples.graph.with_one() if extended else samples.graph
    return Loaded(variant, samples, asked.rows, asked.correct, graph, _directed(variant.perturbation.directions, samples.inputs))


def _directed(plan: DirectionsPlan | None, like: Tensor) -> Directed | None:
    """Raises DataError."""
    if plan is None or plan.array is None:
        return None if plan is None else Directed(plan.named)
    given = torch.tensor(array(plan.array).astype(np.float64), dtype=like.dtype, device=like.device)
    if not bool(torch.isfinite(given).all()):
        raise DataError(Problem("not_finite", plan.array.span, (plan.array.path,)))
    return Directed(given=given)


def stretch(perturbation: PerturbationPlan, like: Tensor, up: bool) -> Stretched | None:
    """The units of a set's numbers, if it has any, rounded up or down."""
    if perturbation.scale is None:
        return None
    return Stretched(like.new_tensor([[(at_least if up else at_most)(unit) for unit in row] for row in perturbation.scale]))


def _check_clip(variant: Variant, inputs: Tensor, numbers: tuple[int, ...]) -> None:
    clip = variant.perturbation.clip
    if clip is None:
        return
    lo, hi, spread = _ranges(clip, inputs)
    outside = ((inputs < lo - spread / 2) | (inputs > hi + spread / 2)).nonzero()  # the literals are exact, the data rounded
    if len(outside):
        sample, _, channel = outside[0].tolist()
        least, most = clip[channel if len(clip) > 1 else 0]
        raise DataError(Problem("outside_clip", variant.perturbation.span, (numbers[sample], f"{float(least):g}", f"{float(most):g}")))


def _ranges(clip: tuple[tuple[Fraction, Fraction], ...], like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The ends of a clip, and what their roundings and those of numbers in it are less than. shape: each [1] or [n]."""
    ends = [(float(lo), float(hi)) for lo, hi in clip]
    lo, hi, spread = like.new_tensor([[lo, hi, spacing(lo, hi, like.dtype)] for lo, hi in ends]).unbind(1)
    return lo, hi, spread


def text_of(variant: Variant, case: Case) -> TextInput | None:
    """The text that a row is about, if it is about one."""
    match variant.input:
        case TextInput() as text:
            return text
        case TextsInput(texts=texts):
            return texts[case.position]
    return None
