"""The types of what perturbations are made of besides balls: directions, and alternatives of words."""

from __future__ import annotations

from dataclasses import dataclass

from vlang.text import diagnostics as d
from vlang.text import syntax as s
from vlang.text.constants import Params, fold
from vlang.text.diagnostics import SpecError
from vlang.typed.types import IntegerType, Type, each
from vlang.words.sets import DIRECTIONS

#: The most words that are looked at beside each.
MOST_NEAREST = 1000


@dataclass(frozen=True)
class Directions:
    """A file of them, or words of the table, each with its channel, if it has one."""

    file: str | None = None
    named: tuple[tuple[str, int | None], ...] = ()


@dataclass(frozen=True)
class DirectionsType(Type[Directions]):
    wanted: str = f"a .npy file of an array [d, frames, numbers], or a list of {', '.join(DIRECTIONS)}, each of one channel as in offset(0)"

    def convert(self, key: str, expr: s.Expr, params: Params) -> Directions:
        if isinstance(expr, s.Text):
            return Directions(expr.value)
        if not isinstance(expr, s.Items) or not expr.items:
            raise self.fail(key, expr)
        named = each(expr.items, lambda x: _named(x, params))
        twice = next((x for i, x in enumerate(expr.items) if named[i] in named[:i]), None)
        if twice is not None:
            word, channel = named[expr.items.index(twice)]
            raise SpecError(d.named_twice(twice.span, word if channel is None else f"{word}({channel})", "a direction"))
        return Directions(named=tuple(named))


def _named(expr: s.Expr, params: Params) -> tuple[str, int | None]:
    match expr:
        case s.Name(name=name):
            if name not in DIRECTIONS:
                raise SpecError(d.wrong_word(expr.span, "directions", name, tuple(DIRECTIONS)))
            return name, None
        case s.Call(name=name, args=(channel,), keywords=()):
            if name not in DIRECTIONS:
                raise SpecError(d.wrong_word(expr.span, "directions", name, tuple(DIRECTIONS)))
            return name, IntegerType().convert(f"the channel of {name}", fold(channel, params), params)
        case s.Call(name=name):
            raise SpecError(d.bad_arguments(expr.span, name, f"{name}, or {name}(channel)"))
    raise DirectionsType().fail("an entry of directions", expr)


@dataclass(frozen=True)
class Alternatives:
    """A file that lists them by word, or so many of the nearest."""

    file: str | None = None
    nearest: int = 0


@dataclass(frozen=True)
class AlternativesType(Type[Alternatives]):
    wanted: str = 'a .json file that lists them by word, {"film": ["movie", "picture"]}, or nearest(k)'

    def convert(self, key: str, expr: s.Expr, params: Params) -> Alternatives:
        match expr:
            case s.Text(value=file):
                return Alternatives(file)
            case s.Call(name="nearest", args=(count,), keywords=()):
                return Alternatives(nearest=IntegerType(1, MOST_NEAREST).convert("k in nearest(k)", fold(count, params), params))
            case s.Call(name="nearest"):
                raise SpecError(d.bad_arguments(expr.span, "nearest", "nearest(k)"))
            case s.Call(name=name):
                raise SpecError(d.unknown_function(expr.span, name, ("nearest",)))
        raise self.fail(key, expr)
