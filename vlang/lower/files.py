"""Headers of the files a spec names, read without torch, numpy or running anything they hold.

Sizes in headers are checked against the file's size before anything is allocated.
"""

from __future__ import annotations

import ast
import json
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from vlang.text import diagnostics as d
from vlang.text.diagnostics import SpecError, nearest
from vlang.text.source import Span

LONGEST_HEADER = 100 * 2**20
FLOAT_TYPES = frozenset({"F16", "BF16", "F32", "F64", "HalfStorage", "BFloat16Storage", "FloatStorage", "DoubleStorage"})
NUMPY_TYPES = frozenset({"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"})
#: struct's letters of numpy's integers.
INTEGER_CODES = {"i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q"}
#: What files of one array and of several begin with.
NUMPY, ZIP = b"\x93NUMPY", b"PK"
#: What a dataset is read from.
ARRAYS = "arrays of numpy: np.save(\"inputs.npy\", x) for 'inputs' and 'labels', or np.savez(\"data.npz\", inputs=x, labels=y) for 'source'"
#: Sequences of their own lengths in one file.
MOST_OFFSETS = 2_000_000
#: Bytes per element of safetensors types.
SIZES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1}


@dataclass(frozen=True)
class TensorHeader:
    shape: tuple[int, ...]
    dtype: str

    @property
    def floating(self) -> bool:
        return self.dtype in FLOAT_TYPES


@dataclass(frozen=True)
class Checkpoint:
    """format: 'safetensors' or 'torch'. metadata: strings by name, empty for torch files. inside: the entry of the file that holds the tensors."""

    path: str
    format: str
    tensors: Mapping[str, TensorHeader]
    metadata: Mapping[str, str]
    inside: str | None = None


def locate(folder: Path, name: str, span: Span) -> str:
    """The absolute path of an existing, non-empty, readable file. Raises SpecError."""
    if not name.strip():
        raise SpecError(d.empty_path(span))
    path = folder / os.path.expanduser(name)
    try:
        if path.is_dir():
            raise SpecError(d.is_directory(span, name))
        if not path.exists():
            siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
            near = nearest(path.name, siblings)
            raise SpecError(d.missing_file(span, name, None if near is None else str(Path(name).parent / near), str(path)))
        if not path.is_file():
            raise SpecError(d.unreadable(span, name, "it is no regular file"))
        if path.stat().st_size == 0:
            raise SpecError(d.empty_file(span, name))
        with path.open("rb"):
            pass
    except (OSError, ValueError) as e:
        raise SpecError(d.unreadable(span, name, reason(e))) from None
    return str(path.resolve())


def reason(e: Exception) -> str:
    return (e.strerror or str(e)).lower() if isinstance(e, OSError) else str(e)


def read_text(path: str, span: Span) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as e:
        raise SpecError(d.damaged(span, path, "text file", f"not UTF-8 at byte {e.start}")) from None
    except OSError as e:
        raise SpecError(d.unreadable(span, path, reason(e))) from None


