"""Closed-form stationary points of the four one-dimensional problems behind every offset.

Each function returns the maximiser on the concave side and the function's value there, computed together from the same
rounded root so that an error in the root is an error of second order in the maximum (runtime/README.md, sections 2 and 9). The two must
then be accurate relative to their own size, or their errors do not cancel: a line near 0 is tight to 1e-17.
Where no stationary point exists the result is NaN or outside the box; `inside` discards both.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vlang.runtime import elementary


def sigmoid_edge(k: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    """argmax over v of k sigma(v) - a v: sigma (1 - sigma) = a / k. Returns (v, sigma(v)), NaN where there is none."""
    q = a / torch.where(k == 0, 1.0, k)
    q = _where((q > 0) & (q <= 0.25) & (k != 0), q)
    small = 2 * q / (1 + (1 - 4 * q).sqrt())
    v = elementary.log((1 - small) / small)
    positive = k > 0
    return torch.where(positive, v, -v), torch.where(positive, 1 - small, small)


def _where(possible: Tensor, x: Tensor) -> Tensor:
    """x, or NaN where nothing is stationary; no gradient comes back from there, instead of NaN."""
    found = torch.where(possible, x, torch.nan)
    if found.requires_grad:
        found.register_hook(lambda gradient: gradient.nan_to_num(0.0, 0.0, 0.0))  # type: ignore[no-untyped-call]
    return found


def tanh_edge(k: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """argmax over z of k tanh(z) - b z with k >= 0: tanh^2 = 1 - b / k. Returns (z, tanh(z)), NaN where there is none."""
    q = b / torch.where(k == 0, 1.0, k)
    q = _where((q > 0) & (q <= 1) & (k != 0), q)
    root = (1 - q).sqrt()
    return _atanh(root, q), root


def _atanh(root: Tensor, q: Tensor) -> Tensor:
    """atanh of root = sqrt(1 - q), to a few units in the last place of the result near 0 and near 1."""
    small = elementary.log1p(2 * root / (1 - root)) / 2
    return torch.where(root < 0.5, small, elementary.log((1 + root) / q.sqrt()))


def inside(x: Tensor, lo: Tensor, hi: Tensor) -> Tensor:
    """Whether a stationary point lies in the interval; False for NaN."""
    return (x >= lo) & (x <= hi)


def sigmoid_tanh_interior(a: Tensor, b: Tensor, iterations: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The interior maximiser of sigma(v) tanh(z) - a v - b z.

    Stationary in z: tanh^2 = 1 - b/s. Along that ridge the objective is concave in v on the branch s > s_p, with derivative
    g(w) - a, w = 1 - s, g(w) = w sqrt((1-w)(1-w-b)), increasing on (0, w_p). Newton on sqrt(1 - g/g_p), which is smooth
    at the double root w = w_p where g itself is flat.

    Returns (v, z, sigma(v), tanh(z), slack): the objective at the true maximum exceeds the one at (v, z) by at most `slack`
    (|residual| times the length of the bracket, by concavity). NaN where there is none (a <= 0, b outside (0, 1), a > g_p).
    """
    possible = (a > 0) & (b > 0) & (b < 1)
    a, b = _where(possible, a), _where(possible, b)
    w_p = 4 * (1 - b) / (6 - 3 * b + (4 - 4 * b + 9 * b * b).sqrt())

    def g(w: Tensor) -> Tensor:
        return w * ((1 - w) * (1 - w - b)).sqrt()

    g_p = g(w_p)
    w_lo = torch.minimum(a / (1 - b).sqrt(), w_p)  # g(w) <= w sqrt(1 - b)
    target = (1 - torch.where(a <= g_p, a, torch.nan) / g_p).sqrt()
    w = w_p * (1 - target)
    for _ in range(iterations):
        w = torch.minimum(torch.maximum(w, w_lo), w_p)
        r, t = 1 - w, 1 - w - b
        root = (r * t).sqrt()
        slope = root - w * (r + t) / (2 * root)
        psi = (1 - w * root / g_p).clamp(min=0).sqrt()
        step = (psi - target) * psi * 2 * g_p / slope
        w = torch.where(step.isfinite(), w + step, w)
    w = torch.minimum(torch.maximum(w, w_lo), w_p)
    s = 1 - w
    q = b / s
    tanh = (1 - q).sqrt()
    bracket = elementary.log((1 - w_lo) / w_lo) - elementary.log((1 - w_p) / w_p)
    slack = (g(w) - a).abs() * bracket
    return elementary.log(s / w), _atanh(tanh, q), s, tanh, slack
