"""The modules that a checkpoint's tensors make, known by their names and shapes: recurrent stacks, linear layers, convolutions and so on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from vlang.lower.files import TensorHeader
from vlang.text.diagnostics import SpecError
from vlang.words.cells import CELLS, families
from vlang.words.layers import LAYERS

#: An error of a reason, and of a cure where that is not to name tensors as torch.nn does.
Refuse = Callable[..., SpecError]
OWN_CELL = "torch.nn.RNN, LSTM and GRU are read (rnn.weight_ih_l0, ...): copy the weights of a cell of your own into one of the same equations"

_RECURRENT = re.compile(r"(?P<prefix>.*?)(?P<part>weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)_l(?P<layer>[0-9]{1,6})(?P<reverse>_reverse)?")


@dataclass(frozen=True)
class Module:
    """word: a key of LAYERS, or None for a recurrent stack. prefix: of its tensors' names, to which `roles` are added.

    inputs, outputs: numbers of a frame that it reads and gives, or channels. window: frames that it reads at once. stored: its place in the file, if
    that says something. shape: of the tensor that it is known by.
    """

    word: str | None
    prefix: str
    roles: tuple[str, ...]
    inputs: int
    outputs: int
    window: int = 1
    stored: int | None = None
    shape: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """As a person would write it."""
        return self.prefix.removesuffix(".")

    @property
    def kind(self) -> str:
        return self.word or "recurrent"


@dataclass(frozen=True)
class Stack(Module):
    """Recurrent layers of one cell, of one of some families; of `directions`, each of `hidden` units, projected to as many numbers, or 0 for not."""

    families: tuple[str, ...] = ()
    layers: int = 1
    directions: int = 1
    hidden: int = 1
    projected: int = 0


def natural(name: str) -> list[tuple[int, int | str]]:
    """A key by which fc2 stands before fc10."""
    return [(0, int(p)) if re.fullmatch("[0-9]{1,18}", p) else (1, p) for p in re.split(r"([0-9]+)", name) if p]


def stacks(rest: dict[str, TensorHeader], refuse: Refuse) -> list[Stack]:
    """The recurrent stacks among some tensors, which are taken out. Raises SpecError."""
    found: dict[str, dict[tuple[int, bool], dict[str, TensorHeader]]] = {}
    for name in list(rest):
        m = _RECURRENT.fullmatch(name)
        if m:
            found.setdefault(m["prefix"], {}).setdefault((int(m["layer"]), bool(m["reverse"])), {})[m["part"]] = rest.pop(name)
    return sorted((_stack(prefix, parts, refuse) for prefix, parts in found.items()), key=lambda x: natural(x.prefix))


def _stack(prefix: str, found: dict[tuple[int, bool], dict[str, TensorHeader]], refuse: Refuse) -> Stack:
    layers = max(layer for layer, _ in found) + 1
    bidirectional = any(reverse for _, reverse in found)
    if layers > len(found):
        raise refuse("some of its layers or directions are missing")
    wanted = {(layer, reverse) for layer in range(layers) for reverse in ((False, True) if bidirectional else (False,))}
    if set(found) != wanted:
        raise refuse("some of its layers or directions are missing")
    bias = "bias_ih" in found[0, False]
    first = found[0, False]
    if "weight_hh" not in first or len(first["weight_hh"].shape) != 2:
        raise refuse("weight_hh_l0 is missing or no matrix")
    rows, given = first["weight_hh"].shape
    hidden = given
    if "weight_hr" in first:  # [given, hidden]
        if len(first["weight_hr"].shape) != 2 or first["weight_hr"].shape[0] != given:
            raise refuse(f"weight_hr_l0 has shape {list(first['weight_hr'].shape)}, expected [{given}, hidden]")
        hidden = first["weight_hr"].shape[1]
    found_in = families(rows // hidden, projected="weight_hr" in first) if hidden and rows % hidden == 0 else ()
    if not found_in:
        shapes_of = {c.family: f"[{c.rows} hidden, hidden]".replace("[1 ", "[") for c in CELLS.values()}
        cure = ", ".join(f"of {family} it is {shape}" for family, shape in shapes_of.items()) + "; only an LSTM has projections (weight_hr_l0)"
        raise refuse(f"weight_hh_l0 of shape {list(first['weight_hh'].shape)} is that of no known cell", cure)
    if "weight_ih" not in first or len(first["weight_ih"].shape) != 2:
        raise refuse("weight_ih_l0 is missing or no matrix")
    input_size = first["weight_ih"].shape[1]
    roles = []
    for (layer, reverse), parts in sorted(found.items()):
        width = input_size if layer == 0 else given * (2 if bidirectional else 1)
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, width), "weight_hh": (rows, given)}
        if "weight_hr" in first:
            shapes["weight_hr"] = (given, hidden)
        if bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        for part, shape in shapes.items():
            name = f"{part}_l{layer}{'_reverse' if reverse else ''}"
            if part not in parts:
                raise refuse(f"{name} is missing")
            if parts[part].shape != shape:
                raise refuse(f"{name} has shape {list(parts[part].shape)}, expected {list(shape)}")
            roles.append(name)
        if set(parts) - set(shapes):
            raise refuse(
                f"layer {layer} has some biases or projections but not all",
                "torch.nn adds two biases a layer: store the one that is missing as zeros",
            )
    if min(given, hidden, input_size) < 1:
        raise refuse("it has an empty layer")
    directions = 2 if bidirectional else 1
    return Stack(
        None,
        prefix,
        tuple(roles),
        input_size,
        given * directions,
        families=found_in,
        layers=layers,
        directions=directions,
        hidden=hidden,
        projected=given if "weight_hr" in first else 0,
    )


def embedding(rest: dict[str, TensorHeader], refuse: Refuse) -> tuple[str, int, int] | None:
    """The table of tokens, which is taken out: its tensor, how many tokens, and the width of each. Raises SpecError."""
    names = [n for n in rest if "emb" in n.lower() and n.endswith("weight") and len(rest[n].shape) == 2]
    if len(names) > 1:
        raise refuse(f"it has several embeddings ({', '.join(names)})")
    return (names[0], *rest.pop(names[0]).shape) if names else None  # type: ignore[return-value]


def pointwise(rest: dict[str, TensorHeader], words: tuple[str, ...], ordered: bool, refuse: Refuse) -> list[Module]:
    """The modules of some kinds among some tensors, which are taken out, in the order of their names. Raises SpecError.

    A module is known by the tensors that stand side by side under one name. ordered: whether the file's order says something.
    """
    places = {name: i for i, name in enumerate(rest)}
    found = []
    for prefix, roles in sorted(_by_prefix(rest).items()):
        word = next((w for w in words if _is(w, {role: rest[prefix + role] for role in roles})), None)
        if word is None:
            continue
        held = {role: rest.pop(prefix + role) for role in (*LAYERS[word].tensors, *LAYERS[word].optional, *LAYERS[word].idle) if role in roles}
        first = next(iter(LAYERS[word].tensors))
        shape = held[first].shape
        outputs, *more = shape
        inputs, window = more[0] if more else outputs, more[1] if len(more) > 1 else 1
        for role in (r for r in held if r not in (first, *LAYERS[word].idle)):
            if held[role].shape != (outputs,):
                raise refuse(f"{prefix}{role} has shape {list(held[role].shape)}, expected [{outputs}]")
        found.append(Module(word, prefix, tuple(held), inputs, outputs, window, places[prefix + first] if ordered else None, shape))
    return sorted(found, key=lambda x: natural(x.name))


def _by_prefix(tensors: Mapping[str, TensorHeader]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in tensors:
        head, dot, role = name.rpartition(".")
        found.setdefault(head + dot, []).append(role)
    return found


def _is(word: str, held: Mapping[str, TensorHeader]) -> bool:
    """Whether these tensors hold what a layer of this kind has."""
    return all(role in held and len(held[role].shape) == dims for role, dims in LAYERS[word].tensors.items())


def each_order(modules: tuple[Module, ...], width: int) -> Iterator[tuple[Module, ...]]:
    """The orders in which each module reads what the one before gives; those that differ in names only, too."""
    if not modules:
        yield ()
    for i, x in enumerate(modules):
        if x.inputs == width:
            for after in each_order(modules[:i] + modules[i + 1 :], x.outputs):
                yield (x, *after)
