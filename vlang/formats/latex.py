"""A report's table as LaTeX (booktabs)."""

from __future__ import annotations

import re

from vlang.report import Page

ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def render(page: Page) -> str:
    table = page.table
    columns = "l" * table.labels + "r" * (len(table.head) - table.labels)
    lines = [rf"% {page.name}: {k}: {v}" for k, v in page.provenance]
    lines += [
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _line(table.head),
        r"\midrule",
        *map(_line, table.lines),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(line.replace("\n", " ") for line in lines) + "\n"


def _line(cells: tuple[str, ...]) -> str:
    line = " & ".join(re.sub(r"[\\&%$#_{}~^<>]", lambda m: ESCAPES[m[0]], c) for c in cells)
    opening = "{}" if line.startswith(("[", "*")) else ""  # the line before would take it for an argument
    return opening + line + r" \\"
