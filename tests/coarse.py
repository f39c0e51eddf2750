"""Coarse arithmetic: float64 numbers of few bits, every inexact result rounded the way that hurts.

Roundings to nearest are small and cancel on average, so that a bound without one of its error terms is hardly ever wrong, and never by much. Here
every result is rounded by a whole unit to one side, sums one term after the other, and elementary functions are off by all that is allowed of them;
runtime/rounding.py is told the unit. A term that is missing then costs what its proof says that it may (tests/fuzz/terms.py drops each of them).
What is exact stays exact: negation, halves, maxima, gathering. Truth is computed outside, in float64 or rationals, from the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vlang.runtime import rounding

#: Bits of a significand here, its unit roundoff (the relative error of rounding to either side), and by how much that is more than float64's.
BITS = 31
UNIT = 2.0 ** (1 - BITS)
MORE = UNIT / 2**-53
#: The smallest number that is normal, as far above 0 as squares may be of what tests use.
TINY = 2.0**-300
#: To which side: down, up, away from zero, or by a hash of the result (the same number the same way every time). `grid` knows inward too.
RULES = ("down", "up", "outward", "mixed 1", "mixed 2")
#: Elementary functions: each within LIBM_ULPS units.
ELEMENTARY = frozenset({"exp", "log", "log1p", "expm1", "tanh", "sigmoid", "cosh", "special_erfc", "erfc", "pow", "logcumsumexp"})
#: What computes nothing, in place or not.
MOVES = frozenset({"_unsafe_view", "detach", "copy_", "fill_", "zero_", "clone", "_to_copy", "lift_fresh"})


def grid(x: Tensor, rule: str = "inward", bits: int = BITS, tiny: float = TINY) -> Tensor:
    """x as numbers of so many bits."""
    values = np.ascontiguousarray(x.detach().numpy())  # small arrays: numpy is several times faster than torch
    away, low = _outward(values, rule), (1 << (53 - bits)) - 1
    found = ((values.view(np.int64) + away * low) & ~low).view(np.float64)
    small = (np.abs(values) < tiny) & (values != 0)
    if small.any():  # the spacing is that of the smallest normal numbers
        step = tiny * 2.0 ** (1 - bits)
        units = np.abs(values) / step
        found = np.where(small, np.copysign(np.where(away, np.ceil(units), np.floor(units)) * step, values), found)
    return torch.from_numpy(found.reshape(x.shape))


def _outward(x: np.ndarray, rule: str) -> np.ndarray:
    """Where a result is rounded away from zero."""
    match rule.split():
        case ["down"]:
            return x < 0
        case ["up"]:
            return x > 0
        case ["inward"]:
            return np.zeros(x.shape, dtype=bool)
        case ["outward"]:
            return np.isfinite(x)
        case ["mixed", seed]:
            mixed = (x.view(np.uint64) >> np.uint64(3)) * np.uint64(0x2545F4914F6CDD1D) + np.uint64(int(seed) * 0x1B873593CC9E2D51)
            return ((mixed >> np.uint64(37)) & np.uint64(1)).astype(bool)
    raise ValueError(rule)


class Coarse(TorchDispatchMode):
    """Inside it, torch computes in coarse numbers. ulps: how far off elementary functions are."""

    def __init__(self, rule: str, bits: int = BITS, tiny: float = TINY, ulps: int = rounding.LIBM_ULPS) -> None:
        super().__init__()
        self.rule, self.bits, self.tiny, self.ulps = rule, bits, tiny, ulps

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None) -> Any:
        name, kwargs = func._schema.name.removeprefix("aten::"), kwargs or {}
        if func.is_view or name in MOVES:
            return func(*args, **kwargs)
        if func._schema.is_mutable:
            if not name.endswith("_") or "out" in kwargs:
                raise NotImplementedError(str(func))
            args[0].copy_(self._computed(name.removesuffix("_"), func, args, kwargs))
            return args[0]
        return self._computed(name, func, args, kwargs)

    def _computed(self, name: str, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """What an operation without side effects gives."""
        if not any(isinstance(x, Tensor) and x.dtype == torch.float64 for x in _flat(args)):
            return _changed(self._function(name, func)(*args, **kwargs), self._rounded)
        args = tuple(self._scalar(name, i, x) for i, x in enumerate(args))
        own: Callable[..., Any] | None = getattr(self, f"_{name}", None)
        if own is not None:
            return own(*args, **kwargs)
        found = self._function(name, func)(*args, **kwargs)
        if name in ELEMENTARY and not (name == "pow" and args[1] in (1, 2)):
            if name == "sigmoid":  # whose exponential overflows first
                found = torch.where(found < self.tiny, 0.0, found)
            return self._off(found)
        return _changed(found, self._rounded)

    @staticmethod
    def _function(name: str, func: Any) -> Any:
        """The operation, where it is in place the one that is not."""
        if not func._schema.is_mutable:
            return func
        return getattr(getattr(torch.ops.aten, name), func._overloadname)

    def _rounded(self, x: Tensor) -> Tensor:
        return grid(x, self.rule, self.bits, self.tiny) if x.dtype == torch.float64 else x

    def _scalar(self, name: str, position: int, x: Any) -> Any:
        """A number in the program is rounded as any other. Exponents and orders of norms are those that are meant."""
        if isinstance(x, float) and math.isfinite(x) and name not in ("pow", "linalg_vector_norm"):
            return self._rounded(torch.tensor(x, dtype=torch.float64)).item()
        return x

    # -- sums and products, one term after the other ------------------------------------------------------------------

    def _add(self, a: Any, b: Any, alpha: float = 1) -> Tensor:
        return self._rounded(torch.add(torch.as_tensor(a, dtype=torch.float64), b if alpha == 1 else self._rounded(b * alpha)))

    def _sub(self, a: Any, b: Any, alpha: float = 1) -> Tensor:
        return self._add(a, -b, alpha)

    def _rsub(self, a: Any, b: Any, alpha: float = 1) -> Tensor:
        return self._add(b, -a, alpha)

    def _addcmul(self, total: Tensor, a: Tensor, b: Tensor, value: float = 1) -> Tensor:
        assert value == 1
        return self._rounded(total + self._rounded(a * b))

    def _summed(self, terms: Tensor, start: Tensor | None = None) -> Tensor:
        """Over the last axis."""
        total = terms.new_zeros(terms.shape[:-1]) if start is None else start
        for k in range(terms.shape[-1]):
            total = self._rounded(total + terms[..., k])
        return total

    def _sum(self, x: Tensor, dim: Sequence[int] | None = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
        if x.dtype != torch.float64:
            return torch.sum(x) if dim is None else torch.sum(x, dim, keepdim)
        if not dim:
            return self._summed(x.flatten())
        for axis in sorted((d % x.dim() for d in dim), reverse=True):
            x = self._summed(x.movedim(axis, -1)).unsqueeze(axis)
        return x if keepdim else x.squeeze([d % x.dim() for d in dim])

    def _mean(self, x: Tensor, dim: Sequence[int] | None = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
        total = self._sum(x, dim, keepdim)
        return self._rounded(total / (x.numel() // total.numel()))

    def _cumsum(self, x: Tensor, dim: int) -> Tensor:
        parts = x.movedim(dim, -1).unbind(-1)
        found = [parts[0]]
        for part in parts[1:]:
            found.append(self._rounded(found[-1] + part))
        return torch.stack(found, -1).movedim(-1, dim)

    def _mm(self, a: Tensor, b: Tensor, start: Tensor | None = None) -> Tensor:
        """Any of the matrix products."""
        return self._summed(self._rounded(a[..., :, None, :] * b.mT[..., None, :, :]), start)

    _bmm = _mm

    def _mv(self, a: Tensor, b: Tensor) -> Tensor:
        return self._mm(a, b[:, None])[..., 0]

    def _dot(self, a: Tensor, b: Tensor) -> Tensor:
        return self._summed(self._rounded(a * b))

    def _baddbmm(self, total: Tensor, a: Tensor, b: Tensor, beta: float = 1, alpha: float = 1) -> Tensor:
        assert (beta, alpha) == (1, 1)
        return self._mm(a, b, total.expand(a.shape[0], a.shape[1], b.shape[2]))

    _addmm = _baddbmm

    def _linalg_vector_norm(self, x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
        axes = list(range(x.dim())) if dim is None else [dim] if isinstance(dim, int) else list(dim)
        if math.isinf(ord):
            return torch.linalg.vector_norm(x, ord, dim, keepdim)
        if ord == 2:
            return self._rounded(self._sum(self._rounded(x * x), axes, keepdim).sqrt())
        if ord == 1:
            return self._sum(x.abs(), axes, keepdim)
        powers = self._off(x.abs() ** ord)
        return self._off(self._sum(powers, axes, keepdim) ** (1 / ord))

    def _off(self, x: Tensor) -> Tensor:
        """As wrong as an elementary function may be."""
        wrong = (self.ulps - 1) * 2.0 ** (1 - self.bits)
        away = torch.from_numpy(np.asarray(_outward(np.ascontiguousarray(x.numpy()), self.rule)).reshape(x.shape))
        return self._rounded(torch.where(away, x * (1 + wrong), x * (1 - wrong)))

    def _linalg_cholesky_ex(self, a: Tensor, upper: bool = False, check_errors: bool = False) -> tuple[Tensor, Tensor]:
        """Column by column. Where a pivot is not positive, its place is told."""
        n = a.shape[-1]
        factor, failed = torch.zeros_like(a), torch.zeros(a.shape[:-2], dtype=torch.int32)
        for j in range(n):
            column = a[..., j:, j]
            for k in range(j):
                column = self._rounded(column - self._rounded(factor[..., j:, k] * factor[..., j, k, None]))
            pivot = column[..., 0]
            failed = torch.where((failed == 0) & ~(pivot > 0), j + 1, failed)
            root = self._rounded(torch.where(pivot > 0, pivot, torch.nan).sqrt())
            factor[..., j, j] = root
            factor[..., j + 1 :, j] = self._rounded(column[..., 1:] / root[..., None])
        return factor, failed.to(torch.int32)


def _flat(args: Any) -> Iterator[Any]:
    for x in args:
        if isinstance(x, list | tuple):
            yield from _flat(x)
        else:
            yield x


def _changed(found: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Results that are tensors, or tuples or lists of them."""
    if isinstance(found, Tensor):
        return change(found)
    if isinstance(found, list | tuple):
        return type(found)(_changed(x, change) for x in found) if type(found) in (list, tuple) else tuple(_changed(x, change) for x in found)
    return found


@contextmanager
def coarse(rule: str) -> Iterator[None]:
    """Coarse arithmetic, with a policy that knows of it."""

    def unit_roundoff(dtype: torch.dtype) -> float:
        return UNIT if dtype == torch.float64 else torch.finfo(dtype).eps / 2

    changed = {
        "unit_roundoff": unit_roundoff,
        "tiny": lambda _like: TINY,
        "ROOM": rounding.ROOM * MORE,
        "LITTLE_ROOM": rounding.LITTLE_ROOM * MORE,
        "VANISHED": 2.0**-150,
        "UNDERFLOWN": TINY * 2.0**40,
    }
    with mock.patch.multiple(rounding, **changed), Coarse(rule):
        yield


def numbers(seed: int, *shape: int, size: float = 1.0) -> Tensor:
    """Normal numbers that are exact in coarse arithmetic."""
    return grid(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * size)


def exact(x: Tensor) -> list[Fraction]:
    """Every number of a tensor."""
    return [Fraction(v) for v in x.flatten().tolist()]
