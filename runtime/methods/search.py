"""The search for a certified radius: a batch of rows, each with its own bracket, several eps a pass.

A row is certified at eps when its margin's lower bound is above 0. Certified at eps certifies every smaller eps (the set
shrinks), so the bracket is [largest eps ever certified, smallest eps above it that was not]; only its lower end is returned,
and a relaxation that is not monotone in eps costs tightness, never soundness (runtime/README.md, section 6).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vlang.runtime import rounding

#: margins(rows, eps): lower bounds of the margin. shape: rows [A] indices, eps [A] -> [A]. NaN counts as not certified.
Margins = Callable[[Tensor, Tensor], Tensor]

MOST_PER_PASS = 4
MOST_PASSES = 200
#: By how much to go up from an eps that is known to be near the answer.
NEAR = 1.25
#: How far from the estimated root to step, as a share of the bracket's width.
ASIDE = 0.03
#: The power of eps with which a margin is lost, as far as it is known from one point.
STEEPNESS = 3
#: How far down to go at once, as a share of what is too large.
LEAST_SHARE = 0.1
#: After so many passes without halving, bisect.
PATIENCE = 3


@dataclass(frozen=True, eq=False)
class Radii:
    """shape: radius [B], the largest certified eps; complete [B], False where time ran out first; capped [B]."""

    radius: Tensor
    complete: Tensor
    capped: Tensor


def certified_radii(
    margins: Margins,
    guess: Tensor,
    nominal: Tensor,
    tolerance: float,
    most: float,
    late: Callable[[], bool] = lambda: False,
    finished: Callable[[int], None] | None = None,
    known: Tensor | None = None,
    cheap: int = 16,
) -> Radii:
    """Largest certified eps of every row, to a relative `tolerance`.

    guess: first eps to try [B], > 0. nominal: the margin at eps = 0 [B]; rows with nominal <= 0 get 0. most: where to stop.
    late: asked before every pass whether to leave it at that.
    finished: called with the number of rows that have just been decided. known: eps that are certified already [B]; the guess is then
    taken to be near. cheap: rows times eps in one pass up to which more eps cost almost nothing.
    """
    low = torch.zeros_like(guess) if known is None else known.clone()
    growth = 2.0 if known is None else NEAR
    high = torch.full_like(guess, torch.inf)
    # Margins in units of the nominal one, squashed to (-1, 1): what lies far below zero is only "too large".
    f_low, f_high = torch.full_like(guess, 0.5), torch.full_like(guess, -1.0)
    # Where f_low was found: at eps = 0 until something is certified here. And the last end that was replaced, for curvature.
    x_low, x_third, f_third = torch.zeros_like(guess), torch.full_like(guess, torch.nan), torch.full_like(guess, torch.nan)
    aim = guess.clamp(max=most)
    stalled, climbs = torch.zeros_like(guess), torch.zeros_like(guess)
    last_up = torch.zeros_like(guess, dtype=torch.bool)
    active = ((nominal > 0) & (low < most)).nonzero().flatten()
    done = guess.shape[0] - active.numel()
    if finished and done:
        finished(done)
    smallest = rounding.tiny(guess) * 1e30
    for _ in range(MOST_PASSES):
        if active.numel() == 0 or late():
            break
        per_row = max(1, min(MOST_PER_PASS, cheap // active.numel()))
        eps = _points(aim[active], low[active], high[active], last_up[active], stalled[active], tolerance, per_row, most)
        values = margins(active.repeat(per_row), eps.T.reshape(-1)).reshape(per_row, -1).T / nominal[active, None]
        values = torch.where(values.isnan(), -torch.inf, values)
        squashed = torch.where(values.isinf(), values.sign(), values / (1 + values.abs()))
        ok = values > 0
        width = _width(low[active], high[active])
        best = torch.where(ok, eps, 0.0).max(1)
        up = best.values > low[active]
        above = torch.where(~ok & (eps > torch.where(up, best.values, low[active])[:, None]), eps, torch.inf).min(1)
        down = above.values < high[active]
        x_third[active] = torch.where(up, x_low[active], torch.where(down & high[active].isfinite(), high[active], x_third[active]))
        f_third[active] = torch.where(up, f_low[active], torch.where(down & high[active].isfinite(), f_high[active], f_third[active]))
        low[active] = torch.where(up, best.values, low[active])
        x_low[active] = torch.where(up, best.values, x_low[active])
        f_low[active] = torch.where(up, squashed.gather(1, best.indices[:, None])[:, 0], f_low[active])
        high[active] = torch.where(down, above.values, high[active])
        f_high[active] = torch.where(down, squashed.gather(1, above.indices[:, None])[:, 0], f_high[active])
        last_up[active] = up
        narrowed = _width(low[active], high[active]) <= width / 2
        climbs[active] = torch.where(up, climbs[active] + 1, climbs[active])
        stalled[active] = torch.where(narrowed, 0.0, stalled[active] + 1)
        lo, hi, fl, fh = low[active], high[active], f_low[active], f_high[active]
        root = _root(lo, x_low[active], fl, hi, fh, x_third[active], f_third[active])
        # Nothing failed yet: as if the margin lost grew like a power of eps, in longer steps each time that falls short.
        lost = ((1 - 2 * fl) / (1 - fl)).clamp(min=1e-9)
        chord = lo * (lost ** (-1 / STEEPNESS) - 1) * 2 ** (climbs[active] - 1).clamp(max=60)
        upward = torch.where(climbs[active] > 0, lo + torch.maximum(torch.minimum(chord, (growth - 1) * lo), tolerance / 2 * lo), lo * growth)
        # However steep it looks, not to nearly nothing at once.
        aim[active] = torch.where(hi.isinf(), upward, torch.maximum(root, LEAST_SHARE * hi)).clamp(max=most)
        open_ = (hi > lo * (1 + tolerance)) & (lo < most) & (hi > smallest)
        if finished and bool((~open_).any()):
            finished(int((~open_).sum()))
        active = active[open_]
    complete = torch.ones_like(guess, dtype=torch.bool)
    complete[active] = False
    return Radii(low, complete, low >= most)


def _root(low: Tensor, x: Tensor, f: Tensor, high: Tensor, f_high: Tensor, x_third: Tensor, f_third: Tensor) -> Tensor:
    """Where the margin crosses 0, in (low, high): inverse quadratic interpolation through three points where that is inside, else the chord.

    x, f: the last point above 0, which may lie below `low`.
    """
    chord = x + (high - x) * f / (f - f_high)
    bent = (
        x * f_high * f_third / ((f - f_high) * (f - f_third))
        + high * f * f_third / ((f_high - f) * (f_high - f_third))
        + x_third * f * f_high / ((f_third - f) * (f_third - f_high))
    )
    # Interpolation is trusted where it is monotone (Chandrupatla, *Adv. Eng. Software* 28, 1997): the third point lies beyond one end.
    beyond = x_third > high
    near, far = torch.where(beyond, high, x), torch.where(beyond, x, high)
    f_near, f_far = torch.where(beyond, f_high, f), torch.where(beyond, f, f_high)
    share, drop = (near - far) / (x_third - far), (f_near - f_far) / (f_third - f_far)
    monotone = (drop**2 < share) & ((1 - drop) ** 2 < 1 - share)
    return torch.where(monotone & (bent > low) & (bent < high), bent, torch.where((chord > low) & (chord < high), chord, (low + high) / 2))


def _width(low: Tensor, high: Tensor) -> Tensor:
    return torch.where(high.isinf(), torch.inf, high - low)


def _points(aim: Tensor, low: Tensor, high: Tensor, last_up: Tensor, stalled: Tensor, tolerance: float, count: int, most: float) -> Tensor:
    """The eps to try in this pass, strictly inside the bracket. shape: [A] -> [A, count]."""
    bounded = high.isfinite()
    relative = torch.where(bounded & (low > 0), high / low.clamp(min=1e-300) - 1, torch.ones_like(low))
    near = (relative * ASIDE).clamp(min=0.45 * tolerance)
    if count == 1:
        # Step a little past the estimated root on the side that was not moved last, so that both ends close in.
        offsets = torch.where(last_up, near, -near)[:, None]
    else:
        pattern = torch.tensor([-1.0, 1.0, -4.0, 4.0][:count], dtype=aim.dtype, device=aim.device)
        offsets = near[:, None] * pattern
    points = torch.where((bounded & (low > 0))[:, None], aim[:, None] * (1 + offsets), aim[:, None] * _spread(aim, count))
    if count == 1:
        middle = torch.where(low > 0, (low * high.clamp(max=1e300)).sqrt(), high / 4)
        last = relative <= 2 * tolerance  # one pass from the end
        points = torch.where((bounded & (last | (stalled >= PATIENCE)))[:, None], middle[:, None], points)
    # Points outside the bracket would be wasted: one stays between the aim and the end, several are spread evenly inside it.
    inside = torch.arange(1, count + 1, dtype=aim.dtype, device=aim.device) / (count + 1)
    start, stop = low[:, None], high[:, None].clamp(max=1e300)
    nearer = (aim[:, None] + torch.where(points <= start, start, stop)) / 2
    wasted = (points <= start) | (points >= stop)
    points = torch.where(bounded[:, None] & wasted, nearer if count == 1 else start + (stop - start) * inside, points)
    return points.clamp(max=most)


def _spread(aim: Tensor, count: int) -> Tensor:
    """Factors around a guess while the radius is not bracketed."""
    factors = {1: [1.0], 2: [0.8, 1.6], 3: [0.5, 1.0, 2.0], 4: [0.4, 0.8, 1.3, 2.5]}[count]
    return torch.tensor(factors, dtype=aim.dtype, device=aim.device)
