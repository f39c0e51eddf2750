"""A spec of four queries about a small network."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vlang.store.runs import spec_text


@pytest.fixture
def spec(world: Path, tmp_path: Path) -> Path:
    path = tmp_path / "x.rspec"
    path.write_text(spec_text(world))
    return path
