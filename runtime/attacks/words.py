"""Substitution of words: the nearest embeddings that change the class. Exhaustive for one word, guided by the gradient for several."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vlang.runtime.attacks.base import Question, Randoms, careful_margins, frame_norms
from vlang.runtime.graph.concrete import logits, margins

#: Words tried in one pass.
AT_ONCE = 2048
#: Radii tried when several words may change (by bisection), and rounds of substitution at each.
RADII, ROUNDS = 12, 4


@dataclass(frozen=True, eq=False)
class _Row:
    """One row. frames: those that may change. far: each token's distance from each frame's word, in eps. shape: inputs [1, m, n], far [frames, V]."""

    question: Question
    index: int
    embedding: Tensor
    frames: tuple[int, ...]
    far: Tensor

    @property
    def inputs(self) -> Tensor:
        return self.question.inputs[self.index : self.index + 1]

    @property
    def rows(self) -> Tensor:
        return self.question.rows[self.index : self.index + 1]

    def margins(self, points: Tensor) -> Tensor:
        return careful_margins(self.question.graph, points, self.rows.expand(len(points), -1, -1), some=self.question.some)

    def with_words(self, words: Tensor) -> Tensor:
        """The input with words in the frames, -1 for the frame's own. shape: [P, frames] -> [P, m, n]."""
        points = self.inputs.repeat(len(words), 1, 1)
        own = points[:, list(self.frames)]
        points[:, list(self.frames)] = torch.where(words[:, :, None] >= 0, self.embedding[words.clamp(min=0)], own)
        return points

    def reach(self, words: Tensor) -> Tensor:
        """How far the furthest of the words is. shape: [P, frames] -> [P]."""
        far = self.far.gather(1, words.clamp(min=0).T).T
        return torch.where(words >= 0, far, 0.0).amax(1)


def substitute(question: Question, embedding: Tensor, allowed: Tensor, restarts: int, randoms: Randoms) -> tuple[Tensor, Tensor]:
    """For every row the words of the nearest counterexample (-1: as it was) and its distance, infinite where none was found.

    shape: embedding [V, n], allowed [V] (whether a word may stand in) -> [B, m], [B].
    """
    found = torch.full(question.inputs.shape[:2], -1, device=embedding.device)
    distance = torch.full_like(question.inputs[:, 0, 0], torch.inf)
    for b in range(len(found)):
        radii = question.ball.radii[b]
        frames = tuple((radii > 0).nonzero().flatten().tolist())
        delta = embedding - question.inputs[b, list(frames), None]
        far = frame_norms(delta, question.ball) / radii[list(frames), None]
        row = _Row(question, b, embedding, frames, torch.where(allowed & (delta != 0).any(-1) & (far <= question.most), far, torch.inf))
        one = len(frames) == 1 or question.ball.at_most == 1
        words, distance[b] = _exhaust(row) if one else _guided(row, restarts, randoms[b])
        found[b, list(frames)] = words
    return found, distance


def _exhaust(row: _Row) -> tuple[Tensor, Tensor]:
    """Every single substitution, the nearest first."""
    far, order = row.far.flatten().sort()
    size = row.far.shape[1]
    none = torch.full((len(row.frames),), -1, device=far.device)
    for part in torch.split(order[far.isfinite()], AT_ONCE):
        if row.question.late():
            break
        words = none.repeat(len(part), 1)
        words[torch.arange(len(part)), part // size] = part % size
        hit = (row.margins(row.with_words(words)) < 0).nonzero().flatten()
        if len(hit):
            best = words[hit[0]]
            return best, row.reach(best[None])[0]
    return none, far.new_tensor(torch.inf)


def _guided(row: _Row, restarts: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Bisection of the radius; at each, words chosen by the gradient's first-order estimate from several starts (Ebrahimi et al., 2018, HotFlip)."""
    best, distance = torch.full((len(row.frames),), -1, device=row.far.device), row.far.new_tensor(torch.inf)
    known = row.far[row.far.isfinite()].sort().values
    low, high = 0, len(known) - 1
    for _ in range(RADII):
        if low > high or row.question.late():
            break
        middle = (low + high) // 2
        words = _within(row, float(known[middle]), restarts, generator)
        hit = row.margins(row.with_words(words)) < 0
        reach = torch.where(hit, row.reach(words), torch.inf)
        if bool(hit.any()):
            if reach.min() < distance:
                best, distance = words[reach.argmin()], reach.min()
            high = middle - 1
        else:
            low = middle + 1
    return best, distance


def _within(row: _Row, radius: float, restarts: int, generator: torch.Generator) -> Tensor:
    """The best substitutions found with every word within a radius, one a start. shape: [restarts, frames]."""
    allowed = row.far <= radius
    count, at_most = len(row.frames), row.question.ball.at_most
    words = torch.full((restarts, count), -1, device=row.far.device)
    weights = allowed.to(torch.float64).cpu()
    for k in range(count):  # the first start is the text itself
        if restarts > 1 and at_most is None and bool(allowed[k].any()):
            words[1:, k] = torch.multinomial(weights[k], restarts - 1, True, generator=generator).to(words.device)
    best, best_margin = words, row.margins(row.with_words(words))
    for _ in range(ROUNDS):
        points = row.with_words(words)
        with torch.enable_grad():
            moved = points.detach().requires_grad_()
            margin = margins(logits(row.question.graph, moved), row.rows.expand(len(points), -1, -1), row.question.some)
            (gradient,) = torch.autograd.grad(margin.sum(), moved)
        gradient = gradient[:, list(row.frames)]
        gain = gradient @ row.embedding.T - (gradient * row.inputs[0, list(row.frames)]).sum(-1, keepdim=True)  # against the frame's own word
        least, choice = torch.where(allowed, gain, torch.inf).min(-1)
        choice = torch.where(least < 0, choice, -1)
        if at_most is not None and at_most < count:
            kept = torch.zeros_like(least).scatter(1, least.topk(at_most, 1, largest=False).indices, 1.0)
            choice = torch.where(kept > 0, choice, -1)
        words = choice
        margin = row.margins(row.with_words(words))
        better = margin < best_margin
        best, best_margin = torch.where(better[:, None], words, best), torch.where(better, margin, best_margin)
    return best
