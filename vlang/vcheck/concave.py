"""The largest value of a concave quadratic, from a guess at the root of its matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .balls import Balls


@dataclass(frozen=True)
class Peak:
    """b . z - 1/2 z' M z = 1/2 |y|^2 - 1/2 |L' z - y|^2 + (b - L y) . z - 1/2 z' (M - L L') z, which holds for any L and y.

    square: |y|^2. beside: b - L y. off: M - L L'. The last two are small, and paid for by how large z is.
    """

    square: Balls
    beside: Balls
    off: Balls

    @classmethod
    def guessed(cls, m: Balls, b: Balls) -> Peak | None:
        """None where no L is found: M is not definite."""
        try:
            factor = np.linalg.cholesky(m.mid)
            y = Balls.exactly(np.linalg.solve(factor, b.mid))
        except np.linalg.LinAlgError:
            return None
        left = Balls.exactly(factor)
        return cls((y[None] @ y)[0], b - left @ y, m - left @ left.mT)
