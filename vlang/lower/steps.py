"""Networks with an output a frame, and which of these a query is about: the outputs asked about are put side by side."""

from __future__ import annotations

from dataclasses import replace

from vlang.lower.once import Once, refuse
from vlang.lower.sets import frame_rows
from vlang.plan import Architecture, LayerPlan, StepsPlan
from vlang.text import diagnostics as d
from vlang.text.source import Span
from vlang.typed.types import Frames, Located


def stepwise(
    once: Once, steps: Located[Frames] | None, architecture: Architecture, frames: int, network: str
) -> tuple[Architecture, StepsPlan | None]:
    """The network as a query reads it, and the steps it asks about; none, where it gives one output. Raises SpecError.

    architecture: as of `opened`.
    """
    count = architecture.frames(frames)[-1]
    if count == 1 and steps is not None and steps.value.kind != "last":
        why = f"network '{network}' gives one output: `layers` without a readout would give one a frame"
        once(refuse, True, d.does_not_apply, steps.span, "steps", why)
    if count == 1 or steps is None:
        return architecture, None
    if architecture.layers[-1].word == "softmax":  # of every step: it keeps the order of a step's outputs
        architecture = replace(architecture, layers=architecture.layers[:-1])
    asked = ((count - 1,),) if steps.value.kind == "last" else once(frame_rows, steps, count).rows
    whole = LayerPlan("flatten", (len(architecture.layers) - 1,), count * architecture.classes, settings=(("order", "frames"),))
    plan = StepsPlan(tuple(asked), architecture.classes, steps.value.kind == "each")
    return replace(architecture, layers=(*architecture.layers, whole)), plan


def check_single(where: Span, architecture: Architecture, frames: int) -> None:
    """Refuse a network with an output a frame where no steps are asked about. Raises SpecError."""
    count = architecture.frames(frames)[-1]
    cure = "to be told which are meant: steps = last, all, each or [i:j]; or a readout in `layers` (last, last_frame, mean, max, flatten)"
    if count > 1:
        raise d.SpecError(d.frames_do_not_fit(where, frames, f"it gives {count} outputs, one a frame", cure))


def opened(architecture: Architecture) -> Architecture:
    """The network with the outputs of all frames, where nothing but the last frame's is read out of one direction."""
    at = [k for k, x in enumerate(architecture.layers) if x.word == "last"]
    if len(at) != 1 or architecture.bidirectional or any(x.word in ("mean", "max", "flatten", "reshape", "attention") for x in architecture.layers):
        return architecture
    (k,) = at
    (below,) = architecture.layers[k].of

    def moved(i: int) -> int:
        return below if i == k else i - (i > k)

    layers = (replace(x, of=tuple(map(moved, x.of))) for i, x in enumerate(architecture.layers) if i != k)
    return replace(architecture, layers=tuple(layers))
