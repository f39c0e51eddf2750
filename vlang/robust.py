"""Training for what is certified: losses made of the bounds that `vrun` proves, of a live torch module.

    from vlang import robust
    reading = robust.read(model, x[:8])
    loss = robust.certified_loss(model, x, y, eps=0.02, norm="inf", clip=(0, 1), method="mixed", reading=reading)

A module is read as a checkpoint of its state dict would be (one or more nn.RNN, nn.LSTM or nn.GRU, and layers about them; `say` for what a state dict
cannot say, as a spec writes it), and compared with its own outputs before any bound is believed. docs/robust-training.md.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vlang.lower.spec import compile_spec
from vlang.plan import Architecture
from vlang.runtime.attacks.base import project, steepest
from vlang.runtime.graph.concrete import logits
from vlang.runtime.graph.nodes import Graph
from vlang.runtime.network.assemble import assemble
from vlang.runtime.robust import spectra
from vlang.runtime.robust.margins import against, certified
from vlang.runtime.sets.ball import Ball
from vlang.text.source import Source

Method = Literal["interval", "mixed", "planes"]
#: How far what was read may be from the module's own outputs, of their spread.
APART = 1e-4
#: Of the attack in a loss: steps, and how far one goes, as a share of the radius.
STEPS, STRIDE = 8, 0.25


class ReadingError(ValueError):
    """A module cannot be read as it computes."""


@dataclass(frozen=True)
class Reading:
    """How a module is read: its layers, for sequences of so many frames."""

    architecture: Architecture
    frames: int

    def graph(self, module: nn.Module, like: Tensor) -> Graph:
        """The module as it is now, through whose bounds gradients flow to its parameters."""
        held = dict(module.named_parameters()) | dict(module.named_buffers())
        return assemble(held, self.architecture, like.dtype, like.device).unroll(self.frames)


def read(module: nn.Module, example: Tensor, say: str = "") -> Reading:
    """How a module is read that classifies sequences. example: some of its inputs, [S, m, n]. say: as a spec of a checkpoint says it.

    Raises ReadingError; SpecError where more must be said.
    """
    cells = {f"rnn_{x.nonlinearity}" for x in module.modules() if isinstance(x, nn.RNN)}
    if len(cells) == 1 and "cell" not in say and "layers" not in say:
        say = ", ".join(x for x in (say, f"cell = {cells.pop()}") if x)
    with tempfile.TemporaryDirectory() as folder:
        save_file({k: v.detach().cpu().clone().contiguous() for k, v in module.state_dict().items()}, Path(folder, "module.safetensors"))
        zeros = ", ".join(["[" + ", ".join(["0"] * example.shape[2]) + "]"] * example.shape[1])
        text = f"""rspec 1
network module {{ checkpoint = "module.safetensors"{", " + say if say else ""} }}
input zeros {{ values = [{zeros}], label = 0 }}
radius asked {{ network = module, input = zeros, perturbation = {{ frames = all, norm = 2 }} }}
"""
        plan = compile_spec(Source(str(Path(folder, "module.rspec")), text))
    found = Reading(plan.queries[0].variants[0].network.architecture, example.shape[1])
    was_training = module.training
    module.eval()
    with torch.no_grad():
        said = module(example)
        mine = assemble(module.state_dict(), found.architecture, torch.float64, example.device)
        ours = logits(mine.unroll(found.frames), example.double())
    module.train(was_training)
    if said.shape != ours.shape:
        raise ReadingError(f"the module gives {list(said.shape)}, what was read of it {list(ours.shape)}")
    spread = float(said.max() - said.min()) or 1.0
    apart = float((ours - said.double()).abs().max())
    if not apart <= APART * spread:
        raise ReadingError(f"what was read of the module gives outputs {apart:.3g} from its own, which spread over {spread:.3g}: say how it is read")
    return found


def ball_of(
    x: Tensor, eps: float | Tensor, norm: float | str = 2, frames: Sequence[int] | None = None, clip: tuple[float, float] | None = None
) -> Ball:
    """Every frame's ball: eps for the frames that move (None: all). eps: a number, or one a sample [B]. shape: x [B, m, n]."""
    moves = torch.zeros(x.shape[1], dtype=x.dtype, device=x.device)
    moves[list(range(x.shape[1])) if frames is None else list(frames)] = 1
    radii = torch.as_tensor(eps, dtype=x.dtype, device=x.device).expand(len(x))[:, None] * moves
    p = None if norm in ("inf", float("inf")) else Fraction(str(norm))
    room = None if clip is None else ((x - clip[0]).clamp(min=0), (clip[1] - x).clamp(min=0))
    return Ball(radii, p, clip=room)


