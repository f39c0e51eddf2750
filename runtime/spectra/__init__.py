"""Spectra and pseudospectra of square matrices (Trefethen and Embree, *Spectra and Pseudospectra*, 2005), by dense linear algebra.

Ordinary floating point: nothing here is proved. Bounds of radii are the business of the rest of the runtime.
"""

from __future__ import annotations

from vlang.runtime.spectra.arrays import scale
from vlang.runtime.spectra.crisscross import pseudospectral_abscissa, pseudospectral_radius
from vlang.runtime.spectra.defective import Defective, nearest_defective
from vlang.runtime.spectra.eigen import Eigen, departure, dominant, eigen
from vlang.runtime.spectra.field import numerical_radius, numerical_range
from vlang.runtime.spectra.growth import Growth, power_growth, product_growth
from vlang.runtime.spectra.kreiss import Kreiss, kreiss
from vlang.runtime.spectra.resolvent import Grid, grid, smallest_singular_values

__all__ = [
    "Defective",
    "Eigen",
    "Grid",
    "Growth",
    "Kreiss",
    "departure",
    "dominant",
    "eigen",
    "grid",
    "kreiss",
    "nearest_defective",
    "numerical_radius",
    "numerical_range",
    "power_growth",
    "product_growth",
    "pseudospectral_abscissa",
    "pseudospectral_radius",
    "scale",
    "smallest_singular_values",
]
