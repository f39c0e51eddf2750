"""A device that is not there: its tensors refuse to meet those of the CPU, and count the moments in which an accelerator would be waited for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

#: Torch lets it be without a driver: its tensors have shapes, and here numbers too.
DEVICE = torch.device("meta")
#: Operations whose result the host has to wait for.
WAITED_FOR = frozenset({"_local_scalar_dense", "nonzero", "masked_select", "unique2", "_unique2", "unique_dim", "equal", "is_nonzero", "item"})


class MixedError(Exception):
    """Tensors of two devices met."""


class Pretended(Tensor):
    """held: its numbers, on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Pretended:
        found = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype, device=DEVICE
        )
        found.held = held
        return found  # type: ignore[no-any-return]

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"Pretended({self.held})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise MixedError(f"{func} outside of the device")


class Literals(TorchFunctionMode):
    """Numbers that are written in the program: torch would make tensors without numbers of them, here they are sent to the device."""

    def __init__(self, waits: Counter[str]) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (Tensor.__getitem__, Tensor.__setitem__) and isinstance(args[0], Pretended):
            at = args[1] if isinstance(args[1], tuple) else (args[1],)
            args = (args[0], tuple(self._sent(x) if isinstance(x, list) else x for x in at), *args[2:])
            return func(*args, **kwargs)
        like = args[0] if func is Tensor.new_tensor else None
        where = kwargs.get("device", getattr(like, "device", None))
        if func not in (torch.tensor, Tensor.new_tensor, torch.as_tensor) or where is None or torch.device(where).type != DEVICE.type:
            return func(*args, **kwargs)
        data = args[0] if like is None else args[1]
        if isinstance(data, Tensor):
            return func(*args, **kwargs)
        return self._sent(data, **({"dtype": None if like is None else like.dtype} | kwargs | {"device": "cpu"}))

    def _sent(self, data: Any, **kwargs: Any) -> Any:
        self.waits["literal"] += 1
        return torch.tensor(data, **kwargs).to(DEVICE)


class Pretend(TorchDispatchMode):
    """waits: how often the host waited, by operation."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.literals = Literals(self.waits)

    def __enter__(self) -> Self:
        super().__enter__()
        self.literals.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.literals.__exit__(kind, error, trace)
        super().__exit__(kind, error, trace)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = func.__name__.split(".")[0]
        met = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
        there = [x for x in met if isinstance(x, Pretended)]
        to = kwargs.get("device")
        wanted = to is not None and torch.device(to).type == DEVICE.type
        if wanted:
            kwargs["device"] = torch.device("cpu")
        if there and name != "_to_copy" and name != "copy_":
            strangers = [x for x in met if not isinstance(x, Pretended) and x.dim() > 0]
            if name in ("index", "index_put", "index_put_") and isinstance(met[0], Pretended) and all(x.dtype == torch.int64 for x in strangers):
                self.waits["index of the CPU"] += bool(strangers)
            elif strangers:
                raise MixedError(f"{func} of tensors of two devices: {[tuple(x.shape) for x in met]}")
        if there:
            masks = name in ("index", "index_put", "index_put_") and any(x is not None and x.dtype == torch.bool for x in args[1])
            home = name == "_to_copy" and to is not None and not wanted
            if name in WAITED_FOR or masks or home:
                self.waits[name] += 1
        out = func(*tree_map(_held, args), **tree_map(_held, kwargs))
        home = name == "_to_copy" and to is not None and not wanted
        if home or not (there or wanted):
            return out
        own = {id(x.held): x for x in there}
        return tree_map(lambda x: (own[id(x)] if id(x) in own else Pretended(x)) if isinstance(x, Tensor) else x, out)


def _held(x: Any) -> Any:
    return x.held if isinstance(x, Pretended) else x


def moved(run: Callable[[], Any]) -> tuple[Any, Counter[str]]:
    """What a function says on the device, and what it waited for."""
    with Pretend() as mode:
        return run(), mode.waits
