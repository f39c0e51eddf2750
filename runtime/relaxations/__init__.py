"""The table of nonlinearities that a cell may use. To add one: write its class, add its line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from vlang.runtime.relaxations.base import Args, Flipped, Nonlinearity, Plane, Planes, Rule
from vlang.runtime.relaxations.curves import Elu, Exp, Gelu, Hardsigmoid, Hardtanh, Reciprocal, Rsqrt, Selu, Silu, Softplus, Square
from vlang.runtime.relaxations.gated import SigmoidMul, SigmoidTanh
from vlang.runtime.relaxations.parabola import Moved, Parabola, Parabolas, parabolas
from vlang.runtime.relaxations.product import Product
from vlang.runtime.relaxations.scalar import Relu, Sigmoid, Tanh

RELAXATIONS: Mapping[str, Nonlinearity] = MappingProxyType(
    {
        "tanh": Tanh(),
        "sigmoid": Sigmoid(),
        "relu": Relu(),
        "sigmoid_mul": SigmoidMul(),  # sigma(v) z
        "sigmoid_tanh": SigmoidTanh(),  # sigma(v) tanh(z)
        "softplus": Softplus(),
        "elu": Elu(),
        "selu": Selu(),
        "silu": Silu(),
        "gelu": Gelu(),
        "hardtanh": Hardtanh(),
        "hardsigmoid": Hardsigmoid(),
        "exp": Exp(),
        "square": Square(),
        "reciprocal": Reciprocal(),
        "rsqrt": Rsqrt(),
        "product": Product(),
        "cosigmoid_tanh": Flipped(SigmoidTanh(), (True, False)),  # (1 - sigma(v)) tanh(z)
    }
)

__all__ = ["RELAXATIONS", "Args", "Flipped", "Moved", "Nonlinearity", "Parabola", "Parabolas", "Plane", "Planes", "Rule", "parabolas"]
