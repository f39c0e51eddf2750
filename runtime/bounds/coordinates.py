"""The perturbation set as the quadratic forms see it: few coordinates, in balls that hold the set, and a piece's hyperplanes among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor

from vlang.cost import FACTORISED
from vlang.runtime import rounding
from vlang.runtime.bounds.multipliers import Room
from vlang.runtime.graph.nodes import Affine, Graph, Input, Nonlinear, parents
from vlang.runtime.products import through
from vlang.runtime.sets.ball import Ball
from vlang.runtime.sets.piece import Piece
from vlang.words.methods import LARGEST_FLAT, LARGEST_FORM, LARGEST_POLYTOPE

#: A chart that is farther from orthonormal is not used.
WORST_DEFECT = 1e-6
#: A chart spares much where it has at most this share of a frame's coordinates: a fifth of the time, for a looser set.
SPARING = 0.6
#: A column of weights counts as at least this share of the largest, and as at least this large.
LEAST_COLUMN, LEAST_SCALE = 1e-3, 1e-30
#: A hyperplane's normal that is this small in the first slots, as a share of all of it, says nothing there.
VACUOUS = 1e-9


@dataclass(frozen=True, eq=False)
class Chart:
    """Fewer coordinates of a frame: z = basis' (scale delta). shape: basis [n, d], scale [n].

    defect: how far the columns are from orthonormal: |basis' x| <= (1 + defect) |x|.
    """

    basis: Tensor
    scale: Tensor
    defect: float

    def coefficients(self, a: Tensor) -> tuple[Tensor, Tensor]:
        """Of z, and how far they may be from a, per coordinate of delta. shape: [B, R, n] -> [B, R, d], [B, R, n]."""
        z = through(a / self.scale, self.basis)
        back, size = through(z, self.basis.mT) * self.scale, through(z.abs(), self.basis.mT.abs()) * self.scale
        return z, (a - back).abs() + (a.abs() + size) * rounding.gamma(2 * a.shape[-1] + 16, a.dtype)


@dataclass(frozen=True, eq=False)
class Cut:
    """A piece's hyperplanes as z sees them, low <= normals (z - shift) <= high; shift: z at the piece's offset, up to blur.

    shape: shift, blur [B, D]; normals [B, K, D]; low, high [B, K].
    """

    shift: Tensor
    blur: Tensor
    normals: Tensor
    low: Tensor
    high: Tensor


class Coordinates:
    """The perturbation set as seen by the quadratic forms: groups of coordinates in balls that hold it.

    Every row of the batch has a slot for each frame that it moves, in order, and z lists the slots. A slot's coordinates are in one ball for the
    2-norm and smaller p, and bounded one by one, as a clip leaves them, for larger p; where that is too many, in one ball after scaling by the
    weights' columns. Frames wider than the weights that read them are turned into the space those weights see (`Chart`), which is the same for
    every eps and row.
    """

    def __init__(self, region: Ball | Piece, width: int, chart: Chart | None) -> None:
        ball = region if isinstance(region, Ball) else region.ball
        self.region, self.ball, self.frames = region, ball, sorted(ball.frames)
        self.cut: Cut | None = None
        radii = ball.radii[:, self.frames]
        moves = radii > 0
        count = int(moves.sum(1).max()) if self.frames else 0
        order = (~moves).to(torch.int8).argsort(dim=1, stable=True)[:, :count]
        #: Per row and slot, which of `frames` it is, and its radius (0 for a slot that the row does not need). shape: [B, slots].
        self.slots, self.radii = order, radii.gather(1, order)
        self.vertices = ball.norm == Fraction(1)
        round_ = _round(ball)
        self.chart = chart
        #: Coordinates of a slot, and how many of them share a ball.
        self.width = width if self.chart is None else self.chart.basis.shape[1]
        self.grouped = self.width if round_ or self.chart is not None else 1
        balls = self.radii[..., None].expand(-1, -1, 1 if round_ else width)
        if ball.clip is not None and not round_:
            balls = torch.minimum(balls, torch.maximum(*ball.clip)[:, self.frames].gather(1, order[..., None].expand(-1, -1, width)))
        if self.chart is not None:
            reach = balls if round_ else torch.linalg.vector_norm(balls * self.chart.scale, dim=-1, keepdim=True)
            balls = rounding.enlarged(reach, rounding.LITTLE_ROOM) * (1 + self.chart.defect)
        #: The radii of every slot's balls. shape: [B, slots, balls of a slot].
        self.balls = balls
        #: Whether linear and quadratic terms may be maximised together: the balls are then the set itself, once it is seen from its middle.
        every = ball.at_most is None or ball.at_most >= count
        self.exact = every and ((ball.norm is None and self.chart is None) or (ball.clip is None and ball.norm in (1, 2)))
        if isinstance(region, Piece) and self.frames and not self.vertices:
            self.cut = self._cut(region)

    def pass_flop(self, graph: Graph) -> float:
        """FLOP of the forms of one row's pass: those of every box are made of what stands below it, then factorised."""
        total, products, slots = 0.0, 0, self.radii.shape[1]
        moved: list[frozenset[int]] = []  # of each node, the frames that move it,
        bent: list[frozenset[int]] = []  # and those that move something below it that is not linear
        bounded, none = graph.relaxed_arguments() | {graph.output}, frozenset[int]()
        for i, node in enumerate(graph.nodes):
            refs = [r.node for r in parents(node)]
            moved.append(frozenset({node.frame} & set(self.frames)) if isinstance(node, Input) else none.union(*(moved[r] for r in refs)))
            bent.append(moved[i] if isinstance(node, Nonlinear) else none.union(*(bent[r] for r in refs)))
            d = self.width * min(slots, len(bent[i]))
            if i in bounded and d <= LARGEST_FORM:
                total += 2 * node.width * (2 * products * d**2 + (0 if self.vertices else FACTORISED) * d**3)
            products += node.width * len(node.args) if isinstance(node, Nonlinear) else 0
        return total

    def row_bytes(self, graph: Graph) -> int:
        """The memory that one row's linear motions take (`Cushion`), at most."""
        d = min(self.width * self.radii.shape[1], LARGEST_POLYTOPE if self.vertices else LARGEST_FORM)
        return sum(n.width * len(n.args) for n in graph.nodes if isinstance(n, Nonlinear)) * d * 8

    def group_radii(self, slots: int) -> Tensor:
        """shape: [B, groups]."""
        return self.balls[:, :slots].flatten(1)

    def room(self, slots: int) -> Room:
        """Where the first slots' coordinates may be."""
        radii, d = self.group_radii(slots), slots * self.width
        if self.cut is None:
            return Room(radii)
        shift, normals = self.cut.shift[:, :d], self.cut.normals[..., :d]
        # The other slots may take anything up to their own support off a slab's ends.
        rest = self.cut.normals[..., d:]
        groups = torch.linalg.vector_norm(rest.reshape(*rest.shape[:-1], rest.shape[-1] // self.grouped, self.grouped), dim=-1)
        reach = (groups * self.group_radii(self.radii.shape[1])[:, None, radii.shape[1] :]).sum(-1)
        along = (rest * self.cut.shift[:, None, d:]).sum(-1)
        low, high = self.cut.low + along - reach, self.cut.high + along + reach
        # A normal that vanishes here says nothing: a coordinate's own ball instead.
        vacuous = (normals.abs().amax(-1) <= VACUOUS * self.cut.normals.abs().amax(-1))[..., None]
        normals = torch.where(vacuous, torch.nn.functional.one_hot(torch.zeros_like(vacuous[..., 0], dtype=torch.long), d), normals)
        first, radius = shift[:, :1], radii[:, :1]
        low, high = (torch.where(vacuous[..., 0], own, x) for own, x in ((-radius - first, low), (radius - first, high)))
        middle = (low + high) / 2
        half = torch.maximum(high - middle, middle - low)
        pad = (low.abs() + high.abs() + reach + along.abs() + (rest.abs() * self.cut.shift[:, None, d:].abs()).sum(-1)) * rounding.gamma(
            4 * d + 64, half.dtype
        )
        return Room(radii, shift, normals, middle, half + pad)

    def _cut(self, piece: Piece) -> Cut:
        shift, blur = [], []
        for k in self.frames:
            x = piece.offset[:, k, None]
            if self.chart is None:
                shift.append(x)
                blur.append(torch.zeros_like(x))
            else:
                shift.append(through(x * self.chart.scale, self.chart.basis))
                size = through(x.abs() * self.chart.scale, self.chart.basis.abs())
                blur.append(size * rounding.gamma(2 * x.shape[-1] + 16, x.dtype))
        columns = torch.stack([torch.cat(shift, 1), torch.cat(blur, 1)], 1)  # [B, 2, frames, d]
        shift_, blur_ = self._slotted(columns).unbind(1)
        normals, lost = self.place({k: piece.directions[:, :, k] for k in self.frames})
        normals = torch.nn.functional.pad(normals, (0, shift_.shape[-1] - normals.shape[-1]))
        along = (normals * shift_[:, None]).sum(-1)
        size = (normals.abs() * shift_[:, None].abs()).sum(-1) + piece.low.abs() + piece.high.abs()
        lost = lost + size * rounding.gamma(2 * shift_.shape[-1] + 16, size.dtype)
        return Cut(shift_, blur_, normals, piece.low - along - lost, piece.high - along + lost)

    def _slotted(self, columns: Tensor) -> Tensor:
        """Values per frame as values per slot. shape: [B, R, frames, d] -> [B, R, slots d]."""
        index = self.slots[:, None, :, None].expand(-1, columns.shape[1], -1, columns.shape[3])
        return (columns.gather(2, index) * (self.radii[:, None, :, None] > 0)).flatten(2)

    def place(self, inputs: Mapping[int, Tensor]) -> tuple[Tensor, Tensor | float]:
        """Coefficients of the frames as coefficients of z, and the most that is lost. shape: each [B, R, n] -> [B, R, D], [B, R]."""
        columns: list[Tensor | None] = []
        lost: Tensor | float = 0.0
        for k in self.frames:
            if k not in inputs or self.chart is None:
                columns.append(inputs.get(k))
            else:
                z, error = self.chart.coefficients(inputs[k])
                columns.append(z)
                lost = lost + self.either_way({k: error})
        blank = torch.zeros_like(next(c for c in columns if c is not None))
        every = torch.stack([blank if c is None else c for c in columns], 2)  # [B, R, frames, d]
        present = torch.tensor([k in inputs for k in self.frames], device=every.device)
        used = (present[self.slots] & (self.radii > 0)).any(0).nonzero()
        last = int(used.amax()) + 1 if len(used) else 1
        z = self._slotted(every)[..., : last * every.shape[3]]
        if self.cut is not None:
            lost = lost + rounding.enlarged((z.abs() * self.cut.blur[:, None, : z.shape[-1]]).sum(-1))
        return z, lost

    def either_way(self, errors: Mapping[int, Tensor]) -> Tensor:
        """The most that coefficients that are wrong by so much can change, whatever their signs. shape: each [B, R, n] -> [B, R].

        A clipped gain would know one sign only. Twice: of delta, and of a piece's offset, which is in the ball.
        """
        bare = replace(self.ball, clip=None)
        return rounding.enlarged(torch.stack([2 * bare.gain(k, error) for k, error in errors.items()]).sum(0))

    def directions(self, normals: Tensor) -> Tensor:
        """Coefficients of z as coefficients of the frames. shape: [B, K, D] -> [B, K, m, n]."""
        slotted = normals.reshape(*normals.shape[:2], -1, self.width)
        if self.chart is not None:
            slotted = through(slotted, self.chart.basis.mT) * self.chart.scale
        slotted = slotted * (self.radii[:, None, : slotted.shape[2], None] > 0)
        frames = torch.tensor(self.frames, device=normals.device)[self.slots[:, : slotted.shape[2]]]
        found = normals.new_zeros(*normals.shape[:2], self.ball.radii.shape[1], slotted.shape[3])
        return found.scatter(2, frames[:, None, :, None].expand_as(slotted), slotted)

    def beyond(self, inputs: Mapping[int, Tensor], slots: int) -> Tensor:
        """The linear terms of frames that are in none of the first slots. shape: each [B, R, n] -> [B, R]."""
        gains = []
        for i, k in enumerate(self.frames):
            if k in inputs:
                within = ((self.slots[:, :slots] == i) & (self.radii[:, :slots] > 0)).any(1)
                gains.append(torch.where(within[:, None], 0.0, self.region.unlifted({k: inputs[k]})))
        total = torch.stack(gains)
        return rounding.up(total.sum(0), total.abs().sum(0), len(gains) + 8)


def _round(ball: Ball) -> bool:
    """Whether a slot's coordinates are in one ball, instead of bounded one by one."""
    return ball.norm is not None and ball.norm <= 2


def chart_of(graph: Graph, ball: Ball, width: int, flattest: int = LARGEST_FLAT, dear: int = 0) -> Chart | None:
    """The space of a frame that the weights see; None where none is needed, or it has as many coordinates as the frame.

    flattest: up to so many coordinates, sets that are bounded coordinate by coordinate need none; dear: nor up to so many, unless it spares much.

    For sets whose coordinates are bounded one by one the scale lets the 2-norm ball in it hug the set where the weights look.
    """
    frames, flat = sorted(ball.frames), not _round(ball)
    count = int((ball.radii > 0).sum(1).max()) if frames else 0
    if not frames or ball.norm == Fraction(1) or (flat and width * count <= flattest):
        return None
    rows = max((_seen(graph, frame) for frame in frames), key=len)
    if not 0 < len(rows) < width * (SPARING if flat and width * count <= dear else 1):
        return None
    scale = torch.ones_like(rows[0])
    if flat:
        norms = torch.linalg.vector_norm(rows, dim=0)
        scale = norms.clamp(min=LEAST_COLUMN * norms.amax()).clamp(min=LEAST_SCALE).sqrt()
    basis = torch.linalg.qr((rows / scale).mT).Q
    eye = torch.eye(basis.shape[1], dtype=basis.dtype, device=basis.device)
    defect = float(torch.linalg.matrix_norm(basis.mT @ basis - eye)) + basis.shape[1] * rounding.gamma(len(basis) + 4, basis.dtype)
    return Chart(basis, scale, defect) if defect < WORST_DEFECT else None


def _seen(graph: Graph, frame: int) -> Tensor:
    """What the first nodes that are not linear alone see of a frame: the maps of its numbers to what they read. shape: [rows, n]."""
    through: dict[int, Tensor] = {}  # linear in the frame alone, and read by nothing that is not
    found: list[Tensor] = []
    bounded, like = graph.relaxed_arguments(), next(n.bias for n in graph.nodes if isinstance(n, Affine))
    for i, node in enumerate(graph.nodes):
        if isinstance(node, Input) and node.frame == frame:
            through[i] = torch.eye(node.width, dtype=like.dtype, device=like.device)
        if not isinstance(node, Affine):
            continue
        parts = [(t.weight, through[t.ref.node][t.ref.start : t.ref.stop]) for t in node.terms if t.ref.node in through]
        if parts:
            composed = torch.stack([x if w is None else w @ x for w, x in parts]).sum(0)
            if i in bounded or i == graph.output or len(parts) < len(node.terms):
                found.append(composed)
            else:
                through[i] = composed
    return torch.cat(found) if found else like.new_zeros(0, 1)
