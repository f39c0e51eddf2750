"""Which network a checkpoint holds: read from the names and shapes of its tensors, completed by metadata and the spec."""

from __future__ import annotations

import json
from collections.abc import Mapping

from vlang.convert.described import architecture
from vlang.lower import head, listed
from vlang.lower.files import Checkpoint, TensorHeader
from vlang.lower.modules import OWN_CELL, Module, Refuse, Stack, embedding, natural, pointwise, stacks
from vlang.plan import Architecture, LayerPlan
from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError
from vlang.text.parser import parse_expression
from vlang.text.source import Span
from vlang.typed.layers import LayerType, Listed
from vlang.typed.tree import Network
from vlang.typed.types import ListType, Located
from vlang.words.cells import CELLS, of_family
from vlang.words.layers import EMBEDDING, LAYERS, READOUTS
from vlang.words.metadata import listed as listed_in

#: Modules that `layers` may list, those first that have the most tensors to be known by.
MODULES = tuple(sorted((word for word, layer in LAYERS.items() if layer.tensors), key=lambda word: -len(LAYERS[word].tensors)))


def read(checkpoint: Checkpoint, given: Network) -> Architecture:
    """The architecture, or SpecError. Every tensor must have a role: one that is not understood could change the function.

    What the file cannot say (an RNN's activation, what is read out of two directions, an order of layers that fits in two ways) the spec says, or the
    file's metadata; otherwise it is asked.
    """
    where, path = given.source.span, given.source.value

    def refuse(reason: str, cure: str | None = None) -> SpecError:
        return SpecError(d.not_recurrent(where, path, reason, cure))

    for name, tensor in checkpoint.tensors.items():
        if not tensor.floating and not any(name.endswith(idle) for layer in LAYERS.values() for idle in layer.idle):
            raise refuse(f"{name} holds {tensor.dtype}, not floating-point numbers", "save it as float32: tensor.float()")
    described = checkpoint.metadata.get("layers", "").lstrip().startswith("{")
    if described and given.layers is None:
        return _described(checkpoint, given, refuse)
    layers = given.layers or (None if described else _in_metadata(checkpoint.metadata, where, refuse))
    return _by_shape(checkpoint, given, refuse) if layers is None else _by_list(checkpoint, given, layers, refuse)


def _described(checkpoint: Checkpoint, spec: Network, refuse: Refuse) -> Architecture:
    """The graph of layers that `vlang.export` has put into a file's metadata."""
    keys = [(key, getattr(spec, key)) for key in ("cell", "activation", "readout", "head")]
    twice = [d.does_not_apply(x.span, key, "the checkpoint's metadata say its layers") for key, x in keys if x is not None]
    if twice:
        raise SpecError(*twice)
    try:
        said = json.loads(checkpoint.metadata["layers"])
        found = architecture(said, {name: x.shape for name, x in checkpoint.tensors.items()}, said["input_size"])
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as e:
        raise refuse(f"its metadata's 'layers' do not fit its tensors ({type(e).__name__}: {e})", "export it again") from None
    idle = sorted(set(checkpoint.tensors) - {found.embedding} - {name for x in found.layers for name in x.names})
    if idle:
        raise refuse(f"tensor '{idle[0]}' belongs to none of the layers in its metadata", "export it again")
    return found


def _in_metadata(metadata: Mapping[str, str], where: Span, refuse: Refuse) -> Located[tuple[Listed, ...]] | None:
    """The layers that a file's metadata list, as a spec would."""
    if "layers" not in metadata:
        return None
    try:
        return Located(ListType(LayerType(), "a list of layers").convert("layers", parse_expression(metadata["layers"]), {}), where)
    except SpecError as e:
        raise refuse(f"its metadata's 'layers' are {metadata['layers'][:80]!r}: {e.diagnostics[0].message}") from None


def _by_list(checkpoint: Checkpoint, spec: Network, layers: Located[tuple[Listed, ...]], refuse: Refuse) -> Architecture:
    """The network that `layers` list."""
    keys = [(key, getattr(spec, key)) for key in ("cell", "activation", "readout", "head")]
    twice = [d.does_not_apply(x.span, key, "'layers' says it") for key, x in keys if x is not None]
    if spec.layers is not None and "layers" in checkpoint.metadata:
        twice.append(d.does_not_apply(spec.layers.span, "layers", "the checkpoint's metadata say them"))
    if twice:
        raise SpecError(*twice)
    rest, order = dict(checkpoint.tensors), list(layers.value)
    embedded = bool(order) and order[0].word == EMBEDDING
    of_list = listed.slots(order[embedded:], layers.span)
    found = stacks(rest, refuse)
    initial = {x.prefix: _initial(rest, x, [y for y in found if y is not x], refuse) for x in found}
    table = embedding(rest, refuse) if embedded else None
    if embedded and table is None:
        raise SpecError(d.layers_do_not_fit(layers.span, "it has no embedding"))
    modules: list[Module] = [*found, *pointwise(rest, MODULES, checkpoint.format == "torch", refuse)]
    if rest:
        raise head.unknown_part(rest, found, refuse, _drafted(checkpoint, refuse))
    given = listed.assigned(of_list, modules, None if table is None else table[2], layers, spec.source.value, refuse)
    cells = {}
    for i, module in enumerate(given.modules):
        if isinstance(module, Stack):
            stated = Located(of_list[i].word, of_list[i].listed.span)
            cells[i] = _cell(module.families, spec, stated, checkpoint.metadata)
    plans = listed.planned(of_list, given, cells, initial)
    size = listed.input_size(of_list, given) if table is None else table[2]
    return Architecture(plans, size, *((table[0], table[1]) if table else ()))


