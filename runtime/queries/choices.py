"""What the words of a row's text may become, and in how many frames at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from vlang.perturbation import AlternativesPlan
from vlang.plan import DataError, Problem
from vlang.runtime.network.load import array
from vlang.runtime.queries.batches import Loaded, text_of
from vlang.runtime.queries.cases import Case
from vlang.runtime.searches.substitutions import Choices, Tokens


def choices_of(loaded: Loaded[Any], case: Case) -> Choices:
    """Of a set of alternatives; made once for every row."""
    if case not in loaded.choices:
        loaded.choices[case] = _made(loaded, case)
    return loaded.choices[case]


def _made(loaded: Loaded[Any], case: Case) -> Choices:
    plan, text, table = loaded.variant.perturbation.alternatives, text_of(loaded.variant, case), loaded.network.embedding
    at_most = loaded.variant.perturbation.frames.at_most or len(case.frames)
    if plan.array is not None:
        return _of_numbers(loaded, case, at_most)
    assert text is not None
    assert table is not None
    others: list[Tokens] = []
    for k, (shown, number) in enumerate(zip(text.tokens, text.ids, strict=True)):
        word = shown.split(" -> ")[0]
        found: Tokens = ()
        if k in case.frames:
            found = nearest(table, number, plan.words, plan.nearest) if not plan.path else () if k in text.parts else of_word(plan, word)
        others.append(tuple(x for x in found if x != number))
    return Choices(text.ids, tuple(others), table, at_most)


def _of_numbers(loaded: Loaded[Any], case: Case, at_most: int) -> Choices:
    """Of frames of numbers: as tokens of a table that is the sample's own frames, and then all of their alternatives."""
    x = loaded.inputs[case.position]
    (m, n), given = x.shape, others_of(loaded, case)
    others = []
    for k, (own, rows) in enumerate(zip(x, given, strict=True)):
        new = [j for j, row in enumerate(rows) if not torch.equal(row, own)] if k in case.frames else []
        others.append(tuple(m + k * len(rows) + j for j in new))
    return Choices(tuple(range(m)), tuple(others), torch.cat([x, given.reshape(-1, n)]), at_most)


def others_of(loaded: Loaded[Any], case: Case) -> torch.Tensor:
    """What each frame of a sample of numbers may become. shape: [m, k, n]. Raises DataError."""
    plan = loaded.variant.perturbation.alternatives.array
    held = array(plan) if len(plan.shape) == 3 else array(plan, [case.sample])[0]
    found = torch.tensor(held.astype(np.float64), dtype=loaded.inputs.dtype, device=loaded.inputs.device)
    if not bool(torch.isfinite(found).all()):
        raise DataError(Problem("not_finite", plan.span, (plan.path,)))
    return found


def of_word(plan: AlternativesPlan, word: str) -> Tokens:
    """What a file lists for a word, as it is written or, where words are no tokenizer's, in small letters."""
    return plan.by_word.get(word, () if plan.exact else plan.by_word.get(word.lower(), ()))


def nearest(table: torch.Tensor, number: int, words: tuple[str, ...], count: int) -> Tokens:
    """The tokens whose embeddings are nearest in the 2-norm, without those that stand for no word; equally near ones by number."""
    far = ((table - table[number]) ** 2).sum(-1)
    order = torch.sort(far, stable=True).indices.tolist()
    return tuple(i for i in order if i != number and i < len(words) and is_word(words[i]))[:count]


def is_word(token: str) -> bool:
    """Not one like <unk> or [PAD]."""
    return bool(token) and not (token[0] in "<[" and token[-1] in ">]" and len(token) > 2)
