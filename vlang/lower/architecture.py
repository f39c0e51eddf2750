"""Which network a checkpoint holds: read from the names and shapes of its tensors, completed by metadata and the spec."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vlang.lower.files import Checkpoint, TensorHeader
from vlang.plan import Architecture
from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError
from vlang.typed.tree import Network
from vlang.words.cells import CELLS, families, of_family
from vlang.words.layers import ACTIVATIONS, READOUTS

#: An error of a reason, and of a cure where that is not to name tensors as torch.nn does.
Refuse = Callable[..., SpecError]
#: Cures of what no renaming helps.
HEAD = "the head is linear layers on the recurrent part's last states, both directions together"
ONE_PART = "one recurrent network to a checkpoint: stacked layers share a prefix and end in _l0, _l1, ..."
NO_OTHER_PARTS = "normalisation, attention, convolutions and other parts are not supported; leave out tensors that inference does not use"

_RECURRENT = re.compile(r"(?P<prefix>.*?)(?P<part>weight_ih|weight_hh|bias_ih|bias_hh)_l(?P<layer>[0-9]{1,6})(?P<reverse>_reverse)?")


@dataclass(frozen=True)
class _Recurrent:
    prefix: str
    families: tuple[str, ...]
    layers: int
    bidirectional: bool
    bias: bool
    input_size: int
    hidden: int


def read(checkpoint: Checkpoint, spec: Network) -> Architecture:
    """The architecture, or SpecError. Every tensor must have a role: one that is not understood could change the function."""
    path, where = spec.source.value, spec.source.span

    def refuse(reason: str, cure: str | None = None) -> SpecError:
        return SpecError(d.not_recurrent(where, path, reason, cure))

    rest = dict(checkpoint.tensors)
    integral = sorted(n for n, t in rest.items() if not t.floating)
    if integral:
        raise refuse(f"{integral[0]} holds {rest[integral[0]].dtype}, not floating-point numbers")
    recurrent = _recurrent(rest, refuse)
    cell = _cell(recurrent.families, spec, checkpoint.metadata)
    directions = 2 if recurrent.bidirectional else 1
    initial = _initial(rest, recurrent, CELLS[cell].states, directions, refuse)
    embedding, tokens = _embedding(rest, recurrent.input_size, refuse)
    head, classes = _head(rest, recurrent.hidden * directions, refuse)
    readout = spec.readout.value if spec.readout else checkpoint.metadata.get("readout", "last")
    if readout not in READOUTS:
        raise refuse(f"its metadata says readout = {readout!r}, which is none of {', '.join(READOUTS)}")
    return Architecture(
        cell=cell,
        prefix=recurrent.prefix,
        layers=recurrent.layers,
        bidirectional=recurrent.bidirectional,
        bias=recurrent.bias,
        input_size=recurrent.input_size,
        hidden=recurrent.hidden,
        classes=classes,
        readout=readout,
        head=head,
        head_activations=_head_activations(len(head) - 1, spec, checkpoint.metadata),
        embedding=embedding,
        tokens=tokens,
        initial=initial,
    )


def metadata_list(metadata: Mapping[str, str], key: str) -> tuple[str, ...] | None:
    """A list kept in metadata: a JSON list of texts, or one text a line."""
    text = metadata.get(key)
    if text is None:
        return None
    try:
        value = json.loads(text)
        if isinstance(value, list):
            return tuple(str(x) for x in value)
    except (ValueError, RecursionError):
        pass
    return tuple(text.split("\n"))


def _recurrent(rest: dict[str, TensorHeader], refuse: Refuse) -> _Recurrent:
    found: dict[tuple[int, bool], dict[str, TensorHeader]] = {}
    prefixes = set()
    for name in list(rest):
        m = _RECURRENT.fullmatch(name)
        if m:
            prefixes.add(m["prefix"])
            found.setdefault((int(m["layer"]), bool(m["reverse"])), {})[m["part"]] = rest.pop(name)
    if not found:
        bare = next((n for n in rest if n.endswith("weight_ih")), None)
        raise refuse(
            "it has no tensor called ...weight_ih_l0", bare and f"a cell's own tensors lack the layer: rename {bare} to {bare}_l0, and so on"
        )
    if len(prefixes) > 1:
        raise refuse(f"it has several recurrent parts ({', '.join(sorted(repr(p) for p in prefixes))})", ONE_PART)
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
    hidden = first["weight_hh"].shape[1]
    rows = first["weight_hh"].shape[0]
    found_in = families(rows // hidden) if hidden and rows % hidden == 0 else ()
    if not found_in:
        shapes_of = {c.family: f"[{c.rows} hidden, hidden]".replace("[1 ", "[") for c in CELLS.values()}
        cure = ", ".join(f"of {family} it is {shape}" for family, shape in shapes_of.items()) + "; projections (proj_size) are not supported"
        raise refuse(f"weight_hh_l0 of shape {list(first['weight_hh'].shape)} is that of no known cell", cure)
    if "weight_ih" not in first or len(first["weight_ih"].shape) != 2:
        raise refuse("weight_ih_l0 is missing or no matrix")
    input_size = first["weight_ih"].shape[1]
    for (layer, reverse), parts in sorted(found.items()):
        width = input_size if layer == 0 else hidden * (2 if bidirectional else 1)
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, width), "weight_hh": (rows, hidden)}
        if bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        for part, shape in shapes.items():
            name = f"{part}_l{layer}{'_reverse' if reverse else ''}"
            if part not in parts:
                raise refuse(f"{name} is missing")
            if parts[part].shape != shape:
                raise refuse(f"{name} has shape {list(parts[part].shape)}, expected {list(shape)}")
        if set(parts) - set(shapes):
            raise refuse(f"layer {layer} has some biases but not all")
    if min(hidden, input_size) < 1:
        raise refuse("it has an empty layer")
    return _Recurrent(prefixes.pop(), found_in, layers, bidirectional, bias, input_size, hidden)


def _cell(found: tuple[str, ...], spec: Network, metadata: Mapping[str, str]) -> str:
    """Of the families that have such weights the cell that the spec or the metadata say."""
    stated = spec.cell.value if spec.cell else None
    family = None if stated is None else CELLS[stated].family if stated in CELLS else stated
    if spec.cell is not None and family not in found:
        raise SpecError(d.cell_mismatch(spec.cell.span, spec.cell.value, " or ".join(found)))
    if family is None and len(found) > 1:
        raise SpecError(d.missing_key(spec.span, "cell", "network", f"weights of this shape may be those of {' or '.join(found)}"))
    cells = of_family(family or found[0])
    if len(cells) == 1:
        return next(iter(cells))
    by_activation = {cell.activation: word for word, cell in cells.items()}
    said = cells[stated].activation if stated in cells else None
    activation = spec.activation.value if spec.activation else said or metadata.get("activation", next(iter(by_activation)) or "")
    if activation not in by_activation:
        raise SpecError(d.not_recurrent(spec.source.span, spec.source.value, f"its metadata says activation = {activation!r}"))
    if spec.cell is not None and said not in (None, activation):
        raise SpecError(d.cell_mismatch(spec.cell.span, spec.cell.value, by_activation[activation]))
    return by_activation[activation]


def _initial(rest: dict[str, TensorHeader], recurrent: _Recurrent, states: tuple[str, ...], directions: int, refuse: Refuse) -> tuple[str, ...]:
    names = []
    for state in states:
        name = next((n for n in (f"{recurrent.prefix}{state}", state) if n in rest), None)
        if name is None:
            continue
        shape = rest.pop(name).shape
        wanted = (recurrent.layers * directions, recurrent.hidden)
        if shape not in (wanted, (wanted[0], 1, wanted[1])):
            raise refuse(f"initial state {name} has shape {list(shape)}, expected {list(wanted)}")
        names.append(name)
    if names and len(names) != len(states):
        raise refuse(f"it has the initial state {names[0]} but not all of {', '.join(states)}")
    return tuple(names)


def _embedding(rest: dict[str, TensorHeader], input_size: int, refuse: Refuse) -> tuple[str | None, int]:
    names = [n for n in rest if "emb" in n.lower() and n.endswith("weight") and len(rest[n].shape) == 2]
    if not names:
        return None, 0
    if len(names) > 1:
        raise refuse(f"it has several embeddings ({', '.join(names)})")
    tokens, width = rest.pop(names[0]).shape
    if width != input_size:
        raise refuse(f"{names[0]} gives {width} numbers a token, the first layer reads {input_size}")
    return names[0], tokens


def _head(rest: dict[str, TensorHeader], features: int, refuse: Refuse) -> tuple[tuple[str, ...], int]:
    """The linear layers, in the natural order of their names, each fitting the one before."""
    names = sorted((n.removesuffix(".weight") for n in rest if n.endswith(".weight") and len(rest[n].shape) == 2), key=_natural)
    width = features
    for name in names:
        rows, columns = rest.pop(f"{name}.weight").shape
        if columns != width:
            raise refuse(f"{name}.weight reads {columns} numbers, but the layer before it gives {width}", HEAD)
        bias = rest.pop(f"{name}.bias", None)
        if bias is not None and bias.shape != (rows,):
            raise refuse(f"{name}.bias has shape {list(bias.shape)}, expected [{rows}]")
        width = rows
    if rest:
        raise refuse(
            f"the role of tensor '{sorted(rest)[0]}' is not understood" + (f" (and {len(rest) - 1} more)" if len(rest) > 1 else ""), NO_OTHER_PARTS
        )
    if not names:
        raise refuse("it has no linear head on the recurrent part", HEAD)
    if width < 2:
        raise refuse(
            f"its head gives {width} output; a classifier has at least two", "give a yes-or-no network two outputs, e.g. rows of zeros for 'no'"
        )
    return tuple(names), width


def _natural(name: str) -> list[tuple[int, int | str]]:
    return [(0, int(p)) if re.fullmatch("[0-9]{1,18}", p) else (1, p) for p in re.split(r"([0-9]+)", name) if p]


def _head_activations(wanted: int, spec: Network, metadata: Mapping[str, str]) -> tuple[str, ...]:
    stated = spec.head.value if spec.head else metadata_list(metadata, "head")
    span = spec.head.span if spec.head else spec.source.span
    if stated is None:
        if wanted:
            raise SpecError(
                d.missing_key(spec.span, "head", "network", f"the activations between its {wanted + 1} linear layers, e.g. head = [relu]")
            )
        return ()
    if len(stated) == 1 and wanted > 1:
        stated = stated * wanted
    if len(stated) != wanted:
        raise SpecError(d.head_activations_length(span, len(stated), wanted))
    unknown = next((x for x in stated if x not in ACTIVATIONS), None)
    if unknown is not None:
        raise SpecError(d.wrong_word(span, "head", unknown, ACTIVATIONS))
    return tuple(stated)
