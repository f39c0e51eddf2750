"""Quadratic bounds: the parabolas hold, the spectral bounds hold and are tight where they should be, and mutated ones are caught."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import flint
import pytest
import torch
from torch import Tensor

from tests.helpers import DTYPE, random_network
from tests.runtime.test_soundness import violations
from vlang.runtime import bent, hull
from vlang.runtime.ball import Ball
from vlang.runtime.bounds import Nominal, Relaxed
from vlang.runtime.graph import GraphBuilder
from vlang.runtime.quadratic import Quadratic
from vlang.runtime.relaxations import RELAXATIONS, Parabola, curvature
from vlang.runtime.spectral import FEW_STEPS, Room, Top, largest, largest_on_cross_polytopes

OPS = sorted(RELAXATIONS)
SCALES = [1e-9, 1e-3, 0.3, 2.0, 12.0, 60.0]


def boxes(arity: int, scale: float, count: int, seed: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Boxes and a point of each: inside, at an end, and boxes that are points. shape: each [count]."""
    g = torch.Generator().manual_seed(seed)
    lo, hi, centre = [], [], []
    for _ in range(arity):
        mid = torch.randn(count, generator=g, dtype=DTYPE) * torch.tensor([0.1, 1.0, 4.0, 20.0], dtype=DTYPE).repeat(count // 4)
        width = torch.rand(count, generator=g, dtype=DTYPE) * scale
        width[::11] = 0
        share = torch.rand(count, generator=g, dtype=DTYPE)
        share[::3], share[1::7] = 0.0, 1.0
        lo.append(mid - width / 2)
        hi.append(torch.maximum(mid + width / 2, lo[-1]))
        centre.append(torch.minimum(lo[-1] + share * (hi[-1] - lo[-1]), hi[-1]))
    return tuple(centre), tuple(lo), tuple(hi)


def remainder_excess(op: str, found: Parabola, centre: tuple[Tensor, ...], y: tuple[Tensor, ...]) -> float:
    """How far f at y leaves the band that the parabola promises; at most 0 for a valid one."""
    d = [a - c for a, c in zip(y, centre, strict=True)]
    plane = found.offset + torch.stack([s * a for s, a in zip(found.slopes, y, strict=True)]).sum(0)
    rest = RELAXATIONS[op].value(*y) - plane
    pairs = [(0.5 * d[0] ** 2)] if len(d) == 1 else [0.5 * d[0] ** 2, d[0] * d[1], 0.5 * d[1] ** 2]
    high = torch.stack([torch.maximum(p * k[0], p * k[1]) for p, k in zip(pairs, found.curvature, strict=True)]).sum(0)
    low = torch.stack([torch.minimum(p * k[0], p * k[1]) for p, k in zip(pairs, found.curvature, strict=True)]).sum(0)
    own = 1e-14 * (1 + plane.abs() + torch.stack([(s * a).abs() for s, a in zip(found.slopes, y, strict=True)]).sum(0))  # of this evaluation
    return float(torch.maximum(rest - high - found.slack - own, low - found.slack - own - rest).max())


def worst_excess(op: str, scale: float, change: float = 0.0) -> float:
    arity = RELAXATIONS[op].arity
    centre, lo, hi = boxes(arity, scale, 400, seed=3)
    found = RELAXATIONS[op].parabola(centre, lo, hi)
    if change:
        found = Parabola(found.slopes, found.offset, found.slack, tuple((a + change * (b - a), b - change * (b - a)) for a, b in found.curvature))
    grid = torch.linspace(0, 1, 9 if arity == 2 else 41, dtype=DTYPE).tolist()
    at = [tuple(x + t * (h - x) for t, x, h in zip(share, lo, hi, strict=True)) for share in itertools.product(grid, repeat=arity)]
    return max(remainder_excess(op, found, centre, tuple(torch.minimum(a, h) for a, h in zip(y, hi, strict=True))) for y in at)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("scale", SCALES)
def test_no_point_leaves_a_parabola(op: str, scale: float) -> None:
    assert worst_excess(op, scale) <= 0


@pytest.mark.parametrize("op", [o for o in OPS if o != "relu"])
def test_a_parabola_with_less_curvature_is_caught(op: str) -> None:
    """Each interval of curvature made narrower by 15 % at both ends."""
    assert max(worst_excess(op, scale, 0.15) for scale in (2.0, 12.0)) > 0


@pytest.mark.parametrize("name", ["tanh_slope", "tanh_second", "sigmoid_slope", "sigmoid_second"])
def test_derivative_ranges_hold_in_ball_arithmetic(name: str) -> None:
    """The interval holds the derivative at the ends, the middle and the peaks, computed with 400 bits."""
    base, order = name.split("_")
    _, (lo,), (hi,) = boxes(1, 3.0, 120, seed=1)
    peaks = torch.tensor([0.0, curvature.TANH_PEAK, -curvature.TANH_PEAK, curvature.SIGMOID_PEAK, -curvature.SIGMOID_PEAK], dtype=DTYPE)
    low, high = getattr(curvature, name)(lo, hi)
    flint.ctx.prec = 400
    try:
        for i in range(len(lo)):
            tried = [float(lo[i]), float(hi[i]), float((lo[i] + hi[i]) / 2), *(float(p) for p in peaks if lo[i] <= p <= hi[i])]
            for y in tried:
                t = (flint.arb(y) / (1 if base == "tanh" else 2)).tanh()
                slope = (1 - t * t) / (1 if base == "tanh" else 4)
                derivative = slope if order == "slope" else slope * t * (-2 if base == "tanh" else -1)
                assert derivative >= flint.arb(float(low[i]))
                assert derivative <= flint.arb(float(high[i]))
    finally:
        flint.ctx.default()


def bounds(found: tuple[Top, Top | None]) -> tuple[Tensor, Tensor]:
    """The bounds without and with a linear part, without what proves them."""
    pure, joint = found
    assert joint is not None
    return pure[0], joint[0]


def climb(linear: Tensor, form: Tensor, radii: Tensor, norm: int, restarts: int = 8) -> Tensor:
    """The best value of linear . z + 1/2 z'Hz found by ascent on vertices or spheres. shape: linear [R, D], form [R, D, D], radii [G] -> [R]."""
    count = len(radii)
    size = linear.shape[-1] // count
    best = torch.zeros(linear.shape[0], dtype=DTYPE)
    g = torch.Generator().manual_seed(0)
    for k in range(restarts):
        z = torch.zeros_like(linear) if k == 0 else torch.randn(linear.shape, generator=g, dtype=DTYPE) * float(radii.max())
        for _ in range(40):
            slope = (linear + (form @ z[..., None])[..., 0]).unflatten(-1, (count, size))
            if norm == 2:
                z = (slope / slope.norm(dim=-1, keepdim=True).clamp(min=1e-300) * radii[:, None]).flatten(1)
            else:
                top = slope.abs().argmax(-1, keepdim=True)
                z = torch.zeros_like(slope).scatter(-1, top, slope.gather(-1, top).sign() * radii[:, None].expand(len(slope), -1, 1)).flatten(1)
            best = torch.maximum(best, (linear * z).sum(-1) + (z * (form @ z[..., None])[..., 0]).sum(-1) / 2)
    return best


@pytest.mark.parametrize(("groups", "size"), [(1, 6), (3, 4), (8, 1)])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e9])
@pytest.mark.parametrize("norm", [1, 2])
def test_spectral_bounds_hold(groups: int, size: int, scale: float, norm: int) -> None:
    """Random forms (definite or not, of low rank, zero) and linear parts (zero too), groups of radius zero among them."""
    g = torch.Generator().manual_seed(groups)
    d, rows = groups * size, 24
    raw = torch.randn(rows, d, d, generator=g, dtype=DTYPE)
    form = (raw + raw.mT) / 2
    form[:6] = raw[:6] @ raw[:6].mT
    form[6:9] = -form[:3]
    form[9:12] = raw[9:12, :, :1] @ raw[9:12, :, :1].mT
    form[12] = 0
    linear = torch.randn(rows, d, generator=g, dtype=DTYPE) * torch.logspace(-6, 2, rows, dtype=DTYPE)[:, None]
    linear[[3, 13]] = 0
    radii = torch.rand(groups, generator=g, dtype=DTYPE) + 0.1
    if groups == 3:
        radii[1] = 0
    form, linear = form * scale, linear * scale
    none = torch.zeros(1, rows, dtype=DTYPE)
    if norm == 2:
        pure, joint = bounds(largest(form[None], none, Room(radii[None]), linear[None]))
        _, better = bounds(largest(form[None], none, Room(radii[None]), linear[None], FEW_STEPS))
        assert bool((better <= joint * (1 + 1e-9)).all())
        assert bool((better[0] >= climb(linear, form, radii, norm) * (1 - 1e-12)).all())
    else:
        pure, joint = bounds(largest_on_cross_polytopes(form[None], none, radii[None], linear[None]))
    assert bool(pure.isfinite().all() and joint.isfinite().all())
    assert bool((pure[0] >= climb(torch.zeros_like(linear), form, radii, norm) * (1 - 1e-12)).all())
    assert bool((joint[0] >= climb(linear, form, radii, norm) * (1 - 1e-12)).all())
    if norm == 2 and groups == 1:  # one ball: the S-procedure has no gap
        exact = torch.linalg.eigvalsh(form)[:, -1].clamp(min=0) * radii[0] ** 2 / 2
        assert bool((pure[0] <= exact * (1 + 1e-6) + 1e-9 * scale).all())


