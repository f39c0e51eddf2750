"""Numbers as text, rounded in the direction that keeps what they claim true."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from types import MappingProxyType

from vlang.words.queries import Rounding


def down(value: float | Fraction, digits: int = 6) -> str:
    """At most `value`: for radii, margins and lower bounds."""
    return _rounded(value, digits, ROUND_FLOOR)


def up(value: float | Fraction, digits: int = 6) -> str:
    """At least `value`: for upper bounds."""
    return _rounded(value, digits, ROUND_CEILING)


def near(value: float | Fraction, digits: int = 6) -> str:
    """About `value`: for what is no bound."""
    return _rounded(value, digits, ROUND_HALF_EVEN)


#: How a number is rounded that claims something, by what its word says (`Query.shown`).
ROUNDED: Mapping[Rounding, Callable[..., str]] = MappingProxyType({"down": down, "up": up, "near": near})


def exactly(value: Fraction) -> str:
    """An exact number as a person would write it."""
    decimal = repr(float(value))
    if value.denominator == 1:
        return str(value.numerator)
    return decimal if Fraction(decimal) == value or len(str(value)) > 20 else str(value)


def _rounded(value: float | Fraction, digits: int, rounding: str) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    exact = Fraction(value)
    return f"{float(Context(prec=digits, rounding=rounding).divide(Decimal(exact.numerator), Decimal(exact.denominator))):.{digits}g}"
