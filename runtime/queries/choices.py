"""What the words of a row's text may become, and in how many frames at once."""

from __future__ import annotations

from typing import Any

import torch

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
    assert text is not None
    assert table is not None
    others: list[Tokens] = []
    for k, (shown, number) in enumerate(zip(text.tokens, text.ids, strict=True)):
        word = shown.split(" -> ")[0]
        found: Tokens = ()
        if k in case.frames:
            found = plan.by_word.get(word, plan.by_word.get(word.lower(), ())) if plan.path else nearest(table, number, plan.words, plan.nearest)
        others.append(tuple(x for x in found if x != number))
    return Choices(text.ids, tuple(others), table, loaded.variant.perturbation.frames.at_most or len(case.frames))


def nearest(table: torch.Tensor, number: int, words: tuple[str, ...], count: int) -> Tokens:
    """The tokens whose embeddings are nearest in the 2-norm, without those that stand for no word; equally near ones by number."""
    far = ((table - table[number]) ** 2).sum(-1)
    order = torch.sort(far, stable=True).indices.tolist()
    return tuple(i for i in order if i != number and i < len(words) and is_word(words[i]))[:count]


def is_word(token: str) -> bool:
    """Not one like <unk> or [PAD]."""
    return bool(token) and not (token[0] in "<[" and token[-1] in ">]" and len(token) > 2)
