"""A report's page as one self-contained HTML file: opens offline, in light and dark, on a phone and in print."""

from __future__ import annotations

from importlib.resources import files

from vlang.formats import pictures
from vlang.formats.text import VERDICTS
from vlang.report import Bracket, Heat, Page

#: Rows listed in the page; all of them are in the csv format.
MOST_ROWS = 500
MARKED = 3


def render(page: Page) -> str:
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((files("vlang.formats") / "page.html.j2").read_text(encoding="utf-8"))
    return template.render(
        page=page,
        gate_words=VERDICTS,
        heats=[(h, None if h.kind == "words" else Markup(pictures.heat(h)), _marked(h)) for h in page.heats],
        spectra=[(x.name, Markup(pictures.spectrum(x))) for x in page.spectra if x.rows],
        brackets=page.brackets[:MOST_ROWS],
        most=max((x for b in page.brackets for x in (b.certified, b.estimate, b.attack) if x is not None and x < 1e300), default=1.0) or 1.0,
        share=_share,
        records=page.records.lines[:MOST_ROWS],
        left_out=max(0, len(page.records.lines) - MOST_ROWS),
    )


def _marked(heat: Heat) -> list[tuple[str, float, float, bool]]:
    """Each word with its number, its place between the smallest (0) and the largest (1), and whether it is one of the smallest."""
    smallest = set(sorted(range(len(heat.sizes)), key=lambda i: heat.sizes[i])[:MARKED])
    low, high = min(heat.sizes), max(heat.sizes)
    return [
        (m, s, (s - low) / (high - low) if high > low else 0.5, i in smallest)
        for i, (m, s) in enumerate(zip(heat.marks, heat.sizes, strict=bool(heat.marks)))
    ]


def _share(bracket: Bracket, most: float) -> dict[str, float | None]:
    """Where a bracket's numbers stand on an axis of 100."""
    return {
        k: None if x is None else min(100.0, 100 * x / most)
        for k, x in (("certified", bracket.certified), ("estimate", bracket.estimate), ("attack", bracket.attack))
    }
