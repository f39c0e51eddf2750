"""What a file of another framework is turned into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vlang.plan import Architecture, LayerPlan, Setting

#: An array of numpy.
Array = Any


class ConversionError(Exception):
    """A part of the file that cannot be expressed. where: what the file calls it; why: and what to do."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: {why}")
        self.where, self.why = where, why


class MissingLibraryError(Exception):
    """The library that reads the format is not installed. extra: of this distribution that installs it."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(library)
        self.library, self.extra = library, extra


@dataclass(frozen=True)
class Converted:
    """tensors: float64 arrays, named as `architecture` names them. beside: other files that hold a part."""

    architecture: Architecture
    tensors: Mapping[str, Array]
    beside: tuple[str, ...] = ()


@dataclass
class Growing:
    """Layers and tensors as they are found."""

    layers: list[LayerPlan] = field(default_factory=list)
    tensors: dict[str, Array] = field(default_factory=dict)

    def add(
        self,
        word: str,
        of: tuple[int, ...],
        width: int,
        tensors: Mapping[str, Array] | None = None,
        settings: Mapping[str, Setting] | None = None,
        window: int = 1,
    ) -> int:
        """A layer, whose tensors are called after its number and word; its number."""
        prefix = f"{len(self.layers)}.{word}."
        held = {k: v.astype("float64") for k, v in (tensors or {}).items()}
        self.tensors |= {prefix + role: v for role, v in held.items()}
        plan = LayerPlan(word, of, width, prefix if held else "", tuple(held), tuple((settings or {}).items()), window)
        self.layers.append(plan)
        return len(self.layers) - 1

    def give(self, layer: int, role: str, value: Array) -> None:
        """One tensor more for a layer."""
        plan = self.layers[layer]
        self.tensors[plan.prefix + role] = value.astype("float64")
        self.layers[layer] = replace(plan, roles=(*plan.roles, role))

    def upto(self, output: int) -> tuple[LayerPlan, ...]:
        """The layers that an output needs, renumbered, the output last."""
        needed: set[int] = set()
        left = [output]
        while left:
            k = left.pop()
            if k >= 0 and k not in needed:
                needed.add(k)
                left += self.layers[k].of
        order = [*sorted(needed - {output}), output]
        number = {old: new for new, old in enumerate(order)} | {-1: -1}
        return tuple(replace(self.layers[k], of=tuple(number[i] for i in self.layers[k].of)) for k in order)
