"""Minimum-volume slopes: the supporting plane of the concave envelope at the box centre.

The volume between a plane and the function over a box is the plane's value at the centre times the box's volume, plus a
constant, so the best upper plane is the one lowest at the centre among all valid ones (runtime/README.md, section 3). That is a
linear program with one constraint per point of the box. It is solved by exchange: keep a simplex of touching points
around the centre, ask the offset's own maximiser for the most violated point, pivot it in. Few passes, no training loop;
the best plane seen is kept, and the offset is recomputed exactly afterwards, so stopping early is sound.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vlang.runtime.relaxations.base import Args

#: Boxes narrower than this, beside 1 and their middle, are points to the search for slopes: the function is its tangent there up to rounding, and
#: differences of its values would be noise.
FLAT = 1e-9
#: For slopes: the approximate maximum of f(y) - slopes . y over the box, its maximiser, and f there.
Maximiser = Callable[[Args], tuple[Tensor, Args, Tensor]]


def supporting_line(lo: Tensor, hi: Tensor, f_lo: Tensor, f_hi: Tensor, maximise: Maximiser, tangent: Tensor, passes: int) -> Args:
    """Slope of the lowest valid line at the centre of [lo, hi]. `tangent`: the derivative at the centre."""
    mid = (lo + hi) / 2
    best_slope, best_height = tangent, maximise((tangent,))[0] + tangent * mid
    left, right = (lo, f_lo), (hi, f_hi)
    for _ in range(passes):
        width = right[0] - left[0]
        slope = torch.where(width > FLAT * (1 + mid.abs()), (right[1] - left[1]) / width, tangent)
        height, (y,), f = maximise((slope,))
        height = height + slope * mid
        better = height < best_height
        best_slope, best_height = torch.where(better, slope, best_slope), torch.where(better, height, best_height)
        low = y <= mid
        left = torch.where(low, y, left[0]), torch.where(low, f, left[1])
        right = torch.where(low, right[0], y), torch.where(low, right[1], f)
    return (best_slope,)


def supporting_plane(lo: Args, hi: Args, corners: Tensor, maximise: Maximiser, tangent: Args, passes: int) -> Args:
    """Slopes of the lowest valid plane at the centre of a two-dimensional box.

    corners: f at (lo,lo), (lo,hi), (hi,lo), (hi,hi), stacked. tangent: the gradient at the centre.
    Works in box coordinates in [-1, 1]; points are tracked as (x, y, f).
    """
    mid = tuple((x + y) / 2 for x, y in zip(lo, hi, strict=True))
    half = tuple((y - x) / 2 for x, y in zip(lo, hi, strict=True))
    flat = tuple(h <= FLAT * (1 + m.abs()) for h, m in zip(half, mid, strict=True))
    scale = tuple(torch.where(f, torch.ones_like(h), h) for f, h in zip(flat, half, strict=True))

    def height_of(slopes: Args) -> tuple[Tensor, Args, Tensor]:
        top, point, f = maximise(slopes)
        return top + slopes[0] * mid[0] + slopes[1] * mid[1], point, f

    best = tangent
    best_height = height_of(tangent)[0]
    one = torch.ones_like(mid[0])
    f00, f01, f10, f11 = corners.unbind(0)
    rising = f00 + f11 >= f01 + f10  # which diagonal is higher at the centre
    zero = torch.zeros_like(one)
    # A triangle with the centre on its first edge: the higher diagonal and one further corner.
    p = [
        (-one, torch.where(rising, -one, one), torch.where(rising, f00, f01)),
        (one, torch.where(rising, one, -one), torch.where(rising, f11, f10)),
        (-one, torch.where(rising, one, -one), torch.where(rising, f01, f00)),
    ]
    weight = [one / 2, one / 2, zero]  # barycentric coordinates of the centre
    for _ in range(passes):
        (x0, y0, f0), (x1, y1, f1), (x2, y2, f2) = p
        ax, ay, af = x1 - x0, y1 - y0, f1 - f0
        bx, by, bf = x2 - x0, y2 - y0, f2 - f0
        det = ax * by - ay * bx
        good = det.abs() > 1e-9
        inv = 1 / torch.where(good, det, one)
        slopes = (
            torch.where(good & ~flat[0], (af * by - bf * ay) * inv / scale[0], best[0]),
            torch.where(good & ~flat[1], (bf * ax - af * bx) * inv / scale[1], best[1]),
        )
        height, point, f = height_of(slopes)
        better = height < best_height
        best = tuple(torch.where(better, s, b) for s, b in zip(slopes, best, strict=True))
        best_height = torch.where(better, height, best_height)
        x, y = (point[0] - mid[0]) / scale[0], (point[1] - mid[1]) / scale[1]
        # Barycentric coordinates of the new point; it replaces the vertex with the smallest ratio (the simplex method's rule).
        mu1 = ((x - x0) * by - (y - y0) * bx) * inv
        mu2 = (ax * (y - y0) - ay * (x - x0)) * inv
        mu = [1 - mu1 - mu2, mu1, mu2]
        ratio = torch.stack([torch.where(m > 1e-12, w / m.clamp(min=1e-12), torch.inf) for w, m in zip(weight, mu, strict=True)])
        theta, out = ratio.min(0)
        new = (x, y, f)
        weight = [torch.where(out == i, theta, (w - theta * m).clamp(min=0)) for i, (w, m) in enumerate(zip(weight, mu, strict=True))]
        p = [tuple(torch.where(out == i, n, o) for n, o in zip(new, q, strict=True)) for i, q in enumerate(p)]  # type: ignore[misc]
    return best
