"""Sweeps: the keys that a query tries several values of, and every combination of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from keyword import iskeyword
from typing import Any

from vlang.numbers import exactly
from vlang.text import diagnostics as d
from vlang.text import syntax as s
from vlang.text.constants import Params, describe, fold
from vlang.text.diagnostics import SpecError
from vlang.text.source import Span
from vlang.typed.module import Module
from vlang.typed.signatures import KINDS
from vlang.typed.tree import Data, Swept
from vlang.typed.types import Located

#: So many combinations of swept values are a mistake.
MOST_POINTS = 10_000


@dataclass(frozen=True)
class Sweep:
    """path: a key of the query, or of a record that it refers to. values: as written; shown: as text."""

    span: Span
    path: tuple[str, ...]
    values: tuple[s.Expr, ...]
    shown: tuple[str, ...]


def swept(module: Module, query: s.Declaration) -> list[Sweep]:
    """The sweeps of a query that can be done; what is wrong with the others is reported."""
    found: list[Sweep] = []
    points = 1
    for sweep in (e for e in query.entries if isinstance(e, s.Sweep)):
        values = sweep.values.items if isinstance(sweep.values, s.Items) else ()
        path = ".".join(sweep.path)
        if not values:
            module.report(d.nothing_to_sweep(sweep.values.span))
            continue
        if any(x.path[: len(sweep.path)] == sweep.path[: len(x.path)] for x in found):
            module.report(d.swept_twice(sweep.span, path))
            continue
        if points * len(values) > MOST_POINTS:
            module.report(d.too_large(sweep.span, "points of the sweeps", points * len(values), MOST_POINTS))
            continue
        try:  # what is broken has been reported, and is not shown
            shown = list(map(str, range(len(values)))) if module.broken else [shown_value(v, module.params) for v in values]
        except SpecError as e:
            module.report(*e.diagnostics)
            continue
        again = next((v for i, v in enumerate(shown) if v in shown[:i]), None)
        if again is not None:
            module.report(d.same_point(sweep.span, path, again))
            continue
        known = _keys(module, query, sweep)
        if path not in known:
            module.report(d.unknown_sweep(sweep.span, path, known))
            continue
        points *= len(values)
        found.append(Sweep(sweep.span, sweep.path, values, tuple(shown)))
    return found


def _keys(module: Module, query: s.Declaration, sweep: s.Sweep) -> list[str]:
    """What can be swept: a key of the query, or of a record that one of them is or names."""
    keys = [k for k in KINDS[query.kind].keys if k not in KINDS[query.kind].fixed]
    written = {e.key: e.value for e in query.entries if isinstance(e, s.Pair)}
    inner = [k for k in keys if k in KINDS]
    match written.get(sweep.path[0]):
        case None | s.Record():
            pass
        case s.Name(name=name) if module.find(name, ("input", "dataset") if sweep.path[0] == "input" else (sweep.path[0],)) is not None:
            pass
        case _ if len(sweep.path) > 1:
            return keys
    data = {k: None for kind in ("input", "dataset") for k in KINDS[kind].keys}
    return keys + [f"{k}.{x}" for k in inner for x in (data if k == "input" else KINDS[k].keys)]


def combined(sweeps: Sequence[tuple[Sweep, list[Located[Any]]]]) -> Iterator[tuple[Swept, list[tuple[tuple[str, ...], Located[Any]]]]]:
    """Every combination: how it is shown, and the value of every path."""
    ways = [
        [((".".join(sweep.path), shown), (sweep.path, value)) for shown, value in zip(sweep.shown, values, strict=True)] for sweep, values in sweeps
    ]
    for chosen in product(*ways):
        yield tuple(shown for shown, _ in chosen), [value for _, value in chosen]


def put(form: Any, values: Sequence[tuple[tuple[str, ...], Located[Any]]]) -> Any:
    """The form with some of its keys, or of the records in them, set."""
    for path, value in values:
        outer = _field(path[0])
        if len(path) == 1:
            form = replace(form, **{outer: value})
            continue
        held: Located[Any] = getattr(form, outer)
        inner: dict[str, Any] = {_field(path[1]): value}
        match held.value:
            case Data(form=data, index=index):
                changed: Any = Data(replace(data, **inner), index)
            case _:
                changed = replace(held.value, **inner)
        form = replace(form, **{outer: Located(changed, held.span)})
    return form


def _field(key: str) -> str:
    return f"{key}_" if iskeyword(key) else key


def shown_value(value: s.Expr, params: Params) -> str:
    """A value as text, for tables and reports."""
    match fold(value, params):
        case s.Number(value=v):
            return exactly(v)
        case s.Name(name=n):
            return n
        case s.Text(value=t):
            return t
        case s.Items(items=items):
            return "[" + ", ".join(shown_value(x, params) for x in items) + "]"
        case s.Slice(start=a, stop=b):
            return f"[{'' if a is None else shown_value(a, params)}:{'' if b is None else shown_value(b, params)}]"
        case s.Call(name=n, args=args, keywords=keywords):
            inner = [shown_value(x, params) for x in args] + [f"{k.key}={shown_value(k.value, params)}" for k in keywords]
            return f"{n}({', '.join(inner)})"
        case s.Field(base=base, name=n):
            return f"{shown_value(base, params)}.{n}"
        case s.Method(base=base, name=n, args=args):
            return f"{shown_value(base, params)}.{n}({', '.join(shown_value(x, params) for x in args)})"
        case s.Index(base=s.Name(name=n), index=s.Slice() as ends):
            return n + shown_value(ends, params)
        case s.Index(base=s.Name(name=n), index=index):
            return f"{n}[{shown_value(index, params)}]"
        case s.Record(entries=entries):
            return "{" + ", ".join(f"{e.key} = {shown_value(e.value, params)}" for e in entries if isinstance(e, s.Pair)) + "}"
    return describe(value)