def _by_shape(checkpoint: Checkpoint, spec: Network, refuse: Refuse) -> Architecture:
    """An embedding, a recurrent stack, a readout and a head of linear layers: what names and shapes say without a list."""
    rest, metadata = dict(checkpoint.tensors), checkpoint.metadata
    found = stacks(rest, refuse)
    if not found:
        bare = next((n for n in rest if n.endswith("weight_ih")), None)
        drafted = _drafted(checkpoint, refuse)
        cure = f"{OWN_CELL}; of a network without recurrent layers, list them and what stands between: {drafted}"
        raise refuse(
            "it has no tensor called ...weight_ih_l0",
            cure if bare is None else f"a cell's own tensors lack the layer: rename {bare} to {bare}_l0, and so on",
        )
    if len(found) > 1:
        example = ", ".join(f'{x.families[0]}("{x.name}")' for x in found)
        raise refuse(
            f"it has several recurrent parts ({', '.join(repr(x.prefix) for x in found)})",
            f"list all layers in their order: layers = [{example}, last, linear]",
        )
    (stack,) = found
    cell = _cell(stack.families, spec, spec.cell, metadata)
    initial = _initial(rest, stack, [], refuse)
    table = embedding(rest, refuse)
    if table is not None and table[2] != stack.inputs:
        raise refuse(f"{table[0]} gives {table[2]} numbers a token, the first layer reads {stack.inputs}")
    linears = pointwise(rest, ("linear",), checkpoint.format == "torch", refuse)
    if rest:
        raise head.unknown_part(rest, found, refuse, _drafted(checkpoint, refuse))
    readout = _readout(spec, metadata, stack.directions == 2, refuse)
    example = f"layers = [{'embedding, ' if table else ''}{cell}, {readout}"
    order = head.arrange(linears, stack.outputs, stack.inputs, spec, example, refuse)
    between = head.activations(len(order) - 1, spec, listed_in(metadata, "head"))
    plans = [listed.stacked(stack, cell, (-1,), initial), LayerPlan(readout, (0,), stack.outputs)]
    for i, module in enumerate(order):
        if i and between[i - 1] != "none":
            plans.append(LayerPlan(between[i - 1], (len(plans) - 1,), plans[-1].width))
        plans.append(LayerPlan("linear", (len(plans) - 1,), module.outputs, module.prefix, module.roles))
    return Architecture(tuple(plans), stack.inputs, *((table[0], table[1]) if table else ()))


def _drafted(checkpoint: Checkpoint, refuse: Refuse) -> str:
    """A list of all layers that a checkpoint's tensors make, as a beginning: in the file's order where that says something, else by their names."""
    rest = dict(checkpoint.tensors)
    places = {name: i for i, name in enumerate(rest)} if checkpoint.format == "torch" else {}
    found: list[Module] = [*stacks(rest, refuse), *pointwise(rest, MODULES, False, refuse)]
    order = sorted(found, key=lambda x: (places.get(x.prefix + x.roles[0], 0), natural(x.name)))
    words = [f'{word}("{x.name}")' if x.name else word for x in order for word in [x.families[0] if isinstance(x, Stack) else x.kind]]
    last = max((k for k, x in enumerate(order) if isinstance(x, Stack)), default=None)
    if last is not None:  # frames become one vector behind the last cell, unless the spec says otherwise
        words.insert(last + 1, "last")
    if order and order[0].kind == "conv2d":
        words.insert(0, f"reshape(channels = {order[0].inputs}, height = 28, width = 28)")
    return f"layers = [{', '.join(words)}]"


def _cell(found: tuple[str, ...], spec: Network, said_cell: Located[str] | None, metadata: Mapping[str, str]) -> str:
    """Of the families that have such weights the cell that the spec or the metadata say."""
    stated = said_cell.value if said_cell else None
    family = None if stated is None else CELLS[stated].family if stated in CELLS else stated
    if said_cell is not None and family not in found:
        raise SpecError(d.cell_mismatch(said_cell.span, said_cell.value, " or ".join(found)))
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
    if said_cell is not None and said not in (None, activation):
        raise SpecError(d.cell_mismatch(said_cell.span, said_cell.value, by_activation[activation]))
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


def _initial(rest: dict[str, TensorHeader], stack: Stack, others: list[Stack], refuse: Refuse) -> tuple[str, ...]:
    """The names of a stack's initial states, none for zeros; they are taken out. With other stacks beside it, they must have its prefix."""
    states = next(cell.states for cell in CELLS.values() if cell.family == stack.families[0])
    names = []
    for state in states:
        name = next((n for n in ((f"{stack.prefix}{state}", state) if not others else (f"{stack.prefix}{state}",)) if n in rest), None)
        if name is None:
            continue
        shape = rest.pop(name).shape
        wanted = (stack.layers * stack.directions, stack.projected if stack.projected and state == states[0] else stack.hidden)
        if shape not in (wanted, (wanted[0], 1, wanted[1])):
            raise refuse(f"initial state {name} has shape {list(shape)}, expected {list(wanted)}")
        names.append(name)
    if names and len(names) != len(states):
        lacks = next(x for x in states if not any(n.endswith(x) for n in names))
        zeros = f"torch.zeros({stack.layers * stack.directions}, {stack.hidden})"
        raise refuse(f"it has the initial state {names[0]} but no {lacks}", f"store {lacks} too: where it is zero, {zeros}")
    return tuple(names)
