"""Heat maps, drawn by matplotlib as SVG: words over their radii, and a pen's path coloured by them."""

from __future__ import annotations

import cmath
import io
import math
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from vlang.report import Bracket, Heat
from vlang.results import SpectrumResult, SpectrumRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: From fragile to robust; readable by the colour-blind, and in grey.
COLOURS = "viridis"
#: How many of the smallest numbers are marked.
MARKED = 3
#: Words to a line, and brackets to a chart.
WORDS_A_LINE, MOST_BRACKETS = 8, 60
#: Matrices side by side.
PANELS_ACROSS = 3
#: A pen's arrows: one every so many moves.
MOVES_AN_ARROW = 3


def heat(found: Heat) -> str:
    """An SVG element."""
    heights = {"strokes": 4.8, "frames": 1.2 + 0.25 * len(found.marks), "words": 1.0 + 0.85 * -(-len(found.marks) // WORDS_A_LINE)}
    return _svg(lambda figure: KINDS[found.kind](figure, found), 6.4, heights[found.kind])


def brackets(found: tuple[Bracket, ...], title: str) -> str:
    """Certified radius, estimate and attack of every row, on one axis."""
    shown = found[:MOST_BRACKETS]
    return _svg(lambda figure: _brackets(figure, shown, title), 6.4, 1.2 + 0.28 * len(shown))


def pseudospectra(found: SpectrumResult, suffix: str) -> bytes:
    """A panel a matrix, as a file's contents: .svg or .png."""
    return _drawn(*_panels(found), suffix.removeprefix("."))


def spectrum(found: SpectrumResult) -> str:
    """The same as an SVG element."""
    return _svg(*_panels(found))


def _panels(found: SpectrumResult) -> tuple[Callable[[Figure], None], float, float]:
    """What draws them, width and height."""
    across = min(len(found.rows), PANELS_ACROSS)
    down = -(-len(found.rows) // across)

    def draw(figure: Figure) -> None:
        for i, row in enumerate(found.rows):
            _pseudospectrum(figure.add_subplot(down, across, i + 1), row)

    return draw, 4.6 * across, 4.4 * down


def _svg(draw: Callable[[Figure], None], width: float, height: float) -> str:
    svg = _drawn(draw, width, height, "svg").decode()
    svg = svg[svg.index("<svg") :]
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'width="100%"', svg, count=1)


def _drawn(draw: Callable[[Figure], None], width: float, height: float, kind: str) -> bytes:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "rspec", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10}):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        raw = io.BytesIO()
        metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        figure.savefig(raw, format=kind, transparent=kind == "svg", dpi=150, metadata=metadata)
    return raw.getvalue()


def _pseudospectrum(axes: Axes, row: SpectrumRow) -> None:
    """Level curves of the smallest singular value of zI - A, eigenvalues, the unit circle and the border of the numerical range."""
    assert row.landscape is not None
    land = row.landscape
    levels = sorted({p.eps for p in row.pseudospectra})
    values = [[math.log10(max(v, 1e-300)) for v in line] for line in land.values]
    lines = axes.contour(land.x, land.y, values, list(map(math.log10, levels)), cmap=COLOURS, linewidths=1.4)
    axes.clabel(lines, fmt={math.log10(e): f"{e:g}" for e in levels}, fontsize=7)
    circle = [cmath.exp(2j * math.pi * k / 240) for k in range(241)]
    for points, line, colour, label in (
        (circle, "--", "#999999", "unit circle"),
        ((*land.border, land.border[0]), ":", "#2a7fb8", "numerical range"),
        (row.eigenvalues, ".", "#d62728", "eigenvalues"),
    ):
        axes.plot([z.real for z in points], [z.imag for z in points], line, color=colour, linewidth=1.2, markersize=5, label=label)
    axes.set_aspect("equal")
    axes.set_xlim(land.x[0], land.x[-1])
    axes.set_ylim(land.y[0], land.y[-1])
    axes.set_title("\n".join([row.of, *(f"{k.split('.')[-1]} = {v}" for k, v in row.swept if k != "of")]).replace("$", r"\$"), fontsize=9)
    legend = axes.legend(loc="lower right", frameon=False, fontsize=7)
    for text in (axes.title, *axes.get_xticklabels(), *axes.get_yticklabels(), *legend.get_texts()):
        text.set_color("#777777")


