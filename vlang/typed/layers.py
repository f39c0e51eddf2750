"""The type of a layer in `layers = [...]`: a word, the name of its tensors, what is said of it, and its branches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from vlang.text import diagnostics as d
from vlang.text import syntax as s
from vlang.text.constants import Params, fold
from vlang.text.diagnostics import SpecError
from vlang.text.source import Span
from vlang.typed.types import IntegerType, NumberType, Type, WordType
from vlang.words.cells import STATED
from vlang.words.layers import BRANCHING, EMBEDDING, JOINING, LAYERS, Layer, Setting

#: What `layers` may list, in the order in which a network is written.
WORDS = (EMBEDDING, *STATED, *(word for word in LAYERS if word not in JOINING), *BRANCHING)


#: How layers with branches are written.
EXAMPLES = {
    "residual": "residual([linear, relu, linear]): x and what the branch makes of it, added",
    "attention": "attention([linear, tanh, linear]): the frames' mean, weighted by the softmax of the branch's scores",
    "concat": "concat([lstm], [gru])",
}


@dataclass(frozen=True)
class Listed:
    """A layer of a network. name: of its tensors, without what comes behind the last dot, where it is given. said: the settings that are
    given; settings: all of them. branches: of what joins some.
    """

    word: str
    name: str | None
    span: Span
    settings: tuple[tuple[str, Any], ...] = ()
    branches: tuple[tuple[Listed, ...], ...] = ()
    said: frozenset[str] = frozenset()


@dataclass(frozen=True)
class LayerType(Type[Listed]):
    wanted: str = 'a layer: a word such as lstm, or linear("fc")'

    def convert(self, key: str, expr: s.Expr, params: Params) -> Listed:
        args: tuple[s.Expr, ...] = ()
        keywords: tuple[s.Pair, ...] = ()
        match expr:
            case s.Name(name=word):
                pass
            case s.Call(name=word, args=args, keywords=keywords):
                pass
            case _:
                raise self.fail(key, expr)
        if word not in WORDS:
            raise SpecError(d.wrong_word(expr.span, key, word, WORDS))
        if word in BRANCHING:
            return self._branching(word, expr, args, keywords, params)
        layer = LAYERS.get(word)
        named = layer is None or bool(layer.tensors)
        settings: Mapping[str, Setting] = {} if layer is None else layer.settings
        name = fold(args[0], params) if args else None
        wrong = any(k.key not in settings for k in keywords) or len({k.key for k in keywords}) < len(keywords)
        if wrong or len(args) > named or not (name is None or isinstance(name, s.Text)):
            raise SpecError(d.bad_arguments(expr.span, word, usage(word)))
        given = {k.key: _setting(k.key, settings[k.key], fold(k.value, params), params) for k in keywords}
        if any(x.default is None and k not in given for k, x in settings.items()):
            raise SpecError(d.bad_arguments(expr.span, word, usage(word)))
        every = tuple((k, given.get(k, x.default)) for k, x in settings.items())
        return Listed(word, None if name is None else name.value, expr.span, every, said=frozenset(given))

    def _branching(self, word: str, expr: s.Expr, args: tuple[s.Expr, ...], keywords: tuple[s.Pair, ...], params: Params) -> Listed:
        folded = [fold(x, params) for x in args]
        if keywords or not all(isinstance(x, s.Items) for x in folded) or (len(folded) < 2 if word == "concat" else len(folded) != 1):
            raise SpecError(d.bad_arguments(expr.span, word, usage(word)))
        branches = tuple(tuple(self.convert("layers", y, params) for y in x.items) for x in folded if isinstance(x, s.Items))
        return Listed(word, None, expr.span, branches=branches)


def usage(word: str) -> str:
    """How a layer is written."""
    if word in BRANCHING:
        return EXAMPLES[word]
    layer = LAYERS.get(word, Layer(""))
    named = ['"name"'] if word not in LAYERS or layer.tensors else []
    examples = [
        f"{k} = {0.5 if x.default is None and x.kind not in ('count', 'pair') else 2 if x.default is None else x.default}"
        for k, x in layer.settings.items()
    ]
    return f"{word}({', '.join(named + examples)})" if named or examples else word


def _example(setting: Setting) -> int | float | str:
    if setting.default is not None:
        return setting.default
    return 2 if setting.kind in ("count", "pair") else 0.5


def _setting(key: str, setting: Setting, expr: s.Expr, params: Params) -> int | float | str | tuple[float, ...]:
    """Raises SpecError."""
    number = NumberType(None if setting.above is None else Fraction(setting.above), strict=True)
    match setting.kind:
        case "pair" if isinstance(expr, s.Items) and len(expr.items) == 2:
            return tuple(IntegerType(setting.least).convert(key, fold(x, params), params) for x in expr.items)
        case "count" | "pair":
            return IntegerType(setting.least).convert(key, expr, params)
        case "word":
            return WordType(setting.words).convert(key, expr, params)
        case "numbers" if isinstance(expr, s.Items) and expr.items:
            return tuple(float(number.convert(key, fold(x, params), params)) for x in expr.items)
    return float(number.convert(key, expr, params))
