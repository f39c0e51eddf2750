"""Constraints on graphs: no point of any graph is above what is said of its box, and the parts of that bound are needed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.helpers import DTYPE
from vlang.runtime.relaxations import RELAXATIONS
from vlang.runtime.relaxations import constraint as module
from vlang.runtime.relaxations.constraint import Quadratics, highest


def drawn(op: str, count: int, seed: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], Quadratics]:
    """Boxes of all sizes and quadratics of either sign around a point of each box, in units of what they bound."""
    f, g = RELAXATIONS[op], torch.Generator().manual_seed(seed)
    arity = f.arity
    centre = torch.randn(arity, count, generator=g, dtype=DTYPE) * 2
    half = 10 ** (torch.rand(arity, count, generator=g, dtype=DTYPE) * 4 - 3)
    if op in ("reciprocal", "rsqrt"):
        centre = centre.abs() + half + 0.1
    lo, hi = tuple(centre - half), tuple(centre + half)
    low, high = f.range(lo, hi)
    unit = torch.cat([half, (high - low).clamp(min=1e-6)[None]]).mT
    linear = torch.randn(count, arity + 1, generator=g, dtype=DTYPE) / unit
    matrix = torch.randn(count, arity + 1, arity + 1, generator=g, dtype=DTYPE)
    off = (torch.rand(arity, count, generator=g, dtype=DTYPE) - 0.5) * half
    at = torch.cat([centre + off, f.value(*(centre + off))[None]]).mT
    return lo, hi, Quadratics(linear, (matrix + matrix.mT) / unit[:, :, None] / unit[:, None], at)


def met(op: str, lo: tuple[Tensor, ...], hi: tuple[Tensor, ...], q: Quadratics, seed: int) -> tuple[Tensor, Tensor]:
    """The largest and the smallest value of q on the graph that a grid and random points find. shape: [N] each."""
    f, g = RELAXATIONS[op], torch.Generator().manual_seed(seed)
    t = torch.linspace(0, 1, 301 if f.arity == 1 else 41, dtype=DTYPE)
    share = torch.cat([torch.cartesian_prod(*[t] * f.arity).reshape(-1, f.arity), torch.rand(400, f.arity, generator=g, dtype=DTYPE)])
    y = [torch.minimum(x + s[:, None] * (h - x), h) for x, h, s in zip(lo, hi, share.unbind(1), strict=True)]
    d = torch.stack([*y, f.value(*y)], -1) - q.centre
    values = (d * q.linear).sum(-1) + torch.einsum("pnk,nkj,pnj->pn", d, q.matrix, d) / 2
    return values.amax(0), values.amin(0)


@pytest.mark.parametrize("op", list(RELAXATIONS))
@pytest.mark.parametrize("cells", [None, {1: 9, 2: 5}])
def test_no_point_of_a_graph_is_higher(op: str, cells: dict[int, int] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """On few cells too, where second derivatives carry the bound."""
    if cells is not None:
        monkeypatch.setattr(module, "CELLS", cells)
    lo, hi, q = drawn(op, 120, 0)
    top = highest(RELAXATIONS[op], lo, hi, q)
    most, least = met(op, lo, hi, q, 1)
    assert bool((most <= top).all())
    if cells is None and op not in ("hardtanh", "hardsigmoid"):  # these rest on whole boxes
        assert float(((top - most) / (most - least)).median()) < 1e-3


@pytest.mark.parametrize("op", ["tanh", "sigmoid_mul", "sigmoid_tanh", "cosigmoid_tanh", "product", "softplus"])
def test_second_derivatives_are_needed(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vertices alone do not do, nor slopes taken to be those of the cells' middles, nor without the mixed derivative."""
    monkeypatch.setattr(module, "CELLS", {1: 5, 2: 3})
    f = RELAXATIONS[op]
    lo, hi, q = drawn(op, 400, 0)
    most, _ = met(op, lo, hi, q, 1)
    assert bool((most <= highest(f, lo, hi, q)).all())
    with monkeypatch.context() as mutated:
        mutated.setattr(module.rounding, "around", lambda x, number: 0 * x)
        assert bool((most > highest(f, lo, hi, q)).any())


@pytest.mark.parametrize("op", ["tanh", "sigmoid_mul", "sigmoid_tanh"])
def test_boxes_far_away_and_tiny(op: str) -> None:
    """Where everything cancels, rounding is paid for."""
    f = RELAXATIONS[op]
    for where in (0.0, 1.0, 30.0, -400.0):
        for width in (0.0, 1e-300, 1e-14, 1e-7):
            centre = torch.full((f.arity, 1), where, dtype=DTYPE)
            lo, hi = tuple(centre - width), tuple(centre + width)
            at = torch.cat([centre, f.value(*centre)[None]]).mT
            count = f.arity + 1
            q = Quadratics(torch.ones(1, count, dtype=DTYPE), torch.eye(count, dtype=DTYPE)[None] - 0.5, at)
            top = highest(f, lo, hi, q)
            assert bool(top.isfinite().all())
            assert bool((met(op, lo, hi, q, 1)[0] <= top).all())
