"""A report's page as one self-contained HTML file: opens offline, in light and dark, on a phone and in print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files

from vlang.formats import pictures
from vlang.formats.findings import named_rows
from vlang.formats.text import VERDICTS
from vlang.report import Bracket, Heat, Overall, Page

#: Rows listed in the page; all of them are in the csv format.
MOST_ROWS = 500
MARKED = 3
#: The page's verdict as a sentence.
SENTENCES: dict[Overall, str] = {
    "passed": "Every expectation holds.",
    "failed": "An expectation does not hold.",
    "inconclusive": "Not decided: something is open.",
    "empty": "Nothing was evaluated.",
}
#: Gates that do not hold come first.
FIRST = {"failed": 0, "unknown": 1, "warned": 2, "passed": 3}


@dataclass(frozen=True)
class Scale:
    """Brackets whose radii may be compared, on one axis from 0 to `most`; ticks and floors with their places in per cent."""

    norm: str
    brackets: tuple[Bracket, ...]
    most: float
    ticks: tuple[tuple[str, float], ...]
    floors: tuple[tuple[str, float], ...]

    def share(self, x: float | None) -> float | None:
        return None if x is None else min(100.0, 100 * x / self.most)


def render(page: Page) -> str:
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((files("vlang.formats") / "page.html.j2").read_text(encoding="utf-8"))
    heats = [(h, Markup(pictures.heat(h)) if h.kind == "strokes" else None, _cells(h)) for h in page.heats]
    gates = [(g.about, g.result, named_rows(g)) for g in sorted(page.gates, key=lambda g: FIRST[g.result.verdict])]
    return template.render(
        page=page,
        sentence=SENTENCES[page.verdict] if page.gates or page.verdict != "passed" else "Nothing was expected.",
        mood=page.verdict if page.gates or page.verdict != "passed" else "open",
        date=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        gate_words=VERDICTS,
        wrong=[x for x in gates if x[1].verdict != "passed"],
        held=[x for x in gates if x[1].verdict == "passed"],
        heats=heats,
        spectra=[(x.name, Markup(pictures.spectrum(x))) for x in page.spectra if x.rows],
        scales=list(_scales(page)),
        records=page.listed.lines[:MOST_ROWS],
        left_out=max(0, len(page.listed.lines) - MOST_ROWS),
    )


def _cells(heat: Heat) -> list[list[tuple[str, str, str, str, bool]]]:
    """In lines: each frame's mark, its number, colour, ink, and whether it is one of the smallest of its line."""
    colours = iter(pictures.fills(heat.sizes))
    lines: Sequence[tuple[Sequence[str], Sequence[float]]] = [(heat.marks, heat.sizes)]
    if heat.kind == "frames":
        lines = [([str(k) for k in range(len(line))], line) for line in heat.values]
    found = []
    for marks, sizes in lines:
        marked = MARKED if heat.kind == "words" else max(1, min(MARKED, len(sizes) // MARKED))
        smallest = set(sorted(range(len(sizes)), key=lambda i: sizes[i])[:marked])
        found.append([(m, f"{x:.3g}", *next(colours), i in smallest) for i, (m, x) in enumerate(zip(marks, sizes, strict=heat.kind == "words"))])
    return found


def _scales(page: Page) -> list[Scale]:
    """One for each norm: radii of different norms do not compare."""
    found = []
    shown = page.brackets[:MOST_ROWS]
    for norm in dict.fromkeys(b.norm for b in shown):
        own = tuple(b for b in shown if b.norm == norm)
        numbers = [x for b in own for x in (b.certified, b.estimate, b.attack) if x is not None and x < 1e300]
        numbers += [value for value, _ in page.floors if value <= 3 * max(numbers, default=0.0)]
        most = max(numbers, default=1.0) * 1.02 or 1.0
        floors = tuple((text, 100 * value / most) for value, text in page.floors if value <= most)
        found.append(Scale(norm, own, most, tuple((f"{x:g}", 100 * x / most) for x in ticks(most)), floors))
    return found


def ticks(most: float) -> list[float]:
    """Round numbers from 0 to `most`, four to eight of them."""
    step = 10 ** math.floor(math.log10(most))
    step = next(step * k for k in (0.2, 0.25, 0.5, 1, 2) if most / (step * k) <= 7.5)
    return [float(f"{k * step:.6g}") for k in range(int(most / step) + 1)]
