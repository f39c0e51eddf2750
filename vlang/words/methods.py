"""Methods: how a margin is bounded on a perturbation set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Method:
    """doc: in a few words. outputs: the method that bounds single outputs (a `bounds` query) for it.

    forms: whether it makes quadratic forms, which need their matrices small. ladder: of a word that stands for several methods, those it climbs,
    cheapest first; refinement: what it spends the rest of a budget on, the first of them that a row's share of it pays. smaller: methods whose proof
    of a row, where they have one, is smaller.
    attempts: passes that find again what a search had warmed up. substitutes: whether bounds are put through all that is below a node.
    begins: the method from whose radius a search goes on. joint: whether values of operations are unknowns of one problem, which must be small; it
    says little more of a margin than its sign. complete: whether sets of few dimensions are searched completely in the end.
    """

    doc: str
    outputs: str
    forms: bool = False
    ladder: tuple[str, ...] = ()
    refinement: tuple[str, ...] = ()
    smaller: tuple[str, ...] = ()
    attempts: int = 1
    substitutes: bool = True
    begins: str | None = None
    joint: bool = False
    complete: bool = False


COMPLETE = "complete"
METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "auto": Method(
            "planes, then quadratic where a row takes less than ten seconds, complete for sets of few dimensions; joint or sliced for a budget",
            "quadratic",
            True,
            ladder=("planes", "quadratic"),
            refinement=("joint", "sliced"),
            complete=True,
        ),
        "interval": Method("constants", "interval", substitutes=False),
        "lines": Method("lines in one argument", "lines"),
        "planes": Method("minimum-volume planes", "planes"),
        "quadratic": Method("planes and quadratic forms", "quadratic", True, smaller=("planes",)),
        "joint": Method(
            "quadratic, then constraints on all operations' graphs at once",
            "quadratic",
            True,
            smaller=("planes", "quadratic"),
            begins="quadratic",
            joint=True,
        ),
        "sliced": Method("quadratic, on pieces of the ball", "quadratic", True, smaller=("planes",)),
        COMPLETE: Method("planes, then boxes that are cut until each is decided", "planes", ladder=("planes",), complete=True),
        "optimized": Method("planes, their slopes moved along the margin's gradient", "planes", attempts=10),
    }
)
#: The largest quadratic forms that are made: their coordinates for 1-norm balls, which need no eigenvalues, and for others.
LARGEST_POLYTOPE, LARGEST_FORM = 1024, 2048
#: Up to so many coordinates, sets that are bounded coordinate by coordinate are seen as they are: tighter than by fewer that the weights see.
LARGEST_FLAT = 256
#: The same, where a method that makes forms is asked for by name and fewer coordinates spare little, or joint bounds see balls of the infinity norm.
LARGEST_NAMED_FLAT = 1024
#: Coefficients of a quadratic constraint on an operation of two arguments, a constant's among them.
CONSTRAINED = 10
#: The most unknowns of a joint bound, whose matrix is factorised some twenty times a row: in half a minute, on two cores.
LARGEST_JOINT = 6000


def computing() -> tuple[str, ...]:
    """The methods that compute something themselves."""
    return tuple(word for word, method in METHODS.items() if not method.ladder)


def ladder(word: str, forms: bool) -> tuple[str, ...]:
    """The methods that a question goes through, each for what those before it could not certify. forms: whether quadratic forms are small enough."""
    begins = METHODS[word].begins
    if begins is not None:
        return begins if forms else "planes", word
    climbed = METHODS[word].ladder
    return tuple(step for step in climbed if forms or not METHODS[step].forms) if climbed else (word,)
