"""Error terms, each tested where nothing else covers for it: dropped, its test fails."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from tests.helpers import DTYPE, random_network
from vlang.lower.spec import compile_spec
from vlang.runtime import rounding
from vlang.runtime.attacks.witness import Limits, contains
from vlang.runtime.bounds.coordinates import Coordinates
from vlang.runtime.bounds.interval import Interval
from vlang.runtime.bounds.linear import Linear, by_rule
from vlang.runtime.bounds.multipliers import Room, largest
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.bounds.quadratic import Quadratic
from vlang.runtime.graph.nodes import Affine, GraphBuilder
from vlang.runtime.network import load
from vlang.runtime.network.cells import CELLS, CellWeights
from vlang.runtime.queries.batches import prepare
from vlang.runtime.queries.samples import Samples
from vlang.runtime.sets.ball import Ball
from vlang.runtime.sets.piece import Piece, _Slab
from vlang.text.source import Source


def exact(values: Tensor) -> list[Fraction]:
    return [Fraction(v) for v in values.flatten().tolist()]


def test_a_slab_pays_for_the_subtraction_of_its_normal() -> None:
    """fl(A - lam g) where both nearly cancel, against rationals: what the rounding of it hides of the support is in the edge."""
    g = torch.Generator().manual_seed(0)
    paid = 0
    for seed in range(50):
        g.manual_seed(seed)
        ball = Ball(torch.ones(1, 1, dtype=DTYPE), None)
        normal, lam = torch.randn(1, 1, 5, generator=g, dtype=DTYPE), torch.randn(1, 1, generator=g, dtype=DTYPE)
        a = normal * lam[..., None] * (1 + 1e-3 * torch.randn(1, 1, 5, generator=g, dtype=DTYPE))
        slab = _Slab(ball, {0: normal}, torch.zeros(1, 1, dtype=DTYPE), torch.zeros(1, 1, dtype=DTYPE))
        shifted = slab.shifted({0: a}, lam)
        true = sum(abs(x - Fraction(float(lam)) * y) for x, y in zip(exact(a), exact(normal), strict=True))
        seen = sum(map(abs, exact(shifted[0])))
        assert true <= seen + Fraction(float(slab.edge(shifted, lam)))
        paid += true > seen
    assert paid > 5


def test_wrong_coefficients_change_a_piece_by_its_offset_too() -> None:
    """Seen from one end of the ball, the other end is two radii away."""
    ball = Ball(torch.tensor([[2.0]], dtype=DTYPE), Fraction(2))
    unit = torch.tensor([[[0.6, 0.8]]], dtype=DTYPE)
    ends = torch.tensor([[-2.0]], dtype=DTYPE), torch.tensor([[2.0]], dtype=DTYPE)
    seen = Coordinates(Piece(ball, unit[:, None], *ends, 2.0 * unit), 2, None)
    assert float(seen.either_way({0: unit})) >= 4.0


def test_what_is_not_known_of_a_form_counts_over_the_whole_room() -> None:
    """H = 0 up to a matrix of norm 0.5: 1/2 z' H z may be 0.5 |z|^2 / 2."""
    radii = torch.tensor([[3.0, 4.0]], dtype=DTYPE)
    ((value, _),) = largest(torch.zeros(1, 1, 4, 4, dtype=DTYPE), torch.full((1, 1), 0.5, dtype=DTYPE), Room(radii), [None])
    assert 0.5 * 25 / 2 <= float(value) < 0.5 * 25 / 2 * 1.01


def test_exact_numbers_are_rounded_outward() -> None:
    below = above = 0
    for k in range(1, 200):
        q = Fraction(k, 7 * k + 3)
        assert Fraction(rounding.at_most(q)) <= q <= Fraction(rounding.at_least(q))
        below, above = below + (Fraction(float(q)) < q), above + (Fraction(float(q)) > q)
    assert below > 20
    assert above > 20


@pytest.mark.parametrize("p", [Fraction(3, 2), Fraction(3), Fraction(7)])
def test_a_witness_a_hair_outside_its_ball_is_none(p: Fraction) -> None:
    delta = torch.tensor([[0.3, -0.5, 0.7]], dtype=DTYPE)
    norm = Fraction(float((delta.abs() ** float(p)).sum() ** (1 / float(p))))
    limits = Limits((Fraction(1),), p, None, None)
    for hair in (Fraction(1, 10**10), Fraction(1, 10**11)):
        assert not contains(limits, torch.zeros(1, 3, dtype=DTYPE), delta, norm / (1 + hair))
        assert contains(limits, torch.zeros(1, 3, dtype=DTYPE), delta, norm * (1 + hair))


