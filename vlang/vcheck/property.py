"""What a certificate claims of the outputs: that a class is not beaten, or linear inequalities over them and their values at the input itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from .errors import InvalidError
from .network import Node
from .rationals import rational
from .region import Region
from .statement import Statement
from .vectors import ONE, ZERO, Array, Vector, exact, matrix

#: By number of an output, its factor.
Terms = list[tuple[int, Fraction]]
#: What an inequality is a sum of, besides its constant.
PARTS = ("output", "nominal", "absolute")


@dataclass(frozen=True)
class Demands:
    """rows @ (the last node's values) must stay below `most`, a row each; in words. some: one of them is enough. shape: rows [T, width]."""

    rows: Array
    most: Vector
    words: str
    some: bool = False


def of_classes(label: Any, against: list[Any], classes: int) -> Demands:
    """Rows over the outputs that must stay below zero: those of the other classes minus the label's."""
    if not all(type(c) is int and 0 <= c < classes for c in [label, *against]) or label in against or not against:
        raise ValueError("its classes are not those of the network")
    one = np.eye(classes)
    return Demands(one[against] - one[label], [ZERO] * len(against), f"class {label} is not beaten by {against}")


def of_property(said: list[Any], some: Any, nodes: list[Node], whole: Region) -> Demands:
    """Adds a last node to the network, the outputs and the number 1, which is what its certificates are about."""
    width, last = nodes[-1].width, len(nodes) - 1
    if not said or type(some) is not bool or any(set(part) != {*PARTS, "constant"} for part in said):
        raise ValueError("it does not say what has to hold of the outputs")
    at_rest = [(lo.union(hi)) for lo, hi in Statement(nodes, replace(whole, radii={}, chart=None), {}).boxes[last]]
    rows, most, words = np.zeros((len(said), width + 1)), [], []
    for row, part in zip(rows, said, strict=True):
        output, nominal, absolute = (_terms(part[name], width) for name in PARTS)
        for i, factor in output:
            row[i] = float(factor)
        if not row.any() or any(Fraction(row[i]) != factor for i, factor in output):
            raise InvalidError("float64 does not hold a factor of an output, or there is none")
        constant = rational(part["constant"], None)
        fixed = exact(constant)
        for c, v in [*((c, at_rest[i]) for i, c in nominal), *((c, abs(at_rest[i])) for i, c in absolute)]:
            fixed += exact(c) * v
        most.append(-fixed)
        words.append(_in_words((output, nominal, absolute), constant))
    eye = np.eye(width + 1)
    nodes.append(Node("outputs and 1", width + 1, terms=[((last, 0, width), matrix(eye[:, :width]))], bias=[*[ZERO] * width, ONE]))
    return Demands(rows, most, ("at every point " + " or ".join(words) if some else " and ".join(words)), some)


def _terms(said: Any, width: int) -> Terms:
    """Factors by number; each number once."""
    found = [(i, rational(c, None)) for i, c in said]
    if any(type(i) is not int or not 0 <= i < width for i, _ in found) or len({i for i, _ in found}) < len(found):
        raise ValueError("its outputs are not those of the network")
    return found


def _in_words(sums: Sequence[Terms], constant: Fraction) -> str:
    names = ("output[{}]", "nominal[{}]", "abs(nominal[{}])")
    parts = [(c, name.format(i)) for name, terms in zip(names, sums, strict=True) for i, c in terms]
    text = " ".join(f"{'-' if c < 0 else '+'} {'' if abs(c) == 1 else f'{abs(c)} '}{name}" for c, name in parts)
    return f"{text.removeprefix('+ ')} <= {-constant}"
