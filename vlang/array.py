"""An array in a file, as plans name it."""

from __future__ import annotations

from dataclasses import dataclass, field

from vlang.text.source import Span


@dataclass(frozen=True)
class ArrayPlan:
    """One array in a file: .npy, or a member of an .npz. texts: names of classes in place of numbers."""

    path: str
    key: str | None
    shape: tuple[int, ...]
    span: Span = field(compare=False)
    texts: bool = False
