"""Small random networks and sets, and points inside those sets, for tests."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

import torch
from torch import Tensor

from vlang.runtime.attacks.base import project, steepest
from vlang.runtime.bounds.coordinates import LARGEST_FLAT, chart_of
from vlang.runtime.bounds.interval import Interval
from vlang.runtime.bounds.linear import Linear as LinearWalk
from vlang.runtime.bounds.linear import by_rule
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.bounds.quadratic import Quadratic
from vlang.runtime.bounds.walk import Walk
from vlang.runtime.graph.concrete import margins, trajectory
from vlang.runtime.methods.questions import Asked, Margins
from vlang.runtime.network.cells import CellWeights
from vlang.runtime.network.layers import Layer, Linear, Readout, Recurrent
from vlang.runtime.network.layers.pointwise import Activation
from vlang.runtime.network.unroll import Network
from vlang.runtime.relaxations import Rule
from vlang.runtime.sets.ball import Ball
from vlang.runtime.sets.piece import Piece
from vlang.words.cells import CELLS

DTYPE = torch.float64


def random_network(
    cell: str,
    *,
    layers: int = 1,
    bidirectional: bool = False,
    n: int = 3,
    s: int = 4,
    classes: int = 3,
    readout: str = "last",
    readout_activation: str = "none",
    head: tuple[str, ...] = (),
    scale: float = 1.0,
    initial: bool = False,
    seed: int = 0,
) -> Network:
    """A network with normal weights; `head`: activations between the head's layers."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=DTYPE) * scale

    gates, states = CELLS[cell].rows, len(CELLS[cell].states)
    directions = 2 if bidirectional else 1

    def weights(layer: int) -> CellWeights:
        width = n if layer == 0 else s * directions
        more = {role: normal(rows * s) for role, rows in CELLS[cell].more}
        return CellWeights(normal(gates * s, width), normal(gates * s, s), normal(gates * s), normal(gates * s), more)

    widths = [s * directions] + [s + 1] * len(head) + [classes]
    start = tuple(
        tuple(tuple(normal(s) if initial else torch.zeros(s, dtype=DTYPE) for _ in range(states)) for _ in range(directions)) for _ in range(layers)
    )
    stack = tuple(tuple(weights(layer) for _ in range(directions)) for layer in range(layers))
    linears = [Linear(normal(b, a), normal(b)) for a, b in itertools.pairwise(widths)]
    return classifier(cell, stack, start, linears, head, readout, readout_activation)


def classifier(
    cell: str,
    stack: tuple[tuple[CellWeights, ...], ...],
    initial: tuple[tuple[tuple[Tensor, ...], ...], ...],
    linears: Sequence[Linear],
    between: Sequence[str] = (),
    readout: str = "last",
    before: str = "none",
) -> Network:
    """A recurrent stack, a readout and a head. before, between: activations before the head and between its layers."""
    head = [x for op, linear in zip((before, *between), linears, strict=True) for x in (*((Activation(op),) if op != "none" else ()), linear)]
    given = CELLS[cell].states if any(bool(v.any()) for ways in initial for states in ways for v in states) else ()
    return chain(Recurrent(cell, stack, initial, given), Readout(readout), *head, n=stack[0][0].ih.shape[1], classes=len(linears[-1].weight))


def chain(*layers: Layer, n: int, classes: int) -> Network:
    """Layers that each read what the one before gives, on frames of n numbers."""
    return Network(layers, tuple((k - 1,) for k in range(len(layers))), n, classes)


def walked(nominal: Nominal, region: Ball | Piece, rule: Rule) -> Walk:
    """Bounds by intervals (`constant`), or by planes whose slopes a rule chooses."""
    return Interval(nominal, region).run() if rule == "constant" else LinearWalk(nominal, region, by_rule(rule)).run()


def quadratic(nominal: Nominal, region: Ball | Piece, flattest: int = LARGEST_FLAT) -> Quadratic:
    ball = region if isinstance(region, Ball) else region.ball
    return Quadratic(nominal, region, chart_of(nominal.graph, ball, nominal.inputs.shape[-1], flattest)).run()


def ball(radii: Tensor, norm: Fraction | None, at_most: int | None = None, room: tuple[Tensor, Tensor] | None = None) -> Ball:
    return Ball(radii, norm, at_most, room)


def points(nominal: Nominal, perturbation: Ball, count: int, seed: int = 0) -> Iterator[Tensor]:
    """Points of the sets: random inside and on the border, corners and single coordinates. shape: each [B, m, n]."""
    g = torch.Generator().manual_seed(seed)
    x = nominal.inputs
    for i in range(count):
        noise = torch.randn(x.shape, generator=g, dtype=x.dtype)
        if i % 3 == 1:
            noise = noise.sign()
        if i % 3 == 2:
            noise = torch.where(noise.abs() == noise.abs().amax(-1, keepdim=True), noise, 0.0)
        size = 1e3 if i % 2 else float(torch.rand((), generator=g))
        scaled = noise * perturbation.radii[:, :, None] * size
        yield x + project(scaled, perturbation) * (1 - 1e-12)


def ascend(nominal: Nominal, perturbation: Ball, node: int, row: Tensor, steps: int = 12) -> Tensor:
    """The largest value of row . node found by steepest ascent inside the sets. shape: row [width] -> [B]."""
    delta = torch.zeros_like(nominal.inputs)
    best = torch.full((nominal.inputs.shape[0],), -math.inf, dtype=DTYPE)
    for _ in range(steps):
        x = (nominal.inputs + delta).requires_grad_()
        value = trajectory(nominal.graph, x)[node] @ row
        (gradient,) = torch.autograd.grad(value.sum(), x, allow_unused=True)
        best = torch.maximum(best, value.detach())
        delta = project((delta + steepest(gradient, perturbation)).detach(), perturbation) * (1 - 1e-12)
    return torch.maximum(best, trajectory(nominal.graph, nominal.inputs + delta)[node].detach() @ row)


def largest_certified(certify: Margins, count: int) -> Tensor:
    """The largest eps of each row that a method certifies, by bisection from above. shape: [count]."""
    low, high = torch.zeros(count, dtype=DTYPE), torch.full((count,), 10.0, dtype=DTYPE)
    for _ in range(20):
        middle = (low + high) / 2
        with torch.no_grad():
            ok = certify(torch.arange(count), middle) > 0
        low, high = torch.where(ok, middle, low), torch.where(ok, high, middle)
    return low


def attacked_margins(question: Asked, eps: Tensor) -> Tensor:
    """The margins at the worst points that a small attack finds in the sets: no bound may be above them. shape: eps [B] -> [B]."""
    graph, inputs, rows, ball = question.centre.graph, question.centre.inputs, question.rows, question.ball.scaled(eps[:, None])
    generator = torch.Generator().manual_seed(0)
    worst = margins(trajectory(graph, inputs)[graph.output], rows)
    for start in range(2):
        delta = project(torch.randn(inputs.shape, generator=generator, dtype=inputs.dtype) * start, ball)
        for step in range(41):
            point = (inputs + delta).requires_grad_()
            with torch.enable_grad():
                margin = margins(trajectory(graph, point)[graph.output], rows)
                (gradient,) = torch.autograd.grad(margin.sum(), point)
            worst = torch.minimum(worst, margin.detach())
            delta = project(delta + (1.0 if step < 20 else 0.3) * steepest(-gradient, ball), ball)
    return worst
