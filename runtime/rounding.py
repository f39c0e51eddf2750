"""The only place with a floating-point policy.

Bounds are evaluated in floating point with round-to-nearest. Everything that a bound adds up is therefore widened by
an a-priori error bound, in the notation of Higham, *Accuracy and Stability of Numerical Algorithms* (2nd ed., section 3.1):
``u`` is the unit roundoff and ``gamma(n) = n u / (1 - n u)`` bounds the relative error of n chained roundings.
Elementary functions (exp, log, tanh) are taken to be within `LIBM_ULPS` units in the last place; a test measures this.
"""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor

#: Assumed worst error, in units of the unit roundoff, of one elementary function of torch.
LIBM_ULPS = 8
#: Roundings in the evaluation of one candidate of an offset (see `relaxations`), elementary functions included.
OFFSET_ROUNDINGS = 8 * LIBM_ULPS
#: The same of a deployed network's arithmetic, whoever computes it, and roundings in one of its nonlinearities (two functions, two products).
DEPLOYED_ULPS = 8
DEPLOYED_ROUNDINGS = 4 * DEPLOYED_ULPS
#: Relative room for the roundings of sums and products of terms that are not negative: of some four million of them, and of a few.
ROOM, LITTLE_ROOM = 1e-9, 1e-12
#: What bounds by forms leave to a checker, whose balls of matrices are measured by row sums: many times the roundings of spectral norms.
CHECKED = 1e-9
#: What one square of a 2-norm may lose to underflow, as a length.
VANISHED = 2.0**-500
#: Bits of a bound that is reported: what a batch's products round differently is far below them.
REPORTED_BITS = 30
#: Bits by which eps that are tried are finer than a search's tolerance, and the most there are.
FINER, MOST_BITS = 4, 50
#: More than sums of products lose to underflow, ours and those of a checker that has to allow for it, where terms have no size to be relative to.
UNDERFLOWN = 1e-290


def deployed(magnitude: Tensor, roundings: int) -> Tensor:
    """How far a float32 computation of so many roundings, in any order, may be from the real one; magnitude: of all its terms.

    Infinite where a partial sum may exceed float32's range in some order: what is computed from infinities may be anything, NaN too.
    """
    lost = gamma(roundings, torch.float32)
    within = magnitude * (1 + 2 * lost) < torch.finfo(torch.float32).max
    return torch.where(within, magnitude * lost + roundings * torch.finfo(torch.float32).tiny, torch.inf)


def tiny(like: Tensor) -> float:
    """The smallest normal number: what underflow may lose, and what keeps divisors from 0."""
    return torch.finfo(like.dtype).tiny


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
    return magnitude * gamma(roundings, magnitude.dtype) + tiny(magnitude)


def up(value: Tensor, magnitude: Tensor, roundings: int = OFFSET_ROUNDINGS) -> Tensor:
    """An upper bound of the real number that `value` approximates."""
    return value + 2 * pad(magnitude, roundings)


def down(value: Tensor, magnitude: Tensor, roundings: int = OFFSET_ROUNDINGS) -> Tensor:
    """A lower bound of the real number that `value` approximates."""
    return value - 2 * pad(magnitude, roundings)


def enlarged(value: Tensor, room: float | None = None) -> Tensor:
    """At least a sum of products of terms >= 0 that `value` is, computed in any order. room: ROOM, where it is not given."""
    return value * (1 + (ROOM if room is None else room))


def moved_out(end: Tensor, sign: int) -> Tensor:
    """A slab's end, moved outward by more than the rounding of the ends and of the direction's scale."""
    return end + sign * LITTLE_ROOM * end.abs()


def product_up(a: Tensor, b: Tensor | float) -> Tensor:
    """At least a b of numbers >= 0, and never 0 by underflow."""
    return (a * b * (1 + 2 * unit_roundoff(torch.float64))).clamp(min=tiny(a))


def exponent_down(q: float) -> float:
    """At most a real exponent that q approximates, and at least 1: a smaller exponent gives a larger norm. 2 is exact."""
    return q if q == 2.0 else max(1.0, q * (1 - 8 * unit_roundoff(torch.float64)))


def around(distance: Tensor, number: Tensor) -> Tensor:
    """How far number -+ distance, computed, must reach to hold what is within `distance` of the number."""
    u = unit_roundoff(torch.float64)
    return distance * (1 + 8 * u) + number.abs() * (2 * u) + tiny(number)


def lost_sigmoid(like: Tensor) -> float:
    """What a computed sigmoid that underflows to 0 may be less than the true one, once for each of a few uses."""
    return 4 * tiny(like)


def vanished(count: int) -> float:
    """What the 2-norm of so many numbers may lose to underflow of their squares."""
    return count * VANISHED


def at_least(exact: Fraction) -> float:
    """The smallest float64 not below an exact number."""
    value = float(exact)
    return value if Fraction(value) >= exact else math.nextafter(value, math.inf)


def at_most(exact: Fraction) -> float:
    """The largest float64 not above an exact number."""
    return -at_least(-exact)


def spacing(lo: float, hi: float, dtype: torch.dtype) -> float:
    """More than the distance between a number in [lo, hi] and one that rounding made of it, an end's own rounding included."""
    return 2 * unit_roundoff(dtype) * (abs(lo) + abs(hi))


def reported(value: Tensor, sign: int) -> Tensor:
    """A lower (sign -1) or upper (1) bound as it is reported: outward to few bits, so that the same row says the same in any batch."""
    return _coarse(value, REPORTED_BITS, sign)


def tried(eps: Tensor, tolerance: float) -> Tensor:
    """eps as a search tries them: down to a grid finer than its tolerance, so that they do not depend on the last bits of what led there."""
    return _coarse(eps, min(MOST_BITS, FINER + math.ceil(-math.log2(tolerance))), -1)


def _coarse(value: Tensor, bits: int, sign: int) -> Tensor:
    mantissa, exponent = torch.frexp(value)
    scaled = torch.ldexp(mantissa, torch.tensor(bits))
    return torch.where(value.isfinite(), torch.ldexp((scaled.ceil() if sign > 0 else scaled.floor()) * 2.0**-bits, exponent), value)
