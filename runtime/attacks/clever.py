"""CLEVER for recurrent networks: an estimate of the radius from sampled gradients. It proves nothing.

On a ball of radius R the margin falls by at most sum_k L_k ||delta_k||, L_k the largest dual norm of its gradient by frame k there; so were L_k
known the radius would be at least margin / sum_k w_k L_k, as long as that is within R (Ko et al., 2019, appendix B.2; Weng et al., 2018). The L_k are
estimated: the largest of many sampled gradients, batch by batch, follows a reverse Weibull distribution, whose location is where it ends.
R is not asked of the user: the largest estimate counts, which is about where the estimate on a ball of radius R is R itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vlang.runtime.graph.concrete import logits, unmoved
from vlang.runtime.graph.nodes import Graph
from vlang.runtime.late import LateError, never
from vlang.runtime.sets.ball import Ball, p_norm

#: Balls tried on the way to the one whose estimate is its own radius: first with fewer points and without a fit, then as asked.
COARSE_ROUNDS, ROUNDS = 4, 2
COARSE = 4
#: A ball grows at most so many times from one round to the next.
FURTHEST = 100
#: Times another estimate, beyond which there is no need to look closer.
FAR = 2.0
#: Balls of a larger p are sampled as boxes.
NEARLY_A_BOX = 500
#: Below this spread, relative to their size, the maxima are one number, and there is nothing to fit.
FLAT = 1e-9
#: Bytes of gradients at once.
AT_ONCE = 256 * 2**20
#: Numbers that a gradient keeps for every one of a point's values.
COPIES = 4
#: Shapes of the distribution of maxima that are looked for.
SHAPES = 1e-3, 1e4


@dataclass(frozen=True)
class Estimate:
    """value: the radius. fit: the least p-value of the frames' Kolmogorov-Smirnov tests. points: how many gradients were sampled."""

    value: float
    fit: float
    points: int


