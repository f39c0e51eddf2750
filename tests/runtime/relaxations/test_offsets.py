"""The closed forms: stationary conditions derived by sympy, and offsets against verified maxima."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Sequence

import numpy as np
import pytest
import sympy as sp
import torch
from flint import arb, ctx

from vlang.runtime import rounding
from vlang.runtime.relaxations import RELAXATIONS, Args, Nonlinearity
from vlang.runtime.relaxations.stationary import sigmoid_edge, sigmoid_tanh_interior, tanh_edge

DTYPE = torch.float64
#: Of two arguments, and of one; those whose derivative jumps, and those that are only defined above 0.
TWO = ("sigmoid_mul", "sigmoid_tanh", "cosigmoid_tanh", "product")
ONE = tuple(op for op in RELAXATIONS if op not in TWO)
POSITIVE = ("reciprocal", "rsqrt")
KINDS = ("wide", "narrow", "degenerate", "saturated", "crossing", "line")


def boxes(kind: str, count: int, arity: int, seed: int) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    g = torch.Generator().manual_seed(seed)
    lo, hi = [], []
    for k in range(arity):
        centre = torch.randn(count, generator=g, dtype=DTYPE) * 2
        half = torch.rand(count, generator=g, dtype=DTYPE)
        if kind == "wide":
            half = half * 10
        elif kind == "narrow":
            half = half * 10 ** (-9 * torch.rand(count, generator=g, dtype=DTYPE))
        elif kind == "degenerate":
            half = torch.zeros_like(half)
        elif kind == "saturated":
            centre = centre.sign() * (30 + 20 * torch.rand(count, generator=g, dtype=DTYPE))
            half = half * 20
        elif kind == "crossing":
            centre = centre * 0.01
            half = half + 0.1
        elif kind == "line" and k == 0:
            half = torch.zeros_like(half)
        lo.append(centre - half)
        hi.append(centre + half)
    return tuple(lo), tuple(hi)


def domain(op: str, lo: Args, hi: Args) -> tuple[Args, Args]:
    """Boxes like these where the function is defined."""
    if op not in POSITIVE:
        return lo, hi
    return tuple((x / 4).clamp(-5, 5).exp() for x in lo), tuple((x / 4).clamp(-5, 5).exp() for x in hi)


def slopes(op: str, kind: str, lo: tuple[torch.Tensor, ...], hi: tuple[torch.Tensor, ...], seed: int) -> list[tuple[torch.Tensor, ...]]:
    """The slopes that the rules choose, and random ones."""
    g = torch.Generator().manual_seed(seed + 1)
    f = RELAXATIONS[op]
    chosen = [f.planes(rule, lo, hi).upper.slopes for rule in ("constant", "line", "plane")]  # type: ignore[arg-type]
    chosen.append(tuple(torch.randn(x.shape, generator=g, dtype=DTYPE) * 0.3 for x in lo))
    chosen.append(tuple(torch.rand(x.shape, generator=g, dtype=DTYPE) * (0.25 if k == 0 and len(lo) == 2 else 1.0) for k, x in enumerate(lo)))
    return chosen


# -- stationary conditions ------------------------------------------------------------------------------------------------


def test_sympy_derives_the_edge_conditions() -> None:
    v, z, k, a, b, s = sp.symbols("v z k a b s", positive=True)
    sigma = 1 / (1 + sp.exp(-v))
    derivative = sp.diff(k * sigma - a * v, v)
    assert sp.simplify(derivative - (k * sigma * (1 - sigma) - a)) == 0
    roots = sp.solve(sp.Eq(s * (1 - s), a / k), s)
    assert any(sp.simplify(r - (1 + sp.sqrt(1 - 4 * a / k)) / 2) == 0 for r in roots)
    assert sp.simplify(sp.diff(k * sp.tanh(z) - b * z, z) - (k * (1 - sp.tanh(z) ** 2) - b)) == 0


def test_sympy_derives_the_interior_condition() -> None:
    """f_v = s(1-s)T = a and f_z = s(1-T^2) = b give s(1-s)^2 (s-b) = a^2, whose left side peaks at s_p."""
    s, b, t = sp.symbols("s b t", positive=True)
    f_v, f_z = s * (1 - s) * t, s * (1 - t**2)
    left = s * (1 - s) ** 2 * (s - f_z)
    assert sp.simplify(left - f_v**2) == 0
    stationary = sp.solve(sp.diff(s * (1 - s) ** 2 * (s - b), s), s)
    s_p = ((2 + 3 * b) + sp.sqrt(4 - 4 * b + 9 * b**2)) / 8
    assert any(sp.simplify(r - s_p) == 0 for r in stationary)
    w_p = 4 * (1 - b) / (6 - 3 * b + sp.sqrt(4 - 4 * b + 9 * b**2))
    assert sp.simplify(sp.radsimp(1 - s_p - w_p)) == 0


def test_sympy_derives_the_second_derivative_bounds() -> None:
    """|sigma''| <= 0.0963 and |tanh''| <= 0.770, behind the second-order errors of runtime/README.md, section 9."""
    x = sp.symbols("x", real=True)
    sigma = 1 / (1 + sp.exp(-x))
    for f, bound in ((sigma, 0.09623), (sp.tanh(x), 0.76981)):
        g = sp.lambdify(x, sp.diff(f, x, 2), "numpy")
        assert np.abs(g(np.linspace(-10, 10, 20001))).max() < bound


def test_stationary_points_satisfy_their_conditions() -> None:
    a = torch.linspace(1e-9, 0.2499999, 4001, dtype=DTYPE)
    for k in (1.0, 3.7, -2.5):
        v, s = sigmoid_edge(torch.full_like(a, k), a * k)
        assert torch.allclose(torch.sigmoid(v) * torch.sigmoid(-v), a, rtol=1e-12, atol=0)
        assert torch.allclose(torch.sigmoid(v), s, rtol=1e-12, atol=0)
        assert ((v >= 0) if k > 0 else (v <= 0)).all()
    b = torch.linspace(1e-9, 0.999999, 4001, dtype=DTYPE)
    z, t = tanh_edge(torch.ones_like(b), b)
    assert torch.allclose(1 - t * t, b, rtol=1e-9, atol=1e-15)
    assert torch.allclose(torch.tanh(z), t, rtol=1e-12)


def test_interior_root_satisfies_its_condition_up_to_the_double_root() -> None:
    b = torch.rand(20_000, dtype=DTYPE, generator=torch.Generator().manual_seed(0))
    w_p = 4 * (1 - b) / (6 - 3 * b + (4 - 4 * b + 9 * b * b).sqrt())
    peak = w_p * ((1 - w_p) * (1 - w_p - b)).sqrt()
    share = 1 - 10 ** torch.linspace(-14, -0.01, 20_000, dtype=DTYPE)
    a = peak * share
    v, z, s, t, slack = sigmoid_tanh_interior(a, b, 6)
    assert bool(torch.isfinite(v).all())
    assert bool(torch.isfinite(z).all())
    w = torch.sigmoid(-v)
    assert float((w * ((1 - w) * (1 - w - b)).clamp(min=0).sqrt() - a).abs().max()) < 1e-13
    assert float(slack.max()) < 1e-13
    assert torch.allclose(s * (1 - t * t), b, rtol=1e-9)


# -- offsets against verified maxima --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("op", RELAXATIONS)
def test_offsets_are_valid_and_tight(op: str, kind: str) -> None:
    """40 boxes x 5 slopes a kind: no refined point exceeds the plane, and the plane touches the refined maximum."""
    f = RELAXATIONS[op]
    lo, hi = domain(op, *boxes(kind, 40, f.arity, seed=zlib.crc32(f"{op} {kind}".encode()) % 1000))
    for a in slopes(op, kind, lo, hi, 7):
        offset = f.upper_offset(lo, hi, a)
        found = _refined_maximum(f, lo, hi, a)
        size = found.abs() + sum((s.abs() * torch.maximum(x.abs(), y.abs()) for s, x, y in zip(a, lo, hi, strict=True)), torch.ones(1, dtype=DTYPE))
        assert bool((found <= offset).all()), f"{op} on a {kind} box: exceeded by {float((found - offset).max()):.3g}"
        assert bool((offset - found <= 1e-9 * size).all()), f"{op} on a {kind} box: loose by {float(((offset - found) / size).max()):.3g}"


def _refined_maximum(f: Nonlinearity, lo: Args, hi: Args, a: Args) -> torch.Tensor:
    """Maximum of f - a . y, by successively finer grids in every tile of the box (several points may touch a plane)."""
    tiles = 24 if len(lo) == 1 else 10
    edge = torch.linspace(0, 1, tiles + 1, dtype=DTYPE)
    starts = torch.cartesian_prod(*[edge[:-1]] * len(lo)).reshape(-1, len(lo))
    outer = [(x[:, None].expand(-1, len(starts)).reshape(-1), y[:, None].expand(-1, len(starts)).reshape(-1)) for x, y in zip(lo, hi, strict=True)]
    low = [(x[:, None] + (y - x)[:, None] * starts[:, k]).reshape(-1) for k, (x, y) in enumerate(zip(lo, hi, strict=True))]
    high = [(x[:, None] + (y - x)[:, None] * (starts[:, k] + 1 / tiles)).reshape(-1) for k, (x, y) in enumerate(zip(lo, hi, strict=True))]
    slope = [s[:, None].expand(-1, len(starts)).reshape(-1, 1) for s in a]
    best = torch.full_like(low[0], -torch.inf)
    unit = torch.linspace(0, 1, 7 if len(lo) == 2 else 21, dtype=DTYPE)
    for _ in range(26):
        axes = [x[:, None] + (y - x)[:, None] * unit for x, y in zip(low, high, strict=True)]
        axes = [torch.minimum(torch.maximum(x, b[0][:, None]), b[1][:, None]) for x, b in zip(axes, outer, strict=True)]
        grid = [axes[0][:, :, None], axes[1][:, None, :]] if len(axes) == 2 else axes
        flat = [x.reshape(x.shape[0], -1) for x in torch.broadcast_tensors(*grid)]
        value = f.value(*flat) - sum(s * y for s, y in zip(slope, flat, strict=True))
        top, where = value.max(1)
        best = torch.maximum(best, top)
        at = [y.gather(1, where[:, None])[:, 0] for y in flat]
        width = [(y - x) * 0.3 for x, y in zip(low, high, strict=True)]
        low = [p - w for p, w in zip(at, width, strict=True)]
        high = [p + w for p, w in zip(at, width, strict=True)]
    for kink in f.kinks:
        y = torch.minimum(torch.maximum(torch.full_like(outer[0][0], kink), outer[0][0]), outer[0][1])
        best = torch.maximum(best, f.value(y) - slope[0][:, 0] * y)
    if len(lo) == 2:  # a grid creeps along a slanted ridge; Newton goes up it
        best = torch.maximum(best, _newton(f, at, outer, [s[:, 0] for s in slope]))
    return best.reshape(lo[0].shape[0], -1).amax(1)


def _newton(f: Nonlinearity, at: list[torch.Tensor], box: list[tuple[torch.Tensor, torch.Tensor]], a: list[torch.Tensor]) -> torch.Tensor:
    """The best value of f - a . y met by Newton's method from these points, inside the box."""
    best = torch.full_like(at[0], -torch.inf)
    for _ in range(8):
        y = [torch.minimum(torch.maximum(p, lo), hi).detach().requires_grad_() for p, (lo, hi) in zip(at, box, strict=True)]
        value = f.value(*y) - sum(s * p for s, p in zip(a, y, strict=True))
        best = torch.maximum(best, value.detach())
        g = torch.autograd.grad(value.sum(), y, create_graph=True)
        (h00, h01), (_, h11) = (torch.autograd.grad(x.sum(), y, retain_graph=True, materialize_grads=True) for x in g)
        det = h00 * h11 - h01 * h01
        at = [y[0] - (h11 * g[0] - h01 * g[1]) / det, y[1] - (h00 * g[1] - h01 * g[0]) / det]
        at = [torch.where(p.isfinite(), p, q).detach() for p, q in zip(at, y, strict=True)]
    return best


