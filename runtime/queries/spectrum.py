"""spectrum: what the eigenvalues and pseudospectra of a recurrent matrix say."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
from torch import Tensor

from vlang.plan import SpectrumPlan, SpectrumQuery
from vlang.results import Landscape, Pseudospectrum, SpectrumResult, SpectrumRow
from vlang.runtime import spectra
from vlang.runtime.network.unroll import Network
from vlang.runtime.spectra.arrays import Matrix
from vlang.runtime.spectra.matrices import jacobians, recurrent
from vlang.runtime.spectra.resolvent import around


def answer(query: SpectrumQuery, loaded: Mapping[SpectrumPlan, tuple[Network, Tensor | None]], stopped: Callable[[], bool]) -> SpectrumResult:
    """A row per point of the sweeps, until somebody wants an end. loaded: each one's network, and its input [m, n] where it has one."""
    start, rows = time.perf_counter(), []
    for plan in query.variants:
        if stopped():
            break
        rows.append(_row(plan, *loaded[plan], query.drawn))
    return SpectrumResult(query.name, time.perf_counter() - start, tuple(rows), len(rows) == len(query.variants))


def _row(plan: SpectrumPlan, network: Network, x: Tensor | None, drawn: bool) -> SpectrumRow:
    product = None
    if x is None or plan.frame is None:
        a = recurrent(network, plan.layer, plan.reverse, plan.gate or 0).cpu().numpy()
    else:
        steps = jacobians(network, x, plan.layer, plan.reverse, plan.frame)
        a, product = steps[-1], spectra.product_growth(steps).largest
    factor = spectra.scale(a)
    b = a / factor  # what grows with the matrix is computed of it where nothing overflows
    found, growth, kreiss = spectra.eigen(a), spectra.power_growth(a), _kreiss(a)
    sizes = [float(e) for e in plan.eps]
    return SpectrumRow(
        of=plan.of,
        size=len(a),
        eigenvalues=tuple(complex(v) for v in found.values),
        spectral_radius=found.radius,
        power_radius=spectra.dominant(b) * factor,
        spectral_norm=float(np.linalg.norm(b, 2)) * factor,
        numerical_radius=spectra.numerical_radius(b) * factor,
        henrici=spectra.departure(b) * factor,
        eigenvalue_conditions=tuple(found.conditions.tolist()),
        eigenvector_condition=found.vectors,
        pseudospectra=tuple(_pseudospectrum(b, factor, e) for e in sizes),
        kreiss=kreiss,
        growth=(growth.largest, growth.largest if growth.final else np.inf),
        growth_at=growth.at,
        product_growth=product,
        defective=spectra.nearest_defective(b).distance * factor,
        landscape=_landscape(a, found.values, max(sizes), plan.points) if drawn else None,
        swept=plan.swept,
    )


def _kreiss(a: Matrix) -> tuple[float, float]:
    """1 or more, which is all that is sure, of a matrix whose resolvent overflows."""
    try:
        with np.errstate(all="ignore"):
            found = spectra.kreiss(a)
    except np.linalg.LinAlgError:
        return 1.0, np.inf
    return found.lower, found.upper


def _pseudospectrum(b: Matrix, factor: float, eps: float) -> Pseudospectrum:
    """Of b times a factor."""
    return Pseudospectrum(eps, *(of(b, eps / factor) * factor for of in (spectra.pseudospectral_radius, spectra.pseudospectral_abscissa)))


def _landscape(a: Matrix, values: Matrix, epsilon: float, points: int) -> Landscape:
    border = spectra.numerical_range(a)
    found = spectra.grid(a, *around(np.concatenate([values, border]), epsilon, points))
    return Landscape(tuple(found.x.tolist()), tuple(found.y.tolist()), tuple(map(tuple, found.values.tolist())), tuple(map(complex, border)))
