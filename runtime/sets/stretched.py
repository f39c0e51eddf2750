"""Sets in units of their own: x + scale u, u in a ball. The network reads them through one more layer, of which u is the input that moves.

So nothing that bounds or attacks knows of it: the graph has the sample's frames, which rest, and as many for u, whose balls are plain ones at 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vlang.runtime.graph.nodes import Affine, Graph, Input, Node, Nonlinear, Ref, Term


@dataclass(frozen=True, eq=False)
class Stretched:
    """shape: scale [m, n], each number at least what is asked for proofs, and at most for counterexamples."""

    scale: Tensor

    def graph(self, graph: Graph) -> Graph:
        """The same network on the sample's frames and, behind them, those of u; its own nodes follow, in order."""
        m, n = self.scale.shape
        zero = self.scale.new_zeros(n)
        nodes: list[Node] = [Input(k, n) for k in range(2 * m)]
        for k in range(m):
            nodes.append(Affine((Term(Ref(k, 0, n)), Term(Ref(m + k, 0, n), torch.diag(self.scale[k]))), zero, n, zero))

        def there(ref: Ref) -> Ref:
            return Ref(ref.node + 2 * m, ref.start, ref.stop)  # of what was an input, the affine map: inputs come first

        for node in graph.nodes[m:]:
            match node:
                case Affine():
                    terms, beside = tuple(Term(there(t.ref), t.weight) for t in node.terms), tuple(map(there, node.beside))
                    nodes.append(Affine(terms, node.bias, node.width, node.size, beside, node.factor))
                case Nonlinear():
                    nodes.append(Nonlinear(node.op, tuple(map(there, node.args)), node.width))
                case _:
                    nodes.append(node)
        return Graph(tuple(nodes), graph.output + 2 * m, 2 * m)

    def inputs(self, x: Tensor) -> Tensor:
        """With u = 0. shape: [B, m, n] -> [B, 2 m, n]."""
        return torch.cat([x, torch.zeros_like(x)], 1)

    def points(self, x: Tensor, delta: Tensor) -> Tensor:
        """Where u has moved. shape: x [B, m, n], delta [B, 2 m, n] -> [B, m, n]."""
        return x + self.scale * delta[:, x.shape[1] :]
