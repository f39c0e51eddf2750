"""The types of keys: each turns an expression into a checked value, or raises the diagnostic that says what is wrong."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, Literal, TypeVar

from vlang.numbers import exactly
from vlang.text import diagnostics as d
from vlang.text import syntax as s
from vlang.text.constants import Params, describe, fold
from vlang.text.diagnostics import SpecError
from vlang.text.source import Span

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Located(Generic[T_co]):
    """A value and where it was written."""

    value: T_co
    span: Span


class Type(ABC, Generic[T]):
    """`wanted`: the type in words."""

    wanted: str

    @abstractmethod
    def convert(self, key: str, expr: s.Expr, params: Params) -> T:
        """The value of `expr`, already folded. Raises SpecError."""

    def fail(self, key: str, expr: s.Expr) -> SpecError:
        return SpecError(d.wrong_type(expr.span, key, self.wanted, describe(expr)))


def each(items: tuple[s.Expr, ...], convert: Callable[[s.Expr], T]) -> list[T]:
    """Every item converted, or SpecError with what is wrong with any of them."""
    values: list[T] = []
    wrong: list[d.Diagnostic] = []
    for item in items:
        try:
            values.append(convert(item))
        except SpecError as e:
            wrong.extend(e.diagnostics)
    if wrong:
        raise SpecError(*wrong)
    return values


@dataclass(frozen=True)
class NumberType(Type[Fraction]):
    """An exact number in a range; least/most are inclusive unless `strict`."""

    least: Fraction | None = None
    strict: bool = False
    most: Fraction | None = None
    wanted: str = "a number"

    def convert(self, key: str, expr: s.Expr, params: Params) -> Fraction:
        if not isinstance(expr, s.Number) or expr.unit == "s":
            raise self.fail(key, expr)
        value = expr.value
        if self.least is not None and (value < self.least or (self.strict and value == self.least)):
            raise SpecError(d.out_of_range(expr.span, key, exactly(value), f"{'above' if self.strict else 'at least'} {exactly(self.least)}"))
        if self.most is not None and value > self.most:
            raise SpecError(d.out_of_range(expr.span, key, exactly(value), f"at most {exactly(self.most)}"))
        return value


@dataclass(frozen=True)
class IntegerType(Type[int]):
    least: int | None = 0
    most: int = 2**63 - 1
    wanted: str = "a whole number"

    def convert(self, key: str, expr: s.Expr, params: Params) -> int:
        if not isinstance(expr, s.Number) or expr.unit or expr.value.denominator != 1:
            raise self.fail(key, expr)
        if self.least is not None and expr.value < self.least:
            raise SpecError(d.out_of_range(expr.span, key, exactly(expr.value), f"at least {self.least}"))
        if expr.value > self.most:
            raise SpecError(d.out_of_range(expr.span, key, exactly(expr.value), f"at most {self.most}"))
        return int(expr.value)


@dataclass(frozen=True)
class DurationType(Type[Fraction]):
    """Seconds."""

    wanted: str = "a duration such as 90 s"

    def convert(self, key: str, expr: s.Expr, params: Params) -> Fraction:
        if not isinstance(expr, s.Number) or expr.unit != "s":
            raise self.fail(key, expr)
        if expr.value <= 0:
            raise SpecError(d.out_of_range(expr.span, key, exactly(expr.value), "above 0 s"))
        return expr.value


@dataclass(frozen=True)
class TextType(Type[str]):
    wanted: str = "a text in quotes"

    def convert(self, key: str, expr: s.Expr, params: Params) -> str:
        if not isinstance(expr, s.Text):
            raise self.fail(key, expr)
        return expr.value


@dataclass(frozen=True)
class WordType(Type[str]):
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def wanted(self) -> str:  # type: ignore[override]
        return "one of " + ", ".join(self.words)

    def convert(self, key: str, expr: s.Expr, params: Params) -> str:
        if not isinstance(expr, s.Name):
            raise self.fail(key, expr)
        if expr.name not in self.words:
            raise SpecError(d.wrong_word(expr.span, key, expr.name, self.words))
        return expr.name


@dataclass(frozen=True)
class UnknownType(Type[str | None]):
    """What words outside a vocabulary are read as: a token, the usual one where it is empty; None for not at all."""

    wanted: str = 'allow, error, or the token in quotes that stands for them, such as "[UNK]"'

    def convert(self, key: str, expr: s.Expr, params: Params) -> str | None:
        if isinstance(expr, s.Text) and expr.value.strip():
            return expr.value
        return None if WordType(("allow", "error")).convert(key, expr, params) == "error" else ""


@dataclass(frozen=True)
class ListType(Type[tuple[T, ...]]):
    """A list of values of one type; `lone` admits a single value for a list of one."""

    item: Type[T]
    wanted: str = "a list"
    lone: bool = False

    def convert(self, key: str, expr: s.Expr, params: Params) -> tuple[T, ...]:
        if not isinstance(expr, s.Items):
            if self.lone:
                return (self.item.convert(key, expr, params),)
            raise self.fail(key, expr)
        raw = isinstance(self.item, LocatedType)
        return tuple(each(expr.items, lambda x: self.item.convert(f"an entry of {key}", x if raw else fold(x, params), params)))


@dataclass(frozen=True)
class LabelType(Type[str | int]):
    """A class, by name or number."""

    wanted: str = "a class (its name or its number)"

    def convert(self, key: str, expr: s.Expr, params: Params) -> str | int:
        match expr:
            case s.Name(name=name):
                return name
            case s.Text(value=text):
                return text
            case s.Number(unit="", value=v) if v.denominator == 1:
                if v < 0:
                    raise SpecError(d.out_of_range(expr.span, key, exactly(v), "at least 0"))
                return int(v)
        raise self.fail(key, expr)


#: What other tools call a norm.
NORM_WORDS = {
    **dict.fromkeys(("linf", "l_inf", "infinity", "infty", "oo", "max"), "inf"),
    **{word: p for p in ("1", "2") for word in (f"l{p}", f"l_{p}")},
    "euclidean": "2",
}


@dataclass(frozen=True)
class NormType(Type[Fraction | None]):
    """p >= 1; None for infinity."""

    wanted: str = "1, 2, inf or a number p >= 1"

    def convert(self, key: str, expr: s.Expr, params: Params) -> Fraction | None:
        if isinstance(expr, s.Name) and expr.name == "inf":
            return None
        if isinstance(expr, s.Name) and expr.name.lower() in NORM_WORDS:
            raise SpecError(d.norm_word(expr.span, expr.name, NORM_WORDS[expr.name.lower()]))
        if not isinstance(expr, s.Number) or expr.unit:
            raise self.fail(key, expr)
        if expr.value < 1:
            raise SpecError(d.norm_below_one(expr.span, exactly(expr.value)))
        return expr.value


@dataclass(frozen=True)
class Frames:
    """all, each, any(at_most), a list, or a slice; of steps the last one, too. Checked against a length later."""

    kind: Literal["all", "each", "any", "list", "slice", "last"]
    items: tuple[Located[int], ...] = ()
    start: int | None = None
    stop: int | None = None
    at_most: int = 0


def slice_ends(key: str, expr: s.Slice, params: Params) -> tuple[int | None, int | None]:
    ends = [None if e is None else IntegerType().convert(f"an end of the slice in {key}", fold(e, params), params) for e in (expr.start, expr.stop)]
    return ends[0], ends[1]


@dataclass(frozen=True)
class FramesType(Type[Frames]):
    wanted: str = "all, each, any(k), a list [i, ...] or a slice [i:j]"

    def convert(self, key: str, expr: s.Expr, params: Params) -> Frames:
        match expr:
            case s.Name(name="all"):
                return Frames("all")
            case s.Name(name="each"):
                return Frames("each")
            case s.Call(name="any", args=args, keywords=()) if len(args) == 1:
                return Frames("any", at_most=IntegerType(1).convert("k in any(k)", fold(args[0], params), params))
            case s.Items(items=items):
                frames = tuple(each(items, lambda x: Located(IntegerType().convert("a frame", fold(x, params), params), x.span)))
                if not frames:
                    raise SpecError(d.no_frames(expr.span))
                return Frames("list", frames)
            case s.Slice():
                start, stop = slice_ends(key, expr, params)
                return Frames("slice", start=start, stop=stop)
            case s.Name(name=name):
                raise SpecError(d.wrong_word(expr.span, key, name, ("all", "each", "any(k)")))
        raise self.fail(key, expr)


@dataclass(frozen=True)
class StepsType(Type[Frames]):
    """Outputs of a network that gives one a frame."""

    wanted: str = "last, all, each, a list [i, ...] or a slice [i:j]"

    def convert(self, key: str, expr: s.Expr, params: Params) -> Frames:
        match expr:
            case s.Name(name="last"):
                return Frames("last")
            case s.Name(name=name) if name not in ("all", "each"):
                raise SpecError(d.wrong_word(expr.span, key, name, ("last", "all", "each")))
            case s.Name() | s.Slice() | s.Items(items=(_, *_)):
                return FramesType().convert(key, expr, params)
        raise self.fail(key, expr)


@dataclass(frozen=True)
class AttackStepsType(Type[Frames | int]):
    """An attack's own steps, a whole number; or outputs, which have never been one."""

    wanted: str = f"a whole number of gradient steps, or outputs: {StepsType.wanted}"

    def convert(self, key: str, expr: s.Expr, params: Params) -> Frames | int:
        if isinstance(expr, s.Number):
            return IntegerType(1, 100_000).convert(key, expr, params)
        return StepsType().convert(key, expr, params)