def test_a_clip_leaves_as_much_room_as_there_is(tmp_path: object) -> None:
    """Ends that float64 cannot hold, and differences that it rounds, against rationals."""
    from pathlib import Path

    from tests.conftest import make_world

    world = Path(str(tmp_path))
    make_world(world)
    g = torch.Generator().manual_seed(1)
    values = [[round(float(x), 7) for x in row] for row in torch.rand(40, 3, generator=g, dtype=DTYPE) * 0.8 + 0.1]
    text = f"""rspec 1
network n {{ checkpoint = "lstm.safetensors" }}
input i {{ values = {values} }}
radius r {{ network = n, input = i, perturbation = {{ frames = all, norm = 2, clip = [0.1, 0.9] }} }}
"""
    variant = compile_spec(Source(str(world / "x.rspec"), text)).queries[0].variants[0]
    loaded = prepare(variant, Samples.load(variant, load.network(variant.network, DTYPE, torch.device("cpu"))))
    clip = loaded.ball(loaded.cases).clip
    assert clip is not None
    inputs, (down, up) = exact(loaded.inputs), (exact(x) for x in clip)
    assert all(x - d <= Fraction(1, 10) and x + u >= Fraction(9, 10) for x, d, u in zip(inputs, down, up, strict=True))


def test_float32_grus_add_and_subtract_their_new_state() -> None:
    """torch computes n + z (h - n): with n = 1, z = 1 and a small h most of h is lost, which bounds of deployed networks allow for."""
    gru = nn.GRU(1, 1, batch_first=True)
    start = torch.tensor([[[1.2345e-8]]])
    with torch.no_grad():
        for name, value in gru.named_parameters():
            value.copy_(torch.tensor([0.0, 40.0, 20.0]) if name == "bias_ih_l0" else torch.zeros_like(value))
        (computed,) = gru(torch.zeros(1, 1, 1), start)[0].flatten().tolist()
    graph = GraphBuilder()
    weights = CellWeights(*(getattr(gru, f"{x}_l0").detach().to(DTYPE) for x in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")))
    (h,) = CELLS["gru"].step(graph, graph.input(0, 1), (graph.constant(start.flatten().to(DTYPE)),), weights)
    nominal = Nominal.at(graph.build(h), torch.zeros(1, 1, 1, dtype=DTYPE), deployed=True)
    low, high = Interval(nominal, Ball(torch.zeros(1, 1, dtype=DTYPE), None)).run().boxes[h.node]
    assert abs(computed - 1.2345e-8) > 1e-9  # float32 lost it
    assert float(low) <= computed <= float(high)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_what_is_not_known_of_values_at_rest_counts(cell: str) -> None:
    """Values before the moved frame off by a thousandth, and said to be: the bounds still hold of the network."""
    network = random_network(cell, seed=2, scale=1.5)
    x = torch.randn(1, 3, 3, generator=torch.Generator().manual_seed(0), dtype=DTYPE)
    true, eye = Nominal.at(network.unroll(3), x), torch.eye(3, dtype=DTYPE)
    radii = torch.tensor([[0.0, 0.0, 1e-9]], dtype=DTYPE)
    live = true.graph.reached_from(frozenset({2}))
    away = {i: torch.full_like(v, 1e-3) for i, v in enumerate(true.values) if not live[i] and i >= 3}
    for sign in (-1, 1):
        values = tuple(v + sign * away[i] if i in away else v for i, v in enumerate(true.values))
        off = replace(true, values=values, blur=away)
        walk = Linear(off, Ball(radii, Fraction(2)), by_rule("plane")).run()
        assert bool((walk.upper(true.graph.output, eye) >= true.logits).all())
        assert bool((walk.upper(true.graph.output, -eye) >= -true.logits).all())


def test_rows_at_rest_are_bounded_by_what_they_are() -> None:
    """A row that moves a late frame only, beside one that moves the first: its early nodes stay points, its bounds are those it has alone."""
    network = random_network("lstm", seed=3, scale=1.5)
    x = torch.randn(2, 8, 3, generator=torch.Generator().manual_seed(0), dtype=DTYPE)
    radii = torch.zeros(2, 8, dtype=DTYPE)
    radii[0, 0], radii[1, 7] = 0.3, 0.3
    nominal, eye = Nominal.at(network.unroll(8), x), torch.eye(3, dtype=DTYPE)
    both = Linear(nominal, Ball(radii, Fraction(2)), by_rule("plane")).run()
    alone = Linear(nominal.rows(torch.tensor([1])), Ball(radii[1:], Fraction(2)), by_rule("plane")).run()
    assert torch.equal(both.upper(nominal.graph.output, eye)[1], alone.upper(nominal.graph.output, eye)[0])
    resting = [i for i in both.some if not both.moving.in_row(i, 1)]
    assert resting
    assert all(float((both.boxes[i][1] - both.boxes[i][0])[1].max()) < 1e-9 for i in resting)


#: How much of a chain's numbers cancels, its centre and its radius: where the sums, the products or the ball are what rounding loses.
CHAINS = [(1.0, 1e3, 1e-13), (1e-9, 1e3, 1e-13), (1e-9, 1.0, 1.0), (1.0, 1e-3, 1e3)]


@pytest.mark.parametrize("walk", ["interval", "linear", "quadratic"])
@pytest.mark.parametrize(("left", "centre", "radius"), CHAINS)
def test_what_is_linear_is_bounded_from_above_exactly(walk: str, left: float, centre: float, radius: float) -> None:
    """Affine maps (and relus that are on) have bounds whose real values are known: none may be below them by the last bit, whatever cancels."""
    lost = 0
    for seed in range(25):
        g = torch.Generator().manual_seed(seed)
        first, bias = torch.randn(3, 3, generator=g, dtype=DTYPE), torch.randn(3, generator=g, dtype=DTYPE)
        second = left * torch.randn(3, 3, generator=g, dtype=DTYPE) @ torch.linalg.inv(first)
        x = centre * torch.randn(1, 1, 3, generator=g, dtype=DTYPE)
        rows = torch.randn(2, 3, generator=g, dtype=DTYPE)
        graph = GraphBuilder()
        inner = graph.affine((graph.input(0, 3), first), bias=bias + 100 * (centre + radius))
        out = graph.affine((graph.apply("relu", inner), second), bias=-second @ torch.full((3,), 100 * (centre + radius), dtype=DTYPE))
        nominal = Nominal.at(graph.build(out), x)
        ball = Ball(torch.full((1, 1), radius, dtype=DTYPE), None)
        made = {"interval": Interval, "linear": lambda n, b: Linear(n, b, by_rule("plane")), "quadratic": lambda n, b: Quadratic(n, b, None)}[walk](
            nominal, ball
        ).run()
        found = [Fraction(v) for v in made.upper(out.node, rows)[0].tolist()]

        def times(a: list[list[Fraction]], b: list[list[Fraction]]) -> list[list[Fraction]]:
            return [[sum((p * q for p, q in zip(row, column, strict=True)), Fraction(0)) for column in zip(*b, strict=True)] for row in a]

        def table(a: Tensor) -> list[list[Fraction]]:
            return [[Fraction(v) for v in row] for row in a.tolist()]

        nodes = nominal.graph.nodes
        maps = [n for n in nodes if isinstance(n, Affine)]
        by_second = times(table(rows), table(second))
        by_first = times(by_second, table(first))
        column = [[Fraction(v)] for v in x.flatten().tolist()]
        biases = [[[Fraction(v)] for v in m.bias.tolist()] for m in maps]
        middle = [
            a[0] + b[0] + c[0] for a, b, c in zip(times(by_first, column), times(by_second, biases[0]), times(table(rows), biases[1]), strict=True)
        ]
        true = [m + Fraction(radius) * sum(map(abs, row)) for m, row in zip(middle, by_first, strict=True)]
        if walk == "interval":  # intervals bound every node alone
            size = [sum(abs(b) * sum(map(abs, row)) for b, row in zip(rows_, table(first), strict=True)) for rows_ in by_second]
            true = [m + Fraction(radius) * s for m, s in zip(middle, size, strict=True)]
        assert all(a >= b for a, b in zip(found, true, strict=True))
        computed = nominal.logits @ rows.T
        lost += sum(Fraction(c) != m for c, m in zip(computed[0].tolist(), middle, strict=True))
    assert lost > 25  # there is something to pay for
