"""The small graph that every interpreter walks.

A network unrolled over its frames is a list of nodes in topological order: an input frame, a constant, an affine map, or an
elementwise nonlinearity (a key of `RELAXATIONS`). Concrete evaluation, interval bounds and linear bounds are interpreters of
this graph; cells only write it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from vlang.runtime.relaxations import RELAXATIONS


@dataclass(frozen=True)
class Ref:
    """Elements start..stop of a node's value."""

    node: int
    start: int
    stop: int

    @property
    def width(self) -> int:
        return self.stop - self.start

    def split(self, parts: int) -> tuple[Ref, ...]:
        """Equal consecutive parts."""
        size = self.width // parts
        return tuple(Ref(self.node, self.start + i * size, self.start + (i + 1) * size) for i in range(parts))


@dataclass(frozen=True)
class Input:
    """One frame of the input."""

    frame: int
    width: int


@dataclass(frozen=True, eq=False)
class Constant:
    """A value that does not depend on the input. shape: value [width]."""

    value: Tensor
    width: int


@dataclass(frozen=True, eq=False)
class Term:
    """weight @ ref, or ref itself where weight is None. shape: weight [out, ref.width]."""

    ref: Ref
    weight: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Factor:
    """numerator / divisor, or numerator / sqrt(divisor + under_root), unit by unit: numbers that weights hold rounded. shape: each [width]."""

    numerator: Tensor
    divisor: Tensor
    under_root: float | None = None

    @property
    def rounded(self) -> Tensor:
        return self.numerator / (self.divisor if self.under_root is None else (self.divisor + self.under_root).sqrt())

    @property
    def roundings(self) -> int:
        """By how many units in the last place `rounded` may be wrong: of the quotient; of the sum (halved by the root) and the root."""
        return 1 if self.under_root is None else 3


@dataclass(frozen=True, eq=False)
class Affine:
    """Sum of terms plus bias. shape: bias, size [width].

    factor: what every term is multiplied by, unit by unit and exactly; weights hold it rounded, on their diagonals.

    For float32 forward passes, what torch's own order of operations adds up besides the terms: size, of the biases apart; beside, other values.
    """

    terms: tuple[Term, ...]
    bias: Tensor
    width: int
    size: Tensor
    beside: tuple[Ref, ...] = ()
    factor: Factor | None = None

    @property
    def roundings(self) -> int:
        """What the weights themselves are wrong by."""
        return 0 if self.factor is None else self.factor.roundings


@dataclass(frozen=True)
class Nonlinear:
    """RELAXATIONS[op] applied elementwise."""

    op: str
    args: tuple[Ref, ...]
    width: int


Node = Input | Constant | Affine | Nonlinear


