"""Perturbation sets: what moves, and in which directions."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SPACES = ("input", "embedding")
#: Directions with a name, by what theta of one does to a sample.
DIRECTIONS: Mapping[str, str] = MappingProxyType(
    {
        "gain": "numbers are multiplied by 1 + theta",
        "offset": "theta is added to numbers",
        "drift": "what is added grows evenly, from 0 at the first frame to theta at the last",
        "shift": "every frame moves towards its neighbour by theta frames: to the one before it, below 0 to the one behind it",
        "noise_floor": "numbers less than theta above the smallest one are raised to that",
    }
)
#: Of a set of directions, how many there may be for a complete search, which cuts it into boxes.
MOST_DIMENSIONS = 8
