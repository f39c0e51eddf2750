"""The types of keys that name a recurrent matrix, or what it is scaled to."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from vlang.text import syntax as s
from vlang.text.constants import Params, fold
from vlang.typed.types import IntegerType, Located, NumberType, Reference, ReferenceType, Type


@dataclass(frozen=True)
class MatrixReference:
    """What `tree.Matrix` is, by name."""

    network: Located[Reference]
    gate: Located[str] | None = None
    input: Located[Reference] | None = None
    frame: Located[int] | None = None


class MatrixType(Type[MatrixReference]):
    wanted = "net.weight_hh, net.gate(f).weight_hh or net.jacobian(input, frame)"

    def convert(self, key: str, expr: s.Expr, params: Params) -> MatrixReference:
        match expr:
            case s.Field(base=s.Name() as network, name="weight_hh"):
                return MatrixReference(self._network(network))
            case s.Field(base=s.Method(base=s.Name() as network, name="gate", args=(s.Name() as gate,), keywords=()), name="weight_hh"):
                return MatrixReference(self._network(network), Located(gate.name, gate.span))
            case s.Method(base=s.Name() as network, name="jacobian", args=(data, frame), keywords=()):
                held = ReferenceType(("input", "dataset")).convert("the input", data, params)
                number = IntegerType().convert("the frame", fold(frame, params), params)
                return MatrixReference(self._network(network), None, Located(held, data.span), Located(number, frame.span))
        raise self.fail(key, expr)

    @staticmethod
    def _network(name: s.Name) -> Located[Reference]:
        return Located(Reference(("network",), name.name, None), name.span)


class NormalizeType(Type[Fraction]):
    """spectral_radius(r): what every recurrent matrix is scaled to."""

    wanted = "spectral_radius(1.0), or another radius"

    def convert(self, key: str, expr: s.Expr, params: Params) -> Fraction:
        match expr:
            case s.Call(name="spectral_radius", args=(radius,), keywords=()):
                return NumberType(Fraction(0), strict=True, most=Fraction(1000)).convert("the spectral radius", fold(radius, params), params)
        raise self.fail(key, expr)
