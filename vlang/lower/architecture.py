"""Which network a checkpoint holds: read from the names and shapes of its tensors, completed by metadata and the spec."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from vlang.lower import head
from vlang.lower.files import Checkpoint, TensorHeader
from vlang.lower.head import Refuse
from vlang.lower.layers import Spelled, spelled
from vlang.plan import Architecture
from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError
from vlang.typed.tree import Network
from vlang.words.cells import CELLS, families, of_family
from vlang.words.layers import READOUTS
from vlang.words.metadata import listed

#: A cure of what no renaming helps.
ONE_PART = "one recurrent network to a checkpoint: layers stacked in one nn.LSTM, nn.GRU or nn.RNN share a prefix and end in _l0, _l1, ..."
OWN_CELL = "torch.nn.RNN, LSTM and GRU are read (rnn.weight_ih_l0, ...): copy the weights of a cell of your own into one of the same equations"

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


def read(checkpoint: Checkpoint, given: Network) -> Architecture:
    """The architecture, or SpecError. Every tensor must have a role: one that is not understood could change the function.

    What the file cannot say (an RNN's activation, what is read out of two directions, an order of layers that fits in two ways) the spec says, or the
    file's metadata; otherwise it is asked.
    """
    path, where, metadata = given.source.value, given.source.span, checkpoint.metadata
    said: Spelled = spelled(given)
    spec = said.network

    def refuse(reason: str, cure: str | None = None) -> SpecError:
        return SpecError(d.not_recurrent(where, path, reason, cure))

    rest = dict(checkpoint.tensors)
    recurrent = _recurrent(rest, refuse)
    cell = _cell(recurrent.families, spec, metadata)
    directions = 2 if recurrent.bidirectional else 1
    states = CELLS[cell].states
    initial = _initial(rest, recurrent, states, directions, refuse)
    embedding, tokens = _embedding(rest, recurrent.input_size, refuse)
    linears = head.take(rest, checkpoint.format == "torch", refuse)
    if rest:
        raise head.unknown_part(rest, (recurrent.layers * directions, recurrent.hidden), states, refuse)
    for name in (n for n, t in checkpoint.tensors.items() if not t.floating):
        raise refuse(f"{name} holds {checkpoint.tensors[name].dtype}, not floating-point numbers", "save it as float32: tensor.float()")
    readout = _readout(spec, metadata, recurrent.bidirectional, refuse)
    features = recurrent.hidden * directions
    if said.names is None:
        example = f"layers = [{'embedding, ' if embedding else ''}{cell}, {readout}"
        order = head.arrange(linears, features, recurrent.input_size, spec, example, refuse)
    else:
        order = head.chosen(linears, said.names, features, given, refuse)
    if said.embedding is not None and (embedding is not None) != said.embedding:
        assert given.layers is not None
        raise SpecError(d.layers_do_not_fit(given.layers.span, f"it has {'an' if embedding else 'no'} embedding"))
    classes = order[-1].outputs
    if classes < 2:
        cure = "give a yes-or-no network two outputs, e.g. rows of zeros for 'no'"
        raise refuse(f"its head gives {classes} output; a classifier has at least two", cure)
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
        head=tuple(x.name for x in order),
        head_activations=head.activations(len(order) - 1, spec, listed(metadata, "head")),
        embedding=embedding,
        tokens=tokens,
        initial=initial,
        readout_activation=said.readout_activation,
    )


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
        cure = OWN_CELL if bare is None else f"a cell's own tensors lack the layer: rename {bare} to {bare}_l0, and so on"
        raise refuse("it has no tensor called ...weight_ih_l0", cure)
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
            raise refuse(f"layer {layer} has some biases but not all", "torch.nn adds two biases a layer: store the one that is missing as zeros")
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
    activation = spec.activation.value if spec.activation else said or metadata.get("activation")
    if activation is None:
        choices = " or ".join(f"activation = {x}" for x in by_activation)
        raise SpecError(d.must_be_said(spec.span, "the file does not say which activation its nn.RNN has", choices))
    if activation not in by_activation:
        raise SpecError(d.not_recurrent(spec.source.span, spec.source.value, f"its metadata says activation = {activation!r}"))
    if spec.cell is not None and said not in (None, activation):
        raise SpecError(d.cell_mismatch(spec.cell.span, spec.cell.value, by_activation[activation]))
    return by_activation[activation]


def _readout(spec: Network, metadata: Mapping[str, str], bidirectional: bool, refuse: Refuse) -> str:
    if spec.readout is not None:
        return spec.readout.value
    if "readout" in metadata:
        if metadata["readout"] not in READOUTS:
            raise refuse(f"its metadata says readout = {metadata['readout']!r}, which is none of {', '.join(READOUTS)}")
        return metadata["readout"]
    if bidirectional:
        what = "the file does not say what is read out of its two directions"
        choices = "readout = last (each direction's own final state: torch's h_n), last_frame (torch's output[:, -1]), mean or max"
        raise SpecError(d.must_be_said(spec.span, what, choices))
    return READOUTS[0]


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
        lacks = next(x for x in states if not any(n.endswith(x) for n in names))
        zeros = f"torch.zeros({recurrent.layers * directions}, {recurrent.hidden})"
        raise refuse(f"it has the initial state {names[0]} but no {lacks}", f"store {lacks} too: where it is zero, {zeros}")
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