def margins(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    eps: float | Tensor,
    norm: float | str = 2,
    frames: Sequence[int] | None = None,
    clip: tuple[float, float] | None = None,
    method: Method = "mixed",
    reading: Reading | None = None,
) -> Tensor:
    """Lower bounds of y_label - y_j over the balls, for every other class j. shape: x [B, m, n], y [B] -> [B, classes - 1]."""
    found = read(module, x[:2]) if reading is None else reading
    return certified(found.graph(module, x), x, against(y, found.architecture.classes, x), ball_of(x, eps, norm, frames, clip), method)


def certified_loss(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    eps: float | Tensor,
    norm: float | str = 2,
    frames: Sequence[int] | None = None,
    clip: tuple[float, float] | None = None,
    method: Method = "mixed",
    share: float = 1.0,
    reading: Reading | None = None,
) -> Tensor:
    """Cross-entropy of the worst outputs that bounds allow, by `interval`, `mixed` (planes on the boxes of intervals, CROWN-IBP) or `planes`.

    share: of eps, about a point that an attack finds in the rest of the ball (SABR, Mueller et al., 2023, arXiv 2210.04871): bounds of small boxes
    fit the network better, and what is certified in the end may be more. 1 bounds the whole ball. Raises as `read`, where reading is None.
    """
    found = read(module, x[:2]) if reading is None else reading
    if share < 1:
        away = attacked(module, x, y, ball_of(x, torch.as_tensor(eps) * (1 - share), norm, frames, clip))
        x, eps = x + away, torch.as_tensor(eps) * share
    bounds = certified(found.graph(module, x), x, against(y, found.architecture.classes, x), ball_of(x, eps, norm, frames, clip), method)
    return nn.functional.cross_entropy(torch.cat([torch.zeros_like(bounds[:, :1]), -bounds], 1), torch.zeros_like(y))


def adversarial_loss(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    eps: float | Tensor,
    norm: float | str = 2,
    frames: Sequence[int] | None = None,
    clip: tuple[float, float] | None = None,
    steps: int = STEPS,
) -> Tensor:
    """Cross-entropy at the point of each ball that projected gradients find (Madry et al., 2018, arXiv 1706.06083): proves nothing."""
    return nn.functional.cross_entropy(module(x + attacked(module, x, y, ball_of(x, eps, norm, frames, clip), steps)), y)


def attacked(module: nn.Module, x: Tensor, y: Tensor, ball: Ball, steps: int = STEPS) -> Tensor:
    """How far each sample is moved in its ball to where its loss is large. shape: -> [B, m, n]."""
    noise = 2 * torch.rand_like(x) - 1
    delta = project(steepest(noise, ball), ball)
    for _ in range(steps):
        delta = delta.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(module(x + delta), y, reduction="sum"), delta)
        delta = project(delta.detach() + STRIDE * steepest(gradient, ball), ball)
    return delta.detach()


def spectral_penalty(module: nn.Module, kind: Literal["norm", "kreiss"] = "norm", most: float = 1.0) -> Tensor:
    """How far the recurrent matrices of nn.RNN, nn.LSTM (gate by gate) and nn.GRU are above `most` in spectral norm, or in Kreiss constant."""
    measure = {"norm": spectra.norm, "kreiss": spectra.kreiss}[kind]
    blocks = [
        block
        for part in module.modules()
        if isinstance(part, nn.RNN | nn.LSTM | nn.GRU)
        for name, weight in part.named_parameters(recurse=False)
        if name.startswith("weight_hh")
        for block in torch.split(weight, weight.shape[1])
    ]
    if not blocks:
        raise ReadingError("the module has no nn.RNN, nn.LSTM or nn.GRU")
    return torch.stack([(measure(block) - most).clamp(min=0) for block in blocks]).sum()


def ramp(step: int, begin: int, end: int, most: float) -> float:
    """0 until `begin`, `most` from `end` on, and smoothly between: for eps, which training starts without."""
    t = min(1.0, max(0.0, (step - begin) / max(1, end - begin)))
    return most * t * t * (3 - 2 * t)
