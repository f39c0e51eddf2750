"""Attacks: how counterexamples are looked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Attack:
    """substitutes: whether it puts other words into a text, instead of moving numbers. kernels: small operations of a step for each node."""

    doc: str
    substitutes: bool = False
    kernels: int = 130


ATTACKS: Mapping[str, Attack] = MappingProxyType(
    {
        "pgd": Attack("projected steps in a ball that shrinks while a counterexample is held"),
        "fgsm": Attack("one direction"),
        "cw": Attack("Carlini and Wagner's, the largest frame norm minimised", kernels=270),
        "words": Attack("the nearest words", substitutes=True, kernels=10),
    }
)
