"""Typed spectrum to its plan: which recurrent matrix it is about, checked against the network's architecture."""

from __future__ import annotations

from pathlib import Path

from vlang.cost import frames_of
from vlang.lower import samples
from vlang.lower.networks import LoweredNetwork
from vlang.lower.once import Once, refuse
from vlang.plan import NetworkPlan, SpectrumPlan
from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError
from vlang.text.source import Span
from vlang.typed.tree import Matrix, Point, Spectrum
from vlang.typed.types import Located
from vlang.words.cells import CELLS

PICTURES = (".svg", ".png")


def matrix(once: Once, point: Point, form: Spectrum, network: LoweredNetwork, folder: Path) -> SpectrumPlan:
    """Raises SpecError."""
    of, stacks = form.of.value, network.plan.architecture.stacks
    once.every(
        (refuse, not form.eps.value, d.wrong_type, form.eps.span, "eps", "a list of numbers > 0", "an empty list"),
        (_layer, form.layer, len(stacks)),
    )
    stack = stacks[form.layer.value]
    *_, gate = once.every(
        (_direction, form.direction, stack.setting("directions") == 2),
        (_gate, form.of.span, of.gate, of.frame is not None, stack.word),
    )
    data = None
    if of.input is not None and of.frame is not None:
        once(refuse, not of.input.value.single, d.one_sample_needed, of.input.span, "a dataset")
        data = samples.one(once, of.input.value, network, folder)
        frames = frames_of(data)
        wanted = f"below {frames}, the input's frames"
        once(refuse, of.frame.value >= frames, d.out_of_range, of.frame.span, "the frame", str(of.frame.value), wanted)
    return SpectrumPlan(
        point.swept,
        written(of, network.plan),
        network.plan,
        gate,
        data,
        None if of.frame is None else of.frame.value,
        form.layer.value,
        form.direction.value == "backward",
        tuple(dict.fromkeys(form.eps.value)),
        form.points.value,
        form.of.span,
    )


def _layer(layer: Located[int], layers: int) -> None:
    if layer.value >= layers:
        raise SpecError(d.out_of_range(layer.span, "layer", str(layer.value), f"below {layers}, the network's recurrent layers"))


def _direction(direction: Located[str], bidirectional: bool) -> None:
    if direction.value == "backward" and not bidirectional:
        raise SpecError(d.does_not_apply(direction.span, "direction", "the network reads forward only"))


def _gate(where: Span, gate: Located[str] | None, jacobian: bool, cell: str) -> int | None:
    """The gate's number, of a gated cell's weights."""
    gates = CELLS[cell].gates
    if gate is None:
        if gates and not jacobian:
            raise SpecError(d.gate_needed(where, cell, gates))
        return None
    if not gates:
        raise SpecError(d.does_not_apply(gate.span, f"gate({gate.value})", f"{cell} has one recurrent matrix, net.weight_hh"))
    if gate.value not in gates:
        raise SpecError(d.wrong_word(gate.span, "gate", gate.value, gates))
    return gates.index(gate.value)


def written(of: Matrix, network: NetworkPlan) -> str:
    """The matrix as a person would write it."""
    if of.input is not None and of.frame is not None:
        held = of.input.value
        index = "" if held.index is None else f"[{held.index.value}]"
        return f"{network.name}.jacobian({held.form.name or '{...}'}{index}, {of.frame.value})"
    return f"{network.name}.weight_hh" if of.gate is None else f"{network.name}.gate({of.gate.value}).weight_hh"


def picture_path(picture: Located[str], folder: Path) -> str:
    """Raises SpecError."""
    if Path(picture.value).suffix not in PICTURES:
        raise SpecError(d.wrong_type(picture.span, "picture", "a file ending in .svg or .png", f"'{picture.value}'"))
    return str(folder / picture.value)
