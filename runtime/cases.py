"""Plan to batches: every row of a query, with its tensors, grouped so that a group shares one graph."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from vlang.plan import DataError, DatasetInput, Problem, TextInput, Variant
from vlang.runtime import load
from vlang.runtime.ball import Ball
from vlang.runtime.bounds import Nominal
from vlang.runtime.graph import Graph
from vlang.runtime.network import Network

#: Below this many rows a pass is bound by launches, not arithmetic.
SMALLEST_GROUP = 16
#: A target as the report names it, and the classes it is about.
TargetRow = tuple[str | int, tuple[int, ...]]


@dataclass(frozen=True)
class Case:
    """One row to be answered. `position`: of the sample in its batch of inputs."""

    position: int
    sample: int
    label: int
    predicted: int
    target: str | int
    classes: tuple[int, ...]
    frames: tuple[int, ...]

    @property
    def correct(self) -> bool:
        return self.label == self.predicted


@dataclass(frozen=True, eq=False)
class Loaded:
    """A variant with its data in memory. shape: inputs [S, m, n]."""

    variant: Variant
    network: Network
    graph: Graph
    nominal: Nominal
    cases: tuple[Case, ...]

    def groups(self) -> Iterator[tuple[Case, ...]]:
        """Correctly classified cases with one number of classes, sorted by first perturbed frame and cut into groups of at least
        `SMALLEST_GROUP`: what lies before a group's first frame is computed once, not bounded."""
        for classes in sorted({len(c.classes) for c in self.cases}):
            group: list[Case] = []
            for case in sorted((c for c in self.cases if c.correct and len(c.classes) == classes), key=lambda c: c.frames[0]):
                if len(group) >= SMALLEST_GROUP and case.frames[0] != group[-1].frames[0]:
                    yield tuple(group)
                    group = []
                group.append(case)
            if group:
                yield tuple(group)

    def ball(self, cases: tuple[Case, ...]) -> Ball:
        """The perturbation sets at eps = 1."""
        p, x = self.variant.perturbation, self.nominal.inputs
        radii = torch.zeros(len(cases), x.shape[1], dtype=x.dtype, device=x.device)
        for i, case in enumerate(cases):
            for k in case.frames:
                radii[i, k] = 1.0 if p.weights is None else at_least(p.weights[k])
        room = None
        if p.clip is not None:
            at = x[[c.position for c in cases]]
            lo, hi = -at_least(-p.clip[0]), at_least(p.clip[1])
            spread = torch.finfo(x.dtype).eps * (abs(lo) + abs(hi))
            room = ((at - lo).clamp(min=0) + spread, (hi - at).clamp(min=0) + spread)
        return Ball(radii, p.norm, p.frames.at_most, room)

    def rows(self, cases: tuple[Case, ...]) -> Tensor:
        """Output differences y_j - y_label, one a class. shape: [B, T, classes]."""
        eye = torch.eye(self.network.classes, dtype=self.network.dtype, device=self.network.device)
        return torch.stack([eye[list(c.classes)] - eye[c.label] for c in cases])

    def centre(self, cases: tuple[Case, ...]) -> Nominal:
        return self.nominal.rows(torch.tensor([c.position for c in cases], device=self.nominal.inputs.device))


def at_least(exact: Fraction) -> float:
    """The smallest float64 not below an exact number."""
    value = float(exact)
    return value if Fraction(value) >= exact else math.nextafter(value, math.inf)


def prepare(variant: Variant, network: Network) -> Loaded:
    """Load a variant's samples and list its rows. Raises DataError."""
    inputs, labels, numbers = load.samples(variant.input, network)
    _check_clip(variant, inputs, numbers)
    graph = network.unroll(inputs.shape[1])
    nominal = Nominal.at(graph, inputs)
    predicted = nominal.logits.argmax(1).tolist()
    labels = predicted if labels is None else labels
    keep = [i for i in range(len(numbers)) if labels[i] == predicted[i] or not (isinstance(variant.input, DatasetInput) and variant.input.correct)]
    cases: list[Case] = []
    for i in keep:
        for target, classes in _targets(variant, labels[i], nominal.logits[i], numbers[i]):
            for frames in variant.perturbation.frames.rows:
                cases.append(Case(i, numbers[i], labels[i], predicted[i], target, classes, frames))
    if not cases and variant.target.kind == "class" and keep:
        raise DataError(Problem("target_is_label", variant.target.span, (variant.network.label_name(variant.target.index),)))
    return Loaded(variant, network, graph, nominal, tuple(cases))


def _targets(variant: Variant, label: int, logits: Tensor, sample: int) -> list[TargetRow]:
    """The rows of a target on one sample; none where the target is the label itself."""
    others = [j for j in range(logits.shape[0]) if j != label]
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
        case "runner_up":
            j = max(others, key=lambda c: float(logits[c]))
            return [(name(j), (j,))]


def _check_clip(variant: Variant, inputs: Tensor, numbers: tuple[int, ...]) -> None:
    clip = variant.perturbation.clip
    if clip is None:
        return
    lo, hi = float(clip[0]), float(clip[1])
    slack = torch.finfo(inputs.dtype).eps * max(abs(lo), abs(hi))  # the literals are exact, the data rounded
    outside = ((inputs < lo - slack) | (inputs > hi + slack)).flatten(1).any(1).nonzero().flatten().tolist()
    if outside:
        raise DataError(Problem("outside_clip", variant.perturbation.span, (numbers[outside[0]], f"{lo:g}", f"{hi:g}")))


def tokens(variant: Variant, frames: tuple[int, ...]) -> tuple[str, ...] | None:
    return tuple(variant.input.tokens[k] for k in frames) if isinstance(variant.input, TextInput) else None
