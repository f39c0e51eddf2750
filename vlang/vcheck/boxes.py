"""A set in boxes: a tree of cuts, whose leaves are proved, or outside the set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from flint import arb

from .errors import InvalidError
from .region import Region
from .vectors import Array, Interval, exact, largest, total

#: A box, by frame: the ends of its numbers.
Box = dict[int, list[Interval]]


def leaves(tree: list[list[Any]], whole: Region) -> Iterator[tuple[int, Box]]:
    """The boxes that have to be proved, by number. Raises InvalidError where a leaf is not outside that says so.

    tree: the whole first; each is ["cut", frame, number, place, left, right], ["proved", number] or ["outside"].
    """
    if whole.at_most < len(whole.frames):
        raise ValueError("its boxes are those of sets in which all frames move at once")
    pending: list[tuple[int, Box]] = [(0, {k: whole.ends(k) for k in whole.frames})]
    while pending:
        at, box = pending.pop()
        kind, *said = tree[at]
        if kind == "outside":
            if not outside(box, whole):
                raise InvalidError("a box that is said to be outside the set is not")
        elif kind == "proved":
            (number,) = said
            if type(number) is not int:
                raise ValueError("a box has no number")
            yield number, box
        elif kind == "cut":
            frame, number, place, left, right = said
            if not (isinstance(place, float) and all(type(i) is int and at < i < len(tree) for i in (left, right))):
                raise ValueError("a cut is none")
            low, high = box[frame][number]
            halves: list[Interval] = [(low, arb(place)), (arb(place), high)]
            for to, half in zip((left, right), halves, strict=True):
                row = list(box[frame])
                row[number] = half
                pending.append((to, {**box, frame: row}))
        else:
            raise ValueError(f"{kind!r} is no part of a tree of boxes")


def outside(box: Box, whole: Region) -> bool:
    """Whether no point of a box is in the balls: some number's ends are the wrong way round, or some frame is too far from the middle."""
    for k, ends in box.items():
        near = [low.max(-high).max(arb(0)).lower() for low, high in ends]
        if any(low > high for low, high in ends) or _norm(near, whole) > whole.radii[k]:
            return True
    return False


def _norm(size: list[arb], whole: Region) -> arb:
    """A lower bound of the p-norm of numbers >= 0."""
    if whole.norm is None:
        return largest(size)
    if whole.norm == 1:
        return total(size)
    if whole.norm == 2:
        return total(x * x for x in size).sqrt()
    p = exact(whole.norm)
    return total(x**p for x in size if x > 0) ** (1 / p)


def region_of(box: Box, offset: Array, whole: Region) -> Region:
    """The box, seen from a middle."""
    radii = {k: largest(low.abs_upper().max(high.abs_upper()) for low, high in ends) for k, ends in box.items()}
    return replace(whole, radii=radii, norm=None, clip=None, chart=None, offset=offset, box=box)
