"""The set that is perturbed, or a piece of it: the largest value on it of linear and of quadratic functions."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from flint import arb

from .balls import Balls, joined
from .concave import Peak
from .vectors import NEVER, ZERO, Array, Interval, Vector, dot, exact, largest, norm2, total, vector

#: Forms of more coordinates are not looked at (of vertices, for the 1-norm): who writes certificates makes none, and they would take much memory.
MOST_COORDINATES, MOST_VERTICES = 2048, 1024


#: By frame that moves, the least and the largest value of each of its numbers.
Clip = dict[int, tuple[Vector, Vector]]


@dataclass(frozen=True)
class Room:
    """|z_g + shift_g| <= radius_g for every group of coordinates, |normal . z - middle| <= half for every slab; |z| <= reach."""

    radii: Balls
    shift: Balls
    slabs: list[tuple[Balls, Balls, Balls]]
    reach: arb


@dataclass
class Region:
    """delta = offset + z: |delta_k|_p <= radius_k on the frames that move (so many at once), low <= direction . delta <= high, x + delta in the clip.

    Quadratic forms see z as slots, a frame each, or where there is a chart (basis, scale) each slot as basis' (scale z); in balls about the offset,
    or those of a piece about x. box: between which ends every number moves, in place of balls.
    """

    x: Array
    radii: dict[int, arb]
    norm: Fraction | None
    at_most: int
    clip: Clip | None
    chart: tuple[Array, Array] | None
    direction: Array | None
    offset: Array
    between: tuple[float, float]
    box: dict[int, list[Interval]] | None = None

    def __post_init__(self) -> None:
        self.frames = sorted(self.radii)
        self.width = self.x.shape[1]  # of a slot
        self.round = self.norm is not None and self.norm <= 2
        boxes = self.norm is None and self.chart is None
        self.joint = self.at_most >= len(self.frames) and (boxes or (self.clip is None and self.norm in (1, 2)))
        #: Of a slot's balls, the radii.
        self.reach = {k: [self.radii[k]] if self.round else self._far(k) for k in self.frames}
        self.rooms: dict[int, Room] = {}
        if self.chart is not None:
            basis, scale = Balls.exactly(self.chart[0]), vector(self.chart[1])
            self.width = basis.mid.shape[1]
            self.into, self.see = (Balls.around(v)[:, None] * basis for v in (scale, [1 / v for v in scale]))
            gram = abs(basis.mT @ basis) @ Balls.exactly(np.ones(self.width))  # |basis' y|^2 <= (largest row sum of basis' basis) |y|^2
            stretch = largest(gram.arbs()).sqrt()
            far = {k: r[0] * largest(scale) if self.round else norm2(list(map(operator.mul, scale, r))) for k, r in self.reach.items()}
            self.reach = {k: [stretch * r] for k, r in far.items()}
        self.group = self.width if self.round or self.chart is not None else 1
        self.most = MOST_VERTICES if self.norm == 1 else MOST_COORDINATES

    def ends(self, k: int) -> list[tuple[arb, arb]]:
        """How far the numbers of a frame may move, down and up."""
        if self.box is not None:
            return self.box[k]
        r, x = self.radii[k], vector(self.x[k])
        if self.clip is None:
            return [(-r, r)] * len(x)
        return [((low - v).max(-r), (high - v).min(r)) for v, low, high in zip(x, *self.clip[k], strict=True)]

    def middle(self, k: int) -> Array:
        """Of the frame's balls: x, or of whole sets that are bounded number by number the offset. shape: [n]."""
        moved: Array = self.offset[k] * float(self.direction is None and not self.round)
        return moved

    def _far(self, k: int) -> Vector:
        """How far its numbers may be from there."""
        return [(up - m).max(m - down) for m, (down, up) in zip(vector(self.middle(k)), self.ends(k), strict=True)]

    def gain(self, k: int, a: Vector) -> arb:
        """max of a . delta_k. In a clip |delta_i| <= bound_i, and for every split |a| = b + c it is at most radius |b|_q + c . bound."""
        r = self.radii[k]
        if self.box is not None:
            return total((c * low).max(c * high) for c, (low, high) in zip(a, self.box[k], strict=True))
        if self.clip is None:
            return r * self.dual(a)
        ways = ((c, high - v, v - low) for c, v, low, high in zip(a, vector(self.x[k]), *self.clip[k], strict=True))
        bound = [(up if c > 0 else down if c < 0 else up.max(down)).min(r) for c, up, down in ways]
        size = list(map(abs, a))
        most = dot(size, bound)
        if self.norm is None:
            return most
        b = [s.min(arb(v)) for s, v in zip(size, self.guess(np.array(size, float), np.array(bound, float), float(r)), strict=True)]
        return most.min(r * self.dual(size)).min(r * self.dual(b) + dot(map(operator.sub, size, b), bound))

    def dual(self, a: Vector) -> arb:
        """The norm that is dual to the balls'."""
        if self.norm is None or self.norm == 1:
            return total(map(abs, a)) if self.norm is None else largest(map(abs, a))
        q = exact(self.norm / (self.norm - 1))
        return norm2(a) if self.norm == 2 else total(c.abs_upper() ** q for c in a if not c.is_zero()) ** (1 / q)

    def guess(self, size: Array, bound: Array, r: float) -> Array:
        """A good b for `gain`, any b >= 0 being sound: the gradient by d of lam |d|_p where size . d is largest, lam the multiplier of |d|_p <= r.

        d_i is bound_i where size_i exceeds lam (bound_i / r)^(p - 1), else size_i is that of d_i: of the coordinates in the order in which lam
        lets go of their bounds, as many are at theirs as leave the others a norm.
        """
        p, share = float(self.norm or 1), bound / r
        with np.errstate(all="ignore"):
            weight = (share > 0).astype(float) if p == 1 else share ** (p - 1)
            turn = np.where(weight > 0, size / weight, np.inf)
            order = np.argsort(-turn)
            capped = np.cumsum(share[order] ** p)
            if p == 1:
                lam = turn[order][(capped >= 1).argmax()] if capped[-1] >= 1 else 0.0
            else:
                free = np.logaddexp.accumulate((np.log(size[order]) * (p / (p - 1)))[::-1])[::-1]  # powers may leave the range of numbers
                lams = np.exp((free - np.log(np.maximum(1 - capped + share[order] ** p, 1e-300))) * (1 - 1 / p))
                right = lams >= turn[order]
                lam = lams[right.argmax()] if right.any() else 0.0
            return np.minimum(size, np.nan_to_num(lam * weight, posinf=0.0))

    def support(self, a: dict[int, Vector], lift: float = 0.0) -> arb:
        """max of the sum of a_k . (delta_k - offset_k); lift: what is moved from a onto the direction (any is sound)."""
        here, edge = total(dot(row, vector(self.offset[k])) for k, row in a.items()), ZERO
        if lift and self.direction is not None:
            flat = [ZERO] * self.x.shape[1]
            a = {k: [c - lift * g for c, g in zip(a.get(k, flat), vector(self.direction[k]), strict=True)] for k in self.frames}
            edge = (arb(lift) * self.between[0]).max(arb(lift) * self.between[1])
        gains = [self.gain(k, row).upper() for k, row in a.items()]
        return total(sorted(gains, reverse=True)[: self.at_most]) + edge - here if all(map(arb.is_finite, gains)) else NEVER

    def slots(self, inputs: dict[int, Balls], rows: int) -> tuple[Balls, Balls]:
        """Coefficients of the frames as coefficients of z, up to the last frame that is read, and the most that is lost by the chart."""
        parts, lost, shape = [Balls.exactly(np.zeros((rows, 0)))], Balls.exactly(np.zeros(rows)), (rows, self.x.shape[1])
        for k in self.frames[: max(map(self.frames.index, inputs), default=-1) + 1]:
            a = inputs[k] if k in inputs else Balls.exactly(np.zeros(shape))
            if self.chart is not None:
                z, far = a @ self.see, Balls.around([self.radii[k] + abs(v) for v in vector(self.offset[k])])
                a, lost = z, lost + abs(a - z @ self.into.mT) @ far
            parts.append(a)
        return joined(parts, 1), lost

    def room(self, d: int) -> Room:
        """Where the first d coordinates of z are."""
        if d not in self.rooms:
            frames, rest, g, slabs = self.frames[: d // self.width], self.frames[d // self.width :], self.direction, []
            points = [Balls.exactly(self.offset[k] - self.middle(k)) for k in frames]
            shift = joined([x if self.chart is None else x @ self.into for x in points], 0)
            if g is not None:
                (normal,), lost = self.slots({k: Balls.exactly(g[k][None]) for k in frames}, 1)
                at = total(dot(vector(g[k]), vector(self.offset[k])) for k in frames)
                # Either way, and without the clip: the multipliers were chosen for a slab with this middle.
                beyond = lost.arbs()[0] + total(self.radii[k] * self.dual(vector(g[k])) for k in rest)
                low, high = self.between[0] - at - beyond, self.between[1] - at + beyond
                slabs.append((normal, Balls.around([(low + high) / 2]), Balls.around([(high - low) / 2])))
            radii = [r for k in frames for r in self.reach[k]]
            self.rooms[d] = Room(Balls.around(radii), shift, slabs, norm2(radii) + norm2(shift.arbs()))
        return self.rooms[d]

    def top(self, form: Balls, linear: Balls, multipliers: Array) -> arb:
        """An upper bound of linear . z + 1/2 z' form z, the form symmetric (S-procedure; any multipliers >= 0 are sound).

        With M = diag(lam) + normals' mu normals - form it is at most what the constraints' right sides give plus the largest b . z - 1/2 z' M z.
        Its small parts (`Peak`) are paid for by norms.
        """
        room = self.room(len(form))
        radii, shift, groups = room.radii, room.shift, len(room.radii)
        if self.norm == 1:  # z_i H_ij z_j <= |z_i| radius |H_ij| for j in a ball: linear in |z|, so largest at vertices
            pairs = Balls.exactly(abs(form).most().reshape(-1, groups, self.width).max(-1) / 2)
            pulls = (pairs @ radii + abs(linear)).most().reshape(groups, self.width).max(-1)
            return NEVER if self.chart is not None or self.offset.any() else (Balls.exactly(pulls[None]) @ radii).arbs()[0]
        if multipliers.shape != (groups + len(room.slabs),) or (multipliers < 0).any():
            return NEVER
        lam, mu = Balls.exactly(multipliers[:groups]), Balls.exactly(multipliers[groups:, None])
        spread = lam.each(lambda a: a.repeat(self.group))
        m, b = spread.each(np.diag) - form, linear - spread * shift
        right = lam[None] @ (radii * radii) - spread[None] @ (shift * shift)
        for v, (normal, middle, half) in zip(mu, room.slabs, strict=True):
            m, b = m + normal[:, None] * normal * v, b + normal * (middle * v)
            right += (half * half - middle * middle) * v
        peak = Peak.guessed(m, b)
        if peak is None:
            return NEVER
        off = abs(peak.off) @ Balls.exactly(np.ones(len(form)))  # a matrix' norm is at most its largest row sum
        (most,), beside = (right + peak.square[None]).arbs(), norm2(peak.beside.arbs())
        return (most + largest(off.arbs()) * room.reach**2 + 2 * beside * room.reach) / 2
