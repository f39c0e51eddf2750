"""What stands above the recurrent layers: which linear layers, in which order, with what between them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from vlang.lower.files import TensorHeader
from vlang.lower.modules import Module, Refuse, Stack, each_order
from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError
from vlang.typed.tree import Network
from vlang.words.cells import CELLS
from vlang.words.layers import ACTIVATIONS

HEAD = "the head is linear layers on the recurrent part's last states, both directions together"
#: How layers are listed.
LIST = "layers = [conv1d, batchnorm, relu, lstm, last, linear]"
#: Orders of more layers than these are not tried.
MOST_TRIED = 12


def arrange(linears: Sequence[Module], features: int, inputs: int, spec: Network, example: str, refuse: Refuse) -> tuple[Module, ...]:
    """The layers in the order in which they are applied, where shapes, names and the file's order leave one. Raises SpecError.

    features: what the first reads; inputs: what the recurrent part reads. example: how the layers up to the head are written.
    """
    if not linears:
        raise refuse("it has no linear head on the recurrent part", HEAD)
    if len(linears) > MOST_TRIED:
        possible = [tuple(linears)] if _fits(linears, features) else []
    else:
        possible = [x for _, x in zip(range(2), each_order(tuple(linears), features), strict=False)]
    if not possible:
        raise _misfit(linears, features, refuse)
    _might_be_below(linears, features, inputs, spec, example)
    if len(possible) == 1:
        return possible[0]
    numbered = len({re.sub("[0-9]+", "#", x.name) for x in linears}) == 1
    places = [x.stored for x in linears if x.stored is not None]
    by_file = sorted(linears, key=lambda x: x.stored or 0)
    if not numbered:
        likely = by_file if places and _fits(by_file, features) else possible[0]
        raise SpecError(d.two_readings(spec.source.span, spec.source.value, _either(possible), _write(example, likely)))
    if places != sorted(places):
        what = f"its linear layers are numbered {_named(linears)}, but stored {_named(by_file)}"
        raise SpecError(d.two_readings(spec.source.span, spec.source.value, what, _write(example, by_file)))
    if not _fits(linears, features):
        raise SpecError(d.two_readings(spec.source.span, spec.source.value, _either(possible), _write(example, possible[0])))
    return tuple(linears)


def activations(wanted: int, spec: Network, metadata: tuple[str, ...] | None) -> tuple[str, ...]:
    """Between so many linear layers and one more. Raises SpecError."""
    stated = spec.head.value if spec.head else metadata
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


def _fits(order: Sequence[Module], features: int) -> bool:
    return all(x.inputs == width for x, width in zip(order, (features, *(x.outputs for x in order)), strict=False))


def _misfit(order: Sequence[Module], features: int, refuse: Refuse) -> SpecError:
    width = features
    for x in order:
        if x.inputs != width:
            break
        width = x.outputs
    return refuse(f"{x.name}.weight reads {x.inputs} numbers, but the layer before it gives {width}, and no other order of its layers fits", HEAD)


def _might_be_below(linears: Sequence[Module], features: int, inputs: int, spec: Network, example: str) -> None:
    """Refuse where a layer might as well stand before the recurrent part, the others being the head."""
    if len(linears) < 2 or len(linears) > MOST_TRIED:
        return
    for x in linears:
        rest = tuple(y for y in linears if y is not x)
        together = _sequential(x) is not None and any(_sequential(x) == _sequential(y) for y in rest)
        if x.outputs == inputs and not together and next(each_order(rest, features), None) is not None:
            what = f"{x.name} may stand before the recurrent part (it gives the {inputs} numbers that are read there) or in the head"
            order = next(each_order(tuple(linears), features))
            raise SpecError(d.two_readings(spec.source.span, spec.source.value, what, _write(example, order)))


def _sequential(x: Module) -> str | None:
    """The Sequential that a layer is part of: what is in one is applied in one go."""
    module, _, last = x.name.rpartition(".")
    return module if last.isdigit() else None


def _named(linears: Sequence[Module]) -> str:
    return ", ".join(x.name for x in linears)


def _either(possible: Sequence[Sequence[Module]]) -> str:
    return f"its linear layers may be applied in the order {_named(possible[0])} or {_named(possible[1])}"


def _write(example: str, order: Sequence[Module]) -> str:
    return ", relu, ".join([f'{example}, linear("{x.name}")' if i == 0 else f'linear("{x.name}")' for i, x in enumerate(order)])


#: What parts other than these are known by: a pattern of a tensor's name, and what it is and what to do.
PARTS: Mapping[str, tuple[str, str]] = {
    r".*(running_mean|running_var|num_batches_tracked)": (
        "is part of a batch normalisation",
        f"list all layers in their order: {LIST}",
    ),
    r".*weight_(ih|hh)_l[0-9]+(_reverse)?_raw": (
        "holds the weights themselves (weight dropout): the tensor without '_raw' is what dropout has left of them",
        "save each '..._raw' under the name without '_raw', in place of what is there",
    ),
    r".*(weight_(ih|hh)_l[0-9]+(_reverse)?|weight|bias)_(g|v)": (
        "is part of a weight normalisation",
        "call torch.nn.utils.remove_weight_norm before saving",
    ),
    r".*parametrizations\..*": (
        "is part of a parametrization (weight or spectral normalisation)",
        "call torch.nn.utils.parametrize.remove_parametrizations before saving",
    ),
    r".*_(orig|u|v|mask)": (
        "is part of a spectral normalisation, or of pruning",
        "call torch.nn.utils.remove_spectral_norm (or torch.nn.utils.prune.remove) before saving",
    ),
    r"(.*[._])?(mean|std|mu|sigma|scale|shift)": (
        "looks like a normalisation of the inputs",
        "say what it is, and save the network without it: layers = [normalize(mean = 0.5, std = 0.25), lstm, last, linear]",
    ),
    r".*(in_proj_weight|in_proj_bias|attn|attention).*": ("is part of an attention", "attention is not supported yet"),
}


def unknown_part(rest: Mapping[str, TensorHeader], stacks: Sequence[Stack], refuse: Refuse, example: str) -> SpecError:
    """Why some tensors have no role, and what to do. stacks: a tensor may be one's initial state. example: a list of the layers there are."""
    more = f" (and {len(rest) - 1} more)" if len(rest) > 1 else ""
    for pattern, (what, cure) in PARTS.items():
        name = next((n for n in sorted(rest) if re.fullmatch(pattern, n)), None)
        if name is not None:
            return refuse(f"tensor '{name}' {what}{more}", cure.replace(LIST, example))
    name = sorted(rest)[0]
    shape = rest[name].shape
    for x in stacks:
        states = (x.layers * x.directions, x.hidden)
        if shape in (states, (states[0], 1, states[1])):
            names = next(cell.states for cell in CELLS.values() if cell.family == x.families[0])
            return refuse(f"tensor '{name}' has the shape of an initial state{more}", f"if it is one, call it {' or '.join(names)}")
    module = name.rpartition(".")[0]
    if len(shape) == 1 and f"{module}.weight" in rest and len(rest[f"{module}.weight"].shape) == 1:
        return refuse(f"'{module}' looks like a layer normalisation{more}", f"list all layers in their order: {example}")
    if any(len(x.shape) == 3 for n, x in rest.items() if n.startswith(module)):
        return refuse(f"'{module}' looks like a convolution over the frames{more}", f"list all layers in their order: {example}")
    if len(shape) > 2:
        return refuse(f"tensor '{name}' of shape {list(shape)} looks like a convolution's{more}", f"list all layers in their order: {example}")
    cure = f"list all layers in their order: {example}; leave out what inference does not use, and nothing else"
    return refuse(f"the role of tensor '{name}' is not understood{more}", cure)
