"""The search for a certified radius: a batch of rows, each with its own bracket, one eps of each a pass.

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
from vlang.runtime.late import LateError

#: margins(rows, eps): lower bounds of the margin. shape: rows [A] indices, eps [A] -> [A]. NaN counts as not certified.
Margins = Callable[[Tensor, Tensor], Tensor]

MOST_PASSES = 200
#: By how much to go up from an eps that is known to be near the answer.
NEAR = 1.25
#: How far from the estimated root to step, as a share of the tolerance: a root that is known so well is bracketed by two passes.
ASIDE = 0.15
#: The power of eps with which a margin is lost, as far as it is known from one point: where that is certified, and where it is not.
STEEPNESS, DESCENT = 2, 1.5
#: How far down to go at once, as a share of what is too large.
LEAST_SHARE = 0.1
#: A row of which nothing is certified at this share of the first guess has no radius that is worth a search.
HOPELESS = 1e-30
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
    signs: bool = False,
) -> Radii:
    """Largest certified eps of every row, to a relative `tolerance`.

    guess: first eps to try [B], > 0. nominal: the margin at eps = 0 [B]; rows with nominal <= 0 get 0. most: where to stop.
    late: asked before every pass whether to leave it at that; a pass that raises LateError ends the search too.
    finished: called with the number of rows that have just been decided. known: eps that are certified already [B]; the guess is then
    taken to be near. signs: margins say little more than their sign, and brackets are bisected.
    """
    low = torch.zeros_like(guess) if known is None else known.clone()
    growth = 2.0 if known is None else NEAR
    high = torch.full_like(guess, torch.inf)
    # Margins in units of the nominal one, squashed to (-1, 1): what lies far below zero is only "too large".
    f_low, f_high = torch.full_like(guess, 0.5), torch.full_like(guess, -1.0)
    aim = guess.clamp(max=most)
    stalled, climbs = torch.zeros_like(guess), torch.zeros_like(guess)
    last_up = torch.zeros_like(guess, dtype=torch.bool)
    active = ((nominal > 0) & (low < most)).nonzero().flatten()
    done = guess.shape[0] - active.numel()
    if finished and done:
        finished(done)
    smallest = (aim * HOPELESS).clamp(min=rounding.tiny(guess) * 1e30)
    for _ in range(MOST_PASSES):
        if active.numel() == 0 or late():
            break
        eps = _point(aim[active], low[active], high[active], last_up[active], stalled[active], tolerance, most)
        try:
            values = margins(active, eps) / nominal[active]
        except LateError:
            break
        values = torch.where(values.isnan(), -torch.inf, values)
        squashed = torch.where(values.isinf(), values.sign(), values / (1 + values.abs()))
        ok = values > 0
        width = _width(low[active], high[active])
        up = ok & (eps > low[active])
        down = ~ok & (eps > low[active]) & (eps < high[active])
        low[active] = torch.where(up, eps, low[active])
        f_low[active] = torch.where(up, squashed, f_low[active])
        high[active] = torch.where(down, eps, high[active])
        f_high[active] = torch.where(down, squashed, f_high[active])
        last_up[active] = up
        narrowed = _width(low[active], high[active]) <= width / 2
        climbs[active] = torch.where(up, climbs[active] + 1, climbs[active])
        stalled[active] = torch.where(narrowed, 0.0, stalled[active] + 1)
        lo, hi, fl, fh = low[active], high[active], f_low[active], f_high[active]
        root = _power(lo, fl, hi, fh)
        # Nothing failed yet: as if the margin lost grew like a power of eps, in longer steps each time that falls short.
        lost = ((1 - 2 * fl) / (1 - fl)).clamp(min=1e-9)
        chord = lo * (lost ** (-1 / STEEPNESS) - 1) * 2 ** (climbs[active] - 1).clamp(max=60)
        if signs:
            root = (lo * hi).sqrt()
        upward = torch.where(
            (climbs[active] > 0) & (not signs), lo + torch.maximum(torch.minimum(chord, (growth - 1) * lo), tolerance / 2 * lo), lo * growth
        )
        # However steep it looks, not to nearly nothing at once.
        aim[active] = torch.where(hi.isinf(), upward, torch.maximum(root, LEAST_SHARE * hi)).clamp(max=most)
        open_ = (hi > lo * (1 + tolerance)) & (lo < most) & (hi > smallest[active])
        if finished and bool((~open_).any()):
            finished(int((~open_).sum()))
        active = active[open_]
    complete = torch.ones_like(guess, dtype=torch.bool)
    complete[active] = False
    return Radii(low, complete, low >= most)


def _power(low: Tensor, f: Tensor, high: Tensor, f_high: Tensor) -> Tensor:
    """Where the margin crosses 0 if what is lost of it grows like a power of eps: through both ends of a bracket, or the power DESCENT if nothing was
    certified yet. f: squashed margins, of 1 - lost."""
    lost, lost_high = ((1 - 2 * f) / (1 - f)).clamp(min=1e-9), 1 / (1 + f_high).clamp(min=1e-9)
    share = -lost.log() / (lost_high.log() - lost.log()).clamp(min=1e-9)
    between = low * (high / low.clamp(min=1e-300)) ** share
    return torch.where(low > 0, between, high * lost_high ** (-1 / DESCENT))


def _width(low: Tensor, high: Tensor) -> Tensor:
    return torch.where(high.isinf(), torch.inf, high - low)


def _point(aim: Tensor, low: Tensor, high: Tensor, last_up: Tensor, stalled: Tensor, tolerance: float, most: float) -> Tensor:
    """The eps to try in this pass, strictly inside the bracket. shape: [A]."""
    bounded = high.isfinite() & (low > 0)
    relative = torch.where(bounded, high / low.clamp(min=1e-300) - 1, torch.ones_like(low))
    # Step a little past the estimated root on the side that was not moved last, so that both ends close in.
    near = ASIDE * tolerance
    point = torch.where(bounded, aim * torch.where(last_up, 1 + near, 1 - near), aim)
    middle = torch.where(low > 0, (low * high.clamp(max=1e300)).sqrt(), high / 4)
    last = relative <= 2 * tolerance  # one pass from the end
    point = torch.where(high.isfinite() & (last | (stalled >= PATIENCE)), middle, point)
    # One that is outside the bracket would be wasted: between the aim and the end instead.
    nearer = (aim + torch.where(point <= low, low, high.clamp(max=1e300))) / 2
    point = rounding.tried(torch.where(high.isfinite() & ((point <= low) | (point >= high)), nearer, point), tolerance)
    # Rounding may have put it onto the lower end: a small step above that.
    above = rounding.tried(torch.minimum(low * (1 + tolerance / 4), (low + high.clamp(max=1e300)) / 2), tolerance)
    return torch.where(point > low, point, above).clamp(max=most)