@pytest.mark.parametrize("op", [op for op in RELAXATIONS if op != "relu"])
@pytest.mark.parametrize("kind", KINDS)
def test_offsets_against_interval_verified_maxima(op: str, kind: str) -> None:
    """Branch and bound in ball arithmetic proves f - a . y <= offset on whole boxes, with no tolerance at all."""
    ctx.prec = 100
    f = RELAXATIONS[op]
    count = 36
    lo, hi = domain(op, *boxes(kind, count, f.arity, seed=3))
    for a in slopes(op, kind, lo, hi, 11)[1:4]:
        offset = f.upper_offset(lo, hi, a)
        for i in range(count):
            box = [(float(x[i]), float(y[i])) for x, y in zip(lo, hi, strict=True)]
            prove(op, box, [float(s[i]) for s in a], float(offset[i]))


@pytest.mark.parametrize("op", [op for op in RELAXATIONS if op != "relu"])
def test_lower_offsets_against_interval_verified_minima(op: str) -> None:
    """The same of lower planes, which are mirror images of upper ones or have offsets of their own."""
    ctx.prec = 100
    f = RELAXATIONS[op]
    lo, hi = domain(op, *boxes("wide", 36, f.arity, seed=4))
    for a in slopes(op, "wide", lo, hi, 13):
        lower = f.planes_with(tuple(torch.stack([s, s]) for s in a), *f.both(lo, hi)).lower
        for i in range(36):
            box = [(float(x[i]), float(y[i])) for x, y in zip(lo, hi, strict=True)]
            prove(op, box, [float(s[i]) for s in lower.slopes], float(lower.offset[i]), -1)


