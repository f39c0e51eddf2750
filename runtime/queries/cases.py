"""Rows to be answered: of every sample, target, output and set of frames."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor

from vlang.plan import DatasetInput, StepsPlan, TextsInput, Variant
from vlang.property import Inequality
from vlang.runtime.queries.demands import Constant, constants_of, holding, outputs_in_words
from vlang.runtime.queries.samples import Samples

#: A target as the report names it, and the classes it is about.
TargetRow = tuple[str | int, tuple[int, ...]]
#: The same of several steps: (step, class).
Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Case:
    """One row to be answered. `position`: of the sample in its batch of inputs.

    wanted: inequalities of the outputs that have to hold, in place of the label's lead over classes; constants: of those, all that is no output.
    holds: whether they do at the centre. said, found: label and prediction in words, where they are no classes. step: of the output, if it has one.
    """

    position: int
    sample: int
    label: int
    predicted: int
    target: str | int
    classes: tuple[int, ...]
    frames: tuple[int, ...]
    wanted: tuple[Inequality, ...] = ()
    constants: tuple[Constant, ...] = ()
    holds: bool = True
    said: str = ""
    found: str = ""
    step: int | None = None

    @property
    def correct(self) -> bool:
        return self.holds if self.wanted else self.label == self.predicted

    @property
    def rows(self) -> int:
        """Rows over the outputs that must stay below 0."""
        return len(self.wanted or self.classes)

    def generator(self, seed: int) -> torch.Generator:
        """Random numbers of this row's own: the same in whatever company it is asked about."""
        text = f"{seed}:{self.sample}:{self.label}:{self.classes}:{self.frames}" + ("" if self.step is None else f":{self.step}")
        return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1)


@dataclass(frozen=True)
class Cases:
    """correct: how many samples are answered right where they are asked about, of all. kept: how many are asked about."""

    rows: tuple[Case, ...]
    correct: int
    kept: int


def cases_of(variant: Variant, samples: Samples) -> Cases:
    """A variant's rows."""
    asked = _Asked(variant, samples)
    rows: list[Case] = []
    correct = kept = 0
    for i in range(len(samples.numbers)):
        found = list(asked.about(i))
        rows += [replace(case, frames=frames) for case in found for frames in variant.perturbation.frames.rows]
        correct += asked.right(i, found)
        kept += bool(found)
    return Cases(tuple(rows), correct, kept)


