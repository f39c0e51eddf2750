"""The search returns only values that were certified, to its tolerance, in few passes."""

from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor

from vlang.runtime.methods.search import certified_radii

DTYPE = torch.float64


class Oracle:
    """A margin with a known root, recording what was certified."""

    def __init__(self, roots: Tensor, shape: str, noise: float = 0.0) -> None:
        self.roots, self.shape, self.noise = roots, shape, noise
        self.passes, self.evaluations = 0, 0
        self.certified: list[set[float]] = [set() for _ in roots]

    def __call__(self, rows: Tensor, eps: Tensor) -> Tensor:
        self.passes += 1
        self.evaluations += rows.numel()
        x = eps / self.roots[rows]
        value = {
            "linear": 1 - x,
            "steep": 1 - x**8,
            "cliff": torch.where(x <= 1, torch.ones_like(x), torch.full_like(x, -1e9)),
            "flat": torch.exp(-x) - 0.36787944117144233,
        }[self.shape]
        value = torch.where(x > 50, torch.nan, value)
        value = value + self.noise * torch.sin(1e4 * eps)
        for row, e, v in zip(rows.tolist(), eps.tolist(), value.tolist(), strict=True):
            if v > 0:
                self.certified[row].add(e)
        return value


@pytest.mark.parametrize("shape", ["linear", "steep", "cliff", "flat"])
@pytest.mark.parametrize("count", [1, 3, 40])
@pytest.mark.parametrize("off", [1e-4, 0.3, 1.0, 30.0, 1e5])
def test_radii_are_certified_and_tight(shape: str, count: int, off: float) -> None:
    roots = torch.logspace(-6, 2, count, dtype=DTYPE) if count > 1 else torch.tensor([0.37], dtype=DTYPE)
    oracle = Oracle(roots, shape)
    found = certified_radii(oracle, roots * off, torch.ones(count, dtype=DTYPE) * (0.632 if shape == "flat" else 1), 1e-3, 1e9)
    for i, radius in enumerate(found.radius.tolist()):
        assert radius in oracle.certified[i]
    assert bool((found.radius <= roots).all())
    assert bool((found.radius >= roots * (1 - 1.001e-3)).all())
    assert bool(found.complete.all())
    if 0.1 < off < 10:
        assert oracle.passes <= 16


def test_a_noisy_margin_costs_tightness_not_soundness() -> None:
    roots = torch.linspace(0.1, 2, 50, dtype=DTYPE)
    oracle = Oracle(roots, "linear", noise=0.02)
    found = certified_radii(oracle, roots * 0.5, torch.ones(50, dtype=DTYPE), 1e-3, 1e9)
    for i, radius in enumerate(found.radius.tolist()):
        assert radius in oracle.certified[i]
        assert radius == max(oracle.certified[i])
    assert bool((found.radius >= roots * 0.95).all())


def test_caps_misclassified_rows_and_hopeless_rows() -> None:
    def margins(rows: Tensor, eps: Tensor) -> Tensor:
        return torch.where(rows == 0, torch.ones_like(eps), torch.where(rows == 1, -torch.ones_like(eps), torch.nan))

    found = certified_radii(margins, torch.ones(4, dtype=DTYPE), torch.tensor([1.0, 1.0, 1.0, -1.0], dtype=DTYPE), 1e-3, 7.0)
    assert found.radius.tolist() == [7.0, 0.0, 0.0, 0.0]
    assert found.capped.tolist() == [True, False, False, False]


def test_a_deadline_leaves_what_was_certified() -> None:
    oracle = Oracle(torch.full((30,), 1.0, dtype=DTYPE), "linear")

    def slow(rows: Tensor, eps: Tensor) -> Tensor:
        time.sleep(0.02)
        return oracle(rows, eps)

    end = time.monotonic() + 0.05
    found = certified_radii(slow, torch.full((30,), 0.01, dtype=DTYPE), torch.ones(30, dtype=DTYPE), 1e-9, 1e9, late=lambda: time.monotonic() > end)
    assert not bool(found.complete.any())
    for i, radius in enumerate(found.radius.tolist()):
        assert radius == 0 or radius in oracle.certified[i]
