"""Bound propagation: boxes and linear bounds of a graph on a batch of perturbation sets.

Walks the graph once from the inputs. Every node gets a box by interval arithmetic from its parents' boxes; a node that some
nonlinearity takes as an argument also gets one by linear bounds, substituted back to the inputs, and the two are
intersected (both are sound). Then any rows over any node can be bounded: `Relaxed.upper`.

Soundness in floating point: every product and sum of the backward walk is covered by an a-priori error term. The computed coefficient
A' = fl(A W) differs from A W by at most gamma |A||W|, which moves the bound by at most gamma |A| (|W| mag(parent)): one more
inner product per node, with a vector known before the walk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from vlang.runtime import rounding
from vlang.runtime.graph.concrete import trajectory
from vlang.runtime.graph.enclosure import distances, enclosed
from vlang.runtime.graph.nodes import Affine, Graph, Input, Node, Nonlinear, Ref
from vlang.runtime.relaxations import RELAXATIONS, Args, Nonlinearity, Planes, Rule
from vlang.runtime.sets.ball import Ball
from vlang.runtime.sets.piece import Piece

Box = tuple[Tensor, Tensor]
#: Values that do not move are enclosed in ball arithmetic if intervals in float64 leave them this uncertain, relative to 1 and their size.
WIDE = 1e-12
Region = Ball | Piece
#: Chooses a node's slopes in place of a rule: (node, nonlinearity, both boxes) -> slopes. Any are sound.
Choice = Callable[[int, Nonlinearity, tuple[Args, Args]], Args]


@dataclass(frozen=True, eq=False)
class Nominal:
    """A graph on a batch of centres, with the values of every node there. shape: inputs [B, m, n], values each [B, width].

    deployed: whether bounds are those of a float32 forward pass too, whatever its order of operations (runtime/README.md, section 9).
    blur: by node, how far values that do not move may be from the real ones, where intervals in float64 would be too wide. shape: as values.
    """

    graph: Graph
    inputs: Tensor
    values: tuple[Tensor, ...]
    deployed: bool = False
    blur: Mapping[int, Tensor] = field(default_factory=dict)

    @classmethod
    def at(cls, graph: Graph, inputs: Tensor, deployed: bool = False) -> Nominal:
        with torch.no_grad():
            return cls(graph, inputs, tuple(trajectory(graph, inputs)), deployed)

    @property
    def logits(self) -> Tensor:
        return self.values[self.graph.output]

    def rows(self, index: Tensor) -> Nominal:
        blur = {i: b[index] for i, b in self.blur.items()}
        return Nominal(self.graph, self.inputs[index], tuple(v[index] for v in self.values), self.deployed, blur)

    def moved(self, offset: Tensor) -> Nominal:
        """At other inputs, the offset zero on frames that do not move. shape: offset [B, m, n].

        What does not move is computed again, in another batch, perhaps with other roundings: what is known of it is widened by the difference.
        """
        there = Nominal.at(self.graph, self.inputs + offset, self.deployed)
        blur = {i: rounding.up(b + (there.values[i] - self.values[i]).abs(), there.values[i].abs() + b, 8) for i, b in self.blur.items()}
        return replace(there, blur=blur)

    def sharpened(self, frames: frozenset[int]) -> Nominal:
        """With the values that do not move while these frames do enclosed in ball arithmetic, if intervals in float64 are wide."""
        fixed = [not hit for hit in self.graph.reached_from(frames)]
        if self.deployed or not any(fixed[i] and isinstance(n, Nonlinear) for i, n in enumerate(self.graph.nodes)):
            return self
        still = Relaxed(self, Ball(torch.zeros_like(self.inputs[:, :, 0]), None), "constant")
        widest = max(float((still._blur[i] / (1 + self.values[i].abs())).max()) for i, f in enumerate(fixed) if f)
        if widest <= WIDE:
            return self
        per_row: list[dict[int, Tensor]] = []
        for b in range(len(self.inputs)):
            same = next((a for a in range(b) if torch.equal(self.inputs[a], self.inputs[b])), None)
            if same is not None:
                per_row.append(per_row[same])
                continue
            exact = enclosed(self.graph, self.inputs[b], fixed)
            per_row.append({i: distances(v, self.values[i][b]) for i, v in enumerate(exact) if fixed[i]})
        return replace(self, blur={i: torch.stack([row[i] for row in per_row]) for i in per_row[0]})


class Relaxed:
    """A graph relaxed on a batch of sets: every node's box, every nonlinearity's planes."""

    def __init__(self, nominal: Nominal, region: Region, rule: Rule, choice: Choice | None = None) -> None:
        self.nominal, self.region, self.rule = nominal, region, rule
        graph = nominal.graph
        self.live = graph.reached_from(region.frames)
        if nominal.deployed:  # rounding moves everything that is computed
            self.live = tuple(alive or isinstance(node, Affine | Nonlinear) for alive, node in zip(self.live, graph.nodes, strict=True))
        self.boxes: list[Box] = []
        self.planes: dict[int, Planes] = {}
        self.lifts: dict[int, Tensor] = {}  # per bounded node: the multipliers of a piece's hyperplanes
        self._centre: dict[int, Tensor] = {}  # per live affine node: bias plus everything fixed. shape: [B, width]
        self._blur: dict[int, Tensor] = {}  # per fixed node: how far its computed value may be from the real one. shape: [B, width]
        self._error: dict[int, Tensor] = {}  # per live node: rounding per unit of |coefficient|. shape: [B, width]
        self._roundings = 2 * len(graph.nodes) + 64  # two additions to a running total per node, and elementary functions
        relaxed = graph.relaxed_arguments()
        for i, node in enumerate(graph.nodes):
            if not self.live[i]:
                value, blur = nominal.values[i], self._fixed_blur(i, node)
                self._blur[i] = blur
                self.boxes.append((value - blur, value + blur))
                continue
            match node:
                case Input(frame=frame):
                    x, r = nominal.inputs[:, frame], region.reach(frame)
                    self.boxes.append((rounding.down(x - r, x.abs() + r, 4), rounding.up(x + r, x.abs() + r, 4)))
                case Affine():
                    self._fix_affine(i, node)
                    self.boxes.append(self._affine_box(i, node))
                    if rule != "constant" and i in relaxed:
                        self.boxes[i] = self._linear_box(i)
                case Nonlinear():
                    lo, hi = self._argument_box(node)
                    nonlinearity = RELAXATIONS[node.op]
                    self.boxes.append(nonlinearity.range(lo, hi))
                    if nominal.deployed:
                        low, high = self.boxes[i]
                        error = self._deployed_error(i)
                        self.boxes[i] = low - 2 * error, high + 2 * error
                    if rule != "constant":
                        box = nonlinearity.both(lo, hi)
                        if choice is None:
                            with torch.no_grad():
                                slopes = nonlinearity.upper_slopes(rule, *box)
                        else:
                            slopes = choice(i, nonlinearity, box)
                        self._relax(i, node, nonlinearity.planes_with(slopes, *box))
                        if i in relaxed:
                            self.boxes[i] = self._linear_box(i)

    def upper(self, node: int, rows: Tensor) -> Tensor:
        """An upper bound of rows @ value(node) over the set. shape: rows [R, width] or [B, R, width] -> [B, R]."""
        rows = rows if rows.dim() == 3 else rows[None]
        if self.rule == "constant":
            return self._interval_upper(node, rows)
        return self._substitute(node, rows)

    def forget(self) -> None:
        """Give back what only further bounds need; what proves the bounds so far stays."""

    # -- nodes ------------------------------------------------------------------------------------------------------

    def _box(self, ref: Ref) -> Box:
        lo, hi = self.boxes[ref.node]
        return lo[:, ref.start : ref.stop], hi[:, ref.start : ref.stop]

    def _magnitude(self, ref: Ref) -> Tensor:
        lo, hi = self._box(ref)
        return torch.maximum(lo.abs(), hi.abs())

    def _argument_box(self, node: Nonlinear) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        boxes = [self._box(r) for r in node.args]
        return tuple(b[0] for b in boxes), tuple(b[1] for b in boxes)

    def _fixed_blur(self, i: int, node: Node) -> Tensor:
        """How far the computed value of a node that does not move may be from the real one; its parents' are known."""
        if i in self.nominal.blur:
            return self.nominal.blur[i]
        value = self.nominal.values[i]
        match node:
            case Affine():
                size, spread, width = node.bias.abs() + torch.zeros_like(value), torch.zeros_like(value), len(node.terms) + 1
                for term in node.terms:
                    x, blur = (v[:, term.ref.start : term.ref.stop] for v in (self.nominal.values[term.ref.node].abs(), self._blur[term.ref.node]))
                    width += term.ref.width
                    size = size + (x if term.weight is None else x @ term.weight.abs().T)
                    spread = spread + (blur if term.weight is None else blur @ term.weight.abs().T)
                return rounding.up(spread, spread + size, width + 8) + torch.finfo(value.dtype).tiny
            case Nonlinear():
                low, high = RELAXATIONS[node.op].range(*self._argument_box(node))
                return rounding.up(torch.maximum(high - value, value - low).clamp(min=0), value.abs() + low.abs() + high.abs(), 8)
        return torch.zeros_like(value)

    def _fix_affine(self, i: int, node: Affine) -> None:
        """Fold the bias, the fixed parents and the inputs' centres into one vector."""
        centre = node.bias.expand(self.nominal.inputs.shape[0], -1)
        size, spread, fixed, width = centre.abs(), torch.zeros_like(centre), torch.zeros_like(centre), node.width + 1
        for term in node.terms:
            ref, weight = term.ref, term.weight
            source = self.nominal.graph.nodes[ref.node]
            width += 1 if weight is None else ref.width
            if not self.live[ref.node] or isinstance(source, Input):
                x = self.nominal.values[ref.node][:, ref.start : ref.stop]
                centre = centre + (x if weight is None else x @ weight.T)
                size = size + (x.abs() if weight is None else x.abs() @ weight.abs().T)
                if not self.live[ref.node] and ref.node in self._blur:
                    blur = self._blur[ref.node][:, ref.start : ref.stop]
                    fixed = fixed + (blur if weight is None else blur @ weight.abs().T)
            if self.live[ref.node]:
                mag = self.region.reach(source.frame).expand(-1, ref.width) if isinstance(source, Input) else self._magnitude(ref)
                spread = spread + (mag if weight is None else mag @ weight.abs().T)
        self._centre[i] = centre
        self._error[i] = (spread + 2 * size) * rounding.gamma(2 * width + self._roundings, centre.dtype) + fixed * (1 + 1e-9)
        if self.nominal.deployed:
            beside = node.size + sum((self._magnitude(ref) for ref in node.beside), torch.zeros_like(node.size))
            self._error[i] = self._error[i] + rounding.deployed((spread + size + beside) * (1 + 1e-6), width + 8)

    def _relax(self, i: int, node: Nonlinear, planes: Planes) -> None:
        self.planes[i] = planes
        self._error[i] = self._rounding_of(i, node, planes)

    def _rounding_of(self, i: int, node: Nonlinear, planes: Planes) -> Tensor:
        """What a unit of |coefficient| on a nonlinear node loses in the walk."""
        tiny = torch.finfo(planes.lower.offset.dtype).tiny  # halves of planes may underflow
        size = torch.maximum(planes.lower.offset.abs(), planes.upper.offset.abs()) + tiny
        for k, ref in enumerate(node.args):
            slope = torch.maximum(planes.lower.slopes[k].abs(), planes.upper.slopes[k].abs())
            size = size + (slope + tiny) * self._magnitude(ref)
        error = size * rounding.gamma(2 * node.width + self._roundings, size.dtype)
        return error + self._deployed_error(i) if self.nominal.deployed else error

    def _deployed_error(self, i: int) -> Tensor:
        """How far a float32 value of nonlinear node i may be from the real one of the same arguments."""
        low, high = self.boxes[i]
        return rounding.deployed(torch.maximum(low.abs(), high.abs()), rounding.DEPLOYED_ROUNDINGS)

    # -- interval bounds --------------------------------------------------------------------------------------------

    def _affine_box(self, i: int, node: Affine) -> Box:
        lo = hi = self._centre[i]
        for term in node.terms:
            if not self.live[term.ref.node]:
                continue
            source = self.nominal.graph.nodes[term.ref.node]
            if isinstance(source, Input):
                weight = _dense(term.weight, term.ref.width, lo)
                lo = lo - self.region.unlifted({source.frame: -weight[None]})
                hi = hi + self.region.unlifted({source.frame: weight[None]})
            else:
                low, high = self._box(term.ref)
                if term.weight is None:
                    lo, hi = lo + low, hi + high
                else:
                    mid, half = (low + high) / 2, (high - low) / 2
                    middle, radius = mid @ term.weight.T, half @ term.weight.abs().T
                    lo, hi = lo + middle - radius, hi + middle + radius
        return lo - 2 * self._error[i], hi + 2 * self._error[i]

    def _interval_upper(self, node: int, rows: Tensor) -> Tensor:
        """Rows fused into the node's own affine map, so that differences of outputs are bounded directly."""
        target = self.nominal.graph.nodes[node]
        if not self.live[node] or not isinstance(target, Affine):
            lo, hi = self.boxes[node]
            return _interval_rows(rows, lo, hi)
        total = (rows @ self._centre[node][:, :, None])[..., 0]
        total = total + (rows.abs() @ (2 * self._error[node] + rounding.pad(self._centre[node].abs()))[:, :, None])[..., 0]
        for term in target.terms:
            if not self.live[term.ref.node]:
                continue
            weight = _dense(term.weight, term.ref.width, total)
            fused = rows @ weight
            source = self.nominal.graph.nodes[term.ref.node]
            if isinstance(source, Input):
                total = total + self.region.unlifted({source.frame: fused})
            else:
                total = total + _interval_rows(fused, *self._box(term.ref))
        return total

    # -- linear bounds ----------------------------------------------------------------------------------------------

    def _linear_box(self, i: int) -> Box:
        """The box of node i by linear bounds, intersected with the one it has."""
        lo, hi = self.boxes[i]
        eye = torch.eye(lo.shape[1], dtype=lo.dtype, device=lo.device)
        both = self._substitute(i, torch.cat([eye, -eye])[None])
        high, low = both[:, : lo.shape[1]], both[:, lo.shape[1] :]
        return torch.maximum(lo, -low), torch.minimum(hi, high)

    def _substitute(self, top: int, rows: Tensor) -> Tensor:
        """Upper bounds of rows @ value(top). shape: rows [B or 1, R, width] -> [B, R]."""
        reached = self._walk(top, rows, self.planes, self._error)
        support, lifts = self.region.lifted(reached.inputs)
        if lifts is not None:
            self.lifts[top] = lifts
        return reached.centre + reached.slack + support

    def _walk(self, top: int, rows: Tensor, planes: Mapping[int, Planes], error: Mapping[int, Tensor]) -> Reached:
        """Substitute rows @ value(top) back to the inputs (POPQORN, section 3). shape: rows [B or 1, R, width].

        error: of each live node, per unit of |coefficient|.
        """
        graph, values = self.nominal.graph, self.nominal.values
        pending: dict[int, Tensor] = {top: rows}
        assembling: dict[int, Tensor] = {}  # coefficients that arrive slice by slice, in tensors of our own
        inputs: dict[int, Tensor] = {}
        nonlinear: dict[int, Tensor] = {}
        centre = slack = torch.zeros((), dtype=rows.dtype, device=rows.device)

        def add(ref: Ref, coefficient: Tensor) -> None:
            width = graph.nodes[ref.node].width
            if ref.width < width:
                parts = assembling.get(ref.node)
                if parts is None or parts.shape[0] < coefficient.shape[0]:
                    whole = coefficient.new_zeros(*coefficient.shape[:-1], width)
                    assembling[ref.node] = parts = whole if parts is None else whole + parts
                parts[..., ref.start : ref.stop] += coefficient
            else:
                old = pending.get(ref.node)
                pending[ref.node] = coefficient if old is None else old + coefficient

        for i in range(top, -1, -1):
            arrived = [x for x in (pending.pop(i, None), assembling.pop(i, None)) if x is not None]
            if not arrived:
                continue
            a = arrived[0] if len(arrived) == 1 else arrived[0] + arrived[1]
            node = graph.nodes[i]
            if not self.live[i]:
                centre = centre + _inner(a, values[i])
                slack = slack + _inner(a.abs(), rounding.pad(values[i].abs(), 2 * node.width + self._roundings) + self._blur[i])
                continue
            match node:
                case Input(frame=frame):
                    inputs[frame] = a
                case Affine(terms=terms):
                    centre, slack = centre + _inner(a, self._centre[i]), slack + _inner(a.abs(), error[i])
                    for term in terms:
                        if self.live[term.ref.node]:
                            add(term.ref, a if term.weight is None else a @ term.weight)
                case Nonlinear(args=args):
                    middle, gap, size = planes[i].middle, planes[i].gap, a.abs()
                    nonlinear[i] = a
                    centre = centre + _inner(a, middle.offset) + _inner(size, gap.offset)
                    slack = slack + _inner(size, error[i])
                    for k, ref in enumerate(args):
                        add(ref, (a * middle.slopes[k][:, None]).addcmul_(size, gap.slopes[k][:, None]))
        return Reached(centre, slack, inputs, nonlinear)


