"""A number's elementary functions are the same bits wherever in a tensor it stands."""

from __future__ import annotations

import pytest
import torch

from vlang.runtime import elementary


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "log", "log1p", "cosh"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [1, 3, 8, 24, 64, 100])
def test_a_row_has_the_same_bits_alone_and_in_a_batch(name: str, dtype: torch.dtype, width: int) -> None:
    function = getattr(elementary, name)
    x = torch.rand(101, width, dtype=dtype, generator=torch.Generator().manual_seed(0)) * 3 + 0.01
    assert torch.equal(function(x), torch.cat([function(row[None]) for row in x]))
