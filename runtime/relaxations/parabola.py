"""Quadratic relaxations: of all parabolas above a nonlinearity on a box, the one that is lowest on average.

The minimum-volume plane is lowest on average where the arguments may be anywhere in the box alike. But many neurons share one perturbation, and it
does not take all of them to their boxes' ends at once: most arguments stay near their centres. So the parabola is chosen whose mean is least under
a distribution of smaller spread. That is a linear program in its offset, slopes and curvature with a constraint for every point of the box (the dual
of a moment problem; runtime/README.md, section 10), solved on a grid. Any slopes and curvature are sound: the offset is bounded afterwards over
whole cells.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vlang.runtime import rounding
from vlang.runtime.relaxations.curvature import Args
from vlang.runtime.relaxations.interior import least

if TYPE_CHECKING:
    from vlang.runtime.relaxations.base import Nonlinearity

#: Standard deviation of an argument, in half widths of its box, and its mean distance beside that (a normal distribution's).
SPREAD, MEAN_DISTANCE = 0.45, 0.8
#: How far off the middle a mean may be, and how many standard deviations around it must fit in the box.
FARTHEST, FITTING = 0.9, 1.42
#: The cost of curvature of either sign beside its mean, so that no program is unbounded.
CURVATURE_COST = 1e-3
#: Vertices along an argument of the grid on which offsets are bounded; programs see every second one.
VERTICES = {1: 65, 2: 17}
#: Boxes narrower than this have lines: curvature is divided by their width twice, and would overflow.
NARROW = 1e-60
#: Where an argument or a function varies by less than this share of its size over a box there is no curvature: it would be noise.
FLAT = 1e-9
#: Boxes at once.
CHUNK = 4096


@dataclass(frozen=True)
class Parabola:
    """slopes . y + offset + 1/2 (y - centre)' K (y - centre). curvature: K, or K_vv, K_vz, K_zz. shape: each as the box."""

    slopes: Args
    curvature: Args
    offset: Tensor


@dataclass(frozen=True)
class Parabolas:
    """A lower and an upper parabola of one nonlinearity on one box, around one centre."""

    lower: Parabola
    upper: Parabola
    centre: Args


@dataclass(frozen=True)
class Moved:
    """How the arguments of a nonlinearity move with the perturbation: linearly around a centre, but for a residual.

    correlation: of two arguments' linear motions. shape: each as the box.
    """

    centre: Args
    residual: Args
    correlation: Tensor


def parabolas(f: Nonlinearity, lo: Args, hi: Args, moved: Moved) -> Parabolas:
    """Valid on the box, whatever `moved` says; lowest (highest) on average if the arguments move as it says. shape: boxes [B, width]."""
    shape, arity = lo[0].shape, len(lo)
    odd = sum(f.flips) % 2
    parts = []
    flat = [x.flatten() for x in (*lo, *hi, *moved.centre, *moved.residual, moved.correlation)]
    for part in zip(*(torch.split(x, CHUNK) for x in flat), strict=True):
        low, high = f.both(part[:arity], part[arity : 2 * arity])
        centre, _ = f.both(part[2 * arity : 3 * arity], part[2 * arity : 3 * arity])
        residual = tuple(torch.stack([r, r]) for r in part[3 * arity : 4 * arity])
        correlation = torch.stack([part[-1], -part[-1] if odd else part[-1]])
        slopes, curvature = _lowest(f, low, high, Moved(centre, residual, correlation))
        parts.append((*slopes, *curvature, offset(f, low, high, centre, slopes, curvature)))
    found = [torch.cat(x, -1).reshape(2, *shape) for x in zip(*parts, strict=True)]
    slopes, curvature, tops = tuple(found[:arity]), tuple(found[arity:-1]), found[-1]
    # f(y) = kappa - f(R y) >= kappa - (the parabola of the reflected box at R y).
    below = -tops[1]
    if f.kappa:
        below = rounding.down(f.kappa + below, below.abs() + abs(f.kappa))  # a checker rounds at kappa's size too
    signs = [-1 if flip else 1 for flip in f.flips]
    reflected = tuple(-s * x[1] for s, x in zip(signs, slopes, strict=True))
    bends = tuple(-signs[i] * signs[j] * x[1] for (i, j), x in zip(_pairs(arity), curvature, strict=True))
    upper = Parabola(tuple(x[0] for x in slopes), tuple(x[0] for x in curvature), tops[0])
    return Parabolas(Parabola(reflected, bends, below), upper, moved.centre)