def _words(figure: Figure, found: Heat) -> None:
    """Each word over its number, the smallest underlined (figure 6 of the POPQORN paper)."""
    axes: Axes = figure.add_subplot()
    axes.set_axis_off()
    colour = _colours(found.sizes)
    marked = sorted(range(len(found.sizes)), key=lambda i: found.sizes[i])[:MARKED]
    lines = -(-len(found.marks) // WORDS_A_LINE)
    for i, (word, size) in enumerate(zip(found.marks, found.sizes, strict=True)):
        x, y = i % WORDS_A_LINE, lines - 1 - i // WORDS_A_LINE
        fill = colour(size)
        box = {"boxstyle": "round,pad=0.3", "facecolor": fill, "edgecolor": "none"}
        axes.text(
            x, y + 0.22, word.replace("$", r"\$"), ha="center", va="center", color=_ink(fill), bbox=box, weight="bold" if i in marked else "normal"
        )
        axes.text(x, y - 0.22, f"{size:.3g}", ha="center", va="center", color="#777777", size=9)
        if i in marked:
            axes.plot([x - 0.35, x + 0.35], [y - 0.4, y - 0.4], color="#d62728", linewidth=2)
    axes.set_xlim(-0.6, WORDS_A_LINE - 0.4)
    axes.set_ylim(-0.6, lines - 0.3)


def _strokes(figure: Figure, found: Heat) -> None:
    """The pen's path from its relative moves, every move coloured by its number, arrows for the order (figure 5 of the POPQORN paper)."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    axes: Axes = figure.add_subplot()
    colour = _colours(found.sizes)
    arrow = {"arrowstyle": "-|>", "color": "#d62728", "mutation_scale": 14, "linewidth": 0}
    x = y = 0.0
    down = False  # the first move, and the one after a stroke's end, is made with the pen lifted
    for i, ((dx, dy, end, _), size) in enumerate(zip(found.values, found.sizes, strict=True)):
        if down:
            axes.plot([x, x + dx], [y, y + dy], color=colour(size), linewidth=5, solid_capstyle="round")
            if i % MOVES_AN_ARROW == 0 and (dx or dy):
                axes.annotate("", (x + 0.7 * dx, y + 0.7 * dy), (x + 0.3 * dx, y + 0.3 * dy), arrowprops=arrow)
        else:
            axes.plot([x + dx], [y + dy], "o", color=colour(size), markersize=7)
        x, y, down = x + dx, y + dy, not end
    axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.set_axis_off()
    scale = ScalarMappable(Normalize(min(found.sizes), max(found.sizes)), COLOURS)
    bar = figure.colorbar(scale, ax=axes, shrink=0.8)
    bar.set_label(found.measure, color="#777777")
    bar.ax.tick_params(colors="#777777")


def _frames(figure: Figure, found: Heat) -> None:
    """A line a sample, a column a frame, every cell coloured by its number."""
    axes: Axes = figure.add_subplot()
    width = max(map(len, found.values))
    cells = [[*line, *[math.nan] * (width - len(line))] for line in found.values]
    image = axes.imshow(cells, cmap=COLOURS, aspect="auto")
    axes.set_yticks(range(len(found.marks)), [m.replace("$", r"\$") for m in found.marks], size=7)
    axes.set_xlabel("frame")
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label(found.measure, color="#777777")
    bar.ax.tick_params(colors="#777777")
    for text in (axes.xaxis.label, *axes.get_xticklabels(), *axes.get_yticklabels()):
        text.set_color("#777777")


def _brackets(figure: Figure, found: tuple[Bracket, ...], title: str) -> None:
    axes: Axes = figure.add_subplot()
    for i, b in enumerate(found):
        ends = [x for x in (b.certified, b.attack) if x is not None]
        if len(ends) == 2:
            axes.plot(ends, [i, i], color="#bbbbbb", linewidth=3, zorder=1)
        for value, mark, colour in ((b.certified, "s", "#2a7fb8"), (b.estimate, "x", "#999999"), (b.attack, "o", "#d62728")):
            if value is not None:
                axes.plot([value], [i], mark, color=colour, markersize=6)
    for mark, colour, label in (("s", "#2a7fb8", "certified"), ("x", "#999999", "estimate"), ("o", "#d62728", "attack")):
        axes.plot([], [], mark, color=colour, label=label)
    axes.set_yticks(range(len(found)), [b.title.replace("$", r"\$") for b in found], size=7)
    axes.invert_yaxis()
    axes.set_xlabel("radius")
    axes.set_title(title)
    for text in (axes.title, axes.xaxis.label, *axes.get_xticklabels(), *axes.get_yticklabels()):
        text.set_color("#777777")
    legend = axes.legend(loc="best", frameon=False)
    for text in legend.get_texts():
        text.set_color("#777777")


def fills(sizes: tuple[float, ...]) -> list[tuple[str, str]]:
    """Of every number its colour and that of what is written on it, as CSS says them."""
    found = []
    for fill in map(_colours(sizes), sizes):
        found.append(("#" + "".join(f"{round(255 * x):02x}" for x in fill[:3]), _ink(fill)))
    return found


def _colours(sizes: tuple[float, ...]) -> Callable[[float], tuple[float, ...]]:
    from matplotlib import colormaps

    low, high = min(sizes), max(sizes)
    scale = colormaps[COLOURS]
    return lambda size: tuple(scale((size - low) / (high - low) if high > low else 0.5))


def _ink(fill: tuple[float, ...]) -> str:
    """Black or white, whichever is readable there."""
    red, green, blue = fill[:3]
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"


KINDS: Mapping[str, Callable[[Any, Heat], None]] = {"words": _words, "strokes": _strokes, "frames": _frames}
