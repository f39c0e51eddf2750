"""`layers = [...]`: the layers that are listed, and which of a checkpoint's modules each of them is.

A module that is not named is the one that fits: every way of giving modules to layers is tried in which each reads what the layer before it gives.
One way is taken; of several, the one in the order of the names where these are numbered, as nn.Sequential numbers them; else it is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from vlang.lower.modules import Module, Refuse, Stack
from vlang.picture import Picture, behind
from vlang.plan import LayerPlan, Setting
from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError
from vlang.text.source import Span
from vlang.typed.layers import Listed
from vlang.typed.types import Located
from vlang.words.cells import CELLS, STATED
from vlang.words.layers import EMBEDDING, JOINING, LAYERS

#: Words that a picture may stand before.
READ_PICTURES = frozenset({"flatten", "reshape", "concat"} | {word for word, layer in LAYERS.items() if layer.picture != "none"})
#: So many choices of a module are tried.
MOST_TRIED = 20_000


@dataclass(frozen=True)
class Slot:
    """A layer that is listed, and which slots it reads (-1: the input's frames)."""

    listed: Listed
    of: tuple[int, ...]
    word: str


@dataclass
class Given:
    """Modules given to the slots so far. inputs: numbers of a frame, 1 where all are flattened first.

    widths: of what each slot gives; several: whether it is some multiple of that, one for each frame; pictures: what its numbers are, if they are
    one.
    """

    inputs: int
    widths: list[int] = field(default_factory=list)
    several: list[bool] = field(default_factory=list)
    pictures: list[Picture | None] = field(default_factory=list)
    modules: list[Module | None] = field(default_factory=list)


def slots(listed: Sequence[Listed], span: Span) -> tuple[Slot, ...]:
    """The layers as a graph, branches spelled out; the last is the network's output. Raises SpecError."""
    found: list[Slot] = []

    def chain(layers: Sequence[Listed], at: int) -> int:
        for x in layers:
            if x.word == EMBEDDING:
                raise SpecError(d.layers_order(x.span, x.word, "a layer; an embedding stands in front of all others"))
            if x.branches:
                ends = [chain(branch, at) for branch in x.branches]
                found.append(Slot(x, tuple(ends) if x.word == "concat" else (at, *ends), "add" if x.word == "residual" else x.word))
            else:
                found.append(Slot(x, (at,), x.word))
            at = len(found) - 1
        return at

    end = chain(listed, -1)
    if end != len(found) - 1 or not found:
        raise SpecError(d.layers_order(span, None, "layers"))
    _ordered(found)
    return tuple(found)


def _ordered(found: Sequence[Slot]) -> None:
    """Refuse what stands where there are no frames any more, or where there still are. Raises SpecError."""
    vector: list[bool] = []
    windows: list[bool] = []
    pictures: list[bool] = []
    for slot in found:
        windows.append(any(k >= 0 and windows[k] for k in slot.of) or (slot.word in LAYERS and LAYERS[slot.word].gives == "windows"))
        if slot.word == "flatten" and windows[-1] and "order" not in slot.listed.said:
            what = "flatten behind a convolution or pooling can be read in two ways"
            choices = "flatten(order = channels), as torch flattens [batch, channels, frames], or flatten(order = frames)"
            raise SpecError(d.must_be_said(slot.listed.span, what, choices))
        read_out = [k >= 0 and vector[k] for k in slot.of]
        picture = any(k >= 0 and pictures[k] for k in slot.of)
        keeps = slot.word in LAYERS and LAYERS[slot.word].picture != "none"
        pictures.append(slot.word == "reshape" or (picture and (keeps or slot.word == "concat")))
        if any(k >= 0 and found[k].word == "softmax" for k in slot.of):
            raise SpecError(d.layers_order(slot.listed.span, slot.listed.word, "nothing behind a softmax, which only the outputs may have"))
        over_frames = slot.word in STATED or (slot.word in LAYERS and LAYERS[slot.word].gives != "frames")
        if over_frames and read_out[0] and not (slot.word == "reshape" or (slot.word == "flatten" and picture)):
            raise SpecError(d.layers_order(slot.listed.span, slot.word, "a layer of one vector: the frames have been read out already"))
        if any(read_out) != all(read_out):
            raise SpecError(d.layers_order(slot.listed.span, slot.listed.word, "branches that give frames, or branches that are all read out"))
        vector.append(read_out[0] or (slot.word in LAYERS and LAYERS[slot.word].gives == "vector"))


def assigned(
    found: tuple[Slot, ...], modules: Sequence[Module], inputs: int | None, layers: Located[tuple[Listed, ...]], path: str, refuse: Refuse
) -> Given:
    """Which module every slot has. inputs: numbers of a frame, where an embedding says it. Raises SpecError."""
    _counted(found, modules, layers)
    tries = _Tries(found, tuple(modules))
    sizes = [inputs] if inputs is not None else _input_sizes(found, modules)
    solutions = list(islice((given for n in sizes for given in tries.all(n)), 2))
    if not solutions or tries.given_up:  # what was not tried may be a second reading
        raise SpecError(d.layers_do_not_fit(layers.span, tries.furthest()))
    if len(solutions) > 1 and not _numbered(found, solutions[0]):
        one, other = (_named(found, x) for x in solutions)
        raise SpecError(d.two_readings(layers.span, path, f"its layers may be {one} or {other}", f"layers = [{one}"))
    return solutions[0]


def _input_sizes(found: tuple[Slot, ...], modules: Sequence[Module]) -> list[int]:
    """Numbers that a frame may have; 1, where all frames are flattened before any of them is read and their number is all that matters."""
    first, said = _first_reading(found)
    return sorted({_reads(slot, x)[0] for slot in first for x in modules if x.kind == _kind(slot)} if first else said) or [1]


def _first_reading(found: tuple[Slot, ...]) -> tuple[list[Slot], set[int]]:
    """The slots with modules that read the input's frames as they are, but for what keeps their numbers; how many numbers a frame is said to have."""
    as_they_are, first, said = {-1}, [], set()
    for i, slot in enumerate(found):
        if not as_they_are.isdisjoint(slot.of):
            if _kind(slot) is not None:
                first.append(slot)
            elif slot.word not in ("flatten", "reshape"):
                as_they_are.add(i)
            said |= _channels(slot)
    return first, said


def _channels(slot: Slot) -> set[int]:
    """Of how many channels each something is said of a slot."""
    settings = LAYERS[slot.word].settings if slot.word in LAYERS else {}
    return {len(x) for key, x in slot.listed.settings if isinstance(x, tuple) and settings[key].kind == "numbers"}


def _counted(found: Sequence[Slot], modules: Sequence[Module], layers: Located[tuple[Listed, ...]]) -> None:
    """Refuse where as many layers are not listed as there are. Raises SpecError."""
    for kind in dict.fromkeys([*(_kind(x) for x in found), *(x.kind for x in modules)]):
        there = [x for x in modules if x.kind == kind]
        listed = [x for x in found if _kind(x) == kind]
        if kind is None:
            continue
        if len(there) != len(listed):
            what = f"it has {_many(len(there), kind)}{' (' + ', '.join(repr(x.name) for x in there) + ')' if there else ''}, {len(listed)} listed"
            raise SpecError(d.layers_do_not_fit(layers.span, what))
        for x in listed:
            if x.listed.name is not None and not any(_is_called(m, x.listed.name) for m in there):
                raise SpecError(d.unknown_name(x.listed.span, x.listed.name, f"{kind} layer of the checkpoint", [m.name for m in there]))
        if kind == "recurrent" and len(listed) == 1:
            (one,), (stack,) = listed, there
            assert isinstance(stack, Stack)
            if not _cell_fits(one.word, stack):
                raise SpecError(d.cell_mismatch(one.listed.span, one.word, " or ".join(stack.families)))


def _many(count: int, kind: str) -> str:
    return f"no {kind} layer" if count == 0 else f"{count} {kind} layer" + ("s" if count > 1 else "")


def _kind(slot: Slot) -> str | None:
    """The kind of module that a slot needs."""
    if slot.word in STATED:
        return "recurrent"
    return slot.word if LAYERS[slot.word].tensors else None


def _is_called(module: Module, name: str) -> bool:
    return name in (module.name, module.prefix)


def _cell_fits(word: str, stack: Stack) -> bool:
    return (CELLS[word].family if word in CELLS else word) in stack.families


class _Tries:
    """Every way of giving modules to slots."""

    def __init__(self, found: tuple[Slot, ...], modules: tuple[Module, ...]) -> None:
        self.slots, self.modules = found, modules
        self._left = MOST_TRIED
        self.given_up = False
        self._deepest, self._why = -1, "no layer fits"

    def all(self, inputs: int) -> Iterator[Given]:
        yield from self._from(0, Given(inputs), frozenset())

    def furthest(self) -> str:
        """Why no way leads farther than the one that leads farthest."""
        return self._why

    def _from(self, i: int, given: Given, used: frozenset[str]) -> Iterator[Given]:
        if i == len(self.slots):
            if not given.several[-1]:
                yield given
            self._stuck(i, "how many numbers it flattens is only known where a layer reads them")
            return
        slot = self.slots[i]
        widths = [given.inputs if k < 0 else given.widths[k] for k in slot.of]
        several = any(k >= 0 and given.several[k] for k in slot.of)
        pictures = tuple(None if k < 0 else given.pictures[k] for k in slot.of)
        kind = _kind(slot)
        if pictures[0] is not None and slot.word not in READ_PICTURES:
            self._stuck(i, f"{slot.word} is given a picture of {pictures[0]}: write flatten between")
            return
        if kind is None:
            try:
                picture = behind(slot.word, dict(slot.listed.settings), pictures)
                width = None if several and slot.word in JOINING else _plain(slot, widths, pictures[0], picture)
            except ValueError as e:
                self._stuck(i, str(e))
                return
            if width is None:
                self._stuck(i, f"{slot.listed.word} joins {' and '.join(map(str, widths))} numbers")
                return
            multiple = several if slot.word != "flatten" else pictures[0] is None
            yield from self._from(i + 1, _with(given, width, multiple and slot.word != "reshape", None, picture), used)
            return
        for module in self.modules:
            if module.kind != kind or module.prefix in used or (slot.listed.name is not None and not _is_called(module, slot.listed.name)):
                continue
            self._left -= 1
            if self._left < 0:
                self.given_up = True
                self._stuck(len(self.slots) + 1, 'too many ways to give modules to layers: name them, e.g. linear("fc")')
                return
            try:
                picture = behind(slot.word, dict(slot.listed.settings), pictures, module.shape)
            except ValueError as e:
                self._stuck(i, str(e))
                continue
            reads, gives = _reads(slot, module, pictures[0], picture)
            if isinstance(module, Stack) and not _cell_fits(slot.word, module):
                self._stuck(i, f"{slot.word} is listed where {module.name!r} is {' or '.join(module.families)}")
            elif (reads % widths[0] if several else reads != widths[0]) or gives < 1:
                self._stuck(i, f"{slot.word}, layer {i}, is given {widths[0]} numbers{' a frame' if several else ''}; {module.name!r} reads {reads}")
            else:
                yield from self._from(i + 1, _with(given, gives, False, module, picture), used | {module.prefix})

    def _stuck(self, i: int, why: str) -> None:
        if i > self._deepest:
            self._deepest, self._why = i, why


def _with(given: Given, width: int, several: bool, module: Module | None, picture: Picture | None) -> Given:
    return Given(given.inputs, [*given.widths, width], [*given.several, several], [*given.pictures, picture], [*given.modules, module])


def _plain(slot: Slot, widths: Sequence[int], before: Picture | None, picture: Picture | None) -> int | None:
    """The width of what a slot without tensors gives; None where its branches do not fit together. Raises ValueError."""
    match slot.word:
        case "reshape":
            if picture is not None and picture.size % widths[0]:
                raise ValueError(f"a picture of {picture} cannot be made of frames of {widths[0]} numbers")
            return None if picture is None else picture.size
        case "concat":
            return sum(widths)
        case "add":
            return widths[0] if len(set(widths)) == 1 else None
        case "attention":
            return widths[0] if widths[1] == 1 else None
    if picture is not None and before is not None:
        return picture.size if _channels(slot) <= {picture.channels} else None
    return widths[0] if _channels(slot) <= {widths[0]} else None


def _reads(slot: Slot, module: Module, before: Picture | None = None, picture: Picture | None = None) -> tuple[int, int]:
    """Numbers of a frame that a module reads in this place, and that it gives."""
    if before is not None and picture is not None:
        return (before.size if slot.word == "conv2d" or module.inputs == before.channels else 0), picture.size
    groups = dict(slot.listed.settings).get("groups", 1)
    return module.inputs * groups, module.outputs if module.outputs % groups == 0 else 0


def _numbered(found: Sequence[Slot], given: Given) -> bool:
    """Whether the modules that are not named are called alike but for a number, in the order of the layers and of the file where it says one."""
    for kind in {_kind(x) for x in found} - {None}:
        own = [m for x, m in zip(found, given.modules, strict=True) if m is not None and _kind(x) == kind and x.listed.name is None]
        stored = [m.stored for m in own if m.stored is not None]
        if len({re.sub("[0-9]+", "#", m.name) for m in own}) > 1 or stored != sorted(stored):
            return False
    return True


def _named(found: Sequence[Slot], given: Given) -> str:
    """The layers with the names of their modules, branches left out."""
    return ", ".join(
        x.word if m is None else f'{x.word}("{m.name}")' for x, m in zip(found, given.modules, strict=True) if x.word not in ("add", "concat")
    )


def input_size(found: tuple[Slot, ...], given: Given) -> int:
    """Numbers of a frame; 0 where only their number in all frames matters."""
    return given.inputs if any(_first_reading(found)) else 0


def planned(found: tuple[Slot, ...], given: Given, cells: Mapping[int, str], initial: Mapping[str, tuple[str, ...]]) -> tuple[LayerPlan, ...]:
    """The layers as the runtime builds them. cells: by slot; initial: names of initial states, by a stack's prefix."""
    plans: list[LayerPlan] = []
    for i, (slot, module, width) in enumerate(zip(found, given.modules, _whole(found, given), strict=True)):
        settings: tuple[tuple[str, Setting], ...] = slot.listed.settings
        if isinstance(module, Stack):
            plans.append(stacked(module, cells[i], slot.of, initial.get(module.prefix, ())))
        elif module is not None:
            plans.append(LayerPlan(slot.word, slot.of, width, module.prefix, module.roles, settings, module.window))
        else:
            plans.append(LayerPlan(slot.word, slot.of, width, settings=settings, window=window_of(slot.word, dict(settings))))
    return tuple(plans)


def window_of(word: str, settings: Mapping[str, Setting]) -> int:
    """Frames that pooling sees at once."""
    size = settings.get("size", 1) if LAYERS[word].gives == "windows" else 1
    assert isinstance(size, int)
    return size


def _whole(found: tuple[Slot, ...], given: Given) -> list[int]:
    """The widths, those of flattened frames as the layer says that reads them."""
    widths = list(given.widths)
    for i in reversed(range(len(found))):
        module = given.modules[i]
        for k in found[i].of:
            if k >= 0 and given.several[k]:
                widths[k] = widths[i] if module is None else _reads(found[i], module)[0]
    return widths


def stacked(stack: Stack, cell: str, of: tuple[int, ...], initial: tuple[str, ...]) -> LayerPlan:
    """The plan of a recurrent stack."""
    said: tuple[tuple[str, Setting], ...] = (("layers", stack.layers), ("directions", stack.directions), ("initial", initial))
    return LayerPlan(cell, of, stack.outputs, stack.prefix, stack.roles, said, units=stack.hidden if stack.projected else 0)
