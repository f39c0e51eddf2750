"""Quantities of a recurrent matrix (`spectrum`): their names as fields, and as people call them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Quantity:
    """title: in tables; None for one that is shown for every eps apart. digits: that are shown. trajectory: of Jacobians along an input only."""

    title: str | None
    digits: int = 6
    trajectory: bool = False


QUANTITIES: Mapping[str, Quantity] = MappingProxyType(
    {
        "spectral_radius": Quantity("spectral radius"),
        "spectral_norm": Quantity("spectral norm"),
        "numerical_radius": Quantity("numerical radius"),
        "henrici": Quantity("departure from normality (Henrici)"),
        "eigenvalue_condition": Quantity("largest condition of an eigenvalue", 4),
        "eigenvector_condition": Quantity("condition of the eigenvectors", 4),
        "pseudospectral_radius": Quantity(None),
        "pseudospectral_abscissa": Quantity(None),
        "kreiss": Quantity("Kreiss constant"),
        "growth": Quantity("largest norm of a power"),
        "product_growth": Quantity("largest norm of a product along the trajectory", trajectory=True),
        "defective": Quantity("a defective matrix is as near as", 4),
    }
)
