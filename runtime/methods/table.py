"""The tables of methods: lower bounds of a margin on a batch of perturbation sets, at any eps.

To add one: write what it does, add its line here and its word to vlang/words/methods.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from vlang.runtime.methods.pieces import sliced
from vlang.runtime.methods.questions import INTERVAL, LINES, PLANES, QUADRATIC, Asked, Bounds, Margins, joint
from vlang.runtime.methods.slopes import optimized


def whole(bounds: Bounds) -> Callable[[Asked], Margins]:
    """The ball as one piece."""
    return lambda asked: lambda index, eps: asked.relax(bounds, index, eps)


def jointly(asked: Asked) -> Margins:
    """The ball as one piece, on boxes that do not cost more than what is made of them."""
    return whole(joint(asked.worthwhile))(asked)


#: Method by word: what to do with a batch of questions.
METHODS: Mapping[str, Callable[[Asked], Margins]] = MappingProxyType(
    {
        "interval": whole(INTERVAL),
        "lines": whole(LINES),
        "planes": whole(PLANES),
        "quadratic": whole(QUADRATIC),
        "joint": jointly,
        "sliced": sliced,
        "optimized": optimized,
    }
)
#: The bounds of single outputs, by the word of the method that makes them.
BOUNDS: Mapping[str, Bounds] = MappingProxyType({"interval": INTERVAL, "lines": LINES, "planes": PLANES, "quadratic": QUADRATIC})