def prove(
    op: str, box: list[tuple[float, float]], a: list[float], offset: float, sign: int = 1, centre: Sequence[float] = (), bends: Sequence[float] = ()
) -> None:
    """Raises if at some point sign (f(y) - a . y - offset - 1/2 (y - centre)' K (y - centre)) exceeds 0. bends: K, or K_vv, K_vz, K_zz.

    Cells whose enclosure stays below are closed; a cell on which the objective is monotone in a coordinate shrinks to the face
    where it is largest; the rest are split.
    """
    from_centre = centre or [0.0] * len(box)
    k = [[arb(b) for b in (row or [0.0] * len(box))] for row in ([list(bends)] if len(box) == 1 else [list(bends[:2]), list(bends[1:])])]

    def gradient(y: list[arb]) -> list[arb]:
        d = [v - c for v, c in zip(y, from_centre, strict=True)]
        pulls = [sum((b * e for b, e in zip(row, d, strict=True)), arb(s)) for row, s in zip(k, a, strict=True)]
        return [sign * (g - p) for g, p in zip(_gradient(op, y), pulls, strict=True)]

    (low, high), *others = box
    ends = [low, *(k for k in RELAXATIONS[op].kinks if low < k < high), high]
    stack = [[(arb(x), arb(y)), *((arb(p), arb(q)) for p, q in others)] for x, y in itertools.pairwise(ends)]
    for _ in range(20_000):
        if not stack:
            return
        cell = stack.pop()
        for _ in cell:
            slope = gradient([hull(*c) for c in cell])
            cell = [(c[1], c[1]) if g > 0 else (c[0], c[0]) if g < 0 else c for c, g in zip(cell, slope, strict=True)]
        mid = [(x + y) / 2 for x, y in cell]
        half = [(y - x) / 2 for x, y in cell]
        d = [m - c for m, c in zip(mid, from_centre, strict=True)]
        bent = sum((b * x * y / 2 for row, x in zip(k, d, strict=True) for b, y in zip(row, d, strict=True)), arb(0))
        at_mid = sign * (enclosed(op, mid) - sum((arb(s) * m for s, m in zip(a, mid, strict=True)), arb(0)) - offset - bent)
        assert not at_mid > 0, f"{op}: the bound is crossed by {at_mid} at {mid}"
        # First order with the gradient's enclosure on the cell, or second order from the centre.
        first = at_mid + sum((abs(g) * h for g, h in zip(slope, half, strict=True)), arb(0))
        at = sum((abs(g) * h for g, h in zip(gradient(mid), half, strict=True)), arb(0))
        second = at_mid + at + _second_order(op, [hull(*c) for c in cell], half, k)
        if first.upper() <= 0 or second.upper() <= 0:
            continue
        wide = max(range(len(half)), key=lambda k: float(half[k].mid()))
        if float(half[wide].mid()) <= 1e-13 * max(1.0, abs(float(mid[wide].mid()))):
            raise AssertionError(f"{op}: not closed at {mid}, excess {at_mid}")
        (x, y), m = cell[wide], mid[wide]
        stack += [[*cell[:wide], part, *cell[wide + 1 :]] for part in ((x, m), (m, y))]
    raise AssertionError("branch and bound did not finish")


