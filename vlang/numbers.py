"""Numbers as text, rounded in the direction that keeps what they claim true."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context


def down(value: float, digits: int = 6) -> str:
    """At most `value`: for radii, margins and lower bounds."""
    return _rounded(value, digits, ROUND_FLOOR)


def up(value: float, digits: int = 6) -> str:
    """At least `value`: for upper bounds."""
    return _rounded(value, digits, ROUND_CEILING)


def near(value: float, digits: int = 6) -> str:
    """About `value`: for what is no bound."""
    return _rounded(value, digits, ROUND_HALF_EVEN)


def _rounded(value: float, digits: int, rounding: str) -> str:
    if not math.isfinite(value):
        return str(value)
    return f"{float(Context(prec=digits, rounding=rounding).create_decimal_from_float(value)):.{digits}g}"
