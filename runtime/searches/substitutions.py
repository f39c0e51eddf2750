"""Words that become others: every substitution is tried, or ruled out together with others by a bound on all that they may become.

Sets of substitutions are cut by what one more word becomes; planes on the hull of what is left rule out most of them (runtime/README.md, section 10).
What is certified is certified of every single point: the network's value there is enclosed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlang.runtime.attacks.witness import misclassifies
from vlang.runtime.bounds.interval import Interval
from vlang.runtime.bounds.linear import Linear, by_rule
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.graph.concrete import of_rows
from vlang.runtime.graph.enclosure import enclosed, surely_below
from vlang.runtime.graph.nodes import Graph
from vlang.runtime.late import LateError
from vlang.runtime.sets.ball import Ball
from vlang.runtime.sets.hull import Hull

#: Points evaluated at once; sets bounded at once; sets of no more points than this are not bounded; and the most of either.
AT_ONCE, BOUNDED_AT_ONCE, WORTH_BOUNDING, MOST = 1024, 32, 400, 2_000_000
#: Tokens by number, the text's own where nothing changes.
Tokens = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Choices:
    """What the words of a text may become. own: its tokens; others: of every frame, those that it may become. embedding: of all, [tokens, n].

    at_most: words that may change at once.
    """

    own: Tokens
    others: tuple[Tokens, ...]
    embedding: Tensor
    at_most: int

    @property
    def open(self) -> tuple[int, ...]:
        return tuple(k for k, others in enumerate(self.others) if others)

    def count(self, left: Sequence[int], changes: int) -> int:
        """How many ways there are to change exactly so many of some frames: an elementary symmetric polynomial."""
        ways = [1] + [0] * changes
        for k in left:
            for j in range(changes, 0, -1):
                ways[j] += ways[j - 1] * len(self.others[k])
        return ways[changes]

    def points(self, texts: Sequence[Tokens]) -> Tensor:
        """shape: -> [P, m, n]."""
        return self.embedding[torch.tensor(texts, device=self.embedding.device)]


@dataclass(frozen=True)
class Part:
    """Texts in which some frames are decided, and exactly so many of those in `left` become something else."""

    text: Tokens
    left: tuple[int, ...]
    changes: int


@dataclass(frozen=True, eq=False)
class Found:
    """margin: certified of every substitution, where nothing is open. counterexample: a text, tested exactly. tried: points and sets."""

    margin: float
    counterexample: Tokens | None
    tried: int
    depth: int
    open: bool
    late: bool = False


class Substitutions:
    """Of one row. rows: over the outputs; those for proofs and for counterexamples. shape: [T, outputs] each."""

    def __init__(self, graph: Graph, choices: Choices, rows: Tensor, above: Tensor, some: bool, late: Callable[[], bool]) -> None:
        self.graph, self.choices, self.rows, self.above, self.some, self.late = graph, choices, rows, above, some, late
        self.tried = self.depth = 0
        self.margin = float("inf")

    def decide(self, changes: int) -> Found:
        """Of all substitutions of exactly so many words."""
        choices, queue = self.choices, [Part(self.choices.own, self.choices.open, changes)]
        try:
            while queue:
                if self.late():
                    raise LateError
                if self.tried > MOST:
                    return self._found(None, open_=True)
                parts, queue = queue[-BOUNDED_AT_ONCE:], queue[:-BOUNDED_AT_ONCE]
                small = [p for p in parts if choices.count(p.left, p.changes) <= WORTH_BOUNDING]
                wrong, undecided = self._all_of(small)
                if wrong is not None or undecided:
                    return self._found(wrong, open_=wrong is None)
                large = [p for p in parts if p not in small]
                queue += [piece for p, ok in zip(large, self._ruled_out(large), strict=True) if not ok for piece in self._split(p)]
        except LateError:
            return self._found(None, open_=True, late=True)
        return self._found(None, open_=False)

    def _found(self, wrong: Tokens | None, open_: bool, late: bool = False) -> Found:
        return Found(self.margin, wrong, self.tried, self.depth, open_, late)

    def _all_of(self, parts: Sequence[Part]) -> tuple[Tokens | None, bool]:
        """Every text of some sets: a counterexample if there is one, and whether some text is not decided."""
        undecided = False
        for texts in batched(itertools.chain.from_iterable(map(self._texts, parts)), AT_ONCE):
            if self.late():
                raise LateError
            values = self._margins(texts)
            self.tried += len(texts)
            for i in (~(values > 0)).nonzero().flatten().tolist():
                exactly, value = self._exactly(texts[i])
                if exactly is False:
                    return texts[i], False
                undecided = undecided or exactly is None
                values[i] = value if exactly else values[i]
            self.margin = min(self.margin, float(values.min()))
        return None, undecided

    def _texts(self, part: Part) -> Iterator[Tokens]:
        for frames in itertools.combinations(part.left, part.changes):
            for words in itertools.product(*(self.choices.others[k] for k in frames)):
                text = list(part.text)
                for k, word in zip(frames, words, strict=True):
                    text[k] = word
                yield tuple(text)

    def _margins(self, texts: Sequence[Tokens]) -> Tensor:
        """Lower bounds at points, which do not move. shape: -> [P]."""
        points = self.choices.points(texts)
        still = Ball(points.new_zeros(points.shape[:2]), None)
        walk = Interval(Nominal.at(self.graph, points), still).run()
        return of_rows(walk.upper(self.graph.output, self.rows.expand(len(points), -1, -1)), self.some).nan_to_num(nan=-torch.inf)

    def _exactly(self, text: Tokens) -> tuple[bool | None, float]:
        """Whether what is asked holds at a point, in ball arithmetic; None where that does not say. And a margin above 0 that it has, if it holds."""
        point = self.choices.points([text])[0]
        if misclassifies(self.graph, point, self.above, self.some):
            return False, 0.0
        values = enclosed(self.graph, point)[self.graph.output]
        holds = (any if self.some else all)(surely_below(values, row) for row in self.rows.tolist())
        return (True, 0.0) if holds else (None, 0.0)

    def _ruled_out(self, parts: Sequence[Part]) -> list[bool]:
        """Which sets planes certify as a whole."""
        if not parts:
            return []
        self.tried += len(parts)
        choices = self.choices
        points = choices.points([p.text for p in parts])
        most = max(len(choices.others[k]) for k in choices.open)
        steps = points.new_zeros(len(parts), points.shape[1], most, points.shape[2])
        size = torch.zeros_like(points)
        for b, part in enumerate(parts):
            for k in part.left:
                there = choices.embedding[list(choices.others[k])]
                steps[b, k, : len(there)] = there - points[b, k]
                size[b, k] = there.abs().amax(0) + points[b, k].abs()
        hull = Hull(steps, size, torch.tensor([p.changes for p in parts], device=points.device))
        walk = Linear(Nominal.at(self.graph, points, late=self.late), hull, by_rule("plane")).run()
        found = of_rows(walk.upper(self.graph.output, self.rows.expand(len(parts), -1, -1)), self.some).nan_to_num(nan=-torch.inf)
        ok = found > 0
        if bool(ok.any()):
            self.margin = min(self.margin, float(found[ok].min()))
        return [bool(x) for x in ok]

    def _split(self, part: Part) -> list[Part]:
        """By the first frame that is left: it stays, or becomes each of the others."""
        first, *rest = part.left
        left = tuple(rest)
        self.depth = max(self.depth, len(self.choices.open) - len(rest))
        pieces = [Part(part.text, left, part.changes)] if part.changes <= len(left) else []
        for word in self.choices.others[first]:
            text = (*part.text[:first], word, *part.text[first + 1 :])
            pieces.append(Part(text, left, part.changes - 1))
        return pieces


def batched(texts: Iterator[Tokens], size: int) -> Iterator[list[Tokens]]:
    while chunk := list(itertools.islice(texts, size)):
        yield chunk