def hull(x: arb, y: arb) -> arb:
    return (x + y) / 2 + arb(0, ((y - x) / 2).upper())


def _sigma(v: arb) -> arb:
    return 1 / (1 + (-v).exp())


def _phi(y: arb) -> arb:
    return (-y * y / 2).exp() / (2 * arb.pi()).sqrt()


def _joined(y: arb, at: float, below: list[arb], above: list[arb]) -> list[arb]:
    """Value and derivatives on a cell that ends where two pieces meet, if it has any point of both."""
    return above if y.mid() > at else below


def _curve(op: str, y: arb) -> list[arb]:
    """Value, first and second derivative of a function of one argument, on all of a ball."""
    one, zero = arb(1), arb(0)
    s = _sigma(y)
    first = s * _sigma(-y)
    match op:
        case "softplus":
            return [y.exp().log1p(), s, first]
        case "elu" | "selu":
            scale, alpha = (arb(1), arb(1)) if op == "elu" else (arb(1.0507009873554804934193349852946), arb(1.6732632423543772848170429916717))
            e = scale * alpha * y.exp()
            return _joined(y, 0.0, [scale * alpha * y.expm1(), e, e], [scale * y, scale, zero])
        case "silu":
            return [y * s, s + y * first, first * (2 + y * (1 - 2 * s))]
        case "gelu":
            normal = (-y / arb(2).sqrt()).erfc() / 2
            return [y * normal, normal + y * _phi(y), _phi(y) * (2 - y * y)]
        case "hardtanh" | "hardsigmoid":
            at, slope, middle = (1.0, one, zero) if op == "hardtanh" else (3.0, one / 6, one / 2)
            line = [middle + slope * y, slope, zero]
            low, high = [middle - slope * at, zero, zero], [middle + slope * at, zero, zero]
            return _joined(y, -at, low, _joined(y, at, line, high))
        case "exp":
            return [y.exp()] * 3
        case "square":
            return [y * y, 2 * y, arb(2)]
        case "reciprocal":
            return [1 / y, -1 / (y * y), 2 / (y * y * y)]
        case "rsqrt":
            return [y.rsqrt(), -y.rsqrt() / y / 2, 3 * y.rsqrt() / (4 * y * y)]
    raise KeyError(op)


