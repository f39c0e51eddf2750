"""Quadratic bounds: the spectral bounds hold and are tight where they should be, and mutated ones are caught."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from tests.helpers import DTYPE, points, quadratic, random_network, walked
from tests.layers import Growing
from tests.runtime.bounds.test_soundness import violations
from vlang.runtime.bounds import coordinates, cushions
from vlang.runtime.bounds.coordinates import chart_of
from vlang.runtime.bounds.multipliers import FEW_STEPS, Room, Top, largest, largest_on_cross_polytopes
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.bounds.quadratic import Quadratic, _middle
from vlang.runtime.graph.concrete import trajectory
from vlang.runtime.graph.nodes import GraphBuilder
from vlang.runtime.methods.questions import QUADRATIC
from vlang.runtime.network.unroll import Network
from vlang.runtime.relaxations import Parabolas, parabolas
from vlang.runtime.sets.ball import Ball


def tops(found: list[Top]) -> list[Tensor]:
    """The bounds without what proves them."""
    return [value for value, _ in found]


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
        pure, joint = tops(largest(form[None], none, Room(radii[None]), [None, linear[None]]))
        (better,) = tops(largest(form[None], none, Room(radii[None]), [linear[None]], FEW_STEPS))
        assert bool((better <= joint * (1 + 1e-9)).all())
        assert bool((better[0] >= climb(linear, form, radii, norm) * (1 - 1e-12)).all())
    else:
        pure, joint = tops(largest_on_cross_polytopes(form[None], none, radii[None], [None, linear[None]]))
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
    pure, joint = tops(largest(form, torch.zeros(batch, rows, dtype=DTYPE), Room(radii, shift, normals, middles, halves), [None, linear]))
    (loose,) = tops(largest(form, torch.zeros(batch, rows, dtype=DTYPE), Room(radii, shift, normals, middles, halves + 1e3), [None]))
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
    from vlang.runtime.bounds.multipliers import proved

    form = torch.eye(4, dtype=DTYPE)[None, None] * 2
    one, none = torch.ones(1, 1, dtype=DTYPE), torch.zeros(1, 1, dtype=DTYPE)
    flat = torch.zeros(1, 1, 4, dtype=DTYPE)
    assert proved(form, none, Room(one), torch.full((1, 1, 1), 1.9, dtype=DTYPE), flat).isinf().all()
    assert float(proved(form, none, Room(one), torch.full((1, 1, 1), 2.1, dtype=DTYPE), flat)) >= 1.0
    for bad in (torch.nan, torch.inf):
        broken = form.clone()
        broken[..., 0, 1] = bad
        pure, joint = tops(largest(broken, none, Room(one), [None, torch.ones(1, 1, 4, dtype=DTYPE)]))
        assert bool(pure.isinf().all() and joint.isinf().all())


@pytest.mark.parametrize("norm", [Fraction(1), Fraction(3, 2), Fraction(2), Fraction(4), None])
@pytest.mark.parametrize("cell", ["rnn_tanh", "lstm", "gru"])
def test_wide_frames_in_fewer_coordinates(cell: str, norm: Fraction | None) -> None:
    """Frames of 40 numbers read by 3 units: charts stand in for coordinates, for sets bounded coordinate by coordinate too."""

    def charted(nominal: Nominal, ball: Ball) -> Quadratic:
        return quadratic(nominal, ball, flattest=60)

    network = random_network(cell, n=40, s=3, scale=0.4, seed=5)
    x = torch.randn(2, 3, 40, generator=torch.Generator().manual_seed(0), dtype=DTYPE)
    nominal = Nominal.at(network.unroll(3), x)
    ball = Ball(torch.tensor([[0.05, 0.1, 0.02], [0.1, 0.0, 0.1]], dtype=DTYPE), norm)
    assert violations(nominal, ball, charted) <= 0
    assert charted(nominal, ball).coordinates.chart is not None or norm == 1


def seen_from_the_middle(nominal: Nominal, ball: Ball, flattest: int = coordinates.LARGEST_FLAT) -> Quadratic:
    found = QUADRATIC.on(nominal, ball, chart_of(nominal.graph, ball, nominal.inputs.shape[-1], flattest))
    assert isinstance(found, Quadratic)
    return found


def clipped_box(n: int, scale: float, seed: int) -> tuple[Nominal, Ball]:
    """Numbers of [0, 1], many of them at its ends."""
    g = torch.Generator().manual_seed(seed)
    x = (3 * torch.rand(2, 3, n, generator=g, dtype=DTYPE) - 1).clamp(0, 1)
    ball = Ball(torch.tensor([[0.5, 1.0, 0.2], [1.0, 0.0, 1.0]], dtype=DTYPE) * scale, None, None, (x, 1 - x))
    return Nominal.at(random_network("lstm", n=n, s=3, scale=0.6, seed=seed).unroll(3), x), ball


@pytest.mark.parametrize("flattest", [1000, 0])
def test_boxes_are_seen_from_their_middles(flattest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No point leaves a bound, and forms gain by it; a middle that is off, and boxes that end too soon, are caught."""

    def bounds(nominal: Nominal, ball: Ball) -> Quadratic:
        return seen_from_the_middle(nominal, ball, flattest)

    rows, gains = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=DTYPE), []
    cases = [clipped_box(n, scale, seed) for n in (2, 20) for scale in (0.1, 0.4) for seed in range(2)]
    for nominal, ball in cases:
        assert violations(nominal, ball, bounds, rows) <= 0
        middle, aside = (f(nominal, ball).upper(nominal.graph.output, rows) for f in (bounds, lambda *q: quadratic(*q, flattest)))
        gains.append(float((aside - middle).mean()))
    assert sum(gains) > 0.02
    true = Ball.centred

    def off(ball: Ball, x: Tensor) -> tuple[Ball, Tensor]:
        found, middle = true(ball, x)
        return found, 0.5 * middle

    def short(ball: Ball, x: Tensor) -> tuple[Ball, Tensor]:
        found, middle = true(ball, x)
        assert found.clip is not None
        return replace(found, clip=(0.8 * found.clip[0], found.clip[1])), middle

    for wrong in (off, short):
        monkeypatch.setattr(Ball, "centred", wrong)
        assert any(violations(nominal, ball, bounds, rows) > 0 for nominal, ball in cases)


