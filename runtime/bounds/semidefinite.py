"""The interior point method behind joint bounds: the best quadratic constraints on the graphs of many operations at once.

A vector xi of numbers is known by what its parts are: groups of its first coordinates lie in balls, |xi_g|^2 <= radius_g^2, and for every operation j
the triple Y = (a, b, v) = rows_j xi, two arguments and the value, lies on a graph, of which points are given. The largest objective . xi is at most

    minimise  y0 + sum_g d_g radius_g^2   over  d >= 0,  q_j(Y) = sum over pairs of (1, a, b, v) of y_j,kl Y_k Y_l  <= 0 at every point,
    such that  y0 + sum_g d_g |xi_g|^2 + sum_j q_j(rows_j xi) - objective . xi  is a sum of squares (a positive semidefinite matrix S)

(Lagrangian duality; the dual of its moment relaxation). Solved with Mehrotra's corrector and the direction of Helmberg, Rendl,
Vanderbei and Wolkowicz (SIAM J. Optim. 6, 1996). Whatever it ends with is a proposal: `joint` proves the bound that its constraints give on whole
graphs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

#: The pairs of (1, a, b, v) that a constraint has coefficients for.
PAIRS = tuple(itertools.combinations_with_replacement(range(4), 2))
MOST_STEPS = 40
#: Where the method starts: X, S beside the objective's size, and the points' products beside those of X and S. Each was tried at 3 times more and
#: less, which took a fifth to a half more steps.
FIRST_MOMENT, FIRST_MATRIX, FIRST_PRODUCT = 0.1, 0.1, 0.01
#: How far to go towards the boundary, and how much of the gap to aim at. Always the same: what a step without a corrector would leave says too
#: little here, and aiming lower takes up to half as many steps more.
FURTHEST, CENTRING = 0.95, 0.3
#: What constraints may be off, beside the objective's size; and moments, whose value is then known up to what is missing: steps in single precision
#: leave some 1e-3, which only decides when to stop.
FEASIBLE, NEARLY = 1e-5, 1e-2
#: A bound that falls by less than this share of itself in so many steps, while the gap does not close by that factor, will not fall much further.
STALLED, PATIENCE, CLOSING = 0.03, 3, 0.5
#: Relative ridges with which Newton's system is factorised, one after the other.
RIDGES = (1e-7, 1e-6, 1e-5, 1e-4)


@dataclass(frozen=True, eq=False)
class Problem:
    """objective [D]; rows [n, 3, D]; points [n, 3, P]; members [D, G], 1 where a coordinate is in a group; squares [G], radii squared."""

    objective: Tensor
    rows: Tensor
    points: Tensor
    members: Tensor
    squares: Tensor


@dataclass(frozen=True, eq=False)
class Constraints:
    """What was found: q_j(Y) = linear_j . Y + 1/2 Y' quadratic_j Y, up to a constant, and the balls' multipliers (of 1/2 |xi_g|^2).

    shape: linear [n, 3], quadratic [n, 3, 3], multipliers [G].
    """

    linear: Tensor
    quadratic: Tensor
    multipliers: Tensor


#: Asked in every step with the least bound so far and the largest value that the relaxation is known to have: whether that is enough.
Enough = Callable[[float, float], bool]


class _Moments:
    """Moments of (1, xi) as the operations see them: F_k,j = sym(t_k t_j'), t the rows of (1, a, b, v)."""

    def __init__(self, p: Problem) -> None:
        n, _, d = p.rows.shape
        self.n, self.size = n, d + 1
        self.t = p.rows.new_zeros(n, 4, d + 1)
        self.t[:, 0, 0] = 1
        self.t[:, 1:, 1:] = p.rows
        self.flat = self.t.reshape(-1, d + 1)
        every = torch.cat([torch.ones_like(p.points[:, :1]), p.points], 1)
        self.v = torch.stack([every[:, k] * every[:, j] for k, j in PAIRS])  # [pairs, n, P]
        self.used = self.v.abs().amax(-1) > 0  # [pairs, n]
        # The constant's own "ball" has an equality.
        self.members = p.rows.new_zeros(d + 1, p.members.shape[1] + 1)
        self.members[1:, :-1] = p.members
        self.members[0, -1] = 1

    def of(self, x: Tensor) -> Tensor:
        """t_k' x t_j, x symmetric. shape: [N, N] -> [pairs, n]."""
        z = torch.bmm((self.flat @ x).view(self.n, 4, self.size), self.t.mT)
        return torch.stack([z[:, k, j] for k, j in PAIRS])

    def back(self, y: Tensor) -> Tensor:
        """sum of y F. shape: [pairs, n] -> [N, N]."""
        m = y.new_zeros(self.n, 4, 4)
        for (k, j), c in zip(PAIRS, y, strict=True):
            m[:, k, j] += c / 2
            m[:, j, k] += c / 2
        return _symmetric(self.flat.mT @ torch.bmm(m, self.t).view(-1, self.size))

    def values(self, y: Tensor) -> Tensor:
        """q_j at its points. shape: [pairs, n] -> [n, P]."""
        return (self.v * y[..., None]).sum(0)

    def weighed(self, w: Tensor) -> Tensor:
        """The adjoint. shape: [n, P] -> [pairs, n]."""
        return (self.v * w).sum(-1)

    def system(self, x: Tensor, inverse: Tensor, ratio: Tensor, slack: Tensor) -> Tensor:
        """Newton's matrix: tr(F X F' S^-1) of all pairs of constraints, balls behind, and the parts of inequalities on its diagonal.

        In single precision: its steps are exact in all that they keep feasible, and half as dear.
        """
        n, count = self.n, len(PAIRS)
        single = torch.float32
        left, right = (self.flat @ x).view(n, 4, -1), (self.flat @ inverse).view(n, 4, -1)
        g, h = (_blocks((side.reshape(4 * n, -1) @ self.flat.mT).to(single), n) for side in (left, right))
        groups = self.members.shape[1]
        full = torch.empty(count * n + groups, count * n + groups, dtype=single, device=x.device)
        inner = full[: count * n, : count * n].view(count, n, count, n)
        for i, (a, b) in enumerate(PAIRS):
            for j, (c, e) in enumerate(PAIRS[: i + 1]):
                part = (g[b][c] * h[a][e]).addcmul_(g[b][e], h[a][c]).addcmul_(g[a][c], h[b][e]).addcmul_(g[a][e], h[b][c]).mul_(0.25)
                inner[i, :, j] = part
                if i != j:
                    inner[j, :, i] = part.mT
        every = torch.einsum("knp,lnp->kln", self.v * ratio, self.v).to(single)
        each = torch.arange(n, device=x.device)
        for i in range(count):
            for j in range(count):
                inner[i, each, j, each] += every[i, j]
        both = torch.stack([left[:, k] * right[:, j] + left[:, j] * right[:, k] for k, j in PAIRS]) / 2
        across = (both @ self.members).view(count * n, groups).to(single)
        full[: count * n, count * n :], full[count * n :, : count * n] = across, across.mT
        full[count * n :, count * n :] = (self.members.mT @ (x * inverse) @ self.members).to(single)
        full[count * n :, count * n :].diagonal().add_(slack.to(single))
        keep = torch.cat([self.used.flatten(), self.used.new_ones(groups)])
        return full if bool(keep.all()) else full[keep][:, keep]


@dataclass(frozen=True, eq=False)
class _Iterate:
    """Moments x, weights w of the points and what the balls leave; and S, what constraints leave at the points, multipliers (y0 last), coefficients.

    shape: x, s [N, N]; w, z [n, P]; slack [G]; d [G + 1]; y [pairs, n].
    """

    x: Tensor
    w: Tensor
    slack: Tensor
    s: Tensor
    z: Tensor
    d: Tensor
    y: Tensor

    @property
    def gap(self) -> float:
        return float((self.x * self.s).sum() + (self.w * self.z).sum() + self.slack @ self.d[:-1])

    def moved(self, step: _Iterate, a: float, b: float) -> _Iterate:
        x, w, slack = (u + a * v for u, v in ((self.x, step.x), (self.w, step.w), (self.slack, step.slack)))
        s, z, d, y = (u + b * v for u, v in ((self.s, step.s), (self.z, step.z), (self.d, step.d), (self.y, step.y)))
        return _Iterate(x, w, slack, s, z, d, y)


class _Newton:
    """Newton's equations at an iterate; `failed` where they cannot be solved any more."""

    def __init__(self, m: _Moments, at: _Iterate, goal: Tensor, cost: Tensor) -> None:
        self.m, self.at = m, at
        self.factor, wrong = torch.linalg.cholesky_ex(at.s)
        self.moment, bad = torch.linalg.cholesky_ex(at.x)
        self.failed = bool(int(wrong) or int(bad))
        #: What is missing to feasibility, of moments and of constraints.
        self.short = torch.where(m.used, m.weighed(at.w) - m.of(at.x), 0.0)
        self.short_balls = cost - m.members.mT @ at.x.diagonal() - _behind(at.slack)
        self.over = torch.diag(m.members @ at.d) + m.back(at.y) - goal - at.s
        self.over_points = -m.values(at.y) - at.z

    def solvable(self, ridge: float) -> float | None:
        """Factorise; with the least ridge, from one on, that lets it. None if none does."""
        self.inverse = torch.cholesky_inverse(self.factor)
        at = self.at
        matrix = self.m.system(at.x, self.inverse, at.w / at.z, _behind(at.slack / at.d[:-1]))
        diagonal = matrix.diagonal().clone()
        for more in RIDGES:
            if more >= ridge:
                matrix.diagonal().copy_(diagonal * (1 + more))
                self.newton, failed = torch.linalg.cholesky_ex(matrix)
                if not int(failed):
                    return more
        return None

    def direction(self, aim: float, after: _Iterate | None) -> _Iterate:
        """Towards moments and constraints whose products are `aim`; after: a first step, whose products are corrected for."""
        m, at, inverse = self.m, self.at, self.inverse
        rx, rw, rs = aim * inverse - at.x, aim / at.z - at.w, aim / at.d[:-1] - at.slack
        if after is not None:
            rx = rx - _symmetric(after.x @ after.s @ inverse)
            rw, rs = rw - after.w * after.z / at.z, rs - after.slack * after.d[:-1] / at.d[:-1]
        e = rx - _symmetric(at.x @ self.over @ inverse)
        by_pairs = m.of(e) - m.weighed(rw - at.w / at.z * self.over_points) - self.short
        by_balls = m.members.mT @ e.diagonal() + _behind(rs) - self.short_balls
        known = torch.cat([by_pairs[m.used], by_balls])
        step = torch.cholesky_solve(known[:, None].to(self.newton), self.newton)[:, 0].to(known)
        dy = torch.zeros_like(at.y)
        dy[m.used], dd = step[: -len(by_balls)], step[-len(by_balls) :]
        ds = torch.diag(m.members @ dd) + m.back(dy) + self.over
        dz = self.over_points - m.values(dy)
        dx = rx - _symmetric(at.x @ ds @ inverse)
        return _Iterate(dx, rw - at.w / at.z * dz, rs - at.slack / at.d[:-1] * dd[:-1], ds, dz, dd, dy)

    def lengths(self, step: _Iterate) -> tuple[float, float]:
        """How far moments and constraints can go."""
        at = self.at
        one = min(_furthest(self.moment, step.x), _ratio(at.w, step.w), _ratio(at.slack, step.slack))
        other = min(_furthest(self.factor, step.s), _ratio(at.z, step.z), _ratio(at.d[:-1], step.d[:-1]))
        return min(1.0, FURTHEST * one), min(1.0, FURTHEST * other)

    def step(self) -> tuple[_Iterate, float, float]:
        count = self.m.size + self.at.w.numel() + len(self.at.slack)
        step = self.direction(CENTRING * self.at.gap / count, self.direction(0.0, None))
        return step, *self.lengths(step)


def constraints(p: Problem, enough: Enough) -> Constraints | None:
    """Constraints that make the bound small; None where none that bound anything were found."""
    m, scale = _Moments(p), float(torch.linalg.vector_norm(p.objective))
    if not scale > 0:
        return None
    goal = p.rows.new_zeros(m.size, m.size)
    goal[0, 1:] = goal[1:, 0] = p.objective / 2
    cost, near = torch.cat([p.squares, p.squares.new_ones(1)]), FEASIBLE * scale
    at = _first(m, p, scale)
    found: _Iterate | None = None
    largest, ridge = -torch.inf, RIDGES[0]
    bounds: list[float] = []
    gaps: list[float] = []
    for _ in range(MOST_STEPS):
        newton = _Newton(m, at, goal, cost)
        if newton.failed:
            break
        if float(newton.over.abs().max()) < near and float(newton.over_points.abs().max()) < near:
            value = float(cost @ at.d)
            if found is None or value < bounds[-1]:
                found = at
            bounds.append(min([value, *bounds[-1:]]))
            gaps.append(at.gap)
            if float(newton.short.abs().max()) < NEARLY and float(newton.short_balls.abs().max()) < NEARLY:
                missing = float((newton.short * at.y).sum() + newton.short_balls @ at.d)
                largest = max(largest, float((goal * at.x).sum()) - abs(missing) - near)
            if enough(bounds[-1], largest) or (len(bounds) > PATIENCE and _stalled(bounds[-1 - PATIENCE :], gaps[-1 - PATIENCE :])):
                break
        more = newton.solvable(ridge)
        if more is None:
            break
        step, a, b = newton.step()
        if not (a > 0 and b > 0):
            break
        at, ridge = at.moved(step, a, b), more
    return None if found is None else _named(found)


def _stalled(bounds: list[float], gaps: list[float]) -> bool:
    return bounds[0] - bounds[-1] < STALLED * abs(bounds[-1]) and gaps[-1] > CLOSING * gaps[0]


def _first(m: _Moments, p: Problem, scale: float) -> _Iterate:
    eye = torch.eye(m.size, dtype=p.rows.dtype, device=p.rows.device)
    x = FIRST_MOMENT * eye
    x[0, 0] = 1
    w, slack, product = torch.full_like(p.points[:, 0], 1 / p.points.shape[-1]), p.squares / 2, FIRST_MATRIX * FIRST_MOMENT * scale
    d = torch.cat([product / slack, slack.new_full((1,), scale)])
    return _Iterate(x, w, slack, FIRST_MATRIX * scale * eye, FIRST_PRODUCT * product / w, d, x.new_zeros(len(PAIRS), m.n))


def _named(at: _Iterate) -> Constraints:
    linear = torch.stack([at.y[PAIRS.index((0, k))] for k in (1, 2, 3)], -1)
    quadratic = linear.new_zeros(*linear.shape, 3)
    for i, (k, j) in enumerate(PAIRS):
        if k:
            quadratic[:, k - 1, j - 1] += at.y[i]
            quadratic[:, j - 1, k - 1] += at.y[i]
    return Constraints(linear, quadratic, 2 * at.d[:-1])


def _behind(x: Tensor) -> Tensor:
    """Of the balls, and for y0, whose constraint is an equation, 0."""
    return torch.cat([x, x.new_zeros(1)])


def _symmetric(x: Tensor) -> Tensor:
    return (x + x.mT) / 2


def _blocks(x: Tensor, n: int) -> list[list[Tensor]]:
    """shape: [4 n, 4 n] -> by rows k, j of (1, a, b, v), each [n, n]."""
    every = x.view(n, 4, n, 4)
    return [[every[:, k, :, j].contiguous() for j in range(4)] for k in range(4)]


def _furthest(factor: Tensor, step: Tensor) -> float:
    """The largest t for which factor factor' + t step is positive semidefinite."""
    inner = torch.linalg.solve_triangular(factor, step, upper=False)
    inner = torch.linalg.solve_triangular(factor, inner.mT, upper=False)
    if not bool(inner.isfinite().all()):
        return 0.0
    lowest = float(torch.linalg.eigvalsh(_symmetric(inner))[0])
    return torch.inf if lowest >= 0 else -1 / lowest


def _ratio(x: Tensor, step: Tensor) -> float:
    """The largest t for which x + t step is not negative anywhere."""
    down = step < 0
    return float((x[down] / -step[down]).min()) if bool(down.any()) else torch.inf
