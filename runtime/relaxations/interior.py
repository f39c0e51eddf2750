"""Many small linear programs at once, by an interior-point method."""

from __future__ import annotations

import torch
from torch import Tensor

#: Steps; each costs a product and a small Cholesky factorisation. Six leave about three digits.
STEPS = 6
#: Complementarity below which a program is left as it is, how near to the border a step goes, and what keeps factorisations from failing.
ENOUGH, INSIDE, RIDGE = 1e-11, 0.99, 1e-13


def least(cost: Tensor, table: Tensor, floor: Tensor) -> Tensor:
    """x that nearly minimises cost . x subject to table x >= floor, by Mehrotra's predictor and corrector (Nocedal and Wright, algorithm 14.3).

    The programs must have an optimum; what comes back is not checked. shape: cost [N, n], table [P, n], floor [N, P] -> [N, n].
    """
    count = table.shape[1]
    unit = torch.eye(count, dtype=table.dtype, device=table.device)
    pairs = (table[:, :, None] * table[:, None]).flatten(1)

    def factored(weight: Tensor) -> Tensor:
        normal = (weight @ pairs).reshape(-1, count, count)
        size = normal.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
        found: Tensor = torch.linalg.cholesky_ex(normal + RIDGE * size * unit)[0]
        return found

    def solved(factor: Tensor, right: Tensor) -> Tensor:
        return torch.cholesky_solve(right[..., None], factor)[..., 0]

    first = factored(torch.ones_like(floor[:1]))
    x, dual = solved(first, floor @ table), solved(first, cost) @ table.T
    slack = x @ table.T - floor
    slack, dual = (v + (-1.5 * v.amin(-1, keepdim=True)).clamp(min=0) for v in (slack, dual))
    product = (slack * dual).sum(-1, keepdim=True)
    slack = slack + 0.5 * product / dual.sum(-1, keepdim=True).clamp(min=1e-12) + 1e-6
    dual = dual + 0.5 * product / slack.sum(-1, keepdim=True) + 1e-6
    for _ in range(STEPS):
        short, uncovered = x @ table.T - slack - floor, cost - dual @ table
        middle = (slack * dual).mean(-1, keepdim=True)
        factor = factored(dual / slack)
        target = -slack * dual
        for corrected in (False, True):
            by_x = solved(factor, ((target - dual * short) / slack) @ table - uncovered)
            by_slack = by_x @ table.T + short
            by_dual = (target - dual * by_slack) / slack
            share = INSIDE if corrected else 1.0
            far, far_dual = _length(slack, by_slack, share), _length(dual, by_dual, share)
            if not corrected:
                after = ((slack + far * by_slack) * (dual + far_dual * by_dual)).mean(-1, keepdim=True)
                target = (after / middle) ** 3 * middle - slack * dual - by_slack * by_dual
        going = (middle > ENOUGH) & by_x.isfinite().all(-1, keepdim=True) & by_dual.isfinite().all(-1, keepdim=True)
        x, slack = torch.where(going, x + far * by_x, x), torch.where(going, slack + far * by_slack, slack)
        dual = torch.where(going, dual + far_dual * by_dual, dual)
    return x


def _length(value: Tensor, change: Tensor, share: float) -> Tensor:
    """A share of the longest step that keeps value + step change >= 0, at most 1. shape: [N, P] -> [N, 1]."""
    return (share * torch.where(change < 0, -value / change, torch.inf)).amin(-1, keepdim=True).clamp(max=1)
