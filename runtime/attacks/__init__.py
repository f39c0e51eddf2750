"""The table of attacks in the input space. To add one: write runtime/attacks/x.py, add its line, and its word to ATTACK_WORDS."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from vlang.runtime.attacks.base import Attack
from vlang.runtime.attacks.carlini import carlini_wagner
from vlang.runtime.attacks.gradient import fgsm, pgd

ATTACKS: Mapping[str, Attack] = MappingProxyType({"fgsm": fgsm, "pgd": pgd, "cw": carlini_wagner})

__all__ = ["ATTACKS", "Attack"]
