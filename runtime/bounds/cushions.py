"""Cushions: what a parabola adds to its plane, as a quadratic form of the input and a constant.

A neuron is at most a plane plus 1/2 d' k d (`Parabola`), d = u + r its arguments' distance from the centre: u = J z their linear motion, and
|r| <= R what is not linear. d' k d <= u' k u + 2 sum_i |(k u)_i| R_i + r' k r, and 2 |x| R <= tau x^2 + R^2 / tau for any tau > 0: one form a
neuron for each sign of its coefficient, whatever rows follow.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vlang.runtime import rounding
from vlang.runtime.graph.nodes import Ref
from vlang.runtime.relaxations import Args, Parabolas

#: The share of a neuron's reach at which the cross term of motion and residual is split evenly, and the least reach; certificates state them.
TYPICAL, LEAST = 0.45, 1e-30


@dataclass(frozen=True, eq=False)
class Motion:
    """A node's value: centre + linear . z + something within residual. z: the perturbation in `Coordinates`, its first coordinates.

    shape: centre, residual [B, width]; linear [B, width, D].
    """

    centre: Tensor
    linear: Tensor
    residual: Tensor

    def of(self, ref: Ref) -> Motion:
        part = slice(ref.start, ref.stop)
        return Motion(self.centre[:, part], self.linear[:, part], self.residual[:, part])


@dataclass(frozen=True, eq=False)
class Cushion:
    """The neuron <= its upper plane + 1/2 z' form z + constant[0]; its negative <= its lower one's + the same with [1].

    form: sum over pairs of arguments of weight J_a J_b', J_a an argument's linear motion: of one argument v v', of two v v', v z' + z v' and z z'.
    size: a bound of the spectral norm of the form with every term taken positive; lost: of what underflow may take from a form, whatever its
    coefficients. shape: weights, constant, size [2, B, width]; linear [B, width, D] an argument; lost [B].
    """

    weights: tuple[Tensor, ...]
    constant: Tensor
    size: Tensor
    linear: tuple[Tensor, ...]
    lost: Tensor

    @property
    def dimension(self) -> int:
        return self.linear[0].shape[-1]

    @classmethod
    def of(cls, found: Parabolas, motions: list[Motion], steps: Args) -> Cushion:
        """steps: how far each argument may be from its centre. shape: [B, width]."""
        order = range(len(motions))
        pairs = [(i, j) for i in order for j in order[i:]]
        k = [[torch.zeros(())] * len(motions) for _ in order]
        for (i, j), above, below in zip(pairs, found.upper.curvature, found.lower.curvature, strict=True):
            k[i][j] = k[j][i] = torch.stack([above, -below])
        residual = [m.residual for m in motions]
        constant = torch.zeros_like(k[0][0])
        taus = []
        for i in order:
            typical = (TYPICAL * torch.stack([(k[i][j] * steps[j]) ** 2 for j in order]).sum(0).sqrt()).clamp(min=LEAST)
            taus.append(residual[i] / typical)
            constant = constant + residual[i] * typical / 2 + k[i][i].clamp(min=0) * residual[i] * residual[i] / 2
        if len(motions) == 2:
            constant = constant + k[0][1].abs() * residual[0] * residual[1]
        weights = [k[i][j] + torch.stack([taus[q] * k[q][i] * k[q][j] for q in order]).sum(0) for i, j in pairs]
        # Terms may cancel in a weight; their rounding does not.
        sizes = [k[i][j].abs() + torch.stack([taus[q] * (k[q][i] * k[q][j]).abs() for q in order]).sum(0) for i, j in pairs]
        dimension = max(m.linear.shape[-1] for m in motions)
        jacobians = [torch.nn.functional.pad(m.linear, (0, dimension - m.linear.shape[-1])) for m in motions]
        lengths = [torch.linalg.vector_norm(x, dim=-1) for x in jacobians]
        size = torch.zeros_like(constant)
        for (i, j), entry in zip(pairs, sizes, strict=True):
            size = size + entry * (lengths[i] * lengths[j] + dimension * rounding.UNDERFLOWN) * (1 if i == j else 2)
        lost = dimension * rounding.UNDERFLOWN * (1 + 2 * torch.stack(lengths)).sum((0, -1))
        return cls(tuple(weights), constant, size, tuple(jacobians), lost)

    def factors(self, weights: tuple[Tensor, ...], batch: slice) -> list[tuple[Tensor, Tensor]]:
        """Factors whose products' sum is the forms of rows, H of 1/2 z' H z, not symmetric. weights: of the pairs, by rows.

        shape: weights each [b, R, width] -> [b, R, D, width], [b, width, D] an argument.
        """
        j = [x[batch] for x in self.linear]
        turned = [x.mT[:, None] for x in j]  # [b, 1, D, width]
        if len(j) == 1:
            return [(turned[0] * weights[0][..., None, :], j[0])]
        vv, vz, zz = (w[..., None, :] for w in weights)
        return [(turned[0] * vv + turned[1] * vz, j[0]), (turned[0] * vz + turned[1] * zz, j[1])]
