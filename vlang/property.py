"""Properties of a network's outputs: linear inequalities over the outputs and what they are at the set's centre, of which all have to hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

#: By number of an output, its factor.
Terms = tuple[tuple[int, Fraction], ...]


@dataclass(frozen=True)
class Inequality:
    """outputs + nominal + absolute + constant <= 0: sums over the outputs, their values at the centre, and the absolute values of those."""

    outputs: Terms
    nominal: Terms = ()
    absolute: Terms = ()
    constant: Fraction = Fraction(0)

    def shifted(self, by: int) -> Inequality:
        """The same of the outputs that stand so many places later."""
        outputs, nominal, absolute = (tuple((i + by, c) for i, c in terms) for terms in (self.outputs, self.nominal, self.absolute))
        return replace(self, outputs=outputs, nominal=nominal, absolute=absolute)

    @property
    def scale(self) -> int:
        """What makes the outputs' factors whole numbers, where float64 does not hold them all; else 1."""
        factors = [c for _, c in self.outputs]
        if all(Fraction(float(c)) == c for c in factors):
            return 1
        return math.lcm(*(c.denominator for c in factors))

    def scaled(self) -> Inequality:
        """The same, with factors of the outputs that float64 holds (`PropertyType` sees to it that there are some)."""
        by = self.scale
        outputs, nominal, absolute = (tuple((i, c * by) for i, c in terms) for terms in (self.outputs, self.nominal, self.absolute))
        return Inequality(outputs, nominal, absolute, self.constant * by)


@dataclass(frozen=True)
class Property:
    """text: as written. inequalities: of a condition. apart: how far every output may be from its value at the centre; share: as a share of that.

    side: what every output stays on its side of. logit: whether that is about the outputs' sigmoid.
    """

    text: str
    inequalities: tuple[Inequality, ...] = ()
    apart: Fraction | None = None
    share: bool = False
    side: Fraction | None = None
    logit: bool = False

    @property
    def largest(self) -> int:
        """The largest number of an output that it mentions."""
        return max((i for x in self.inequalities for i, _ in (*x.outputs, *x.nominal, *x.absolute)), default=0)

    def of(self, nominal: Sequence[float]) -> tuple[Inequality, ...]:
        """What has to hold of a network that gives so many outputs, these at the centre: their values decide sides and nothing else."""
        one, found = Fraction(1), list(self.inequalities)
        for i, value in enumerate(nominal):
            if self.apart is not None:
                beside = {"absolute": ((i, -self.apart),)} if self.share else {"constant": -self.apart}
                found += [Inequality(((i, s * one),), ((i, -s * one),), **beside) for s in (1, -1)]
            if self.side is not None:
                sign = -1 if value > self.side else 1
                found.append(Inequality(((i, sign * one),), constant=-sign * self.side))
        return tuple(found)