def _factors(op: str, y: list[arb]) -> tuple[list[arb], list[arb]]:
    """Value, first and second derivative of the factor in v and of the factor in z."""
    if op == "product":
        return [y[0], arb(1), arb(0)], [y[1], arb(1), arb(0)]
    if op not in ("tanh", "sigmoid", "sigmoid_mul", "sigmoid_tanh", "cosigmoid_tanh"):
        return _curve(op, y[0]), [arb(1), arb(0), arb(0)]
    v = -y[0] if op == "cosigmoid_tanh" else y[0]
    s = _sigma(v)
    first = s * _sigma(-v)
    outer = [s, -first if op == "cosigmoid_tanh" else first, first * (1 - 2 * s)]
    if op in ("sigmoid_mul", "sigmoid"):
        return outer, [y[1], arb(1), arb(0)] if len(y) == 2 else [arb(1), arb(0), arb(0)]
    t = y[-1].tanh()
    inner = [t, 1 - t * t, -2 * t * (1 - t * t)]
    return ([arb(1), arb(0), arb(0)], inner) if op == "tanh" else (outer, inner)


def enclosed(op: str, y: list[arb]) -> arb:
    p, q = _factors(op, y)
    return p[0] * q[0]


def _gradient(op: str, y: list[arb]) -> list[arb]:
    p, q = _factors(op, y)
    if len(y) == 1:
        return [p[1] * q[0] + p[0] * q[1]]
    return [p[1] * q[0], p[0] * q[1]]


