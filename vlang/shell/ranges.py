"""The range of the numbers in a plan's samples, beside which a clip or an eps can be judged. Read without numpy, as all of vrun plan."""

from __future__ import annotations

import math
import os
import zipfile
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO

from vlang.array import ArrayPlan
from vlang.lower.files import ArrayHeader, npy_header
from vlang.plan import DatasetInput, Plan
from vlang.text.diagnostics import SpecError
from vlang.text.source import Span

#: Numbers of an array that are looked at, at most, and at once.
MOST, AT_ONCE = 20_000_000, 2**20
#: The array module's letters of numpy's types.
CODES = {"f4": "f", "f8": "d", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q", "b1": "B"}


def ranges(plan: Plan) -> Mapping[ArrayPlan, tuple[float, float]]:
    """Of every array of samples that is small enough and can be read; what is wrong with one is said by a run, with its place."""
    arrays = {v.input.inputs for q in plan.queries for v in q.variants if isinstance(v.input, DatasetInput)}
    found = {}
    for held in arrays:
        try:
            with _opened(held) as (f, header):
                if math.prod(header.shape) <= MOST and header.dtype[1:] in CODES:
                    found[held] = _range(f, header)
        except (OSError, EOFError, ValueError, zipfile.BadZipFile, SpecError):
            continue
    return found


@contextmanager
def _opened(held: ArrayPlan) -> Iterator[tuple[IO[bytes], ArrayHeader]]:
    """An array's numbers behind its header."""
    if held.key is None:
        with open(held.path, "rb") as f:
            yield f, npy_header(f, os.path.getsize(held.path), held.path, Span(1, 1))
    else:
        with zipfile.ZipFile(held.path) as z, z.open(f"{held.key}.npy") as member:
            yield member, npy_header(member, z.getinfo(f"{held.key}.npy").file_size, held.path, Span(1, 1))


def _range(f: IO[bytes], header: ArrayHeader) -> tuple[float, float]:
    low, high, left = math.inf, -math.inf, math.prod(header.shape) * int(header.dtype[2:])
    while left > 0:
        part = array(CODES[header.dtype[1:]])
        content = f.read(min(left, AT_ONCE * part.itemsize))
        if not content:
            raise EOFError
        left -= len(content)
        part.frombytes(content)
        if header.dtype[0] == ">":
            part.byteswap()
        low, high = min(low, min(part)), max(high, max(part))
    return float(low), float(high)
