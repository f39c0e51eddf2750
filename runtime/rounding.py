"""The only place with a floating-point policy.

Bounds are evaluated in floating point with round-to-nearest. Everything that a bound adds up is therefore widened by
an a-priori error bound, in the notation of Higham, *Accuracy and Stability of Numerical Algorithms* (2nd ed., section 3.1):
``u`` is the unit roundoff and ``gamma(n) = n u / (1 - n u)`` bounds the relative error of n chained roundings.
Elementary functions (exp, log, tanh) are taken to be within `LIBM_ULPS` units in the last place; a test measures this.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Assumed worst error, in units of the unit roundoff, of one elementary function of torch.
LIBM_ULPS = 8
#: Roundings in the evaluation of one candidate of an offset (see `relaxations`), elementary functions included.
OFFSET_ROUNDINGS = 8 * LIBM_ULPS
#: The same of a deployed network's arithmetic, whoever computes it, and roundings in one of its nonlinearities (two functions, two products).
DEPLOYED_ULPS = 8
DEPLOYED_ROUNDINGS = 4 * DEPLOYED_ULPS
#: More than sums of products lose to underflow, ours and those of a checker that has to allow for it, where terms have no size to be relative to.
UNDERFLOWN = 1e-290


def deployed(magnitude: Tensor, roundings: int) -> Tensor:
    """How far a float32 computation of so many roundings, in any order, may be from the real one; magnitude: of all its terms."""
    return magnitude * gamma(roundings, torch.float32) + roundings * torch.finfo(torch.float32).tiny


def unit_roundoff(dtype: torch.dtype) -> float:
    """Unit roundoff u of `dtype` (half the spacing at 1)."""
    return torch.finfo(dtype).eps / 2


def gamma(n: int, dtype: torch.dtype) -> float:
    """Higham's gamma_n, itself rounded up by doubling the last term."""
    nu = n * unit_roundoff(dtype)
    if nu >= 0.5:
        raise ValueError(f"{n} roundings are too many for {dtype}")
    return nu / (1 - nu) * (1 + 4 * unit_roundoff(torch.float64))


def pad(magnitude: Tensor, roundings: int = OFFSET_ROUNDINGS) -> Tensor:
    """The widening for a value built from terms of total size `magnitude` with so many roundings; never zero, so that underflow is covered."""
    return magnitude * gamma(roundings, magnitude.dtype) + torch.finfo(magnitude.dtype).tiny


def up(value: Tensor, magnitude: Tensor, roundings: int = OFFSET_ROUNDINGS) -> Tensor:
    """An upper bound of the real number that `value` approximates."""
    return value + 2 * pad(magnitude, roundings)


def down(value: Tensor, magnitude: Tensor, roundings: int = OFFSET_ROUNDINGS) -> Tensor:
    """A lower bound of the real number that `value` approximates."""
    return value - 2 * pad(magnitude, roundings)
