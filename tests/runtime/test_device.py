"""On a device that is not there (`pretend`): the same bits, no tensor left on the CPU, and few moments in which an accelerator is waited for."""

from __future__ import annotations

import itertools
from dataclasses import fields, is_dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers import DTYPE, random_network
from tests.runtime.pretend import DEVICE, MixedError, Pretend, Pretended
from vlang.lower.spec import compile_spec
from vlang.results import Row
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.methods.table import BOUNDS
from vlang.runtime.network import load
from vlang.runtime.queries import QUERIES, Context
from vlang.runtime.queries.batches import prepare
from vlang.runtime.queries.samples import Samples
from vlang.runtime.sets.ball import Ball
from vlang.text.source import Source
from vlang.words.cells import CELLS

FRAMES = 3
#: The most moments a frame in which a pass waits: of planes those that spare root finding, of forms what decides their sizes.
MOST = {"planes": 14, "quadratic": 52}


def there(value: Any) -> Any:
    """The same with its tensors on the device."""
    if isinstance(value, Tensor):
        return value.to(DEVICE)
    if isinstance(value, tuple):
        return tuple(there(x) for x in value)
    if isinstance(value, dict):
        return {k: there(x) for k, x in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: there(getattr(value, f.name)) for f in fields(value) if f.init})
    return value


@pytest.mark.parametrize(
    ("cell", "method", "norm"),
    [
        *((cell, "planes", norm) for cell, norm in zip(CELLS, itertools.cycle([Fraction(1), Fraction(2), None]))),  # noqa: B905: it has no end
        *(("lstm", "quadratic", norm) for norm in (Fraction(1), Fraction(2), None)),
        *((cell, "quadratic", Fraction(2)) for cell in ("gru", "rnn_tanh")),
    ],
)
def test_bounds_are_the_same_there(cell: str, method: str, norm: Fraction | None) -> None:
    x, rows = torch.randn(3, FRAMES, 3, dtype=DTYPE), torch.randn(2, 3, dtype=DTYPE)

    def upper(move: Any) -> Tensor:
        network = random_network(cell, s=3)
        nominal, ball = Nominal.at(move(network.unroll(FRAMES)), move(x)), Ball(move(torch.full((3, FRAMES), 0.1, dtype=DTYPE)), norm)
        return BOUNDS[method].on(nominal, ball, None).upper(nominal.graph.output, move(rows))

    with torch.no_grad():
        here = upper(lambda v: v)
        with Pretend() as device:
            found = upper(there)
    assert isinstance(found, Pretended)
    assert torch.equal(found.held, here)
    waits = {name: count for name, count in device.waits.items() if count}
    assert sum(count for name, count in waits.items() if name != "literal") <= MOST[method] * FRAMES, waits
    assert waits.get("literal", 0) <= (2 if method == "planes" else 80) * FRAMES, waits


@pytest.mark.parametrize("query", ["radius", "verify", "bounds", "attack", "estimate"])
def test_queries_are_the_same_there(query: str, world: Path) -> None:
    eps = ", eps = 0.05" if query in ("verify", "bounds") else ""
    own = {"attack": ", iterations = 4, restarts = 2", "estimate": ", samples = 20, batches = 12"}.get(query, "")
    text = f"""rspec 1
network net {{ checkpoint = "lstm.safetensors" }}
dataset d {{ source = "data.npz", pick = first(1) }}
{query} q {{ network = net, input = d, perturbation = {{ frames = all, norm = 2 }}{eps}{own}, engine = {{ method = planes, tolerance = 0.1 }} }}
"""
    (variant,) = compile_spec(Source(str(world / "device.rspec"), text)).queries[0].variants

    def rows(device: torch.device) -> list[Row]:
        network = load.network(variant.network, DTYPE, device)
        return QUERIES[query](prepare(variant, Samples.load(variant, network)), Context(lambda _: None))

    with torch.set_grad_enabled(False):
        here = rows(torch.device("cpu"))
        with Pretend():
            found = rows(DEVICE)
    assert [repr(row) for row in found] == [repr(row) for row in here]


def test_the_device_refuses_and_counts() -> None:
    with Pretend() as device:
        a = torch.ones(3, 3, device=DEVICE)
        with pytest.raises(MixedError):
            a + torch.ones(3)
        assert a.tolist() == [[1.0] * 3] * 3
        assert bool((a > 0).all())
        assert float(a[[0, 2]].sum()) == 6
        assert int((a[a > 0]).sum()) == 9
    assert device.waits["_local_scalar_dense"] == 3
    assert device.waits["_to_copy"] == 1
    assert device.waits["literal"] == 1
    assert device.waits["index"] == 1