def strictly(text: str) -> Any:
    """JSON in which no key of a record stands twice: which of them is meant is not guessed. Raises ValueError."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        held = dict(pairs)
        if len(held) < len(pairs):
            raise ValueError("a key stands in it twice")
        return held

    return json.loads(text.removeprefix("\ufeff"), object_pairs_hook=once)


def safetensors(path: str, span: Span) -> Checkpoint:
    what = "safetensors file"
    size = os.path.getsize(path)
    with open(path, "rb") as f:
        head = f.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else -1
        if not 0 < length <= LONGEST_HEADER:
            raise SpecError(d.unknown_format(span, path, "safetensors (.safetensors) or a torch state dict (.pt)"))
        if 8 + length > size:
            raise SpecError(d.damaged(span, path, what, f"its header needs {length} bytes, the file has {size - 8}; it is truncated"))
        raw = f.read(length)
    try:
        header = json.loads(raw)
        metadata = header.pop("__metadata__", {})
        tensors = {str(k): TensorHeader(tuple(int(n) for n in v["shape"]), str(v["dtype"])) for k, v in header.items()}
        ends = {str(k): (int(v["data_offsets"][0]), int(v["data_offsets"][1])) for k, v in header.items()}
        if any(not isinstance(v, str) for v in metadata.values()):
            raise ValueError("metadata must be texts")
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError):
        raise SpecError(d.damaged(span, path, what, "its header is not what safetensors writes")) from None
    for name, tensor in tensors.items():
        begin, end = ends[name]
        if tensor.dtype not in SIZES:
            raise SpecError(d.unread_tensor(span, path, name, f"of type {tensor.dtype}"))
        wanted = math.prod(tensor.shape) * SIZES[tensor.dtype]
        if min(tensor.shape, default=0) < 0 or begin < 0 or end - begin != wanted:
            raise SpecError(d.damaged(span, path, what, f"tensor '{name}' has a size that does not fit its shape"))
        if 8 + length + end > size:
            raise SpecError(d.damaged(span, path, what, f"tensor '{name}' ends at byte {8 + length + end}, the file at {size}; it is truncated"))
    return Checkpoint(path, "safetensors", tensors, metadata)


# -- numpy files ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ArrayHeader:
    """dtype: as numpy writes it; of a structured one, what it is in words. columns_first: in Fortran's order."""

    shape: tuple[int, ...]
    dtype: str
    columns_first: bool = False

    @property
    def integral(self) -> bool:
        return self.dtype[1:2] in "iub"

    @property
    def plain(self) -> bool:
        """Whether it holds numbers that are read."""
        return self.dtype[1:] in NUMPY_TYPES

    @property
    def texts(self) -> bool:
        return self.dtype[1:2] in "US"

    @property
    def what(self) -> str:
        """What it holds, in words."""
        pickled = "pickled objects (save plain numbers: one array, or inputs and offsets where sequences have their own lengths)"
        kinds = {"O": pickled, "c": "complex numbers", "M": "dates", "m": "durations", "V": "records", "U": "texts", "S": "texts"}
        return "plain numbers" if self.plain else kinds.get(self.dtype[1:2], self.dtype)


def _expect(begin: bytes, magic: bytes, others: Mapping[bytes, str], path: str, span: Span) -> None:
    """Refuse a file that begins otherwise; others: what to use for files of another kind. Raises SpecError."""
    if begin.startswith(b"version https://git-lfs"):
        raise SpecError(d.lfs_pointer(span, path))
    if not begin.startswith(magic):
        raise SpecError(d.unknown_format(span, path, next((cure for other, cure in others.items() if begin.startswith(other)), ARRAYS)))


def npy(path: str, span: Span) -> ArrayHeader:
    """Raises SpecError."""
    with open(path, "rb") as f:
        _expect(f.read(200), NUMPY, {ZIP: "'source' for an .npz file with both inputs and labels"}, path, span)
        f.seek(0)
        return npy_header(f, os.path.getsize(path), path, span)


def npz(path: str, span: Span) -> dict[str, ArrayHeader]:
    """Every array in it. Raises SpecError."""
    with open(path, "rb") as file:
        _expect(file.read(200), ZIP, {NUMPY: "'inputs' and 'labels' for .npy files"}, path, span)
    try:
        with zipfile.ZipFile(path) as z:
            found = {}
            for info in z.infolist():
                if info.filename.endswith(".npy"):
                    with z.open(info) as f:
                        found[info.filename[:-4]] = npy_header(f, info.file_size, path, span)
            if not found:
                raise SpecError(d.unknown_format(span, path, ARRAYS))
            return found
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError) as e:
        raise SpecError(d.damaged(span, path, ".npz file", str(e))) from None


def whole_numbers(path: str, name: str, span: Span) -> tuple[int, ...]:
    """The numbers of a one-dimensional integer array in an .npz. Raises SpecError."""
    found = integers(path, name, span)
    if found is None or len(found[1]) != 1:
        raise SpecError(d.damaged(span, path, ".npz file", f"its array '{name}' is no list of at most {MOST_OFFSETS} whole numbers"))
    return found[0]