#: The least and the largest of a number.
Range = tuple[Fraction, Fraction]


@dataclass(frozen=True)
class ClipType(Type[tuple[Range, ...]]):
    """One for all numbers of a frame, or one each."""

    wanted: str = "a range [lo, hi], or one for each number of a frame, [[lo, hi], ...]"

    def convert(self, key: str, expr: s.Expr, params: Params) -> tuple[Range, ...]:
        if isinstance(expr, s.Items) and expr.items and all(isinstance(x, s.Items) for x in expr.items):
            return tuple(each(expr.items, lambda x: self._range(key, x, params)))
        return (self._range(key, expr, params),)

    def _range(self, key: str, expr: s.Expr, params: Params) -> Range:
        if not isinstance(expr, s.Items) or len(expr.items) != 2:
            raise self.fail(key, expr)
        lo, hi = (NumberType().convert("an end of clip", fold(x, params), params) for x in expr.items)
        if lo >= hi:
            raise SpecError(d.out_of_range(expr.span, "clip", f"[{exactly(lo)}, {exactly(hi)}]", "a range with lo < hi"))
        return lo, hi


@dataclass(frozen=True)
class Pick:
    """first(n), sample(n, seed), or a slice."""

    kind: Literal["first", "sample", "slice"]
    count: int = 0
    seed: int = 0
    start: int | None = None
    stop: int | None = None


