"""Properties: what may be demanded of a network's outputs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

#: What a condition may mention: an output, and what it is at the set's centre.
OUTPUT, NOMINAL, ABSOLUTE = "output", "nominal", "abs"
#: Properties with a name: how they are written, and what they say.
NAMED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "within": ("within(0.5) or within(5%)", "every output stays so near to its value at the centre"),
        "same_sign": ("same_sign", "every output keeps its sign"),
        "same_side": ("same_side(0.5)", "every output stays on its side of a number"),
        "threshold": ("threshold(0.5)", "the sigmoid of every output stays on its side of a number"),
    }
)
#: How a property may be written, in words.
USAGE = "within(0.5), within(5%), same_sign, same_side(0.5), threshold(0.5), or a condition such as output[0] <= 3.2"
#: The digits of a logit, which is what a threshold is of an output.
LOGIT_DIGITS = 40
