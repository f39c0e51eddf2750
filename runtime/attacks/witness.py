"""Witnesses: inputs that were tested to be in the set, exactly, and to change the class of the concrete network."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from torch import Tensor

from vlang.runtime.graph.enclosure import enclosed, surely_below
from vlang.runtime.graph.nodes import Graph

#: The distance of a witness is rounded up until the exact test agrees: by so many units of the last place, doubling.
MOST_ULPS = 2**20


@dataclass(frozen=True)
class Limits:
    """A perturbation set at eps = 1, exactly. weights: one a frame, 0 for a frame that is fixed. norm: None for infinity. scale: [m][n], if any.

    clip: of all numbers of a frame, or of each.
    """

    weights: tuple[Fraction, ...]
    norm: Fraction | None
    at_most: int | None
    clip: tuple[tuple[Fraction, Fraction], ...] | None
    scale: tuple[tuple[Fraction, ...], ...] | None = None


#: Powers of numbers near 1 beyond which float64 knows nothing.
LARGEST_POWER = 2**40


def misclassifies(graph: Graph, point: Tensor, rows: Tensor, some: bool = False) -> bool:
    """Whether some class asked about is surely ahead of the label there: the forward pass is enclosed. shape: point [m, n], rows [T, classes].

    some: whether all rows have to be above 0.
    """
    logits = enclosed(graph, point)[graph.output]
    return (all if some else any)(surely_below(logits, row) for row in (-rows).tolist())


def distance(limits: Limits, centre: Tensor, point: Tensor, about: float) -> float | None:
    """The smallest float64 eps near `about` whose set surely holds the point; None where there is none."""
    ulps, eps = 0, about
    while ulps <= MOST_ULPS:
        if contains(limits, centre, point, Fraction(eps)):
            return eps
        ulps = max(1, 2 * ulps)
        eps = about * (1 + ulps * 2.0**-52)
    return None


def replay(graph: Graph, centre: Tensor, point: Tensor, rows: Tensor, eps: Fraction, limits: Limits, some: bool = False) -> bool:
    """Whether `point` is in the set of radius eps and some class asked about is ahead there. shape: centre, point [m, n]; rows [T, classes]."""
    return contains(limits, centre, point, eps) and misclassifies(graph, point, rows, some)


def contains(limits: Limits, centre: Tensor, point: Tensor, eps: Fraction) -> bool:
    """Whether `point` is in the set of radius eps, tested in exact rational arithmetic.

    For a norm that is not rational to evaluate (p other than 1, 2, inf) the test is float64 on ratios to the radius, with a safety larger than
    its rounding.
    """
    moved = 0
    for k in range(centre.shape[0]):
        delta = [abs(Fraction(b) - Fraction(a)) for a, b in zip(centre[k].tolist(), point[k].tolist(), strict=True)]
        moved += any(delta)
        if limits.scale is not None:
            if any(x and not unit for x, unit in zip(delta, limits.scale[k], strict=True)):
                return False
            delta = [x / unit if unit else x for x, unit in zip(delta, limits.scale[k], strict=True)]
        if not _within(delta, limits.weights[k] * eps, limits.norm):
            return False
    if limits.at_most is not None and moved > limits.at_most:
        return False
    still, clip = (point == centre).flatten().tolist(), limits.clip
    ranges = [] if clip is None else clip * (point.numel() // len(clip))  # frame by frame
    return clip is None or all(same or lo <= Fraction(v) <= hi for v, same, (lo, hi) in zip(point.flatten().tolist(), still, ranges, strict=True))


def _within(delta: list[Fraction], radius: Fraction, norm: Fraction | None) -> bool:
    if norm is None:
        return max(delta) <= radius
    if norm == 1:
        return sum(delta) <= radius
    if norm == 2:
        return sum(x * x for x in delta) <= radius * radius
    if radius == 0:
        return not any(delta)
    ratios = [x / radius for x in delta]
    if max(ratios) > 1:
        return False
    if max(ratios) <= 1 - Fraction(len(ratios).bit_length()) / norm:  # n max^p <= 1, for (1 - t/p)^p <= exp(-t) <= 1/n: all there is for large p
        return True
    if norm > LARGEST_POWER:
        return False
    p = float(norm)
    size: float = sum(float(x) ** p for x in ratios)
    return size <= 1 - 1e-12 - (4 * p + len(ratios)) * 2.0**-53
