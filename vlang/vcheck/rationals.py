"""Rational numbers in certificates: text, so that nothing is rounded."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any


def rational(text: Any, least: Fraction | None = Fraction(0)) -> Fraction:
    if (
        not isinstance(text, str)
        or not re.fullmatch(r"-?[0-9]{1,400}(/0*[1-9][0-9]{0,399})?", text)
        or (least is not None and Fraction(text) < least)
    ):
        raise ValueError(f"{str(text)[:40]!r} is not the rational number that belongs there")
    return Fraction(text)
