"""What stands above the recurrent layers: which linear layers, in which order, with what between them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from vlang.lower.files import TensorHeader
from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError
from vlang.typed.tree import Network
from vlang.words.layers import ACTIVATIONS

#: An error of a reason, and of a cure where that is not to name tensors as torch.nn does.
Refuse = Callable[..., SpecError]
HEAD = "the head is linear layers on the recurrent part's last states, both directions together"
#: Orders of more layers than these are not tried.
MOST_TRIED = 12


@dataclass(frozen=True)
class Linear:
    """name: without '.weight'. stored: where in the file, if its order says something."""

    name: str
    outputs: int
    inputs: int
    stored: int | None


def take(rest: dict[str, TensorHeader], ordered: bool, refuse: Refuse) -> list[Linear]:
    """The linear layers among some tensors, which are taken out. ordered: whether the file keeps the order in which they were made."""
    places = {name: i for i, name in enumerate(rest)}
    found = []
    for weight in [n for n in rest if n.endswith(".weight") and len(rest[n].shape) == 2]:
        name, (rows, columns) = weight.removesuffix(".weight"), rest.pop(weight).shape
        bias = rest.pop(f"{name}.bias", None)
        if bias is not None and bias.shape != (rows,):
            raise refuse(f"{name}.bias has shape {list(bias.shape)}, expected [{rows}]")
        found.append(Linear(name, rows, columns, places[weight] if ordered else None))
    return sorted(found, key=lambda x: natural(x.name))


def natural(name: str) -> list[tuple[int, int | str]]:
    """A key by which fc2 stands before fc10."""
    return [(0, int(p)) if re.fullmatch("[0-9]{1,18}", p) else (1, p) for p in re.split(r"([0-9]+)", name) if p]


def arrange(linears: Sequence[Linear], features: int, inputs: int, spec: Network, example: str, refuse: Refuse) -> tuple[Linear, ...]:
    """The layers in the order in which they are applied, where shapes, names and the file's order leave one. Raises SpecError.

    features: what the first reads; inputs: what the recurrent part reads. example: how the layers up to the head are written.
    """
    if not linears:
        raise refuse("it has no linear head on the recurrent part", HEAD)
    if len(linears) > MOST_TRIED:
        possible = [tuple(linears)] if _fits(linears, features) else []
    else:
        possible = [x for _, x in zip(range(2), _orders(tuple(linears), features), strict=False)]
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


def chosen(linears: Sequence[Linear], names: Sequence[str | None], features: int, spec: Network, refuse: Refuse) -> tuple[Linear, ...]:
    """The layers that `layers` names, or puts in the order of their names where it does not. Raises SpecError."""
    assert spec.layers is not None
    by_name = {x.name: x for x in linears}
    unknown = next((n for n in names if n is not None and n not in by_name), None)
    if unknown is not None:
        raise SpecError(d.unknown_name(spec.layers.span, unknown, "linear layer of the checkpoint", sorted(by_name)))
    if len(names) != len(linears):
        raise SpecError(d.layers_do_not_fit(spec.layers.span, f"it has {len(linears)} linear layers ({_named(linears)}), {len(names)} are listed"))
    if len({n for n in names if n is not None}) < sum(n is not None for n in names):
        raise SpecError(d.layers_do_not_fit(spec.layers.span, "a linear layer is listed twice"))
    free = iter([x for x in linears if x.name not in names])
    order = tuple(next(free) if n is None else by_name[n] for n in names)
    if any(n is None for n in names) and len(linears) > 1 and len([x for _, x in zip(range(2), _orders(tuple(linears), features), strict=False)]) > 1:
        raise SpecError(d.layers_do_not_fit(spec.layers.span, f"which linear layer comes first is not said: {_write('', order)[2:]}"))
    if not _fits(order, features):
        raise _misfit(order, features, refuse)
    return order


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


def _orders(linears: tuple[Linear, ...], width: int) -> Iterator[tuple[Linear, ...]]:
    """The orders in which each layer reads what the one before gives; those that differ in names only, too."""
    if not linears:
        yield ()
    for i, x in enumerate(linears):
        if x.inputs == width:
            for after in _orders(linears[:i] + linears[i + 1 :], x.outputs):
                yield (x, *after)


def _fits(order: Sequence[Linear], features: int) -> bool:
    return all(x.inputs == width for x, width in zip(order, (features, *(x.outputs for x in order)), strict=False))


def _misfit(order: Sequence[Linear], features: int, refuse: Refuse) -> SpecError:
    width = features
    for x in order:
        if x.inputs != width:
            break
        width = x.outputs
    return refuse(f"{x.name}.weight reads {x.inputs} numbers, but the layer before it gives {width}, and no other order of its layers fits", HEAD)


def _might_be_below(linears: Sequence[Linear], features: int, inputs: int, spec: Network, example: str) -> None:
    """Refuse where a layer might as well stand before the recurrent part, the others being the head."""
    if len(linears) < 2 or len(linears) > MOST_TRIED:
        return
    for x in linears:
        rest = tuple(y for y in linears if y is not x)
        together = _module(x) is not None and any(_module(x) == _module(y) for y in rest)
        if x.outputs == inputs and not together and next(_orders(rest, features), None) is not None:
            what = f"{x.name} may stand before the recurrent part (it gives the {inputs} numbers that are read there) or in the head"
            order = next(_orders(tuple(linears), features))
            raise SpecError(d.two_readings(spec.source.span, spec.source.value, what, _write(example, order)))


def _module(x: Linear) -> str | None:
    """The Sequential that a layer is part of: what is in one is applied in one go."""
    module, _, last = x.name.rpartition(".")
    return module if last.isdigit() else None


def _named(linears: Sequence[Linear]) -> str:
    return ", ".join(x.name for x in linears)


def _either(possible: Sequence[Sequence[Linear]]) -> str:
    return f"its linear layers may be applied in the order {_named(possible[0])} or {_named(possible[1])}"


def _write(example: str, order: Sequence[Linear]) -> str:
    return ", relu, ".join([f'{example}, linear("{x.name}")' if i == 0 else f'linear("{x.name}")' for i, x in enumerate(order)])


#: What parts other than these are known by: a pattern of a tensor's name, and what it is and what to do.
PARTS: Mapping[str, tuple[str, str]] = {
    r".*(running_mean|running_var|num_batches_tracked)": (
        "is part of a batch normalisation",
        "fold it into the linear layer beside it (torch.nn.utils.fusion.fuse_linear_bn_eval); leaving its tensors out changes the network",
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
        "normalise the data before it is saved (an l_inf eps is then in units of std), and save the network without it",
    ),
    r".*(in_proj_weight|in_proj_bias|attn|attention).*": ("is part of an attention", "attention is not supported yet"),
}


def unknown_part(rest: Mapping[str, TensorHeader], states: tuple[int, int], names: Sequence[str], refuse: Refuse) -> SpecError:
    """Why some tensors have no role, and what to do. states: the shape of an initial state; names: of those that the cell has."""
    more = f" (and {len(rest) - 1} more)" if len(rest) > 1 else ""
    for pattern, (what, cure) in PARTS.items():
        name = next((n for n in sorted(rest) if re.fullmatch(pattern, n)), None)
        if name is not None:
            return refuse(f"tensor '{name}' {what}{more}", cure)
    name = sorted(rest)[0]
    shape = rest[name].shape
    if shape in (states, (states[0], 1, states[1])):
        return refuse(f"tensor '{name}' has the shape of an initial state{more}", f"if it is one, call it {' or '.join(names)}")
    if len(shape) == 1 and name.endswith((".weight", ".bias")) and f"{name.rpartition('.')[0]}.weight" in rest:
        module = name.rpartition(".")[0]
        return refuse(
            f"'{module}' looks like a layer normalisation{more}", "layer normalisation is not supported yet; leaving it out changes the network"
        )
    if len(shape) > 2:
        return refuse(f"tensor '{name}' of shape {list(shape)} looks like a convolution's{more}", "convolutions are not supported yet")
    cure = (
        "only an embedding, recurrent layers and a head of linear layers are supported yet; leave out what inference does not use, and nothing else"
    )
    return refuse(f"the role of tensor '{name}' is not understood{more}", cure)
