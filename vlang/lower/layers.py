"""`layers`: a network's layers as the spec spells them, put into the keys that say the same one by one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError
from vlang.text.source import Span
from vlang.typed.tree import Network
from vlang.typed.types import Layer, Located
from vlang.words.cells import STATED
from vlang.words.layers import ACTIVATIONS, EMBEDDING, LINEAR, READOUTS


@dataclass(frozen=True)
class Spelled:
    """network: with the keys that `layers` stands for. readout_activation: what is applied to what is read out.

    names: of the linear layers in their order, None for one that is not named; None where the spec has no `layers`, as `embedding` is then.
    """

    network: Network
    readout_activation: str = "none"
    names: tuple[str | None, ...] | None = None
    embedding: bool | None = None


def spelled(spec: Network) -> Spelled:
    """Raises SpecError."""
    if spec.layers is None:
        return Spelled(spec)
    given = [(key, getattr(spec, key)) for key in ("cell", "activation", "readout", "head")]
    twice = [d.does_not_apply(x.span, key, "'layers' says it") for key, x in given if x is not None]
    if twice:
        raise SpecError(*twice)
    rest = list(spec.layers.value)

    def expect(what: str) -> SpecError:
        span = rest[0].span if rest else _behind(spec.layers)
        return SpecError(d.layers_order(span, rest[0].word if rest else None, what))

    embedding = bool(rest) and rest[0].word == EMBEDDING
    if embedding:
        rest.pop(0)
    if not rest or rest[0].word not in STATED:
        raise expect(f"{', '.join(STATED[:-1])} or {STATED[-1]}: layers before the recurrent part (other than an embedding) are not supported yet")
    cell = rest.pop(0)
    if not rest or rest[0].word not in READOUTS:
        raise expect(f"what is read out of the frames: {', '.join(READOUTS)}")
    readout = rest.pop(0)
    before: list[str] = []
    names: list[str | None] = []
    while rest:
        activation = rest.pop(0).word if rest[0].word in ACTIVATIONS else "none"
        if not rest or rest[0].word != LINEAR:
            raise expect("a linear layer; activations stand before one")
        before.append(activation)
        names.append(rest.pop(0).name)
    if not names:
        raise expect("a linear layer")
    network = replace(
        spec,
        cell=Located(cell.word, cell.span),
        readout=Located(readout.word, readout.span),
        head=Located(tuple(before[1:]), spec.layers.span),
    )
    return Spelled(network, before[0], tuple(names), embedding)


def _behind(layers: Located[tuple[Layer, ...]] | None) -> Span:
    assert layers is not None
    return layers.value[-1].span if layers.value else layers.span