def test_what_a_chart_loses_is_charged_on_both_sides_of_a_clip() -> None:
    """A frame read by other weights than the chart's, at the upper end of its range: it can still move down."""
    graph = GraphBuilder()
    first, second = graph.input(0, 3), graph.input(1, 3)
    unit = torch.eye(3, dtype=DTYPE)
    y = graph.affine((first, 0.1 * unit[:1]), (second, unit[1:2]), bias=torch.ones(1, dtype=DTYPE))
    output = graph.affine((graph.apply("tanh", y), torch.ones(1, 1, dtype=DTYPE)))
    nominal = Nominal.at(graph.build(output), torch.zeros(1, 2, 3, dtype=DTYPE))
    room = torch.full((1, 2, 3), 2.0, dtype=DTYPE), torch.zeros(1, 2, 3, dtype=DTYPE)
    bounds = quadratic(nominal, Ball(torch.ones(1, 2, dtype=DTYPE), Fraction(2), None, room))
    attained = -torch.tanh(torch.tensor(1 - 0.1 - 1.0, dtype=DTYPE))
    assert float(bounds.upper(output.node, -torch.ones(1, 1, dtype=DTYPE))) >= float(attained)


def test_a_set_that_does_not_move_is_bounded() -> None:
    network = random_network("lstm")
    nominal = Nominal.at(network.unroll(2), torch.zeros(1, 2, 3, dtype=DTYPE))
    ball = Ball(torch.zeros(1, 2, dtype=DTYPE), Fraction(2))
    eye = torch.eye(3, dtype=DTYPE)
    out = nominal.graph.output
    assert torch.equal(quadratic(nominal, ball).upper(out, eye), walked(nominal, ball, "plane").upper(out, eye))


def test_a_box_lies_within_its_half_width_of_its_middle() -> None:
    """In rational numbers: a middle near zero is small beside the ends, and their rounding is not relative to it."""
    g = torch.Generator().manual_seed(0)
    size = 10.0 ** torch.randint(-12, 4, (20_000,), generator=g, dtype=DTYPE)
    lo = -torch.rand(20_000, generator=g, dtype=DTYPE) * size
    hi = -lo * (1 + torch.randn(20_000, generator=g, dtype=DTYPE) * 10.0 ** torch.randint(-17, 1, (20_000,), generator=g, dtype=DTYPE))
    lo, hi = torch.minimum(lo, hi), torch.maximum(lo, hi)
    for a, b, middle, half in zip(*(x.tolist() for x in (lo, hi, *_middle(lo, hi))), strict=True):
        assert Fraction(middle) - Fraction(half) <= Fraction(a) <= Fraction(b) <= Fraction(middle) + Fraction(half)