@pytest.mark.parametrize(("groups", "size"), [(1, 6), (3, 4), (8, 1)])
@pytest.mark.parametrize("slabs", [1, 2])
def test_spectral_bounds_hold_on_pieces(groups: int, size: int, slabs: int) -> None:
    """Random points of random pieces, ends of the slabs among them."""
    g = torch.Generator().manual_seed(groups + slabs)
    d, rows, batch = groups * size, 12, 4
    raw = torch.randn(batch, rows, d, d, generator=g, dtype=DTYPE)
    form = (raw + raw.mT) / 2
    form[:, :6] = raw[:, :6] @ raw[:, :6].mT
    form[:, 7] = 0
    linear = torch.randn(batch, rows, d, generator=g, dtype=DTYPE) * torch.logspace(-3, 2, rows, dtype=DTYPE)[:, None]
    radii = torch.rand(batch, groups, generator=g, dtype=DTYPE) + 0.1
    if groups == 3:
        radii[1, 1] = 0
    shift = torch.randn(batch, groups, size, generator=g, dtype=DTYPE)
    shift = (shift / shift.norm(dim=-1, keepdim=True) * radii[..., None] * torch.rand(batch, groups, 1, generator=g, dtype=DTYPE)).flatten(1)
    normals = torch.randn(batch, slabs, d, generator=g, dtype=DTYPE)
    middles, halves = 0.05 * torch.randn(batch, slabs, generator=g, dtype=DTYPE), torch.rand(batch, slabs, generator=g, dtype=DTYPE) * 0.3 + 0.02
    pure, joint = bounds(largest(form, torch.zeros(batch, rows, dtype=DTYPE), Room(radii, shift, normals, middles, halves), linear))
    (loose, _), _ = largest(form, torch.zeros(batch, rows, dtype=DTYPE), Room(radii, shift, normals, middles, halves + 1e3))
    assert bool(pure.isfinite().all() and joint.isfinite().all())
    assert float((pure / loose)[:, :6].median()) < 0.95
    met = 0
    for _ in range(400):
        z = torch.randn(batch, groups, size, generator=g, dtype=DTYPE)
        z = (z / z.norm(dim=-1, keepdim=True) * radii[..., None]).flatten(1) * torch.rand(batch, 1, generator=g, dtype=DTYPE) ** 0.3
        for _ in range(8):  # towards the slabs, back into the balls
            along = (normals @ (z - shift)[..., None])[..., 0] - middles
            z = z - (torch.linalg.pinv(normals) @ (along - along.clamp(-halves, halves))[..., None])[..., 0]
            split = z.unflatten(-1, (groups, size))
            z = (split * (radii / split.norm(dim=-1).clamp(min=1e-300)).clamp(max=1)[..., None]).flatten(1)
        w = z - shift
        inside = (((normals @ w[..., None])[..., 0] - middles).abs() <= halves).all(-1)
        met += int(inside.sum())
        bent = (w[:, None] * (form @ w[:, None, :, None])[..., 0]).sum(-1) / 2
        assert bool((bent <= pure + 1e-12)[inside].all())
        assert bool((bent + (linear @ w[..., None])[..., 0] <= joint + 1e-12)[inside].all())
    assert met > 20


