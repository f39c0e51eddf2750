"""A report's picture: its first heat map, else its first pseudospectra, else the brackets of its rows."""

from __future__ import annotations

from vlang.formats import pictures
from vlang.report import Page


def render(page: Page) -> str:
    if page.heats:
        drawn = pictures.heat(page.heats[0])
    elif page.spectra and page.spectra[0].rows:
        drawn = pictures.spectrum(page.spectra[0])
    else:
        drawn = pictures.brackets(page.brackets, page.name)
    return '<?xml version="1.0" encoding="utf-8" standalone="no"?>\n' + drawn
