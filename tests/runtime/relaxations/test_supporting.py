"""The minimum-volume slopes are close to the best there are, against a linear program on a grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.runtime.relaxations.test_offsets import domain
from vlang.runtime.relaxations import RELAXATIONS

DTYPE = torch.float64


@pytest.mark.parametrize("op", [op for op in RELAXATIONS if op != "relu"])
@pytest.mark.parametrize("width", [0.1, 1.0, 4.0, 20.0])
def test_height_at_the_centre_is_nearly_least(op: str, width: float) -> None:
    """Least height of a valid plane at the centre = concave envelope there, from below by the best simplex of grid points.

    The envelope's value at the centre is the largest convex combination of f over grid points that average to the centre: a
    linear program. Median excess within 0.5 % of the gap between the two planes, worst within 20 %.
    """
    f = RELAXATIONS[op]
    g = torch.Generator().manual_seed(1)
    count = 60
    centre = torch.randn(f.arity, count, generator=g, dtype=DTYPE) * 2
    half = torch.rand(f.arity, count, generator=g, dtype=DTYPE) * width / 2 + width / 100
    lo, hi = domain(op, tuple(centre - half), tuple(centre + half))
    centre = torch.stack([(x + y) / 2 for x, y in zip(lo, hi, strict=True)])
    planes = f.planes("plane", lo, hi)
    ours = sum(s * c for s, c in zip(planes.upper.slopes, centre, strict=True)) + planes.upper.offset
    below = sum(s * c for s, c in zip(planes.lower.slopes, centre, strict=True)) + planes.lower.offset
    excess = []
    for i in range(count):
        plane = [float(s[i]) for s in planes.lower.slopes], float(planes.lower.offset[i])
        gap = float(ours[i] - below[i])
        if gap < 1e-9:  # on a piece that is linear
            continue
        excess.append(1 - _envelope(f, [float(x[i]) for x in lo], [float(y[i]) for y in hi], *plane, gap))
    if not excess:
        return
    assert np.median(excess) < 0.005
    assert max(excess) < 0.2
    assert min(excess) > -1e-6, "below the envelope: not a valid plane"


def _envelope(f: object, lo: list[float], hi: list[float], slopes: list[float], offset: float, gap: float) -> float:
    """Value at the centre of the upper hull, on a grid that contains the centre, of f in units of the gap above the lower plane."""
    from scipy.optimize import linprog

    n = 33 if len(lo) == 2 else 401
    axes = [np.linspace(x, y, n) for x, y in zip(lo, hi, strict=True)]
    grid = np.meshgrid(*axes, indexing="ij")
    points = np.stack([x.ravel() for x in grid])
    value = f.value(*(torch.tensor(p) for p in points)).numpy()  # type: ignore[attr-defined]
    value = (value - np.array(slopes) @ points - offset) / gap
    middle = np.array([(x + y) / 2 for x, y in zip(lo, hi, strict=True)])
    unit = (points - middle[:, None]) / np.array([(y - x) / 2 for x, y in zip(lo, hi, strict=True)])[:, None]
    solved = linprog(-value, A_eq=np.vstack([unit, np.ones(points.shape[1])]), b_eq=np.append(np.zeros(len(lo)), 1.0), method="highs")
    assert solved.success
    return float(-solved.fun)