class _Asked:
    """Of every sample, the outputs of each step, [T, outputs], the labels there and the predictions; a single step for most networks."""

    def __init__(self, variant: Variant, samples: Samples) -> None:
        self.variant, self.samples, self.steps = variant, samples, variant.steps
        outputs = samples.network.classes if self.steps is None else self.steps.outputs
        self.outputs = outputs
        self.values = samples.logits.reshape(len(samples.logits), -1, outputs)
        self.predicted = [tuple(x) for x in self.values.argmax(-1).tolist()]
        self.labels = self.predicted if samples.labels is None else samples.labels
        self.only_correct = isinstance(variant.input, DatasetInput | TextsInput) and variant.input.correct
        self.property = variant.target.property

    def right(self, i: int, found: list[Case]) -> bool:
        """Whether a sample is answered as it should be, wherever it is asked about."""
        if self.property is not None:
            return bool(found) and all(c.holds for c in found)
        steps = self.steps or StepsPlan(((0,),), self.outputs, False)
        return all(self.labels[i][t] == self.predicted[i][t] for row in steps.rows for t in row)

    def about(self, i: int) -> Iterator[Case]:
        """The rows of one sample, for any frames."""
        if self.steps is None:
            if self.only_correct and self.labels[i] != self.predicted[i]:
                return
            if self.property is not None:
                yield self._case(i, (0,), self.property.text, self._property(i, (0,)))
                return
            (label,), (predicted,), number = self.labels[i], self.predicted[i], self.samples.numbers[i]
            for target, classes in _targets(self.variant, label, self.values[i, 0].tolist(), f"{number}"):
                yield Case(i, number, label, predicted, target, classes, ())
            return
        for row in self.steps.rows:
            if not self.only_correct or all(self.labels[i][t] == self.predicted[i][t] for t in row):
                yield from self._stepwise(i, row)

    def _stepwise(self, i: int, row: tuple[int, ...]) -> Iterator[Case]:
        """Of some steps together."""
        if self.property is not None:
            yield self._case(i, row, self.property.text, self._property(i, row))
        elif self.variant.target.kind == "phrase":
            phrase = dict(zip(row, self.variant.target.phrase, strict=True))
            ahead = tuple(self._behind(t, w, j) for t, w in phrase.items() for j in range(self.outputs) if j != w)
            yield self._case(i, row, " ".join(str(self.variant.network.label_name(w)) for w in phrase.values()), ahead)
        else:
            for target, pairs in self._pairs(i, row):
                yield self._case(i, row, target, tuple(self._behind(t, j, self.labels[i][t]) for t, j in pairs))

    def _pairs(self, i: int, row: tuple[int, ...]) -> Iterator[tuple[str | int, Pairs]]:
        """Targets, and the classes that must not win at the steps where they are no labels."""
        number, kind = self.samples.numbers[i], self.variant.target.kind
        each = {t: _targets(self.variant, self.labels[i][t], self.values[i, t].tolist(), f"{number}:{t}") for t in row}
        if kind == "each" or len(row) == 1:
            names = sorted({name for found in each.values() for name, _ in found}, key=str)
            for name in names:
                yield name, tuple((t, j) for t in row for target, classes in each[t] if target == name for j in classes)
            return
        pairs = tuple((t, j) for t in row for _, classes in each[t] for j in classes)
        if pairs:
            yield (self.variant.network.label_name(self.variant.target.index) if kind == "class" else kind), pairs

    def _behind(self, step: int, one: int, other: int) -> Inequality:
        """That a class is behind another one at a step."""
        return Inequality(((step * self.outputs + one, Fraction(1)), (step * self.outputs + other, Fraction(-1))))

    def _property(self, i: int, row: tuple[int, ...]) -> tuple[Inequality, ...]:
        assert self.property is not None
        return tuple(w.scaled().shifted(t * self.outputs) for t in row for w in self.property.of(self.values[i, t].tolist()))

    def _case(self, i: int, row: tuple[int, ...], target: str | int, wanted: tuple[Inequality, ...]) -> Case:
        samples, name = self.samples, self.variant.network.label_name
        deployed = self.variant.engine.semantics == "deployed32"
        constants = constants_of(wanted, samples.graph, samples.inputs[i], samples.logits[i], deployed)
        step = row[0] if self.steps is not None and self.steps.apart else None
        if self.property is not None:
            holds = bool(holding(wanted, constants, samples.logits[i]).all())
            said = outputs_in_words(_of(self.values[i], row))
            return Case(i, samples.numbers[i], 0, 0, target, (), (), wanted, constants, holds, said, said if holds else f"{said}, violated", step)
        holds = all(self.labels[i][t] == self.predicted[i][t] for t in row)
        if self.variant.target.kind == "phrase":
            holds = bool(holding(wanted, constants, samples.logits[i]).any())
        said, found = (" ".join(str(name(x[i][t])) for t in row) for x in (self.labels, self.predicted))
        return Case(i, samples.numbers[i], 0, 0, target, (), (), wanted, constants, holds, said, found, step)


def _of(values: Tensor, row: tuple[int, ...]) -> list[float]:
    found: list[float] = values[list(row)].flatten().tolist()
    return found


def _targets(variant: Variant, label: int, values: list[float], key: str) -> list[TargetRow]:
    """The rows of a target on one sample; none where the target is the label itself. key: of what is drawn at random."""
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
            j = random.Random(f"{variant.target.seed}:{key}").choice(others)
            return [(name(j), (j,))]
    j = max(others, key=lambda c: values[c])  # runner_up
    return [(name(j), (j,))]
