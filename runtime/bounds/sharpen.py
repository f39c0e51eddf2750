"""Values that do not move, known as well as they need be: enclosed in ball arithmetic where intervals in float64 leave them uncertain."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from vlang.runtime.bounds.interval import Interval
from vlang.runtime.bounds.motion import Moving
from vlang.runtime.bounds.nominal import Nominal
from vlang.runtime.graph.enclosure import distances, enclosed
from vlang.runtime.graph.nodes import Input, Nonlinear
from vlang.runtime.sets.ball import Ball

#: Values are enclosed if they are this uncertain, relative to 1 and their size.
WIDE = 1e-12


def sharpened(nominal: Nominal, moved: Tensor) -> Nominal:
    """The same with the values enclosed that a row's perturbation does not move, in the rows where one of them is wide. moved: frames, [B, m]."""
    moving, nodes = Moving.of(nominal.graph, moved), nominal.graph.nodes
    resting = [i for i, live in enumerate(moving.live) if (not live or i in moving.some) and not isinstance(nodes[i], Input)]
    if nominal.deployed or not any(isinstance(nodes[i], Nonlinear) for i in resting):
        return nominal
    still = Interval(nominal, Ball(torch.zeros_like(nominal.inputs[:, :, 0]), None)).run().blur
    fixed = {i: ~moving.some[i] if i in moving.some else torch.ones_like(moved[:, 0]) for i in resting}
    uncertain = [torch.where(fixed[i], (still[i] / (1 + nominal.values[i].abs())).amax(1), 0.0) for i in resting]
    wide = (torch.stack(uncertain).amax(0) > WIDE).nonzero().flatten().tolist()
    if not wide:
        return nominal
    blur = {i: torch.where(fixed[i][:, None], still[i], 0.0) for i in resting}
    known: dict[int, dict[int, Tensor]] = {}
    for b in wide:
        same = next((a for a in known if torch.equal(nominal.inputs[a], nominal.inputs[b]) and torch.equal(moved[a], moved[b])), None)
        if same is None:
            wanted = [not moving.in_row(i, b) for i in range(len(nodes))]
            exact = enclosed(nominal.graph, nominal.inputs[b], wanted, nominal.late)
            known[b] = {i: distances(exact[i], nominal.values[i][b]) for i in resting if bool(fixed[i][b])}
        for i, distance in known[b if same is None else same].items():
            blur[i][b] = distance
    return replace(nominal, blur=blur)
