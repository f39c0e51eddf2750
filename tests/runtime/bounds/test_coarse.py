"""Bounds in coarse arithmetic (tests/coarse.py): every function that holds error terms, against rationals or float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from unittest import mock

import pytest
import torch
from torch import Tensor

from tests.coarse import RULES, TINY, UNIT, Coarse, coarse, exact, grid, numbers
from tests.helpers import DTYPE
from vlang.runtime.bounds.coordinates import Chart, Coordinates, Cut, chart_of
from vlang.runtime.bounds.cushions import Cushion, Motion
from vlang.runtime.bounds.interval import Interval, _rows
from vlang.runtime.bounds.linear import Linear, by_rule
from vlang.runtime.bounds.multipliers import Room, largest, largest_on_cross_polytopes, proved
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.bounds.quadratic import Quadratic, _middle
from vlang.runtime.bounds.walk import Reached, Substitution, Walk
from vlang.runtime.graph.concrete import trajectory
from vlang.runtime.graph.nodes import Affine, Graph, GraphBuilder, Node, Nonlinear
from vlang.runtime.relaxations import Parabola, Parabolas, Plane, Planes
from vlang.runtime.sets.ball import Ball
from vlang.runtime.sets.piece import Piece

SEEDS = range(4)
ONE = torch.ones(1, 1, dtype=DTYPE)


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=DTYPE)


def table(x: Tensor) -> list[list[Fraction]]:
    return [exact(row) for row in x]


def dot(a: list[Fraction], b: list[Fraction]) -> Fraction:
    return sum((x * y for x, y in zip(a, b, strict=True)), Fraction(0))


@dataclass(frozen=True, eq=False)
class Bare(Ball):
    """A ball for the infinity norm whose gains are the rationals, rounded up: without any room."""

    def gain(self, frame: int, coefficient: Tensor) -> Tensor:
        found = [
            [float(sum(map(abs, exact(row)), Fraction(0)) * r) for row in rows]
            for rows, r in zip(coefficient.expand(len(self.radii), -1, -1), exact(self.radii[:, frame]), strict=True)
        ]
        return grid(torch.tensor(found, dtype=DTYPE).reshape(len(found), -1), "outward")

    def total(self, gains: list[Tensor]) -> Tensor:
        (found,) = gains
        return found


@dataclass(frozen=True, eq=False)
class Still(Ball):
    """A ball that says of every coordinate that it stays where it is: what remains is rounding."""

    def support(self, coefficients: Mapping[int, Tensor]) -> Tensor:
        a = next(iter(coefficients.values()))
        return torch.zeros(len(self.radii), a.shape[1], dtype=DTYPE)


# -- coordinates ------------------------------------------------------------------------------------------------------------


def orthonormal(seed: int, n: int, d: int) -> Tensor:
    return grid(torch.linalg.qr(numbers(seed, n, d)).Q)


@pytest.mark.parametrize("rule", RULES)
def test_a_chart_says_how_far_its_coefficients_are(rule: str) -> None:
    for seed in SEEDS:
        chart = Chart(orthonormal(seed, 5, 2), numbers(seed + 50, 5).abs(), 0.0)
        a = grid((numbers(seed + 9, 1, 3, 2) @ chart.basis.mT) * chart.scale)
        with coarse(rule):
            z, error = chart.coefficients(a)
        for row, found, lost in zip(a[0], z[0], error[0], strict=True):
            back = [s * dot(exact(b), exact(found)) for b, s in zip(chart.basis, exact(chart.scale), strict=True)]
            assert all(abs(x - y) <= e for x, y, e in zip(exact(row), back, exact(lost), strict=True))


@pytest.mark.parametrize("rule", RULES)
def test_a_charts_ball_holds_the_frame(rule: str) -> None:
    """|scale delta| <= radius sqrt(n) for equal scales."""
    for seed in SEEDS:
        radius = numbers(seed, 1, 1).abs()
        chart = Chart(torch.eye(3, dtype=DTYPE), numbers(seed + 1, 1).abs().expand(3), 0.0)
        with coarse(rule):
            found = Coordinates(Ball(radius, None), 3, chart).balls
        assert exact(found)[0] ** 2 >= 3 * (exact(chart.scale)[0] * exact(radius)[0]) ** 2


@pytest.mark.parametrize("rule", RULES)
def test_a_charts_defect_is_not_below_the_truth(rule: str) -> None:
    for seed in range(30):
        graph = GraphBuilder()
        weight = numbers(seed, 1, 12)
        out = graph.affine((graph.input(0, 12), weight))
        with coarse(rule):
            chart = chart_of(graph.build(out), Ball(ONE, Fraction(2)), 12)
        assert chart is not None
        (column,) = table(chart.basis.mT)
        assert dot(column, column) <= (1 + Fraction(chart.defect)) ** 2


@pytest.mark.parametrize("rule", RULES)
def test_the_room_of_the_first_slots_allows_for_the_rest(rule: str) -> None:
    """Two frames of one coordinate each for the infinity norm, and a slab across both, seen by the first alone."""
    for seed in SEEDS:
        ball = Ball(numbers(seed, 1, 2).abs(), None)
        shift, normals = numbers(seed + 1, 1, 2), numbers(seed + 2, 1, 1, 2)
        low = numbers(seed + 3, 1, 1, size=100)
        high = grid(low + numbers(seed + 4, 1, 1).abs() * 1e-3, "up")
        with coarse(rule):
            coordinates = Coordinates(ball, 1, None)
            coordinates.cut = Cut(shift, 0 * shift, normals, low, high)
            room = coordinates.room(1)
        assert room.middles is not None
        assert room.halves is not None
        reach = abs(exact(normals)[1]) * exact(ball.radii)[1]
        along = exact(normals)[1] * exact(shift)[1]
        middle, half = exact(room.middles)[0], exact(room.halves)[0]
        assert middle - half <= exact(low)[0] + along - reach
        assert middle + half >= exact(high)[0] + along + reach


@pytest.mark.parametrize("rule", RULES)
def test_a_cut_says_how_far_its_shift_is(rule: str) -> None:
    for seed in SEEDS:
        chart = Chart(orthonormal(seed, 5, 2), numbers(seed + 50, 5).abs(), 0.0)
        offset, g = numbers(seed + 1, 1, 1, 5), numbers(seed + 2, 1, 1, 1, 5)
        with coarse(rule):
            cut = Coordinates(Piece(Ball(ONE, Fraction(2)), g, 0 * ONE, ONE, offset), 5, chart).cut
        assert cut is not None
        x = [a * s for a, s in zip(exact(offset), exact(chart.scale), strict=True)]
        true = [dot(exact(column), x) for column in chart.basis.mT]
        assert all(abs(a - b) <= c for a, b, c in zip(true, exact(cut.shift), exact(cut.blur), strict=True))


@pytest.mark.parametrize("rule", RULES)
def test_a_cut_holds_its_slab(rule: str) -> None:
    """g . delta = g . (delta - offset) + g . offset, the latter large."""
    for seed in SEEDS:
        offset, g, low = numbers(seed, 1, 1, 5, size=100), numbers(seed + 1, 1, 1, 1, 5), numbers(seed + 2, 1, 1)
        with coarse(rule):
            cut = Coordinates(Piece(Bare(ONE, None), g, low, low + ONE, offset), 5, None).cut
        assert cut is not None
        along = dot(exact(g), exact(offset))
        assert exact(cut.low)[0] <= exact(low)[0] - along
        assert exact(cut.high)[0] >= exact(grid(low + ONE))[0] - along


@pytest.mark.parametrize("rule", RULES)
def test_what_is_not_known_of_a_shift_is_lost(rule: str) -> None:
    for seed in SEEDS:
        coordinates = Coordinates(Ball(ONE, Fraction(2)), 5, None)
        blur, a = numbers(seed, 1, 5).abs(), numbers(seed + 1, 1, 2, 5)
        coordinates.cut = Cut(0 * blur, blur, 0 * blur[:, None], 0 * ONE, ONE)
        with coarse(rule):
            _, lost = coordinates.place({0: a})
        assert isinstance(lost, Tensor)
        for row, found in zip(a[0], exact(lost), strict=True):
            assert found >= dot([abs(x) for x in exact(row)], exact(blur))


@pytest.mark.parametrize("rule", RULES)
def test_errors_of_either_sign_are_summed_upwards(rule: str) -> None:
    for seed in SEEDS:
        errors = {k: numbers(seed + k, 1, 1, 2).abs() for k in range(9)}
        with coarse(rule):
            coordinates = Coordinates(Bare(ONE.expand(1, 9), None), 2, None)
            found = coordinates.either_way(errors)
        assert exact(found)[0] >= 2 * sum(sum(exact(e)) for e in errors.values())


@pytest.mark.parametrize("rule", RULES)
def test_the_linear_terms_of_other_frames_are_summed_upwards(rule: str) -> None:
    for seed in SEEDS:
        inputs = {k: numbers(seed + k, 1, 1, 2) for k in range(9)}
        with coarse(rule):
            found = Coordinates(Bare(ONE.expand(1, 9), None), 2, None).beyond(inputs, 0)
        assert exact(found)[0] >= sum(sum(map(abs, exact(a))) for a in inputs.values())


# -- cushions ---------------------------------------------------------------------------------------------------------------


def test_the_size_of_a_form_is_not_lost_to_underflow() -> None:
    """Rows so small that their squares are no numbers, and a curvature that makes them some again."""
    small, curved = torch.full((1, 1, 2), 1e-170, dtype=DTYPE), ONE * 1e150
    line = Parabola((0 * ONE,), (curved,), 0 * ONE)
    cushion = Cushion.of(Parabolas(line, line, (0 * ONE,)), [Motion(0 * ONE, small, 0 * ONE)], (ONE,))
    assert bool((cushion.size >= 2e-20 * 1e-170).all())


# -- intervals --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_rows_over_a_box_are_not_below_their_largest_value(rule: str) -> None:
    for seed in SEEDS:
        rows, lo = numbers(seed, 1, 3, 6), numbers(seed + 1, 1, 6)
        hi = grid(lo + numbers(seed + 2, 1, 6).abs(), "up")
        with coarse(rule):
            found = _rows(rows, lo, hi)
        for value, row in zip(exact(found), table(rows[0]), strict=True):
            assert value >= sum(max(a * x, a * y) for a, x, y in zip(row, exact(lo), exact(hi), strict=True))


@pytest.mark.parametrize("rule", RULES)
def test_rows_over_numbers_that_nearly_vanish_are_not_below_the_truth(rule: str) -> None:
    """On a set of one point: products with the centre lose less than the smallest normal number, and errors relative to it are 0."""
    for seed in SEEDS:
        graph, bias, rows = GraphBuilder(), numbers(seed, 3) * TINY, numbers(seed + 1, 2, 3) * 2.0**-20
        out = graph.affine((graph.input(0, 3), torch.eye(3, dtype=DTYPE)), bias=bias)
        with coarse(rule), torch.no_grad():
            found = Interval(Nominal.at(graph.build(out), zeros(1, 1, 3)), Still(ONE * 2.0**-290, None)).run().upper(out.node, rows)
        assert all(f >= dot(row, exact(bias)) for f, row in zip(exact(found), table(rows), strict=True))


@pytest.mark.parametrize("rule", RULES)
def test_a_middle_and_its_half_hold_the_box(rule: str) -> None:
    for seed in SEEDS:
        lo, hi = -numbers(seed, 40).abs() / 64, numbers(seed + 1, 40).abs()
        with coarse(rule):
            middle, half = _middle(lo, hi)
        for a, b, m, h in zip(*map(exact, (lo, hi, middle, half)), strict=True):
            assert m - h <= a
            assert b <= m + h


# -- multipliers ------------------------------------------------------------------------------------------------------------


def zeros(*shape: int) -> Tensor:
    return torch.zeros(*shape, dtype=DTYPE)


@pytest.mark.parametrize("rule", RULES)
def test_a_matrix_that_is_not_quite_positive_semidefinite_is_paid_for(rule: str) -> None:
    """H has eigenvalues 1 and -1e6; multipliers below 1 prove nothing, but rounding hides by how much."""
    for seed in SEEDS:
        turn = torch.linalg.qr(numbers(seed, 2, 2)).Q
        form = grid(turn @ torch.diag(tensor(1.0, -1e6)) @ turn.mT)
        form[1, 0] = form[0, 1]
        true = float(torch.linalg.eigvalsh(form)[-1]) / 2
        tried = grid(1 - torch.linspace(-1e-4, 3e-3, 40, dtype=DTYPE))[None, :, None]
        with coarse(rule):
            found = proved(form.expand(1, 40, 2, 2), zeros(1, 40), Room(ONE), tried, zeros(1, 40, 2))
        assert bool((found >= true).all())


@pytest.mark.parametrize("rule", RULES)
def test_slabs_that_cancel_a_form_are_paid_for(rule: str) -> None:
    """H is large along a normal, where a slab of no width holds z; across it multipliers that are too small prove nothing."""
    for seed in SEEDS:
        g = numbers(seed, 2)
        across = torch.stack([-g[1], g[0]]) / torch.linalg.vector_norm(g)
        form = grid(1e6 * g[:, None] * g + across[:, None] * across)
        form[1, 0] = form[0, 1]
        true = float(across @ form @ across) / 2
        tried = grid(2 * true - torch.linspace(-1e-4, 5e-3, 40, dtype=DTYPE))[None, :, None]
        room = Room(ONE, zeros(1, 2), g[None, None], zeros(1, 1), zeros(1, 1))
        multipliers = torch.cat([tried, torch.full_like(tried, 1e6)], -1)
        with coarse(rule):
            found = proved(form.expand(1, 40, 2, 2), zeros(1, 40), room, multipliers, zeros(1, 40, 2))
        assert bool((found >= true).all())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("half", "shift", "size"), [(1e3, 0.0, 1.0), (1e3, 1.0, 1.0), (1.0, 0.3, 1e3), (0.1, 1e3, 1.0), (1.0, 1.0, 1e-4)])
def test_what_multipliers_give_is_rounded_up(rule: str, half: float, shift: float, size: float) -> None:
    """The dual function at them, in rationals: sum of multipliers (radius^2 - shift^2) / 2 and the top of a concave parabola, in one variable."""
    for seed in SEEDS:
        h, g, s, m, r = (numbers(seed + k, 1) for k in range(1, 6))
        lam, mu, normal = (numbers(seed + k, 1).abs() for k in (6, 7, 8))
        h, s, m, w, g = -h.abs(), grid(s * shift), grid(m * shift), grid(half * r.abs()), grid(g * size)
        room = Room(r.abs()[None], s[None], normal[None, None], m[None], w[None])
        with coarse(rule):
            found = proved(h[None, None, None], zeros(1, 1), room, torch.cat([lam, mu])[None, None], g[None, None])
        lam_, mu_, h_, g_, s_, m_, w_, r_, a = (exact(x)[0] for x in (lam, mu, h, g, s, m, w, r, normal))
        slope, curved = g_ - lam_ * s_ + mu_ * m_ * a, lam_ + mu_ * a * a - h_
        assert exact(found)[0] >= (lam_ * (r_**2 - s_**2) + mu_ * (w_**2 - m_**2)) / 2 + slope**2 / curved / 2


def test_lengths_that_underflow_count() -> None:
    """Radii whose squares are no numbers, beside a form that is not known up to a large matrix."""
    error = ONE * 1e300
    found = proved(zeros(1, 1, 2, 2), error, Room(tensor(1e-170, 1e-170)[None]), torch.full((1, 1, 2), 1.0, dtype=DTYPE), zeros(1, 1, 2))
    assert float(found) >= 1e300 * 1e-170 * 1e-170


def test_a_residual_whose_square_underflows_counts() -> None:
    """Whatever solves the equations: here nothing at all, and what is left of the linear part has a square that is no number."""
    linear, radius, lam = torch.full((1, 1, 2), 1e-163, dtype=DTYPE), ONE * 1e100, torch.full((1, 1, 1), 1e-264, dtype=DTYPE)
    with mock.patch.object(torch, "cholesky_solve", lambda right, _factor: torch.zeros_like(right)):
        found = proved(zeros(1, 1, 2, 2), zeros(1, 1), Room(radius), lam, linear)
    assert float(found) >= 1e-163 * 1e100 * math.sqrt(2)


def test_forms_and_linear_parts_that_are_zero_have_bounds() -> None:
    for radii in (ONE, 0 * ONE):
        for steps in (0, 3):
            for linear in (zeros(1, 1, 2), numbers(0, 1, 1, 2)):
                room = Room(radii.expand(1, 2))
                ((none, _), (some, _)) = largest(zeros(1, 1, 2, 2), zeros(1, 1), room, [None, linear], steps)
                true = float((linear.abs() * radii).sum())
                assert 0 <= float(none) < 1e-9
                assert true <= float(some) < true + 1e-2


@pytest.mark.parametrize("rule", RULES)
def test_vertices_of_cross_polytopes_are_not_below_the_truth(rule: str) -> None:
    for seed in SEEDS:
        form, radii, linear = numbers(seed, 1, 1, 6, 6), numbers(seed + 1, 1, 3).abs(), numbers(seed + 2, 1, 1, 6)
        error = numbers(seed + 3, 1, 1).abs()
        with coarse(rule):
            (found, _), (with_linear, _) = largest_on_cross_polytopes(form, error, radii, [None, linear])
        r, size, e = exact(radii), [[abs(v) for v in row] for row in table(form[0, 0])], exact(error)[0]
        pull = [sum((max(row[2 * k : 2 * k + 2]) + e) * r[k] for k in range(3)) / 2 for row in size]
        for value, more in ((found, [Fraction(0)] * 6), (with_linear, [abs(v) for v in exact(linear)])):
            every = [p + m for p, m in zip(pull, more, strict=True)]
            assert exact(value)[0] >= sum(max(every[2 * k : 2 * k + 2]) * r[k] for k in range(3))


# -- the nominal trajectory ---------------------------------------------------------------------------------------------------


def chain(seed: int, op: str | None = "tanh", size: float = 1.0, n: int = 3) -> Graph:
    """Two affine maps and a function between them, of one frame."""
    graph = GraphBuilder()
    inner = graph.affine((graph.input(0, n), numbers(seed, n, n, size=size)), bias=numbers(seed + 1, n))
    middle = graph.apply(op, inner) if op is not None else inner
    return graph.build(graph.affine((middle, numbers(seed + 2, n, n, size=size)), bias=numbers(seed + 3, n)))


@pytest.mark.parametrize("rule", RULES)
def test_values_that_are_computed_again_are_as_far_as_they_may_be(rule: str) -> None:
    for seed in SEEDS:
        graph, x = chain(seed), numbers(seed + 9, 1, 1, 3)
        nominal = Nominal.at(graph, x)
        blur = {3: numbers(seed + 10, 1, 3).abs()}
        before = tuple(grid(v + 1e-4 * numbers(seed + i, *v.shape)) for i, v in enumerate(nominal.values))
        with coarse(rule):
            there = replace(nominal, values=before, blur=blur).moved(0 * x)
        for new, old, here, away in zip(*map(exact, (there.blur[3], blur[3], there.values[3], before[3])), strict=True):
            assert new >= old + abs(here - away)


# -- walks --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_boxes_of_inputs_hold_them(rule: str) -> None:
    for seed in SEEDS:
        x, radius = numbers(seed, 1, 1, 3), numbers(seed + 1, 1, 1).abs() * 1e-4
        with coarse(rule):
            low, high = Interval(Nominal.at(chain(seed), x), Bare(grid(radius), None)).run().boxes[0]
        r = exact(grid(radius))[0]
        assert all(a <= v - r and v + r <= b for v, a, b in zip(*map(exact, (x, low, high)), strict=True))


def two_frames(seed: int, op: str, deep: bool = False) -> Graph:
    """A function of an affine map of the first frame, then an affine map of that and of the second frame."""
    graph = GraphBuilder()
    first, second = graph.input(0, 3), graph.input(1, 3)
    early = graph.apply(op, graph.affine((first, numbers(seed, 3, 3)), bias=numbers(seed + 1, 3)))
    if deep:
        early = graph.affine((early, numbers(seed + 7, 3, 3, size=1e3)), bias=numbers(seed + 8, 3))
    late = graph.affine((early, numbers(seed + 2, 3, 3)), (second, numbers(seed + 3, 3, 3)), bias=numbers(seed + 4, 3))
    return graph.build(graph.affine((late, numbers(seed + 5, 2, 3)), bias=numbers(seed + 6, 2)))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("op", ["relu", "tanh", "gelu"])
def test_values_at_rest_are_as_far_as_they_may_be(rule: str, op: str) -> None:
    """Only the second frame moves: what is computed of the first is off by no more than is said."""
    for seed in SEEDS:
        graph, x = two_frames(seed, op, deep=True), numbers(seed + 20, 1, 2, 3)
        with coarse(rule):
            walk = Interval(Nominal.at(graph, x), Ball(tensor(0.0, 0.1)[None], None)).run()
        true = trajectory(graph, x)
        assert len(walk.blur) >= 4
        for i, blur in walk.blur.items():
            assert bool(((walk.nominal.values[i] - true[i]).abs() <= blur).all())


@pytest.mark.parametrize("rule", RULES)
def test_a_relu_at_rest_may_be_anywhere_in_its_box(rule: str) -> None:
    """Its argument is known to a unit, and its own value is far smaller."""
    for seed in SEEDS:
        graph, x = two_frames(seed, "relu"), numbers(seed + 20, 1, 2, 3)
        values = list(Nominal.at(graph, x).values)
        argument = next(i for i, n in enumerate(graph.nodes) if isinstance(n, Affine))
        values[argument] = numbers(seed + 21, 1, 3).abs() * 1e-3
        values[argument + 1] = values[argument]
        with coarse(rule):
            nominal = replace(Nominal.at(graph, x), values=tuple(values), blur={argument: 1 + numbers(seed + 22, 1, 3).abs()})
            walk = Interval(nominal, Ball(tensor(0.0, 0.1)[None], None)).run()
        high = walk.boxes[argument][1]
        assert all(b >= h - v for b, h, v in zip(*map(exact, (walk.blur[argument + 1], high, values[argument])), strict=True))


@pytest.mark.parametrize("rule", RULES)
def test_what_is_not_known_of_values_at_rest_is_summed_upwards(rule: str) -> None:
    """As if nothing were known of them but that they are near 0."""
    for seed in SEEDS:
        graph = GraphBuilder()
        early = graph.apply("tanh", graph.affine((graph.input(0, 9), torch.eye(9, dtype=DTYPE))))
        weight = numbers(seed, 3, 9)
        out = graph.affine((early, weight), (graph.input(1, 3), torch.eye(3, dtype=DTYPE) * 2.0**-60))
        nominal = Nominal.at(graph.build(out), zeros(1, 2, 9)[..., :9])
        blur = numbers(seed + 1, 1, 9).abs()
        nominal = replace(nominal, values=(*nominal.values[:3], zeros(1, 3), *nominal.values[4:]), inputs=zeros(1, 2, 9))
        fixed = {early.node: blur, early.node - 1: blur}
        with coarse(rule):
            walk = Interval(replace(nominal, blur=fixed), Ball(tensor(0.0, 2.0**-60)[None], None)).run()
        for found, row in zip(exact(walk._error[out.node]), table(weight), strict=True):
            assert found >= dot([abs(v) for v in row], exact(blur))


MADE: Mapping[str, Callable[[Nominal, Ball], Walk]] = {
    "interval": Interval,
    "linear": lambda nominal, ball: Linear(nominal, ball, by_rule("plane")),
    "quadratic": lambda nominal, ball: Quadratic(nominal, ball, None),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("walk", ["interval", "linear"])
@pytest.mark.parametrize("size", [1.0, 1e3])
def test_what_does_not_move_but_by_rounding_is_bounded(rule: str, walk: str, size: float) -> None:
    """Affine maps whose products cancel, and a relu that is on, on a set of one point: rationals know the value."""
    for seed in SEEDS:
        graph = GraphBuilder()
        first, second, end = numbers(seed, 3, 3, size=size), numbers(seed + 1, 3, 3), numbers(seed + 3, 3)
        bias = grid(100 * size * numbers(seed + 2, 3).abs() + 1000 * size)
        inner = graph.affine((graph.input(0, 3), first), bias=bias)
        out = graph.affine((graph.apply("relu", inner), second), bias=end)
        x, rows = numbers(seed + 4, 1, 1, 3), numbers(seed + 5, 2, 3)
        with coarse(rule), torch.no_grad():
            ready = MADE[walk](Nominal.at(graph.build(out), x), Still(ONE * 2.0**-100, None)).run()
            found = ready.upper(out.node, rows)
        hidden = [dot(row, exact(x)) + b for row, b in zip(table(first), exact(bias), strict=True)]
        true = [dot(row, hidden) + b for row, b in zip(table(second), exact(end), strict=True)]
        for node, values in ((inner.node, hidden), (out.node, true)):
            assert all(a <= v <= b for v, a, b in zip(values, *map(exact, ready.boxes[node]), strict=True))
        assert all(f >= dot(row, true) for f, row in zip(exact(found), table(rows), strict=True))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("walk", MADE)
def test_what_is_linear_is_bounded_from_above(rule: str, walk: str) -> None:
    """Two affine maps that are one: the largest value of rows on the ball is known."""
    graph, x = chain(3, op="relu"), numbers(4, 1, 1, 3)
    nodes = graph.nodes
    assert isinstance(nodes[1], Affine)
    nodes = (nodes[0], replace(nodes[1], bias=nodes[1].bias + 64), *nodes[2:])  # the relu is on
    graph = replace(graph, nodes=nodes)
    rows = numbers(5, 2, 3)
    with coarse(rule), torch.no_grad():
        found = MADE[walk](Nominal.at(graph, x), Ball(ONE / 8, None)).run().upper(graph.output, rows)
    one, two = (n for n in nodes if isinstance(n, Affine))
    assert one.terms[0].weight is not None
    assert two.terms[0].weight is not None
    centre = [dot(row, exact(x)) + b for row, b in zip(table(one.terms[0].weight), exact(one.bias), strict=True)]
    centre = [dot(row, centre) + b for row, b in zip(table(two.terms[0].weight), exact(two.bias), strict=True)]
    for value, row in zip(exact(found), table(rows), strict=True):
        hidden = [dot(row, exact(c)) for c in two.terms[0].weight.mT]
        assert value >= dot(row, centre) + sum(abs(dot(hidden, exact(c))) for c in one.terms[0].weight.mT) / 8


@pytest.mark.parametrize("rule", RULES)
def test_a_fixed_node_is_known_up_to_its_products(rule: str) -> None:
    """The largest value of rows over a late node of which some is at rest, by planes."""
    for seed in SEEDS:
        graph, x = two_frames(seed, "relu", deep=True), numbers(seed + 20, 1, 2, 3)
        rows = numbers(seed + 21, 2, 2)
        with coarse(rule), torch.no_grad():
            found = Linear(Nominal.at(graph, x), Still(tensor(0.0, 2.0**-100)[None], None), by_rule("plane")).run().upper(graph.output, rows)
        true = (trajectory(graph, x)[graph.output] @ rows.T)[0]
        assert bool((found[0] >= true).all())


@pytest.mark.parametrize("rule", RULES)
def test_halves_of_planes_that_vanish_are_paid_for(rule: str) -> None:
    """Slopes of a few of the smallest numbers there are, whose halves are none, and an argument so large that they count."""
    least, far = TINY * UNIT, 2.0**200
    slopes, flat = tensor(1.0, 3.0, 5.0)[None] * least, zeros(1, 3)
    with coarse(rule), torch.no_grad():
        walk = MADE["linear"](Nominal.at(chain(0), numbers(9, 1, 1, 3)), Ball(ONE, None)).run()
        node = walk.nominal.graph.nodes[2]
        assert isinstance(node, Nonlinear)
        walk.boxes[1] = (zeros(1, 3) - far, zeros(1, 3) + far)
        planes = Planes(Plane((flat,), flat), Plane((slopes,), flat))
        error = walk._rounding_of(2, node, planes)
        by = Substitution.by_planes(planes, error)
        halves = (by.middle[0][:, 0], by.gap[0][:, 0])
    for half in halves:
        for e, s, h in zip(*map(exact, (error, slopes, half)), strict=True):
            assert e >= abs(s / 2 - h) * Fraction(far)


@pytest.mark.parametrize("rule", RULES)
def test_offsets_of_planes_that_cancel_are_paid_for(rule: str) -> None:
    """A function of a function, each exactly a line here: what the first adds the second takes away, so that no value beside them is large."""
    for seed in SEEDS:
        graph = GraphBuilder()
        inner = graph.affine((graph.input(0, 3), numbers(seed, 3, 3)))
        one = graph.apply("tanh", inner)
        two = graph.apply("tanh", one)
        out = graph.affine((two, numbers(seed + 1, 2, 3)))
        rows, slopes = numbers(seed + 2, 2, 2), (numbers(seed + 3, 1, 3), numbers(seed + 4, 1, 3))
        first = numbers(seed + 5, 1, 3, size=1e6)
        second = grid(-slopes[1] * first)
        with coarse(rule), torch.no_grad():
            walk = MADE["linear"](Nominal.at(graph.build(out), zeros(1, 1, 3)), Still(ONE * 2.0**-100, None)).run()
            for ref, slope, offset in ((one, slopes[0], first), (two, slopes[1], second)):
                node = walk.nominal.graph.nodes[ref.node]
                assert isinstance(node, Nonlinear)
                line = Plane((slope,), offset)
                walk.planes[ref.node] = Planes(line, line)
                error = walk._rounding_of(ref.node, node, walk.planes[ref.node])
                walk._by[ref.node] = Substitution.by_planes(walk.planes[ref.node], error)
                walk.boxes[ref.node] = (first, first) if ref is one else (zeros(1, 3) - 2.0**-9, zeros(1, 3) + 2.0**-9)
            end = walk.nominal.graph.nodes[out.node]
            assert isinstance(end, Affine)
            walk._fix_affine(out.node, end)
            found = walk.upper(out.node, rows)
        value = [b * c + d for b, c, d in zip(*map(exact, (slopes[1], first, second)), strict=True)]
        values = [dot(row, value) for row in table(numbers(seed + 1, 2, 3))]
        assert all(f >= dot(row, values) for f, row in zip(exact(found), table(rows), strict=True))


@pytest.mark.parametrize("rule", RULES)
def test_rows_over_values_at_rest_are_not_below_the_truth(rule: str) -> None:
    """Of values that are known exactly: what is lost is that of the product alone."""
    for seed in SEEDS:
        graph, x, rows = two_frames(seed, "relu"), numbers(seed + 20, 1, 2, 3), numbers(seed + 21, 2, 3)
        nominal = Nominal.at(graph, x)
        node = next(i for i, n in enumerate(graph.nodes) if isinstance(n, Affine))
        values = tuple(grid(v) for v in nominal.values)
        with coarse(rule), torch.no_grad():
            known = replace(nominal, values=values, blur={node: zeros(1, 3)})
            found = MADE["linear"](known, Ball(tensor(0.0, 0.1)[None], None)).run().upper(node, rows)
        assert all(f >= dot(row, exact(values[node])) for f, row in zip(exact(found), table(rows), strict=True))


# -- quadratic bounds ---------------------------------------------------------------------------------------------------------


def ready(seed: int, rule: str) -> Quadratic:
    """A walk over a small graph in coarse arithmetic."""
    with coarse(rule), torch.no_grad():
        return Quadratic(Nominal.at(chain(seed), numbers(seed + 9, 1, 1, 3)), Bare(ONE / 8, None), None).run()


@pytest.mark.parametrize("rule", RULES)
def test_steps_of_quadratic_bounds_are_rounded_outward(rule: str) -> None:
    for seed in SEEDS[:2]:
        walk = ready(seed, rule)
        a = numbers(seed, 1, 6, 3)
        with coarse(rule), torch.no_grad():
            linear, rest, lost = walk._split({0: a}, 3)
        for k in range(6):
            sign = 1 if k < 3 else -1
            off = sum(abs(x - sign * y - z) for x, y, z in zip(exact(a[0, k]), exact(linear[0][0, k % 3]), exact(rest[0][0, k]), strict=True))
            assert exact(lost[0, k])[0] >= off / 8

        above, below = numbers(seed + 1, 1, 99).abs(), numbers(seed + 2, 1, 99).abs() / 64
        with coarse(rule), torch.no_grad():
            walk.boxes[1] = (-100 + zeros(1, 99), 100 + zeros(1, 99))
            walk._settle(1, {0: numbers(seed + 3, 1, 99, 3)}, torch.cat([above, below], 1))
        moved = walk.motions[1]
        for c, r, high, low in zip(*map(exact, (moved.centre, moved.residual, above, below)), strict=True):
            assert r < 50
            assert c - r <= -low
            assert high <= c + r

        centre, slack = numbers(seed + 4, 1, 2, size=1e6), numbers(seed + 5, 1, 2).abs()
        inputs = numbers(seed + 6, 1, 2, 3)
        with coarse(rule), torch.no_grad():
            (found,) = walk._bounds(graph_output(walk), Reached(centre, slack, {0: inputs}, {}), 2, [{0: inputs}])
        for value, c, s, row in zip(exact(found), exact(centre), exact(slack), table(inputs[0]), strict=True):
            assert value >= c + s + sum(map(abs, row)) / 8


def graph_output(walk: Quadratic) -> int:
    return walk.nominal.graph.output


@pytest.mark.parametrize("rule", RULES)
def test_forms_are_known_up_to_their_error(rule: str) -> None:
    """What parabolas add to rows, from the cushions of their neurons: the constants, and the matrices up to a spectral norm."""
    for seed in SEEDS[:2]:
        walk = ready(seed, rule)
        i = next(iter(walk._cushions))
        cushion = walk._cushions[i]
        cushion = replace(cushion, constant=numbers(seed, 2, 1, 3).abs(), weights=(numbers(seed + 1, 2, 1, 3),))
        motion = numbers(seed + 2, 1, 3, 3)
        norm = torch.linalg.vector_norm(motion, dim=-1) ** 2
        a = numbers(seed + 3, 1, 2, 3)
        with coarse(rule), torch.no_grad():
            walk._cushions[i] = replace(cushion, linear=(motion,), size=cushion.weights[0].abs() * grid(norm, "up"))
            form = walk._weigh({i: a}, 2)
            matrices = walk._matrices(form, slice(None))
        signs = (a.clamp(min=0), (-a).clamp(min=0))
        for r in range(2):
            parts = [
                list(zip(exact(s[0, r]), exact(c), exact(w), strict=True))
                for s, c, w in zip(signs, cushion.constant, cushion.weights[0], strict=True)
            ]
            assert exact(form.constant[0, r])[0] >= sum(x * c for part in parts for x, c, _ in part)
            true = zeros(3, 3)
            for j in range(3):
                weight = float(sum(part[j][0] * part[j][2] for part in parts))
                true = true + weight * motion[0, j, :, None] * motion[0, j]
            assert float(torch.linalg.matrix_norm(matrices[0, r] - true, ord=2)) <= float(form.error[0, r])


# -- float32 forward passes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("op", ["tanh", "gelu", "sigmoid"])
def test_float32_values_are_within_the_bounds_of_deployed_networks(rule: str, op: str) -> None:
    """Computed with 24 bits, every result rounded to one side and every function off by all that is allowed."""
    for seed in SEEDS:
        graph = chain(seed, op)
        graph = replace(graph, nodes=tuple(_in_float32(n) for n in graph.nodes))
        x = numbers(seed + 9, 1, 1, 3).float().double()
        nominal = Nominal.at(graph, x, deployed=True)
        for walk in (Interval(nominal, Ball(0 * ONE, None)).run(), Linear(nominal, Ball(0 * ONE, None), by_rule("plane")).run()):
            with Coarse(rule, bits=25, tiny=2.0**-126):
                computed = trajectory(graph, x)
            rows = torch.eye(3, dtype=DTYPE)
            for i, value in enumerate(computed):
                low, high = walk.boxes[i]
                assert bool((low <= value).all() & (value <= high).all())
            assert bool((walk.upper(graph.output, rows) >= computed[-1]).all())
            assert bool((walk.upper(graph.output, -rows) >= -computed[-1]).all())


def _in_float32(node: Node) -> Node:
    if not isinstance(node, Affine):
        return node
    terms = tuple(replace(t, weight=None if t.weight is None else t.weight.float().double()) for t in node.terms)
    return replace(node, terms=terms, bias=node.bias.float().double(), size=node.size.float().double())
