"""The nonlinearities: their values and ranges in ball arithmetic."""

from __future__ import annotations

from collections.abc import Callable

from flint import arb

from .curves import CURVES, sigmoid
from .vectors import ONE, ZERO, Interval, largest

VALUES: dict[str, Callable[..., arb]] = {
    "tanh": lambda y: y.tanh(),
    "sigmoid": sigmoid,
    "relu": lambda y: y.max(ZERO),
    "sigmoid_mul": lambda v, z: sigmoid(v) * z,
    "sigmoid_tanh": lambda v, z: sigmoid(v) * z.tanh(),
    "cosigmoid_tanh": lambda v, z: sigmoid(-v) * z.tanh(),
    "product": lambda x, y: x * y,
    **{op: curve.value for op, curve in CURVES.items()},
    "identity": lambda y: y,
    "one": lambda y: ONE,
}


def value_range(op: str, box: list[Interval]) -> Interval:
    """Functions of one argument that are no curves all rise."""
    if op in CURVES:
        return CURVES[op].range(*box[0])
    if op == "product":
        return times(*box)
    if len(box) == 1:
        return VALUES[op](box[0][0]), VALUES[op](box[0][1])
    v = mirrored(box[0]) if op == "cosigmoid_tanh" else box[0]
    return times((sigmoid(v[0]), sigmoid(v[1])), box[1] if op == "sigmoid_mul" else (box[1][0].tanh(), box[1][1].tanh()))


def mirrored(x: Interval) -> Interval:
    return -x[1], -x[0]


def times(x: Interval, y: Interval) -> Interval:
    ends = [p * q for p in x for q in y]
    return -largest(-e for e in ends), largest(ends)
