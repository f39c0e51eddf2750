"""An array in a file, as plans name it; and tables of numbers as text, which are arrays too."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from vlang.text.source import Span

#: How the columns of tables are parted, by the file's ending.
TABLES = {".csv": ",", ".tsv": "\t"}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class ArrayPlan:
    """One array in a file: .npy, a member of an .npz, or a table. texts: names of classes in place of numbers. real: not whole ones."""

    path: str
    key: str | None
    shape: tuple[int, ...]
    span: Span = field(compare=False)
    texts: bool = False
    real: bool = False


def table(path: str) -> list[list[float]]:
    """The numbers of a table, a row a line, without a heading if it has one. Raises ValueError with the line, or OSError."""
    apart = TABLES[Path(path).suffix.lower()]
    with open(path, encoding="utf-8-sig", newline="") as f:
        reader = csv.reader(f, delimiter=apart)
        try:
            lines = [(reader.line_num, [x.strip() for x in row]) for row in reader if any(x.strip() for x in row)]
        except csv.Error as e:
            raise ValueError(f"line {reader.line_num}: {e}") from None
    if lines and len(lines) > 1 and len(lines[0][1]) > 1 and lines[0][1] in ([str(k + first) for k in range(len(lines[0][1]))] for first in (0, 1)):
        raise ValueError(f"line {lines[0][0]} may be a heading ({', '.join(lines[0][1][:4])}, ...) or numbers: name its columns, or leave it out")
    heading = lines[0][1] if lines and not any(map(NUMBER.fullmatch, lines[0][1])) else None
    rows = []
    for number, row in lines[heading is not None :]:
        if len(row) != len(lines[0][1]):
            raise ValueError(f"line {number} has {len(row)} columns, the first has {len(lines[0][1])}")
        wrong = next((k for k, x in enumerate(row) if NUMBER.fullmatch(x) is None or not math.isfinite(float(x))), None)
        if wrong is not None:
            name = f"column {wrong}" if heading is None else f"column '{heading[wrong]}'"
            raise ValueError(f"line {number}: {row[wrong][:40]!r} in {name} is no number")
        rows.append([float(x) for x in row])
    return rows
