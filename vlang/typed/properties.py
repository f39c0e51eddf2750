"""The type of `property`: a name, or a condition over output[i] and nominal[i], taken apart into linear inequalities."""

from __future__ import annotations

import decimal
from dataclasses import dataclass
from fractions import Fraction

from vlang.numbers import exactly
from vlang.property import Inequality, Property
from vlang.text import diagnostics as d
from vlang.text import syntax as s
from vlang.text.constants import Params, describe, fold
from vlang.text.diagnostics import SpecError
from vlang.typed.types import IntegerType, NumberType, Type
from vlang.words.properties import ABSOLUTE, LOGIT_DIGITS, NAMED, NOMINAL, OUTPUT, USAGE

#: Which way a comparison makes its left side small.
SIGNS = {"<=": 1, "<": 1, ">=": -1, ">": -1}
#: Factors of outputs are whole numbers up to here, once their denominators are multiplied out: float64 holds them exactly.
MOST = 2**53
BINDING = {"and": 1, "<": 2, "<=": 2, ">": 2, ">=": 2, "+": 3, "-": 3, "*": 4, "/": 4}


@dataclass(frozen=True)
class Linear:
    """constant + sum of factors: of `output`, `nominal` and, as 'abs', absolute values at the centre, by name and number."""

    factors: tuple[tuple[tuple[str, int], Fraction], ...]
    constant: Fraction

    def plus(self, other: Linear, times: Fraction = Fraction(1)) -> Linear:
        total = dict(self.factors)
        for name, c in other.factors:
            total[name] = total.get(name, Fraction(0)) + times * c
        return Linear(tuple(sorted((n, c) for n, c in total.items() if c)), self.constant + times * other.constant)

    def times(self, factor: Fraction) -> Linear:
        return Linear((), Fraction(0)).plus(self, factor)

    @property
    def fixed(self) -> bool:
        """Whether no output is in it."""
        return all(name != OUTPUT for (name, _), _ in self.factors)

    def at_most_zero(self) -> Inequality:
        outputs, nominal, absolute = (tuple((i, c) for (n, i), c in self.factors if n == name) for name in (OUTPUT, NOMINAL, ABSOLUTE))
        return Inequality(outputs, nominal, absolute, self.constant)


@dataclass(frozen=True)
class PropertyType(Type[Property]):
    wanted: str = USAGE

    def convert(self, key: str, expr: s.Expr, params: Params) -> Property:
        match expr:
            case s.Name(name="same_sign" as name):
                return Property(name, side=Fraction(0))
            case s.Call(name=name) if name in NAMED:
                return _named(expr, params)
            case s.Call(name=name):
                raise SpecError(d.unknown_function(expr.span, name, tuple(NAMED)))
            case s.Binary(op="+" | "-" | "*" | "/") | s.Unary(op="+" | "-"):
                raise self.fail(key, expr)
            case s.Binary() | s.Unary():
                pass
            case _:
                raise self.fail(key, expr)
        found = tuple(x for part in _conjuncts(expr) for x in _inequalities(part, params))
        return Property(_written(expr, params)[0], found)


def _named(call: s.Call, params: Params) -> Property:
    usage = NAMED[call.name][0]
    if call.keywords or len(call.args) != 1 or call.name == "same_sign":
        raise SpecError(d.bad_arguments(call.span, call.name, usage))
    number = fold(call.args[0], params)
    least = Fraction(0) if call.name == "within" else None
    value = NumberType(least, strict=True).convert(f"a number in {usage}", number, params)
    share = isinstance(number, s.Number) and number.unit == "%"
    if call.name == "threshold":
        if not 0 < value < 1:
            raise SpecError(d.out_of_range(call.args[0].span, "the threshold of a sigmoid", exactly(value), "above 0 and below 1"))
        return Property(f"threshold({exactly(value)})", side=_logit(value), logit=True)
    if call.name == "same_side":
        return Property(f"same_side({exactly(value)})", side=value)
    return Property(f"within({exactly(value * 100)}%)" if share else f"within({exactly(value)})", apart=value, share=share)


def _logit(share: Fraction) -> Fraction:
    """Where the sigmoid is a share, ln(share / (1 - share)), to so many digits: 0 for a half."""
    odds = share / (1 - share)
    with decimal.localcontext() as context:
        context.prec = 2 * LOGIT_DIGITS
        found = (decimal.Decimal(odds.numerator) / odds.denominator).ln()
        context.prec = LOGIT_DIGITS
        return Fraction(+found)


def _conjuncts(expr: s.Expr) -> list[s.Expr]:
    match expr:
        case s.Binary(op="and", left=left, right=right):
            return [*_conjuncts(left), *_conjuncts(right)]
        case s.Binary(op="or" | "==" | "!=" as op) | s.Unary(op="not" as op):
            raise SpecError(d.not_a_property(expr.span, f"'{op}' is not among what can be proved at once", "ask each part in a query of its own"))
    return [expr]