def parents(node: Node) -> tuple[Ref, ...]:
    match node:
        case Affine(terms=terms):
            return tuple(t.ref for t in terms)
        case Nonlinear(args=args):
            return args
    return ()


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in topological order; `output` is the node of the logits."""

    nodes: tuple[Node, ...]
    output: int
    frames: int

    def relaxed_arguments(self) -> frozenset[int]:
        """The nodes whose boxes matter: those that some nonlinearity takes as an argument."""
        return frozenset(r.node for n in self.nodes if isinstance(n, Nonlinear) for r in n.args)

    def with_one(self) -> Graph:
        """The same with the number 1 beside its outputs: rows over them may have constants."""
        width = self.nodes[self.output].width
        bias = next(n.bias for n in self.nodes if isinstance(n, Affine))
        eye = torch.eye(width + 1, dtype=bias.dtype, device=bias.device)
        last = Affine((Term(Ref(self.output, 0, width), eye[:, :width]),), eye[-1], width + 1, eye[-1])
        return Graph((*self.nodes, last), len(self.nodes), self.frames)

    def reached_from(self, frames: frozenset[int]) -> tuple[bool, ...]:
        """For every node, whether its value depends on one of these frames."""
        hit: list[bool] = []
        for node in self.nodes:
            hit.append(node.frame in frames if isinstance(node, Input) else any(hit[r.node] for r in parents(node)))
        return tuple(hit)


@dataclass
class GraphBuilder:
    """Collects nodes; each method returns a reference to the new node's whole value."""

    dtype: torch.dtype = torch.float64
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    nodes: list[Node] = field(default_factory=list)

    def _add(self, node: Node) -> Ref:
        self.nodes.append(node)
        return Ref(len(self.nodes) - 1, 0, node.width)

    def input(self, frame: int, width: int) -> Ref:
        return self._add(Input(frame, width))

    def constant(self, value: Tensor) -> Ref:
        return self._add(Constant(value, value.shape[0]))

    def affine(self, *terms: tuple[Ref, Tensor | None], bias: Tensor | None = None, size: Tensor | None = None, beside: tuple[Ref, ...] = ()) -> Ref:
        """Sum of weight @ ref (or ref itself) plus bias."""
        ref, weight = terms[0]
        width = ref.width if weight is None else weight.shape[0]
        bias = torch.zeros(width, dtype=self.dtype, device=self.device) if bias is None else bias
        return self._add(Affine(tuple(Term(r, w) for r, w in terms), bias, width, bias.abs() if size is None else size, beside))

    def scaled(self, factor: Factor, *refs: Ref, bias: Tensor | None = None, size: Tensor | None = None) -> Ref:
        """The sum of some values, multiplied unit by unit, plus bias."""
        width = refs[0].width
        bias = torch.zeros(width, dtype=self.dtype, device=self.device) if bias is None else bias
        weight = torch.diag(factor.rounded)
        return self._add(Affine(tuple(Term(r, weight) for r in refs), bias, width, bias.abs() if size is None else size, factor=factor))

    def mean(self, refs: tuple[Ref, ...]) -> Ref:
        """Of values of one width, as torch's mean: divided by their number, not multiplied by a rounded share."""
        one = torch.ones(refs[0].width, dtype=self.dtype, device=self.device)
        return self.scaled(Factor(one, one * len(refs)), *refs)

    def apply(self, op: str, *args: Ref) -> Ref:
        """An elementwise nonlinearity; its arguments have one width.

        It reads no input itself: walks find an input's centre in the affine map that reads it.
        """
        args = tuple(self.affine((r, None)) if isinstance(self.nodes[r.node], Input) else r for r in args)
        if RELAXATIONS[op].arity != len(args) or len({r.width for r in args}) != 1:
            raise ValueError(f"{op} takes {RELAXATIONS[op].arity} arguments of one width, got widths {[r.width for r in args]}")
        return self._add(Nonlinear(op, args, args[0].width))

    def ends_with(self, ref: Ref) -> bool:
        """Whether that is the whole last node, an affine map."""
        return isinstance(self.nodes[-1], Affine) and ref == Ref(len(self.nodes) - 1, 0, self.nodes[-1].width)

    def before(self, frames: list[Ref], graph: Graph) -> Graph:
        """A graph that reads nodes of this one in place of its input's frames."""
        place: dict[int, int] = {}

        def there(ref: Ref) -> Ref:
            return Ref(place[ref.node], ref.start, ref.stop)

        for i, node in enumerate(graph.nodes):
            match node:
                case Input(frame=frame):
                    place[i] = frames[frame].node
                    continue
                case Affine(terms=terms, beside=beside):
                    moved: Node = replace(node, terms=tuple(Term(there(t.ref), t.weight) for t in terms), beside=tuple(map(there, beside)))
                case Nonlinear(args=args):
                    moved = replace(node, args=tuple(map(there, args)))
                case _:
                    moved = node
            place[i] = self._add(moved).node
        return self.build(Ref(place[graph.output], 0, graph.nodes[graph.output].width))

    def build(self, output: Ref) -> Graph:
        frames = sum(isinstance(n, Input) for n in self.nodes)
        return Graph(tuple(self.nodes), output.node, frames)
