"""What moves a sample in few dimensions: the nodes between theta, the only input, and the frames that the network reads.

Words say what theta of one does; every number of theirs is the nearest float64, and exact from there on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import InvalidError
from .network import Graph, Ref, Term
from .vectors import Array, matrix, vector

WORDS = ("gain", "offset", "drift", "shift", "noise_floor")


@dataclass(frozen=True)
class Directions:
    """named: words, each with the channel that it is about, None for all. given: the directions themselves. shape: x [m, n], given [d, m, n]."""

    x: Array
    named: list[tuple[str, int | None]]
    given: Array | None

    @property
    def count(self) -> int:
        return len(self.named) if self.given is None else len(self.given)

    @property
    def words(self) -> str:
        if self.given is not None:
            return f"{self.count} given directions"
        return ", ".join(word if channel is None else f"{word}({channel})" for word, channel in self.named)

    def frames(self, graph: Graph) -> list[Ref]:
        """The frames as theta moves them."""
        x, (m, n) = self.x, self.x.shape
        theta = graph.add("theta", self.count, frame=0)
        straight = np.stack([self._straight(j) for j in range(self.count)])
        terms: list[list[Term]] = [[(theta, matrix(straight[:, k].T))] for k in range(m)]
        for j, (word, channel) in enumerate(self.named):
            unit = np.eye(self.count)[j]
            if word == "shift":
                ways = graph.apply("ways", "relu", graph.affine("shift", [(theta, matrix(np.stack([unit, -unit])))]))
                gaps, zero = x[:-1] - x[1:], np.zeros((1, n))
                towards = self._seen(channel) * np.stack([np.concatenate([zero, gaps]), np.concatenate([-gaps, zero])])
                for k in range(m):
                    terms[k].append((ways, matrix(towards[:, k].T)))
            if word == "noise_floor":
                seen = self._seen(channel)
                lowest = x.min() if channel is None else x[:, channel].min()
                for k in range(m):
                    bias = vector(-(x[k] - lowest))
                    below = graph.affine(f"frame {k}, floor", [(theta, matrix(seen[:, None] * unit))], bias)
                    terms[k].append((graph.apply(f"frame {k}, raised", "relu", below), matrix(np.diag(seen))))
        return [graph.affine(f"frame {k}", of, vector(x[k])) for k, of in enumerate(terms)]

    def _straight(self, j: int) -> Array:
        """What is added for each unit of theta_j. shape: [m, n]."""
        if self.given is not None:
            found: Array = self.given[j]
            return found
        word, channel = self.named[j]
        m = len(self.x)
        time = np.repeat((np.arange(m) / max(1, m - 1))[:, None], self.x.shape[1], 1)
        kinds: dict[str, Callable[[], Array]] = {"gain": lambda: self.x, "offset": lambda: np.ones_like(self.x), "drift": lambda: time}
        return self._seen(channel) * kinds[word]() if word in kinds else np.zeros_like(self.x)

    def _seen(self, channel: int | None) -> Array:
        """1 for the numbers of a frame that a word is about. shape: [n]."""
        seen = np.ones(self.x.shape[1])
        if channel is not None:
            seen = np.eye(self.x.shape[1])[channel]
        return seen


def directions_of(stated: Any, x: Array, arrays: dict[str, Array]) -> Directions:
    """As a claim states them: words with channels, or the digest of an array beside it. Raises InvalidError or ValueError."""
    if isinstance(stated, str):
        given = arrays["directions"]
        if given.ndim != 3 or given.shape[1:] != x.shape or not len(given):
            raise ValueError("its directions do not fit its input")
        if hashlib.sha256(given.astype("<f8").tobytes()).hexdigest() != stated:
            raise InvalidError("its directions do not have the hash that it states")
        return Directions(x, [], given)
    named = [(word, channel) for word, channel in stated]
    if not named or any(word not in WORDS or not (c is None or (type(c) is int and 0 <= c < x.shape[1])) for word, c in named):
        raise ValueError("its directions are not known")
    return Directions(x, named, None)