def _inequalities(expr: s.Expr, params: Params) -> list[Inequality]:
    """Of one comparison. Raises SpecError."""
    if not isinstance(expr, s.Binary) or expr.op not in SIGNS:
        raise SpecError(d.not_a_property(expr.span, f"{describe(expr)} is no comparison", "such as output[0] <= 3.2"))
    left, right, sign = expr.left, expr.right, SIGNS[expr.op]
    for inside, bound, way in ((left, right, sign), (right, left, -sign)):
        if isinstance(inside, s.Call) and inside.name == ABSOLUTE and len(inside.args) == 1 and not inside.keywords:
            of, most = _linear(inside.args[0], params), _linear(bound, params)
            if of.fixed:
                continue
            if way < 0:
                cure = "ask for each side of it in a query of its own"
                raise SpecError(d.not_a_property(expr.span, "that an absolute value is large cannot be proved at once", cure))
            found = [of.times(Fraction(s_)).plus(most, Fraction(-1)) for s_ in (1, -1)]
            return [_checked(x, expr) for x in found]
    return [_checked(_linear(left, params).plus(_linear(right, params), Fraction(-1)).times(Fraction(sign)), expr)]


def _checked(linear: Linear, expr: s.Expr) -> Inequality:
    found = linear.at_most_zero()
    if not found.outputs:
        raise SpecError(d.not_a_property(expr.span, "this comparison is about no output", "such as output[0] <= 3.2"))
    if any(abs(c) > MOST or Fraction(float(c)) != c for _, c in found.scaled().outputs):
        raise SpecError(d.not_a_property(expr.span, "its factors have too many digits", "round them: float64 has to hold them exactly"))
    return found


def _linear(expr: s.Expr, params: Params) -> Linear:
    match expr:
        case s.Index(base=s.Name(name="output" | "nominal" as name), index=index):
            return Linear((((name, IntegerType().convert(f"the number of {name}", fold(index, params), params)), Fraction(1)),), Fraction(0))
        case s.Call(name="abs", args=(inner,), keywords=()):
            of = _linear(inner, params)
            match of.factors:
                case ((("nominal", i), factor),) if not of.constant:
                    return Linear((((ABSOLUTE, i), abs(factor)),), Fraction(0))
            raise SpecError(d.not_a_property(expr.span, "abs(..) stands on one side of a comparison alone", "abs(output[0] - nominal[0]) <= 0.1"))
        case s.Unary(op="+" | "-" as op, operand=operand):
            return _linear(operand, params).times(Fraction(-1 if op == "-" else 1))
        case s.Binary(op="+" | "-" as op, left=left, right=right):
            return _linear(left, params).plus(_linear(right, params), Fraction(-1 if op == "-" else 1))
        case s.Binary(op="*" | "/" as op, left=left, right=right):
            one, other = _linear(left, params), _linear(right, params)
            if op == "/" and not other.factors and not other.constant:
                raise SpecError(d.division_by_zero(right.span))
            if op == "/" and not other.factors:
                return one.times(1 / other.constant)
            if op == "*" and not (one.factors and other.factors):
                return one.times(other.constant) if not other.factors else other.times(one.constant)
            raise SpecError(d.not_a_property(expr.span, "products and quotients of outputs are not linear", "multiply outputs by numbers only"))
        case s.Name(name="output" | "nominal" as name):
            raise SpecError(d.not_a_property(expr.span, f"{name} alone is not one number", f"write {name}[0]"))
        case s.Index(base=s.Name(name=name)) | s.Name(name=name) if name not in params:
            raise SpecError(d.not_a_property(expr.span, f"a property is about output[i] and nominal[i], not about '{name}'", USAGE))
    number = fold(expr, params)
    return Linear((), NumberType().convert("a number in a property", number, params))


def _written(expr: s.Expr, params: Params) -> tuple[str, int]:
    """The condition as text, params put in, and how tightly its outermost operator binds."""
    match expr:
        case s.Binary(op=op, left=left, right=right):
            (a, of_a), (b, of_b), own = _written(left, params), _written(right, params), BINDING[op]
            return f"{a if of_a >= own else f'({a})'} {op} {b if of_b > own else f'({b})'}", own
        case s.Unary(op=op, operand=operand):
            inner, binding = _written(operand, params)
            return f"{op}{inner if binding > BINDING['+'] else f'({inner})'}", BINDING["*"]
        case s.Index(base=s.Name(name=name), index=index):
            return f"{name}[{_written(index, params)[0]}]", 9
        case s.Call(name=name, args=args):
            return f"{name}({', '.join(_written(a, params)[0] for a in args)})", 9
    number = fold(expr, params)
    assert isinstance(number, s.Number)
    return (f"{exactly(number.value * 100)}%" if number.unit == "%" else exactly(number.value)), 9 if number.value >= 0 else BINDING["*"]
