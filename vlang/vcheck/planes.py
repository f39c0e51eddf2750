"""Whether a plane holds on a box: from stationary points in closed form, or by bisection where there is none."""

from __future__ import annotations

from flint import arb

from .curves import CURVES, sigmoid
from .functions import mirrored
from .vectors import HALF, ONE, ZERO, Interval, Vector, largest


def top_of_tanh(k: arb, a: arb, lo: arb, hi: arb) -> arb:
    """An upper bound of k tanh(x) - a x on [lo, hi]: at an end, or for k > a > 0 where x > 0 and 1 - tanh(x)^2 = a / k."""
    if k < 0:
        return top_of_tanh(-k, -a, -hi, -lo)
    if not k >= 0:
        return (-a * lo).max(-a * hi) + abs(k)
    ends = (k * lo.tanh() - a * lo).max(k * hi.tanh() - a * hi)
    if a <= 0 or a >= k:
        return ends
    if not k > a:  # balls that touch: at most (k - a) x for x > 0, and convex for x < 0
        return ends.max((k - a).abs_upper() * hi.max(ZERO))
    t = (1 - a / k).sqrt()
    x = t.atanh()
    if not x.is_finite():  # so flat that the maximum is far out: tanh <= 1
        return ends if hi <= 0 else ends.max(k - a * lo.max(ZERO))
    return ends if x < lo or x > hi else ends.max(k * t - a * x)


def ridge_is_below(a: arb, b: arb, v: Interval, z: Interval, top: arb) -> bool:
    """Whether sigma(v) tanh(z) - a v - b z <= top at its maxima inside the box, by bisection of v.

    There tanh(z)^2 = 1 - b / sigma(v) with z > 0, and v > 0, for the Hessian to be negative. On that curve the derivative by v is
    sigma (1 - sigma) tanh(z) - a (the other partial derivative is zero): a mean-value bound on every cell.
    """
    least, most, cells = z[0].max(ZERO).tanh() ** 2, z[1].tanh() ** 2, [(v[0].max(ZERO), v[1], 0)]
    while cells and a > 0 and b > 0 and z[1] > 0 and v[1] > 0:
        lo, hi, depth = cells.pop()
        middle, s, at = (lo + hi) / 2, sigmoid(lo.union(hi)), sigmoid((lo + hi) / 2)
        square, here = 1 - b / s, 1 - b / at
        if square < least or square > most:
            continue
        bound = (s - b).upper().max(ZERO) * z[1] - a * lo  # tanh(z) <= z
        if square > 0 and here > 0:
            t, slope = here.sqrt(), s * (1 - s) * square.sqrt() - a
            bound = at * t - a * middle - b * t.atanh() + (slope * (hi - lo) / 2).abs_upper()
        if not bound <= top:
            if depth > 60:
                return False
            cells += [(lo, middle, depth + 1), (middle, hi, depth + 1)]
    return True


def is_below(op: str, box: list[Interval], slopes: Vector, top: arb, sign: int) -> bool:
    """Whether sign (f(y) - slopes . y) <= top on the box."""
    v, z, a, b = box[0], box[-1], slopes[0], slopes[-1]
    if op == "relu":  # a kink: the extremes are at it and at the ends
        return bool(largest(sign * (y.max(ZERO) - a * y) for y in (v if v[0] > 0 or v[1] < 0 else (*v, ZERO))) <= top)
    if op in ("tanh", "sigmoid"):  # sigma(y) = 1/2 + 1/2 tanh(y / 2)
        half = HALF if op == "sigmoid" else ONE
        return bool(half * top_of_tanh(ONE, a / half**2, *(half * x for x in (v if sign > 0 else mirrored(v)))) + sign * (1 - half) <= top)
    if op in CURVES:
        return bool(CURVES[op].top(a, *v, sign) <= top)
    if op == "product":  # linear in each argument: the extremes are at corners
        return bool(largest(sign * (x * y - a * x - b * y) for x in v for y in z) <= top)
    if op == "cosigmoid_tanh":
        return is_below("sigmoid_tanh", [mirrored(v), z], [-a, b], top, sign)
    if op not in ("sigmoid_mul", "sigmoid_tanh"):
        raise KeyError(f"planes of {op} cannot be checked")
    if sign < 0:  # odd in z
        return is_below(op, [v, mirrored(z)], [-a, b], top, 1)
    ends = [(y, y if op == "sigmoid_mul" else y.tanh()) for y in z]
    edges = [top_of_tanh(k / 2, 2 * a, v[0] / 2, v[1] / 2) + k / 2 - b * y for y, k in ends]
    if op == "sigmoid_tanh":
        edges += [top_of_tanh(sigmoid(x), b, *z) - a * x for x in v]
    return bool(largest(edges) <= top) and (op == "sigmoid_mul" or ridge_is_below(a, b, v, z, top))
