"""The largest value of linear . z + 1/2 z' H z on a product of balls, or on a piece of one, bounded by Lagrange multipliers.

z falls into groups of coordinates, |z_g + shift_g|_2 <= radius_g: one group a frame for the 2-norm, one a coordinate for the infinity norm; a piece
also has |normal_k . z - middle_k| <= half_k. Every constraint is a square, sum over its rows of (row . z + shift)^2 <= radius^2. For multipliers
lam, mu >= 0 with M = diag(lam) + normals' diag(mu) normals - H positive semidefinite, the maximum is at most what the constraints' right sides give
plus the largest value of a concave quadratic (S-procedure; for a single ball the best one is exact). The search for good multipliers
is ordinary floating point; what is returned is then proved: a Cholesky factorisation that runs to its end bounds M's lowest eigenvalue
from below (Higham, *Accuracy and Stability*, theorem 10.3), and the residual of the linear solve is paid for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vlang.runtime import rounding
from vlang.runtime.bounds.krylov import ritz
from vlang.runtime.products import through

#: Shifts tried, in units of the scaled form's Frobenius norm, of which its largest eigenvalue is a share. The best lies between 0 and that, but a
#: checker must be able to factorise what is left, in balls.
SHIFTS = tuple(10 ** (-k / 6) for k in range(24, -1, -1))
#: Products with a form by which its shift is found, the least shift above the spectrum's end that they show, and the most for their doubt about it.
KRYLOV, LEAST_SHIFT, MOST_DOUBT = 16, 1e-9, 0.05
#: What is added to multipliers that prove nothing, one after the other, in the shifts' units.
HELP = (1e-6, 1e-4, 0.01, 0.1)
#: Forms of more coordinates are searched in single precision, where no first multiplier is larger than so many times the form.
SMALL, WIDE = 32, 1e3
#: An angle whose multiples spread evenly.
GOLDEN = 2.399963229728653
#: A group gets at least this share of the largest group's multiplier.
LEAST_SHARE = 1e-6
#: Newton steps on the multipliers: for a few rows on whole balls, and on pieces.
FEW_STEPS, PIECE_STEPS = 3, 4
#: First multipliers of a piece: above the least that suffice for its balls, and of its slabs beside those.
PIECE_MARGIN, SLAB_SHARE = 0.05, 0.3
#: The barrier against an indefinite M, as a share of the bound: at first, and from step to step.
BARRIER, FADING = 0.3, 0.3


@dataclass(frozen=True, eq=False)
class Room:
    """Where z may be: |z_g + shift_g| <= radius_g for every group g of equally many coordinates, and |normal_k . z - middle_k| <= half_k.

    shape: radii [B, G], shift [B, D], normals [B, K, D], middles, halves [B, K]; the balls alone, centred, where normals are None.
    """

    radii: Tensor
    shift: Tensor | None = None
    normals: Tensor | None = None
    middles: Tensor | None = None
    halves: Tensor | None = None

    def part(self, batch: slice) -> Room:
        """Of some rows of the batch."""
        rest = (None if x is None else x[batch] for x in (self.shift, self.normals, self.middles, self.halves))
        return Room(self.radii[batch], *rest)

    def limits(self, d: int) -> tuple[Tensor, Tensor]:
        """Every constraint is |rows . z + shift| <= radius, over a row or a group's rows. shape: radius [B, 1, G + K], shift [B or 1, 1, D + K]."""
        if self.normals is None or self.shift is None or self.middles is None or self.halves is None:
            return self.radii[:, None], self.radii.new_zeros(1, 1, d)
        return torch.cat([self.radii, self.halves], -1)[:, None], torch.cat([self.shift, -self.middles], -1)[:, None]

    def members(self, d: int) -> Tensor:
        """Which rows belong to which constraint, 0 or 1. shape: [D + K, G + K]."""
        count = self.radii.shape[-1]
        slabs = 0 if self.normals is None else self.normals.shape[1]
        sizes = torch.tensor([d // count] * count + [1] * slabs, device=self.radii.device)
        return torch.eye(count + slabs, dtype=self.radii.dtype, device=self.radii.device).repeat_interleave(sizes, 0)

    def along_rows(self, z: Tensor) -> Tensor:
        """z as the constraints' rows see it, without their shift. shape: [B, R, D] -> [B, R, D + K]."""
        return z if self.normals is None else torch.cat([z, z @ self.normals.mT], -1)

    def back(self, rows: Tensor) -> Tensor:
        """The adjoint of `along_rows`. shape: [B, R, D + K] -> [B, R, D]."""
        if self.normals is None:
            return rows
        d = self.normals.shape[-1]
        return rows[..., :d] + rows[..., d:] @ self.normals


#: Upper bounds of forms, and the multipliers that prove them. shape: [B, R], [B, R, G + K].
Top = tuple[Tensor, Tensor]


def largest(form: Tensor, error: Tensor, room: Room, linears: Sequence[Tensor | None], steps: int = 0) -> list[Top]:
    """Upper bounds of linear . z + 1/2 z' H z for each of some linear parts (None: zero); infinite where none was proved.

    form: H, symmetric, known up to a matrix of spectral norm `error`. steps: Newton steps on the multipliers of whole balls.
    shape: form [B, R, D, D], error [B, R], each linear [B, R, D].
    """
    count = room.radii.shape[-1]
    size = form.shape[-1] // count
    tiny = rounding.tiny(form) ** 0.25

    def spread(x: Tensor) -> Tensor:
        return x.repeat_interleave(size, -1)

    squares = (form * form).sum(-1)
    proper = squares.isfinite().all(-1)
    moves = spread(room.radii[:, None] > 0)
    if not bool(proper.all() & moves.all()):
        form = torch.where(proper[..., None, None] & moves[..., None] & moves[..., None, :], form, 0.0)
        squares = (form * form).sum(-1)
        if room.normals is not None:
            room = replace(room, normals=torch.where(moves, room.normals, 0.0))  # what does not move is 0
    scaled = Scaled.of(form, squares, count, tiny)
    flat = torch.zeros_like(scaled.scale)
    #: A linear part that is nothing beside another one of the row is its rounding to a checker: what it may be there needs a multiplier, too.
    sizes = [torch.linalg.vector_norm(_grouped(torch.where(moves, x, 0.0), count), dim=-1) for x in linears if x is not None]
    least = rounding.LITTLE_ROOM * torch.stack(sizes).amax(0).nan_to_num(0.0, 0.0, 0.0) if sizes else 0 * scaled.unit

    def bound(linear: Tensor | None) -> Top:
        sound, slope, more = proper, flat, PIECE_STEPS if room.normals is not None else steps
        if linear is not None:
            sound = proper & linear.isfinite().all(-1)
            slope = torch.where(sound[..., None] & moves, linear, 0.0)
        pull = slope if room.normals is None or linear is None else _across(slope, room.normals)
        multipliers = torch.maximum(torch.linalg.vector_norm(_grouped(pull, count), dim=-1), least if linear is not None else 0 * least)
        multipliers = multipliers / room.radii[:, None].clamp(min=tiny)
        multipliers = torch.where(multipliers.isfinite(), multipliers, 0.0)
        if room.normals is not None:
            multipliers = _with_slabs(room, multipliers + (1 + PIECE_MARGIN) * scaled.shifted(0 * scaled.unit, flat, room.radii))
        else:
            multipliers, more = scaled.shifted(multipliers, slope, room.radii), 0 if linear is None else more
        if more:
            multipliers = _improved(form, room, multipliers, slope, more)
        value = proved(form, error, room, multipliers, slope)
        for share in HELP:  # the lowest Ritz value was too far from the lowest eigenvalue
            failed = sound & value.isinf()
            if not bool(failed.any()):
                break
            multipliers = torch.where(failed[..., None], multipliers + share * scaled.norm * scaled.unit, multipliers)
            value = torch.where(failed, proved(form, error, room, multipliers, slope), value)
        return torch.where(sound, value, torch.inf), multipliers

    return [bound(linear) for linear in linears]


@dataclass(frozen=True, eq=False)
class Scaled:
    """A form in which multipliers in proportion to `unit`, the norms of its groups of rows, are multiples of the identity.

    They are exact for forms of rank one and for multiples of the identity; plain shifts are not. norm: at least the largest eigenvalue of matrix.
    single: the matrix in single precision, in which half the bits are enough for a proposal. shape: matrix, single [B, R, D, D], scale [B, R, D],
    unit [B, R, G], norm [B, R, 1].
    """

    matrix: Tensor
    single: Tensor
    scale: Tensor
    unit: Tensor
    norm: Tensor

    @classmethod
    def of(cls, form: Tensor, squares: Tensor, count: int, tiny: float) -> Scaled:
        """squares: of the form's rows. count: of groups. shape: form [B, R, D, D], squares [B, R, D]."""
        unit = _grouped(squares, count).sum(-1).sqrt()
        unit = unit.clamp(min=LEAST_SHARE * unit.amax(-1, keepdim=True)).clamp(min=tiny)
        scale = unit.rsqrt().repeat_interleave(form.shape[-1] // count, -1)
        matrix = (form * scale[..., :, None]).mul_(scale[..., None, :])
        return cls(matrix, matrix.to(torch.float32), scale, unit, torch.linalg.matrix_norm(matrix)[..., None] + tiny)

    def shifted(self, start: Tensor, linear: Tensor, radii: Tensor) -> Tensor:
        """Multipliers start + shift unit of whole balls, the shift by line search. shape: start [B, R, G], linear [B, R, D], radii [B, G]."""
        d = linear.shape[-1]
        first = (start / self.unit).repeat_interleave(d // start.shape[-1], -1)
        pulled = linear.abs().amax(-1, keepdim=True) > 0
        along = torch.where(pulled, linear * self.scale, _mixed(d, linear))
        found = ritz(first, self.matrix if d <= SMALL else self.single, along, KRYLOV)
        wide = first.amax(-1, keepdim=True) > WIDE * self.norm
        if d > SMALL and bool(wide.any()):
            found = found.where(~wide, ritz(first, self.matrix, along, KRYLOV))
        floor = (torch.minimum(found.doubt, MOST_DOUBT * self.norm) - found.values[..., :1]).clamp(min=0) + LEAST_SHIFT * self.norm
        shifts = floor + self.norm * torch.tensor(SHIFTS, dtype=floor.dtype, device=floor.device)
        weight = (self.unit * radii[:, None] ** 2).sum(-1, keepdim=True)
        height = found.resolvent(shifts) + shifts * weight
        shift = torch.where(pulled, shifts.gather(-1, height.argmin(-1, keepdim=True)), floor)
        return start + shift * self.unit


def _mixed(d: int, like: Tensor) -> Tensor:
    """A vector in no particular direction, the same for every row."""
    return torch.cos(GOLDEN * torch.arange(1, d + 1, dtype=like.dtype, device=like.device)).expand_as(like)


def _with_slabs(room: Room, lam: Tensor) -> Tensor:
    """First multipliers of a piece: those of its balls, and for its slabs about what the balls have along the normals."""
    assert room.normals is not None
    square = room.normals**2
    length = square.sum(-1)[:, None]
    along = through(lam, room.members(square.shape[-1])[: square.shape[-1], : lam.shape[-1]].mT) @ square.mT / length
    return torch.cat([lam, SLAB_SHARE * along / length], -1)


def _across(linear: Tensor, normals: Tensor) -> Tensor:
    """What is left of linear without its part in the space of the normals."""
    basis: Tensor = torch.linalg.qr(normals.mT).Q
    return linear - (linear @ basis) @ basis.mT


def _matrix(form: Tensor, room: Room, multipliers: Tensor) -> Tensor:
    """M. shape: multipliers [B, R, G + K] -> [B, R, D, D]."""
    count = room.radii.shape[-1]
    m = _less(multipliers[..., :count].repeat_interleave(form.shape[-1] // count, -1), form)
    if room.normals is not None:
        normals = room.normals[:, None]
        m += (normals.mT * multipliers[..., None, count:]) @ normals
    return m


def _improved(form: Tensor, room: Room, multipliers: Tensor, linear: Tensor, steps: int) -> Tensor:
    """Better multipliers, by damped Newton steps on the bound plus a fading barrier -w log det M; the best ones met.

    With u = M^-1 (linear - sum of multiplier row shift) the bound's derivative by a multiplier is (radius^2 - sum of (row . u + shift)^2) / 2
    (Boyd and Vandenberghe, *Convex Optimization*, sections 9.6 and 11.3).
    """
    d = form.shape[-1]
    radius, shift = room.limits(d)
    members = room.members(d)
    cost = (radius**2 - through(shift**2, members)) / 2
    identity = torch.eye(d, dtype=form.dtype, device=form.device)

    def at(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        factor, failed = torch.linalg.cholesky_ex(_matrix(form, room, x))
        factor = torch.where((failed == 0)[..., None, None], factor, identity)
        slope = linear - room.back(through(x, members.mT) * shift)
        u = torch.cholesky_solve(slope[..., None], factor)[..., 0]
        value = (x * cost).sum(-1) + (slope * u).sum(-1) / 2
        return torch.where(failed == 0, value, torch.inf), 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1), factor, u

    value, log_det, factor, u = at(multipliers)
    best, found = value, multipliers
    weight = BARRIER * value.abs().clamp(min=rounding.tiny(form)) / d
    for _ in range(steps):
        inverse = torch.cholesky_inverse(factor)
        if room.normals is not None:
            image = room.normals[:, None] @ inverse
            inverse = torch.cat([torch.cat([inverse, image], -2), torch.cat([image.mT, image @ room.normals[:, None].mT], -2)], -1)
        reached = room.along_rows(u) + shift
        gradient = (radius**2 - through(reached**2, members)) / 2 - weight[..., None] * through(inverse.diagonal(dim1=-2, dim2=-1), members)
        second = inverse * (reached[..., :, None] * reached[..., None, :] + weight[..., None, None] * inverse)
        if len(members) != members.shape[1]:
            second = through(through(second, members).mT, members).mT
        second.diagonal(dim1=-2, dim2=-1).mul_(1 + 1e-9)
        step = -torch.cholesky_solve(gradient[..., None], torch.linalg.cholesky_ex(second)[0])[..., 0]
        decrement = (-(step * gradient).sum(-1) / weight).clamp(min=0).sqrt()
        safe = torch.where(decrement < 0.25, 1.0, 1 / (1 + decrement))
        kept = [multipliers, value, log_det, factor, u]
        for length in ((4 * safe).clamp(max=1), safe):
            trial = torch.maximum(multipliers + length[..., None] * step, 0.02 * multipliers)
            new = [trial, *at(trial)]
            lower = new[1] - weight * new[2] < kept[1] - weight * kept[2]
            kept = _chosen(lower, new, kept)
        multipliers, value, log_det, factor, u = kept
        found = torch.where((value < best)[..., None], multipliers, found)
        best = torch.where(value < best, value, best)
        weight = weight * FADING
    return found


def _chosen(which: Tensor, one: Iterable[Tensor], other: Iterable[Tensor]) -> list[Tensor]:
    return [torch.where(which.reshape(*which.shape, *[1] * (a.dim() - which.dim())), a, b) for a, b in zip(one, other, strict=True)]


def proved(form: Tensor, error: Tensor, room: Room, multipliers: Tensor, linear: Tensor) -> Tensor:
    """The bound that these multipliers give, rounded up; infinite where M is not proved to be positive semidefinite up to a known slack."""
    n, dtype = form.shape[-1], form.dtype
    multipliers = multipliers.clamp(min=0)
    m = _matrix(form, room, multipliers)
    factor, failed = torch.linalg.cholesky_ex(m)
    # M + dM = R'R for some |dM| <= gamma |R'||R|, whose norm is at most gamma trace(M); and M's own diagonal was rounded.
    below = 2 * rounding.gamma(n + 4, dtype) * m.diagonal(dim1=-2, dim2=-1).sum(-1)
    reach = torch.linalg.vector_norm(room.radii, dim=-1)[:, None]
    radius, shift = room.limits(n)
    dual = (multipliers * radius * radius).sum(-1) / 2
    slope, size = linear, dual
    norm_g = torch.linalg.vector_norm(linear, dim=-1) + rounding.vanished(n)
    if room.normals is not None:
        reach = reach + torch.linalg.vector_norm(shift[..., :n], dim=-1)
        rows = through(multipliers, room.members(n).mT)
        squares = (rows * shift * shift).sum(-1) / 2
        dual, size = dual - squares, size + squares
        slope = linear - room.back(rows * shift)
        lengths = torch.linalg.vector_norm(room.normals, dim=-1)[:, None]
        slabs = rows[..., n:]
        norm_g = norm_g + torch.linalg.vector_norm(rows[..., :n] * shift[..., :n], dim=-1) + (slabs * shift[..., n:].abs() * lengths).sum(-1)
        below = below + rounding.gamma(2 * n + 16, dtype) * (slabs * lengths**2).sum(-1)  # the slabs' part of M, not symmetric either
    reach = reach + rounding.vanished(n)  # its n + 8 roundings, twice in its square, are among those of the total, to which it only adds
    if bool(failed.any()):
        factor = torch.where((failed == 0)[..., None, None], factor, torch.eye(n, dtype=dtype, device=form.device))
    u = torch.cholesky_solve(slope[..., None], factor)[..., 0]
    image = (m @ u[..., None])[..., 0]
    # slope . z - 1/2 z' M z with z = u + v is  slope . u - 1/2 u' M u + (slope - M u) . v - 1/2 v' M v.
    norm_u, norm_m = (torch.linalg.vector_norm(x, dim=-1) + rounding.vanished(n) for x in (u, m.flatten(-2)))
    at_u = (slope * u).sum(-1) - (u * image).sum(-1) / 2
    lost = rounding.gamma(2 * n + 16, dtype) * (norm_g + norm_m * norm_u)
    residual = torch.linalg.vector_norm(slope - image, dim=-1) + rounding.vanished(n) + lost  # whatever u is: its squares may underflow too
    further = reach + norm_u
    total = dual + at_u.clamp(min=0) + residual * further + 2 * lost * norm_u + below * further**2 / 2 + error * reach**2 / 2
    total = rounding.up(total, total.abs() + size, 4 * n + 64)
    return torch.where((failed == 0) & ~total.isnan(), total, torch.inf)


def largest_on_cross_polytopes(form: Tensor, error: Tensor, radii: Tensor, linears: Sequence[Tensor | None]) -> list[Top]:
    """The same for a product of 1-norm balls, without eigenvalues: the form pairs coordinates, and a 1-norm ball weighs the largest pair.

    z' H z <= sum_k sum_i |z_k,i| sum_l radius_l max_j |H_kl,ij|, which is linear in |z_k|: largest at a vertex of every frame's ball.
    No multipliers are needed. shape: form [B, R, D, D], error [B, R], radii [B, m], each linear [B, R, D].
    """
    count = radii.shape[-1]
    row = _grouped(form.abs(), count).amax(-1)  # [B, R, D, m]
    pull = ((row + error[..., None, None]) * radii[:, None, None]).sum(-1) / 2

    def reach(x: Tensor) -> Top:
        total = (_grouped(x, count).amax(-1) * radii[:, None]).sum(-1)
        return torch.where(total.isnan(), torch.inf, rounding.up(total, total, 4 * count + 64)), total.new_zeros(*total.shape, 0)

    return [reach(pull if linear is None else pull + linear.abs()) for linear in linears]


def _grouped(x: Tensor, count: int) -> Tensor:
    """shape: [..., D] -> [..., count, D / count]."""
    return x.reshape(*x.shape[:-1], count, x.shape[-1] // count)


def _less(diagonal: Tensor, form: Tensor) -> Tensor:
    """diag(diagonal) - form. shape: [..., D], [..., D, D]."""
    found = -form
    found.diagonal(dim1=-2, dim2=-1).add_(diagonal)
    return found
