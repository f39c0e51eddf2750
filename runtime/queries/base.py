"""What a query is: it answers the cases of a loaded variant, in groups, and reports rows in order."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from torch import Tensor

from vlang.property import Inequality, Terms
from vlang.results import Frames
from vlang.runtime.device import batch_rows
from vlang.runtime.queries.batches import Loaded, text_of
from vlang.runtime.queries.cases import Case
from vlang.runtime.queries.choices import choices_of
from vlang.runtime.sets.directed import Directed

#: Of a row whose sample the network gets wrong, or where what is asked does not even hold.
MISCLASSIFIED, VIOLATED = "misclassified: the network predicts another class at eps = 0", "the property does not hold of the input itself"
COUNTEREXAMPLE = "misclassified: the input itself is a counterexample"
#: Of a question's key: hexadecimal ones.
KEY_DIGITS = 24


@dataclass(frozen=True)
class Context:
    """finished: called with the number of rows just decided. deadline: in time.monotonic's seconds. stopped: whether somebody wants an end."""

    finished: Callable[[int], None]
    deadline: float | None = None
    stopped: Callable[[], bool] = lambda: False

    def late(self) -> bool:
        """Whether to leave it at what has been certified by now."""
        return self.stopped() or (self.deadline is not None and time.monotonic() > self.deadline)

    def until(self, deadline: float) -> Context:
        """The same with another deadline."""
        return replace(self, deadline=deadline)

    @property
    def reason(self) -> str:
        """Why a row was left undone."""
        return "the run was interrupted before this row" if self.stopped() else "the budget ran out before this row"


def wrong(case: Case, itself: bool) -> str:
    """Why a row has no answer. itself: whether the input itself is a counterexample."""
    return VIOLATED if case.wanted else COUNTEREXAMPLE if itself else MISCLASSIFIED


def chunks(loaded: Loaded[Any]) -> Iterator[tuple[Case, ...]]:
    """The groups of a variant, cut to what fits in memory."""
    for group in loaded.groups():
        size = batch_rows(loaded.graph, group[0].rows, loaded.network.device)
        for start in range(0, len(group), size):
            yield group[start : start + size]


def question_of(loaded: Loaded[Any], case: Case) -> dict[str, Any]:
    """What every row of the report says of its question, as keywords of its type."""
    variant = loaded.variant
    name = variant.network.label_name
    return {
        "sample": case.sample,
        "step": case.step,
        "label": case.said or name(case.label),
        "predicted": case.found or name(case.predicted),
        "target": case.target,
        "frames": case.frames,
        "at_most": variant.perturbation.frames.at_most,
        "tokens": None if (text := text_of(variant, case)) is None else tuple(text.tokens[k] for k in case.frames),
        "norm": variant.perturbation.norm_value,
        "swept": variant.swept,
        "values": listed(loaded.inputs[case.position]) if len(variant.perturbation.frames.rows) > 1 else None,
        "question": key(loaded, case),
    }


def key(loaded: Loaded[Any], case: Case) -> str:
    """What is asked, whoever answers: input, perturbation, classes and eps, without weights, paths and names."""
    variant, limits = loaded.variant, loaded.limits(case)
    text = text_of(variant, case)
    asked = {
        "input": list(text.tokens) if text is not None else digest(loaded.inputs[case.position]),
        "space": "input" if text is None else "embedding",
        "norm": "inf" if limits.norm is None else str(limits.norm),
        # Along directions no weight says how many frames there are.
        **({} if loaded.directed is None else {"directions": directions_in_words(loaded.directed), "shape": list(loaded.inputs.shape[1:])}),
        **({} if variant.perturbation.alternatives is None else {"alternatives": alternatives_in_words(loaded, case)}),
        "weights": [str(w) for w in limits.weights],
        "at_most": limits.at_most,
        "clip": clip_in_words(limits.clip),
        **({} if limits.scale is None else {"scale": [[str(c) for c in row] for row in limits.scale]}),
        **({"property": stated(case.wanted), "some": loaded.some} if case.wanted else {"label": case.label, "against": list(case.classes)}),
        "eps": str(getattr(variant, "eps", None)),
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode("utf-8", "backslashreplace")).hexdigest()[:KEY_DIGITS]


def clip_in_words(clip: tuple[tuple[Fraction, Fraction], ...] | None) -> Any:
    """As certificates, witnesses and keys of questions say it: the ends of one range, or of one for each number."""
    ends = [[str(lo), str(hi)] for lo, hi in clip or ()]
    return None if clip is None else ends[0] if len(ends) == 1 else ends


def alternatives_in_words(loaded: Loaded[Any], case: Case) -> list[list[str]]:
    words, made = loaded.variant.perturbation.alternatives.words, choices_of(loaded, case)
    if loaded.variant.perturbation.alternatives.array is not None:
        return [sorted(digest(made.embedding[k]) for k in others) for others in made.others]
    return [sorted(words[k] for k in others) for others in made.others]


def directions_in_words(directed: Directed) -> Any:
    """Words with their channels, or of an array its digest."""
    return [list(named) for named in directed.named] if directed.given is None else digest(directed.given)


def digest(sample: Tensor) -> str:
    return hashlib.sha256(sample.double().cpu().contiguous().numpy().tobytes()).hexdigest()


def stated(wanted: Sequence[Inequality]) -> list[dict[str, Any]]:
    """What has to hold of the outputs, as certificates and witnesses say it: factors by number of the output, rational numbers as text."""

    def terms(of: Terms) -> list[list[Any]]:
        return [[i, str(c)] for i, c in of]

    return [{"output": terms(w.outputs), "nominal": terms(w.nominal), "absolute": terms(w.absolute), "constant": str(w.constant)} for w in wanted]


def unfinished(context: Context) -> dict[str, Any]:
    """What a row says that a budget or an interruption left undone, as keywords of its type."""
    return {"verdict": "unknown", "reason": context.reason, "complete": False}


def listed(point: Tensor) -> Frames:
    """A sample's frames as numbers. shape: [m, n]."""
    return tuple(tuple(frame) for frame in point.tolist())
