"""Numbers as text, rounded in the direction that keeps what they claim true."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context
from fractions import Fraction
from types import MappingProxyType

from vlang.words.queries import Rounding


def down(value: float, digits: int = 6) -> str:
    """At most `value`: for radii, margins and lower bounds."""
    return _rounded(value, digits, ROUND_FLOOR)


def up(value: float, digits: int = 6) -> str:
    """At least `value`: for upper bounds."""
    return _rounded(value, digits, ROUND_CEILING)


def near(value: float, digits: int = 6) -> str:
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


def _rounded(value: float, digits: int, rounding: str) -> str:
    if not math.isfinite(value):
        return str(value)
    return f"{float(Context(prec=digits, rounding=rounding).create_decimal_from_float(value)):.{digits}g}"
