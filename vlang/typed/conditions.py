"""The types of conditions and cells: syntax to typed expressions over rows.

Over several rows a bare field has no single value; how many rows a query has is known only when its files are, so that is asked apart (`single`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from vlang.expression import Aggregated, Binary, Constant, Expression, Field, Unary, bare, fields, is_share, written
from vlang.numbers import exactly
from vlang.text import diagnostics as d
from vlang.text import syntax as s
from vlang.text.constants import Params, describe, fold
from vlang.text.diagnostics import Diagnostic, SpecError
from vlang.typed.types import article
from vlang.words.aggregates import AGGREGATES
from vlang.words.baselines import BARE
from vlang.words.baselines import FIELDS as BASELINE
from vlang.words.matrices import QUANTITIES
from vlang.words.queries import COVERAGE, QUERIES, Type

#: How many rows, in words, where one value is wanted of them.
SEVERAL = "several rows"
#: The fields of each kind's rows.
FIELDS: Mapping[str, Mapping[str, Type]] = MappingProxyType(
    {**{k: q.fields for k, q in QUERIES.items()}, "spectrum": dict.fromkeys(QUANTITIES, "number")}
)


@dataclass(frozen=True)
class Scope:
    """What a condition may mention. fields: types by name; what: whose they are. open: a source whose fields are numbers, whatever their names.

    short: names that stand for longer ones.
    """

    fields: Mapping[str, Type]
    what: str
    open: str | None = None
    short: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_query(cls, kind: str, baselines: Sequence[str] = ()) -> Scope:
        whole: dict[str, Type] = {COVERAGE: "number"} if kind in QUERIES else {}
        earlier = {f"{name}.{word}": of for name in baselines for word, of in BASELINE.get(kind, {}).items()}
        short = {word: f"{baselines[0]}.{word}" for word in BARE if len(baselines) == 1 and word in BASELINE.get(kind, {})}
        return cls({**FIELDS[kind], **whole, **earlier}, f"{article(kind)} query", short=short)

    def type_of(self, name: str) -> Type | None:
        if self.open is not None and name.startswith(f"{self.open}."):
            return "number"
        return self.fields.get(name)


def check(condition: s.Expr, scope: Scope, params: Params, broken: Collection[str] = ()) -> Expression:
    """The condition, typed, with params put in. Raises SpecError."""
    bound = _bind(condition, params, broken)
    typed = _value(condition, bound, scope)
    if _typed(bound, scope, inside=False)[1] != "condition":
        raise SpecError(d.not_a_condition(condition.span, describe(bound)))
    return typed


def check_value(expr: s.Expr, scope: Scope, params: Params, broken: Collection[str] = ()) -> Expression:
    """A number or a condition over rows, typed, with params put in. Raises SpecError."""
    return _value(expr, _bind(expr, params, broken), scope)


def _value(written: s.Expr, bound: s.Expr, scope: Scope) -> Expression:
    if not _mentions(bound):
        raise SpecError(d.constant_condition(written.span))
    return _typed(bound, scope, inside=False)[0]


def single(expr: Expression, many: str = SEVERAL) -> list[Diagnostic]:
    """What is wrong with an expression that is asked of so many rows, in words: its first field that has no one value there."""
    return [d.aggregate_needed(f.span, f.name, many) for f in list(bare(expr))[:1]]


def missing(expr: Expression, scope: Scope) -> list[Diagnostic]:
    """The fields that turn out not to be there, where a scope was open when the expression was typed."""
    return [d.unknown_field(f.span, f.name, scope.what, scope.fields) for f in list(fields(expr))[:1] if f.name not in scope.fields]


def _mentions(expr: s.Expr) -> bool:
    """Whether an expression is about anything but numbers."""
    match expr:
        case s.Name() | s.Call():
            return True
        case s.Unary(operand=operand):
            return _mentions(operand)
        case s.Binary(left=left, right=right):
            return _mentions(left) or _mentions(right)
    return False


def _bind(expr: s.Expr, params: Params, broken: Collection[str]) -> s.Expr:
    """The expression with params put in, arithmetic on numbers done, and fields of queries as single names."""
    match expr:
        case s.Binary(span=span, op=op, left=left, right=right):
            a, b = _bind(left, params, broken), _bind(right, params, broken)
            both = s.Binary(span, op, a, b)
            return fold(both, params) if op in "+-*/" and isinstance(a, s.Number) and isinstance(b, s.Number) else both
        case s.Unary(span=span, op=op, operand=operand):
            inner = _bind(operand, params, broken)
            return fold(s.Unary(span, op, inner), params) if op in "+-" and isinstance(inner, s.Number) else s.Unary(span, op, inner)
        case s.Call(span=span, name=name, args=args, keywords=keywords):
            return s.Call(span, name, tuple(_bind(a, params, broken) for a in args), keywords)
        case s.Field(span=span, base=s.Name(name=base), name=name):
            return s.Name(span, f"{base}.{name}")
    return fold(expr, params, broken)


def _typed(expr: s.Expr, scope: Scope, inside: bool) -> tuple[Expression, Type]:
    """An expression and its type; `inside`: an aggregate, which holds no other."""
    match expr:
        case s.Number(unit="s"):
            raise SpecError(d.wrong_type(expr.span, "a number in a condition", "without a unit", "a duration"))
        case s.Number(value=value, unit=unit):
            return Constant(value, unit == "%"), "number"
        case s.Name(span=span, name=name):
            name = scope.short.get(name, name)
            kind = scope.type_of(name)
            if kind is None:
                raise SpecError(d.unknown_field(span, name, scope.what, scope.fields))
            return Field(name, span), kind
        case s.Call():
            return _aggregated(expr, scope, inside)
        case s.Unary(span=span, op=op, operand=operand):
            wanted: Type = "condition" if op == "not" else "number"
            of, kind = _typed(operand, scope, inside)
            if kind != wanted:
                raise SpecError(d.wrong_operand(span, op, f"a {kind}"))
            return Unary(op, of), wanted
        case s.Binary(span=span, op=op, left=left, right=right):
            wanted = "condition" if op in ("and", "or") else "number"
            (a, of_a), (b, of_b) = (_typed(x, scope, inside) for x in (left, right))
            if (of_a, of_b) != (wanted, wanted):
                raise SpecError(d.type_mismatch(span, op, f"a {of_a}", f"a {of_b}"))
            for share, number in ((a, right), (b, left)):
                if op in ("<", "<=", ">", ">=", "==", "!=") and is_share(share) and isinstance(number, s.Number) and abs(number.value) > 1:
                    raise SpecError(d.beyond_share(number.span, written(share), exactly(number.value)))
            if op == "/" and isinstance(right, s.Number) and right.value == 0:
                raise SpecError(d.division_by_zero(right.span))
            return Binary(op, a, b), "number" if op in "+-*/" else "condition"
    raise SpecError(d.not_a_condition(expr.span, describe(expr)))


def _aggregated(call: s.Call, scope: Scope, inside: bool) -> tuple[Expression, Type]:
    if call.name not in AGGREGATES:
        raise SpecError(d.unknown_function(call.span, call.name, AGGREGATES))
    word = AGGREGATES[call.name]
    if inside or call.keywords or len(call.args) != 1 + word.share:
        raise SpecError(d.bad_arguments(call.span, call.name, word.usage))
    of, kind = _typed(call.args[0], scope, inside=True)
    if kind != word.takes:
        raise SpecError(d.bad_arguments(call.span, call.name, word.usage))
    share = None
    if word.share:
        q = call.args[1]
        if not isinstance(q, s.Number) or not 0 <= q.value <= 1:
            raise SpecError(d.bad_arguments(q.span, call.name, word.usage))
        share = Constant(q.value, q.unit == "%")
    return Aggregated(call.name, of, share), word.gives