@pytest.mark.parametrize("what", ["curvature", "base", "residual", "constant"])
def test_a_mutated_quadratic_bound_is_caught(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less curvature, lower offsets, no residual, or no constant: some point must leave some bound."""
    if what in ("curvature", "base"):
        true = parabolas

        def lowered(*args: object) -> Parabolas:
            found = true(*args)  # type: ignore[arg-type]
            upper, lower = found.upper, found.lower
            if what == "base":
                return replace(found, upper=replace(upper, offset=upper.offset - 0.02), lower=replace(lower, offset=lower.offset + 0.02))
            return replace(
                found,
                upper=replace(upper, curvature=tuple(k - 0.5 * k.abs() for k in upper.curvature)),
                lower=replace(lower, curvature=tuple(k + 0.5 * k.abs() for k in lower.curvature)),
            )

        monkeypatch.setattr("vlang.runtime.bounds.quadratic.parabolas", lowered)
    elif what == "residual":
        settle = Quadratic._settle

        def exact(self: Quadratic, i: int, *args: object) -> None:
            settle(self, i, *args)  # type: ignore[arg-type]
            self.motions[i] = replace(self.motions[i], residual=0 * self.motions[i].residual)

        monkeypatch.setattr(Quadratic, "_settle", exact)
    else:
        made = cushions.Cushion.of

        def dropped(*args: object) -> cushions.Cushion:
            found = made(*args)  # type: ignore[arg-type]
            return replace(found, constant=-4 * found.constant)

        monkeypatch.setattr(cushions.Cushion, "of", dropped)

    def left(seed: int, cell: str, eps: float) -> bool:
        network = random_network(cell, s=2, n=1, seed=seed)
        x = torch.randn(2, 4, 1, generator=torch.Generator().manual_seed(seed), dtype=DTYPE)
        return violations(Nominal.at(network.unroll(4), x), Ball(torch.full((2, 4), eps, dtype=DTYPE), Fraction(2)), quadratic) > 0

    assert any(itertools.starmap(left, itertools.product(range(4), ("rnn_tanh", "lstm", "gru"), (0.05, 0.3))))


def stray(nominal: Nominal, ball: Ball) -> float:
    """How far a node's value is from its motion, beyond the residual; at most 0 for sound ones. Sets in the hull's own coordinates."""
    found = quadratic(nominal, ball)
    worst = -1.0
    for x in points(nominal, ball, 40):
        z = (x - nominal.inputs).flatten(1)
        for i, value in enumerate(trajectory(nominal.graph, x)):
            if i in found.motions:
                m = found.motions[i]
                moved = m.centre + (m.linear @ z[:, : m.linear.shape[-1], None])[..., 0]
                worst = max(worst, float(((value - moved).abs() - m.residual - 1e-13 * (1 + value.abs())).max()))
    return worst


@pytest.mark.parametrize("cell", ["rnn_tanh", "rnn_relu", "lstm", "gru"])
@pytest.mark.parametrize("mutated", [False, True])
def test_motions_hold(cell: str, mutated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every node is linear but for its residual; without what is left of the bounds' linear parts beside the motion, some node is not."""
    if mutated:
        split = Quadratic._split

        def nothing_left(self: Quadratic, *args: object) -> object:
            linear, rest, lost = split(self, *args)  # type: ignore[arg-type]
            return linear, {k: 0 * a for k, a in rest.items()}, lost

        monkeypatch.setattr(Quadratic, "_split", nothing_left)
    worst = -1.0
    for seed, eps, norm in itertools.product(range(4 if mutated else 2), (0.05, 0.3, 1.0), (Fraction(2), None)):
        network = random_network(cell, s=3, n=2, scale=1.0, seed=seed)
        x = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(seed), dtype=DTYPE)
        worst = max(worst, stray(Nominal.at(network.unroll(3), x), Ball(torch.full((2, 3), eps, dtype=DTYPE), norm)))
        if mutated and worst > 0:
            return
    assert worst <= 0
    assert not mutated


@pytest.mark.parametrize("cell", ["rnn_tanh", "rnn_relu", "lstm", "gru"])
def test_hardly_looser_than_planes_and_tighter_where_it_counts(cell: str) -> None:
    network = random_network(cell, s=6, n=4, scale=0.5, seed=1)
    x = torch.randn(3, 3, 4, generator=torch.Generator().manual_seed(2), dtype=DTYPE)
    nominal = Nominal.at(network.unroll(3), x)
    for norm in (Fraction(1), Fraction(2), None):
        ball = Ball(torch.full((3, 3), 0.1, dtype=DTYPE), norm)
        rows = torch.eye(3, dtype=DTYPE)
        with torch.no_grad():
            by_planes = walked(nominal, ball, "plane").upper(nominal.graph.output, rows)
            both = quadratic(nominal, ball).upper(nominal.graph.output, rows)
        assert bool((both <= by_planes + 1e-4).all())  # planes on smaller boxes are others, not always better
        if cell != "rnn_relu":
            assert float((by_planes - both).median()) > 0


def test_what_is_scaled_in_front_of_the_weights_is_seen_through() -> None:
    """A frame of 40 numbers that 16 rows read, or 12: as many coordinates, whether it is normalised first or not."""
    found = []
    for words in (("gru", "last"), ("normalize", "gru", "last"), ("linear", "normalize", "relu", "last")):
        grown = Growing(0, 40, 3)
        for word in words:
            grown.add(word, width=4 if word == "gru" else 12 if word == "linear" else None)
        grown.add("linear", width=3)
        graph = Network(tuple(grown.layers), tuple(x.of for x in grown.plans), 40, 3).unroll(3)
        chart = chart_of(graph, Ball(torch.ones(1, 3, dtype=DTYPE), Fraction(2)), 40)
        assert chart is not None
        found.append(chart.basis.shape[1])
    assert found == [16, 16, 12]
