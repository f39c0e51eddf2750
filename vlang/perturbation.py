"""The set that is asked about, in the Plan: balls of frames, directions, or alternatives of words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Literal

from vlang.array import ArrayPlan
from vlang.text.source import Span


@dataclass(frozen=True)
class FrameSet:
    """Which frames move. `rows`: one tuple of frames a row (several for `each`). `at_most`: for any(k)."""

    rows: tuple[tuple[int, ...], ...]
    at_most: int | None = None


@dataclass(frozen=True)
class DirectionsPlan:
    """x + sum_j theta_j D_j. named: words of vlang/words/sets.py, each with the channel that it is about, None for all; or an array D [d, m, n]."""

    named: tuple[tuple[str, int | None], ...] = ()
    array: ArrayPlan | None = None

    @property
    def count(self) -> int:
        return len(self.named) if self.array is None else self.array.shape[0]

    @property
    def words(self) -> str:
        """As a spec says it."""
        if self.array is not None:
            return f"the {self.count} of {self.array.path}"
        return f"[{', '.join(word if channel is None else f'{word}({channel})' for word, channel in self.named)}]"


@dataclass(frozen=True)
class AlternativesPlan:
    """What words may become. listed: numbers of tokens, by the word as a text has it; or nearest: so many, by the distance of their embeddings.

    path: of the file that lists them; unknown: words in it that the vocabulary has not, which are read as any unknown word. words: of every token.
    exact: whether words are a tokenizer's tokens, which are found as they are. array: of inputs that are no texts, what each frame may become,
    [frames, k, numbers], the same for all samples or for each [samples, ..].
    """

    listed: tuple[tuple[str, tuple[int, ...]], ...] = ()
    nearest: int = 0
    path: str | None = None
    words: tuple[str, ...] = field(default=(), repr=False)
    unknown: tuple[str, ...] = ()
    array: ArrayPlan | None = None
    exact: bool = False

    @cached_property
    def by_word(self) -> Mapping[str, tuple[int, ...]]:
        """By the word as it is written, and in small letters, where several are one, what any of them may become."""
        if self.exact:
            return dict(self.listed)
        found: dict[str, tuple[int, ...]] = {}
        for word, ids in self.listed:
            found[word.lower()] = (*found.get(word.lower(), ()), *ids)
        return {word: tuple(dict.fromkeys(ids)) for word, ids in found.items()} | dict(self.listed)

    @property
    def shown(self) -> str:
        if self.array is not None:
            return f"one of {self.array.shape[-2]} others of {self.array.path}"
        return f"the nearest {self.nearest} words" if self.path is None else f"those of {self.path}"


@dataclass(frozen=True)
class PerturbationPlan:
    """norm: p, or None for infinity. clip: the valid range of all numbers of a frame, or of each. weights: one a frame.

    scale: units of every frame's numbers. shape: scale [m][n].
    directions: in which a sample moves as a whole, in place of frames. alternatives: what words become, in place of balls, whose norm means nothing.
    """

    frames: FrameSet
    norm: Fraction | None
    space: Literal["input", "embedding"]
    clip: tuple[tuple[Fraction, Fraction], ...] | None
    weights: tuple[Fraction, ...] | None
    span: Span = field(compare=False)
    scale: tuple[tuple[Fraction, ...], ...] | None = None
    directions: DirectionsPlan | None = None
    alternatives: AlternativesPlan | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that say what moves."""
        made_of = self.directions or self.alternatives
        array = None if made_of is None else made_of.array
        listed = None if self.alternatives is None else self.alternatives.path
        return tuple(path for path in (None if array is None else array.path, listed) if path is not None)

    @property
    def norm_value(self) -> float | str:
        """As the report writes it: a number or 'inf', and along which directions; 'words' or 'alternatives' where they are counted."""
        if self.alternatives is not None:
            return "words" if self.alternatives.array is None else "alternatives"
        norm: float | str = "inf" if self.norm is None else int(self.norm) if self.norm.denominator == 1 else float(self.norm)
        return norm if self.directions is None else f"{norm} along {self.directions.words}"
