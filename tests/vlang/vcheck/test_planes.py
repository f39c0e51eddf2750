"""Planes that a point contradicts, by little, are refused; those well above or below everywhere are accepted."""

from __future__ import annotations

import numpy as np
import pytest
from flint import arb, ctx

from tests.vlang.vcheck.test_parabolas import FUNCTIONS, arity_of, box_of
from vlang.vcheck.planes import is_below
from vlang.vcheck.proof import FINE_BITS, FINEST_BITS


@pytest.mark.parametrize("op", FUNCTIONS)
def test_a_plane_that_a_point_contradicts_is_refused(op: str) -> None:
    rng = np.random.default_rng(1)
    arity, inner = arity_of(op), 0
    for _ in range(200):
        lo, hi = box_of(op, rng)
        y = np.meshgrid(*(np.linspace(a, b, 2001 if arity == 1 else 101) for a, b in zip(lo, hi, strict=True)), indexing="ij")
        slopes = rng.normal(size=arity) / 2
        rest = FUNCTIONS[op](*y) - sum(a * v for a, v in zip(slopes, y, strict=True))
        box = [(arb(a), arb(b)) for a, b in zip(lo, hi, strict=True)]
        for sign in (1, -1):
            top = (sign * rest).max()
            inner += top > (sign * rest)[(slice(None, None, 2000 if arity == 1 else 100),) * arity].max() + 1e-3
            for offset, holds in ((top - 1e-6, False), (top + 0.05, True)):
                assert is_below(op, box, list(map(arb, slopes)), arb(offset), sign) == holds
    assert inner > 5 or op == "product"


def test_slopes_that_are_hardly_any_are_checked_with_more_bits() -> None:
    """1 - 5.7e-67 is 1 to `FINE_BITS`: what holds is only seen to hold with more."""
    box, slopes, top = [(arb(21.2), arb(43.1)), (arb(50.7), arb(103.2))], [arb(1.1e-14), arb(5.7e-67)], arb(1)
    before, seen = ctx.prec, []
    for bits in (FINE_BITS, FINEST_BITS):
        ctx.prec = bits
        seen.append(is_below("sigmoid_tanh", box, slopes, top, 1))
    ctx.prec = before
    assert seen == [False, True]