@dataclass(frozen=True, eq=False)
class Reached:
    """Rows substituted back: row <= centre + slack + sum over frames of inputs[k] . delta_k, up to what the planes leave out.

    slack covers rounding. inputs, nonlinear: the coefficients on the frames and on the nonlinear nodes that were met.
    shape: centre, slack [B, R]; each coefficient [B or 1, R, width].
    """

    centre: Tensor
    slack: Tensor
    inputs: Mapping[int, Tensor]
    nonlinear: Mapping[int, Tensor]


def _inner(a: Tensor, v: Tensor) -> Tensor:
    """shape: [B or 1, R, w] . [B, w] -> [B, R]."""
    if a.shape[0] == 1:
        return v @ a[0].T
    return torch.bmm(v[:, None], a.mT)[:, 0]  # twice as fast as the other way round


def _dense(weight: Tensor | None, width: int, like: Tensor) -> Tensor:
    return torch.eye(width, dtype=like.dtype, device=like.device) if weight is None else weight


def _interval_rows(rows: Tensor, lo: Tensor, hi: Tensor) -> Tensor:
    """rows @ [lo, hi], upper end, rounded up. shape: rows [B or 1, R, w] -> [B, R]."""
    total = _inner(rows.clamp(min=0), hi) + _inner(rows.clamp(max=0), lo)
    size = _inner(rows.abs(), torch.maximum(lo.abs(), hi.abs()))
    return total + size * rounding.gamma(2 * rows.shape[-1] + 8, rows.dtype)
