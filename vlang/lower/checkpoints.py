"""Headers of checkpoints: safetensors, and torch's state dicts in both of its file formats, alone or inside what training loops save.

A torch file is a pickle. Its opcodes are replayed with stand-ins for the few globals that torch.load(weights_only=True) admits; nothing of it runs.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

from vlang.lower.files import LONGEST_HEADER, Checkpoint, TensorHeader, reason, safetensors
from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError
from vlang.text.source import Span

STATE_DICT = "torch state dict"
#: What torch < 1.6 begins a file with, pickled.
LEGACY_MAGIC, LEGACY_PICKLES = 0x1950A86A20F9469CFC6C, 3
#: In the names of a recurrent network's tensors.
_RECURRENT = "weight_ih_l0"


def checkpoint(path: str, span: Span) -> Checkpoint:
    """The header of a safetensors file or a torch state dict. Raises SpecError."""
    try:
        with open(path, "rb") as f:
            magic = f.read(200)
        if magic.startswith(b"version https://git-lfs"):
            raise SpecError(d.lfs_pointer(span, path))
        if magic[:4] == b"PK\x03\x04":
            return _chosen(path, _zipped(path, span), span)
        # A safetensors header of 640 bytes begins like a pickle.
        if magic[:2] in (b"\x80\x02", b"\x80\x04", b"\x80\x03", b"\x80\x05") and magic[8:9] != b"{":
            with open(path, "rb") as f:
                return _chosen(path, _loaded(path, span, lambda: _legacy(f)), span)
        return safetensors(path, span)
    except OSError as e:
        raise SpecError(d.unreadable(span, path, reason(e))) from None


@dataclass(frozen=True)
class _Storage:
    dtype: str


@dataclass(frozen=True)
class _Unread:
    """A tensor of a kind that is not read."""

    kind: str


class _ForbiddenError(Exception):
    """The pickle names a global that a state dict does not need."""


class _State(dict[Any, Any]):
    """Stands for an OrderedDict, whose pickle also sets attributes (`_metadata`)."""


def _tensor(storage: Any, offset: Any, shape: Any, *_: Any) -> TensorHeader:
    return TensorHeader(tuple(int(n) for n in shape), storage.dtype)


def _typed(storage: Any, offset: Any, shape: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any) -> Any:
    """A tensor whose storage has no type of its own."""
    return _Unread(f"of type {dtype}")


#: The globals that may be named, and what stands for them.
GLOBALS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _State,
    ("collections", "Counter"): _State,
    ("collections", "defaultdict"): lambda *_: _State(),
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _typed,
    ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
    ("torch._utils", "_rebuild_sparse_tensor"): lambda *_: _Unread("sparse"),
    ("torch._utils", "_rebuild_qtensor"): lambda *_: _Unread("quantized"),
    ("torch", "Size"): tuple,
    ("torch", "device"): lambda *_: None,
    ("torch.serialization", "_get_layout"): lambda *_: None,
    ("builtins", "set"): lambda *_: None,
}
#: Types of numbers, which some tensors are built with.
TYPES = frozenset(
    {
        "bfloat16",
        "bool",
        "float16",
        "float32",
        "float64",
        "float8_e4m3fn",
        "float8_e5m2",
        "int16",
        "int32",
        "int64",
        "int8",
        "uint8",
        "uint16",
        "uint32",
    }
)


class _Header(pickle._Unpickler):
    """An unpickler that can build nothing but names, shapes and dtypes.

    The Python implementation: its memo is a dictionary, where the C one allocates as many slots as a file asks for.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in GLOBALS:
            return GLOBALS[module, name]
        if module in ("torch", "torch.storage") and name.endswith("Storage"):
            return name
        if module == "torch" and name in TYPES:
            return name
        raise _ForbiddenError(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        return _Storage(pid[1] if isinstance(pid[1], str) else "?")


def _loaded(path: str, span: Span, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except _ForbiddenError as e:
        raise SpecError(d.runs_code(span, path, str(e))) from None
    except SpecError:
        raise
    except Exception as e:  # a damaged pickle or zip can raise anything
        raise SpecError(d.damaged(span, path, STATE_DICT, str(e) or type(e).__name__)) from None


def _zipped(path: str, span: Span) -> Any:
    def read() -> Any:
        with zipfile.ZipFile(path) as z:
            name = next((n for n in z.namelist() if n.endswith("/data.pkl") or n == "data.pkl"), None)
            if name is None:
                raise SpecError(d.unknown_format(span, path, "safetensors or a torch state dict (this is another zip file)"))
            if z.getinfo(name).file_size > LONGEST_HEADER:
                raise SpecError(d.damaged(span, path, STATE_DICT, "its index is too large"))
            return _Header(io.BytesIO(z.read(name))).load()

    return _loaded(path, span, read)


def _legacy(f: IO[bytes]) -> Any:
    """The format of torch < 1.6: a magic number, a version, the machine's sizes, the object; then the numbers, which are not read."""
    if _Header(f).load() != LEGACY_MAGIC:
        raise ValueError("it is a pickle, but not one that torch.save wrote")
    for _ in range(LEGACY_PICKLES - 1):
        _Header(f).load()
    return _Header(f).load()


def _chosen(path: str, held: Any, span: Span) -> Checkpoint:
    """The dictionary of tensors: the file itself, or the one entry that is one."""
    if _tensors(held):
        return _checked(path, held, None, span)
    inside = {k: v for k, v in held.items() if isinstance(k, str) and _tensors(v)} if isinstance(held, dict) else {}
    recurrent = [k for k, v in inside.items() if any(n.endswith(_RECURRENT) for n in v)] or list(inside)
    if not recurrent:
        what = "it holds no dictionary of tensors (save model.state_dict(), or an entry called 'state_dict')"
        raise SpecError(d.damaged(span, path, STATE_DICT, what))
    if len(recurrent) > 1:
        raise SpecError(d.several_dicts(span, path, recurrent))
    return _checked(path, inside[recurrent[0]], recurrent[0], span)


def _tensors(held: Any) -> bool:
    return isinstance(held, dict) and bool(held) and all(isinstance(k, str) and isinstance(v, TensorHeader | _Unread) for k, v in held.items())


def _checked(path: str, held: Mapping[str, Any], inside: str | None, span: Span) -> Checkpoint:
    unread = next(((k, v.kind) for k, v in held.items() if isinstance(v, _Unread)), None)
    if unread is not None:
        raise SpecError(d.unread_tensor(span, path, *unread))
    return Checkpoint(path, "torch", held, {}, inside)