def test_an_indefinite_certificate_is_refused() -> None:
    """Multipliers that leave M indefinite prove nothing; a form with NaN or infinity proves nothing."""
    from vlang.runtime.spectral import _proved

    form = torch.eye(4, dtype=DTYPE)[None, None] * 2
    one, none = torch.ones(1, 1, dtype=DTYPE), torch.zeros(1, 1, dtype=DTYPE)
    flat = torch.zeros(1, 1, 4, dtype=DTYPE)
    assert _proved(form, none, Room(one), torch.full((1, 1, 1), 1.9, dtype=DTYPE), flat).isinf().all()
    assert float(_proved(form, none, Room(one), torch.full((1, 1, 1), 2.1, dtype=DTYPE), flat)) >= 1.0
    for bad in (torch.nan, torch.inf):
        broken = form.clone()
        broken[..., 0, 1] = bad
        pure, joint = bounds(largest(broken, none, Room(one), torch.ones(1, 1, 4, dtype=DTYPE)))
        assert bool(pure.isinf().all() and joint.isinf().all())


@pytest.mark.parametrize("norm", [Fraction(1), Fraction(3, 2), Fraction(2), Fraction(4), None])
@pytest.mark.parametrize("cell", ["rnn_tanh", "lstm", "gru"])
def test_wide_frames_in_fewer_coordinates(cell: str, norm: Fraction | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of 40 numbers read by 3 units: charts stand in for coordinates, for sets bounded coordinate by coordinate too."""
    monkeypatch.setattr(hull, "LARGEST", 60)
    network = random_network(cell, n=40, s=3, scale=0.4, seed=5)
    x = torch.randn(2, 3, 40, generator=torch.Generator().manual_seed(0), dtype=DTYPE)
    nominal = Nominal.at(network.unroll(3), x)
    ball = Ball(torch.tensor([[0.05, 0.1, 0.02], [0.1, 0.0, 0.1]], dtype=DTYPE), norm)
    assert violations(nominal, ball, Quadratic) <= 0
    assert Quadratic(nominal, ball).hull.chart is not None or norm == 1


def test_what_a_chart_loses_is_charged_on_both_sides_of_a_clip() -> None:
    """A frame read by other weights than the chart's, at the upper end of its range: it can still move down."""
    graph = GraphBuilder()
    first, second = graph.input(0, 3), graph.input(1, 3)
    unit = torch.eye(3, dtype=DTYPE)
    y = graph.affine((first, 0.1 * unit[:1]), (second, unit[1:2]), bias=torch.ones(1, dtype=DTYPE))
    output = graph.affine((graph.apply("tanh", y), torch.ones(1, 1, dtype=DTYPE)))
    nominal = Nominal.at(graph.build(output), torch.zeros(1, 2, 3, dtype=DTYPE))
    room = torch.full((1, 2, 3), 2.0, dtype=DTYPE), torch.zeros(1, 2, 3, dtype=DTYPE)
    bounds = Quadratic(nominal, Ball(torch.ones(1, 2, dtype=DTYPE), Fraction(2), None, room))
    attained = -torch.tanh(torch.tensor(1 - 0.1 - 1.0, dtype=DTYPE))
    assert float(bounds.upper(output.node, -torch.ones(1, 1, dtype=DTYPE))) >= float(attained)


def test_a_set_that_does_not_move_is_bounded() -> None:
    network = random_network("lstm")
    nominal = Nominal.at(network.unroll(2), torch.zeros(1, 2, 3, dtype=DTYPE))
    ball = Ball(torch.zeros(1, 2, dtype=DTYPE), Fraction(2))
    eye = torch.eye(3, dtype=DTYPE)
    out = nominal.graph.output
    assert torch.equal(Quadratic(nominal, ball).upper(out, eye), Relaxed(nominal, ball, "plane").upper(out, eye))


@pytest.mark.parametrize("what", ["curvature", "residual", "constant"])
def test_a_mutated_quadratic_bound_is_caught(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the curvature, no residual, or no constant: some point must leave some bound."""
    if what == "curvature":
        true = curvature.averaged

        def halved(*args: object) -> object:
            return tuple(((a + b) / 4, (a + b) / 4) for a, b in true(*args))  # type: ignore[arg-type]

        monkeypatch.setattr("vlang.runtime.relaxations.base.averaged", halved)
    elif what == "residual":
        settled = Quadratic._settled

        def exact(self: Quadratic, *args: object) -> bent.Motion:
            motion = settled(self, *args)  # type: ignore[arg-type]
            return bent.Motion(motion.centre, motion.linear, 0 * motion.residual)

        monkeypatch.setattr(Quadratic, "_settled", exact)
    else:
        made = bent.Bent.of

        def dropped(*args: object) -> bent.Bent:
            found = made(*args)  # type: ignore[arg-type]
            return replace(found, constant=-4 * found.constant)

        monkeypatch.setattr(bent.Bent, "of", dropped)
    worst = -1.0
    for seed, cell, eps in itertools.product(range(4), ("rnn_tanh", "lstm", "gru"), (0.05, 0.3)):
        network = random_network(cell, s=2, n=1, seed=seed)
        x = torch.randn(2, 4, 1, generator=torch.Generator().manual_seed(seed), dtype=DTYPE)
        worst = max(worst, violations(Nominal.at(network.unroll(4), x), Ball(torch.full((2, 4), eps, dtype=DTYPE), Fraction(2)), Quadratic))
    assert worst > 0


@pytest.mark.parametrize("cell", ["rnn_tanh", "rnn_relu", "lstm", "gru"])
def test_never_looser_than_planes_and_tighter_where_it_counts(cell: str) -> None:
    network = random_network(cell, s=6, n=4, scale=0.5, seed=1)
    x = torch.randn(3, 3, 4, generator=torch.Generator().manual_seed(2), dtype=DTYPE)
    nominal = Nominal.at(network.unroll(3), x)
    for norm in (Fraction(1), Fraction(2), None):
        ball = Ball(torch.full((3, 3), 0.1, dtype=DTYPE), norm)
        rows = torch.eye(3, dtype=DTYPE)
        with torch.no_grad():
            by_planes = Relaxed(nominal, ball, "plane").upper(nominal.graph.output, rows)
            both = Quadratic(nominal, ball).upper(nominal.graph.output, rows)
        assert bool((both <= by_planes + 1e-12).all())
        if cell != "rnn_relu":
            assert float((by_planes - both).median()) > 0