def clever(
    graph: Graph,
    inputs: Tensor,
    ball: Ball,
    row: Tensor,
    start: float,
    samples: int,
    batches: int,
    seed: int,
    enough: float = np.inf,
    late: Callable[[], bool] = never,
) -> Estimate:
    """The estimate for one class. shape: inputs [1, m, n], ball of one row at eps = 1, row [classes] (y_j - y_label).

    start: a first R. enough: one that is far above this need not be fitted: another class's estimate counts. late: once it is true, LateError is
    raised.
    """
    generator = np.random.default_rng(seed)
    margin = -float(logits(graph, inputs)[0] @ row)
    weights = ball.radii[0, sorted(ball.frames)].tolist()
    radius, points = start, 0
    best = Estimate(0.0, 1.0, 0)
    for k in range(COARSE_ROUNDS + ROUNDS):
        if late():
            raise LateError
        fine = k >= COARSE_ROUNDS
        count = batches if fine else max(10, batches // COARSE)
        maxima = _steepest(graph, inputs, ball, row, radius, samples, count, generator)
        points += count * samples
        fitted = [_limit(m) if fine else (float(m.max()), 1.0) for m in maxima.T]
        shares = sorted((w * limit for w, (limit, _) in zip(weights, fitted, strict=True)), reverse=True)
        slope = sum(shares[: ball.at_most])
        found = margin / slope if slope > 0 else np.inf
        value = float(min(found, radius))
        if not fine and value > FAR * enough:
            return Estimate(value, 1.0, points)
        if fine and value > best.value:
            best = Estimate(value, min(p for _, p in fitted), points)
        radius = float(min(found, FURTHEST * radius) if found > radius else np.sqrt(radius * found))
    return Estimate(best.value, best.fit, points)


def _steepest(
    graph: Graph, inputs: Tensor, ball: Ball, row: Tensor, radius: float, samples: int, batches: int, generator: np.random.Generator
) -> np.ndarray:
    """The largest dual norm of the margin's gradient by every frame that moves, over so many points of the ball, batch by batch.

    shape: [batches, frames].
    """
    frames = sorted(ball.frames)
    point = COPIES * 8 * (inputs[0].numel() + sum(node.width for node in graph.nodes))
    at_once = max(1, AT_ONCE // (samples * point))  # a constant: products of other sizes round differently
    known, found = unmoved(graph, inputs, ball.frames), []
    for start in range(0, batches, at_once):
        deltas = [_drawn(inputs, ball, samples, generator) * radius for _ in range(start, min(start + at_once, batches))]
        delta = torch.cat(deltas).to(inputs.device)
        if ball.clip is not None:
            delta = torch.minimum(torch.maximum(delta, -ball.clip[0]), ball.clip[1])
        with torch.enable_grad():
            points = (inputs + delta).requires_grad_()
            (gradient,) = torch.autograd.grad((logits(graph, points, known) @ row).sum(), points)
        steepest = p_norm(gradient[:, frames], ball.dual).nan_to_num(torch.inf, torch.inf)  # where nothing can be said, any slope
        found.append(steepest.reshape(len(deltas), samples, len(frames)).amax(1))
    return np.asarray(torch.cat(found).cpu())


def _drawn(inputs: Tensor, ball: Ball, count: int, generator: np.random.Generator) -> Tensor:
    """Points of the set at eps = 1, but for its clip. shape: [count, m, n]."""
    frames = sorted(ball.frames)
    delta = torch.zeros((count, *inputs.shape[1:]), dtype=inputs.dtype)
    for k in frames:
        delta[:, k] = torch.from_numpy(_points(count, inputs.shape[2], ball, generator)) * float(ball.radii[0, k])
    if ball.at_most is not None and ball.at_most < len(frames):
        keep = generator.random((count, len(frames))).argsort(1) < ball.at_most
        delta[:, frames] *= torch.from_numpy(keep)[:, :, None]
    return delta


def _points(count: int, n: int, ball: Ball, generator: np.random.Generator) -> np.ndarray:
    """Points of the unit p-ball: one half evenly, the other at extreme points, where gradients differ most from the centre's. shape: [count, n].

    In many dimensions even points of a 1-norm or an infinity-norm ball are all alike, as far as a weighted sum of coordinates can tell.
    """
    inside = _uniform(count - count // 2, n, ball, generator)
    if ball.norm == 1:
        extreme = np.eye(n)[generator.integers(n, size=count // 2)] * generator.choice([-1.0, 1.0], (count // 2, 1))
    else:
        extreme = _uniform(count // 2, n, ball, generator)
        extreme = np.sign(extreme) if ball.norm is None else extreme / np.linalg.norm(extreme, float(ball.norm), axis=1, keepdims=True)
    return np.concatenate([inside, extreme])


def _uniform(count: int, n: int, ball: Ball, generator: np.random.Generator) -> np.ndarray:
    """Points of the unit p-ball, evenly: |x|^p from a gamma distribution, a random radius (Barthe et al., 2005). shape: [count, n]."""
    p = np.inf if ball.norm is None else float(ball.norm)
    if p > NEARLY_A_BOX:
        return generator.uniform(-1, 1, (count, n))
    x = generator.gamma(1 / p, 1, (count, n)) ** (1 / p) * generator.choice([-1.0, 1.0], (count, n))
    size = (np.abs(x) ** p).sum(1, keepdims=True) ** (1 / p)
    return np.asarray(x * generator.random((count, 1)) ** (1 / n) / size)


def _limit(maxima: np.ndarray) -> tuple[float, float]:
    """Where the maxima's distribution ends, by maximum likelihood, and the p-value of its fit.

    The end is looked for within one range of the maxima above the largest: farther out the likelihood is flat (the Gumbel limit), and nearer than
    the mean spacing it is unbounded (shapes below 1).
    """
    from scipy import optimize, stats  # half a second to import, which other queries do not pay

    top, spread = float(maxima.max()), float(maxima.max()) - float(maxima.min())
    if not np.isfinite(top + spread):  # gradients that are too large, or no numbers: any slope
        return np.inf, 1.0
    if spread <= FLAT * top:
        return top, 1.0

    def shape_and_scale(end: float) -> tuple[float, float]:
        """Where the likelihood's derivatives vanish: one equation for the shape, increasing, then the scale (Johnson et al., 1994, chapter 21)."""
        gaps = (end - maxima) / float(end - maxima.min())
        logs = np.log(gaps)

        def slope(shape: float) -> float:
            powers = gaps**shape
            return float(powers @ logs / powers.sum() - 1 / shape - logs.mean())

        shape = float(optimize.brentq(slope, *SHAPES)) if slope(SHAPES[1]) > 0 else SHAPES[1]
        return shape, float((gaps**shape).mean() ** (1 / shape) * (end - maxima.min()))

    def loss(end: float) -> float:
        shape, scale = shape_and_scale(end)
        return -float(stats.weibull_min.logpdf(end - maxima, shape, 0, scale).sum())

    end = float(optimize.minimize_scalar(loss, bounds=(top + spread / len(maxima), top + spread), method="bounded", options={"maxiter": 30}).x)
    shape, scale = shape_and_scale(end)
    return end, float(stats.kstest(end - maxima, "weibull_min", (shape, 0, scale)).pvalue)