@dataclass(frozen=True)
class PickType(Type[Pick]):
    wanted: str = "first(n), sample(n, seed=s) or a slice [i:j]"

    def convert(self, key: str, expr: s.Expr, params: Params) -> Pick:
        match expr:
            case s.Call(name="first" | "sample" as name, args=args, keywords=keywords):
                usage = "first(n)" if name == "first" else "sample(n, seed=s)"
                if len(args) != 1 or any(k.key != "seed" for k in keywords) or len(keywords) != (name == "sample"):
                    raise SpecError(d.bad_arguments(expr.span, name, usage))
                count = IntegerType(1).convert(f"n in {usage}", fold(args[0], params), params)
                seed = IntegerType().convert("seed", fold(keywords[0].value, params), params) if keywords else 0
                return Pick("first" if name == "first" else "sample", count, seed)
            case s.Slice():
                start, stop = slice_ends(key, expr, params)
                return Pick("slice", start=start, stop=stop)
            case s.Call(name=name):
                raise SpecError(d.unknown_function(expr.span, name, ("first", "sample")))
        raise self.fail(key, expr)


@dataclass(frozen=True)
class Target:
    """any, each, runner_up, random(seed), a class, or a phrase of classes, one a step."""

    kind: Literal["any", "class", "each", "random", "runner_up", "phrase"]
    label: str | int = 0
    phrase: tuple[Located[str | int], ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class TargetType(Type[Target]):
    wanted: str = "any, each, runner_up, random(seed=s), a class, or a list of classes, one a step"

    def convert(self, key: str, expr: s.Expr, params: Params) -> Target:
        match expr:
            case s.Name(name="any" | "each" | "runner_up" as name):
                return Target(name)
            case s.Call(name="random", args=(), keywords=(s.Pair(key="seed", value=value),)):
                return Target("random", seed=IntegerType().convert("seed", fold(value, params), params))
            case s.Call(name="random"):
                raise SpecError(d.bad_arguments(expr.span, "random", "random(seed=s)"))
            case s.Call(name=name):
                raise SpecError(d.unknown_function(expr.span, name, ("random",)))
            case s.Items(items=items) if items:
                label = LabelType()
                return Target("phrase", phrase=tuple(each(items, lambda x: Located(label.convert("a class", fold(x, params), params), x.span))))
        return Target("class", LabelType(self.wanted).convert(key, expr, params))


@dataclass(frozen=True)
class TableType(Type[tuple[tuple[float, ...], ...]]):
    """A list of frames, each a list of numbers."""

    wanted: str = "a list of frames, each a list of numbers"

    def convert(self, key: str, expr: s.Expr, params: Params) -> tuple[tuple[float, ...], ...]:
        if not isinstance(expr, s.Items) or not expr.items:
            raise self.fail(key, expr)
        rows: list[tuple[float, ...]] = []
        for item in expr.items:
            if not isinstance(item, s.Items) or not item.items:
                raise SpecError(d.ragged(item.span, f"{describe(item)} where a frame should be"))
            row = tuple(float(NumberType().convert("a value", fold(x, params), params)) for x in item.items)
            if rows and len(row) != len(rows[0]):
                raise SpecError(d.ragged(item.span, f"this frame has {len(row)} numbers, the first has {len(rows[0])}"))
            rows.append(row)
        return tuple(rows)


@dataclass(frozen=True)
class ScaleType(Type[tuple[tuple[Fraction, ...], ...] | str]):
    """Numbers >= 0: one a number of every frame, or a list of them a frame; or a file of either."""

    wanted: str = "a list of numbers >= 0, one a number of a frame, or such a list for each frame; or a .npy file of them"

    def convert(self, key: str, expr: s.Expr, params: Params) -> tuple[tuple[Fraction, ...], ...] | str:
        if isinstance(expr, s.Text):
            return expr.value
        if not isinstance(expr, s.Items) or not expr.items:
            raise self.fail(key, expr)
        lists = [x for x in expr.items if isinstance(x, s.Items)]
        rows = ListType(NumberType(Fraction(0)), self.wanted)
        if not lists:
            return (rows.convert(key, expr, params),)
        if len(lists) < len(expr.items):
            raise self.fail(key, expr)
        found = tuple(each(expr.items, lambda x: rows.convert(key, x, params)))
        ragged = next((x for x, row in zip(expr.items, found, strict=True) if len(row) != len(found[0])), None)
        if ragged is not None:
            raise SpecError(d.ragged(ragged.span, f"this frame has other than {len(found[0])} numbers, as the first has"))
        return found


@dataclass(frozen=True)
class Reference:
    """A declared name, an inline record, or samples picked from a dataset (`index`). kinds: that it may be of."""

    kinds: tuple[str, ...]
    name: str | None
    record: s.Record | None
    index: Located[int | tuple[int | None, int | None]] | None = None


@dataclass(frozen=True)
class ReferenceType(Type[Reference]):
    """A reference to a declaration of one of `kinds`."""

    kinds: tuple[str, ...]

    @property
    def wanted(self) -> str:  # type: ignore[override]
        return f"the name of {' or '.join(article(k) for k in self.kinds)}, or a record {{ ... }}"

    def convert(self, key: str, expr: s.Expr, params: Params) -> Reference:
        match expr:
            case s.Name(name=name):
                return Reference(self.kinds, name, None)
            case s.Record():
                return Reference(self.kinds, None, expr)
            case s.Index(base=s.Name(name=name), index=s.Slice() as slice_) if "dataset" in self.kinds:
                return Reference(("dataset",), name, None, Located(slice_ends(key, slice_, params), slice_.span))
            case s.Index(base=s.Name(name=name), index=index) if "dataset" in self.kinds:
                number = IntegerType().convert("a sample", fold(index, params), params)
                return Reference(("dataset",), name, None, Located(number, index.span))
        raise self.fail(key, expr)


@dataclass(frozen=True)
class LocatedType(Type[Located[T]]):
    """An entry with its own place."""

    item: Type[T]

    @property
    def wanted(self) -> str:  # type: ignore[override]
        return self.item.wanted

    def convert(self, key: str, expr: s.Expr, params: Params) -> Located[T]:
        return Located(self.item.convert(key, expr, params), expr.span)


def article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
