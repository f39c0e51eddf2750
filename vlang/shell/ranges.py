"""The range of the numbers in a plan's samples, beside which a clip or an eps can be judged."""

from __future__ import annotations

from collections.abc import Mapping

from vlang.plan import ArrayPlan, DatasetInput, Plan

#: Numbers of an array that are looked at.
MOST = 50_000_000


def ranges(plan: Plan) -> Mapping[ArrayPlan, tuple[float, float]]:
    """Of every array of samples that is small enough and can be read."""
    import math

    import numpy as np

    arrays = {v.input.inputs for q in plan.queries for v in q.variants if isinstance(v.input, DatasetInput)}
    found = {}
    for array in arrays:
        if math.prod(array.shape) > MOST:
            continue
        try:
            held = np.load(array.path, allow_pickle=False, mmap_mode="r" if array.key is None else None)
            numbers = held if array.key is None else held[array.key]
            found[array] = float(numbers.min()), float(numbers.max())
        except Exception:
            continue
    return found