def offset(f: Nonlinearity, lo: Args, hi: Args, centre: Args, slopes: Args, curvature: Args) -> Tensor:
    """c with f(y) <= slopes . y + c + 1/2 (y - centre)' K (y - centre) on the box, rounded up. shape: [2, N], as `Nonlinearity.both` gives boxes.

    On a cell of a grid, along one argument after the other, a function g is at most its larger end plus width^2 / 8 times the largest -g''.
    """
    arity = len(lo)
    axes = [vertices(x, h, f.kinks, VERTICES[arity]) for x, h in zip(lo, hi, strict=True)]
    y = tuple(along(v, k, arity) for k, v in enumerate(axes))
    d = [v - c for v, c in zip(y, centre, strict=True)]
    pairs = _pairs(arity)
    gap = f.raised(*y)
    for s, v in zip(slopes, y, strict=True):
        gap = gap - s * v
    for k, (i, j) in zip(curvature, pairs, strict=True):
        gap = gap - k * d[i] * d[j] * (0.5 if i == j else 1.0)
    ends = [(along(v[:-1], k, arity), along(v[1:], k, arity)) for k, v in enumerate(axes)]
    bends = f.second(tuple(e[0] for e in ends), tuple(e[1] for e in ends))
    for axis in range(arity):
        gap = torch.maximum(gap.narrow(axis, 0, gap.shape[axis] - 1), gap.narrow(axis, 1, gap.shape[axis] - 1))
    square = [k for k, (i, j) in zip(curvature, pairs, strict=True) if i == j]
    for (start, end), bend, k in zip(ends, bends, square, strict=True):
        width = rounding.enlarged(end - start, rounding.LITTLE_ROOM)  # by more than all that this line and the next round
        gap = gap + (k - bend[0]).clamp(min=0) * width * width / 8  # in this order: the square alone may underflow
    low, high = f.range(lo, hi)
    size = torch.maximum(low.abs(), high.abs())
    reach = [torch.maximum((h - c).abs(), (x - c).abs()) for x, h, c in zip(lo, hi, centre, strict=True)]
    for s, x, h in zip(slopes, lo, hi, strict=True):
        size = size + s.abs() * torch.maximum(x.abs(), h.abs())
    for k, (i, j) in zip(curvature, pairs, strict=True):
        size = size + k.abs() * reach[i] * reach[j]
    # A computed sigmoid is 0 where the true one is smaller than any number, and so is its product with the other argument.
    lost = torch.stack([torch.maximum(x.abs(), h.abs()) for x, h in zip(lo, hi, strict=True)]).sum(0) * rounding.lost_sigmoid(size)
    return rounding.up(gap.flatten(0, arity - 1).amax(0), size) + lost + rounding.UNDERFLOWN  # all the room there is where a box is a point


