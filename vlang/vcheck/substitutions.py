"""Words that may become others: the network's outputs at every single substitution, enclosed in balls."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from flint import arb, arb_mat, ctx

from .errors import InvalidError
from .functions import VALUES
from .network import Node
from .property import Demands
from .statement import BITS, STILL_BITS
from .vectors import Array, matrix

#: Substitutions looked at together; bits for every word, as enclosures widen at each step.
AT_ONCE, BITS_A_WORD = 64, 8
Tokens = tuple[int, ...]


class Alternatives:
    """others: of every word, the numbers of tokens that it may become; so many at once. table: of all embeddings. what: of which these are."""

    what = "words"

    def __init__(self, stated: dict[str, Any], tokens: Any, table: Array) -> None:
        self.others, self.at_most, self.table = stated["alternatives"], stated["at_most"], table
        if tokens is None or type(self.at_most) is not int or self.at_most < 0 or len(self.others) != len(tokens):
            raise ValueError("its alternatives do not fit its words")
        if set(stated) != {"alternatives", "at_most"} or any(type(i) is not int or not 0 <= i < len(table) for row in self.others for i in row):
            raise ValueError("its alternatives are no tokens")
        self.own: Tokens = tuple(tokens)

    def texts(self) -> Iterator[Tokens]:
        """Every one, the text itself among them."""
        frames = [k for k, others in enumerate(self.others) if others]
        for count in range(min(self.at_most, len(frames)) + 1):
            for changed in itertools.combinations(frames, count):
                for words in itertools.product(*(self.others[k] for k in changed)):
                    text = list(self.own)
                    for k, word in zip(changed, words, strict=True):
                        text[k] = word
                    yield tuple(text)

    @property
    def words(self) -> str:
        frames = [k for k, others in enumerate(self.others) if others]
        moved = ", ".join(f"{k} ({len(self.others[k])})" for k in frames)
        return f"while at most {self.at_most} of its {self.what} become others that it lists: {moved or 'none'}"


def of_frames(stated: dict[str, Any], x: Array, given: Array) -> Alternatives:
    """Frames of numbers that become rows of a given array: as tokens of a table that is the input's own frames, and those rows behind them."""
    stated = dict(stated)
    if given.ndim != 2 or given.shape[1:] != x.shape[1:] or hashlib.sha256(given.astype("<f8").tobytes()).hexdigest() != stated.pop("table", None):
        raise InvalidError("its alternatives are not those that their hash is of")
    found = Alternatives(stated, list(range(len(x))), np.concatenate([x, given]))
    found.others = [[len(x) + i for i in row] for row in found.others]
    if any(i >= len(found.table) for row in found.others for i in row):
        raise ValueError("its alternatives are no rows")
    found.what = "frames"
    return found


def prove(nodes: list[Node], alternatives: Alternatives, demands: Demands) -> int:
    """How many texts there are, of all of which what is demanded holds. Raises InvalidError."""
    texts, count = alternatives.texts(), 0
    while some := list(itertools.islice(texts, AT_ONCE)):
        left = some
        for bits in (BITS + BITS_A_WORD * len(alternatives.own), STILL_BITS):
            if left:
                before, ctx.prec = ctx.prec, bits
                left = [text for text, ok in zip(left, _hold(nodes, alternatives.table, left, demands), strict=True) if not ok]
                ctx.prec = before
        if left:
            raise InvalidError(f"the margin is not proved where its words are the tokens {list(left[0])}")
        count += len(some)
    return count


def _hold(nodes: list[Node], table: Array, texts: Sequence[Tokens], demands: Demands) -> list[bool]:
    values: list[list[list[arb]]] = []  # of a node, a row for each unit, a column for each text

    for node in nodes:
        if node.frame is not None:
            values.append(matrix(table[[text[node.frame] for text in texts]].T).tolist())
        elif node.op:
            args = [values[i][start:stop] for i, start, stop in node.args]
            values.append([[VALUES[node.op](*y) for y in zip(*rows, strict=True)] for rows in zip(*args, strict=True)])
        else:
            total = arb_mat([[b] * len(texts) for b in node.bias])
            for (i, start, stop), weight in node.terms:
                part = arb_mat(values[i][start:stop])
                total += part if weight is None else weight * part
            values.append(total.tolist())
    found = (matrix(demands.rows) * arb_mat(values[-1])).tolist()
    below = [[value < most for value, most in zip(column, demands.most, strict=True)] for column in zip(*found, strict=True)]
    return [any(x) if demands.some else all(x) for x in below]