def integers(path: str, name: str | None, span: Span) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The numbers of an integer array, row by row, and its shape; None where it is no such array, or too large. Raises SpecError.

    name: of a member of an .npz; None for an .npy.
    """
    try:
        if name is None:
            with open(path, "rb") as held:
                return _integers(held, npy_header(held, os.path.getsize(path), path, span), path, "its array", span)
        with zipfile.ZipFile(path) as z, z.open(f"{name}.npy") as f:
            return _integers(f, npy_header(f, z.getinfo(f"{name}.npy").file_size, path, span), path, name, span)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError, struct.error, KeyError) as e:
        raise SpecError(d.damaged(span, path, ".npz file", str(e))) from None


def _integers(f: IO[bytes], header: ArrayHeader, path: str, name: str, span: Span) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    if header.dtype[1:] == "O":
        raise SpecError(d.unread_array(span, path, name, header.what))
    count = math.prod(header.shape)
    if header.dtype[1:] not in INTEGER_CODES or count > MOST_OFFSETS or (header.columns_first and len(header.shape) > 1):
        return None
    order = ">" if header.dtype[0] == ">" else "<"
    return struct.unpack(f"{order}{count}{INTEGER_CODES[header.dtype[1:]]}", f.read(count * int(header.dtype[2:]))), header.shape


def reals(path: str, span: Span) -> tuple[tuple[float, ...], tuple[int, ...]] | None:
    """The numbers of an .npy of floats, row by row, and its shape; None where it is no such array, or too large. Raises SpecError."""
    npy(path, span)  # which says what else it is
    with open(path, "rb") as f:
        header = npy_header(f, os.path.getsize(path), path, span)
        count, codes = math.prod(header.shape), {"f4": "f", "f8": "d"}
        if header.dtype[1:] not in codes or count > MOST_OFFSETS or (header.columns_first and len(header.shape) > 2):
            return None
        order = ">" if header.dtype[0] == ">" else "<"
        found = struct.unpack(f"{order}{count}{codes[header.dtype[1:]]}", f.read(count * int(header.dtype[2:])))
        if header.columns_first and len(header.shape) == 2:
            rows, columns = header.shape
            found = tuple(found[j * rows + i] for i in range(rows) for j in range(columns))
        return found, header.shape


def npy_header(f: IO[bytes], size: int, path: str, span: Span) -> ArrayHeader:
    """The header of the .npy format, versions 1 to 3 (numpy/lib/format.py documents it)."""
    try:
        magic = f.read(8)
        if len(magic) < 8 or magic[:6] != b"\x93NUMPY" or magic[6] not in (1, 2, 3):
            raise SpecError(d.damaged(span, path, ".npy file", "it does not begin like one"))
        width = 2 if magic[6] == 1 else 4
        length = int.from_bytes(f.read(width), "little")
        if length > min(size, 2**20):
            raise ValueError("its header is too long; it is truncated")
        header = ast.literal_eval(f.read(length).decode("latin-1"))
        shape, dtype = tuple(header["shape"]), header["descr"]
        if set(header) != {"descr", "fortran_order", "shape"} or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError("its header is not what numpy writes")
        if not isinstance(dtype, str):
            return ArrayHeader(shape, f"records of {', '.join(str(x[0]) for x in dtype)}")
        width_of = int(dtype[2:]) if dtype[2:].isdigit() else 0
        wanted = math.prod(shape) * width_of * (4 if dtype[1:2] == "U" else 1)
        if 8 + width + length + wanted > size:
            raise ValueError(f"it should hold {wanted} bytes of numbers, and has {size - 8 - width - length}; it is truncated")
    except (KeyError, IndexError, SyntaxError, TypeError, MemoryError, RecursionError, OverflowError):
        raise SpecError(d.damaged(span, path, ".npy file", "its header is not what numpy writes")) from None
    except ValueError as e:
        raise SpecError(d.damaged(span, path, ".npy file", str(e))) from None
    return ArrayHeader(shape, dtype, bool(header["fortran_order"]))