def _second_order(op: str, y: list[arb], half: list[arb], k: list[list[arb]]) -> arb:
    """What the second-order term can add over a cell. k: the curvature that is taken off."""
    p, q = _factors(op, y)
    if len(y) == 1:
        return abs(p[2] * q[0] + p[0] * q[2] - k[0][0]) * half[0] * half[0] / 2
    along_v, along_z = abs(p[2] * q[0] - k[0][0]) * half[0] * half[0] / 2, abs(p[0] * q[2] - k[1][1]) * half[1] * half[1] / 2
    return along_v + along_z + abs(p[1] * q[1] - k[0][1]) * half[0] * half[1]


def test_a_lowered_offset_is_caught() -> None:
    """The same proof fails for an offset lowered by 1e-3: the test above can see an error."""
    f = RELAXATIONS["sigmoid_tanh"]
    lo, hi = boxes("wide", 5, 2, seed=3)
    a = f.upper_slopes("plane", lo, hi)
    offset = f.upper_offset(lo, hi, a) - 1e-3
    for i in range(5):
        box = [(float(x[i]), float(y[i])) for x, y in zip(lo, hi, strict=True)]
        with pytest.raises(AssertionError, match="crossed"):
            prove("sigmoid_tanh", box, [float(s[i]) for s in a], float(offset[i]))


@pytest.mark.parametrize("op", list(RELAXATIONS))
@pytest.mark.parametrize("kind", KINDS)
def test_lower_planes_mirror_upper_ones(op: str, kind: str) -> None:
    f = RELAXATIONS[op]
    lo, hi = domain(op, *boxes(kind, 300, f.arity, seed=5))
    for rule in ("constant", "line", "plane"):
        planes = f.planes(rule, lo, hi)  # type: ignore[arg-type]
        for t in torch.linspace(0, 1, 21, dtype=DTYPE):
            for u in torch.linspace(0, 1, 21 if f.arity == 2 else 1, dtype=DTYPE):
                y = [x + (h - x) * w for x, h, w in zip(lo, hi, (t, u), strict=False)]
                y = [torch.minimum(torch.maximum(v, x), h) for v, x, h in zip(y, lo, hi, strict=True)]
                value = f.value(*y)
                for plane, sign in ((planes.lower, 1), (planes.upper, -1)):
                    terms = [s * v for s, v in zip(plane.slopes, y, strict=True)] + [plane.offset]
                    own = 1e-15 * sum(t.abs() for t in terms)  # rounding of this line itself
                    assert bool((sign * (sum(terms) - value) <= own).all())


