"""Which recurrent matrix a spectrum is about, checked against the network's architecture."""

from __future__ import annotations

from pathlib import Path

from vlang.plan import Architecture, NetworkPlan
from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError
from vlang.typed.matrices import MatrixReference
from vlang.typed.signatures import GATE_WORDS, Spectrum
from vlang.typed.types import Located

PICTURES = (".svg", ".png")


def check_matrix(form: Spectrum, a: Architecture) -> int | None:
    """The gate's number, of a gated cell's weights. Raises SpecError."""
    of, gates, wrong = form.of.value, GATE_WORDS[a.cell], []
    if not form.eps.value:
        wrong.append(d.wrong_type(form.eps.span, "eps", "a list of numbers > 0", "an empty list"))
    if form.layer.value >= a.layers:
        wrong.append(d.out_of_range(form.layer.span, "layer", str(form.layer.value), f"below {a.layers}, the network's layers"))
    if form.direction.value == "backward" and not a.bidirectional:
        wrong.append(d.does_not_apply(form.direction.span, "direction", "the network reads forward only"))
    if of.gate is not None and not gates:
        wrong.append(d.does_not_apply(of.gate.span, f"gate({of.gate.value})", f"{a.cell} has one recurrent matrix, net.weight_hh"))
    elif of.gate is not None and of.gate.value not in gates:
        wrong.append(d.wrong_word(of.gate.span, "gate", of.gate.value, gates))
    elif of.gate is None and of.frame is None and gates:
        wrong.append(d.gate_needed(form.of.span, a.cell, gates))
    if wrong:
        raise SpecError(*wrong)
    return None if of.gate is None else gates.index(of.gate.value)


def written(of: MatrixReference, network: NetworkPlan) -> str:
    """The matrix as a person would write it."""
    if of.input is not None and of.frame is not None:
        held = of.input.value
        index = "" if held.index is None else f"[{held.index.value}]"
        return f"{network.name}.jacobian({held.name or '{...}'}{index}, {of.frame.value})"
    return f"{network.name}.weight_hh" if of.gate is None else f"{network.name}.gate({of.gate.value}).weight_hh"


def picture_path(picture: Located[str], folder: Path) -> str:
    """Raises SpecError."""
    if Path(picture.value).suffix not in PICTURES:
        raise SpecError(d.wrong_type(picture.span, "picture", "a file ending in .svg or .png", f"'{picture.value}'"))
    return str(folder / picture.value)
