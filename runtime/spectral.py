"""The largest value of linear . z + 1/2 z' H z on a product of balls, bounded by Lagrange multipliers.

z falls into groups of coordinates, |z_g|_2 <= radius_g: one group a frame for the 2-norm, one a coordinate for the infinity norm. For any
multipliers lam_g >= 0 with M = diag(lam) - H positive semidefinite, the maximum is at most
1/2 sum_g lam_g radius_g^2 + 1/2 linear' M^-1 linear (S-procedure; for a single ball the best one is exact). The search for good multipliers is
ordinary floating point; what is returned is then proved: a Cholesky factorisation that runs to its end bounds M's lowest eigenvalue
from below (Higham, *Accuracy and Stability*, theorem 10.3), and the residual of the linear solve is paid for.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vlang.runtime import rounding
from vlang.runtime.ball import UNDERFLOW

#: Shifts tried, in units of the quadratic form's largest scaled eigenvalue. The best lies between 0 and 1.
SHIFTS = (1e-3, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0)
#: A group gets at least this share of the largest group's multiplier.
LEAST_SHARE = 1e-6


def largest(form: Tensor, error: Tensor, radii: Tensor, linear: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """Upper bounds of 1/2 z' H z, and of linear . z + 1/2 z' H z where `linear` is given; infinite where none was proved.

    form: H, symmetric, known up to a matrix of spectral norm `error`. shape: form [B, R, D, D], error [B, R], radii [B, G] with D a multiple
    of G, linear [B, R, D] -> [B, R] each.
    """
    count = radii.shape[-1]
    size = form.shape[-1] // count
    radii = radii[:, None]
    tiny = torch.finfo(form.dtype).tiny ** 0.25

    def spread(x: Tensor) -> Tensor:
        return x.repeat_interleave(size, -1)

    proper = form.isfinite().flatten(2).all(-1)
    moves = spread(radii > 0)
    if not bool(proper.all() & moves.all()):
        form = torch.where(proper[..., None, None] & moves[..., None] & moves[..., None, :], form, 0.0)
    # Multipliers in proportion to the rows of H: exact for rank one and for multiples of the identity (a shift alone is not).
    unit = _grouped((form * form).sum(-1), count).sum(-1).sqrt()
    unit = unit.clamp(min=LEAST_SHARE * unit.amax(-1, keepdim=True)).clamp(min=tiny)
    scale = spread(unit.rsqrt())
    scaled = (form * scale[..., :, None]).mul_(scale[..., None, :])
    top = torch.linalg.eigvalsh(scaled)[..., -1].clamp(min=0)
    shift = top * (1 + 1e-9) + 1e-12 + tiny
    pure = torch.where(proper, _proved(form, error, radii, shift[..., None] * unit, None), torch.inf)
    if linear is None:
        return pure, None
    proper = proper & linear.isfinite().all(-1)
    linear = torch.where(proper[..., None] & moves, linear, 0.0)
    start = torch.linalg.vector_norm(_grouped(linear, count), dim=-1) / radii.clamp(min=tiny)
    start = torch.where(start.isfinite(), start, 0.0)
    values, vectors = torch.linalg.eigh(_less(spread(start / unit), scaled))
    along = (vectors.mT @ (linear * scale)[..., None])[..., 0]
    floor = (-values[..., 0]).clamp(min=0) * (1 + 1e-9) + 1e-12 * values[..., -1].abs() + tiny
    shifts = floor[..., None] + top[..., None] * torch.tensor(SHIFTS, dtype=form.dtype, device=form.device)  # [B, R, S]
    weight, first = (unit * radii**2).sum(-1, keepdim=True), (start * radii**2).sum(-1, keepdim=True)
    height = (along[..., None, :] ** 2 / (values[..., None, :] + shifts[..., None])).sum(-1) + shifts * weight + first
    best = shifts.gather(-1, height.argmin(-1, keepdim=True))
    joint = _proved(form, error, radii, start + best * unit, linear)
    return pure, torch.where(proper, joint, torch.inf)


def _proved(form: Tensor, error: Tensor, radii: Tensor, lam: Tensor, linear: Tensor | None) -> Tensor:
    """The bound that these multipliers give, rounded up; infinite where M is not proved to be positive semidefinite up to a known slack."""
    n, dtype = form.shape[-1], form.dtype
    size = n // lam.shape[-1]
    m = _less(lam.repeat_interleave(size, -1), form)
    factor, failed = torch.linalg.cholesky_ex(m)
    # M + dM = R'R for some |dM| <= gamma |R'||R|, whose norm is at most gamma trace(M); and M's own diagonal was rounded.
    below = 2 * rounding.gamma(n + 4, dtype) * m.diagonal(dim1=-2, dim2=-1).sum(-1)
    reach = torch.linalg.vector_norm(radii, dim=-1) * (1 + rounding.gamma(n + 8, dtype)) + n * UNDERFLOW
    dual = (lam * radii * radii).sum(-1) / 2
    if linear is None:
        total = dual + (below + error) * reach**2 / 2
    else:
        if bool(failed.any()):
            factor = torch.where((failed == 0)[..., None, None], factor, torch.eye(n, dtype=dtype, device=form.device))
        u = torch.cholesky_solve(linear[..., None], factor)[..., 0]
        image = (m @ u[..., None])[..., 0]
        # linear . z - 1/2 z' M z with z = u + v is  linear . u - 1/2 u' M u + (linear - M u) . v - 1/2 v' M v.
        norm_u, norm_m, norm_g = (torch.linalg.vector_norm(x, dim=-1) for x in (u, m.flatten(-2), linear))
        at_u = (linear * u).sum(-1) - (u * image).sum(-1) / 2
        lost = rounding.gamma(2 * n + 16, dtype) * (norm_g + norm_m * norm_u)
        residual = torch.linalg.vector_norm(linear - image, dim=-1) + lost
        further = reach + norm_u
        total = dual + at_u.clamp(min=0) + residual * further + 2 * lost * norm_u + below * further**2 / 2 + error * reach**2 / 2
    total = rounding.up(total, total.abs(), 4 * n + 64)
    return torch.where((failed == 0) & ~total.isnan(), total, torch.inf)


def largest_on_cross_polytopes(form: Tensor, error: Tensor, radii: Tensor, linear: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """The same for a product of 1-norm balls, without eigenvalues: the form pairs coordinates, and a 1-norm ball weighs the largest pair.

    z' H z <= sum_k sum_i |z_k,i| sum_l radius_l max_j |H_kl,ij|, which is linear in |z_k|: largest at a vertex of every frame's ball.
    shape: form [B, R, D, D], error [B, R], radii [B, m], linear [B, R, D] -> [B, R] each.
    """
    count = radii.shape[-1]
    row = _grouped(form.abs(), count).amax(-1)  # [B, R, D, m]
    pull = ((row + error[..., None, None]) * radii[:, None, None]).sum(-1) / 2

    def reach(x: Tensor) -> Tensor:
        total = (_grouped(x, count).amax(-1) * radii[:, None]).sum(-1)
        return torch.where(total.isnan(), torch.inf, rounding.up(total, total, 4 * count + 64))

    return reach(pull), None if linear is None else reach(pull + linear.abs())


def _grouped(x: Tensor, count: int) -> Tensor:
    """shape: [..., D] -> [..., count, D / count]."""
    return x.reshape(*x.shape[:-1], count, x.shape[-1] // count)


def _less(diagonal: Tensor, form: Tensor) -> Tensor:
    """diag(diagonal) - form. shape: [..., D], [..., D, D]."""
    found = -form
    found.diagonal(dim1=-2, dim2=-1).add_(diagonal)
    return found