@pytest.mark.parametrize("op", list(RELAXATIONS))
def test_planes_are_exact_on_degenerate_boxes(op: str) -> None:
    """The trap of a released tool: a line through l = u must give f(l), not l."""
    f = RELAXATIONS[op]
    lo, _ = domain(op, *boxes("degenerate", 200, f.arity, seed=1))
    planes = f.planes("plane", lo, lo)
    value = f.value(*lo)
    for plane in (planes.lower, planes.upper):
        assert torch.allclose(sum(s * v for s, v in zip(plane.slopes, lo, strict=True)) + plane.offset, value, rtol=1e-13, atol=1e-12)


def test_elementary_functions_are_as_accurate_as_assumed() -> None:
    """rounding.LIBM_ULPS holds for torch's exp, log, tanh, sigmoid and sqrt over the ranges used."""
    ctx.prec = 120
    g = torch.Generator().manual_seed(0)
    x = torch.cat([torch.randn(400, generator=g, dtype=DTYPE) * 5, torch.linspace(-50, 50, 201, dtype=DTYPE)])
    u = rounding.unit_roundoff(DTYPE)
    for ours, exact in ((torch.tanh, lambda y: y.tanh()), (torch.sigmoid, _sigma), (torch.exp, lambda y: y.exp())):
        for point, value in zip(x.tolist(), ours(x).tolist(), strict=True):
            true = exact(arb(point))
            assert abs(arb(value) - true) <= abs(true) * rounding.LIBM_ULPS * u + arb(math.ulp(0.0))
    for point in x.abs().tolist():
        assert abs(arb(math.log(point or 1.0)) - arb(point or 1.0).log()) <= abs(arb(point or 1.0).log()) * rounding.LIBM_ULPS * u


@pytest.mark.parametrize("scale", [1e-1, 1e-3, 1e-6, 1e-9])
def test_lines_near_zero_are_valid_to_the_last_digit(scale: float) -> None:
    """Near 0 a line's gap is far below one ulp of 1: an absolute error of 1e-16 in a stationary point once crossed the curve."""
    ctx.prec = 200
    g = torch.Generator().manual_seed(0)
    centre = torch.randn(60, generator=g, dtype=DTYPE) * scale
    half = torch.rand(60, generator=g, dtype=DTYPE) * centre.abs() * 0.1
    lo, hi = (centre - half,), (centre + half,)
    v = (torch.randn(60, generator=g, dtype=DTYPE) - half, torch.randn(60, generator=g, dtype=DTYPE) + half)
    tanh, q = RELAXATIONS["tanh"], RELAXATIONS["sigmoid_tanh"]
    planes = tanh.planes("plane", lo, hi)
    box = ((torch.minimum(*v), lo[0]), (torch.maximum(*v), hi[0]))
    gated = q.planes("plane", *box)
    for i in range(60):
        for t in range(21):
            y = arb(float(lo[0][i])) + (arb(float(hi[0][i])) - arb(float(lo[0][i]))) * t / 20
            for plane, sign in ((planes.lower, 1), (planes.upper, -1)):
                line = arb(float(plane.slopes[0][i])) * y + arb(float(plane.offset[i]))
                assert sign * (line - y.tanh()) <= 0
            x = arb(float(box[0][0][i])) + (arb(float(box[1][0][i])) - arb(float(box[0][0][i]))) * (t * 7 % 21) / 20
            for plane, sign in ((gated.lower, 1), (gated.upper, -1)):
                line = arb(float(plane.slopes[0][i])) * x + arb(float(plane.slopes[1][i])) * y + arb(float(plane.offset[i]))
                assert sign * (line - _sigma(x) * y.tanh()) <= 0