def _lowest(f: Nonlinearity, lo: Args, hi: Args, moved: Moved) -> tuple[Args, Args]:
    """Slopes and curvature of the upper parabola that is lowest on average. shape: [2, N], as `Nonlinearity.both` gives boxes."""
    arity, pairs = len(lo), _pairs(len(lo))
    middle = [(x + h) / 2 for x, h in zip(lo, hi, strict=True)]
    half = [(h - x) / 2 for x, h in zip(lo, hi, strict=True)]
    moving = [h > 0 for h in half]
    unit = [torch.where(m, h, 1.0) for m, h in zip(moving, half, strict=True)]
    # In units of the box's half widths, around its middle, and of half the range of f.
    t = torch.linspace(-1, 1, (VERTICES[arity] + 1) // 2, dtype=lo[0].dtype, device=lo[0].device)
    f_at = f.raised(*(m + h * along(t[:, None, None], k, arity) for k, (m, h) in enumerate(zip(middle, half, strict=True)))).flatten(0, arity - 1)
    low, high = f_at.amin(0), f_at.amax(0)
    size = (high - low) / 2
    curved = size > FLAT * torch.maximum(low.abs(), high.abs())
    wide = [curved & (h > FLAT * m.abs()) & (h > NARROW) for m, h in zip(middle, half, strict=True)]
    size = torch.where(size > 0, size, 1.0)
    values = ((f_at - (low + high) / 2) / size).movedim(0, -1)
    mean = [((c - m) / u).clamp(-FARTHEST, FARTHEST) for c, m, u in zip(moved.centre, middle, unit, strict=True)]
    spread = torch.stack([((1 - m.abs()) / FITTING).clamp(max=SPREAD) for m in mean]).amin(0)
    rest = [(r / u).clamp(max=1) for r, u in zip(moved.residual, unit, strict=True)]
    away = MEAN_DISTANCE * spread
    cost = [torch.ones_like(spread), *mean]
    for i, j in pairs:  # curvature of either sign is charged for what the residual adds to its mean at worst
        both = mean[i] * mean[j] + spread**2 * (1 if i == j else moved.correlation)
        more = away * (rest[i] + rest[j])
        share = 0.5 if i == j else 1.0
        cost += [share * (both + more + rest[i] * rest[j]) + CURVATURE_COST, -share * (both - more - (i != j) * rest[i] * rest[j]) + CURVATURE_COST]
    table = _table(t, arity)
    floor = torch.nn.functional.pad(values, (0, 2 * len(pairs)))
    found = least(torch.stack(cost, -1).flatten(0, 1), table, floor.flatten(0, 1)).reshape(*floor.shape[:2], -1)
    found = torch.where(found.isfinite().all(-1, keepdim=True), found, 0.0)
    bends = []
    for k, (i, j) in enumerate(pairs):
        plus, minus = found[..., 1 + arity + 2 * k], found[..., 2 + arity + 2 * k]
        bends.append(torch.where(wide[i] & wide[j], (plus - minus) * size / unit[i] / unit[j], 0.0))
    slopes = []
    for k in range(arity):  # around the centre, no longer the middle
        slope = found[..., 1 + k] * size / unit[k]
        for bend, (i, j) in zip(bends, pairs, strict=True):
            if k in (i, j):
                other = j if k == i else i
                slope = slope + bend * (moved.centre[other] - middle[other])
        slopes.append(torch.where(moving[k], slope, 0.0))
    return tuple(slopes), tuple(bends)


def _pairs(arity: int) -> list[tuple[int, int]]:
    """The entries of a symmetric matrix over the arguments."""
    return list(itertools.combinations_with_replacement(range(arity), 2))


def _table(t: Tensor, arity: int) -> Tensor:
    """A program's constraints: the parabola at every grid point, and that curvatures of either sign are not negative. shape: [P, n]."""
    grid = torch.cartesian_prod(*[t] * arity).reshape(-1, arity)
    columns = [torch.ones_like(grid[:, 0]), *grid.unbind(1)]
    for i, j in _pairs(arity):
        bend = grid[:, i] * grid[:, j] * (0.5 if i == j else 1.0)
        columns += [bend, -bend]
    every = torch.stack(columns, 1)
    signs = torch.eye(len(columns), dtype=t.dtype, device=t.device)[1 + arity :]
    return torch.cat([every, signs])


def along(v: Tensor, k: int, arity: int) -> Tensor:
    """A grid's vertices along argument k, to be combined with those along the others. shape: [V, 2, N] -> [.., V, .., 2, N]."""
    return v.reshape(*[1] * k, len(v), *[1] * (arity - 1 - k), *v.shape[1:])


def vertices(lo: Tensor, hi: Tensor, kinks: tuple[float, ...], count: int) -> Tensor:
    """Points from lo to hi, in order, kinks among them. shape: [count, 2, N]."""
    share = torch.linspace(0, 1, count - (len(kinks) if len(kinks) > 1 else 0), dtype=lo.dtype, device=lo.device)[:, None, None]
    v = lo + share * (hi - lo)
    v[-1] = hi
    if len(kinks) > 1:  # each beside the others, or at an end
        return torch.cat([v, torch.stack([torch.minimum(torch.maximum(lo.new_tensor(k), lo), hi) for k in kinks])]).sort(0)[0]
    for kink in kinks:
        near = (v[1:-1] - kink).abs().argmin(0, keepdim=True) + 1
        v = torch.where((lo < kink) & (hi > kink), v.scatter(0, near, kink), v)
    return v
